//! [`Settle`]: changes of a table, as one change of each key and epoch.
//!
//! Those that a source tells are in order, but stages without keys may work on two bundles of an epoch at a time, and give them in any
//! order. When all that happened to a key in an epoch is one change, there is nothing that could be out of order.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Hashed, Keeps, Punctuation, RowKind, Rows};

use super::changes::Changes;
use super::codec::columns_of;
use super::keys::Keys;
use super::layout::Described;
use super::own::{Own, settled};

/// Gives, at the end of an epoch, what it has made of each key: `+I`, `-D`, or `-U` and `+U`; nothing where a row has come and gone.
#[derive(Clone)]
pub struct Settle {
    schema: SchemaRef,
    keys: Arc<[usize]>,
    state: Own<State>,
}

/// What has happened in the epoch.
struct State {
    keys: Keys,
    batches: Vec<RecordBatch>,
    bytes: usize,
    /// By key.
    changes: Vec<Option<Change>>,
}

/// The row that was there before the epoch, and the one that is there now: which batch, and which row of it.
#[derive(Clone, Copy, Default)]
struct Change {
    old: Option<(usize, usize)>,
    new: Option<(usize, usize)>,
}

impl Settle {
    /// Of rows with these columns, of which `keys` are the primary key.
    pub fn new(schema: SchemaRef, keys: impl Into<Arc<[usize]>>) -> Self {
        Self { schema, keys: keys.into(), state: Own::default() }
    }

    fn take(&mut self, hashed: &Hashed) -> Result<()> {
        let (schema, keys) = (&self.schema, &self.keys);
        let state = self.state.get(|| {
            let keys = Keys::of(schema, keys)?;
            Ok(State { keys, batches: Vec::new(), bytes: 0, changes: Vec::new() })
        })?;
        let ids = state.keys.intern(&columns_of(hashed.rows.batch(), keys), &hashed.hashes)?;
        state.changes.resize(state.keys.bound(), None);
        let batch = state.batches.len();
        for (row, id) in ids.iter().enumerate() {
            let (at, is_addition) = (Some((batch, row)), hashed.rows.kind(row).is_addition());
            let change = &mut state.changes[*id as usize];
            match change {
                Some(change) => change.new = at.filter(|_| is_addition),
                None if is_addition => *change = Some(Change { old: None, new: at }),
                None => *change = Some(Change { old: at, new: None }),
            }
        }
        state.bytes += hashed.rows.bytes();
        state.batches.push(hashed.rows.batch().clone());
        Ok(())
    }
}

impl State {
    fn end(self) -> Result<Vec<Rows>> {
        let mut changes = Changes::default();
        for Change { old, new } in self.changes.into_iter().flatten() {
            let kinds = match (old, new) {
                (Some(_), Some(_)) => [RowKind::UpdateBefore, RowKind::UpdateAfter],
                _ => [RowKind::Delete, RowKind::Insert],
            };
            for (at, kind) in [old, new].into_iter().zip(kinds) {
                at.into_iter().for_each(|(batch, row)| changes.push(kind, batch, row));
            }
        }
        changes.rows(&self.batches.iter().collect::<Vec<_>>())
    }
}

impl Described for Settle {
    fn layout(&self) -> Layout {
        Layout::of("settle")
    }
}

impl Operator<Hashed> for Settle {
    type Out = Rows;

    // Within an epoch: between two, when snapshots are taken, there is nothing to save.
    const KEEPS: Keeps = Keeps::State;

    fn bundle(&mut self, bundle: Bundle<Hashed>, _: &mut Outbox<'_, Rows>) {
        bundle.as_slice().iter().for_each(|hashed| settled(self.take(hashed)));
    }

    fn punctuation(&mut self, _: Punctuation, out: &mut Outbox<'_, Rows>) {
        if let Some(state) = self.state.take() {
            out.emit(settled(state.end()));
        }
    }

    fn bytes(&self) -> usize {
        self.state.peek().map_or(0, |state| state.bytes + state.keys.bytes())
    }
}
