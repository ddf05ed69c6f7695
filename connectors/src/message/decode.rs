//! [`Decoder`]: the bytes of messages become rows.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat;
use arrow_select::take::take;
use updraft_dataflow::connector::Scan;
use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, RowKind, Rows};

use super::part::{Read, Taken};
use super::{Formats, Place};
use crate::columns::cells::{Cells, batch_of};
use crate::format::dead_letter;

/// A message, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Where it came from, as dead letters call it: `topic/partition`.
    pub origin: &'a Arc<str>,
    /// Its number there.
    pub offset: u64,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is what is called a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Makes rows of messages: [`push`](Self::push) each of them, and [`take`](Self::take) what there is.
pub struct Decoder {
    /// What is given, and where each column comes from.
    schema: SchemaRef,
    places: Vec<Place>,
    key: Option<Box<dyn Read>>,
    value: Box<dyn Read>,
    upserting: bool,
    /// Whether a message without a key is bad: a column of it is NOT NULL.
    needs_key: Option<String>,
    /// Where each message came from.
    messages: Vec<(Arc<str>, u64)>,
    /// Keys that were read.
    keys: u32,
    rows: Vec<Row>,
    kinds: Vec<RowKind>,
    /// Values' rows that were read.
    values: u32,
    rejected: Vec<DeadLetter>,
    bytes: usize,
}

/// Where the columns of a row are.
struct Row {
    message: u32,
    key: Option<u32>,
    /// None in a row that is gone.
    value: Option<u32>,
}

impl Decoder {
    pub(super) fn new(formats: &Formats, scan: &Scan) -> Result<Self, Error> {
        let mut places: Vec<Place> = scan.columns.iter().map(|column| formats.place(column)).collect();
        let (mut keys, mut values, mut told) = (Vec::new(), Vec::new(), Vec::new());
        // Each place is of what is read from now on, not of what there is.
        for place in &mut places {
            match place {
                Place::Key(column) => *column = add(&mut keys, *column),
                Place::Value(column) => *column = add(&mut values, *column),
                Place::Told(name) => drop(add(&mut told, name.clone())),
                Place::Metadata(_) => {}
            }
        }
        for place in &mut places {
            if let Place::Told(name) = place {
                *place = Place::Value(values.len() + add(&mut told, name.clone()));
            }
        }
        let key = match &formats.key {
            // A row that is gone is known by its key.
            Some(key) if !keys.is_empty() || formats.upserting => Some(key.format.reader(&key.schema, &keys, &[])?),
            _ => None,
        };
        let needs_key = formats.key.as_ref().and_then(|key| {
            let fields = keys.iter().map(|column| key.schema.field(*column));
            fields.into_iter().find(|field| !field.is_nullable()).map(|field| field.name().clone())
        });
        let value = formats.value.format.reader(&formats.value.schema, &values, &told)?;
        Ok(Self {
            schema: scan.schema.clone(),
            places,
            key,
            value,
            upserting: formats.upserting,
            needs_key,
            messages: Vec::new(),
            keys: 0,
            rows: Vec::new(),
            kinds: Vec::new(),
            values: 0,
            rejected: Vec::new(),
            bytes: 0,
        })
    }

    /// The metadata that [`take`](Self::take) will ask for.
    pub fn metadata(&self) -> impl Iterator<Item = &str> {
        self.places
            .iter()
            .filter_map(|place| if let Place::Metadata(name) = place { Some(name.as_str()) } else { None })
    }

