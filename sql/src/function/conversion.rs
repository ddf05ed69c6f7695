//! Conversions: how values print in Flink, TYPEOF, and the rewriting of casts to strings that makes them print so.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion_expr::expr_rewriter::FunctionRewrite;
use datafusion_expr::{Expr, ExprSchemable, ScalarUDF};

use super::moment::recast;
use super::scalar::Kind::{Any, Flag};
use super::scalar::{Call, Gives, Scalar, Takes, scalar};
use super::zone::Zone;

/// The functions on types.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        scalar("typeof", Takes::Some(&[Any, Flag], 1), Gives::TEXT, type_of).into(),
        scalar("to_text", Takes::all(&[Any]), Gives::TEXT, to_text).into(),
    ]
}

fn type_of(call: &Call) -> Result<ArrayRef> {
    let field = &call.fields[0];
    let name = type_name(field.data_type());
    let name = if field.is_nullable() { name } else { name + " NOT NULL" };
    call.each::<StringViewArray, _>(|_| Some(name.as_str()))
}

/// The name of a type in Flink.
pub fn type_name(of: &DataType) -> String {
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match of {
        DataType::Null => "NULL".into(),
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
        DataType::Date32 => "DATE".into(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME(0)".into(),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(unit)),
        DataType::Interval(_) => "INTERVAL".into(),
        DataType::List(item) => format!("ARRAY<{}>", type_name(item.data_type())),
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) => {
                let names: Vec<_> = fields.iter().map(|field| type_name(field.data_type())).collect();
                format!("MAP<{}>", names.join(", "))
            }
            other => format!("MAP<{other}>"),
        },
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("`{}` {}", field.name(), type_name(field.data_type())));
            format!("ROW<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn to_text(call: &Call) -> Result<ArrayRef> {
    Ok(Arc::new(texts_in(&call.whole(0)?, call.zone)?))
}

/// A column as strings, as Flink's CAST prints them, in UTC.
pub(super) fn texts(values: &ArrayRef) -> Result<StringViewArray> {
    texts_in(values, Zone::UTC)
}

fn texts_in(values: &ArrayRef, zone: Zone) -> Result<StringViewArray> {
    Ok(match values.data_type() {
        DataType::Boolean => {
            let name = |flag| if flag { "TRUE" } else { "FALSE" };
            values.as_boolean().iter().map(|flag| flag.map(name)).collect()
        }
        DataType::Float64 => values.as_primitive::<Float64Type>().iter().map(|x| x.map(double_text)).collect(),
        DataType::Float32 => {
            // Printed from the shortest digits of the float itself.
            values
                .as_primitive::<Float32Type>()
                .iter()
                .map(|x| x.map(|x| exponent_text(x.abs() as f64, &x.to_string(), &format!("{x:E}"))))
                .collect()
        }
        DataType::Timestamp(unit, zoned) => stamps(values, *unit, zoned.is_some(), zone)?,
        bytes if bytes.is_binary() => {
            let bytes = recast(values, &DataType::BinaryView)?;
            bytes.as_binary_view().iter().map(|bytes| bytes.map(String::from_utf8_lossy)).collect()
        }
        nested if nested.is_nested() => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
            (0..values.len()).map(|row| values.is_valid(row).then(|| formatter.value(row).to_string())).collect()
        }
        _ => recast(values, &DataType::Utf8View)?.as_string_view().clone(),
    })
}

/// `2024-01-31 12:30:00.000`, with as many digits as the type has.
fn stamps(values: &ArrayRef, unit: TimeUnit, zoned: bool, zone: Zone) -> Result<StringViewArray> {
    let pattern = match unit {
        TimeUnit::Second => "%Y-%m-%d %H:%M:%S",
        TimeUnit::Millisecond => "%Y-%m-%d %H:%M:%S%.3f",
        TimeUnit::Microsecond => "%Y-%m-%d %H:%M:%S%.6f",
        TimeUnit::Nanosecond => "%Y-%m-%d %H:%M:%S%.9f",
    };
    let zone = if zoned { zone } else { Zone::UTC };
    let local = super::moment::local(values, zone)?;
    Ok(local.into_iter().map(|moment| moment.map(|moment| moment.format(pattern).to_string())).collect())
}

/// As Java prints a double: `1.0`, `1.0E10`.
fn double_text(x: f64) -> String {
    exponent_text(x.abs(), &x.to_string(), &format!("{x:E}"))
}

fn exponent_text(size: f64, plain: &str, scientific: &str) -> String {
    if size.is_nan() {
        return "NaN".into();
    }
    if size.is_infinite() {
        return if plain.starts_with('-') { "-Infinity" } else { "Infinity" }.into();
    }
    let with_point = |digits: &str| if digits.contains('.') { digits.to_owned() } else { format!("{digits}.0") };
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return with_point(plain);
    }
    match scientific.split_once('E') {
        Some((digits, exponent)) => format!("{}E{exponent}", with_point(digits)),
        None => scientific.to_owned(),
    }
}

/// Makes casts to strings print as Flink does: an analyzer's function rewrite.
#[derive(Debug)]
pub struct CastsToText {
    to_text: Arc<ScalarUDF>,
}

impl Default for CastsToText {
    fn default() -> Self {
        Self { to_text: scalar_to_text().into() }
    }
}

fn scalar_to_text() -> Scalar {
    scalar("to_text", Takes::all(&[Any]), Gives::TEXT, to_text)
}

impl FunctionRewrite for CastsToText {
    fn name(&self) -> &str {
        "casts_to_text"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        let (Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field })) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let from = inner.get_type(schema)?;
        let differs =
            matches!(from, DataType::Boolean | DataType::Float32 | DataType::Float64 | DataType::Timestamp(_, _));
        if !field.data_type().is_string() || !differs {
            return Ok(Transformed::no(expr));
        }
        let text = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.to_text), vec![(**inner).clone()]));
        let wanted = field.data_type().clone();
        let text = if wanted == DataType::Utf8View { text } else { Expr::Cast(Cast::new(Box::new(text), wanted)) };
        Ok(Transformed::yes(text))
    }
}
