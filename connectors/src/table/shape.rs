//! Rows of what a scan asks for, out of a stream of bytes: stored columns and the line that a row stands in.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, SchemaRef};
use updraft_dataflow::connector::{Column, Scan, Table};
use updraft_dataflow::{Batch, Bundle, Error, Rows};

use crate::columns::{Decode, Format};

/// The metadata of streams: the line that a row begins in, from 1.
pub(super) const METADATA: [(&str, DataType); 1] = [("line", DataType::Int64)];

/// What is read of a stream, and in what format.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    format: Format,
    /// The table's columns, and which of them are decoded.
    stored: SchemaRef,
    wanted: Vec<usize>,
    /// What is given, and where each column comes from.
    schema: SchemaRef,
    columns: Vec<Column>,
    pub(super) rows: usize,
}

impl Shape {
    pub(super) fn new(table: &Table, scan: &Scan, format: Format) -> Result<Self, Error> {
        let physical = |column: &Column| if let Column::Physical(column) = column { Some(*column) } else { None };
        let shape = Self {
            format,
            stored: table.schema.clone(),
            wanted: scan.columns.iter().filter_map(physical).collect(),
            schema: scan.schema.clone(),
            columns: scan.columns.clone(),
            rows: scan.batch.max(1),
        };
        if shape.wanted.len() < shape.columns.len() && shape.format.is_block() {
            return Err(format!("table `{}`: '{}' has no lines to number", table.name, shape.format).into());
        }
        // What the format cannot hold is told now, not when bytes come.
        if !shape.format.is_block() {
            shape.decoder(&table.name)?;
        }
        Ok(shape)
    }

    pub(super) fn format(&self) -> &Format {
        &self.format
    }

    /// Decodes one stream, which errors call `origin`.
    pub(crate) fn decoder(&self, origin: &str) -> Result<Box<dyn Decode>, Error> {
        self.format.decoder(&self.stored, &self.wanted, origin)
    }

    /// The stored columns that are decoded.
    pub(super) fn decoded(&self) -> SchemaRef {
        crate::columns::project(&self.stored, &self.wanted)
    }

    /// What `decoder` has, as far as its bytes go.
    pub(crate) fn next(&self, decoder: &mut dyn Decode) -> Result<Option<Batch<Rows>>, Error> {
        let Some(Batch { records, rejected }) = decoder.next(self.rows)? else { return Ok(None) };
        let lines = decoder.lines();
        let rows = records.into_vec().into_iter().map(|rows| self.arrange(rows.batch(), &lines));
        let rows: Vec<Rows> = rows.collect::<Result<_, _>>()?;
        Ok(Some(Batch { records: Bundle::from(rows), rejected }))
    }

    /// `batch` with the columns that were asked for.
    pub(super) fn arrange(&self, batch: &RecordBatch, lines: &[u64]) -> Result<Rows, Error> {
        let mut decoded = batch.columns().iter().cloned();
        let lines = || Arc::new(Int64Array::from_iter_values(lines.iter().map(|line| *line as i64))) as ArrayRef;
        let column = |column: &Column| match column {
            Column::Physical(_) => decoded.next().ok_or_else(|| Error::from("fewer columns than asked for")),
            Column::Metadata(_) => Ok(lines()),
        };
        let columns = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?.into())
    }
}
