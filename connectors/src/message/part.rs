//! The formats of a key or a value by itself: what [`Read`]s and [`Write`]s them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use updraft_dataflow::connector::{OptionSpec, Options};
use updraft_dataflow::{Error, RowKind};

use super::debezium::{self, Debezium};
use super::protobuf::{self, Protobuf};
use super::raw::Raw;
use super::registry::{self, Registry};
use super::{avro, text};
use crate::columns::csv::Csv;
use crate::columns::json::Json;
use crate::columns::{csv, json, raw};

/// What has to be waited for.
pub(super) type Wait<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// Reads keys, or values.
pub(super) trait Read: Send {
    /// Finds out what has to be known to read `bytes`, where that takes time.
    fn prepare<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Wait<'a>> {
        let _ = bytes;
        None
    }

    /// Adds the rows that `bytes` say, and to `kinds` what each of them does. The error says what is wrong; then there are none.
    fn read(&mut self, bytes: &[u8], kinds: &mut Vec<RowKind>) -> Result<(), String>;

    /// The same where there are none: most formats have no row for that.
    fn read_nothing(&mut self, kinds: &mut Vec<RowKind>) -> Result<(), String> {
        let _ = kinds;
        Ok(())
    }

    /// The columns of the rows that were added; none are left.
    fn take(&mut self) -> Result<Taken, Error>;
}

/// Rows that were read.
pub(super) struct Taken {
    pub(super) batch: RecordBatch,
    /// Those that turned out to be bad, by their numbers among all: the bytes of each, and what is wrong. They are not in the batch.
    pub(super) failed: HashMap<u32, (Vec<u8>, String)>,
}

impl From<RecordBatch> for Taken {
    fn from(batch: RecordBatch) -> Self {
        Self { batch, failed: HashMap::new() }
    }
}

/// Appends the bytes of a row; false where there are none.
pub(super) type WriteRow = Box<dyn Fn(usize, RowKind, &mut Vec<u8>) -> Result<bool, Error> + Send>;

/// Writes keys, or values.
pub(super) trait Write: Send {
    /// Makes known what is going to be written, where that takes time.
    fn prepare(&mut self) -> Option<Wait<'_>> {
        None
    }

    /// How to write the rows of a batch.
    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error>;
}

/// A format with its options.
#[derive(Clone, Debug)]
pub(super) enum Format {
    Json(Json),
    Csv(Csv),
    Raw(Raw),
    Debezium(Debezium),
    Protobuf(Protobuf),
    Avro,
    /// With a registry of schemas, and what a schema is called there that is written with.
    Confluent(Arc<Registry>, Option<String>),
}

/// What a format may be.
const NAMES: [&str; 7] = ["json", "csv", "raw", "avro", "avro-confluent", "protobuf", "debezium-json"];

/// The options of all formats.
pub(super) fn options() -> Vec<OptionSpec> {
    [&json::OPTIONS[..], &csv::OPTIONS, &raw::OPTIONS, &debezium::OPTIONS, &registry::OPTIONS, &protobuf::OPTIONS]
        .concat()
}

/// The metadata that some of them tell.
pub(super) fn metadata() -> Vec<(&'static str, DataType)> {
    debezium::metadata()
}

impl Format {
    /// The format `name`, as the option `option` calls it. Its schema is called `subject` unless told otherwise.
    ///
    /// # Errors
    /// When there is none of that name, or an option of it has a value that it cannot have.
    pub(super) fn of(option: &str, name: &str, options: &Options, subject: Option<String>) -> Result<Self, Error> {
        if option != "format" {
            let known = self::options();
            let prefix = format!("{name}.");
            options.check(
                &format!("'{option}' = '{name}'"),
                known.iter().filter(|known| known.name.starts_with(&prefix)),
            )?;
        }
        Ok(match name {
            "json" => Self::Json(Json::of(options)?),
            "csv" => Self::Csv(Csv::of(options)?.headless()),
            "raw" => Self::Raw(Raw::of(options)?),
            "protobuf" => Self::Protobuf(Protobuf::of(options)?),
            "avro" => Self::Avro,
            "avro-confluent" => {
                let subject = options.get("avro-confluent.subject").map(str::to_owned).or(subject);
                Self::Confluent(Arc::new(Registry::of(options)?), subject)
            }
            "debezium-json" => Self::Debezium(Debezium::of(options)?),
            other => return Err(format!("'{option}' = '{other}': of messages there are {}", NAMES.join(", ")).into()),
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Raw(_) => "raw",
            Self::Debezium(_) => "debezium-json",
            Self::Protobuf(_) => "protobuf",
            Self::Avro => "avro",
            Self::Confluent(..) => "avro-confluent",
        }
    }

    /// Whether a value tells what becomes of rows.
    pub(super) fn is_changelog(&self) -> bool {
        matches!(self, Self::Debezium(_))
    }

    /// What it tells beside the columns.
    pub(super) fn metadata(&self) -> Vec<(&'static str, DataType)> {
        if let Self::Debezium(_) = self { debezium::metadata() } else { Vec::new() }
    }

    /// That it can hold such columns.
    pub(super) fn check(&self, schema: &SchemaRef) -> Result<(), Error> {
        match self {
            Self::Json(_) | Self::Debezium(_) => Ok(()),
            Self::Csv(csv) => csv.decoder(schema, &[]).map(drop),
            Self::Raw(_) => Raw::check(schema),
            Self::Protobuf(protobuf) => protobuf.check(schema),
            Self::Avro | Self::Confluent(..) => avro::check(schema),
        }
    }

    /// Reads columns `wanted` of `schema`, and after those what is `told` beside them.
    pub(super) fn reader(&self, schema: &SchemaRef, wanted: &[usize], told: &[String]) -> Result<Box<dyn Read>, Error> {
        Ok(match self {
            Self::Json(json) => text::reader(json.decoder(schema, wanted), schema, wanted)?,
            Self::Csv(csv) => text::reader(csv.decoder(schema, wanted)?, schema, wanted)?,
            Self::Raw(raw) => Box::new(raw.reader(schema, wanted)?),
            Self::Debezium(debezium) => Box::new(debezium.reader(schema, wanted, told)?),
            Self::Protobuf(protobuf) => Box::new(protobuf.reader(schema, wanted)?),
            Self::Avro => Box::new(avro::reader(schema, wanted, None)?),
            Self::Confluent(registry, _) => Box::new(avro::reader(schema, wanted, Some(registry.clone()))?),
        })
    }

    /// Writes columns `schema`.
    pub(super) fn writer(&self, schema: &SchemaRef) -> Result<Box<dyn Write>, Error> {
        Ok(match self {
            Self::Json(json) => Box::new(json.clone()),
            Self::Csv(csv) => Box::new(csv.encoder(schema)?),
            Self::Raw(raw) => Box::new(raw.clone()),
            Self::Debezium(debezium) => Box::new(debezium.writer()?),
            Self::Protobuf(protobuf) => Box::new(protobuf.clone()),
            Self::Avro => Box::new(avro::writer(schema, None)?),
            Self::Confluent(registry, Some(subject)) => {
                Box::new(avro::writer(schema, Some((registry.clone(), subject.clone())))?)
            }
            Self::Confluent(_, None) => {
                return Err(
                    "option 'avro-confluent.subject' is missing: say what the registry is to call the schema".into()
                );
            }
        })
    }
}
