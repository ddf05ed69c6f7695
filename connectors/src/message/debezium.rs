//! Debezium's JSON: a message is a change of a table, with the row before and after it.
//!
//! An update is two rows, `-U` and `+U`. Written are, as by Flink, insertions (`c`) and deletions (`d`): an update is one of each.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringViewBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::Value;
use updraft_dataflow::connector::{OptionSpec, Options};
use updraft_dataflow::{Error, RowKind};

use super::part::{Read, Taken, Write, WriteRow};
use crate::columns::cells::{Columns, batch_of};
use crate::columns::json::Json;
use crate::columns::json::cursor::{Cursor, Token};
use crate::columns::json::decode::Decoder;
use crate::columns::json::encode::objects;
use crate::columns::records::{Ignored, Record, Text, quoted, utf8};
use crate::columns::{flag, project};

pub(super) const OPTIONS: [OptionSpec; 7] = [
    OptionSpec {
        name: "debezium-json.schema-include",
        about: "Whether messages hold their schema, too: {\"schema\": …, \"payload\": …} (false).",
    },
    OptionSpec {
        name: "debezium-json.ignore-parse-errors",
        about: "Whether values that cannot be read are NULL, and messages that cannot be are left out (false).",
    },
    OptionSpec {
        name: "debezium-json.timestamp-format.standard",
        about: "How timestamps are written: SQL (the default) or ISO-8601. Both are read.",
    },
    OptionSpec {
        name: "debezium-json.map-null-key.mode",
        about: "What becomes of NULL keys of maps when written: FAIL (the default), DROP or LITERAL.",
    },
    OptionSpec {
        name: "debezium-json.map-null-key.literal",
        about: "The key that stands for NULL, where the mode is LITERAL (null).",
    },
    OptionSpec {
        name: "debezium-json.encode.decimal-as-plain-number",
        about: "Accepted for Flink's sake: decimals are always written plainly.",
    },
    OptionSpec {
        name: "debezium-json.encode.ignore-null-fields",
        about: "Whether NULL fields are not written (false).",
    },
];

/// The format.
#[derive(Clone, Debug)]
pub(super) struct Debezium {
    json: Json,
    schema_include: bool,
}

/// What a message tells beside the row, by what it is called as metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Schema,
    Ingested,
    /// When it happened.
    Happened,
    /// A member of what is said of the source.
    Source(&'static str),
    Properties,
}

const TOLD: [(&str, Told); 7] = [
    ("value.schema", Told::Schema),
    ("value.ingestion-timestamp", Told::Ingested),
    ("value.source.timestamp", Told::Happened),
    ("value.source.database", Told::Source("db")),
    ("value.source.schema", Told::Source("schema")),
    ("value.source.table", Told::Source("table")),
    ("value.source.properties", Told::Properties),
];

impl Told {
    fn data_type(self) -> DataType {
        match self {
            Self::Ingested | Self::Happened => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Properties => {
                let pair =
                    vec![Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Utf8View, true)];
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false)
            }
            Self::Schema | Self::Source(_) => DataType::Utf8View,
        }
    }
}

/// What messages tell: key and type.
pub(super) fn metadata() -> Vec<(&'static str, DataType)> {
    TOLD.iter().map(|(name, told)| (*name, told.data_type())).collect()
}

impl Debezium {
    pub(super) fn of(options: &Options) -> Result<Self, Error> {
        let json = Json::named("debezium-json", options)?;
        Ok(Self { json, schema_include: flag(options, "debezium-json.schema-include")? })
    }

    pub(super) fn reader(&self, schema: &SchemaRef, wanted: &[usize], told: &[String]) -> Result<Reader, Error> {
        let known = |name: &String| {
            let known = TOLD.iter().find(|(known, _)| known == name);
            known.map(|(_, told)| *told).ok_or_else(|| format!("'debezium-json' does not tell '{name}'"))
        };
        Ok(Reader {
            format: self.clone(),
            rows: self.json.decoder(schema, wanted),
            columns: Columns::new(project(schema, wanted))?,
            told: told.iter().map(|name| Ok((name.clone(), known(name)?))).collect::<Result<_, Error>>()?,
            said: Vec::new(),
            ignored: Ignored::new("messages"),
        })
    }
}

