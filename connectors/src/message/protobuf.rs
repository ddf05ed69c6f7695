//! Protocol Buffers: a message is one of a type that a `.proto` file describes, or a file of descriptors (`protoc -o`).
//!
//! Columns are fields by name; rows, arrays and maps within them too. An enum is its name or its number; a
//! `google.protobuf.Timestamp` is a time, and the wrappers of scalars are what they wrap.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use chrono::DateTime;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value};
use updraft_dataflow::connector::{OptionSpec, Options};
use updraft_dataflow::{Error, RowKind};

use super::part::{Read, Taken, Write, WriteRow};
use crate::columns::cells::{Cells, Columns, Shape};
use crate::columns::records::Ignored;
use crate::columns::text::strict;
use crate::columns::types::sql_name;
use crate::columns::{flag, project};

pub(super) const OPTIONS: [OptionSpec; 6] = [
    OptionSpec {
        name: "protobuf.schema",
        about: "A .proto file, or a file of descriptors (protoc --include_imports -o).",
    },
    OptionSpec {
        name: "protobuf.include",
        about: "Folders that a .proto file imports from, with : between them (its own).",
    },
    OptionSpec {
        name: "protobuf.message",
        about: "The full name of the message's type (the only one that the file defines).",
    },
    OptionSpec {
        name: "protobuf.ignore-parse-errors",
        about: "Whether messages that cannot be read are left out (false).",
    },
    OptionSpec {
        name: "protobuf.read-default-values",
        about: "Whether a field that is not there has its default value instead of NULL (false). Fields of proto3 that are not optional always have.",
    },
    OptionSpec {
        name: "protobuf.write-null-string-literal",
        about: "What is written for a NULL string in an array or a map, where there can be none (empty text).",
    },
];

/// The format.
#[derive(Clone, Debug)]
pub(super) struct Protobuf {
    message: MessageDescriptor,
    ignore_errors: bool,
    defaults: bool,
    null_string: Arc<str>,
}

impl Protobuf {
    pub(super) fn of(options: &Options) -> Result<Self, Error> {
        let path = options.required("protobuf.schema")?;
        let pool = pool(path, options.get("protobuf.include"))
            .map_err(|error| format!("'protobuf.schema' = '{path}': {error}"))?;
        Ok(Self {
            message: message(&pool, path, options.get("protobuf.message"))?,
            ignore_errors: flag(options, "protobuf.ignore-parse-errors")?,
            defaults: flag(options, "protobuf.read-default-values")?,
            null_string: options.get("protobuf.write-null-string-literal").unwrap_or_default().into(),
        })
    }

    /// That columns are fields.
    pub(super) fn check(&self, schema: &SchemaRef) -> Result<(), Error> {
        Plan::row(&self.message, schema.fields()).map(drop)
    }

    pub(super) fn reader(&self, schema: &SchemaRef, wanted: &[usize]) -> Result<Reader, Error> {
        let schema = project(schema, wanted);
        Ok(Reader {
            fields: Plan::row(&self.message, schema.fields())?,
            format: self.clone(),
            columns: Columns::new(schema)?,
            ignored: Ignored::new("messages"),
        })
    }
}

/// What is described in a file.
fn pool(path: &str, include: Option<&str>) -> Result<DescriptorPool, Error> {
    if Path::new(path).extension().is_none_or(|extension| extension != "proto") {
        let remedy = "give a file of descriptors (protoc --include_imports -o), or one that ends in .proto";
        return DescriptorPool::decode(std::fs::read(path)?.as_slice())
            .map_err(|error| format!("{error}; {remedy}").into());
    }
    let own = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folders = include.iter().flat_map(|folders| folders.split(':')).map(Path::new).chain([own]);
    let mut compiler = protox::Compiler::new(folders)?;
    compiler.include_imports(true).open_file(path)?;
    Ok(compiler.descriptor_pool())
}

