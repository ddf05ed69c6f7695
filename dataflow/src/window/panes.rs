//! Sums of slices that cost the same however much windows overlap.
//!
//! Two stacks: the older slices of the window stand in `front`, each level the sum of itself and all newer
//! levels, so that dropping the oldest is a pop; the newer ones are summed in `sum` as they come. When
//! `front` runs out, what is in `back` is turned over. Each slice is thus merged twice in its life, and
//! a window is `front`'s last level plus `sum`. (Tangwongsan et al., "General Incremental Sliding-Window
//! Aggregation", VLDB 2015, §3; on sums of many keys instead of single values.)

use super::Window;
use super::store::Store;
use crate::snapshot::Object;
use crate::stage::Emit;

/// The slices of one range of hashes that a coming window may still need.
pub(super) struct Panes<S: Store> {
    /// Newest first; each with the sum of its own slice and of all newer ones here.
    front: Vec<Pane<S::Sum>>,
    /// Oldest first; each newer than all of `front`.
    back: Vec<Pane<S::Sum>>,
    /// The sum of `back`.
    sum: S::Sum,
    /// The end of the next window to fire; none before the first slice has come.
    pub(super) next_end: Option<i64>,
}

/// A slice, or a sum of some, that is not written any more.
pub(super) struct Pane<T> {
    pub(super) start: i64,
    pub(super) sum: T,
    /// As what it is in snapshots; none where it is in none yet.
    pub(super) object: Option<Object>,
}

impl<T> Pane<T> {
    fn new(start: i64, sum: T) -> Self {
        Self { start, sum, object: None }
    }
}

impl<S: Store> Default for Panes<S> {
    fn default() -> Self {
        Self { front: Vec::new(), back: Vec::new(), sum: S::Sum::default(), next_end: None }
    }
}

impl<S: Store> Panes<S> {
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.back.is_empty()
    }

    /// Takes in the slice that starts at `start`, after all slices before it.
    pub(super) fn push(&mut self, start: i64, slice: S::Sum, store: &S) {
        debug_assert!(self.back.last().is_none_or(|newest| newest.start < start), "slices come in order");
        store.merge(&mut self.sum, &slice);
        self.back.push(Pane::new(start, slice));
    }

    /// Drops the slices that start before `start`.
    pub(super) fn evict(&mut self, start: i64, store: &S) {
        while self.front.last().is_some_and(|oldest| oldest.start < start) {
            self.front.pop();
        }
        if self.front.is_empty() && self.back.first().is_some_and(|oldest| oldest.start < start) {
            self.turn_over(start, store);
        }
    }

    fn turn_over(&mut self, start: i64, store: &S) {
        self.sum = S::Sum::default();
        for Pane { start: at, sum: mut level, .. } in self.back.drain(..).rev().take_while(|pane| pane.start >= start) {
            if let Some(newer) = self.front.last() {
                store.merge(&mut level, &newer.sum);
            }
            self.front.push(Pane::new(at, level));
        }
    }

    /// Tells of the window of all slices here.
    pub(super) fn tell(&self, window: Window, store: &S, emit: Emit<'_, S::Out>) {
        let none = S::Sum::default();
        store.tell_sum(window, self.front.last().map_or(&none, |level| &level.sum), &self.sum, emit);
    }

    /// Bytes of memory held.
    pub(super) fn bytes(&self, store: &S) -> usize {
        let slices = self.front.iter().chain(&self.back).map(|pane| &pane.sum);
        slices.chain([&self.sum]).map(|sum| store.sum_bytes(sum)).sum()
    }

    /// The older slices (newest first, each a sum with all newer ones) and the newer (oldest first, each by itself).
    pub(super) fn slices(&mut self) -> [&mut [Pane<S::Sum>]; 2] {
        [&mut self.front, &mut self.back]
    }

    /// Puts back a level of `front`, newest first.
    pub(super) fn restore_front(&mut self, start: i64, level: S::Sum) {
        self.front.push(Pane::new(start, level));
    }
}
