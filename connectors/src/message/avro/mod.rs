//! Avro: a message is one record, of the columns' own schema; or of one that a registry has (Confluent's), by the number in front of it.
//!
//! Records are read by the schema that they were written with, and what is wanted of them is then brought into the columns: by
//! name, so that schemas may differ. Messages are gathered and decoded all at once; where one of them is bad, or looks like two, one by one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SCHEMA_METADATA_KEY, SchemaStore};
use arrow_avro::writer::format::AvroBinaryFormat;
use arrow_avro::writer::{Encoder, WriterBuilder};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use updraft_dataflow::{Error, RowKind};

use super::part::{Read, Taken, Wait, Write, WriteRow};
use super::registry::Registry;
use crate::columns::cells::batch_of;
use crate::columns::conform::{absent, conform};
use crate::columns::project;
use crate::columns::text::strict;

mod schema;

/// What Confluent's messages begin with; the number of the schema follows, in four bytes.
const MAGIC: u8 = 0;
const HEAD: usize = 5;
/// The number of the columns' own schema: one that records hardly end with.
const OWN: u32 = u32::MAX;

/// That columns can be written.
pub(super) fn check(schema: &SchemaRef) -> Result<(), Error> {
    schema::record(&schema::plain(schema)).map(drop)
}

/// Reads columns `wanted` of `schema`: where there is a registry, of records of what schema it says.
pub(super) fn reader(schema: &SchemaRef, wanted: &[usize], registry: Option<Arc<Registry>>) -> Result<Reader, Error> {
    let wanted = project(schema, wanted);
    let mut writers = HashMap::new();
    if registry.is_none() {
        writers.insert(OWN, Ok(Writer::new(OWN, &schema::record(&schema::plain(schema))?, &wanted)?));
    }
    Ok(Reader { wanted, writers, registry, bytes: Vec::new(), messages: Vec::new() })
}

/// Reads messages.
pub(super) struct Reader {
    wanted: SchemaRef,
    /// Schemas that have been asked for, or why they cannot be had.
    writers: HashMap<u32, Result<Writer, String>>,
    registry: Option<Arc<Registry>>,
    /// Messages that wait to be decoded, each with its head; and the schema of each.
    bytes: Vec<u8>,
    messages: Vec<(u32, Range<usize>)>,
}

/// A schema that records were written with.
struct Writer {
    id: u32,
    json: String,
    /// The fields that are wanted, where others can be passed over.
    projection: Option<Vec<usize>>,
    /// Decodes any number of records before they are taken.
    many: Decoder,
    /// Decodes one, and does not look at what follows: made when it is needed.
    one: Option<Decoder>,
}

impl Writer {
    fn new(id: u32, json: &str, wanted: &SchemaRef) -> Result<Self, Error> {
        let projection = projection(json, wanted)?;
        let (projection, many) = match decoder(id, json, Some(projection.clone()), usize::MAX) {
            Ok(decoder) => (Some(projection), decoder),
            // A type that has its name in a field that is not wanted.
            Err(_) => (None, decoder(id, json, None, usize::MAX)?),
        };
        Ok(Self { id, json: json.to_owned(), projection, many, one: None })
    }

    fn decoder(&self, records: usize) -> Result<Decoder, Error> {
        decoder(self.id, &self.json, self.projection.clone(), records)
    }

    /// Decodes messages, if all are whole records, and none of them ends with what could be the head of another: the decoder would wait for
    /// its record, and take the next message for that.
    fn decode<'a>(
        &mut self,
        mut messages: impl Iterator<Item = &'a [u8]> + Clone,
        wanted: &SchemaRef,
    ) -> Result<Option<RecordBatch>, Error> {
        if messages.clone().any(|message| message.len() > HEAD && message.ends_with(&message[..HEAD])) {
            return Ok(None);
        }
        let decoded = messages.try_for_each(|message| feed(&mut self.many, message));
        if let Ok(batch) = decoded.and_then(|()| rows(self.many.flush()?, wanted)) {
            return Ok(Some(batch));
        }
        // What came of a bad message is nowhere to be told from good ones.
        self.many = self.decoder(usize::MAX)?;
        Ok(None)
    }

    /// Decodes a message that is a whole record. The decoder of a bad one is not used again.
    fn decode_one(&mut self, message: &[u8], wanted: &SchemaRef) -> Result<RecordBatch, Error> {
        let mut one = self.one.take().map_or_else(|| self.decoder(1), Ok)?;
        feed(&mut one, message)?;
        let rows = rows(one.flush()?, wanted)?;
        self.one = Some(one);
        Ok(rows)
    }
}

