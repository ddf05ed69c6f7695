//! Formats of tables: what is written is read again, however it is cut; bad records are told, and the others kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use updraft_connectors::columns::Format;
use updraft_dataflow::DeadLetter;
use updraft_dataflow::connector::Options;

#[path = "support/batches.rs"]
mod batches;

use batches::{Random, batch, intervals, list, map, nested, numbers, row, scalars, schema};

fn format(options: &[(&str, &str)]) -> Format {
    let options: Options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Format::of(&options).unwrap()
}

struct Decoded {
    rows: RecordBatch,
    rejected: Vec<DeadLetter>,
}

/// Decodes the columns `wanted` of bytes that come in chunks, and takes what is there after each or at the end.
fn decode(
    format: &Format,
    schema: &SchemaRef,
    wanted: &[usize],
    bytes: &[u8],
    chunks: &mut dyn FnMut() -> usize,
    rows: usize,
) -> Decoded {
    let mut decoder = format.decoder(schema, wanted, "origin").unwrap();
    let (mut rest, mut batches, mut rejected) = (bytes, Vec::new(), Vec::new());
    loop {
        let chunk = chunks().clamp(1, rest.len().max(1)).min(rest.len());
        decoder.buffer(chunk).extend_from_slice(&rest[..chunk]);
        rest = &rest[chunk..];
        if rest.is_empty() {
            decoder.end();
        }
        while let Some(batch) = decoder.next(rows).unwrap() {
            let records = batch.records.into_vec();
            assert!(
                records.iter().map(|rows| rows.len()).sum::<usize>() + batch.rejected.len() <= rows.max(1)
                    || format.name() == "arrow"
            );
            batches.extend(records.into_iter().map(|rows| rows.batch().clone()));
            rejected.extend(batch.rejected);
        }
        if rest.is_empty() {
            break;
        }
    }
    let wanted: Vec<_> = wanted.iter().map(|column| schema.fields()[*column].clone()).collect();
    let rows = concat_batches(&Arc::new(Schema::new(wanted)), &batches).unwrap();
    Decoded { rows, rejected }
}

fn whole(format: &Format, schema: &SchemaRef, bytes: &[u8]) -> Decoded {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    decode(format, schema, &all, bytes, &mut || usize::MAX, usize::MAX)
}

fn encode(format: &Format, batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = format.encoder(&batch.schema()).unwrap();
    let mut bytes = Vec::new();
    let half = batch.num_rows() / 2;
    encoder.encode(&batch.slice(0, half), &mut bytes).unwrap();
    encoder.encode(&batch.slice(half, batch.num_rows() - half), &mut bytes).unwrap();
    encoder.finish(&mut bytes).unwrap();
    bytes
}

