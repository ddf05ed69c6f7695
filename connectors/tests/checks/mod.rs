//! What must hold of any bytes whatever: called by the fuzz targets, and over their corpus by `corpus.rs`.
//!
//! The first byte of the text formats' input is the length of a chunk, the second the longest record.

use std::io::Write;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use updraft_connectors::format::{Csv, Format, Json, Lines, decode_chunks};
use updraft_connectors::{Files, columns};
use updraft_dataflow::{Batch, Partition, Source};

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

/// Whether a line may be nested deeper than is allowed.
fn deep(line: &[u8]) -> bool {
    line.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > 120
}
