//! [`Normalize`]: a stream of upserts made a whole changelog, by key; and [`without_before`]: the way back.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, RowKind, Rows, Saved, Snapshot};

use super::changes::Changes;
use super::codec::{Codec, columns_of};
use super::keys::{Id, Keys};
use super::layout::{self, Described};
use super::log::Log;
use super::own::{Own, settled};
use super::saved::{ByKey, Packed, Share, load, save};

/// The rows without those that are about to be replaced: for who overwrites by key.
///
/// # Errors
/// When a column cannot be copied.
pub fn without_before(rows: Rows) -> Result<Rows> {
    let Some(kinds) = rows.kinds() else { return Ok(rows) };
    if !kinds.contains(&RowKind::UpdateBefore) {
        return Ok(rows);
    }
    let kept: BooleanArray = kinds.iter().map(|kind| Some(*kind != RowKind::UpdateBefore)).collect();
    Ok(rows.filter(&kept)?)
}

/// Makes a whole changelog of upserts: `+I` or `+U` is what the key has from now on; `-D` (of which only the key
/// matters) ends it; `-U` is passed over. Of several rows of a key in a bundle, the last one counts.
#[derive(Clone)]
pub struct Normalize {
    schema: SchemaRef,
    keys: Arc<[usize]>,
    share: Share,
    state: Own<State>,
}

struct State {
    keys: Keys,
    rows: Log,
    whole: Codec,
    /// For each key, the last row of the bundle; none outside of a bundle.
    last: Vec<Option<u32>>,
}

impl Normalize {
    /// Of rows with these columns, of which `keys` are the primary key.
    pub fn new(schema: SchemaRef, keys: impl Into<Arc<[usize]>>) -> Self {
        Self { schema, keys: keys.into(), share: Share::default(), state: Own::default() }
    }

    fn state(&mut self) -> Result<&mut State> {
        let (schema, keys) = (&self.schema, &self.keys);
        self.state.get(|| {
            let (keys, whole) = (Keys::of(schema, keys)?, Codec::whole(schema)?);
            Ok(State { keys, rows: Log::new(schema.clone()), whole, last: Vec::new() })
        })
    }

    fn changed(&mut self, hashed: &Hashed) -> Result<Vec<Rows>> {
        let keys = self.keys.clone();
        let state = self.state()?;
        let ids = state.keys.intern(&columns_of(hashed.rows.batch(), &keys), &hashed.hashes)?;
        let ids = state.last_of_each(&hashed.rows, &ids);
        state.replace(&hashed.rows, &ids)
    }
}

impl State {
    /// Keys in order of their first row, each with its last one.
    fn last_of_each(&mut self, rows: &Rows, ids: &[Id]) -> Vec<(Id, u32)> {
        self.last.resize(self.keys.bound(), None);
        let mut order = Vec::new();
        for (row, id) in ids.iter().enumerate() {
            if rows.kind(row) == RowKind::UpdateBefore {
                continue;
            }
            if self.last[*id as usize].replace(row as u32).is_none() {
                order.push(*id);
            }
        }
        order.into_iter().filter_map(|id| Some((id, self.last[id as usize].take()?))).collect()
    }

    fn replace(&mut self, rows: &Rows, ids: &[(Id, u32)]) -> Result<Vec<Rows>> {
        let known: Vec<_> = ids.iter().map(|(id, _)| *id).filter(|id| self.rows.has(*id)).collect();
        let old = self.rows.gather(&known)?;
        let new = rows.batch();
        let (before, after) = (self.whole.encode(old.columns())?, self.whole.encode(new.columns())?);
        let (mut changes, mut at) = (Changes::default(), 0);
        let (mut put, mut gone) = (Vec::new(), Vec::new());
        for (id, row) in ids {
            let has = self.rows.has(*id);
            let here = at;
            at += usize::from(has);
            match (has, rows.kind(*row as usize).is_addition()) {
                (true, true) if before.row(here) == after.row(*row as usize) => continue,
                (true, true) => {
                    changes.push(RowKind::UpdateBefore, 0, here);
                    changes.push(RowKind::UpdateAfter, 1, *row as usize);
                }
                (false, true) => changes.push(RowKind::Insert, 1, *row as usize),
                (true, false) => changes.push(RowKind::Delete, 0, here),
                (false, false) => {}
            }
            match rows.kind(*row as usize).is_addition() {
                true => put.push((*id, *row)),
                false => gone.push(*id),
            }
        }
        let given = changes.rows(&[&old, new])?;
        self.keep(new, &put, &gone)?;
        Ok(given)
    }

    fn keep(&mut self, rows: &RecordBatch, put: &[(Id, u32)], gone: &[Id]) -> Result<()> {
        let (ids, rows_of): (Vec<_>, Vec<_>) = put.iter().copied().unzip();
        self.rows.put(&ids, take_record_batch(rows, &UInt32Array::from(rows_of))?)?;
        self.forget(gone)
    }
}

impl ByKey for State {
    type Content = Packed;

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    fn write(&mut self, ids: &[Id]) -> Result<Packed> {
        self.rows.pack(ids)
    }

    fn read(&mut self, ids: &[Id], rows: Packed) -> Result<()> {
        self.rows.unpack(ids, &rows)
    }

    fn forget(&mut self, ids: &[Id]) -> Result<()> {
        self.rows.remove(ids.iter().copied())?;
        ids.iter().for_each(|id| self.keys.remove(*id));
        Ok(())
    }
}

impl Described for Normalize {
    fn layout(&self) -> Layout {
        Layout::of("normalize")
            .table("keys", layout::keys(&self.schema, &self.keys))
            .table("rows", layout::rows(&self.schema, &self.keys))
    }
}

impl Operator<Hashed> for Normalize {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Hashed>, out: &mut Outbox<'_, Rows>) {
        for hashed in bundle.as_slice() {
            out.emit(settled(self.changed(hashed)));
        }
    }

    fn bytes(&self) -> usize {
        self.state.peek().map_or(0, |state| state.keys.bytes() + state.rows.bytes() + 8 * state.last.len())
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> std::result::Result<(), Error> {
        let share = self.share;
        save(self.state()?, 0, share, snapshot)
    }

    fn load(&mut self, saved: Saved) -> std::result::Result<(), Error> {
        let share = self.share;
        load(self.state()?, share, &saved)
    }
}