    /// Messages since the last [`take`](Self::take).
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Rows and dead letters that there are to take.
    pub fn len(&self) -> usize {
        self.rows.len() + self.rejected.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the messages since the last [`take`](Self::take): for a limit on how large batches become.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Decodes a message. What cannot be decoded becomes a dead letter, or nothing, as the formats' options say. Waits where
    /// the format has to ask what the message means.
    ///
    /// # Errors
    /// When there is no answer to that.
    pub async fn push(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let number = self.messages.len() as u32;
        self.messages.push((message.origin.clone(), message.offset));
        self.bytes += message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len);
        if let (Some(reader), Some(key)) = (&mut self.key, message.key)
            && let Some(wait) = reader.prepare(key)
        {
            wait.await?;
        }
        if let Some(wait) = message.value.and_then(|value| self.value.prepare(value)) {
            wait.await?;
        }
        let key = match self.key(message) {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(()),
            Err(reason) => {
                self.reject(message, message.key, format!("key: {reason}"));
                return Ok(());
            }
        };
        let before = self.kinds.len();
        let read = match message.value {
            None if self.upserting => {
                self.kinds.push(RowKind::Delete);
                self.rows.push(Row { message: number, key, value: None });
                return Ok(());
            }
            None => self.value.read_nothing(&mut self.kinds),
            Some(value) => self.value.read(value, &mut self.kinds),
        };
        if let Err(reason) = read {
            self.kinds.truncate(before);
            self.reject(message, message.value, reason);
            return Ok(());
        }
        for kind in &mut self.kinds[before..] {
            if self.upserting {
                *kind = RowKind::UpdateAfter;
            }
            self.rows.push(Row { message: number, key, value: Some(self.values) });
            self.values += 1;
        }
        Ok(())
    }

    /// The row of the message's key, where there is one; `None` where it is left out.
    fn key(&mut self, message: &Message<'_>) -> Result<Option<Option<u32>>, String> {
        let Some(reader) = &mut self.key else { return Ok(Some(None)) };
        let mut kinds = Vec::new();
        match message.key {
            Some(key) => reader.read(key, &mut kinds)?,
            None if self.upserting => return Err("there is none, and the table is changed by it".into()),
            None => reader.read_nothing(&mut kinds)?,
        }
        match (kinds.len(), message.key, &self.needs_key) {
            (0, Some(_), _) => Ok(None),
            (0, None, Some(name)) => Err(format!("there is none, and column `{name}` is NOT NULL")),
            (0, None, None) => Ok(Some(None)),
            _ => {
                self.keys += 1;
                Ok(Some(Some(self.keys - 1)))
            }
        }
    }

    fn reject(&mut self, message: &Message<'_>, bytes: Option<&[u8]>, reason: String) {
        self.rejected.push(dead_letter(message.origin, message.offset, bytes.unwrap_or_default(), reason));
    }

    /// Makes dead letters of rows that turned out to be bad, and has the others know where theirs are now.
    fn drop_failed(&mut self, keys: Option<&Taken>, values: &Taken) {
        let keys = keys.map(|keys| Left::new(keys, self.keys));
        let values = Left::new(values, self.values);
        let rows = std::mem::take(&mut self.rows).into_iter().zip(std::mem::take(&mut self.kinds));
        let mut last = None;
        for (mut row, kind) in rows {
            let key = keys.as_ref().map_or(Ok(row.key), |keys| keys.place(row.key));
            match key.map_err(|(bytes, reason)| (bytes, format!("key: {reason}"))).and_then(|key| {
                let value = values.place(row.value).map_err(|(bytes, reason)| (bytes, reason.clone()))?;
                Ok((key, value))
            }) {
                Ok((key, value)) => {
                    (row.key, row.value) = (key, value);
                    self.rows.push(row);
                    self.kinds.push(kind);
                }
                // A message of several rows is told once.
                Err(_) if last == Some(row.message) => {}
                Err((bytes, reason)) => {
                    last = Some(row.message);
                    let (origin, offset) = &self.messages[row.message as usize];
                    self.rejected.push(dead_letter(origin, *offset, bytes, reason));
                }
            }
        }
        self.rejected.sort_by(|a, b| (&a.origin, a.line).cmp(&(&b.origin, b.line)));
    }

