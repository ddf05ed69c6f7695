//! Rows by number, in batches that are never changed: what a [`Store`](super::store::Store) keeps, and what a bundle is while it
//! is joined.
//!
//! Small batches are put together into larger ones as more come, as in a log-structured merge tree, so that rows are picked from
//! few of them; numbers stay what they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat_batches, interleave, take, take_record_batch};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, SchemaRef, StringViewType};
use arrow::error::ArrowError;

/// No row.
pub(super) const NONE: u32 = u32::MAX;

/// The greatest number of rows: numbers above it have a meaning of their own.
const MOST: usize = u32::MAX as usize - 2;

/// So many segments of about the same size become one.
const FAN: usize = 8;

/// Segments from this size on stay as they are.
const LARGE_ROWS: usize = 1 << 20;
const LARGE_BYTES: usize = 128 << 20;

/// See the module's page.
#[derive(Clone, Debug)]
pub(super) struct Log {
    schema: SchemaRef,
    segments: Vec<Segment>,
    rows: usize,
}

#[derive(Clone, Debug)]
struct Segment {
    /// The number of its first row.
    start: u32,
    batch: RecordBatch,
    bytes: usize,
}

impl Segment {
    fn is_large(&self) -> bool {
        self.batch.num_rows() >= LARGE_ROWS || self.bytes >= LARGE_BYTES
    }

    /// Those of one class have about the same size.
    fn class(&self) -> u32 {
        self.batch.num_rows().max(1).ilog2() / FAN.ilog2()
    }
}

impl Log {
    /// Without rows.
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, segments: Vec::new(), rows: 0 }
    }

    /// The rows of a bundle, which nothing is to be added to.
    pub(super) fn of(batch: &RecordBatch) -> Self {
        let segment = Segment { start: 0, batch: batch.clone(), bytes: 0 };
        Self { schema: batch.schema(), rows: batch.num_rows(), segments: vec![segment] }
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Bytes of its columns.
    pub(super) fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Its columns.
    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// How many columns.
    pub(super) fn columns(&self) -> usize {
        self.schema.fields().len()
    }

    /// Some rows by their numbers.
    ///
    /// # Errors
    /// When a column cannot be copied.
    pub(super) fn batch(&self, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
        let picked = self.pick(rows);
        let columns = (0..self.columns()).map(|column| picked.column(column)).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    /// The column, where all rows lie in one batch.
    pub(super) fn whole(&self, column: usize) -> Option<&ArrayRef> {
        let [segment] = &self.segments[..] else { return None };
        Some(segment.batch.column(column))
    }

    /// Adds rows, with the numbers that follow.
    ///
    /// # Errors
    /// When they are too many, or not of the log's schema.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        if batch.num_rows() > 0 {
            self.add(compact(batch)?)?;
            self.merge()?;
        }
        Ok(())
    }

    /// Adds rows at once, in as few batches as may be.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(super) fn load(&mut self, batches: &[RecordBatch]) -> Result<(), ArrowError> {
        let mut rest = batches;
        while !rest.is_empty() {
            let (together, after) = rest.split_at(together(rest));
            self.add(compact(concat_batches(&self.schema, together)?)?)?;
            rest = after;
        }
        Ok(())
    }

    fn add(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        if self.rows + batch.num_rows() > MOST {
            let reason = format!("a join holds {} rows of one input on one kernel, and can hold no more", self.rows);
            return Err(ArrowError::ComputeError(format!("{reason}: run it on more kernels, or narrow it down")));
        }
        let start = self.rows as u32;
        self.rows += batch.num_rows();
        self.segments.push(Segment { start, bytes: bytes_of(&batch), batch });
        Ok(())
    }

    /// Puts the last segments together, as long as there are enough of about one size.
    fn merge(&mut self) -> Result<(), ArrowError> {
        while let Some(first) = self.segments.len().checked_sub(FAN) {
            let tail = &self.segments[first..];
            let class = tail[FAN - 1].class();
            if tail.iter().any(|segment| segment.is_large() || segment.class() > class) {
                break;
            }
            let batch = compact(concat_batches(&self.schema, tail.iter().map(|segment| &segment.batch))?)?;
            let merged = Segment { start: tail[0].start, bytes: bytes_of(&batch), batch };
            self.segments.truncate(first);
            self.segments.push(merged);
        }
        Ok(())
    }

    /// A log of some of the rows, whose numbers are ascending.
    ///
    /// # Errors
    /// When a column cannot be copied.
    pub(super) fn retain(&self, kept: &[u32]) -> Result<Self, ArrowError> {
        let mut log = Self::new(self.schema.clone());
        let mut rest = kept;
        for segment in &self.segments {
            let end = segment.start + segment.batch.num_rows() as u32;
            let (here, after) = rest.split_at(rest.partition_point(|row| *row < end));
            let rows: UInt32Array = here.iter().map(|row| row - segment.start).collect();
            log.push(take_record_batch(&segment.batch, &rows)?)?;
            rest = after;
        }
        Ok(log)
    }

    /// Some rows by their numbers, in any order; nulls for [`NONE`].
    pub(super) fn pick(&self, rows: &[u32]) -> Picked<'_> {
        let how = match &self.segments[..] {
            _ if rows.iter().all(|row| *row == NONE) => How::Nulls(rows.len()),
            [segment] if is_all(rows, segment.batch.num_rows()) => How::All,
            [_] => How::Take(numbers(rows)),
            _ => How::Interleave(self.places(rows)),
        };
        Picked { log: self, how }
    }

    /// The segment of each row, and the row's number in it. The one after the last segment is of nulls.
    fn places(&self, rows: &[u32]) -> Vec<(usize, usize)> {
        let mut last = 0..0;
        let mut segment = 0;
        let place = |row: &u32| {
            if *row == NONE {
                return (self.segments.len(), 0);
            }
            if !last.contains(row) {
                segment = self.segments.partition_point(|segment| segment.start <= *row) - 1;
                let found = &self.segments[segment];
                last = found.start..found.start + found.batch.num_rows() as u32;
            }
            (segment, (*row - last.start) as usize)
        };
        rows.iter().map(place).collect()
    }
}

