//! Rows in columns for tests, and a grouping of them that is as simple as can be: how many, and their sum, by a key.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use updraft_dataflow::window::{Grouping, Window, piece_of};
use updraft_dataflow::{Error, KeyGroup, Rows, Time};

/// Time, key and value.
pub(crate) type Event = (i64, i64, i64);
/// Key, how many, and their sum.
type Group = (i64, i64, i64);

/// Three columns, or more, of integers.
fn batch<const N: usize>(names: [&str; N], rows: &[[i64; N]]) -> RecordBatch {
    let column = |at: usize| -> ArrayRef { Arc::new(rows.iter().map(|row| row[at]).collect::<Int64Array>()) };
    RecordBatch::try_from_iter(names.into_iter().enumerate().map(|(at, name)| (name, column(at)))).unwrap()
}

/// A column of integers.
pub(crate) fn column(batch: &RecordBatch, index: usize) -> &[i64] {
    batch.column(index).as_primitive::<Int64Type>().values()
}

/// Events in columns.
pub(crate) fn rows(events: &[Event]) -> Rows {
    let rows: Vec<_> = events.iter().map(|(time, key, value)| [*time, *key, *value]).collect();
    Rows::from(batch(["time", "key", "value"], &rows))
}

/// Events out of columns.
pub(crate) fn events(rows: &Rows) -> Vec<Event> {
    let columns = [0, 1, 2].map(|index| column(rows.batch(), index));
    (0..rows.len()).map(|row| (columns[0][row], columns[1][row], columns[2][row])).collect()
}

/// A result row: a window, a key, how many, and their sum.
pub(crate) type Row = (Window, i64, (u64, i64));

/// The result rows of [`CountAndSum`].
pub(crate) fn results(rows: &Rows) -> Vec<Row> {
    let columns = [0, 1, 2, 3, 4].map(|index| column(rows.batch(), index));
    let window = |row: usize| Window { start: Time(columns[0][row]), end: Time(columns[1][row]) };
    (0..rows.len()).map(|row| (window(row), columns[2][row], (columns[3][row] as u64, columns[4][row]))).collect()
}

/// How many rows of [`rows`] each key has, and their sum.
#[derive(Clone, Copy, Default)]
pub(crate) struct CountAndSum {
    /// All rows have the same key; then there is a result for none, too.
    pub(crate) keyless: bool,
    /// The event time of rows is when they come.
    pub(crate) by_arrival: bool,
}

fn hash_of(key: i64) -> u64 {
    let mixed = (key as u64 ^ 0x9E37_79B9).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

fn groups(sum: &RecordBatch) -> impl Iterator<Item = Group> + '_ {
    let columns = [0, 1, 2].map(|index| column(sum, index));
    (0..sum.num_rows()).map(move |row| (columns[0][row], columns[1][row], columns[2][row]))
}

fn sum_of(groups: &[Group]) -> RecordBatch {
    let rows: Vec<_> = groups.iter().map(|(key, count, sum)| [*key, *count, *sum]).collect();
    batch(["key", "count", "sum"], &rows)
}

impl Grouping for CountAndSum {
    type Partial = HashMap<i64, (i64, i64)>;
    type Sum = RecordBatch;

    fn times(&self, rows: &Rows, time: Time) -> Vec<i64> {
        if self.by_arrival { vec![time.0; rows.len()] } else { column(rows.batch(), 0).to_vec() }
    }

    fn create(&self, _: usize) -> Self::Partial {
        HashMap::new()
    }

    fn update(&self, partial: &mut Self::Partial, rows: &Rows) {
        for (_, key, value) in events(rows) {
            let group = partial.entry(if self.keyless { 0 } else { key }).or_default();
            *group = (group.0 + 1, group.1 + value);
        }
    }

    fn merge(&self, partial: &mut Self::Partial, sum: &RecordBatch) {
        for (key, count, sum) in groups(sum) {
            let group = partial.entry(key).or_default();
            *group = (group.0 + count, group.1 + sum);
        }
    }

    fn split(&self, partial: Self::Partial, pieces: usize) -> Vec<RecordBatch> {
        let mut ranges = vec![Vec::new(); pieces];
        for (key, (count, sum)) in partial {
            ranges[piece_of(hash_of(key), pieces)].push((key, count, sum));
        }
        ranges.iter().map(|groups| sum_of(groups)).collect()
    }

    fn finish(&self, mut partial: Self::Partial, window: Window, emit: &mut dyn FnMut(Rows)) {
        if self.keyless {
            partial.entry(0).or_default();
        }
        let row = |(key, (count, sum)): (i64, (i64, i64))| [window.start.0, window.end.0, key, count, sum];
        let rows: Vec<_> = partial.into_iter().map(row).collect();
        for some in rows.chunks(7) {
            emit(Rows::from(batch(["start", "end", "key", "count", "sum"], some)));
        }
    }

    fn tells_of_nothing(&self) -> bool {
        self.keyless
    }

    fn len(&self, partial: &Self::Partial) -> usize {
        partial.len()
    }

    fn bytes(&self, partial: &Self::Partial) -> usize {
        partial.len() * size_of::<Group>()
    }

    fn sum_bytes(&self, sum: &RecordBatch) -> usize {
        sum.num_rows() * size_of::<Group>()
    }

    fn save(&self, sum: &RecordBatch) -> Result<Vec<(KeyGroup, Vec<u8>)>, Error> {
        let mut saved = HashMap::<KeyGroup, Vec<u8>>::new();
        for (key, count, sum) in groups(sum) {
            let bytes = [key, count, sum].into_iter().flat_map(i64::to_le_bytes);
            saved.entry(KeyGroup::of(hash_of(key))).or_default().extend(bytes);
        }
        Ok(saved.into_iter().collect())
    }

    fn save_some(
        &self,
        partial: &mut Self::Partial,
        some: RangeInclusive<KeyGroup>,
    ) -> Result<Vec<(KeyGroup, Vec<u8>)>, Error> {
        let mut saved = self.save(&self.split(partial.clone(), 1)[0])?;
        saved.retain(|(group, _)| some.contains(group));
        Ok(saved)
    }

    fn load(&self, _: KeyGroup, bytes: &[u8]) -> Result<RecordBatch, Error> {
        let (words, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() || words.len() % 3 != 0 {
            return Err("groups are cut short".into());
        }
        let words: Vec<_> = words.iter().map(|word| i64::from_le_bytes(*word)).collect();
        Ok(sum_of(&words.chunks(3).map(|group| (group[0], group[1], group[2])).collect::<Vec<_>>()))
    }
}
