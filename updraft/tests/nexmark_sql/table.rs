//! Rows as text, counted: what two ways to compute a table are compared by.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use updraft::dataflow::Rows;

/// How often each row is in a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counted(BTreeMap<Vec<String>, i64>);

impl Counted {
    /// What a changelog comes to: no row goes that has not come.
    pub(crate) fn of_changes(changes: &[Rows]) -> Self {
        let mut table = Self::default();
        for rows in changes {
            for (at, row) in cells(rows.batch()).into_iter().enumerate() {
                table.add(row, rows.kind(at).weight());
            }
        }
        let wrong = table.0.iter().find(|(_, count)| **count < 0);
        assert!(wrong.is_none(), "a row has gone more often than it has come: {wrong:?}");
        table
    }

    pub(crate) fn of_batches(batches: &[RecordBatch]) -> Self {
        batches.iter().flat_map(cells).collect()
    }

    fn add(&mut self, row: Vec<String>, weight: i64) {
        let count = self.0.get(&row).map_or(weight, |count| count + weight);
        match count {
            0 => drop(self.0.remove(&row)),
            _ => drop(self.0.insert(row, count)),
        }
    }

    /// Each row as often as it is there.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[String]> {
        self.0.iter().flat_map(|(row, count)| (0..*count).map(|_| row.as_slice()))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows().count()
    }

    /// Some columns only.
    pub(crate) fn columns(&self, columns: &[usize]) -> Self {
        self.rows().map(|row| columns.iter().map(|column| row[*column].clone()).collect()).collect()
    }

    /// Fails with the first rows that are not in both.
    pub(crate) fn assert_is(&self, expected: &Self, of: &str) {
        let lacks = |one: &Self, other: &Self| -> Vec<_> {
            let of_other = |row| other.0.get(row).copied().unwrap_or_default();
            let fewer = one.0.iter().filter(|(row, count)| of_other(*row) < **count);
            fewer.take(5).map(|(row, count)| format!("{} × {count}", row.join("|"))).collect()
        };
        let (missing, extra) = (lacks(expected, self), lacks(self, expected));
        let counts = (self.len(), expected.len());
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{of}, rows {counts:?}\nmissing: {missing:#?}\ntoo many: {extra:#?}"
        );
    }
}

impl FromIterator<Vec<String>> for Counted {
    fn from_iter<I: IntoIterator<Item = Vec<String>>>(rows: I) -> Self {
        let mut table = Self::default();
        rows.into_iter().for_each(|row| table.add(row, 1));
        table
    }
}

fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::new().with_null("NULL");
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap());
    let columns: Vec<_> = columns.collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()).collect()
}