/// Gives a decoder a message, which has to be a whole record.
fn feed(decoder: &mut Decoder, message: &[u8]) -> Result<(), Error> {
    let before = decoder.capacity();
    let read = decoder.decode(message).map_err(|error| format!("not a record of its schema: {error}"))?;
    if read == message.len() && before.checked_sub(1) == Some(decoder.capacity()) {
        return Ok(());
    }
    Err(match decoder.capacity().cmp(&before) {
        std::cmp::Ordering::Equal => "the record is cut off".into(),
        _ => "something follows the record: a message is one".into(),
    })
}

/// What is wanted of records.
fn rows(batch: Option<RecordBatch>, wanted: &SchemaRef) -> Result<RecordBatch, Error> {
    let Some(batch) = batch else { return Ok(RecordBatch::new_empty(wanted.clone())) };
    let column = |field: &FieldRef| match batch.column_by_name(field.name()) {
        Some(array) => conform(array, field),
        None => absent(field, batch.num_rows()),
    };
    let columns = wanted.fields().iter().map(column).collect::<Result<_, _>>()?;
    batch_of(wanted, columns, batch.num_rows())
}

/// The fields of a schema that are wanted. There is one at least: rows are counted by it.
fn projection(json: &str, wanted: &SchemaRef) -> Result<Vec<usize>, Error> {
    let schema: serde_json::Value = serde_json::from_str(json)?;
    let fields = schema.get("fields").and_then(serde_json::Value::as_array);
    let Some(fields) = fields.filter(|fields| !fields.is_empty()) else {
        return Err("it is not of a record with fields".into());
    };
    let name = |field: &serde_json::Value| field.get("name").and_then(|name| Some(name.as_str()?.to_owned()));
    let is_wanted = |at: &usize| name(&fields[*at]).is_some_and(|name| wanted.field_with_name(&name).is_ok());
    let mut found: Vec<usize> = (0..fields.len()).filter(is_wanted).collect();
    if found.is_empty() {
        found.push(0);
    }
    Ok(found)
}

/// Decodes so many records at most before they are taken.
fn decoder(id: u32, json: &str, projection: Option<Vec<usize>>, records: usize) -> Result<Decoder, Error> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(id), AvroSchema::new(json.to_owned()))?;
    let mut builder = ReaderBuilder::new().with_batch_size(records).with_writer_schema_store(store);
    builder = builder.with_active_fingerprint(Fingerprint::Id(id));
    if let Some(projection) = projection {
        builder = builder.with_projection(projection);
    }
    Ok(builder.build_decoder()?)
}

impl Reader {
    /// The number of a message's schema.
    fn id(&self, bytes: &[u8]) -> Result<u32, String> {
        if self.registry.is_none() {
            return Ok(OWN);
        }
        match bytes.split_first_chunk::<HEAD>() {
            Some((&[MAGIC, a, b, c, d], _)) => Ok(u32::from_be_bytes([a, b, c, d])),
            Some(([other, ..], _)) => Err(format!(
                "the message begins with {other}, and not with a 0 and the number of its schema: was it written with a registry?"
            )),
            None => Err("the message is too short to begin with the number of its schema".into()),
        }
    }

    /// Decodes some messages of one schema: their rows, and which of them are bad.
    fn decode(&mut self, id: u32, numbers: &[u32]) -> Result<(RecordBatch, Vec<(u32, String)>), Error> {
        let Self { wanted, writers, bytes, messages, .. } = self;
        let Some(Ok(writer)) = writers.get_mut(&id) else { return Err(format!("schema {id} is not known").into()) };
        let message = |number: &u32| &bytes[messages[*number as usize].1.clone()];
        if let Some(batch) = writer.decode(numbers.iter().map(message), wanted)? {
            return Ok((batch, Vec::new()));
        }
        let (mut batches, mut failed) = (Vec::new(), Vec::new());
        for number in numbers {
            match writer.decode_one(message(number), wanted) {
                Ok(batch) => batches.push(batch),
                Err(error) => failed.push((*number, error.to_string())),
            }
        }
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let batch = match wanted.fields().is_empty() {
            true => batch_of(wanted, Vec::new(), rows)?,
            false => concat_batches(wanted, &batches)?,
        };
        Ok((batch, failed))
    }
}

