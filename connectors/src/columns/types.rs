//! Types: what they are called in SQL, for errors; and others in their place.

use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, IntervalUnit, Schema, TimeUnit};

/// The type's name in Flink's SQL.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES".into(),
        DataType::FixedSizeBinary(len) => format!("BINARY({len})"),
        DataType::Date32 => "DATE".into(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(unit)),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(unit)),
        DataType::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        DataType::Interval(_) => "INTERVAL DAY TO SECOND".into(),
        DataType::List(item) => format!("ARRAY<{}>", sql_name(item.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => {
                let names: Vec<_> = pair.iter().map(|field| sql_name(field.data_type())).collect();
                format!("MAP<{}>", names.join(", "))
            }
            other => other.to_string(),
        },
        DataType::Struct(fields) => {
            let field = |field: &FieldRef| format!("{} {}", field.name(), sql_name(field.data_type()));
            format!("ROW<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A schema whose scalars, however deep, are of the types that `of` gives for theirs.
pub(crate) fn retype(schema: &Schema, of: &dyn Fn(&DataType) -> Option<DataType>) -> Schema {
    let fields: Vec<_> = schema.fields().iter().map(|field| retype_field(field, of)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn retype_field(field: &FieldRef, of: &dyn Fn(&DataType) -> Option<DataType>) -> FieldRef {
    let inner = |field: &FieldRef| retype_field(field, of);
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        scalar => of(scalar).unwrap_or_else(|| scalar.clone()),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