/// Reads messages.
pub(super) struct Reader {
    format: Debezium,
    rows: Decoder,
    columns: Columns,
    told: Vec<(String, Told)>,
    /// What was told of each row, where something is wanted of that.
    said: Vec<Said>,
    ignored: Arc<Ignored>,
}

/// What a message tells beside the row.
#[derive(Clone, Default)]
struct Said {
    schema: Option<String>,
    ingested: Option<i64>,
    source: Option<Arc<serde_json::Map<String, Value>>>,
}

/// The members of a message that matter, as they are written; empty where they are not there, or null.
#[derive(Default)]
struct Change<'a> {
    schema: &'a str,
    before: &'a str,
    after: &'a str,
    op: &'a str,
    source: &'a str,
    ts_ms: &'a str,
}

impl<'a> Change<'a> {
    fn read(text: &'a str, schema_include: bool) -> Result<Self, String> {
        let mut change = Self::default();
        let text = match schema_include {
            false => text,
            true => {
                let mut payload = "";
                members(text, |name, value| match name {
                    "schema" => change.schema = value,
                    "payload" => payload = value,
                    _ => {}
                })?;
                if payload.is_empty() {
                    return Err("there is no `payload`: set 'debezium-json.schema-include' = 'false' where messages have no schema".into());
                }
                payload
            }
        };
        let mut wrapped = false;
        members(text, |name, value| match name {
            "before" => change.before = value,
            "after" => change.after = value,
            "op" => change.op = value,
            "source" => change.source = value,
            "ts_ms" => change.ts_ms = value,
            "payload" => wrapped = true,
            _ => {}
        })?;
        match change.op {
            "" if wrapped && !schema_include => {
                Err("there is no `op` but a `payload`: set 'debezium-json.schema-include' = 'true'".into())
            }
            _ => Ok(change),
        }
    }
}

/// Tells the members of an object, as they are written; not those that are null.
fn members<'a>(text: &'a str, mut each: impl FnMut(&str, &'a str)) -> Result<(), String> {
    let mut cursor = Cursor::new(text);
    if cursor.token()? != Token::Object {
        return cursor.fault("an object: {\"before\": …, \"after\": …, \"op\": …}");
    }
    cursor.members(0, |cursor, depth| {
        let name = cursor.name()?;
        cursor.peek();
        let start = cursor.at();
        cursor.skip(depth)?;
        let value = cursor.since(start);
        if value != "null" {
            each(&name, value);
        }
        Ok(())
    })?;
    match cursor.peek() {
        None => Ok(()),
        Some(_) => cursor.fault("nothing after the object"),
    }
}

impl Reader {
    /// How many rows a message is, and what they do.
    fn change(&mut self, bytes: &[u8], kinds: &mut Vec<RowKind>) -> Result<(), String> {
        let change = Change::read(utf8(bytes)?, self.format.schema_include)?;
        let rows: &[_] = match change.op {
            "\"c\"" | "\"r\"" => &[("after", change.after, RowKind::Insert)],
            "\"d\"" => &[("before", change.before, RowKind::Delete)],
            "\"u\"" => {
                &[("before", change.before, RowKind::UpdateBefore), ("after", change.after, RowKind::UpdateAfter)]
            }
            "" => return Err("there is no `op`, which says what has changed".into()),
            other => {
                return Err(format!(
                    "`op` is {}, and not \"c\", \"r\", \"u\" or \"d\"",
                    quoted(other.trim_matches('"'))
                ));
            }
        };
        let said = self.said(&change)?;
        for (at, (member, row, kind)) in rows.iter().enumerate() {
            if let Err(reason) = self.row(member, row, change.op) {
                self.columns.retract(at);
                self.columns.reject();
                self.said.truncate(self.said.len().saturating_sub(if self.told.is_empty() { 0 } else { at }));
                return Err(reason);
            }
            self.columns.accept();
            kinds.push(*kind);
            if !self.told.is_empty() {
                self.said.push(said.clone());
            }
        }
        Ok(())
    }

