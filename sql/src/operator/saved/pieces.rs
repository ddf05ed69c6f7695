//! [`Pieces`]: what is stored of rows that come, wait and go on, in the order in which they came: each piece is written once, and
//! let go of when the last of its rows has gone on.
//!
//! Rows that have gone on may still be in a piece that is stored: who takes it back has to know which these are, by time most
//! often. New pieces are put together while they are small, so that there are a logarithmic number of them; not such as were taken back,
//! which other instances may have their rows in.

use updraft_dataflow::{Object, Snapshot};

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    pieces: Vec<Piece>,
    /// How many have come; rows or batches, as who keeps them counts.
    arrived: u64,
    /// What is not stored yet.
    now: Option<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    /// `None` of what is not stored yet.
    object: Option<Object>,
    /// Where it begins, in order of arrival.
    from: u64,
    rows: usize,
    /// The latest time of a row of it.
    last: i64,
    is_shared: bool,
}

impl Pieces {
    /// So many rows have come, until `last` at the latest: tells the number of this arrival.
    pub(crate) fn arrive(&mut self, rows: usize, last: i64) -> u64 {
        let from = self.arrived;
        self.arrived += 1;
        let now = self.now.get_or_insert(Piece { object: None, from, rows: 0, last, is_shared: false });
        now.rows += rows;
        now.last = now.last.max(last);
        from
    }

    /// Adds what is stored, of rows from `time` on, to a snapshot; tells from which arrival on a piece is to be written anew, and
    /// what it is called.
    pub(crate) fn save(&mut self, time: i64, snapshot: &mut Snapshot) -> Option<(u64, Object)> {
        self.pieces.retain(|piece| piece.last >= time);
        let mut new = self.now.take().filter(|piece| piece.last >= time);
        if let Some(new) = &mut new {
            while let Some(older) = self.pieces.pop_if(|older| !older.is_shared && older.rows < 2 * new.rows) {
                new.from = older.from;
                new.rows += older.rows;
                new.last = new.last.max(older.last);
            }
        }
        self.pieces.iter().filter_map(|piece| piece.object).for_each(|object| snapshot.keep(object));
        let new = new?;
        let object = snapshot.create();
        self.pieces.push(Piece { object: Some(object), ..new });
        Some((new.from, object))
    }

    /// What has come just now was read from an object.
    pub(crate) fn read(&mut self, object: Object) {
        let Some(now) = self.now.take() else { return };
        match self.pieces.last_mut().filter(|piece| piece.object == Some(object)) {
            Some(piece) => {
                piece.rows += now.rows;
                piece.last = piece.last.max(now.last);
            }
            None => self.pieces.push(Piece { object: Some(object), is_shared: true, ..now }),
        }
    }

    /// All have gone on.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.now = None;
    }
}