fn message(pool: &DescriptorPool, path: &str, name: Option<&str>) -> Result<MessageDescriptor, Error> {
    let is_own =
        |message: &MessageDescriptor| !message.is_map_entry() && !message.full_name().starts_with("google.protobuf.");
    let own = || pool.all_messages().filter(is_own);
    let names = || own().map(|message| message.full_name().to_owned()).collect::<Vec<_>>().join(", ");
    match name {
        Some(name) => pool
            .get_message_by_name(name)
            .ok_or_else(|| format!("'protobuf.message' = '{name}': '{path}' has {}", names()).into()),
        None => {
            let top: Vec<_> = own().filter(|message| message.parent_message().is_none()).collect();
            match <[_; 1]>::try_from(top) {
                Ok([message]) => Ok(message),
                Err(_) => Err(format!(
                    "option 'protobuf.message' is missing: name one of those that '{path}' has: {}",
                    names()
                )
                .into()),
            }
        }
    }
}

/// How a column is had of a field.
#[derive(Clone, Debug)]
enum Plan {
    Scalar(Kind),
    /// By name, if it is text.
    Enum(EnumDescriptor, bool),
    Timestamp(MessageDescriptor),
    /// The field that holds what is wrapped.
    Wrapper(MessageDescriptor, FieldDescriptor),
    Row(MessageDescriptor, Vec<(FieldDescriptor, Self)>),
    List(Box<Self>),
    Map(Box<[Self; 2]>),
}

/// Messages that hold one scalar, so that it may be missing.
const WRAPPERS: [&str; 9] = [
    "google.protobuf.DoubleValue",
    "google.protobuf.FloatValue",
    "google.protobuf.Int64Value",
    "google.protobuf.UInt64Value",
    "google.protobuf.Int32Value",
    "google.protobuf.UInt32Value",
    "google.protobuf.BoolValue",
    "google.protobuf.StringValue",
    "google.protobuf.BytesValue",
];

