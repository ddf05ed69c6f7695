//! [`Codec`]: rows of some columns as bytes, that are equal and compare as the rows do, and back.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use datafusion_common::Result;

/// How rows of some columns become bytes.
#[derive(Debug)]
pub(crate) struct Codec {
    /// `None` where there are no columns.
    converter: Option<(RowConverter, RowParser)>,
}

impl Codec {
    /// Of columns of these types; NULL is equal to NULL, and before all else.
    pub(crate) fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        Self::sorted(types.into_iter().map(|data_type| (data_type, SortOptions::default())))
    }

    /// Of some columns of a table.
    pub(crate) fn of(schema: &Schema, columns: &[usize]) -> Result<Self> {
        Self::new(columns.iter().map(|column| schema.field(*column).data_type().clone()))
    }

    /// Of all columns of a table.
    pub(crate) fn whole(schema: &Schema) -> Result<Self> {
        Self::new(schema.fields().iter().map(|field| field.data_type().clone()))
    }

    /// Of columns that are sorted so.
    pub(crate) fn sorted(columns: impl IntoIterator<Item = (DataType, SortOptions)>) -> Result<Self> {
        let fields: Vec<_> =
            columns.into_iter().map(|(data_type, options)| SortField::new_with_options(data_type, options)).collect();
        if fields.is_empty() {
            return Ok(Self { converter: None });
        }
        let converter = RowConverter::new(fields)?;
        let parser = converter.parser();
        Ok(Self { converter: Some((converter, parser)) })
    }

    /// Rows as bytes.
    pub(crate) fn encode(&self, columns: &[ArrayRef]) -> Result<Encoded> {
        Ok(Encoded(match &self.converter {
            Some((converter, _)) => Some(converter.convert_columns(columns)?),
            None => None,
        }))
    }

    /// Rows back as columns.
    pub(crate) fn decode<'a>(&'a self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        Ok(match &self.converter {
            Some((converter, parser)) => converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)))?,
            None => Vec::new(),
        })
    }
}

/// Rows as bytes.
pub(crate) struct Encoded(Option<Rows>);

impl Encoded {
    /// A row's bytes.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

/// Some columns of a batch.
pub(crate) fn columns_of(batch: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|column| batch.column(*column).clone()).collect()
}

/// Whether any is NULL, for each row.
pub(crate) fn any_null(columns: &[ArrayRef], row: usize) -> bool {
    columns.iter().any(|column| column.is_null(row))
}
