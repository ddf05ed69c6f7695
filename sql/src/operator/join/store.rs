//! What a join remembers of one input: rows by the hash of their key, and of each row an `X` (how often it was matched, say).
//!
//! The rows themselves are in a [`Log`] that only grows; [`Chains`] lead from hashes to their numbers. Rows that are removed leave the chains at once, and the log when
//! more than half of it is gone: then all rows are numbered anew.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use datafusion_common::hash_utils::{RandomState, create_hashes};
use updraft_dataflow::Hashed;

use super::chains::Chains;
use super::condition::equal_rows;
use super::log::{Log, NONE};
use super::saved::Saving;

/// Fewer rows that are gone are not worth numbering the others anew.
const FEW: usize = if cfg!(test) { 8 } else { 1024 };

/// What of the hash of a whole row is looked at. In tests most rows share theirs.
const BITS: u64 = if cfg!(test) { 1 } else { u64::MAX };

/// See the module's page.
#[derive(Clone, Debug)]
pub(super) struct Store<X> {
    pub(super) log: Log,
    pub(super) keys: Chains,
    /// Of each row, by its number.
    pub(super) extras: Vec<X>,
    pub(super) hashes: Vec<u64>,
    gone: usize,
    /// What of it is saved, and as which rows.
    pub(super) saving: Saving,
    /// By the hash of the whole row, once one was to be removed that way.
    rows: Option<ByRow>,
}

#[derive(Clone, Debug, Default)]
struct ByRow {
    hashes: Vec<u64>,
    chains: Chains,
}

impl ByRow {
    fn bytes(&self) -> usize {
        self.chains.bytes() + self.hashes.capacity() * size_of::<u64>()
    }
}

/// The hashes of whole rows.
fn hashes_of(batch: &RecordBatch) -> Result<Vec<u64>, DataFusionError> {
    let mut hashes = vec![0; batch.num_rows()];
    create_hashes(batch.columns(), &RandomState::with_seed(0), &mut hashes)?;
    hashes.iter_mut().for_each(|hash| *hash &= BITS);
    Ok(hashes)
}

impl<X: Copy> Store<X> {
    /// Without rows.
    pub(super) fn new(schema: SchemaRef) -> Self {
        let (log, keys) = (Log::new(schema), Chains::default());
        Self { log, keys, extras: Vec::new(), hashes: Vec::new(), gone: 0, saving: Saving::default(), rows: None }
    }

    /// With rows that come all at once; none is to be added or removed. `key` is the column where whole numbers are looked for.
    pub(super) fn load(schema: SchemaRef, rows: &[Hashed], key: Option<usize>, extra: X) -> Result<Self, ArrowError> {
        let mut log = Log::new(schema);
        let batches: Vec<_> = rows.iter().map(|rows| rows.rows.batch().clone()).collect();
        log.load(&batches)?;
        let mut hashes = Vec::with_capacity(log.len());
        rows.iter().for_each(|rows| hashes.extend_from_slice(&rows.hashes));
        let numbers = key.and_then(|key| log.whole(key)).map(|key| cast(key, &DataType::Int64)).transpose()?;
        let dense = numbers.and_then(|numbers| Chains::of_numbers(numbers.as_primitive()));
        let keys = dense.unwrap_or_else(|| Chains::of(&hashes));
        let mut saving = Saving::default();
        (0..log.len()).for_each(|row| saving.journal.touch(row));
        Ok(Self { extras: vec![extra; log.len()], log, keys, hashes, gone: 0, saving, rows: None })
    }

