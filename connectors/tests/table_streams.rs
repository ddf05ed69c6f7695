//! Tables of standard input and of sockets. Standard input is that of a process of its own: this test program, started again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tables::{bounded, error, lines, scan, table};
use updraft_connectors::columns::Format;
use updraft_connectors::table::{Socket, Stdin};
use updraft_connectors::{Collect, Console, ConsoleLayout, Memory};
use updraft_dataflow::connector::{AnySource, Column, Connector, Options, Scan, Table};
use updraft_dataflow::{Job, Rows};

/// All columns, and the line.
fn with_line(table: &Table) -> Scan {
    let line = Arc::new(Field::new("line", DataType::Int64, false));
    let fields: Vec<_> = table.schema.fields().iter().cloned().chain([line]).collect();
    let Scan { mut columns, batch, .. } = scan(table);
    columns.push(Column::Metadata("line".into()));
    Scan { schema: Arc::new(Schema::new(fields)), columns, batch }
}

fn show(table: &Table, scan: &Scan) {
    println!(
        "\n{}",
        scan.schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect::<Vec<_>>().join(", ")
    );
    let job = Job::new("piped");
    let source = Stdin.source(table, scan).unwrap();
    job.source("stdin", source).stream().sink("out", Console::new(scan.schema.clone(), ConsoleLayout::Csv, false));
    job.run().unwrap();
    println!("that was all");
}

/// What the children do: they print the columns and rows of what is piped in.
#[test]
#[ignore = "run by the other tests"]
fn child() {
    let undeclared = table(Arc::new(Schema::empty()), &[]);
    let table = Table { schema: Stdin.infer(&undeclared).unwrap(), ..undeclared };
    show(&table, &scan(&table));
}

#[test]
#[ignore = "run by the other tests"]
fn child_with_lines() {
    let undeclared = table(Arc::new(Schema::empty()), &[]);
    let table = Table { schema: Stdin.infer(&undeclared).unwrap(), ..undeclared };
    show(&table, &with_line(&table));
}

/// What a child prints that is given `input`, from the columns on.
fn piped(name: &str, input: &[u8]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It prints while it reads.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    let text = String::from_utf8(output.stdout).unwrap();
    let end = text.find("that was all").unwrap_or_else(|| panic!("{text}"));
    text[..end].split_once("\nrunning 1 test\n").unwrap().1.trim_start().to_owned()
}

#[test]
fn csv_is_told_and_nothing_of_it_is_lost() {
    assert_eq!(piped("child", b"name,n\nx,1\ny,20\n"), "name Utf8View, n Int64\nname,n\nx,1\ny,20\n");
    let many: String = (0..50_000).map(|n| format!("{n}\tword {n}\n")).collect();
    let out = piped("child", format!("id\tword\n{many}").as_bytes());
    assert!(out.starts_with("id Int64, word Utf8View\nid,word\n0,word 0\n"), "{}", &out[..100]);
    assert_eq!(out.lines().count(), 50_002);
    assert!(out.ends_with("49999,word 49999\n"));
}

#[test]
fn json_lines_and_text_are_told_and_have_lines() {
    let out = piped("child_with_lines", b"{\"a\": 1}\n\n{\"a\": 3, \"b\": \"x\"}\n");
    assert!(out.starts_with("a Int64"), "{out}");
    assert!(out.contains("\n1,") && out.ends_with(",3\n"), "{out}");
    assert_eq!(
        piped("child_with_lines", b"Hello, world\nbye\n"),
        "line Utf8View, line Int64\nline,line\n\"Hello, world\",1\nbye,2\n"
    );
}

fn batch() -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("name", Arc::new(StringViewArray::from(vec!["a", "b, too", "c"]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn parquet_is_read_whole() {
    let options: Options = [("format".to_owned(), "parquet".to_owned())].into_iter().collect();
    let (mut encoder, mut file) = (Format::of(&options).unwrap().file_encoder(&batch().schema()).unwrap(), Vec::new());
    encoder.encode(&batch(), &mut file).unwrap();
    encoder.finish(&mut file).unwrap();
    assert_eq!(piped("child", &file), "id Int64, name Utf8View\nid,name\n1,a\n2,\"b, too\"\n3,c\n");
}

fn rows_of(source: AnySource) -> Vec<String> {
    let (sink, collected) = Collect::new();
    let job = Job::new("received");
    job.source("socket", source).stream().sink("all", sink);
    job.run().unwrap();
    collected.take().iter().flat_map(|rows: &Rows| lines(rows.batch())).collect()
}

fn of(schema: SchemaRef, path: &Path, options: &[(&str, &str)]) -> Table {
    let path = [("path", path.to_str().unwrap())];
    table(schema, &[&path, options].concat())
}

#[test]
fn connections_are_streams_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.sock");
    let table = of(batch().schema(), &path, &[("mode", "listen"), ("connections", "2"), ("format", "csv")]);
    assert!(Socket.is_bounded(&table));
    let source = Socket.source(&table, &with_line(&table)).unwrap();
    let mut senders = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
    senders[0].write_all(b"id,name\n1,a\n2,\"b, ").unwrap();
    senders[1].write_all(b"name,id\nc,3\n\nd,4").unwrap();
    senders[0].write_all(b"too\"\n").unwrap();
    drop(senders);
    let mut rows = rows_of(source);
    rows.sort();
    assert_eq!(rows, ["1|a|2|", "2|b, too|3|", "3|c|2|", "4|d|4|"]);
}

#[test]
fn rows_go_out_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let table = of(batch().schema(), &path, &[("format", "json"), ("byte-delimiter", "10"), ("retry", "1 s")]);
    let job = Job::new("sent");
    let rows = Memory::new(vec![Rows::from(batch()), batch().slice(0, 1).into()]);
    job.source("rows", rows).stream().sink("socket", Socket.sink(&table).unwrap());
    job.run().unwrap();
    let mut text = String::new();
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    peer.read_to_string(&mut text).unwrap();
    let values: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.len(), 4);
    assert_eq!(values[1], serde_json::json!({"id": 2, "name": "b, too"}));
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    let back = of(batch().schema(), &path, &[("mode", "listen"), ("connections", "1"), ("format", "json")]);
    let source = Socket.source(&back, &scan(&back)).unwrap();
    UnixStream::connect(&path).unwrap().write_all(text.as_bytes()).unwrap();
    assert_eq!(rows_of(source), ["1|a|", "2|b, too|", "3|c|", "1|a|"]);
}

#[test]
fn wrong_options_are_told() {
    let of = |options: &[(&str, &str)]| error(&Socket, &table(batch().schema(), options));
    assert!(of(&[("format", "csv")]).contains("'port' is missing"));
    assert!(of(&[("port", "70000"), ("format", "csv")]).contains("not a port, from 0 to 65535"));
    assert!(of(&[("port", "1"), ("path", "/x"), ("format", "csv")]).contains("one or the other"));
    assert!(of(&[("port", "1"), ("mode", "dance"), ("format", "csv")]).contains("neither 'connect' nor 'listen'"));
    assert!(of(&[("port", "1"), ("byte-delimiter", "0"), ("format", "csv")]).contains("end in a newline here"));
    assert!(of(&[("port", "1")]).contains("'format' is missing"));
    let endless = bounded(table(batch().schema(), &[("port", "0"), ("mode", "listen"), ("format", "csv")]));
    assert!(error(&Socket, &endless).contains("'connections'"));
    let sink = table(batch().schema(), &[("port", "0"), ("mode", "listen"), ("format", "csv")]);
    assert!(Socket.sink(&sink).unwrap_err().to_string().contains("only sources listen"));
}
