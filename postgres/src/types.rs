//! Types of PostgreSQL and of Arrow: what the one's are in the other.
//!
//! | SQL here | PostgreSQL | |
//! |---|---|---|
//! | `BOOLEAN` | `boolean` | |
//! | `TINYINT`, `SMALLINT`, `INT`, `BIGINT` | `smallint`, `smallint`, `integer`, `bigint` | |
//! | `FLOAT`, `DOUBLE` | `real`, `double precision` | |
//! | `DECIMAL(p, s)` | `numeric(p, s)` | one without digits is `DECIMAL(38, 18)` |
//! | `STRING` | `text`, `varchar`, and any type that is not in this table: `uuid`, `json`, `jsonb`, `inet`, enums | as the server writes and reads it |
//! | `BYTES` | `bytea` | |
//! | `DATE`, `TIME`, `TIMESTAMP`, `TIMESTAMP_LTZ` | `date`, `time`, `timestamp`, `timestamptz` | microseconds; `TIME` here has milliseconds |
//! | `INTERVAL` | `interval` | |
//! | `ARRAY<t>` of one of these | `t[]` | arrays of arrays, too, when they are read |
//! | `ROW`, `MAP`, other arrays | `json`, `jsonb` | |

use std::sync::Arc;

use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};
use tokio_postgres::types::{Oid, Type};
use updraft_dataflow::Error;

/// Microseconds from 1970 to 2000, where the server's times begin.
pub(crate) const EPOCH: i64 = 946_684_800_000_000;

/// What a column of the type becomes.
pub(crate) fn arrow_of(oid: Oid, modifier: i32) -> DataType {
    match Type::from_oid(oid) {
        Some(Type::BOOL) => DataType::Boolean,
        Some(Type::INT2) => DataType::Int16,
        Some(Type::INT4) => DataType::Int32,
        Some(Type::INT8 | Type::OID) => DataType::Int64,
        Some(Type::FLOAT4) => DataType::Float32,
        Some(Type::FLOAT8) => DataType::Float64,
        Some(Type::NUMERIC) => decimal(modifier),
        Some(Type::BYTEA) => DataType::BinaryView,
        Some(Type::DATE) => DataType::Date32,
        Some(Type::TIME) => DataType::Time32(TimeUnit::Millisecond),
        Some(Type::TIMESTAMP) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Some(Type::TIMESTAMPTZ) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Some(Type::INTERVAL) => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => DataType::Utf8View,
    }
}

pub(crate) fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The digits are in the modifier, as `(precision << 16 | scale) + 4`.
fn decimal(modifier: i32) -> DataType {
    let digits = modifier - 4;
    let (precision, scale) = (u8::try_from(digits >> 16), i8::try_from(digits & 0x7ff));
    match (precision, scale) {
        (Ok(precision @ 1..=38), Ok(scale)) if modifier >= 4 && scale as u8 <= precision => {
            DataType::Decimal128(precision, scale)
        }
        _ => DataType::Decimal128(38, 18),
    }
}

/// The type of a column that holds such values on their way into a table.
///
/// # Errors
/// When there is none.
pub(crate) fn wire_type(data_type: &DataType) -> Result<String, Error> {
    Ok(match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(..) => "numeric".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea".into()
        }
        DataType::Date32 => "date".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::List(item) if is_scalar(item.data_type()) => format!("{}[]", wire_type(item.data_type())?),
        // As text: what is made of it depends on the table.
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => "json".into(),
        other => return Err(format!("PostgreSQL has nothing for {other}: CAST it").into()),
    })
}

/// Whether values have no parts.
pub(crate) fn is_scalar(data_type: &DataType) -> bool {
    !data_type.is_nested()
}