impl Plan {
    fn row<'a>(
        message: &MessageDescriptor,
        columns: impl IntoIterator<Item = &'a Arc<Field>>,
    ) -> Result<Vec<(FieldDescriptor, Self)>, Error> {
        let field = |column: &Arc<Field>| {
            let Some(field) = message.get_field_by_name(column.name()) else {
                let names: Vec<_> = message.fields().map(|field| field.name().to_owned()).collect();
                let (name, message, names) = (column.name(), message.full_name(), names.join(", "));
                return Err(format!("column `{name}`: message {message} has no such field; it has {names}").into());
            };
            let plan = Self::field(&field, column)?;
            Ok((field, plan))
        };
        columns.into_iter().map(field).collect()
    }

    fn field(field: &FieldDescriptor, column: &Field) -> Result<Self, Error> {
        let misfit = || Self::misfit(&field.kind(), column);
        match column.data_type() {
            DataType::Map(entries, _) if field.is_map() => match (field.kind(), entries.data_type()) {
                (Kind::Message(entry), DataType::Struct(pair)) if pair.len() == 2 => Ok(Self::Map(Box::new([
                    Self::one(&entry.map_entry_key_field().kind(), &pair[0])?,
                    Self::one(&entry.map_entry_value_field().kind(), &pair[1])?,
                ]))),
                _ => Err(misfit()),
            },
            DataType::List(item) if field.is_list() => Ok(Self::List(Box::new(Self::one(&field.kind(), item)?))),
            _ if field.is_list() || field.is_map() => {
                let (name, kind) = (column.name(), sql_name(column.data_type()));
                let what = if field.is_map() { "a map" } else { "repeated" };
                Err(format!("column `{name}`: the field is {what}, and the column {kind}").into())
            }
            _ => Self::one(&field.kind(), column),
        }
    }

    /// Of a value that is not repeated.
    fn one(kind: &Kind, column: &Field) -> Result<Self, Error> {
        let to = column.data_type();
        let is_text = matches!(to, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let is_bytes = matches!(
            to,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        );
        match kind {
            Kind::Message(message)
                if message.full_name() == "google.protobuf.Timestamp" && matches!(to, DataType::Timestamp(..)) =>
            {
                Ok(Self::Timestamp(message.clone()))
            }
            Kind::Message(message) => match to {
                DataType::Struct(fields) => Ok(Self::Row(message.clone(), Self::row(message, fields)?)),
                _ if WRAPPERS.contains(&message.full_name()) => match message.get_field_by_name("value") {
                    Some(value) if matches!(Self::one(&value.kind(), column)?, Self::Scalar(_)) => {
                        Ok(Self::Wrapper(message.clone(), value))
                    }
                    _ => Err(Self::misfit(kind, column)),
                },
                _ => Err(Self::misfit(kind, column)),
            },
            Kind::Enum(names) if is_text || to.is_signed_integer() => Ok(Self::Enum(names.clone(), is_text)),
            Kind::String if is_text => Ok(Self::Scalar(kind.clone())),
            Kind::Bytes if is_bytes => Ok(Self::Scalar(kind.clone())),
            Kind::Bool if *to == DataType::Boolean => Ok(Self::Scalar(kind.clone())),
            Kind::Float | Kind::Double if to.is_floating() => Ok(Self::Scalar(kind.clone())),
            Kind::String | Kind::Bytes | Kind::Bool | Kind::Float | Kind::Double | Kind::Enum(_) => {
                Err(Self::misfit(kind, column))
            }
            _ if to.is_integer() || matches!(to, DataType::Decimal128(..)) => Ok(Self::Scalar(kind.clone())),
            _ => Err(Self::misfit(kind, column)),
        }
    }

    #[cold]
    fn misfit(kind: &Kind, column: &Field) -> Error {
        let (name, to) = (column.name(), sql_name(column.data_type()));
        format!("column `{name}`: a field of {kind:?} cannot be {to}").into()
    }
}

/// Reads messages.
pub(super) struct Reader {
    format: Protobuf,
    fields: Vec<(FieldDescriptor, Plan)>,
    columns: Columns,
    ignored: Arc<Ignored>,
}

impl Read for Reader {
    fn read(&mut self, bytes: &[u8], kinds: &mut Vec<RowKind>) -> Result<(), String> {
        match self.message(bytes) {
            Ok(()) => {
                self.columns.accept();
                kinds.push(RowKind::Insert);
                Ok(())
            }
            Err(reason) => {
                self.columns.reject();
                if !self.format.ignore_errors {
                    return Err(reason);
                }
                self.ignored.count();
                Ok(())
            }
        }
    }

    fn take(&mut self) -> Result<Taken, Error> {
        Ok(self.columns.take()?.into())
    }
}

impl Reader {
    fn message(&mut self, bytes: &[u8]) -> Result<(), String> {
        let name = self.format.message.full_name();
        let message = DynamicMessage::decode(self.format.message.clone(), bytes)
            .map_err(|error| format!("not a message {name}: {error}"))?;
        let defaults = self.format.defaults;
        let mut cells = self.columns.cells.iter_mut().zip(&self.fields);
        cells.try_for_each(|(cells, (field, plan))| member(&message, field, plan, cells, defaults))
    }
}

/// Adds what a message has in a field.
fn member(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    plan: &Plan,
    cells: &mut Cells,
    defaults: bool,
) -> Result<(), String> {
    // What is absent and what is empty look alike, but where a field tells.
    let is_scalar = !field.is_list() && !field.is_map() && !field.supports_presence();
    let nullable = cells.field().is_nullable();
    if message.has_field(field) || is_scalar || defaults || !nullable {
        return push(&message.get_field(field), plan, cells, defaults);
    }
    cells.push_null();
    Ok(())
}

