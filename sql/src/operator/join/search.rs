//! Which rows of a store may belong to the rows of a bundle: those of the same hash, some at a time.

use arrow::array::{Array, Int64Array};
use arrow::buffer::NullBuffer;

use super::log::NONE;
use super::store::Store;

/// So many pairs at a time: what comes of them is a batch.
pub(super) const CHUNK: usize = 16 * 1024;

/// A walk along the chains of each row of a bundle, in the order of the rows.
pub(super) struct Search {
    /// The first row of each one's chain.
    firsts: Vec<u32>,
    /// The row that it has come to, and what of its chain is next.
    row: usize,
    at: u32,
}

impl Search {
    /// For rows with these hashes; those whose key is null find nothing.
    pub(super) fn new<X: Copy>(store: &Store<X>, hashes: &[u64], valid: Option<&NullBuffer>) -> Self {
        // All at once: looking one up need not wait for what the others point to.
        Self::from(hashes.iter().map(|hash| store.keys.first(*hash)).collect(), valid)
    }

    /// For rows with these keys, of a store that finds rows by them; nulls find nothing.
    pub(super) fn exact<X: Copy>(store: &Store<X>, keys: &Int64Array) -> Self {
        Self::from(store.keys.firsts(keys), keys.nulls())
    }

    fn from(mut firsts: Vec<u32>, valid: Option<&NullBuffer>) -> Self {
        if let Some(valid) = valid {
            firsts.iter_mut().zip(valid).filter(|(_, valid)| !valid).for_each(|(first, _)| *first = NONE);
        }
        let at = firsts.first().copied().unwrap_or(NONE);
        Self { firsts, row: 0, at }
    }

    /// The row of which more is to come; all before it have been looked up wholly.
    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// Whether there is nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.row == self.firsts.len()
    }

    /// Adds the next pairs, some [`CHUNK`] of them, of which `may` says that they come into question.
    #[inline(always)]
    pub(super) fn fill<X: Copy>(
        &mut self,
        store: &Store<X>,
        rows: &mut Vec<u32>,
        found: &mut Vec<u32>,
        may: impl Fn(usize, &X) -> bool,
    ) {
        if !store.keys.is_long() {
            return self.fill_short(store, rows, found, may);
        }
        // Those that don't come into question are looked at, too: they count, so that others have their turn.
        let mut left = CHUNK;
        while self.row < self.firsts.len() {
            while self.at != NONE {
                if left == 0 {
                    return;
                }
                left -= 1;
                if may(self.row, &store.extras[self.at as usize]) {
                    rows.push(self.row as u32);
                    found.push(self.at);
                }
                self.at = store.keys.next(self.at);
            }
            self.row += 1;
            self.at = self.firsts.get(self.row).copied().unwrap_or(NONE);
        }
    }

    /// The same where each chain is one row.
    #[inline(always)]
    fn fill_short<X: Copy>(
        &mut self,
        store: &Store<X>,
        rows: &mut Vec<u32>,
        found: &mut Vec<u32>,
        may: impl Fn(usize, &X) -> bool,
    ) {
        let end = self.firsts.len().min(self.row + CHUNK);
        for row in self.row..end {
            let first = self.firsts[row];
            if first != NONE && may(row, &store.extras[first as usize]) {
                rows.push(row as u32);
                found.push(first);
            }
        }
        self.row = end;
        self.at = self.firsts.get(end).copied().unwrap_or(NONE);
    }
}
