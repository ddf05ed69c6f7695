//! Arrow's types in Flink's words, for `DESCRIBE` and errors.

use std::fmt::{Display, Formatter, Result};

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};

/// Shows a type as Flink writes it. Those that Flink lacks are shown by Arrow's name.
#[derive(Clone, Copy, Debug)]
pub struct FlinkType<'a>(pub &'a DataType);

impl Display for FlinkType<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => write!(f, "DECIMAL({precision}, {scale})"),
            DataType::Time32(unit) | DataType::Time64(unit) => write!(f, "TIME({})", digits(*unit)),
            DataType::Timestamp(unit, None) => write!(f, "TIMESTAMP({})", digits(*unit)),
            DataType::Timestamp(unit, Some(_)) => write!(f, "TIMESTAMP_LTZ({})", digits(*unit)),
            DataType::FixedSizeBinary(length) => write!(f, "BINARY({length})"),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::FixedSizeList(item, _) => {
                write!(f, "ARRAY<{}>", Nullable(item))
            }
            DataType::Map(entries, _) => map(f, entries),
            DataType::Struct(fields) => row(f, fields),
            DataType::Dictionary(_, values) => FlinkType(values).fmt(f),
            simple => match name(simple) {
                Some(name) => f.write_str(name),
                None => write!(f, "{simple}"),
            },
        }
    }
}

fn name(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Null => "NULL",
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES",
        DataType::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH",
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL DAY TO SECOND",
        _ => return None,
    })
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

struct Nullable<'a>(&'a Field);

impl Display for Nullable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{}", FlinkType(self.0.data_type()), if self.0.is_nullable() { "" } else { " NOT NULL" })
    }
}

/// Keys are never null in Arrow, so that this goes without saying.
fn map(f: &mut Formatter<'_>, entries: &Field) -> Result {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => {
            write!(f, "MAP<{}, {}>", FlinkType(fields[0].data_type()), Nullable(&fields[1]))
        }
        other => write!(f, "MAP<{}>", FlinkType(other)),
    }
}

fn row(f: &mut Formatter<'_>, fields: &[FieldRef]) -> Result {
    f.write_str("ROW<")?;
    for (at, field) in fields.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(f, "{comma}`{}` {}", field.name().replace('`', "``"), Nullable(field))?;
    }
    f.write_str(">")
}
