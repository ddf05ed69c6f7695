//! Kafka as tables: `'connector' = 'kafka'` and `'upsert-kafka'`, with Flink's options.
//!
//! What messages look like is said by `'format'`, or by `'key.format'` and `'value.format'`: see [`updraft_connectors::message`].

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, MapBuilder, StringBuilder, StringViewBuilder};
use arrow_array::{ArrayRef, Int32Array, Int64Array, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use rdkafka::message::Timestamp;
use updraft_connectors::message::{Decoder, Encoder, Formats, Message};
use updraft_dataflow::connector::{AnySink, AnySource, Changelog, Connector, OptionSpec, Registry, Scan, Table};
use updraft_dataflow::{Batch, Bundle, Error, Rows};

use crate::message::{Header, Incoming, Outgoing, Turn};
use crate::settings;
use crate::sink::{Encode, KafkaSink};
use crate::source::KafkaSource;

/// `registry` with `kafka` and `upsert-kafka`.
#[must_use]
pub fn register(registry: Registry) -> Registry {
    registry.with(Kafka).with(UpsertKafka)
}

/// `'connector' = 'kafka'`: messages are rows that are added, or changes where the format tells of changes.
#[derive(Clone, Copy, Debug)]
pub struct Kafka;

/// `'connector' = 'upsert-kafka'`: a message is the last word on its key, and one without a value says that the key is gone.
#[derive(Clone, Copy, Debug)]
pub struct UpsertKafka;

fn metadata() -> Vec<(&'static str, DataType)> {
    let own = [
        ("topic", DataType::Utf8View),
        ("partition", DataType::Int32),
        ("offset", DataType::Int64),
        ("timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("timestamp-type", DataType::Utf8View),
        ("headers", header_type()),
    ];
    own.into_iter().chain(Formats::metadata()).collect()
}

/// A map of names to bytes.
fn header_type() -> DataType {
    let entries =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Binary, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

fn formats(table: &Table, upserting: bool) -> Result<Formats, Error> {
    if upserting { Formats::upserting(table) } else { Formats::of(table) }
}

fn source(table: &Table, scan: &Scan, upserting: bool) -> Result<AnySource, Error> {
    let named = |error: Error| -> Error { format!("table `{}`: {error}", table.name).into() };
    let reads = settings::reads(table, upserting).map_err(named)?;
    let (formats, scan) = (formats(table, upserting)?, scan.clone());
    // What the formats cannot do is told now, not when a message comes.
    formats.decoder(&scan)?;
    Ok(AnySource::new(KafkaSource::new(reads, move || Decoding::new(formats.decoder(&scan)?))))
}

fn sink(table: &Table, upserting: bool) -> Result<AnySink, Error> {
    let named = |error: Error| -> Error { format!("table `{}`: {error}", table.name).into() };
    let writes = settings::writes(table).map_err(named)?;
    let encoder = formats(table, upserting)?.encoder()?;
    Ok(AnySink::new(KafkaSink::new(writes, Encoding(encoder))))
}

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn options(&self) -> Vec<OptionSpec> {
        [settings::COMMON.to_vec(), settings::APPENDING.to_vec(), Formats::options()].concat()
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        metadata()
    }

    fn is_bounded(&self, table: &Table) -> bool {
        settings::is_bounded(table)
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        source(table, scan, false)
    }

    fn tells(&self, table: &Table) -> Changelog {
        Formats::changelog_of(table)
    }

    fn accepts(&self, table: &Table) -> Changelog {
        Formats::changelog_of(table)
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        sink(table, false)
    }
}

impl Connector for UpsertKafka {
    fn name(&self) -> &'static str {
        "upsert-kafka"
    }

    fn options(&self) -> Vec<OptionSpec> {
        [settings::COMMON.to_vec(), Formats::options()].concat()
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        metadata()
    }

    fn is_bounded(&self, table: &Table) -> bool {
        settings::is_bounded(table)
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        source(table, scan, true)
    }

    fn tells(&self, _: &Table) -> Changelog {
        Changelog::Upserts
    }

    fn accepts(&self, _: &Table) -> Changelog {
        Changelog::Upserts
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        sink(table, true)
    }
}

/// What is known of a message beside what it says.
struct Known {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    timestamp: Timestamp,
    headers: Vec<Header>,
}

/// Rows of messages.
struct Decoding {
    decoder: Decoder,
    known: Vec<Known>,
    /// Whether anybody asks for what is known, and for headers.
    is_asked: bool,
    has_headers: bool,
}

impl Decoding {
    fn new(decoder: Decoder) -> Result<Self, Error> {
        let (is_asked, has_headers) =
            (decoder.metadata().next().is_some(), decoder.metadata().any(|name| name == "headers"));
        Ok(Self { decoder, known: Vec::new(), is_asked, has_headers })
    }
}

impl Turn for Decoding {
    type Item = Rows;

    async fn push(&mut self, message: Incoming<'_>) -> Result<(), Error> {
        let Incoming { origin, topic, partition, offset, timestamp, key, value, headers } = message;
        self.decoder.push(&Message { origin, offset: offset as u64, key, value }).await?;
        if self.is_asked {
            let headers = if self.has_headers { headers } else { Vec::new() };
            self.known.push(Known { topic: topic.clone(), partition, offset, timestamp, headers });
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.decoder.bytes()
    }

    fn take(&mut self) -> Result<Option<Batch<Rows>>, Error> {
        let known = std::mem::take(&mut self.known);
        self.decoder.take(|name| column(&known, name))
    }
}

/// A column of what is known of messages.
fn column(known: &[Known], name: &str) -> Result<ArrayRef, Error> {
    Ok(match name {
        "topic" => {
            let mut names = StringViewBuilder::new();
            known.iter().for_each(|known| names.append_value(&known.topic));
            Arc::new(names.finish())
        }
        "partition" => Arc::new(Int32Array::from_iter_values(known.iter().map(|known| known.partition))),
        "offset" => Arc::new(Int64Array::from_iter_values(known.iter().map(|known| known.offset))),
        "timestamp" => {
            let times = known.iter().map(|known| known.timestamp.to_millis());
            Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
        }
        "timestamp-type" => {
            let mut kinds = StringViewBuilder::new();
            known.iter().for_each(|known| {
                kinds.append_value(match known.timestamp {
                    Timestamp::NotAvailable => "NoTimestampType",
                    Timestamp::CreateTime(_) => "CreateTime",
                    Timestamp::LogAppendTime(_) => "LogAppendTime",
                });
            });
            Arc::new(kinds.finish())
        }
        "headers" => {
            let mut maps = MapBuilder::new(None, StringBuilder::new(), BinaryBuilder::new());
            for Known { headers, .. } in known {
                for (name, value) in headers {
                    maps.keys().append_value(name);
                    maps.values().append_option(value.as_ref());
                }
                maps.append(true)?;
            }
            Arc::new(maps.finish())
        }
        other => return Err(format!("Kafka has no metadata column '{other}'").into()),
    })
}

/// Messages of rows.
struct Encoding(Encoder);

impl Encode<Rows> for Encoding {
    async fn encode(&mut self, records: Bundle<Rows>) -> Result<Vec<Outgoing>, Error> {
        let mut messages = Vec::new();
        for rows in records.as_slice() {
            let encoded = self.0.encode(rows).await?;
            messages.extend(encoded.into_iter().map(|message| Outgoing {
                key: message.key.map(|key| key.to_vec()),
                value: message.value.map(|value| value.to_vec()),
                ..Outgoing::default()
            }));
        }
        Ok(messages)
    }
}
