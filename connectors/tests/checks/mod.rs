//! What must hold of any bytes whatever: called by the fuzz targets, and over their corpus by `corpus.rs`.
//!
//! The first byte of the text formats' input is the length of a chunk, the second the longest record.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use updraft_connectors::format::{Csv, Format, Json, Lines, decode_chunks};
use updraft_connectors::message::{Formats, Message};
use updraft_connectors::{Files, columns};
use updraft_dataflow::connector::{Column, Scan, Table};
use updraft_dataflow::{Batch, DeadLetter, Partition, Rows, Source};

/// What is given any bytes, and panics if something does not hold.
pub type Check = fn(&[u8]);

/// The checks, by the names of their fuzz targets.
pub const CHECKS: &[(&str, Check)] = &[
    ("lines", lines),
    ("csv", csv),
    ("json", json),
    ("table_csv", table_csv),
    ("table_json", table_json),
    ("compressed", compressed),
    ("message_text", message_text),
    ("message_avro", message_avro),
    ("message_protobuf", message_protobuf),
];

/// Lines are those of a naive splitter.
pub fn lines(input: &[u8]) {
    let Some(Decoded { max, text, batch }) = decode(Lines, input) else { return };
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let lines = || text.split_inclusive(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    let short = lines().filter(|line| line.len() <= max).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let want: Vec<_> = short.filter_map(|line| std::str::from_utf8(line).ok()).collect();
    assert_eq!(batch.records.as_slice(), want);
    assert_eq!(batch.records.len() + batch.rejected.len(), lines().count());
    for letter in batch.rejected {
        let line = lines().nth(letter.line as usize - 1).unwrap();
        assert!(line.starts_with(letter.bytes.strip_suffix(b"\r").unwrap_or(&letter.bytes)));
    }
}

/// What CSV says does not depend on how it is cut into chunks.
pub fn csv(input: &[u8]) {
    let Some(Decoded { max, text, batch }) = decode(Csv::<Vec<String>>::new(), input) else { return };
    let whole = decode_chunks(Csv::<Vec<String>>::new(), "whole", max, [text]);
    // The longest line is found out about earlier in small chunks: records in quotes that are too long are cut elsewhere.
    if text.len() <= max {
        assert_eq!(batch.records.as_slice(), whole.records.as_slice());
        assert_eq!(batch.rejected.len(), whole.rejected.len());
    }
    assert!(batch.records.as_slice().iter().flatten().all(|field| field.len() <= max));
}

/// Every line is a value or a dead letter, unless it is blank (and no longer than a record may be).
pub fn json(input: &[u8]) {
    let Some(Decoded { max, text, batch }) = decode(Json::<serde_json::Value>::new(), input) else { return };
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let lines = text.split(|&byte| byte == b'\n').filter(|line| line.len() > max || !line.trim_ascii().is_empty());
    assert_eq!(batch.records.len() + batch.rejected.len(), lines.count());
}

/// Bytes that may be gzip, zstd or neither are read or refused.
pub fn compressed(input: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(input).unwrap();
    let mut partition = Files::path(file.path()).max_line(1_000).lines().open().unwrap().remove(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        // A megabyte of records is enough to see: small inputs may expand to very much.
        for _ in 0..1_000 {
            match partition.next(100).await {
                Ok(Some(batch)) => assert!(batch.records.as_slice().iter().all(|line| line.len() <= 1_000)),
                Ok(None) => break,
                Err(error) => return assert!(error.to_string().contains("cannot be read")),
            }
        }
    });
}

/// What came of a text in chunks.
struct Decoded<'a, T> {
    max: usize,
    text: &'a [u8],
    batch: Batch<T>,
}

fn decode<F: Format>(format: F, input: &[u8]) -> Option<Decoded<'_, F::Item>> {
    let (&[chunk, max], text) = input.split_first_chunk()?;
    let max = usize::from(max) + 1;
    let batch = decode_chunks(format, "input", max, text.chunks(usize::from(chunk) + 1));
    Some(Decoded { max, text, batch })
}

/// Columns of several types, of a table.
fn table() -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let row = DataType::Struct(
        vec![Field::new("x", DataType::Boolean, false), Field::new("y", DataType::Utf8View, true)].into(),
    );
    let fields = [
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8View, true),
        Field::new("c", DataType::Decimal128(5, 2), false),
        Field::new("d", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        Field::new("e", DataType::List(item), true),
        Field::new("f", row, true),
        Field::new("g", DataType::BinaryView, true),
    ];
    Arc::new(Schema::new(fields.to_vec()))
}

