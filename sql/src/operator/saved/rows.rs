//! Rows on their way, with their hashes and what each of them does, as they are written.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt8Array, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{SchemaRef, UInt8Type};
use datafusion_common::{Result, internal_datafusion_err};
use updraft_dataflow::{Error, Hashed, Object, RowKind, Rows, Saved, Snapshot};

use super::{Packed, Share, hashes_of};

/// Rows of a record, at most; fewer, where these take too many bytes.
const ROWS: usize = 8192;
const BYTES: usize = 1 << 20;

/// Writes rows as records of an object.
pub(crate) fn save_rows<'a>(
    hashed: impl IntoIterator<Item = &'a Hashed>,
    of: (u8, Object),
    share: Share,
    snapshot: &mut Snapshot,
) -> std::result::Result<(), Error> {
    let (mut some, mut rows) = (Vec::new(), 0);
    for hashed in hashed {
        if !some.is_empty() && rows + hashed.rows.len() > ROWS {
            write(&together(&some)?, of, share, snapshot)?;
            (some, rows) = (Vec::new(), 0);
        }
        rows += hashed.rows.len();
        some.push(hashed);
    }
    if some.is_empty() { Ok(()) } else { write(&together(&some)?, of, share, snapshot) }
}

/// Columns of hashes and kinds, then those of the rows.
fn together(some: &[&Hashed]) -> Result<RecordBatch> {
    let kinds = |hashed: &&Hashed| (0..hashed.rows.len()).map(|row| hashed.rows.kind(row) as u8).collect::<Vec<_>>();
    let hashes = hashes_of(some.iter().flat_map(|hashed| hashed.hashes.iter().copied()));
    let kinds = UInt8Array::from_iter_values(some.iter().flat_map(kinds));
    let rows = concat_batches(&some[0].rows.schema(), some.iter().map(|hashed| hashed.rows.batch()))?;
    let columns = [hashes, Arc::new(kinds) as ArrayRef].into_iter().chain(rows.columns().iter().cloned());
    Packed::new(columns.collect(), rows.num_rows()).map(Packed::into_batch)
}

/// One record, or several, if it would be too large.
fn write(
    batch: &RecordBatch,
    (part, object): (u8, Object),
    share: Share,
    snapshot: &mut Snapshot,
) -> std::result::Result<(), Error> {
    snapshot.add(object, share.groups(), &(part, Packed::from_batch(batch.clone())))?;
    updraft_kernel::yield_point();
    let rows = batch.num_rows();
    if rows > 1 && snapshot.saved.pop_if(|record| record.bytes.len() > BYTES).is_some() {
        write(&batch.slice(0, rows / 2), (part, object), share, snapshot)?;
        write(&batch.slice(rows / 2, rows - rows / 2), (part, object), share, snapshot)?;
    }
    Ok(())
}

/// The rows of a record, of this schema, as far as they are owned; none where none are.
pub(crate) fn load_rows(schema: &SchemaRef, share: Share, saved: &Saved) -> std::result::Result<Option<Hashed>, Error> {
    let packed = saved.read::<(u8, Packed)>()?.1;
    let kinds = packed.columns(1).first().and_then(|column| column.as_primitive_opt::<UInt8Type>());
    let kinds = kinds.ok_or_else(|| internal_datafusion_err!("what was saved has no kinds of rows"))?;
    let rows = packed.table(2, schema)?;
    let rows = match kinds.values().iter().all(|kind| *kind == RowKind::Insert as u8) {
        true => Rows::from(rows),
        false => Rows::changes(rows, kinds.values().iter().map(|kind| kind_of(*kind)).collect::<Vec<_>>()),
    };
    let hashes = packed.hashes()?;
    let hashed = match share.own_rows(&hashes) {
        None => Hashed { hashes: hashes.into(), rows },
        Some(own) => Hashed {
            hashes: own.iter().map(|row| hashes[*row as usize]).collect(),
            rows: rows.take(&UInt32Array::from(own))?,
        },
    };
    Ok(Some(hashed).filter(|hashed| !hashed.rows.is_empty()))
}

fn kind_of(number: u8) -> RowKind {
    let all = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    all.into_iter().find(|kind| *kind as u8 == number).unwrap_or_default()
}
