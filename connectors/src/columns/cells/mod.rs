//! Columns that are filled value by value from text: what CSV, JSON, raw lines and names of folders share.
//!
//! [`Cells`] are the values of one column, [`Columns`] those of a batch. A value that is no such thing as the column holds
//! leaves a stand-in, so that columns stay equally long, and the row is left out in the end. Scalars are in `leaf.rs`;
//! what they look like in `number.rs` and `time.rs`.

use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{DataType, FieldRef, Fields, SchemaRef};
use updraft_dataflow::Error;

pub(crate) mod columns;
mod leaf;
pub(crate) mod number;
pub(crate) mod time;

pub(crate) use columns::Columns;
use leaf::Leaf;

/// The values of a column, so far.
pub(crate) struct Cells {
    field: FieldRef,
    pub(crate) shape: Shape,
}

/// What a column's values are made of.
pub(crate) enum Shape {
    /// Themselves.
    Leaf(Box<dyn Leaf>),
    /// Some values of one type.
    List(List),
    /// Some pairs of key and value.
    Map(Map),
    /// One value for each field.
    Row(Row),
}

impl Cells {
    /// None yet.
    ///
    /// # Errors
    /// When values of the field's type cannot be read from text.
    pub(crate) fn new(field: &FieldRef) -> Result<Self, Error> {
        let shape = match field.data_type() {
            DataType::List(item) => Shape::List(List::new(item)?),
            DataType::Map(entries, sorted) => Shape::Map(Map::new(entries, *sorted)?),
            DataType::Struct(fields) => Shape::Row(Row::new(fields)?),
            _ => Shape::Leaf(leaf::of(field)?),
        };
        Ok(Self { field: field.clone(), shape })
    }

    /// Makes room for so many values, where they are scalars.
    fn reserve(&mut self, values: usize) {
        if let Shape::Leaf(leaf) = &mut self.shape {
            leaf.reserve(values);
        }
    }

    /// Its name and type.
    pub(crate) fn field(&self) -> &FieldRef {
        &self.field
    }

    /// How many values.
    pub(crate) fn len(&self) -> usize {
        match &self.shape {
            Shape::Leaf(leaf) => leaf.len(),
            Shape::List(list) => list.nulls.len(),
            Shape::Map(map) => map.nulls.len(),
            Shape::Row(row) => row.nulls.len(),
        }
    }

    /// Whether every text is a value.
    pub(crate) fn is_text(&self) -> bool {
        matches!(&self.shape, Shape::Leaf(leaf) if leaf.is_text())
    }

    /// Whether an empty text is a value.
    pub(crate) fn takes_empty(&self) -> bool {
        matches!(&self.shape, Shape::Leaf(leaf) if leaf.takes_empty())
    }

    /// Adds the value that `text` says; or a stand-in, where it says none: then false.
    pub(crate) fn push(&mut self, text: &str) -> bool {
        let pushed = if let Shape::Leaf(leaf) = &mut self.shape { leaf.push(text) } else { false };
        if !pushed {
            self.push_null();
        }
        pushed
    }

    /// The same of bytes, which are taken as they are where the column is of bytes.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        let pushed = if let Shape::Leaf(leaf) = &mut self.shape { leaf.push_bytes(bytes) } else { false };
        if !pushed {
            self.push_null();
        }
        pushed
    }

    /// Adds NULL; or a stand-in, where the column has none: then false.
    pub(crate) fn push_null(&mut self) -> bool {
        let nullable = self.field.is_nullable();
        match &mut self.shape {
            Shape::Leaf(leaf) => leaf.push_null(nullable),
            Shape::List(list) => list.end(!nullable),
            Shape::Map(map) => map.end(!nullable),
            Shape::Row(row) => row.end(!nullable),
        }
        nullable
    }

    /// Adds what stands for a value that is none of the column's: false.
    pub(crate) fn refuse(&mut self) -> bool {
        self.push_null();
        false
    }

    /// Ends what was begun and broken off: what has been added to a list, a map or a row that has not ended is a value of its own,
    /// not the beginning of the next one.
    pub(crate) fn settle(&mut self) {
        match &mut self.shape {
            Shape::Leaf(_) => {}
            Shape::List(list) => list.settle(),
            Shape::Map(map) => map.settle(),
            Shape::Row(row) => row.settle(),
        }
    }

    /// Adds NULL, or stand-ins, until there are `len` values.
    pub(crate) fn pad(&mut self, len: usize) {
        while self.len() < len {
            self.push_null();
        }
    }

    /// All values; none are left.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match &mut self.shape {
            Shape::Leaf(leaf) => leaf.finish(),
            Shape::List(list) => list.finish(),
            Shape::Map(map) => map.finish(),
            Shape::Row(row) => row.finish(),
        }
    }
}