/// How many batches make a segment that is not too large for offsets of 32 bits: one at least.
fn together(batches: &[RecordBatch]) -> usize {
    let mut bytes = 0;
    let fits = |batch: &&RecordBatch| {
        bytes += bytes_of(batch);
        bytes < FAN * LARGE_BYTES
    };
    batches.iter().take_while(fits).count().max(1)
}

fn is_all(rows: &[u32], len: usize) -> bool {
    rows.len() == len && rows.iter().enumerate().all(|(index, row)| index == *row as usize)
}

fn numbers(rows: &[u32]) -> UInt32Array {
    let nulls = rows.contains(&NONE).then(|| rows.iter().map(|row| *row != NONE).collect::<NullBuffer>());
    // What stands where nothing is to be taken is not looked at.
    UInt32Array::new(rows.to_vec().into(), nulls)
}

/// Rows of a [`Log`] that were picked.
pub(super) struct Picked<'a> {
    log: &'a Log,
    how: How,
}

enum How {
    /// All rows of the one batch, in order.
    All,
    Nulls(usize),
    Take(UInt32Array),
    Interleave(Vec<(usize, usize)>),
}

impl Picked<'_> {
    /// Their values in a column.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub(super) fn column(&self, column: usize) -> Result<ArrayRef, ArrowError> {
        let data_type = || self.log.schema.field(column).data_type();
        match &self.how {
            How::All => Ok(self.log.segments[0].batch.column(column).clone()),
            How::Nulls(rows) => Ok(new_null_array(data_type(), *rows)),
            How::Take(rows) => take(self.log.segments[0].batch.column(column), rows, None),
            How::Interleave(places) => {
                let null = new_null_array(data_type(), 1);
                let segments = self.log.segments.iter().map(|segment| segment.batch.column(column).as_ref());
                let columns: Vec<&dyn Array> = segments.chain([null.as_ref()]).collect();
                interleave(&columns, places)
            }
        }
    }
}

/// Bytes of a batch's columns, with those of the text that its views show.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    let column = |column: &ArrayRef| {
        let own = column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
        own + match column.data_type() {
            DataType::Utf8View => column.as_string_view().total_buffer_bytes_used(),
            DataType::BinaryView => column.as_binary_view().total_buffer_bytes_used(),
            _ => 0,
        }
    };
    batch.columns().iter().map(column).sum()
}

/// The same rows, with views that don't hold on to much more text than they show.
fn compact(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => compact_views::<StringViewType>(column),
            DataType::BinaryView => compact_views::<BinaryViewType>(column),
            _ => column.clone(),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

fn compact_views<V: ByteViewType>(column: &ArrayRef) -> ArrayRef {
    let views = column.as_byte_view::<V>();
    let held: usize = views.data_buffers().iter().map(|buffer| buffer.len()).sum();
    let many = views.data_buffers().len() > FAN;
    if many || held > 2 * views.total_buffer_bytes_used() { Arc::new(views.gc()) } else { column.clone() }
}