    /// The numbers of all rows.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..self.log.len() as u32).filter(|row| self.keys.holds(*row))
    }

    /// The hash of a row's key.
    pub(super) fn hash(&self, row: u32) -> u64 {
        self.hashes[row as usize]
    }

    /// Adds rows.
    pub(super) fn push(
        &mut self,
        batch: RecordBatch,
        hashes: &[u64],
        extras: impl IntoIterator<Item = X>,
    ) -> Result<(), DataFusionError> {
        if let Some(rows) = &mut self.rows {
            let hashes = hashes_of(&batch)?;
            rows.chains.push(&hashes);
            rows.hashes.extend(hashes);
        }
        let first = self.log.len();
        self.log.push(batch)?;
        (first..self.log.len()).for_each(|row| self.saving.journal.touch(row));
        self.keys.push(hashes);
        self.hashes.extend_from_slice(hashes);
        self.extras.extend(extras);
        debug_assert!(self.extras.len() == self.log.len() && self.hashes.len() == self.log.len());
        Ok(())
    }

    /// What belongs to a row, which may change.
    #[inline]
    pub(super) fn extra_mut(&mut self, row: u32) -> &mut X {
        self.saving.journal.touch(row as usize);
        &mut self.extras[row as usize]
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, row: u32) {
        self.saving.remove(row);
        self.keys.unlink(self.hashes[row as usize], row);
        if let Some(rows) = &mut self.rows
            && rows.chains.holds(row)
        {
            rows.chains.unlink(rows.hashes[row as usize], row);
        }
        self.gone += 1;
    }

    /// Removes, for each of `batch`, one row that equals it.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn remove_equal(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let hashes = hashes_of(batch)?;
        self.index_rows()?;
        let mut found: Vec<u32> = hashes.iter().map(|hash| self.pop(*hash)).collect();
        let (all, pairs) = numbered(&found);
        let equal = equal_rows(&Log::of(batch), &all, &self.log, &pairs)?;
        // Of those with the same hash, that were in the way, each may be what another looks for.
        let wrong: Vec<usize> = (0..all.len()).filter(|at| !equal[*at]).collect();
        wrong.iter().for_each(|at| self.relink(pairs[*at]));
        for row in wrong.into_iter().map(|at| all[at]) {
            found[row as usize] = self.search(batch, row, hashes[row as usize])?;
        }
        for (row, found) in found.into_iter().enumerate() {
            if found == NONE {
                return Err(DataFusionError::Execution(unknown(batch, row)));
            }
            self.remove(found);
        }
        Ok(())
    }

    /// Takes the first row of a whole row's hash from its chain.
    fn pop(&mut self, hash: u64) -> u32 {
        let Some(rows) = &mut self.rows else { return NONE };
        let first = rows.chains.first(hash);
        if first != NONE {
            rows.chains.unlink(hash, first);
        }
        first
    }

    fn relink(&mut self, row: u32) {
        if let Some(rows) = &mut self.rows {
            rows.chains.link(rows.hashes[row as usize], row);
        }
    }

    /// Takes the row that equals the `row`th of `batch` from its chain, one after the other.
    fn search(&mut self, batch: &RecordBatch, row: u32, hash: u64) -> Result<u32, DataFusionError> {
        let Some(rows) = &mut self.rows else { return Ok(NONE) };
        let others: Vec<u32> = rows.chains.of_hash(hash).collect();
        let equal = equal_rows(&Log::of(batch), &vec![row; others.len()], &self.log, &others)?;
        let found = others.into_iter().zip(equal).find(|(_, equal)| *equal).map_or(NONE, |(other, _)| other);
        if found != NONE {
            rows.chains.unlink(hash, found);
        }
        Ok(found)
    }

    /// Finds rows by the whole of them from now on.
    fn index_rows(&mut self) -> Result<(), DataFusionError> {
        if self.rows.is_none() {
            let all: Vec<u32> = (0..self.log.len() as u32).collect();
            let hashes = hashes_of(&self.log.batch(&all)?)?;
            let mut chains = Chains::of(&hashes);
            let gone = all.into_iter().filter(|row| !self.keys.holds(*row));
            gone.for_each(|row| chains.unlink(hashes[row as usize], row));
            self.rows = Some(ByRow { hashes, chains });
        }
        Ok(())
    }

    /// Numbers the rows anew if more than half are gone: then the old numbers, by the new ones.
    pub(super) fn compact(&mut self) -> Result<Option<Vec<u32>>, DataFusionError> {
        if self.gone < FEW || 2 * self.gone < self.log.len() {
            return Ok(None);
        }
        let kept: Vec<u32> = self.numbers().collect();
        self.log = self.log.retain(&kept)?;
        self.hashes = kept.iter().map(|row| self.hashes[*row as usize]).collect();
        self.extras = kept.iter().map(|row| self.extras[*row as usize]).collect();
        self.keys = Chains::default();
        self.keys.push(&self.hashes);
        if let Some(rows) = &mut self.rows {
            rows.hashes = kept.iter().map(|row| rows.hashes[*row as usize]).collect();
            rows.chains = Chains::default();
            rows.chains.push(&rows.hashes);
        }
        self.gone = 0;
        self.saving.renumber(&kept);
        Ok(Some(kept))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let rows = self.rows.as_ref().map_or(0, ByRow::bytes);
        let each = self.hashes.capacity() * size_of::<u64>() + self.extras.capacity() * size_of::<X>();
        self.log.bytes() + self.keys.bytes() + self.saving.bytes() + each + rows
    }
}

/// The pairs of which the second is there.
fn numbered(found: &[u32]) -> (Vec<u32>, Vec<u32>) {
    found.iter().enumerate().filter(|(_, found)| **found != NONE).map(|(row, found)| (row as u32, *found)).unzip()
}

fn unknown(batch: &RecordBatch, row: usize) -> String {
    let shown = |column: &arrow::array::ArrayRef| {
        arrow::util::display::array_value_to_string(column, row).unwrap_or_else(|_| "?".into())
    };
    let values: Vec<_> = batch.columns().iter().map(shown).collect();
    format!(
        "a join was told that the row ({}) is deleted, and never that it was inserted: its input must give each row that it \
         deletes before",
        values.join(", ")
    )
}