/// Rows and dead letters of a table's text.
fn table_rows(options: &[(&str, &str)], wanted: &[usize], text: &[u8], chunk: usize) -> (Vec<String>, Vec<String>) {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut decoder = columns::Format::of(&options).unwrap().decoder(&table(), wanted, "input").unwrap();
    let (mut rows, mut letters) = (Vec::new(), Vec::new());
    let mut drain = |decoder: &mut dyn columns::Decode| {
        while let Some(batch) = decoder.next(3).unwrap() {
            for batch in batch.records.as_slice() {
                rows.extend((0..batch.len()).map(|row| format!("{:?}", batch.slice(row..row + 1).batch())));
            }
            letters.extend(batch.rejected.into_iter().map(|letter| letter.to_string()));
        }
    };
    for chunk in text.chunks(chunk) {
        decoder.buffer(chunk.len()).extend_from_slice(chunk);
        drain(decoder.as_mut());
    }
    decoder.end();
    drain(decoder.as_mut());
    (rows, letters)
}

/// What CSV of a table says does not depend on how it is cut into chunks, nor which rows are good on what is not read of them.
pub fn table_csv(input: &[u8]) {
    let Some((&[chunk, kind], text)) = input.split_first_chunk() else { return };
    let escape = if kind & 1 == 0 { "!" } else { "\\" };
    let quote = if kind & 2 == 0 { "false" } else { "true" };
    let ignore = if kind & 4 == 0 { "false" } else { "true" };
    let options = [
        ("format", "csv"),
        ("csv.escape-character", escape),
        ("csv.disable-quote-character", quote),
        ("csv.ignore-parse-errors", ignore),
        ("csv.header", "false"),
    ];
    let all = [0, 1, 2, 3, 4, 5, 6];
    let cut = table_rows(&options, &all, text, usize::from(chunk) + 1);
    assert_eq!(cut, table_rows(&options, &all, text, usize::MAX));
    let some = table_rows(&options, &[1], text, usize::MAX);
    assert!(some.0.len() >= cut.0.len());
    assert!(ignore == "false" || cut.1.is_empty());
}

/// Each line that is not blank is a row or a dead letter; an object by itself is what serde says it is.
pub fn table_json(input: &[u8]) {
    let Some((&[chunk], text)) = input.split_first_chunk() else { return };
    let options = [("format", "json")];
    let all = [0, 1, 2, 3, 4, 5, 6];
    let cut = table_rows(&options, &all, text, usize::from(chunk) + 1);
    assert_eq!(cut, table_rows(&options, &all, text, usize::MAX));
    let body = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let lines = || body.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines = || lines().filter(|line| !line.trim_ascii().is_empty());
    assert_eq!(cut.0.len() + cut.1.len(), lines().count());
    for line in lines() {
        let (rows, _) = table_rows(&options, &[], line, usize::MAX);
        let theirs = serde_json::from_slice::<serde_json::Value>(line);
        // They have limits of their own: how large a number is, how deep a value.
        if theirs
            .as_ref()
            .is_err_and(|error| error.to_string().contains("out of range") || error.to_string().contains("recursion"))
        {
            continue;
        }
        let ours = rows.len() == 1;
        assert!(
            ours == theirs.is_ok_and(|value| value.is_object()) || line.starts_with(b"\xEF\xBB\xBF") || deep(line),
            "{line:?}"
        );
    }
}

/// The first byte says which format of text, the second where two messages are cut apart.
pub fn message_text(input: &[u8]) {
    const FORMATS: [&[(&str, &str)]; 8] = [
        &[("format", "json")],
        &[("format", "json"), ("json.ignore-parse-errors", "true")],
        &[("format", "csv")],
        &[("format", "csv"), ("csv.escape-character", "!"), ("csv.allow-comments", "true")],
        &[("format", "csv"), ("csv.disable-quote-character", "true"), ("csv.ignore-parse-errors", "true")],
        &[("format", "debezium-json")],
        &[("format", "debezium-json"), ("debezium-json.schema-include", "true")],
        &[("format", "debezium-json"), ("debezium-json.ignore-parse-errors", "true")],
    ];
    let Some((&[kind, cut], bytes)) = input.split_first_chunk() else { return };
    let options = FORMATS[usize::from(kind) % FORMATS.len()];
    let is_csv = options[0].1 == "csv";
    // CSV holds no lists of rows and no maps.
    let schema = if is_csv { table() } else { nested_table() };
    messages(&formats_of(options, &schema), &schema, cut, bytes, is_csv);
}

/// Two records of the columns' schema.
pub fn message_avro(input: &[u8]) {
    let Some((&[cut], bytes)) = input.split_first_chunk() else { return };
    let schema = nested_table();
    messages(&formats_of(&[("format", "avro")], &schema), &schema, cut, bytes, false);
}

