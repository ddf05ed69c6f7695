//! Formats of single messages: for connectors whose records are messages of a key and a value (Kafka, NATS).
//!
//! [`Formats`] are read from a table's options, by the names that they have in Flink's Kafka connector. They make
//!
//! * a [`Decoder`] (`decode.rs`): the bytes of messages become rows, and of what cannot be decoded dead letters. One message may
//!   be no row, one, or several;
//! * an [`Encoder`] (`encode.rs`): each row becomes a key and a value.
//!
//! What a key or a value looks like by itself is in `part.rs`, which lists the formats: to add one, a file here and a line there.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, Int64Array};
//! use arrow_schema::{DataType, Field, Schema};
//! use updraft_connectors::message::{Formats, Message};
//! use updraft_dataflow::connector::{Column, Scan, Table};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let price = Field::new("price", DataType::Int32, true);
//! let table = Table {
//!     name: "orders".into(),
//!     schema: Arc::new(Schema::new(vec![price.clone()])),
//!     primary_key: vec![],
//!     partition_keys: vec![],
//!     options: [("format".to_owned(), "json".to_owned())].into_iter().collect(),
//!     bounded: true,
//! };
//! // A column of the table, and one of what the connector knows.
//! let scan = Scan {
//!     schema: Arc::new(Schema::new(vec![price, Field::new("offset", DataType::Int64, false)])),
//!     columns: vec![Column::Physical(0), Column::Metadata("offset".into())],
//!     batch: 1_000,
//! };
//! let mut decoder = Formats::of(&table)?.decoder(&scan)?;
//! let origin = Arc::from("orders/0");
//! for (offset, value) in [(7, &b"{\"price\":1}"[..]), (8, b"{\"price\":\"x\"}")] {
//!     decoder.push(&Message { origin: &origin, offset, key: None, value: Some(value) }).await?;
//! }
//! // Of each message that was pushed, whatever became of it.
//! let offsets: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
//! let batch = decoder.take(|_| Ok(offsets.clone()))?.expect("a row and a dead letter");
//! assert_eq!(batch.records.as_slice()[0].batch().column(1).as_ref(), &Int64Array::from(vec![7]));
//! assert_eq!(batch.rejected[0].to_string(), "orders/0:8: field `price`: \"x\" is not a INT");
//! # Ok::<(), updraft_dataflow::Error>(())
//! # })?;
//! # Ok::<(), updraft_dataflow::Error>(())
//! ```

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use updraft_dataflow::Error;
use updraft_dataflow::connector::{Changelog, Column, OptionSpec, Options, Scan, Table};

mod avro;
mod debezium;
mod decode;
mod encode;
mod part;
mod protobuf;
mod raw;
mod registry;
mod text;

pub use decode::{Decoder, Message};
pub use encode::{Encoded, Encoder};

use part::Format;

const OPTIONS: [OptionSpec; 12] = [
    OptionSpec {
        name: "format",
        about: "What values look like: json, csv, raw, avro, avro-confluent, protobuf or debezium-json. The same as 'value.format'.",
    },
    OptionSpec { name: "value.format", about: "The same as 'format'; its options then begin with 'value.', too." },
    OptionSpec {
        name: "value.fields-include",
        about: "Whether values hold the fields of keys: ALL (the default) or EXCEPT_KEY.",
    },
    OptionSpec {
        name: "key.format",
        about: "What keys look like, as 'format'; its options begin with 'key.', too. None by default.",
    },
    OptionSpec { name: "key.fields", about: "The columns that keys hold, with ; between them." },
    OptionSpec {
        name: "key.fields-prefix",
        about: "What the names of keys' columns begin with in the table, and not in keys.",
    },
    OptionSpec { name: "key.json.*", about: "Options of a key's format." },
    OptionSpec { name: "key.csv.*", about: "Options of a key's format." },
    OptionSpec { name: "key.raw.*", about: "Options of a key's format." },
    OptionSpec { name: "key.avro-confluent.*", about: "Options of a key's format." },
    OptionSpec { name: "key.protobuf.*", about: "Options of a key's format." },
    OptionSpec { name: "value.*", about: "Options of 'value.format'." },
];

/// The formats of a table's messages.
#[derive(Clone, Debug)]
pub struct Formats {
    key: Option<Part>,
    value: Part,
    /// Whether a message is the last word on its key, and one without a value says that it is gone.
    upserting: bool,
}