/// Some rows of a batch that comes with hashes.
pub(super) fn take_hashed(
    batch: &RecordBatch,
    hashes: &[u64],
    rows: &[u32],
) -> Result<(RecordBatch, Vec<u64>), ArrowError> {
    let taken = take_record_batch(batch, &UInt32Array::from(rows.to_vec()))?;
    Ok((taken, rows.iter().map(|row| hashes[*row as usize]).collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::sync::Arc;

    use arrow::array::{Array, Int64Array, ListArray, StringViewArray, StructArray};
    use arrow::datatypes::{Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;

    fn schema() -> SchemaRef {
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let parts = vec![Field::new("name", DataType::Utf8View, true), Field::new("list", DataType::List(item), true)];
        let row = Field::new("row", DataType::Struct(parts.into()), true);
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), row]))
    }

    /// A row for each number: the same for the same one. Some of them differ in what is nested only.
    fn batch(numbers: &[i64]) -> RecordBatch {
        let schema = schema();
        let DataType::Struct(parts) = schema.field(1).data_type() else { unreachable!() };
        let names = numbers.iter().map(|n| (n % 3 > 0).then_some("a name that is too long for a view"));
        let lists = numbers.iter().map(|n| (n % 5 > 0).then(|| (0..n % 5).map(|i| (i > 0).then_some(*n))));
        let names = Arc::new(names.collect::<StringViewArray>());
        let lists = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let nested = StructArray::new(parts.clone(), vec![names, lists], None);
        let n = numbers.iter().map(|n| (n % 2 > 0).then_some(n / 4)).collect::<Int64Array>();
        RecordBatch::try_new(schema, vec![Arc::new(n), Arc::new(nested)]).unwrap()
    }

    /// What rows look like, in any order.
    fn shown(batch: &RecordBatch) -> Vec<String> {
        let row = |row| format!("{:?}", batch.columns().iter().map(|column| column.slice(row, 1)).collect::<Vec<_>>());
        let mut rows: Vec<String> = (0..batch.num_rows()).map(row).collect();
        rows.sort();
        rows
    }

    fn hash(number: i64) -> u64 {
        number as u64 % 4
    }

    proptest! {
        /// Rows come and go, are found by their keys' hashes, and keep what belongs to them, whatever their numbers are.
        #[test]
        fn what_is_stored_is_what_came_and_did_not_go(
            steps in proptest::collection::vec((proptest::collection::vec(0i64..20, 1..9), 0usize..9), 1..60),
        ) {
            let mut store = Store::<u64>::new(schema());
            let mut model: Vec<i64> = Vec::new();
            for (come, go) in steps {
                let hashes: Vec<u64> = come.iter().map(|n| hash(*n)).collect();
                store.push(batch(&come), &hashes, hashes.iter().copied()).unwrap();
                model.extend(come);
                let gone: Vec<i64> = (0..go.min(model.len())).map(|at| model.swap_remove(at * 7 % model.len())).collect();
                if !gone.is_empty() {
                    store.remove_equal(&batch(&gone)).unwrap();
                }
                store.compact().unwrap();
                let numbers: Vec<u32> = store.numbers().collect();
                prop_assert_eq!(shown(&store.log.batch(&numbers).unwrap()), shown(&batch(&model)));
                for key in 0..4 {
                    let found: Vec<u32> = store.keys.of_hash(key).collect();
                    prop_assert!(found.iter().all(|row| store.extras[*row as usize] == key && store.hash(*row) == key));
                    let of_key: Vec<i64> = model.iter().copied().filter(|n| hash(*n) == key).collect();
                    prop_assert_eq!(shown(&store.log.batch(&found).unwrap()), shown(&batch(&of_key)));
                }
            }
            let unknown = store.remove_equal(&batch(&[99])).unwrap_err().to_string();
            prop_assert!(unknown.contains("never that it was inserted"), "{}", unknown);
        }
    }

    /// Whole numbers that lie close together are looked up without hashes; others, and nulls, are not found.
    #[test]
    fn numbers_are_found_by_themselves() {
        let keys = Int64Array::from(vec![Some(-3), None, Some(4), Some(-3), Some(0)]);
        let chains = Chains::of_numbers(&keys).unwrap();
        let asked = Int64Array::from(vec![-3, 4, 0, 1, -4, 5, i64::MIN, i64::MAX]);
        let firsts = chains.firsts(&asked);
        assert_eq!(firsts, [0, 2, 4, NONE, NONE, NONE, NONE, NONE]);
        assert_eq!([chains.next(0), chains.next(3), chains.next(2)], [3, NONE, NONE]);
        assert!(chains.is_long() && chains.holds(1));
        let apart = [vec![0, 1_000], vec![i64::MIN, i64::MAX], vec![i64::MIN, 0]].map(Int64Array::from);
        assert!(apart.iter().all(|keys| Chains::of_numbers(keys).is_none()));
        assert!(Chains::of_numbers(&Int64Array::new_null(3)).is_none());
    }
}
