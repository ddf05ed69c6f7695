//! What must hold of any bytes whatever: called by the fuzz targets, and over their corpus by `corpus.rs`.
//!
//! The first byte of the text formats' input is the length of a chunk, the second the longest record.

use std::io::Write;

use updraft_connectors::Files;
use updraft_connectors::format::{Csv, Format, Json, Lines, decode_chunks};
use updraft_dataflow::{Batch, Partition, Source};

/// What is given any bytes, and panics if something does not hold.
pub type Check = fn(&[u8]);

/// The checks, by the names of their fuzz targets.
pub const CHECKS: &[(&str, Check)] = &[("lines", lines), ("csv", csv), ("json", json), ("compressed", compressed)];

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