fn push(value: &Value, plan: &Plan, cells: &mut Cells, defaults: bool) -> Result<(), String> {
    let pushed = match (plan, value) {
        (Plan::Timestamp(message), Value::Message(time)) => {
            let part = |name: &str| message.get_field_by_name(name).map(|field| time.get_field(&field).into_owned());
            let (seconds, nanos) =
                (part("seconds").and_then(|value| value.as_i64()), part("nanos").and_then(|value| value.as_i32()));
            let zone = if matches!(cells.field().data_type(), DataType::Timestamp(_, Some(_))) { "Z" } else { "" };
            match text_of(seconds.unwrap_or_default(), nanos.unwrap_or_default(), zone) {
                Some(text) => cells.push(&text),
                None => cells.refuse(),
            }
        }
        (Plan::Wrapper(_, field), Value::Message(wrapped)) => {
            return push(&wrapped.get_field(field), &Plan::Scalar(field.kind()), cells, defaults);
        }
        (Plan::Row(_, fields), Value::Message(message)) => {
            let Shape::Row(row) = &mut cells.shape else { return Err("a row where none is".into()) };
            for (cells, (field, plan)) in row.cells.iter_mut().zip(fields) {
                member(message, field, plan, cells, defaults)?;
            }
            row.end(true);
            true
        }
        (Plan::List(plan), Value::List(items)) => {
            let Shape::List(list) = &mut cells.shape else { return Err("a list where none is".into()) };
            for item in items {
                push(item, plan, &mut list.item, defaults)?;
            }
            list.end(true);
            true
        }
        (Plan::Map(plans), Value::Map(pairs)) => {
            let Shape::Map(map) = &mut cells.shape else { return Err("a map where none is".into()) };
            let [keys, values] = &mut map.pairs.cells[..] else { return Err("a map of no pairs".into()) };
            let mut sorted: Vec<_> = pairs.iter().collect();
            sorted.sort_unstable_by(|a, b| a.0.cmp(b.0));
            for (key, value) in sorted {
                push(&Value::from(key.clone()), &plans[0], keys, defaults)?;
                push(value, &plans[1], values, defaults)?;
            }
            map.end(true);
            true
        }
        (Plan::Enum(names, true), Value::EnumNumber(number)) => match names.get_value(*number) {
            Some(value) => cells.push(value.name()),
            // One that a newer schema has: its number says more than nothing.
            None => cells.push(&number.to_string()),
        },
        (_, Value::EnumNumber(number)) => cells.push(&number.to_string()),
        (_, Value::Bool(value)) => cells.push(if *value { "true" } else { "false" }),
        (_, Value::I32(value)) => cells.push(&value.to_string()),
        (_, Value::I64(value)) => cells.push(&value.to_string()),
        (_, Value::U32(value)) => cells.push(&value.to_string()),
        (_, Value::U64(value)) => cells.push(&value.to_string()),
        (_, Value::F32(value)) => cells.push(&value.to_string()),
        (_, Value::F64(value)) => cells.push(&value.to_string()),
        (_, Value::String(text)) => cells.push(text),
        (_, Value::Bytes(bytes)) => cells.push_bytes(bytes),
        (_, Value::Message(_) | Value::List(_) | Value::Map(_)) => cells.refuse(),
    };
    if pushed {
        return Ok(());
    }
    let (name, kind) = (cells.field().name(), sql_name(cells.field().data_type()));
    Err(format!("field `{name}`: {} is not a {kind}", shown(value)))
}

/// A time as text, within the years that there are.
fn text_of(seconds: i64, nanos: i32, zone: &str) -> Option<String> {
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let time = DateTime::from_timestamp(seconds, nanos)?;
    let text = time.format("%Y-%m-%d %H:%M:%S%.9f").to_string() + zone;
    // Years of more digits have a sign.
    text.starts_with(|first: char| first.is_ascii_digit()).then_some(text)
}

