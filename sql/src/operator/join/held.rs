//! [`Held`]: rows that wait until all may go on at once.

use arrow::datatypes::SchemaRef;
use updraft_dataflow::{Error, Hashed, Object, Saved, Snapshot};

use crate::operator::saved::{Pieces, Share, load_rows, save_rows};

/// Rows that wait, in the order in which they came, each batch with a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    rows: Vec<(u64, Hashed)>,
    /// What of them is saved; arrivals are batches.
    pieces: Pieces,
    bytes: usize,
}

impl Held {
    pub(super) fn push(&mut self, rows: Hashed) {
        let arrived = self.pieces.arrive(rows.rows.len(), i64::MAX);
        self.push_numbered(arrived, rows);
    }

    /// The same for who keeps account of arrivals, and of what is saved.
    pub(super) fn push_numbered(&mut self, arrived: u64, rows: Hashed) {
        self.bytes += rows.rows.bytes() + size_of_val(&*rows.hashes);
        self.rows.push((arrived, rows));
    }

    pub(super) fn take(&mut self) -> Vec<Hashed> {
        self.bytes = 0;
        self.pieces.clear();
        std::mem::take(&mut self.rows).into_iter().map(|(_, rows)| rows).collect()
    }

    /// Those that have come since.
    pub(super) fn since(&self, arrival: u64) -> impl Iterator<Item = &Hashed> {
        self.rows.iter().filter(move |(arrived, _)| *arrived >= arrival).map(|(_, rows)| rows)
    }

    /// Adds them to a snapshot: those that have come since the last one.
    pub(super) fn save(&mut self, part: u8, share: Share, snapshot: &mut Snapshot) -> Result<(), Error> {
        let new: Option<(u64, Object)> = self.pieces.save(i64::MIN, snapshot);
        new.map_or(Ok(()), |(from, object)| save_rows(self.since(from), (part, object), share, snapshot))
    }

    /// Takes a record back.
    pub(super) fn load(&mut self, schema: &SchemaRef, share: Share, saved: &Saved) -> Result<(), Error> {
        if let Some(rows) = load_rows(schema, share, saved)? {
            self.push(rows);
            self.pieces.read(saved.object);
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows wait.
    pub(super) fn len(&self) -> usize {
        self.rows.iter().map(|(_, rows)| rows.rows.len()).sum()
    }
}
