//! Functions on numbers that keep the argument's type: ABS, SIGN, CEIL, FLOOR, ROUND, TRUNCATE, MOD.
//!
//! Doubles are rounded by the digits that they print as, as Java's `BigDecimal.valueOf` does: 1.005 to two places is 1.01.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::ScalarUDF;
use datafusion_expr::type_coercion::binary::comparison_coercion;

use super::scalar::Kind::{Number, Places};
use super::scalar::{Call, Given, Gives, Scalar, Takes, scalar};
use crate::divisor::{Divisor, each};

/// The functions that keep their argument's type.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let list: Vec<Scalar> = vec![
        scalar("abs", Takes::all(&[Number]), Gives::FIRST, |call| on_each(call, i128::abs, f64::abs)),
        scalar("sign", Takes::all(&[Number]), Gives::FIRST, sign),
        scalar("ceil", Takes::all(&[Number]), Gives::By(whole), |call| to_places(call, Mode::Up)).or(&["ceiling"]),
        scalar("floor", Takes::all(&[Number]), Gives::By(whole), |call| to_places(call, Mode::Down)),
        scalar("round", Takes::Some(&[Number, Places], 1), Gives::By(rounded), |call| to_places(call, Mode::HalfUp)),
        scalar("truncate", Takes::Some(&[Number, Places], 1), Gives::By(rounded), |call| to_places(call, Mode::ToZero)),
        scalar("mod", Takes::By(common), Gives::FIRST, remainder),
    ];
    list.into_iter().map(Into::into).collect()
}

fn remainder(call: &Call) -> Result<ArrayRef> {
    let numbers = call.whole(0)?;
    let divisor = match call.constant(1)? {
        Some(ScalarValue::Int64(Some(divisor))) if numbers.data_type() == &DataType::Int64 => Divisor::new(divisor),
        _ => None,
    };
    match divisor {
        Some(divisor) => Ok(each(&numbers, |number| divisor.remainder(number))),
        None => Ok(arrow::compute::kernels::numeric::rem(&numbers, &call.whole(1)?)?),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Up,
    Down,
    HalfUp,
    ToZero,
}

impl Mode {
    /// The number with its last `drop` digits cut off by this rule.
    fn cut(self, number: i128, drop: u32) -> i128 {
        let Some(unit) = 10_i128.checked_pow(drop) else {
            return match self {
                Self::Up => i128::from(number > 0),
                Self::Down => -i128::from(number < 0),
                Self::HalfUp | Self::ToZero => 0,
            };
        };
        let (quotient, rest) = (number / unit, number % unit);
        quotient
            + match self {
                Self::ToZero => 0,
                Self::Up => i128::from(rest > 0),
                Self::Down => -i128::from(rest < 0),
                Self::HalfUp if rest.unsigned_abs() * 2 >= unit.unsigned_abs() => number.signum(),
                Self::HalfUp => 0,
            }
    }

    /// The double, at so many decimal places.
    fn round(self, x: f64, places: i64) -> f64 {
        let text = format!("{x:e}");
        let Some((mantissa, exponent)) = text.split_once('e') else { return x };
        let (digits, exponent) = (mantissa.replace('.', ""), exponent.parse::<i64>().unwrap_or(0));
        let scale = digits.trim_start_matches('-').len() as i64 - 1 - exponent;
        let (Ok(number), Ok(drop)) = (digits.parse::<i128>(), u32::try_from(scale.saturating_sub(places))) else {
            return x;
        };
        if drop == 0 { x } else { format!("{}e{}", self.cut(number, drop), -places).parse().unwrap_or(x) }
    }

    /// The whole number, with that many zeros at its end.
    fn round_int(self, number: i128, places: i64) -> i128 {
        let drop = u32::try_from(places.saturating_neg()).unwrap_or(0);
        match 10_i128.checked_pow(drop) {
            _ if places >= 0 => number,
            Some(unit) => self.cut(number, drop).saturating_mul(unit),
            None => 0,
        }
    }
}

/// CEIL and FLOOR of a decimal have no decimal places.
fn whole(given: &Given<'_>) -> Result<DataType> {
    Ok(match given.of(0) {
        DataType::Decimal128(precision, scale) if scale > 0 => DataType::Decimal128(precision, 0),
        other => other,
    })
}

/// ROUND and TRUNCATE of a decimal have as many places as a literal says.
fn rounded(given: &Given<'_>) -> Result<DataType> {
    let places = if given.types.len() < 2 { Some(0) } else { given.int(1) };
    Ok(match (given.of(0), places) {
        (DataType::Decimal128(precision, scale), Some(places)) if places < i64::from(scale) => {
            let kept = places.max(0) as i8;
            let whole = i64::from(precision) - i64::from(scale) + 1 + i64::from(kept);
            DataType::Decimal128(whole.clamp(1, 38) as u8, kept)
        }
        (other, _) => other,
    })
}

fn to_places(call: &Call, mode: Mode) -> Result<ArrayRef> {
    let values = call.whole(0)?;
    let places = call.int_or(1, 0)?;
    if let DataType::Decimal128(_, scale) = *values.data_type() {
        return decimal_places(call, mode, values.as_primitive(), scale);
    }
    if values.data_type().is_integer() {
        let wide = arrow::compute::cast(&values, &DataType::Int64)?;
        let wide = wide.as_primitive::<Int64Type>();
        let round = |row: usize, number: i64| Some(mode.round_int(i128::from(number), places.at(row)?));
        let cut = wide.iter().enumerate().map(|(row, number)| i64::try_from(round(row, number?)?).ok());
        return narrow(Arc::new(cut.collect::<Int64Array>()), &call.result);
    }
    let wide = arrow::compute::cast(&values, &DataType::Float64)?;
    let wide = wide.as_primitive::<Float64Type>();
    let cut = wide.iter().enumerate().map(|(row, x)| Some(mode.round(x?, places.at(row)?)));
    narrow(Arc::new(cut.collect::<Float64Array>()), &call.result)
}

fn decimal_places(call: &Call, mode: Mode, values: &Decimal128Array, scale: i8) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, kept) = call.result else {
        return exec_err!("a decimal cannot become {}", call.result);
    };
    let places = call.int_or(1, 0)?;
    let cut = values.iter().enumerate().map(|(row, number)| {
        let (number, scale) = (number?, i64::from(scale));
        let places = places.at(row)?.min(scale);
        let number = mode.cut(number, u32::try_from(scale - places).ok()?);
        number.checked_mul(10_i128.checked_pow(u32::try_from(i64::from(kept) - places).ok()?)?)
    });
    Ok(Arc::new(cut.collect::<Decimal128Array>().with_precision_and_scale(precision, kept)?))
}