/// Values that are lists.
pub(crate) struct List {
    pub(crate) item: Box<Cells>,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl List {
    fn new(item: &FieldRef) -> Result<Self, Error> {
        Ok(Self { item: Box::new(Cells::new(item)?), ends: vec![0], nulls: NullBufferBuilder::new(0) })
    }

    /// Adds a list of the items that have been added since the last one; or NULL.
    pub(crate) fn end(&mut self, valid: bool) {
        self.ends.push(self.item.len() as i32);
        self.nulls.append(valid);
    }

    fn settle(&mut self) {
        self.item.settle();
        if self.ends.last().is_some_and(|end| self.item.len() > *end as usize) {
            self.end(true);
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let offsets = OffsetBuffer::new(ends.into());
        let items = self.item.finish();
        Arc::new(ListArray::new(self.item.field.clone(), offsets, items, self.nulls.finish()))
    }
}

/// Values that are maps.
pub(crate) struct Map {
    entries: FieldRef,
    sorted: bool,
    pub(crate) pairs: Row,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Map {
    fn new(entries: &FieldRef, sorted: bool) -> Result<Self, Error> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(format!("`{}`: a map of {}", entries.name(), entries.data_type()).into());
        };
        let (pairs, nulls) = (Row::new(fields)?, NullBufferBuilder::new(0));
        Ok(Self { entries: entries.clone(), sorted, pairs, ends: vec![0], nulls })
    }

    /// Adds a map of the pairs that have been added since the last one; or NULL.
    pub(crate) fn end(&mut self, valid: bool) {
        let begun = self.pairs.cells.iter().map(Cells::len).max().unwrap_or(0);
        while self.pairs.nulls.len() < begun {
            self.pairs.end(true);
        }
        self.ends.push(begun as i32);
        self.nulls.append(valid);
    }

    fn settle(&mut self) {
        self.pairs.settle();
        if self.ends.last().is_some_and(|end| self.pairs.len() > *end as usize) {
            self.end(true);
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let offsets = OffsetBuffer::new(ends.into());
        let pairs = self.pairs.array();
        Arc::new(MapArray::new(self.entries.clone(), offsets, pairs, self.nulls.finish(), self.sorted))
    }
}

/// Values that are rows.
pub(crate) struct Row {
    fields: Fields,
    pub(crate) cells: Vec<Cells>,
    nulls: NullBufferBuilder,
}

impl Row {
    fn new(fields: &Fields) -> Result<Self, Error> {
        let cells = fields.iter().map(Cells::new).collect::<Result<_, _>>()?;
        Ok(Self { fields: fields.clone(), cells, nulls: NullBufferBuilder::new(0) })
    }

    /// How many rows have been ended.
    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Adds a row of what has been added to the fields since the last one, and NULL where nothing has; or NULL.
    pub(crate) fn end(&mut self, valid: bool) {
        self.nulls.append(valid);
        for cells in &mut self.cells {
            cells.pad(self.nulls.len());
        }
    }

    fn settle(&mut self) {
        self.cells.iter_mut().for_each(Cells::settle);
        while self.cells.iter().any(|cells| cells.len() > self.len()) {
            self.end(true);
        }
    }

    fn array(&mut self) -> StructArray {
        let len = self.nulls.len();
        let columns = self.cells.iter_mut().map(Cells::finish).collect();
        StructArray::try_new_with_length(self.fields.clone(), columns, self.nulls.finish(), len)
            .expect("fields of their types, equally long")
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.array())
    }
}

/// Columns of a batch, which may be none.
pub(crate) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
