//! Arithmetic on DOUBLEs, and random numbers. What keeps its argument's type is in [`super::round`].

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, StringViewArray};
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::ScalarUDF;
use updraft_kernel::random;

use super::scalar::Kind::{Any, Double, Int};
use super::scalar::{Call, Gives, Scalar, Takes, scalar};

/// The functions on numbers.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    UNARY.iter().map(|&(name, of)| unary(name, of)).chain(others()).map(Into::into).collect()
}

const UNARY: &[(&str, fn(f64) -> f64)] = &[
    ("sqrt", f64::sqrt),
    ("ln", f64::ln),
    ("log10", f64::log10),
    ("log2", f64::log2),
    ("exp", f64::exp),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
    ("cot", |x| 1.0 / x.tan()),
    ("asin", f64::asin),
    ("acos", f64::acos),
    ("atan", f64::atan),
    ("degrees", f64::to_degrees),
    ("radians", f64::to_radians),
];

fn unary(name: &'static str, of: fn(f64) -> f64) -> Scalar {
    scalar(name, Takes::all(&[Double]), Gives::DOUBLE, move |call| {
        let x = call.double(0)?;
        call.each::<Float64Array, _>(|row| x.at(row).map(of))
    })
}

fn binary(name: &'static str, of: fn(f64, f64) -> f64) -> Scalar {
    scalar(name, Takes::all(&[Double, Double]), Gives::DOUBLE, move |call| {
        let (x, y) = (call.double(0)?, call.double(1)?);
        call.each::<Float64Array, _>(|row| Some(of(x.at(row)?, y.at(row)?)))
    })
}

fn constant(name: &'static str, value: f64) -> Scalar {
    scalar(name, Takes::all(&[]), Gives::DOUBLE, move |call| call.each::<Float64Array, _>(|_| Some(value)))
}

fn others() -> Vec<Scalar> {
    vec![
        binary("power", f64::powf),
        binary("atan2", f64::atan2),
        constant("pi", std::f64::consts::PI),
        constant("e", std::f64::consts::E),
        scalar("log", Takes::Some(&[Double, Double], 1), Gives::DOUBLE, log),
        scalar("rand", Takes::By(unseeded), Gives::DOUBLE, rand).volatile(),
        scalar("rand_integer", Takes::By(unseeded_below), Gives::INT, rand_integer).volatile(),
        scalar("uuid", Takes::all(&[]), Gives::TEXT, uuid).volatile(),
        scalar("bin", Takes::all(&[Int]), Gives::TEXT, bin),
        scalar("hex", Takes::all(&[Any]), Gives::TEXT, hex),
    ]
}

/// The natural logarithm of one number; of two, the logarithm of the second to the base of the first.
fn log(call: &Call) -> Result<ArrayRef> {
    let first = call.double(0)?;
    if call.len() == 1 {
        return call.each::<Float64Array, _>(|row| first.at(row).map(f64::ln));
    }
    let second = call.double(1)?;
    call.each::<Float64Array, _>(|row| Some(second.at(row)?.ln() / first.at(row)?.ln()))
}

fn unseeded(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [] => Ok(Vec::new()),
        _ => plan_err!(
            "RAND with a seed is not supported, as its numbers would start anew with each batch: write RAND()"
        ),
    }
}

fn unseeded_below(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [bound] if bound.is_integer() || bound.is_null() => Ok(vec![DataType::Int64]),
        [_] => plan_err!("RAND_INTEGER takes a whole number"),
        _ => plan_err!(
            "RAND_INTEGER takes one argument, its bound: a seed is not supported, as its numbers would start anew with each batch"
        ),
    }
}

fn rand(call: &Call) -> Result<ArrayRef> {
    call.each::<Float64Array, _>(|_| Some((random::u64() >> 11) as f64 / (1_u64 << 53) as f64))
}

fn rand_integer(call: &Call) -> Result<ArrayRef> {
    let bound = call.int(0)?;
    call.try_each::<Int32Array, _>(|row| match bound.at(row) {
        None => Ok(None),
        Some(bound @ 1..=0x7FFF_FFFF) => {
            Ok(Some(((u128::from(random::u64()) * u128::from(bound as u64)) >> 64) as i32))
        }
        Some(bound) => Err(call.error(format!("the bound {bound} is not a positive INT"))),
    })
}

/// A random UUID (version 4, of RFC 9562).
fn uuid(call: &Call) -> Result<ArrayRef> {
    call.each::<StringViewArray, _>(|_| {
        let (high, low) = (random::u64(), random::u64());
        let (high, low) = (high & !0xF000 | 0x4000, low >> 2 | 1 << 63);
        let (a, b, c) = (high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF);
        Some(format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xFFFF_FFFF_FFFF))
    })
}

fn bin(call: &Call) -> Result<ArrayRef> {
    let number = call.int(0)?;
    call.each::<StringViewArray, _>(|row| number.at(row).map(|number| format!("{number:b}")))
}

/// In hexadecimal: a whole number, or the bytes of a string.
fn hex(call: &Call) -> Result<ArrayRef> {
    let given = call.whole(0)?;
    if given.data_type().is_integer() {
        let numbers = arrow::compute::cast(&given, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<arrow::datatypes::Int64Type>();
        return Ok(Arc::new(
            numbers.iter().map(|number| number.map(|n| format!("{n:X}"))).collect::<StringViewArray>(),
        ));
    }
    if !(given.data_type().is_string() || given.data_type().is_binary() || given.data_type().is_null()) {
        return Err(call.error(format!("takes a whole number or a string, and {} was given", given.data_type())));
    }
    let bytes = arrow::compute::cast(&arrow::compute::cast(&given, &DataType::Binary)?, &DataType::BinaryView)?;
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    Ok(Arc::new(bytes.as_binary_view().iter().map(|bytes| bytes.map(digits)).collect::<StringViewArray>()))
}
