//! Values as the server writes them as text, made columns.

mod array;
mod interval;

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, StringViewBuilder};
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_json::ReaderBuilder;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use serde::de::IgnoredAny;
use updraft_dataflow::Error;

/// Columns that are filled row by row.
pub(crate) struct Columns {
    schema: SchemaRef,
    builders: Vec<StringViewBuilder>,
    rows: usize,
    bytes: usize,
}

impl Columns {
    /// # Errors
    /// When a type cannot be read.
    pub(crate) fn new(schema: SchemaRef) -> Result<Self, Error> {
        for field in schema.fields() {
            crate::types::wire_type(field.data_type())
                .map_err(|error| format!("column `{}`: {error}", field.name()))?;
        }
        let builders = schema.fields().iter().map(|_| StringViewBuilder::new()).collect();
        Ok(Self { schema, builders, rows: 0, bytes: 0 })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of text.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// One more row.
    pub(crate) fn push<'a>(&mut self, values: impl IntoIterator<Item = Option<&'a str>>) {
        for (builder, value) in self.builders.iter_mut().zip(values) {
            self.bytes += value.map_or(0, str::len);
            builder.append_option(value);
        }
        self.rows += 1;
    }

    /// What has been pushed; what follows is another batch.
    ///
    /// # Errors
    /// A value that is not of its column's type.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, Error> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let mut columns = Vec::with_capacity(self.builders.len());
        for (field, builder) in self.schema.fields().iter().zip(&mut self.builders) {
            let wrong = |wrong: Wrong| {
                let Wrong { row, value, why } = wrong;
                let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                let shown: String = value.chars().take(100).collect();
                let name = field.name();
                Error::from(format!("row {}, column `{name}`: '{shown}' is no {}{why}", row + 1, field.data_type()))
            };
            columns.push(convert(&builder.finish(), field.data_type()).map_err(wrong)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// A value that is not of its type.
struct Wrong {
    row: usize,
    value: String,
    why: Option<String>,
}

impl Wrong {
    fn at(texts: &StringViewArray, row: usize, why: Option<String>) -> Self {
        let value = if texts.is_null(row) { "NULL".into() } else { texts.value(row).into() };
        Self { row, value, why }
    }
}

fn convert(texts: &StringViewArray, to: &DataType) -> Result<ArrayRef, Wrong> {
    match to {
        DataType::Utf8View => Ok(Arc::new(texts.clone())),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            bytes(texts, to)
        }
        DataType::Interval(unit) => interval::convert(texts, *unit).map_err(|row| Wrong::at(texts, row, None)),
        DataType::List(item) => lists(texts, item),
        DataType::Struct(_) | DataType::Map(..) => json(texts, to),
        // The server writes no more digits than there are; nanoseconds hold fewer years than it has.
        _ => scalars(texts, to),
    }
}

fn scalars(texts: &StringViewArray, to: &DataType) -> Result<ArrayRef, Wrong> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let via = match to {
        // More digits than milliseconds are cut off, not refused.
        DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => DataType::Time64(TimeUnit::Nanosecond),
        // The server's own are those of UTC; names of zones need not be known.
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        other => other.clone(),
    };
    let converted = cast_with_options(texts, &via, &strict);
    match converted.and_then(|converted| cast_with_options(&converted, to, &strict)) {
        Ok(converted) => Ok(converted),
        Err(error) => Err(culprit(texts, to, &error)),
    }
}

/// Which value cannot be converted.
fn culprit(texts: &StringViewArray, to: &DataType, error: &ArrowError) -> Wrong {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let fails = |row: &usize| texts.is_valid(*row) && cast_with_options(&texts.slice(*row, 1), to, &strict).is_err();
    let row = (0..texts.len()).find(fails).unwrap_or_default();
    Wrong::at(texts, row, Some(error.to_string()))
}

/// `\x00ff`
fn bytes(texts: &StringViewArray, to: &DataType) -> Result<ArrayRef, Wrong> {
    let mut builder = BinaryViewBuilder::new();
    for row in 0..texts.len() {
        if texts.is_null(row) {
            builder.append_null();
            continue;
        }
        let decoded = unhex(texts.value(row)).ok_or_else(|| Wrong::at(texts, row, None))?;
        builder.append_value(decoded);
    }
    let converted: ArrayRef = Arc::new(builder.finish());
    if let DataType::BinaryView = to {
        return Ok(converted);
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let whole = cast(&converted, &DataType::Binary).and_then(|whole| cast_with_options(&whole, to, &strict));
    whole.map_err(|error| Wrong::at(texts, 0, Some(error.to_string())))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let pairs = text.strip_prefix("\\x")?.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// Arrays of the server, or of JSON.
fn lists(texts: &StringViewArray, item: &FieldRef) -> Result<ArrayRef, Wrong> {
    let is_json = texts.iter().flatten().next().is_some_and(|text| text.trim_start().starts_with('['));
    let is_json =
        is_json && !texts.iter().flatten().any(|text| text.starts_with('{') || array::after_bounds(text).is_some());
    if is_json || matches!(item.data_type(), DataType::Struct(_) | DataType::Map(..)) {
        return json(texts, &DataType::List(item.clone()));
    }
    let (mut items, mut of, mut lengths) = (StringViewBuilder::new(), Vec::new(), Vec::with_capacity(texts.len()));
    let mut nulls = NullBufferBuilder::new(texts.len());
    for row in 0..texts.len() {
        nulls.append(texts.is_valid(row));
        let before = of.len();
        if texts.is_valid(row) {
            let parsed = array::parse(texts.value(row)).ok_or_else(|| Wrong::at(texts, row, None))?;
            for value in parsed {
                items.append_option(value);
                of.push(row);
            }
        }
        lengths.push(of.len() - before);
    }
    let items = items.finish();
    let items = convert(&items, item.data_type()).map_err(|wrong| Wrong { row: of[wrong.row], ..wrong })?;
    let list = ListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), items, nulls.finish());
    list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| Wrong::at(texts, 0, Some(error.to_string())))
}

/// Objects and arrays of JSON.
fn json(texts: &StringViewArray, to: &DataType) -> Result<ArrayRef, Wrong> {
    let parse = |from: usize, rows: usize| -> Result<ArrayRef, ArrowError> {
        let schema = Arc::new(Schema::new(vec![Field::new("v", to.clone(), true)]));
        let mut decoder =
            ReaderBuilder::new(schema).with_batch_size(rows).with_coerce_primitive(true).build_decoder()?;
        for row in from..from + rows {
            let text = if texts.is_null(row) { "null" } else { texts.value(row) };
            // Else a text could end its own row and begin another.
            serde_json::from_str::<IgnoredAny>(text).map_err(|error| ArrowError::JsonError(error.to_string()))?;
            let whole = format!("{{\"v\":{text}}}\n");
            decoder.decode(whole.as_bytes())?;
        }
        let batch = decoder.flush()?.filter(|batch| batch.num_rows() == rows);
        Ok(batch.ok_or_else(|| ArrowError::JsonError("it is not one value".into()))?.column(0).clone())
    };
    if texts.is_empty() {
        return Ok(arrow_array::new_empty_array(to));
    }
    parse(0, texts.len()).map_err(|error| {
        let row = (0..texts.len()).find(|row| parse(*row, 1).is_err()).unwrap_or_default();
        Wrong::at(texts, row, Some(error.to_string()))
    })
}
