//! Files read once: names, compressions, formats, and what is wrong with them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;
use support::{put, read, read_parts};
use tempfile::TempDir;
use updraft_connectors::Files;
use updraft_connectors::format::Csv;

/// A folder with `files` in it.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| put(&folder.path().join(name), &[text]));
    folder
}

fn glob(folder: &TempDir, pattern: &str) -> Files {
    Files::glob(folder.path().join(pattern).display().to_string())
}

/// The file a dead letter names, and its line.
fn place(letter: &updraft_dataflow::DeadLetter) -> (String, u64) {
    (Path::new(&*letter.origin).file_name().unwrap().to_string_lossy().into_owned(), letter.line)
}

#[test]
fn files_are_read_in_the_order_of_their_names() {
    let folder = folder(&[("b.log", b"3\n4"), ("a.log", b"1\n2\n"), ("c.log.gz", b"5\n"), ("no.txt", b"9\n")]);
    assert_eq!(read(glob(&folder, "*.log*").lines(), 10).unwrap().records, ["1", "2", "3", "4", "5"]);
    let parts = read_parts(glob(&folder, "*.log*").partitions(2).lines(), 1).unwrap();
    assert_eq!(parts[0].records, ["1", "2", "5"]);
    assert_eq!(parts[1].records, ["3", "4"]);
}

#[test]
fn more_partitions_than_files_is_no_error() {
    let folder = folder(&[("a", b"1\n")]);
    assert_eq!(read_parts(glob(&folder, "*").partitions(3).lines(), 1).unwrap().len(), 3);
}

#[test]
fn compression_is_told_by_the_first_bytes_where_the_name_does_not_say() {
    let folder = folder(&[("a.gz", b"1\n"), ("b.zst", b"2\n")]);
    for (from, to) in [("a.gz", "a"), ("b.zst", "b")] {
        std::fs::rename(folder.path().join(from), folder.path().join(to)).unwrap();
    }
    assert_eq!(read(glob(&folder, "*").lines(), 10).unwrap().records, ["1", "2"]);
}

#[test]
fn nothing_to_read_is_an_error_with_a_remedy() {
    let folder = folder(&[]);
    let error = read(glob(&folder, "*.log").lines(), 1).unwrap_err().to_string();
    assert!(error.contains("*.log: no file matches"), "{error}");
    let error = read(Files::path("no/such.log").lines(), 1).unwrap_err().to_string();
    assert!(error.contains("no/such.log: no such file; it was looked for in /"), "{error}");
    let error = read(Files::glob("[").lines(), 1).unwrap_err().to_string();
    assert!(error.contains("not a pattern, at character 1"), "{error}");
    let error = read(Files::path(folder.path()).lines(), 1).unwrap_err().to_string();
    assert!(error.contains("check that it is a file"), "{error}");
}

#[test]
fn truncated_and_damaged_files_are_errors_that_say_where() {
    let text: Vec<u8> = (0..100_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
    for name in ["a.gz", "a.zst"] {
        let folder = folder(&[(name, &text)]);
        let path = folder.path().join(name);
        let packed = std::fs::read(&path).unwrap();
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let error = read(Files::path(&path).lines(), 1_000).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}:")) && error.contains("truncated"), "{error}");
        std::fs::write(&path, b"this is not what the name says").unwrap();
        let error = read(Files::path(&path).lines(), 1_000).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}:1: cannot be read on")), "{error}");
    }
}

#[test]
fn what_is_not_utf8_is_a_dead_letter() {
    let folder = folder(&[("a", b"good\nb\xFFd\ngood\n")]);
    let all = read(glob(&folder, "a").lines(), 10).unwrap();
    assert_eq!(all.records, ["good", "good"]);
    assert_eq!((place(&all.rejected[0]), &*all.rejected[0].bytes), (("a".into(), 2), &b"b\xFFd"[..]));
    assert!(all.rejected[0].reason.contains("not UTF-8 at byte 2"), "{}", all.rejected[0]);
}