    /// What has been decoded since the last time, if anything. `metadata` gives a column of what the connector knows, by its key,
    /// with a value for each message that was pushed since then.
    ///
    /// # Errors
    /// When the columns don't fit together.
    pub fn take(
        &mut self,
        mut metadata: impl FnMut(&str) -> Result<ArrayRef, Error>,
    ) -> Result<Option<Batch<Rows>>, Error> {
        let keys = self.key.as_mut().map(|key| key.take()).transpose()?;
        let values = self.value.take()?;
        if !values.failed.is_empty() || keys.as_ref().is_some_and(|keys| !keys.failed.is_empty()) {
            self.drop_failed(keys.as_ref(), &values);
        }
        let (keys, values) = (keys.map(|keys| keys.batch), values.batch);
        let (rows, kinds) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.kinds));
        let rejected = std::mem::take(&mut self.rejected);
        self.messages.clear();
        (self.keys, self.values, self.bytes) = (0, 0, 0);
        if rows.is_empty() {
            return Ok((!rejected.is_empty()).then(|| Batch { records: Bundle::from(Vec::new()), rejected }));
        }
        let by_key = Picked::new(rows.iter().map(|row| row.key));
        let by_value = Picked::new(rows.iter().map(|row| row.value));
        let by_message = Picked::new(rows.iter().map(|row| Some(row.message)));
        let mut columns = Vec::with_capacity(self.places.len());
        for (place, field) in self.places.iter().zip(self.schema.fields()) {
            let of = |batch: &RecordBatch, column: usize| batch.column(column).clone();
            let (from, picked) = match (place, &keys) {
                (Place::Key(column), Some(keys)) => (of(keys, *column), &by_key),
                (Place::Key(_), None) => unreachable!("keys are read where a column is of them"),
                (Place::Value(column), _) => (of(&values, *column), &by_value),
                (Place::Metadata(name) | Place::Told(name), _) => (metadata(name)?, &by_message),
            };
            let stand_in = || -> Result<ArrayRef, Error> {
                let mut cells = Cells::new(field)?;
                cells.push_null();
                Ok(cells.finish())
            };
            columns.push(picked.of(&from, stand_in)?);
        }
        let batch = batch_of(&self.schema, columns, rows.len())?;
        let records = Bundle::from(vec![Rows::changes(batch, kinds)]);
        Ok(Some(Batch { records, rejected }))
    }
}

/// The rows that were read and are good.
struct Left<'a> {
    taken: &'a Taken,
    places: Vec<u32>,
}

impl<'a> Left<'a> {
    fn new(taken: &'a Taken, rows: u32) -> Self {
        let mut place = 0;
        let next = |number| {
            let at = place;
            place += u32::from(!taken.failed.contains_key(&number));
            at
        };
        Self { taken, places: (0..rows).map(next).collect() }
    }

    /// Where a row is among those that are good; what is wrong, if it is not.
    fn place(&self, number: Option<u32>) -> Result<Option<u32>, (&'a Vec<u8>, &'a String)> {
        let Some(number) = number else { return Ok(None) };
        match self.taken.failed.get(&number) {
            Some((bytes, reason)) => Err((bytes, reason)),
            None => Ok(Some(self.places[number as usize])),
        }
    }
}

/// The place of `item` among `items`, where it is added if it is not there.
fn add<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    match items.iter().position(|other| *other == item) {
        Some(place) => place,
        None => {
            items.push(item);
            items.len() - 1
        }
    }
}

/// Which values of columns are those of the rows.
struct Picked {
    numbers: Vec<Option<u32>>,
    /// Whether they are the first ones, in order.
    plain: bool,
    /// Whether some row has none.
    gaps: bool,
}

impl Picked {
    fn new(numbers: impl Iterator<Item = Option<u32>>) -> Self {
        let numbers: Vec<_> = numbers.collect();
        let plain = numbers.iter().enumerate().all(|(at, number)| *number == Some(at as u32));
        let gaps = numbers.contains(&None);
        Self { numbers, plain, gaps }
    }

    /// Those of `column`; where there is none, the `stand_in`.
    fn of(&self, column: &ArrayRef, stand_in: impl FnOnce() -> Result<ArrayRef, Error>) -> Result<ArrayRef, Error> {
        if self.plain {
            return Ok(column.slice(0, self.numbers.len()));
        }
        if !self.gaps {
            let numbers: UInt32Array = self.numbers.iter().copied().collect();
            return Ok(take(column, &numbers, None)?);
        }
        let last = column.len() as u32;
        let column = concat(&[column, &stand_in()?])?;
        let numbers: UInt32Array = self.numbers.iter().map(|number| Some(number.unwrap_or(last))).collect();
        Ok(take(&column, &numbers, None)?)
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("places", &self.places).finish_non_exhaustive()
    }
}