/// Each format with all that it can hold.
fn formats() -> Vec<(Format, SchemaRef)> {
    let all = || schema(scalars().into_iter().chain(intervals()).chain(nested()));
    let flat = || {
        let of = [numbers(), row(vec![DataType::Int64, DataType::Boolean])];
        schema(scalars().into_iter().chain(intervals()).chain(of))
    };
    let csv = |more: &[(&str, &str)]| format(&[&[("format", "csv"), ("csv.null-literal", "\\N")], more].concat());
    vec![
        (csv(&[]), flat()),
        (
            csv(&[
                ("csv.field-delimiter", ";"),
                ("csv.array-element-delimiter", "|"),
                ("csv.quote-character", "'"),
                ("csv.header", "true"),
            ]),
            flat(),
        ),
        (csv(&[("csv.escape-character", "!"), ("csv.field-delimiter", "\\t")]), flat()),
        (
            csv(&[
                ("csv.escape-character", "!"),
                ("csv.disable-quote-character", "true"),
                ("csv.allow-comments", "true"),
            ]),
            flat(),
        ),
        (format(&[("format", "json")]), all()),
        (
            format(&[
                ("format", "json"),
                ("json.timestamp-format.standard", "ISO-8601"),
                ("json.encode.ignore-null-fields", "true"),
            ]),
            all(),
        ),
        (format(&[("format", "arrow")]), all()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(seed in any::<u64>(), rows in 0usize..30, limit in 1usize..20) {
        for (format, schema) in formats() {
            let mut random = Random::new(seed);
            let want = batch(&schema, rows, &mut random);
            let bytes = encode(&format, &want);
            // All columns, and some in another order, cut anywhere.
            let some: Vec<usize> = (0..schema.fields().len()).rev().filter(|_| random.below(3) == 0).collect();
            let all: Vec<usize> = (0..schema.fields().len()).collect();
            let longest = random.below(200) + 1;
            for wanted in [all, some] {
                let mut chunks = || random.below(longest) as usize;
                let got = decode(&format, &schema, &wanted, &bytes, &mut chunks, limit);
                prop_assert_eq!(&got.rejected, &vec![], "{}", String::from_utf8_lossy(&bytes));
                prop_assert_eq!(&got.rows, &want.project(&wanted).unwrap(), "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn bad_records_are_told_and_others_kept(bad in prop::collection::vec(any::<Option<u8>>(), 0..60), cut in 1usize..50, ignore in any::<bool>()) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("price", DataType::Decimal128(10, 2), true),
            Field::new("name", DataType::Utf8View, true),
        ]));
        for (name, good, spoilt) in [
            ("csv", "{},1.50,x", [("{},y,x", "field `price`: \"y\" is not a DECIMAL(10, 2)"), (",1,x", "field `id` is empty, and the column is NOT NULL"), ("{},1", "2 fields, where there should be 3: id, price, name"), ("{},1,\"x", "quote never closed: close it, or double a quote that is data")]),
            ("json", r#"{"name":"x","id":{},"price":1.50}"#, [(r#"{"id":{},"price":"y"}"#, "field `price`: \"y\" is not a DECIMAL(10, 2)"), (r#"{"price":1}"#, "field `id` is missing, and the column is NOT NULL"), (r#"{"id":{},"price":[1]}"#, "field `price`: [1] is not a DECIMAL(10, 2)"), (r#"{"id":{},}"#, "expected a name in quotes, found '}'")]),
        ] {
            let (mut text, mut ids, mut want) = (String::new(), Vec::new(), Vec::new());
            // An open quote takes what follows with it: only the last record has one.
            let kinds = |at: usize, kind: u8| if at + 1 == bad.len() || name == "json" { kind % 4 } else { kind % 3 };
            for (at, kind) in bad.iter().enumerate() {
                let line = match kind {
                    None => { ids.push(at as i64); good }
                    Some(kind) => {
                        let kind = kinds(at, *kind);
                        let (line, reason) = spoilt[usize::from(kind)];
                        // Where it is not to be minded, a field of no value is NULL, if it may be.
                        if ignore && line.contains("{}") && reason.contains("`price`") { ids.push(at as i64) } else { want.push((at as u64 + 1, line.replace("{}", &at.to_string()), reason)) }
                        line
                    }
                };
                text += &(line.replace("{}", &at.to_string()) + "\n");
            }
            let option = format!("{name}.ignore-parse-errors");
            let format = format(&[("format", name), (&option, &ignore.to_string())]);
            let got = decode(&format, &schema, &[0, 1, 2], text.as_bytes(), &mut || cut, 7);
            prop_assert_eq!(got.rows.column(0).as_primitive::<Int64Type>().values(), &ids[..]);
            if ignore {
                prop_assert_eq!(got.rejected.len(), 0);
                continue;
            }
            prop_assert_eq!(got.rejected.len(), want.len());
            for (letter, (line, bytes, reason)) in got.rejected.iter().zip(want) {
                prop_assert_eq!((&*letter.origin, letter.line), ("origin", line));
                prop_assert_eq!(String::from_utf8_lossy(&letter.bytes), bytes);
                prop_assert!(letter.reason.ends_with(reason), "{}", letter.reason);
            }
        }
    }
}

fn strings(fields: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|name| Field::new(*name, DataType::Utf8View, true)).collect::<Vec<_>>()))
}