#[test]
fn an_endless_line_is_a_dead_letter_and_never_held_whole() {
    let mut text = vec![b'x'; 30 << 20];
    text.extend_from_slice(b"\nlast\n");
    let folder = folder(&[("a.gz", &text)]);
    let all = read(glob(&folder, "a.gz").lines(), 10).unwrap();
    assert_eq!((all.records, all.rejected.len()), (vec!["last".to_owned()], 1));
    assert_eq!((all.rejected[0].line, all.rejected[0].bytes.len()), (1, 64 << 10));
    assert!(all.rejected[0].reason.contains("raise max_line"), "{}", all.rejected[0].reason);
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Sale {
    item: String,
    price: u32,
}

fn sale(item: &str, price: u32) -> Sale {
    Sale { item: item.into(), price }
}

#[test]
fn csv_fields_find_their_names() {
    let text = b"\xEF\xBB\xBFprice,item\r\n1,plain\r\n\r\n2,\"quoted, \"\"twice\"\"\r\nand broken\"\n3,last";
    let folder = folder(&[("a.csv", text), ("b.csv", b"item,price\nother order,4\n")]);
    let all = read(glob(&folder, "*.csv").csv::<Sale>(), 2).unwrap();
    let quoted = sale("quoted, \"twice\"\r\nand broken", 2);
    assert_eq!(all.records, [sale("plain", 1), quoted, sale("last", 3), sale("other order", 4)]);
    assert_eq!(all.rejected, []);
}

#[test]
fn csv_may_have_no_header_and_another_delimiter() {
    let folder = folder(&[("a.csv", b"a;1\n\"b;c\";2\n")]);
    let format = Csv::<(String, u32)>::new().delimiter(b';').headerless();
    let want = [("a".to_owned(), 1), ("b;c".to_owned(), 2)];
    assert_eq!(read(glob(&folder, "a.csv").format(format), 10).unwrap().records, want);
}

#[test]
fn bad_csv_is_a_dead_letter_that_names_the_field() {
    let text = b"item,price\nok,1\nbad,x\nshort\n\"two\nlines\",y\n\"open,2\nok,3\n";
    let folder = folder(&[("a.csv", text)]);
    let all = read(glob(&folder, "a.csv").csv::<Sale>(), 1).unwrap();
    assert_eq!(all.records, [sale("ok", 1), sale("ok", 3)]);
    let reasons: Vec<_> = all.rejected.iter().map(|letter| format!("{}: {}", letter.line, letter.reason)).collect();
    assert_eq!(reasons[0], "3: field `price`: invalid digit found in string");
    assert_eq!(reasons[1], "4: 1 fields, where the header names 2: item, price");
    assert!(
        reasons[2].starts_with("5: field `price`") && reasons[3].starts_with("7: quote never closed"),
        "{reasons:?}"
    );
    assert_eq!((reasons.len(), &*all.rejected[2].bytes), (4, &b"\"two\nlines\",y"[..]));
}

#[test]
fn bad_json_is_a_dead_letter_that_names_the_column() {
    let text = b"{\"item\":\"a\",\"price\":1}\n\n{\"item\":\"b\",\"price\":-1}\n{\"item\n";
    let folder = folder(&[("a.json", text)]);
    let all = read(glob(&folder, "a.json").json::<Sale>(), 10).unwrap();
    assert_eq!(all.records, [sale("a", 1)]);
    assert_eq!(place(&all.rejected[0]), ("a.json".into(), 3));
    assert!(all.rejected[0].reason.contains("column 22: invalid value: integer `-1`"), "{}", all.rejected[0].reason);
    assert_eq!(all.rejected[1].line, 4);
}

#[test]
fn a_function_decodes_bytes() {
    let folder = folder(&[("a", b"12\nx\n")]);
    let number = |line: &[u8]| match line {
        [b'0'..=b'9', ..] => Ok(line.len()),
        _ => Err("no number".to_owned()),
    };
    let all = read(glob(&folder, "a").decode(number), 10).unwrap();
    assert_eq!((all.records, all.rejected[0].reason.as_str()), (vec![2], "no number"));
}

/// What `lines` should give, said simply.
fn naive(text: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = text.split(|&byte| byte == b'\n').collect();
    lines.pop_if(|last| last.is_empty());
    let strip = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    lines.into_iter().map(|line| String::from_utf8(strip(line)).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Chunks are 256 KiB: long lines make sure that many of them are cut in the middle.
    #[test]
    fn lines_are_what_a_naive_splitter_finds(
        lines in prop::collection::vec(("[a-zü\r]{0,30}", 0usize..40_000), 0..40),
        ends in any::<bool>(),
        name in prop::sample::select(vec!["a", "a.gz", "a.zst"]),
        members in 1usize..4,
        limit in 1usize..50,
    ) {
        let lines: Vec<_> = lines.iter().map(|(text, more)| format!("{text}{}", "x".repeat(*more))).collect();
        let text = lines.join("\n") + if ends { "\n" } else { "" };
        let folder = tempfile::tempdir().unwrap();
        let parts: Vec<_> = text.as_bytes().chunks(text.len().div_ceil(members).max(1)).collect();
        put(&folder.path().join(name), if parts.is_empty() { &[b""] } else { &parts });
        let all = read(glob(&folder, name).lines(), limit).unwrap();
        prop_assert_eq!(all.records, naive(text.as_bytes()));
    }

    #[test]
    fn csv_is_what_the_csv_crate_finds(
        rows in prop::collection::vec(("[a,\"\n\r ü]{1,8}", "[a,\"\n\r ü]{1,8}"), 1..200),
        quote_all in any::<bool>(),
        limit in 1usize..50,
    ) {
        let style = if quote_all { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let mut writer = csv::WriterBuilder::new().quote_style(style).has_headers(false).from_writer(Vec::new());
        rows.iter().for_each(|row| writer.serialize(row).unwrap());
        let folder = folder(&[("a.csv", &writer.into_inner().unwrap())]);
        let all = read(glob(&folder, "a.csv").format(Csv::<(String, String)>::new().headerless()), limit).unwrap();
        prop_assert_eq!((all.records, all.rejected), (rows, vec![]));
    }
}