/// A key or a value.
#[derive(Clone, Debug)]
struct Part {
    format: Format,
    /// The columns that it holds, of the table's.
    columns: Vec<usize>,
    /// The same, by their names in messages.
    schema: SchemaRef,
}

impl Formats {
    /// All options of all formats.
    pub fn options() -> Vec<OptionSpec> {
        [OPTIONS.to_vec(), part::options()].concat()
    }

    /// The formats that a table's options say.
    ///
    /// # Errors
    /// When there is none, an option has a value that it cannot have, or a format cannot hold such columns.
    pub fn of(table: &Table) -> Result<Self, Error> {
        let keys = key_columns(table)?;
        Self::new(table, keys, false).map_err(|error| format!("table `{}`: {error}", table.name).into())
    }

    /// The same where a message is the last word on its key, which is the table's primary key, and one without a value says that it
    /// is gone: as in Flink's `upsert-kafka`.
    ///
    /// # Errors
    /// As [`of`](Self::of); and when there is no primary key, or no format of keys.
    pub fn upserting(table: &Table) -> Result<Self, Error> {
        let fault = |what: &str| Err(format!("table `{}`: {what}", table.name).into());
        if table.primary_key.is_empty() {
            return fault("it is changed by key: declare its PRIMARY KEY (…) NOT ENFORCED");
        }
        if table.options.get("key.fields").is_some() {
            return fault("keys are the PRIMARY KEY: leave 'key.fields' out");
        }
        table.options.required("key.format")?;
        Self::new(table, table.primary_key.clone(), true)
            .map_err(|error| format!("table `{}`: {error}", table.name).into())
    }

    fn new(table: &Table, keys: Vec<usize>, upserting: bool) -> Result<Self, Error> {
        let options = &table.options;
        let prefix = options.get("key.fields-prefix").unwrap_or_default();
        let except = match options.get("value.fields-include").map(str::to_ascii_uppercase).as_deref() {
            None | Some("ALL") if prefix.is_empty() => false,
            Some("EXCEPT_KEY") => true,
            None | Some("ALL") => {
                return Err("'key.fields-prefix' needs 'value.fields-include' = 'EXCEPT_KEY': values would hold columns by the names that only keys have".into());
            }
            Some(other) => return Err(format!("'value.fields-include' = '{other}': 'ALL' or 'EXCEPT_KEY'").into()),
        };
        let subject = |part: &str| options.get("topic").map(|topic| format!("{topic}-{part}"));
        let key = match options.get("key.format") {
            None => None,
            Some(name) => {
                let rename = |column: usize| {
                    let field = table.schema.field(column);
                    match field.name().strip_prefix(prefix) {
                        Some(name) => Ok(field.clone().with_name(name)),
                        None => Err(format!(
                            "'key.fields-prefix' = '{prefix}': column `{}` does not begin so",
                            field.name()
                        )),
                    }
                };
                let fields: Vec<Field> = keys.iter().map(|column| rename(*column)).collect::<Result<_, _>>()?;
                let format = Format::of("key.format", name, &options_of(options, "key.", name)?, subject("key"))?;
                Some(Part { format, columns: keys.clone(), schema: Arc::new(Schema::new(fields)) })
            }
        };
        let columns: Vec<usize> =
            (0..table.schema.fields().len()).filter(|column| !(except && keys.contains(column))).collect();
        let schema = Arc::new(table.schema.project(&columns)?);
        let format = match (options.get("value.format"), options.get("format")) {
            (Some(_), Some(_)) => return Err("'format' and 'value.format' are the same: leave one out".into()),
            (Some(name), None) => {
                Format::of("value.format", name, &options_of(options, "value.", name)?, subject("value"))?
            }
            (None, _) => Format::of("format", options.required("format")?, options, subject("value"))?,
        };
        if key.as_ref().is_some_and(|key| key.format.is_changelog()) {
            return Err("'key.format' cannot be one of changes: give it to values".into());
        }
        if upserting && format.is_changelog() {
            return Err(format!(
                "'{}' tells changes by itself: use a connector that is not changed by key",
                format.name()
            )
            .into());
        }
        let formats = Self { key, value: Part { format, columns, schema }, upserting };
        formats.parts().try_for_each(|part| part.format.check(&part.schema))?;
        Ok(formats)
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.key.iter().chain([&self.value])
    }