/// Two messages of `everything.proto`.
pub fn message_protobuf(input: &[u8]) {
    let Some((&[defaults, cut], bytes)) = input.split_first_chunk() else { return };
    let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
    let row = DataType::Struct(
        vec![Field::new("m0", DataType::Int64, true), Field::new("m1", DataType::Utf8View, false)].into(),
    );
    let schema = Schema::new(vec![
        Field::new("c1", DataType::Int32, true),
        Field::new("c5", DataType::Utf8View, false),
        Field::new("c7", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("c9", row.clone(), true),
        Field::new("c10", DataType::Int64, true),
        Field::new("r1", list(DataType::Int32), true),
        Field::new("r6", list(DataType::BinaryView), true),
        Field::new("r7", list(row), true),
        Field::new("p0", DataType::Int8, true),
    ]);
    let schema = Arc::new(schema);
    let of = |defaults: &str| {
        let options = [
            ("format", "protobuf"),
            ("protobuf.schema", concat!(env!("CARGO_MANIFEST_DIR"), "/../connectors/tests/support/everything.proto")),
            ("protobuf.message", "test.Everything"),
            ("protobuf.read-default-values", defaults),
        ];
        formats_of(&options, &schema)
    };
    // The file is read once.
    static FORMATS: OnceLock<[Formats; 2]> = OnceLock::new();
    let formats = FORMATS.get_or_init(|| [of("false"), of("true")]);
    messages(&formats[usize::from(defaults & 1)], &schema, cut, bytes, false);
}

/// Rows and lists within each other.
fn nested_table() -> SchemaRef {
    let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
    let row = |inner: DataType| {
        DataType::Struct(vec![Field::new("x", inner, true), Field::new("y", DataType::Boolean, false)].into())
    };
    let pair = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", list(DataType::Int64), true)];
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false);
    let nested = [("h", list(row(list(DataType::Int64)))), ("i", map)];
    let nested = nested.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
    Arc::new(Schema::new(table().fields().iter().cloned().chain(nested).collect::<Vec<_>>()))
}

fn formats_of(options: &[(&str, &str)], schema: &SchemaRef) -> Formats {
    let table = Table {
        name: "t".into(),
        schema: schema.clone(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        bounded: true,
    };
    Formats::of(&table).unwrap()
}

/// Of two messages each is a row (or two, of a change), a dead letter or nothing, the same as if it had come alone.
fn messages(formats: &Formats, schema: &SchemaRef, cut: u8, bytes: &[u8], is_csv: bool) {
    let (first, second) = bytes.split_at(bytes.len() * usize::from(cut) / 256);
    let together = of_messages(formats, schema, &[first, second]);
    let apart = [of_messages(formats, schema, &[first]), of_messages(formats, schema, &[second])].concat();
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    assert_eq!(sorted(together), sorted(apart));
    // What was read is written, and read again.
    let Some(batch) = read_messages(formats, schema, &[first, second]).0 else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let Ok(mut encoder) = formats.encoder() else { return };
    // Some values are read that cannot be written: a key that is NULL, a comment.
    let Ok(written) = runtime.block_on(encoder.encode(&batch)) else { return };
    let again: Vec<&[u8]> = written.iter().map(|message| message.value.as_deref().unwrap()).collect();
    let (rows, letters) = read_messages(formats, schema, &again);
    assert!(letters.is_empty() || is_csv, "{letters:?}");
    assert!(is_csv || rows.is_some_and(|rows| rows.len() == batch.len()));
}

fn read_messages(formats: &Formats, schema: &SchemaRef, messages: &[&[u8]]) -> (Option<Rows>, Vec<DeadLetter>) {
    let columns = (0..schema.fields().len()).map(Column::Physical).collect();
    let mut decoder = formats.decoder(&Scan { schema: schema.clone(), columns, batch: 100 }).unwrap();
    let (origin, runtime) = (Arc::from("input"), tokio::runtime::Builder::new_current_thread().build().unwrap());
    for (offset, value) in (0..).zip(messages) {
        let message = Message { origin: &origin, offset, key: None, value: Some(value) };
        runtime.block_on(decoder.push(&message)).unwrap();
    }
    match decoder.take(|_| unreachable!()).unwrap() {
        Some(Batch { records, rejected }) => (records.into_vec().pop(), rejected),
        None => (None, Vec::new()),
    }
}

/// Rows, and then dead letters, as text.
fn of_messages(formats: &Formats, schema: &SchemaRef, messages: &[&[u8]]) -> Vec<String> {
    let (rows, letters) = read_messages(formats, schema, messages);
    assert!(letters.len() <= messages.len());
    let rows = rows.iter().flat_map(|rows| (0..rows.len()).map(|row| rows.slice(row..row + 1)));
    let rows = rows.map(|rows| format!("{:?} {:?}", rows.kind(0), rows.batch()));
    rows.chain(letters.into_iter().map(|letter| letter.reason)).collect()
}

/// Whether a line may be nested deeper than is allowed.
fn deep(line: &[u8]) -> bool {
    line.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > 120
}