    fn row(&mut self, member: &str, row: &str, op: &str) -> Result<(), String> {
        if row.is_empty() {
            let remedy = match member {
                "before" => "; of PostgreSQL, tables need REPLICA IDENTITY FULL for it",
                _ => "",
            };
            return Err(format!("`op` is {op}, but there is no `{member}`{remedy}"));
        }
        match self.rows.decode(row.as_bytes(), &mut self.columns).map_err(|reason| format!("`{member}`: {reason}"))? {
            Record::Row => Ok(()),
            Record::Nothing | Record::Ignored => Err(format!("`{member}` is no row")),
        }
    }

    fn said(&self, change: &Change<'_>) -> Result<Said, String> {
        let mut said = Said::default();
        if self.told.is_empty() {
            return Ok(said);
        }
        if !change.schema.is_empty() {
            said.schema = Some(change.schema.to_owned());
        }
        said.ingested = change.ts_ms.parse().ok();
        if !change.source.is_empty() {
            let source = serde_json::from_str(change.source).map_err(|error| format!("`source`: {error}"))?;
            said.source = Some(Arc::new(source));
        }
        Ok(said)
    }

    fn column(&self, told: Told, said: &[Said]) -> Result<ArrayRef, Error> {
        let member = |said: &Said, name: &str| text(said.source.as_ref()?.get(name)?);
        let times = |time: &dyn Fn(&Said) -> Option<i64>| -> Result<ArrayRef, Error> {
            Ok(cast(&Int64Array::from_iter(said.iter().map(time)), &told.data_type())?)
        };
        Ok(match told {
            Told::Schema => Arc::new(said.iter().map(|said| said.schema.as_deref()).collect::<StringViewArray>()),
            Told::Source(name) => Arc::new(said.iter().map(|said| member(said, name)).collect::<StringViewArray>()),
            Told::Ingested => times(&|said| said.ingested)?,
            Told::Happened => times(&|said| said.source.as_ref()?.get("ts_ms")?.as_i64())?,
            Told::Properties => {
                let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
                let mut maps = MapBuilder::new(Some(names), StringViewBuilder::new(), StringViewBuilder::new());
                for said in said {
                    for (name, value) in said.source.iter().flat_map(|source| source.iter()) {
                        maps.keys().append_value(name);
                        maps.values().append_option(text(value));
                    }
                    maps.append(said.source.is_some())?;
                }
                Arc::new(maps.finish())
            }
        })
    }
}

/// A value as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

impl Read for Reader {
    fn read(&mut self, bytes: &[u8], kinds: &mut Vec<RowKind>) -> Result<(), String> {
        let before = kinds.len();
        match self.change(bytes, kinds) {
            Ok(()) => Ok(()),
            Err(_) if self.format.json.ignore_errors => {
                kinds.truncate(before);
                self.ignored.count();
                Ok(())
            }
            Err(reason) => Err(reason),
        }
    }

    fn take(&mut self) -> Result<Taken, Error> {
        let (batch, said) = (self.columns.take()?, std::mem::take(&mut self.said));
        let mut fields = batch.schema().fields().to_vec();
        let mut columns = batch.columns().to_vec();
        for (name, told) in &self.told {
            fields.push(Arc::new(Field::new(name, told.data_type(), true)));
            columns.push(self.column(*told, &said)?);
        }
        Ok(batch_of(&Arc::new(Schema::new(fields)), columns, batch.num_rows())?.into())
    }
}

impl Write for Debezium {
    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error> {
        let write = objects(&self.json, batch)?;
        Ok(Box::new(move |row, kind, out| {
            let (before, after, op): (_, _, &[u8]) = match kind.is_addition() {
                true => ("{\"before\":null,\"after\":", "", b",\"op\":\"c\"}"),
                false => ("{\"before\":", ",\"after\":null", b",\"op\":\"d\"}"),
            };
            out.extend_from_slice(before.as_bytes());
            write(row, out)?;
            out.extend_from_slice(after.as_bytes());
            out.extend_from_slice(op);
            Ok(true)
        }))
    }
}

impl Debezium {
    /// That it can be written.
    pub(super) fn writer(&self) -> Result<Self, Error> {
        match self.schema_include {
            true => {
                Err("with 'debezium-json.schema-include' = 'true' messages are read alone: set it to false to write"
                    .into())
            }
            false => Ok(self.clone()),
        }
    }
}