fn texts(batch: &RecordBatch, column: usize) -> Vec<Option<String>> {
    batch.column(column).as_string_view().iter().map(|text| text.map(str::to_owned)).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn csv_means_what_flink_says() {
    let schema = strings(&["a", "b"]);
    let plain = format(&[("format", "csv")]);
    // Text that is empty is text; blank lines and a header are no rows; `\r\n` ends lines, too.
    let got = whole(&plain, &schema, b"a,b\r\n1,\r\n\r\n\"x,\"\"y\"\"\n\", z \r\n# ,c");
    assert_eq!((texts(&got.rows, 0), texts(&got.rows, 1)), (some(&["1", "x,\"y\"\n", "# "]), some(&["", " z ", "c"])));
    // A header says where columns are.
    let got = whole(&plain, &schema, b"b,other,A\n1,2,3\n");
    assert_eq!((texts(&got.rows, 0), texts(&got.rows, 1)), (some(&["3"]), some(&["1"])));
    let headless = format(&[("format", "csv"), ("csv.header", "false"), ("csv.allow-comments", "true")]);
    let got = whole(&headless, &schema, b"a,b\n#,c\n");
    assert_eq!(texts(&got.rows, 0), some(&["a"]));
    let null = format(&[("format", "csv"), ("csv.null-literal", "n/a"), ("csv.disable-quote-character", "true")]);
    let got = whole(&null, &schema, b"n/a,\"\n,n/a\n");
    assert_eq!(
        (texts(&got.rows, 0), texts(&got.rows, 1)),
        (vec![None, Some(String::new())], vec![Some("\"".into()), None])
    );
}

#[test]
fn numbers_of_csv_may_be_missing() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), list_field()]));
    let got = whole(&format(&[("format", "csv")]), &schema, b"1,1;2\n,\n 3 ,4\n");
    assert_eq!(got.rows.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, Some(3)]);
    assert_eq!(got.rows.column(1).as_list::<i32>().value_length(0), 2);
    assert!(got.rows.column(1).is_null(1));
}

fn list_field() -> Field {
    Field::new("l", list(DataType::Int64), true)
}

