//! Values as text, against what Java and Flink's SQL client print.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::*;
use arrow_buffer::IntervalMonthDayNano;
use arrow_schema::{DataType, Field, Fields};

use super::{Style, cells};

/// All rows in all styles.
fn all(array: &dyn Array) -> [Vec<String>; 4] {
    [Style::Java, Style::Sql, Style::Csv, Style::Json].map(|style| {
        let write = cells(array, style).unwrap();
        let text = |row| {
            let mut out = String::new();
            write(row, &mut out);
            out
        };
        (0..array.len()).map(text).collect()
    })
}

fn check(array: &dyn Array, java: &[&str], sql: &[&str], csv: &[&str], json: &[&str]) {
    assert_eq!(all(array).each_ref().map(Vec::as_slice), [java, sql, csv, json]);
}

#[test]
fn plain_values() {
    let flags = BooleanArray::from(vec![Some(true), Some(false), None]);
    check(
        &flags,
        &["true", "false", "null"],
        &["TRUE", "FALSE", "NULL"],
        &["true", "false", ""],
        &["true", "false", "null"],
    );
    let numbers = Int64Array::from(vec![i64::MIN, 0]);
    let text = ["-9223372036854775808", "0"];
    check(&numbers, &text, &text, &text, &text);
    let words = StringViewArray::from(vec!["a\"b\\\n\u{1}", "größe"]);
    let plain = ["a\"b\\\n\u{1}", "größe"];
    check(&words, &plain, &plain, &plain, &["\"a\\\"b\\\\\\n\\u0001\"", "\"größe\""]);
    let bytes = BinaryArray::from(vec![&[1, 0xFE, 3, 4][..], &[]]);
    check(&bytes, &["[1, -2, 3, 4]", "[]"], &["x'01fe0304'", "x''"], &["Af4DBA==", ""], &["\"Af4DBA==\"", "\"\""]);
}

#[test]
fn floats_as_java_has_them() {
    let floats = Float64Array::from(vec![
        1.0,
        -0.0,
        1e7,
        9_999_999.5,
        1e-3,
        1.5e-4,
        1e10,
        1.234_567_8e-20,
        f64::NAN,
        f64::NEG_INFINITY,
    ]);
    let want = ["1.0", "-0.0", "1.0E7", "9999999.5", "0.001", "1.5E-4", "1.0E10", "1.2345678E-20", "NaN", "-Infinity"];
    assert_eq!(all(&floats)[0], want);
    assert_eq!(all(&floats)[3][8..], ["\"NaN\"", "\"-Infinity\""]);
    assert_eq!(all(&Float32Array::from(vec![0.1, 3.4e38]))[1], ["0.1", "3.4E38"]);
}

#[test]
fn decimals() {
    let decimals = Decimal128Array::from(vec![12_345, -5, 0]).with_precision_and_scale(10, 2).unwrap();
    let text = ["123.45", "-0.05", "0.00"];
    check(&decimals, &text, &text, &text, &text);
    let small = Decimal128Array::from(vec![1, 123, 12_345]).with_precision_and_scale(20, 10).unwrap();
    assert_eq!(all(&small)[0], ["1E-10", "1.23E-8", "0.0000012345"]);
    assert_eq!(all(&small)[1], ["0.0000000001", "0.0000000123", "0.0000012345"]);
}