fn sign(call: &Call) -> Result<ArrayRef> {
    let scale = match call.result {
        DataType::Decimal128(_, scale) => scale.max(0) as u32,
        _ => 0,
    };
    let one = 10_i128.pow(scale);
    on_each(call, move |number| number.signum() * one, |x| if x == 0.0 { x } else { x.signum() })
}

/// A function of the digits of whole numbers and decimals, and of doubles.
fn on_each(call: &Call, exact: impl Fn(i128) -> i128, double: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    let values = call.whole(0)?;
    if let DataType::Decimal128(precision, scale) = *values.data_type() {
        let values = values.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(exact);
        return Ok(Arc::new(values.with_precision_and_scale(precision, scale)?));
    }
    if values.data_type().is_integer() {
        let wide = arrow::compute::cast(&values, &DataType::Int64)?;
        let of = |number: i64| i64::try_from(exact(i128::from(number))).map_err(|_| call.error("BIGINT overflows"));
        let wide = wide.as_primitive::<Int64Type>().iter().map(|number| number.map(of).transpose());
        return narrow(Arc::new(wide.collect::<Result<Int64Array>>()?), &call.result);
    }
    let wide = arrow::compute::cast(&values, &DataType::Float64)?;
    narrow(Arc::new(wide.as_primitive::<Float64Type>().unary::<_, Float64Type>(double)), &call.result)
}

/// As the result's type; what does not fit is an error.
fn narrow(values: ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let strict = arrow::compute::CastOptions { safe: false, ..Default::default() };
    Ok(arrow::compute::cast_with_options(&values, to, &strict)?)
}

fn common(given: &[DataType]) -> Result<Vec<DataType>> {
    let [left, right] = given else {
        return plan_err!("MOD takes 2 arguments, and {} were given", given.len());
    };
    match comparison_coercion(left, right) {
        Some(common) if common.is_numeric() => Ok(vec![common.clone(), common]),
        _ => plan_err!("MOD takes two numbers, and {left} and {right} were given"),
    }
}
