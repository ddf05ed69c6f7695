//! [`Log`]: a row for each number, in columns that are only ever appended.
//!
//! What changes is written as a new run behind the others; what it replaces is garbage. Runs are merged so that each is at
//! least twice as long as the next: a row is copied a logarithmic number of times, and there are few runs to look into.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::Result;

use super::keys::Id;
use super::saved::{Packed, numbers_of};

/// Rows by number.
pub(crate) struct Log {
    schema: SchemaRef,
    runs: Vec<Run>,
    places: Vec<Option<Place>>,
    live: usize,
    bytes: usize,
}

struct Run {
    batch: RecordBatch,
    ids: Vec<Id>,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    run: u32,
    row: u32,
}

/// Garbage that is not worth a look.
const SLACK: usize = 1024;

impl Log {
    /// Without rows.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema, runs: Vec::new(), places: Vec::new(), live: 0, bytes: 0 }
    }

    /// Whether there is a row of this number.
    pub(crate) fn has(&self, id: Id) -> bool {
        self.places.get(id as usize).copied().flatten().is_some()
    }

    /// The rows of these numbers, each of which there must be.
    pub(crate) fn gather(&self, ids: &[Id]) -> Result<RecordBatch> {
        let places = ids.iter().filter_map(|id| self.places[*id as usize]);
        let picks: Vec<_> = places.map(|place| (place.run as usize, place.row as usize)).collect();
        debug_assert_eq!(picks.len(), ids.len(), "rows that are there");
        self.pick(&self.runs, &picks)
    }

    fn pick(&self, runs: &[Run], picks: &[(usize, usize)]) -> Result<RecordBatch> {
        if picks.is_empty() {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let batches: Vec<_> = runs.iter().map(|run| &run.batch).collect();
        Ok(interleave_record_batch(&batches, picks)?)
    }

    /// Writes the rows of these numbers, all different, in place of those that they had.
    pub(crate) fn put(&mut self, ids: &[Id], rows: RecordBatch) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.append(ids.to_vec(), rows)?;
        self.tidy()
    }

    fn append(&mut self, ids: Vec<Id>, rows: RecordBatch) -> Result<()> {
        let batch = compacted(&rows)?;
        let run = self.runs.len() as u32;
        for (row, id) in ids.iter().enumerate() {
            let id = *id as usize;
            if id >= self.places.len() {
                self.places.resize(id + 1, None);
            }
            let before = self.places[id].replace(Place { run, row: row as u32 });
            self.live += usize::from(before.is_none());
        }
        let bytes = batch.get_array_memory_size() + ids.len() * size_of::<Id>();
        self.bytes += bytes;
        self.runs.push(Run { batch, ids, bytes });
        Ok(())
    }

    /// Forgets the rows of these numbers.
    pub(crate) fn remove(&mut self, ids: impl IntoIterator<Item = Id>) -> Result<()> {
        for id in ids {
            let place = self.places.get_mut(id as usize).and_then(Option::take);
            self.live -= usize::from(place.is_some());
        }
        self.tidy()
    }

    /// Merges runs that are too short beside each other, and all where more than half is garbage.
    fn tidy(&mut self) -> Result<()> {
        let rows: usize = self.runs.iter().map(|run| run.ids.len()).sum();
        if rows > 2 * self.live + SLACK {
            return self.merge(0);
        }
        let mut from = self.runs.len().saturating_sub(1);
        let mut length = self.runs.last().map_or(0, |run| run.ids.len());
        while from > 0 && self.runs[from - 1].ids.len() < 2 * length {
            from -= 1;
            length += self.runs[from].ids.len();
        }
        if from + 1 < self.runs.len() { self.merge(from) } else { Ok(()) }
    }

    /// Makes one run of those from `from` on, without what is garbage.
    fn merge(&mut self, from: usize) -> Result<()> {
        let runs = self.runs.split_off(from);
        let mut picks = Vec::new();
        let mut ids = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            for (row, id) in run.ids.iter().enumerate() {
                let place = Place { run: (from + at) as u32, row: row as u32 };
                if self.places[*id as usize] == Some(place) {
                    picks.push((at, row));
                    ids.push(*id);
                }
            }
        }
        self.bytes -= runs.iter().map(|run| run.bytes).sum::<usize>();
        let rows = self.pick(&runs, &picks)?;
        if ids.is_empty() { Ok(()) } else { self.append(ids, rows) }
    }

    /// The rows of those of these numbers that have one, each with its number's place among them, as they are written.
    pub(crate) fn pack(&self, ids: &[Id]) -> Result<Packed> {
        let of: Vec<_> = (0..ids.len()).filter(|at| self.has(ids[*at])).collect();
        let rows = self.gather(&of.iter().map(|at| ids[*at]).collect::<Vec<_>>())?;
        let mut columns = vec![numbers_of(of.iter().map(|at| *at as i64))];
        columns.extend(rows.columns().iter().cloned());
        Packed::new(columns, of.len())
    }

    /// Takes rows back that were written, of these numbers.
    pub(crate) fn unpack(&mut self, ids: &[Id], packed: &Packed) -> Result<()> {
        self.put(&packed.of(ids)?, packed.table(1, &self.schema)?)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.places.len() * size_of::<Option<Place>>()
    }
}

