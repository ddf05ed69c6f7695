//! [`Rows`]: the record of SQL, of atoms and of the wire: many rows at once, in Arrow's columns.
//!
//! A bundle of them most often holds one. What flows need not be appended only: each row has a [`RowKind`], as in
//! Flink's changelogs. [`Hashed`] are rows on their way to the kernels that own their keys.

use std::any::{Any, TypeId};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use arrow_select::filter::FilterBuilder;
use arrow_select::take::take_record_batch;

use crate::join::Side;
use crate::keyed::{Dealt, owner_of_hash};

/// What a row does to the table that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum RowKind {
    /// It is new.
    #[default]
    Insert,
    /// It was there, and is about to be replaced by the [`UpdateAfter`](Self::UpdateAfter) that follows.
    UpdateBefore,
    /// It replaces the one before.
    UpdateAfter,
    /// It was there, and is no more.
    Delete,
}

impl RowKind {
    /// 1 where the row comes, -1 where it goes.
    pub fn weight(self) -> i64 {
        match self {
            Self::Insert | Self::UpdateAfter => 1,
            Self::UpdateBefore | Self::Delete => -1,
        }
    }

    /// Whether the row comes.
    pub fn is_addition(self) -> bool {
        self.weight() > 0
    }

    /// As Flink prints it: `+I`, `-U`, `+U` or `-D`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }
}

/// Some rows in columns, and what each of them does.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    batch: RecordBatch,
    /// `None` where all are inserted.
    kinds: Option<Arc<[RowKind]>>,
}

impl From<RecordBatch> for Rows {
    /// All rows are inserted.
    fn from(batch: RecordBatch) -> Self {
        Self { batch, kinds: None }
    }
}

impl Rows {
    /// Rows and what each of them does.
    ///
    /// # Panics
    /// When there are not as many kinds as rows.
    pub fn changes(batch: RecordBatch, kinds: impl Into<Arc<[RowKind]>>) -> Self {
        let kinds = kinds.into();
        assert_eq!(kinds.len(), batch.num_rows(), "a kind for each row");
        let plain = kinds.iter().all(|kind| *kind == RowKind::Insert);
        Self { batch, kinds: (!plain).then_some(kinds) }
    }

    /// The columns.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The columns' names and types.
    pub fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    /// What each row does; `None` where all are inserted.
    pub fn kinds(&self) -> Option<&[RowKind]> {
        self.kinds.as_deref()
    }

    /// What row `row` does.
    pub fn kind(&self, row: usize) -> RowKind {
        self.kinds.as_ref().map_or(RowKind::Insert, |kinds| kinds[row])
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same rows with other columns: `batch` must have as many.
    ///
    /// # Panics
    /// When it has not.
    #[must_use]
    pub fn with_batch(self, batch: RecordBatch) -> Self {
        assert_eq!(batch.num_rows(), self.batch.num_rows(), "as many rows as before");
        Self { batch, kinds: self.kinds }
    }

    /// Some rows that follow each other; nothing is copied but their kinds.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let batch = self.batch.slice(range.start, range.len());
        match &self.kinds {
            Some(kinds) => Self::changes(batch, &kinds[range]),
            None => batch.into(),
        }
    }

    /// Some rows, by their numbers.
    ///
    /// # Errors
    /// When a column cannot be copied.
    pub fn take(&self, rows: &UInt32Array) -> Result<Self, ArrowError> {
        let batch = match self.batch.num_columns() {
            // What has no columns still has rows.
            0 => {
                let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
                RecordBatch::try_new_with_options(self.batch.schema(), Vec::new(), &options)?
            }
            _ => take_record_batch(&self.batch, rows)?,
        };
        Ok(match &self.kinds {
            Some(kinds) => {
                let taken: Arc<[_]> = rows.values().iter().map(|row| kinds[*row as usize]).collect();
                Self::changes(batch, taken)
            }
            None => batch.into(),
        })
    }

    /// The rows for which `keep` is true.
    ///
    /// # Errors
    /// When a column cannot be copied.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        let filter = FilterBuilder::new(keep).optimize().build();
        let batch = filter.filter_record_batch(&self.batch)?;
        Ok(match &self.kinds {
            Some(kinds) => {
                let kept: Arc<[_]> =
                    kinds.iter().zip(keep).filter(|(_, keep)| *keep == Some(true)).map(|(kind, _)| *kind).collect();
                Self::changes(batch, kept)
            }
            None => batch.into(),
        })
    }

    /// Bytes of memory, for the account: of what these rows use of their buffers.
    pub fn bytes(&self) -> usize {
        let kinds = self.kinds.as_ref().map_or(0, |kinds| kinds.len());
        kinds + self.batch.columns().iter().map(|column| bytes_of_column(column)).sum::<usize>()
    }
}