/// A value as an error quotes it: its beginning.
fn shown(value: &Value) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The value of a row; none where it is NULL.
type Get = Box<dyn Fn(usize) -> Result<Option<Value>, Error> + Send>;

impl Write for Protobuf {
    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error> {
        let fields = Plan::row(&self.message, batch.schema().fields())?;
        let get = self.object(&self.message, &fields, batch.columns())?;
        Ok(Box::new(move |row, _, out| {
            get(row)?.encode(out)?;
            Ok(true)
        }))
    }
}

impl Protobuf {
    fn object(
        &self,
        message: &MessageDescriptor,
        fields: &[(FieldDescriptor, Plan)],
        columns: &[ArrayRef],
    ) -> Result<Box<dyn Fn(usize) -> Result<DynamicMessage, Error> + Send>, Error> {
        let members = fields.iter().zip(columns);
        let of = |field: &FieldDescriptor, error| Error::from(format!("field `{}`: {error}", field.name()));
        let members = members.map(|((field, plan), array)| {
            let get = self.get(plan, array).map_err(|error| of(field, error))?;
            Ok((field.clone(), get))
        });
        let (message, members) = (message.clone(), members.collect::<Result<Vec<_>, Error>>()?);
        Ok(Box::new(move |row| {
            let mut object = DynamicMessage::new(message.clone());
            for (field, get) in &members {
                if let Some(value) = get(row).map_err(|error| of(field, error))? {
                    object.try_set_field(field, value).map_err(|error| of(field, error.into()))?;
                }
            }
            Ok(object)
        }))
    }

    fn get(&self, plan: &Plan, array: &ArrayRef) -> Result<Get, Error> {
        let value = self.value(plan, array)?;
        let nulls = array.clone();
        Ok(Box::new(move |row| if nulls.is_null(row) { Ok(None) } else { value(row).map(Some) }))
    }

    /// The value of a row that is not NULL.
    fn value(&self, plan: &Plan, array: &ArrayRef) -> Result<Box<dyn Fn(usize) -> Result<Value, Error> + Send>, Error> {
        Ok(match plan {
            Plan::Scalar(kind) => scalar(kind, array)?,
            Plan::Enum(names, true) => {
                let (array, names) = (strict(array, &DataType::Utf8View)?.as_string_view().clone(), names.clone());
                Box::new(move |row| {
                    let name = array.value(row);
                    let number =
                        names.get_value_by_name(name).map(|value| value.number()).or_else(|| name.parse().ok());
                    number
                        .map(Value::EnumNumber)
                        .ok_or_else(|| format!("enum {} has no {name:?}", names.full_name()).into())
                })
            }
            Plan::Enum(_, false) => {
                let array = strict(array, &DataType::Int32)?.as_primitive::<Int32Type>().clone();
                Box::new(move |row| Ok(Value::EnumNumber(array.value(row))))
            }
            Plan::Timestamp(message) => timestamp(message, array)?,
            Plan::Wrapper(message, field) => {
                let (message, field, value) = (message.clone(), field.clone(), scalar(&field.kind(), array)?);
                Box::new(move |row| {
                    let mut wrapped = DynamicMessage::new(message.clone());
                    wrapped.try_set_field(&field, value(row)?)?;
                    Ok(Value::Message(wrapped))
                })
            }
            Plan::Row(message, fields) => {
                let object = self.object(message, fields, array.as_struct().columns())?;
                Box::new(move |row| Ok(Value::Message(object(row)?)))
            }
            Plan::List(plan) => {
                let list = array.as_list::<i32>().clone();
                let (get, stand_in) = (self.get(plan, list.values())?, self.stand_in(plan));
                Box::new(move |row| {
                    let range = list.offsets()[row] as usize..list.offsets()[row + 1] as usize;
                    let item = |at| Ok(get(at)?.unwrap_or_else(|| stand_in.clone()));
                    Ok(Value::List(range.map(item).collect::<Result<_, Error>>()?))
                })
            }
            Plan::Map(plans) => {
                let map = array.as_map().clone();
                let (key, get) = (self.get(&plans[0], map.keys())?, self.get(&plans[1], map.values())?);
                let (no_key, stand_in) = (self.stand_in(&plans[0]), self.stand_in(&plans[1]));
                Box::new(move |row| {
                    let range = map.offsets()[row] as usize..map.offsets()[row + 1] as usize;
                    let pair = |at| {
                        let key = key(at)?.unwrap_or_else(|| no_key.clone());
                        let key = key.into_map_key().ok_or("a map's key that cannot be one")?;
                        Ok((key, get(at)?.unwrap_or_else(|| stand_in.clone())))
                    };
                    Ok(Value::Map(range.map(pair).collect::<Result<_, Error>>()?))
                })
            }
        })
    }