#[test]
fn points_in_time() {
    let millis = TimestampMillisecondArray::from(vec![1_586_937_900_000, 1_586_937_901_100, -1]);
    let java = ["2020-04-15T08:05", "2020-04-15T08:05:01.100", "1969-12-31T23:59:59.999"];
    let sql = ["2020-04-15 08:05:00.000", "2020-04-15 08:05:01.100", "1969-12-31 23:59:59.999"];
    let json = sql.map(|text| format!("\"{text}\""));
    check(&millis, &java, &sql, &sql, &json.each_ref().map(String::as_str));
    let instants = millis.with_timezone("UTC");
    assert_eq!(all(&instants)[0], ["2020-04-15T08:05:00Z", "2020-04-15T08:05:01.100Z", "1969-12-31T23:59:59.999Z"]);
    assert_eq!(all(&instants)[1][0], "2020-04-15 08:05:00.000Z");
    assert_eq!(all(&TimestampSecondArray::from(vec![60]))[1], ["1970-01-01 00:01:00"]);
    assert_eq!(all(&TimestampNanosecondArray::from(vec![1_000]))[0], ["1970-01-01T00:00:00.000001"]);
    let ends = TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX]);
    assert_eq!(all(&ends)[0], ["-290308-12-21T19:59:05.224192", "+294247-01-10T04:00:54.775807"]);
    let dates = Date32Array::from(vec![0, 18_367, -719_529, 11_016]);
    assert_eq!(all(&dates)[0], ["1970-01-01", "2020-04-15", "-0001-12-31", "2000-02-29"]);
    let times = Time32MillisecondArray::from(vec![0, 61_000, 3_600_500]);
    assert_eq!(all(&times)[0], ["00:00", "00:01:01", "01:00:00.500"]);
    assert_eq!(all(&times)[1], ["00:00:00", "00:01:01", "01:00:00.500"]);
}

#[test]
fn spans_of_time() {
    let span = |days, nanos| IntervalMonthDayNano::new(0, days, nanos);
    let spans = IntervalMonthDayNanoArray::from(vec![
        span(0, 0),
        span(1, 3_600_500_000_000),
        span(0, -29_172_345_000_000),
        span(0, 60_000_000_000),
        span(0, -500_000_000),
    ]);
    assert_eq!(all(&spans)[0], ["PT0S", "PT25H0.5S", "PT-8H-6M-12.345S", "PT1M", "PT-0.5S"]);
    let sql = ["+0 00:00:00.000", "+1 01:00:00.500", "-0 08:06:12.345", "+0 00:01:00.000", "-0 00:00:00.500"];
    assert_eq!(all(&spans)[1], sql);
    let months = IntervalYearMonthArray::from(vec![0, 14, -12]);
    assert_eq!(all(&months)[0], ["P0D", "P1Y2M", "P-1Y"]);
    assert_eq!(all(&months)[1], ["+0-00", "+1-02", "-1-00"]);
}

#[test]
fn nested_values() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    check(&lists.finish(), &["[1, null]", "null"], &["[1, NULL]", "NULL"], &["[1,null]", ""], &["[1,null]", "null"]);
    let mut maps = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    maps.keys().append_value(7);
    maps.values().append_value("x");
    maps.keys().append_value(8);
    maps.values().append_null();
    maps.append(true).unwrap();
    check(
        &maps.finish(),
        &["{7=x, 8=null}"],
        &["{7=x, 8=NULL}"],
        &["{\"7\":\"x\",\"8\":null}"],
        &["{\"7\":\"x\",\"8\":null}"],
    );
    let fields = Fields::from(vec![Field::new("n", DataType::Int32, true), Field::new("at", DataType::Date32, true)]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![Some(1), None])), Arc::new(Date32Array::from(vec![0, 1]))];
    let rows = StructArray::new(fields, columns, None);
    check(
        &rows,
        &["+I[1, 1970-01-01]", "+I[null, 1970-01-02]"],
        &["(1, 1970-01-01)", "(NULL, 1970-01-02)"],
        &["{\"n\":1,\"at\":\"1970-01-01\"}", "{\"n\":null,\"at\":\"1970-01-02\"}"],
        &["{\"n\":1,\"at\":\"1970-01-01\"}", "{\"n\":null,\"at\":\"1970-01-02\"}"],
    );
}

#[test]
fn dictionaries_are_what_they_stand_for() {
    let words: DictionaryArray<types::Int8Type> = [Some("a"), None, Some("a")].into_iter().collect();
    assert_eq!(all(&words)[1], ["a", "NULL", "a"]);
}
