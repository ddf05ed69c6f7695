//! Which rows have a hash: from the hash to the first of them, from each to the next one.
//!
//! Rows of different keys may share a hash, so who looks rows up compares keys, too.

use arrow::array::{Array, Int64Array};
use hashbrown::HashTable;

use super::log::NONE;

/// So many places for a row are not too many, where whole numbers are looked up by themselves.
const SPARSE: usize = 6;

/// In place of the row before: the row is in no chain.
const GONE: u32 = u32::MAX - 1;

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains {
    /// A hash, and the row where its chain begins.
    heads: HashTable<(u64, u32)>,
    next: Vec<u32>,
    /// Once a row was taken out; before that no one asks.
    before: Option<Vec<u32>>,
    /// Whether some row has another behind it.
    long: bool,
    /// In place of hashes.
    dense: Option<Dense>,
}

/// Where chains of whole numbers begin: at the number's distance from the least one.
#[derive(Clone, Debug)]
struct Dense {
    least: i64,
    firsts: Vec<u32>,
}

impl Chains {
    /// Chains of rows that are numbered from 0, in this order.
    pub(super) fn of(hashes: &[u64]) -> Self {
        let mut chains = Self::unlinked(hashes.len());
        chains.heads = HashTable::with_capacity(hashes.len());
        // Backwards, as each is put before the others.
        hashes.iter().enumerate().rev().for_each(|(row, hash)| chains.link(*hash, row as u32));
        chains
    }

    fn unlinked(rows: usize) -> Self {
        Self { next: vec![NONE; rows], ..Self::default() }
    }

    /// Chains of rows by their keys, if these are not too far apart; no row is to be added or taken out. Those whose key is
    /// null are found by none.
    pub(super) fn of_numbers(keys: &Int64Array) -> Option<Self> {
        let (least, most) = (arrow::compute::min(keys)?, arrow::compute::max(keys)?);
        let span = usize::try_from(most.checked_sub(least)?).ok().filter(|span| *span < SPARSE * keys.len())?;
        let mut chains = Self::unlinked(keys.len());
        let mut firsts = vec![NONE; span + 1];
        for row in (0..keys.len()).rev().filter(|row| keys.is_valid(*row)) {
            let first = &mut firsts[(keys.value(row) - least) as usize];
            chains.next[row] = std::mem::replace(first, row as u32);
            chains.long |= chains.next[row] != NONE;
        }
        chains.dense = Some(Dense { least, firsts });
        Some(chains)
    }

    /// Whether rows are found by their keys, not by hashes.
    pub(super) fn is_exact(&self) -> bool {
        self.dense.is_some()
    }

    /// The first row of each key, or [`NONE`].
    pub(super) fn firsts(&self, keys: &Int64Array) -> Vec<u32> {
        let Some(Dense { least, firsts }) = &self.dense else { return vec![NONE; keys.len()] };
        // What is less than the least comes out too large.
        let first = |key: &i64| firsts.get(key.wrapping_sub(*least) as usize).copied().unwrap_or(NONE);
        keys.values().iter().map(first).collect()
    }

    /// Whether some row has another behind it: else each chain is one row.
    pub(super) fn is_long(&self) -> bool {
        self.long
    }

    /// Adds the rows that are next by number.
    pub(super) fn push(&mut self, hashes: &[u64]) {
        let first = self.next.len();
        self.heads.reserve(hashes.len().min(first.max(1024)), |(hash, _)| *hash);
        self.next.resize(first + hashes.len(), NONE);
        if let Some(before) = &mut self.before {
            before.resize(first + hashes.len(), GONE);
        }
        hashes.iter().enumerate().for_each(|(at, hash)| self.link(*hash, (first + at) as u32));
    }

    /// Puts a row that is in no chain at the beginning of one.
    pub(super) fn link(&mut self, hash: u64, row: u32) {
        let entry = self.heads.entry(hash, |(other, _)| *other == hash, |(hash, _)| *hash);
        let head = &mut entry.or_insert((hash, NONE)).into_mut().1;
        let next = std::mem::replace(head, row);
        self.next[row as usize] = next;
        self.long |= next != NONE;
        if let Some(before) = &mut self.before {
            before[row as usize] = NONE;
            if next != NONE {
                before[next as usize] = row;
            }
        }
    }

    /// The first row of a hash, or [`NONE`].
    #[inline(always)]
    pub(super) fn first(&self, hash: u64) -> u32 {
        self.heads.find(hash, |(other, _)| *other == hash).map_or(NONE, |(_, row)| *row)
    }

    /// The row after `row`, or [`NONE`].
    #[inline(always)]
    pub(super) fn next(&self, row: u32) -> u32 {
        self.next[row as usize]
    }

    /// The rows of a hash.
    pub(super) fn of_hash(&self, hash: u64) -> impl Iterator<Item = u32> {
        let some = |row: u32| (row != NONE).then_some(row);
        std::iter::successors(some(self.first(hash)), move |row| some(self.next(*row)))
    }

    /// Whether a row is in a chain.
    pub(super) fn holds(&self, row: u32) -> bool {
        self.before.as_ref().is_none_or(|before| before[row as usize] != GONE)
    }

    /// Takes a row out of its chain.
    pub(super) fn unlink(&mut self, hash: u64, row: u32) {
        let backward = || backward(&self.next);
        let links = self.before.get_or_insert_with(backward);
        let (before, next) = (std::mem::replace(&mut links[row as usize], GONE), self.next[row as usize]);
        debug_assert!(before != GONE, "row {row} is in no chain");
        if next != NONE {
            links[next as usize] = before;
        }
        if before != NONE {
            self.next[before as usize] = next;
        } else if let Ok(mut head) = self.heads.find_entry(hash, |(other, _)| *other == hash) {
            if next == NONE {
                head.remove();
            } else {
                head.get_mut().1 = next;
            }
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let dense = self.dense.as_ref().map_or(0, |dense| dense.firsts.capacity());
        let before = self.before.as_ref().map_or(0, Vec::capacity);
        self.heads.allocation_size() + (self.next.capacity() + before + dense) * size_of::<u32>()
    }
}

/// The row before each, of chains that hold all rows.
fn backward(next: &[u32]) -> Vec<u32> {
    let mut before = vec![NONE; next.len()];
    for (row, next) in next.iter().enumerate().filter(|(_, next)| **next != NONE) {
        before[*next as usize] = row as u32;
    }
    before
}
