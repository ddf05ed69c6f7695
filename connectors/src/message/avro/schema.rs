//! The schema of Avro that columns are written with: as Flink makes it.

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use serde_json::{Value, json};
use updraft_dataflow::Error;

use crate::columns::types::{retype, sql_name};

/// Columns as the library knows them.
pub(super) fn plain(schema: &Schema) -> Schema {
    let plain = retype(schema, &|data_type| match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => Some(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => Some(DataType::Binary),
        DataType::Int8 | DataType::Int16 => Some(DataType::Int32),
        DataType::Time32(_) => Some(DataType::Time32(TimeUnit::Millisecond)),
        DataType::Time64(_) => Some(DataType::Time64(TimeUnit::Microsecond)),
        DataType::Timestamp(TimeUnit::Second, zone) => Some(DataType::Timestamp(TimeUnit::Millisecond, zone.clone())),
        _ => None,
    });
    Schema::new(plain.fields().clone())
}

/// The schema of a record of columns that are [`plain`].
///
/// # Errors
/// Names the column that Avro cannot hold.
pub(super) fn record(schema: &Schema) -> Result<String, Error> {
    let mut record = fields("record", schema.fields().iter().map(AsRef::as_ref))?;
    record["namespace"] = json!("org.apache.flink.avro.generated");
    Ok(record.to_string())
}

fn fields<'a>(name: &str, fields: impl Iterator<Item = &'a Field>) -> Result<Value, Error> {
    let field = |field: &'a Field| -> Result<Value, Error> {
        let named = field.name();
        if !is_name(named) {
            let remedy = "names are of letters, digits and _: give the column another name, or use another format";
            return Err(format!("column `{named}`: Avro has no such names; {remedy}").into());
        }
        let value = nullable(field, &format!("{name}_{named}"))?;
        let mut field = json!({ "name": named, "type": value });
        if value.is_array() {
            field["default"] = Value::Null;
        }
        Ok(field)
    };
    let fields = fields.map(field).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "type": "record", "name": name, "fields": fields }))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// A type; a union with null, where it is nullable.
fn nullable(field: &Field, path: &str) -> Result<Value, Error> {
    let value = value(field, path)?;
    Ok(if field.is_nullable() { json!(["null", value]) } else { value })
}

fn value(field: &Field, path: &str) -> Result<Value, Error> {
    let logical = |of: &str, name: &str| json!({ "type": of, "logicalType": name });
    let unsupported = || -> Error {
        let (name, kind) = (field.name(), sql_name(field.data_type()));
        format!("column `{name}`: Avro cannot hold {kind}; use another format, such as json").into()
    };
    Ok(match field.data_type() {
        DataType::Boolean => json!("boolean"),
        DataType::Int32 => json!("int"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("bytes"),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
        }
        DataType::Date32 => logical("int", "date"),
        DataType::Time32(_) => logical("int", "time-millis"),
        DataType::Time64(_) => logical("long", "time-micros"),
        DataType::Timestamp(unit, zone) => {
            let local = if zone.is_some() { "" } else { "local-" };
            let unit = match unit {
                TimeUnit::Second | TimeUnit::Millisecond => "millis",
                TimeUnit::Microsecond => "micros",
                TimeUnit::Nanosecond => "nanos",
            };
            logical("long", &format!("{local}timestamp-{unit}"))
        }
        DataType::List(item) => json!({ "type": "array", "items": nullable(item, path)? }),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 && *pair[0].data_type() == DataType::Utf8 => {
                json!({ "type": "map", "values": nullable(&pair[1], path)? })
            }
            _ => {
                return Err(format!(
                    "column `{}`: keys of Avro's maps are STRING; use another format, such as json",
                    field.name()
                )
                .into());
            }
        },
        DataType::Struct(inner) => fields(path, inner.iter().map(AsRef::as_ref))?,
        _ => return Err(unsupported()),
    })
}