#[test]
fn json_means_what_flink_says() {
    let schema = strings(&["a", "b"]);
    let lines = br#"{"a":1.50,"b":true}
 {"b" : null , "c" : [ { } ] , "a" : "\u00fc\ud83d\ude00\n" }
{"a":{"x": [1]},"b":[]}

{}"#;
    let got = whole(&format(&[("format", "json")]), &schema, lines);
    assert_eq!(got.rejected, []);
    let want = vec![Some("1.50".to_owned()), Some("ü😀\n".into()), Some("{\"x\": [1]}".into()), None];
    assert_eq!(texts(&got.rows, 0), want);
    assert_eq!(texts(&got.rows, 1), vec![Some("true".to_owned()), None, Some("[]".into()), None]);
    let strict = format(&[("format", "json"), ("json.fail-on-missing-field", "true")]);
    let got = whole(&strict, &schema, lines);
    assert_eq!(got.rows.num_rows(), 3);
    assert_eq!(got.rejected[0].to_string(), "origin:5: field `a` is missing");
    let twice = whole(&strict, &schema, br#"{"a":1,"b":2,"a":3}"#);
    assert_eq!(twice.rejected[0].reason, "field `a` is there twice");
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("{{\"a\":{}1{}}}\n{{\"a\":1}}\n", "[".repeat(100_000), "]".repeat(100_000));
    let got = whole(&format(&[("format", "json")]), &strings(&["a"]), deep.as_bytes());
    assert_eq!(texts(&got.rows, 0), some(&["1"]));
    assert!(got.rejected[0].reason.contains("at most 128 levels of nesting"));
}

#[test]
fn what_is_broken_off_is_not_the_beginning_of_what_follows() {
    let deep = list(row(vec![list(list(DataType::Int64)), DataType::Boolean]));
    let map = map(list(DataType::Int64));
    let schema = Arc::new(Schema::new(vec![Field::new("a", deep, true), Field::new("b", map, true)]));
    let good = br#"{"a":[{"m0":[[4]],"m1":true}],"b":{"y":[5]}}"#;
    let alone = whole(&format(&[("format", "json")]), &schema, good);
    assert_eq!(alone.rejected, []);
    let broken: [&[u8]; 6] = [
        br#"{"a":[{"m0":[[1,2}"#,
        br#"{"a":[{"m1":false,"m0":[[1],[2,x"#,
        br#"{"a":[{"m0":[[1]],"m1":true}"#,
        br#"{"b":{"x":[1,2"#,
        br#"{"b":{"x"}"#,
        br#"{"b":{"x":[1],"z":}"#,
    ];
    for broken in broken {
        let got = whole(&format(&[("format", "json")]), &schema, &[broken, b"\n", good].concat());
        assert_eq!((got.rejected.len(), &got.rows), (1, &alone.rows), "{}", String::from_utf8_lossy(broken));
    }
}

#[test]
fn raw_lines_are_one_column() {
    let raw = format(&[("format", "raw")]);
    let got = whole(&raw, &strings(&["line"]), b"a\n\n\xFF\nb,c\r\n");
    assert_eq!(texts(&got.rows, 0), some(&["a", "", "b,c"]));
    assert_eq!(got.rejected[0].to_string(), "origin:3: byte 1: not UTF-8");
    let latin = format(&[("format", "raw"), ("raw.charset", "ISO-8859-1")]);
    let got = whole(&latin, &strings(&["line"]), b"\xFC");
    assert_eq!(texts(&got.rows, 0), some(&["ü"]));
    assert_eq!(encode(&latin, &got.rows), b"\xFC\n");
    let error = raw.decoder(&strings(&["a", "b"]), &[0], "origin").err().unwrap();
    assert_eq!(error.to_string(), "'raw' is a format of one column, and the table has 2");
}

#[test]
fn no_columns_are_still_rows() {
    for (name, text) in [("csv", &b"1,2\n3,4\n"[..]), ("json", b"{}\n{\"a\":1}\n")] {
        let got = decode(
            &format(&[("format", name), ("csv.header", "false")]),
            &strings(&["a", "b"]),
            &[],
            text,
            &mut || 3,
            10,
        );
        assert_eq!(got.rows.num_rows(), 2);
    }
}

#[test]
fn options_are_checked() {
    let error = |options: &[(&str, &str)]| {
        let options: Options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Format::of(&options).err().unwrap().to_string()
    };
    assert_eq!(error(&[]), "option 'format' is missing: add 'format' = '…' to the table's WITH");
    assert_eq!(error(&[("format", "xml")]), "'format' = 'xml': there are csv, json, raw, parquet, arrow, avro");
    assert_eq!(
        error(&[("format", "csv"), ("csv.field-delimiter", ",,")]),
        "option 'csv.field-delimiter' = ',,': not one ASCII character; a tab is '\\t'"
    );
    assert_eq!(
        error(&[("format", "json"), ("json.ignore-parse-errors", "yes")]),
        "option 'json.ignore-parse-errors' = 'yes': not 'true' or 'false'"
    );
}

#[test]
fn arrows_own_readers_agree() {
    let schema = schema([
        DataType::Int64,
        DataType::Float64,
        DataType::Int32,
        DataType::Utf8View,
        DataType::Boolean,
        DataType::Date32,
    ]);
    let batch = batch(&schema, 500, &mut Random::new(7));
    // Where text is empty, arrow says NULL: so there is none.
    let texts = arrow_array::StringViewArray::from_iter_values((0..500).map(|at| format!("text, \"{at}\"")));
    let mut columns = batch.columns().to_vec();
    columns[3] = Arc::new(texts);
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let csv = encode(&format(&[("format", "csv")]), &batch);
    let reader = arrow_csv::ReaderBuilder::new(schema.clone()).with_batch_size(1_000).build(&csv[..]).unwrap();
    let theirs: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(whole(&format(&[("format", "csv")]), &schema, &csv).rows, theirs[0]);
    let json = encode(&format(&[("format", "json")]), &batch);
    let reader = arrow_json::ReaderBuilder::new(schema.clone()).with_batch_size(1_000).build(&json[..]).unwrap();
    let theirs: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(whole(&format(&[("format", "json")]), &schema, &json).rows, theirs[0]);
}