    /// The metadata columns that some formats give, beside those of the connector: key and type.
    pub fn metadata() -> Vec<(&'static str, DataType)> {
        part::metadata()
    }

    /// What changes can be read from a table's messages, and written to them. Where its formats are wrong, nothing that
    /// matters: that is told when the table is opened.
    pub fn changelog_of(table: &Table) -> Changelog {
        Self::of(table).map_or(Changelog::Insertions, |formats| formats.changelog())
    }

    /// What changes can be read, and written.
    pub fn changelog(&self) -> Changelog {
        match (self.upserting, self.value.format.is_changelog()) {
            (true, _) => Changelog::Upserts,
            (false, true) => Changelog::Changes,
            (false, false) => Changelog::Insertions,
        }
    }

    /// Decodes messages of one partition.
    ///
    /// # Errors
    /// When the formats cannot be read.
    pub fn decoder(&self, scan: &Scan) -> Result<Decoder, Error> {
        Decoder::new(self, scan)
    }

    /// Encodes messages.
    ///
    /// # Errors
    /// When the formats cannot be written.
    pub fn encoder(&self) -> Result<Encoder, Error> {
        Encoder::new(self)
    }

    /// Where a column that is read comes from.
    fn place(&self, column: &Column) -> Place {
        let within = |part: &Part, column| part.columns.iter().position(|other| *other == column);
        match column {
            Column::Metadata(name) if self.value.format.metadata().iter().any(|(known, _)| known == name) => {
                Place::Told(name.clone())
            }
            Column::Metadata(name) => Place::Metadata(name.clone()),
            Column::Physical(column) => {
                let key = self.key.as_ref().and_then(|key| within(key, *column));
                match (key, within(&self.value, *column)) {
                    // Where there may be no value, the key has to tell.
                    (Some(place), _) if self.upserting => Place::Key(place),
                    (_, Some(place)) => Place::Value(place),
                    (Some(place), None) => Place::Key(place),
                    (None, None) => unreachable!("values hold what keys don't"),
                }
            }
        }
    }
}

/// Where a column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A column of the key.
    Key(usize),
    /// A column of the value.
    Value(usize),
    /// The value's format tells it.
    Told(String),
    /// The connector knows it.
    Metadata(String),
}

/// The columns that `'key.fields'` names.
fn key_columns(table: &Table) -> Result<Vec<usize>, Error> {
    let fault = |what: String| Err(format!("table `{}`: {what}", table.name).into());
    let (format, fields) = (table.options.get("key.format"), table.options.get("key.fields"));
    let named = match (format, fields) {
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(named)) if !named.trim().is_empty() => named,
        (Some(_), _) => {
            return fault("'key.format' needs 'key.fields': name the columns that keys hold, as 'a;b'".into());
        }
        (None, Some(_)) => return fault("'key.fields' needs 'key.format': say what keys look like".into()),
    };
    let mut columns = Vec::new();
    for name in named.split(';').map(str::trim) {
        match table.schema.index_of(name) {
            Ok(column) if columns.contains(&column) => return fault(format!("'key.fields' names `{name}` twice")),
            Ok(column) => columns.push(column),
            Err(_) => {
                let names: Vec<_> = table.schema.fields().iter().map(|field| field.name().as_str()).collect();
                return fault(format!(
                    "'key.fields' names `{name}`, which is no column; there are {}",
                    names.join(", ")
                ));
            }
        }
    }
    Ok(columns)
}

/// The options of a format whose names begin with `prefix`, without it.
///
/// # Errors
/// When some are of another format.
fn options_of(options: &Options, prefix: &str, format: &str) -> Result<Options, Error> {
    let begun = options.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    let own = begun.filter(|(name, _)| name.contains('.'));
    let taken = own.map(|(name, value)| match name.strip_prefix(format).is_some_and(|rest| rest.starts_with('.')) {
        true => Ok((name.to_owned(), value.to_owned())),
        false => Err(format!("option '{prefix}{name}' is not of '{prefix}format' = '{format}': leave it out").into()),
    });
    taken.collect::<Result<Vec<_>, Error>>().map(Options::from_iter)
}
