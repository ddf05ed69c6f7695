//! [`Packed`]: columns as they are written: a stream of Arrow's, which other versions can read, too.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use datafusion_common::{Result, internal_datafusion_err};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use super::super::codec::{Codec, Encoded};
use super::Share;
use crate::ipc;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Packed(RecordBatch);

impl Packed {
    /// So many rows of these columns.
    pub(crate) fn new(columns: Vec<ArrayRef>, rows: usize) -> Result<Self> {
        let field = |(at, column): (usize, &ArrayRef)| Field::new(at.to_string(), column.data_type().clone(), true);
        let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Self(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?))
    }

    /// Those of a batch that was packed.
    pub(super) fn from_batch(batch: RecordBatch) -> Self {
        Self(batch)
    }

    /// All columns.
    pub(super) fn into_batch(self) -> RecordBatch {
        self.0
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.0.num_rows()
    }

    /// The columns from one on; none where there are not as many.
    pub(crate) fn columns(&self, from: usize) -> &[ArrayRef] {
        self.0.columns().get(from..).unwrap_or_default()
    }

    /// The same, which must be of these types.
    pub(crate) fn of_types(&self, from: usize, types: impl IntoIterator<Item = DataType>) -> Result<&[ArrayRef]> {
        let columns = self.columns(from);
        let types: Vec<_> = types.into_iter().collect();
        let mut pairs = columns.iter().zip(&types);
        let is_same = columns.len() == types.len() && pairs.all(|(column, of)| column.data_type().equals_datatype(of));
        if is_same { Ok(columns) } else { Err(internal_datafusion_err!("what was saved is of other columns")) }
    }

    /// The same, of which there must be so many rows.
    pub(crate) fn of_rows(&self, rows: usize) -> Result<&Self> {
        if self.len() == rows { Ok(self) } else { Err(internal_datafusion_err!("what was saved is of other rows")) }
    }

    /// What each row is of: its place among `all` is in the first column.
    pub(crate) fn of<T: Copy>(&self, all: &[T]) -> Result<Vec<T>> {
        let of = |place: &i64| usize::try_from(*place).ok().and_then(|place| all.get(place)).copied();
        let of: Option<_> = self.numbers(0)?.values().iter().map(of).collect();
        of.ok_or_else(|| internal_datafusion_err!("what was saved is of a key that was not"))
    }

    /// A column of whole numbers.
    pub(crate) fn numbers(&self, column: usize) -> Result<&Int64Array> {
        let column = self.0.columns().get(column).and_then(|column| column.as_primitive_opt::<Int64Type>());
        column.ok_or_else(|| internal_datafusion_err!("what was saved has no such column"))
    }

    /// The first column, of [hashes](hashes_of).
    pub(crate) fn hashes(&self) -> Result<Vec<u64>> {
        let column = self.0.columns().first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
        Ok(column.ok_or_else(|| internal_datafusion_err!("what was saved has no hashes"))?.values().to_vec())
    }

    /// The columns from one on, as those of a table.
    pub(crate) fn table(&self, from: usize, schema: &SchemaRef) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        // A column may have become wider since it was written.
        let columns = self.columns(from).iter().zip(schema.fields());
        let columns =
            columns.map(|(column, field)| cast(column, field.data_type())).collect::<std::result::Result<_, _>>()?;
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }

    /// The rows of a table that are behind their hashes, and these: as far as they are owned.
    pub(crate) fn own_rows(&self, schema: &SchemaRef, share: Share) -> Result<(RecordBatch, Vec<u64>)> {
        let (rows, hashes) = (self.table(1, schema)?, self.hashes()?);
        Ok(match share.own_rows(&hashes) {
            None => (rows, hashes),
            Some(own) => {
                let hashes = own.iter().map(|row| hashes[*row as usize]).collect();
                (take_record_batch(&rows, &UInt32Array::from(own))?, hashes)
            }
        })
    }

    /// The columns from one on, as bytes.
    pub(crate) fn encode(&self, from: usize, codec: &Codec) -> Result<Encoded> {
        codec.encode(self.columns(from))
    }
}

/// A column of hashes.
pub(crate) fn hashes_of(hashes: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(hashes.into_iter().collect::<UInt64Array>())
}

/// A column of whole numbers.
pub(crate) fn numbers_of(numbers: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(numbers.into_iter().collect::<Int64Array>())
}

/// The same where some are not there.
pub(crate) fn numbers(numbers: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(numbers.into_iter().collect::<Int64Array>())
}

/// Several rows of each of some entries: encoded rows, with a number each, and whose they are.
#[derive(Default)]
pub(crate) struct Several<'a> {
    of: Vec<i64>,
    numbers: Vec<i64>,
    rows: Vec<&'a [u8]>,
}

impl<'a> Several<'a> {
    /// A row of the entry that is the `of`th of those that are written.
    pub(crate) fn push(&mut self, of: usize, number: i64, row: &'a [u8]) {
        self.of.push(of as i64);
        self.numbers.push(number);
        self.rows.push(row);
    }

    /// Whose each is, the number, and the columns of the rows.
    pub(crate) fn pack(self, codec: &Codec) -> Result<Packed> {
        let len = self.of.len();
        let mut columns = vec![numbers_of(self.of), numbers_of(self.numbers)];
        columns.extend(codec.decode(self.rows)?);
        Packed::new(columns, len)
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&ipc::write(&self.0).map_err(ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = RecordBatch;

            fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                text.write_str("a stream of Arrow's")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> std::result::Result<RecordBatch, E> {
                let mut batches = ipc::read_all(bytes).map_err(E::custom)?;
                batches.pop().ok_or_else(|| E::custom("there are no rows"))
            }
        }

        deserializer.deserialize_bytes(Bytes).map(Self)
    }
}