impl Read for Reader {
    fn prepare<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Wait<'a>> {
        let registry = self.registry.clone()?;
        let id = self.id(bytes).ok().filter(|id| !self.writers.contains_key(id))?;
        Some(Box::pin(async move {
            let writer = match registry.schema(id).await? {
                Ok(json) => Writer::new(id, &json, &self.wanted).map_err(|error| format!("schema {id}: {error}")),
                Err(reason) => Err(reason),
            };
            self.writers.insert(id, writer);
            Ok(())
        }))
    }

    fn read(&mut self, bytes: &[u8], kinds: &mut Vec<RowKind>) -> Result<(), String> {
        let id = self.id(bytes)?;
        if let Some(Err(reason)) = self.writers.get(&id) {
            return Err(reason.clone());
        }
        let start = self.bytes.len();
        if self.registry.is_none() {
            self.bytes.push(MAGIC);
            self.bytes.extend_from_slice(&OWN.to_be_bytes());
        }
        self.bytes.extend_from_slice(bytes);
        self.messages.push((id, start..self.bytes.len()));
        kinds.push(RowKind::Insert);
        Ok(())
    }

    fn take(&mut self) -> Result<Taken, Error> {
        let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
        for (number, (id, _)) in (0..).zip(&self.messages) {
            match groups.iter_mut().find(|(other, _)| other == id) {
                Some((_, numbers)) => numbers.push(number),
                None => groups.push((*id, vec![number])),
            }
        }
        let (mut batches, mut order, mut bad) = (Vec::new(), Vec::new(), HashMap::new());
        for (id, numbers) in groups {
            let (batch, failed) = self.decode(id, &numbers)?;
            bad.extend(failed);
            order.extend(numbers.into_iter().filter(|number| !bad.contains_key(number)));
            batches.push(batch);
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let batch = match (batches.len(), self.wanted.fields().is_empty()) {
            (1, _) => batches.swap_remove(0),
            (_, true) => batch_of(&self.wanted, Vec::new(), rows)?,
            // Back into the order of the messages.
            (_, false) => {
                let mut places: Vec<u32> = (0..order.len() as u32).collect();
                places.sort_unstable_by_key(|place| order[*place as usize]);
                take_record_batch(&concat_batches(&self.wanted, &batches)?, &UInt32Array::from(places))?
            }
        };
        let mut failed = HashMap::new();
        for (number, reason) in bad {
            let (_, range) = &self.messages[number as usize];
            let head = if self.registry.is_none() { HEAD } else { 0 };
            failed.insert(number, (self.bytes[range.start + head..range.end].to_vec(), reason));
        }
        self.bytes.clear();
        self.messages.clear();
        Ok(Taken { batch, failed })
    }
}

/// Writes records of `schema`; where there is a registry, after it has been told of their schema.
pub(super) fn writer(schema: &SchemaRef, registry: Option<(Arc<Registry>, String)>) -> Result<Records, Error> {
    let plain = schema::plain(schema);
    let json = schema::record(&plain)?;
    let metadata = HashMap::from([(SCHEMA_METADATA_KEY.to_owned(), json.clone())]);
    let named = Schema::new_with_metadata(plain.fields().clone(), metadata);
    let encoder = WriterBuilder::new(named).build_encoder::<AvroBinaryFormat>()?;
    let head = registry.is_none().then(Vec::new);
    Ok(Records { schema: Arc::new(plain), json, registry, head, encoder })
}

/// Writes messages.
pub(super) struct Records {
    schema: SchemaRef,
    json: String,
    registry: Option<(Arc<Registry>, String)>,
    /// What goes in front of a record, once it is known.
    head: Option<Vec<u8>>,
    encoder: Encoder,
}

impl Write for Records {
    fn prepare(&mut self) -> Option<Wait<'_>> {
        let (registry, subject) = self.registry.clone().filter(|_| self.head.is_none())?;
        Some(Box::pin(async move {
            let id = registry.register(&subject, &self.json).await?;
            self.head = Some([&[MAGIC][..], &id.to_be_bytes()].concat());
            Ok(())
        }))
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(array, field)| strict(array, field.data_type())).collect::<Result<_, _>>()?;
        let batch = batch_of(&self.encoder.schema(), columns, batch.num_rows())?;
        self.encoder.encode(&batch)?;
        let (rows, head) = (self.encoder.flush(), self.head.clone().unwrap_or_default());
        Ok(Box::new(move |row, _, out| {
            out.extend_from_slice(&head);
            out.extend_from_slice(&rows.row(row)?);
            Ok(true)
        }))
    }
}
