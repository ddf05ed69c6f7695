//! `'connector' = 'nats'`: streams as tables of SQL. What payloads look like is said by `'format'`: see [`updraft_connectors::message`].

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringViewBuilder};
use arrow_array::{Array, ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, TimeUnit};
use updraft_connectors::message::{Decoder, Encoder, Formats, Message as Encoded};
use updraft_dataflow::connector::{AnySink, AnySource, Changelog, Connector, OptionSpec, Registry, Scan, Table};
use updraft_dataflow::{Batch, Bundle, Error, Partition, Place, Prepared, Progress, Rows, Sink, Source};

use crate::message::{Message, Outgoing};
use crate::sink::Writer;
use crate::source::{NatsPartition, NatsSource};

mod settings;
mod template;

use template::Template;

/// `registry` with `nats`.
#[must_use]
pub fn register(registry: Registry) -> Registry {
    registry.with(NatsTable)
}

/// `'connector' = 'nats'`.
#[derive(Clone, Copy, Debug)]
pub struct NatsTable;

fn named(table: &Table) -> impl Fn(Error) -> Error {
    |error| format!("table `{}`: {error}", table.name).into()
}

impl Connector for NatsTable {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn options(&self) -> Vec<OptionSpec> {
        // Messages of NATS have no keys.
        let is_of_values =
            |option: &OptionSpec| !option.name.starts_with("key.") && option.name != "value.fields-include";
        settings::OPTIONS.iter().copied().chain(Formats::options().into_iter().filter(is_of_values)).collect()
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        let own = [
            ("subject", DataType::Utf8View),
            ("sequence", DataType::Int64),
            ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            ("headers", headers([].iter()).map_or(DataType::Null, |none| none.data_type().clone())),
        ];
        own.into_iter().chain(Formats::metadata()).collect()
    }

    fn is_bounded(&self, table: &Table) -> bool {
        settings::is_bounded(table)
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        let source = settings::source(table).map_err(named(table))?;
        let formats = Formats::of(table)?;
        // What the formats cannot do is told now, not when a message comes.
        formats.decoder(scan)?;
        Ok(AnySource::new(RowsSource { source, formats, scan: scan.clone() }))
    }

    fn tells(&self, table: &Table) -> Changelog {
        Formats::changelog_of(table)
    }

    fn accepts(&self, table: &Table) -> Changelog {
        Formats::changelog_of(table)
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        let template = Template::of(table).map_err(named(table))?;
        let sink = settings::sink(table, &template).map_err(named(table))?;
        sink.check().map_err(named(table))?;
        let encoder = Formats::of(table)?.encoder()?;
        Ok(AnySink::new(RowsSink { writer: Writer::new(sink), encoder, template }))
    }
}

struct RowsSource {
    source: NatsSource,
    formats: Formats,
    scan: Scan,
}

impl Source for RowsSource {
    type Item = Rows;
    type Partition = RowsPartition;

    fn open(self) -> Result<Vec<RowsPartition>, Error> {
        self.resume(Vec::new())
    }

    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<RowsPartition>, Error> {
        let Self { source, formats, scan } = self;
        let rows = |messages: NatsPartition| {
            let (decoder, origin) = (formats.decoder(&scan)?, messages.origin().into());
            Ok(RowsPartition { messages, decoder, origin })
        };
        source.partitions(places)?.into_iter().map(rows).collect()
    }
}

struct RowsPartition {
    messages: NatsPartition,
    decoder: Decoder,
    origin: Arc<str>,
}

impl Partition for RowsPartition {
    type Item = Rows;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Rows>>, Error> {
        let Some(messages) = self.messages.messages(limit).await? else { return Ok(None) };
        for message in &messages {
            let (origin, offset, value) = (&self.origin, message.sequence, Some(&*message.payload));
            self.decoder.push(&Encoded { origin, offset, key: None, value }).await?;
        }
        let batch = self.decoder.take(|name| column(&messages, name))?;
        // It stands farther on, even if nothing has come of it.
        Ok(Some(batch.unwrap_or_else(|| Vec::new().into())))
    }

    fn position(&self) -> String {
        self.messages.position()
    }

    fn progress(&self) -> Option<Progress> {
        self.messages.progress()
    }

    fn place(&self) -> Option<Place> {
        self.messages.place()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.messages.seek(place)
    }
}

/// What is known of messages beside what they say.
fn column(messages: &[Message], name: &str) -> Result<ArrayRef, Error> {
    Ok(match name {
        "subject" => Arc::new(StringViewArray::from_iter_values(messages.iter().map(|message| &message.subject))),
        "sequence" => Arc::new(Int64Array::from_iter_values(messages.iter().map(|message| message.sequence as i64))),
        "timestamp" => {
            let times = TimestampMicrosecondArray::from_iter_values(messages.iter().map(|message| message.time.0));
            Arc::new(times.with_timezone("UTC"))
        }
        "headers" => headers(messages.iter())?,
        other => return Err(format!("NATS has no metadata column '{other}'").into()),
    })
}

/// Each name with all of its values.
fn headers<'a>(messages: impl Iterator<Item = &'a Message>) -> Result<ArrayRef, Error> {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let item = Field::new_list_field(DataType::Utf8View, true);
    let values = ListBuilder::new(StringViewBuilder::new()).with_field(item);
    let mut maps = MapBuilder::new(Some(names), StringViewBuilder::new(), values);
    for message in messages {
        for of_name in message.headers.chunk_by(|(one, _), (other, _)| one == other) {
            maps.keys().append_value(&of_name[0].0);
            of_name.iter().for_each(|(_, value)| maps.values().values().append_value(value));
            maps.values().append(true);
        }
        maps.append(true)?;
    }
    Ok(Arc::new(maps.finish()))
}

struct RowsSink {
    writer: Writer,
    encoder: Encoder,
    template: Template,
}

impl Sink<Rows> for RowsSink {
    async fn write(&mut self, bundle: Bundle<Rows>) -> Result<(), Error> {
        let mut messages = Vec::new();
        for rows in bundle.as_slice() {
            let subjects = self.template.subjects(rows.batch())?;
            for message in self.encoder.encode(rows).await? {
                messages.push(Outgoing::new(subjects.of(message.row)?, message.value.unwrap_or_default()));
            }
        }
        self.writer.write(messages).await
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        self.writer.begin(attempt, prepared).await
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        self.writer.prepare().await
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        self.writer.commit(prepared).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.writer.close().await
    }
}
