//! Sums of slices that cost the same however much windows overlap.
//!
//! Two stacks: the older slices of the window stand in `front`, each level the sum of itself and all newer
//! levels, so that dropping the oldest is a pop; the newer ones are summed in `sum` as they come. When
//! `front` runs out, what is in `back` is turned over. Each slice is thus merged twice in its life, and
//! a window is `front`'s last level plus `sum`. (Tangwongsan et al., "General Incremental Sliding-Window
//! Aggregation", VLDB 2015, §3; on tables of keys instead of single values.)

use crate::aggregate::Accumulate;
use crate::partial::merge_into;
use crate::table::{Key, Table, hash_of};

fn cloned<K: Clone, V: Clone>(table: &Table<K, V>) -> impl Iterator<Item = (K, V)> {
    table.iter().map(|(key, value)| (key.clone(), value.clone()))
}

/// The slices of one range of hashes that a coming window may still need.
pub(super) struct Panes<K, V> {
    /// Newest first; each with the sum of its own slice and of all newer ones here.
    front: Vec<(i64, Table<K, V>)>,
    /// Oldest first; each newer than all of `front`.
    back: Vec<(i64, Table<K, V>)>,
    /// The sum of `back`.
    sum: Table<K, V>,
    /// The end of the next window to fire; none before the first slice has come.
    pub(super) next_end: Option<i64>,
}

impl<K, V> Default for Panes<K, V> {
    fn default() -> Self {
        Self { front: Vec::new(), back: Vec::new(), sum: Table::default(), next_end: None }
    }
}

impl<K: Key, V: Clone> Panes<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.back.is_empty()
    }

    /// Takes in the slice that starts at `start`, after all slices before it.
    pub(super) fn push<A: Accumulate<Acc = V>>(&mut self, start: i64, slice: Table<K, V>, aggregate: &A) {
        debug_assert!(self.back.last().is_none_or(|(newest, _)| *newest < start), "slices come in order");
        merge_into(&mut self.sum, cloned(&slice), aggregate);
        self.back.push((start, slice));
    }

    /// Drops the slices that start before `start`.
    pub(super) fn evict<A: Accumulate<Acc = V>>(&mut self, start: i64, aggregate: &A) {
        while self.front.last().is_some_and(|(oldest, _)| *oldest < start) {
            self.front.pop();
        }
        if self.front.is_empty() && self.back.first().is_some_and(|(oldest, _)| *oldest < start) {
            self.turn_over(start, aggregate);
        }
    }

    fn turn_over<A: Accumulate<Acc = V>>(&mut self, start: i64, aggregate: &A) {
        self.sum = Table::default();
        for (at, mut level) in self.back.drain(..).rev().take_while(|(at, _)| *at >= start) {
            if let Some((_, newer)) = self.front.last() {
                merge_into(&mut level, cloned(newer), aggregate);
            }
            self.front.push((at, level));
        }
    }

    /// Calls `emit` with each key of the window and its sum over all slices here.
    pub(super) fn for_each<A: Accumulate<Acc = V>>(&self, aggregate: &A, mut emit: impl FnMut(K, V)) {
        let none = Table::default();
        let front = self.front.last().map_or(&none, |(_, level)| level);
        for (key, older) in front.iter() {
            let mut acc = older.clone();
            if let Some(newer) = self.sum.get(hash_of(key), key) {
                aggregate.merge(&mut acc, newer.clone());
            }
            emit(key.clone(), acc);
        }
        for (key, newer) in self.sum.iter() {
            if front.get(hash_of(key), key).is_none() {
                emit(key.clone(), newer.clone());
            }
        }
    }

    /// Bytes of memory held.
    pub(super) fn bytes(&self) -> usize {
        let tables = self.front.iter().chain(&self.back).map(|(_, table)| table);
        tables.chain([&self.sum]).map(Table::bytes).sum()
    }

    /// The older slices (newest first, each a sum with all newer ones) and the newer (oldest first, each by itself).
    pub(super) fn slices(&self) -> (&[(i64, Table<K, V>)], &[(i64, Table<K, V>)]) {
        (&self.front, &self.back)
    }

    /// Puts back a level of `front`, newest first.
    pub(super) fn restore_front(&mut self, start: i64, level: Table<K, V>) {
        self.front.push((start, level));
    }
}