/// The rows, each column [`compact`].
fn compacted(rows: &RecordBatch) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(rows.schema(), rows.columns().iter().map(compact).collect())?)
}

/// A column without text that it shares with others: what is kept must not hold on to what is not.
pub(crate) fn compact(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => column.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::collections::BTreeMap;

    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;

    fn rows(values: &[i64]) -> RecordBatch {
        let text = values.iter().map(|value| Some(format!("a text that is long enough: {value}")));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(values.to_vec())), Arc::new(text.collect::<StringViewArray>())];
        let fields = vec![Field::new("n", DataType::Int64, false), Field::new("text", DataType::Utf8View, false)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// It keeps to what a map would, in few runs, without much more garbage than rows.
        #[test]
        fn rows_by_number(steps in prop::collection::vec((prop::collection::btree_set(0u32..600, 0..300), any::<bool>()), 1..40)) {
            let (mut log, mut map, mut next) = (Log::new(rows(&[]).schema()), BTreeMap::new(), 0);
            for (ids, put) in steps {
                let ids: Vec<_> = ids.into_iter().collect();
                if put {
                    let values: Vec<_> = ids.iter().map(|_| { next += 1; next }).collect();
                    log.put(&ids, rows(&values)).unwrap();
                    map.extend(ids.into_iter().zip(values));
                } else {
                    log.remove(ids.iter().copied()).unwrap();
                    map.retain(|id, _| !ids.contains(id));
                }
                let (ids, values): (Vec<_>, Vec<_>) = map.iter().map(|(id, value)| (*id, *value)).unzip();
                prop_assert!((0..600).all(|id| log.has(id) == map.contains_key(&id)));
                prop_assert_eq!(log.gather(&ids).unwrap(), rows(&values));
                prop_assert!(log.runs.len() <= 12, "{} runs", log.runs.len());
                let held: usize = log.runs.iter().map(|run| run.ids.len()).sum();
                prop_assert!(held <= 2 * map.len() + SLACK);
            }
        }
    }

    #[test]
    fn what_is_kept_does_not_hold_on_to_the_text_of_its_neighbours() {
        let all = rows(&(0..10_000).collect::<Vec<_>>());
        let mut log = Log::new(all.schema());
        log.put(&[3], all.slice(5_000, 1)).unwrap();
        assert!(log.bytes() < 100_000, "{} bytes", log.bytes());
        assert_eq!(log.gather(&[3]).unwrap().column(0).as_primitive::<Int64Type>().value(0), 5_000);
    }
}
