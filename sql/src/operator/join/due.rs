//! Rows of a store by when they are due, to find those that a watermark has passed without looking at all of them.

use std::collections::BTreeMap;

/// Rows in buckets of time. Most come in about the order in which they are due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    width: i64,
    buckets: BTreeMap<i64, Vec<u32>>,
    rows: usize,
}

impl Due {
    /// Of rows that stay for about `span` microseconds.
    pub(super) fn new(span: i64) -> Self {
        // A bucket that is due in part is looked through: a small part of all there are.
        Self { width: span.max(0) / 64 + 1, buckets: BTreeMap::new(), rows: 0 }
    }

    /// A row is due at a time.
    pub(super) fn add(&mut self, row: u32, at: i64) {
        self.buckets.entry(at.div_euclid(self.width)).or_default().push(row);
        self.rows += 1;
    }

    /// Takes the rows that are due before `end`, all at the end of time; `at` tells when one is.
    pub(super) fn before(&mut self, end: i64, at: impl Fn(u32) -> i64) -> Vec<u32> {
        if end == i64::MAX {
            self.rows = 0;
            return std::mem::take(&mut self.buckets).into_values().flatten().collect();
        }
        let bucket = end.div_euclid(self.width);
        let later = self.buckets.split_off(&bucket);
        let mut due: Vec<u32> = std::mem::replace(&mut self.buckets, later).into_values().flatten().collect();
        if let Some(part) = self.buckets.get_mut(&bucket) {
            due.extend(part.extract_if(.., |row| at(*row) < end));
            if part.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
        self.rows -= due.len();
        due
    }

    /// The rows have new numbers, from 0.
    pub(super) fn renumber(&mut self, rows: impl Iterator<Item = (u32, i64)>) {
        self.buckets.clear();
        self.rows = 0;
        rows.for_each(|(row, at)| self.add(row, at));
    }

    /// Bytes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.rows * size_of::<u32>() + self.buckets.len() * size_of::<(i64, Vec<u32>)>()
    }
}