    /// What stands for NULL where there can be none.
    fn stand_in(&self, plan: &Plan) -> Value {
        match plan {
            Plan::Scalar(Kind::String) => Value::String(self.null_string.to_string()),
            Plan::Scalar(kind) => Value::default_value(kind),
            Plan::Enum(names, _) => Value::EnumNumber(names.default_value().number()),
            Plan::Timestamp(message) | Plan::Wrapper(message, _) | Plan::Row(message, _) => {
                Value::Message(DynamicMessage::new(message.clone()))
            }
            Plan::List(_) => Value::List(Vec::new()),
            Plan::Map(_) => Value::Map(Default::default()),
        }
    }
}

fn scalar(kind: &Kind, array: &ArrayRef) -> Result<Box<dyn Fn(usize) -> Result<Value, Error> + Send>, Error> {
    macro_rules! number {
        ($data_type:ident, $type:ty, $value:ident) => {{
            let array = strict(array, &DataType::$data_type)?.as_primitive::<$type>().clone();
            Box::new(move |row| Ok(Value::$value(array.value(row))))
        }};
    }
    Ok(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => number!(Int32, Int32Type, I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => number!(Int64, Int64Type, I64),
        Kind::Uint32 | Kind::Fixed32 => number!(UInt32, UInt32Type, U32),
        Kind::Uint64 | Kind::Fixed64 => number!(UInt64, UInt64Type, U64),
        Kind::Float => number!(Float32, Float32Type, F32),
        Kind::Double => number!(Float64, Float64Type, F64),
        Kind::Bool => {
            let array = array.as_boolean().clone();
            Box::new(move |row| Ok(Value::Bool(array.value(row))))
        }
        Kind::String => {
            let array = strict(array, &DataType::Utf8View)?.as_string_view().clone();
            Box::new(move |row| Ok(Value::String(array.value(row).to_owned())))
        }
        Kind::Bytes => {
            let array = strict(array, &DataType::BinaryView)?.as_binary_view().clone();
            Box::new(move |row| Ok(Value::Bytes(array.value(row).to_vec().into())))
        }
        Kind::Message(_) | Kind::Enum(_) => unreachable!("these have plans of their own"),
    })
}

fn timestamp(
    message: &MessageDescriptor,
    array: &ArrayRef,
) -> Result<Box<dyn Fn(usize) -> Result<Value, Error> + Send>, Error> {
    let DataType::Timestamp(unit, _) = array.data_type() else { return Err("a time that is none".into()) };
    let per_second: i64 = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let array = strict(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
    let message = message.clone();
    Ok(Box::new(move |row| {
        let value = array.value(row);
        let (seconds, rest) = (value.div_euclid(per_second), value.rem_euclid(per_second));
        let nanos = (rest * (1_000_000_000 / per_second)) as i32;
        let mut time = DynamicMessage::new(message.clone());
        time.try_set_field_by_name("seconds", Value::I64(seconds))?;
        time.try_set_field_by_name("nanos", Value::I32(nanos))?;
        Ok(Value::Message(time))
    }))
}