/// Bytes that a column's values use of its buffers: of numbers, without a look at these.
fn bytes_of_column(column: &dyn Array) -> usize {
    match column.data_type().primitive_width() {
        Some(width) => {
            let nulls = column.nulls().map_or(0, |_| column.len().div_ceil(8));
            column.len() * width + nulls
        }
        None => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
    }
}

/// Rows, and the hash of each one's key: who owns it, and where to look for it.
#[derive(Clone, Debug)]
pub struct Hashed {
    /// As many as rows. Rows of equal keys have equal ones.
    pub hashes: Arc<[u64]>,
    /// The rows.
    pub rows: Rows,
}

impl Hashed {
    /// No rows: what comes after the last ones of an input of two, once, on each kernel.
    #[must_use]
    pub fn end() -> Self {
        Self { hashes: Arc::from([]), rows: RecordBatch::new_empty(Arc::new(Schema::empty())).into() }
    }

    /// Whether the input has ended: else there are rows.
    pub fn is_end(&self) -> bool {
        self.rows.is_empty()
    }

    fn take(&self, numbers: Vec<u32>) -> Self {
        let hashes = numbers.iter().map(|row| self.hashes[*row as usize]).collect();
        let rows = self.rows.take(&numbers.into()).expect("numbers of rows that are there");
        Self { hashes, rows }
    }
}

/// A record that is made of rows.
fn rows_of<T: 'static>(record: &T) -> Option<&Rows> {
    let record = record as &dyn Any;
    let side = || match record.downcast_ref::<Side<Hashed, Hashed>>()? {
        Side::Left(hashed) | Side::Right(hashed) => Some(&hashed.rows),
    };
    record.downcast_ref().or_else(|| Some(&record.downcast_ref::<Hashed>()?.rows)).or_else(side)
}

/// Whether records of this type are [`Rows`].
pub(crate) fn are_rows<T: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<Rows>()
}

/// Some rows of a record, if it is [`Rows`].
pub(crate) fn slice_of<T: 'static>(record: &T, range: Range<usize>) -> Option<T> {
    let mut slice = Some((record as &dyn Any).downcast_ref::<Rows>()?.slice(range));
    (&mut slice as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

/// How many records; or how many rows, where they are made of them.
pub(crate) fn count_of<T: 'static>(records: &[T]) -> usize {
    match records.first().and_then(rows_of) {
        None => records.len(),
        Some(_) => records.iter().filter_map(rows_of).map(Rows::len).sum(),
    }
}

/// Bytes of a vector's elements; or of what they are made of, where that is rows.
pub(crate) fn bytes_of<T: 'static>(records: &[T]) -> usize {
    let own = size_of_val(records);
    match records.first().and_then(rows_of) {
        None => own,
        Some(_) => own + records.iter().filter_map(rows_of).map(Rows::bytes).sum::<usize>(),
    }
}

impl Dealt for Hashed {
    /// Where there are no rows nothing is dealt out: that would be taken for the end.
    fn deal(self, drivers: usize, give: &mut impl FnMut(usize, Self)) {
        if self.rows.is_empty() {
            return;
        }
        if drivers == 1 {
            return give(0, self);
        }
        let mut lanes = vec![Vec::new(); drivers];
        for (row, hash) in self.hashes.iter().enumerate() {
            lanes[owner_of_hash(*hash, drivers)].push(row as u32);
        }
        for (owner, numbers) in lanes.into_iter().enumerate() {
            if numbers.len() == self.rows.len() {
                return give(owner, self);
            }
            if !numbers.is_empty() {
                give(owner, self.take(numbers));
            }
        }
    }
}

/// The rows of the two inputs of a join.
impl Dealt for Side<Hashed, Hashed> {
    fn deal(self, drivers: usize, give: &mut impl FnMut(usize, Self)) {
        match self {
            Self::Left(rows) => rows.deal(drivers, &mut |owner, rows| give(owner, Self::Left(rows))),
            Self::Right(rows) => rows.deal(drivers, &mut |owner, rows| give(owner, Self::Right(rows))),
        }
    }
}
