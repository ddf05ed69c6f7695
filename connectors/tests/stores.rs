//! Tables whose files are in stores of objects: what is written is read again, and nothing is there before it is whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use support::run;
use tables::lines;
use updraft_connectors::{Filesystem, memory_store};
use updraft_dataflow::connector::{Column, Connector, Scan, Table};
use updraft_dataflow::{Bundle, Epoch, Error, Punctuation, Rows, Sink, Time};

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("kind", DataType::Utf8View),
        field("text", DataType::Utf8View),
    ]))
}

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let kind = |id: i64| [Some("a/b"), Some("c"), None][id as usize % 3];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(ids.clone().map(kind).collect::<StringViewArray>()),
        Arc::new(ids.map(|id| Some(format!("text of {id}, that is longer than a view"))).collect::<StringViewArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn table(path: &str, options: &[(&str, &str)]) -> Table {
    let options = [options, &[("path", path)]].concat();
    let table = tables::bounded(tables::table(schema(), &options));
    table.options.check("'filesystem'", &Filesystem.options()).unwrap();
    table
}

fn put(table: &Table, batches: &[RecordBatch]) -> Result<(), Error> {
    let bundles = batches.iter().map(|batch| vec![Rows::from(batch.clone())]).collect();
    support::write(Filesystem.sink(table)?, bundles)
}

fn bundle(ids: std::ops::Range<i64>) -> Bundle<Rows> {
    Bundle::from(vec![Rows::from(rows(ids))])
}

/// Its rows as text, in order.
fn get(table: &Table) -> Vec<String> {
    let mut rows = lines(&tables::all(&Filesystem, table));
    rows.sort();
    rows
}

fn written(ids: std::ops::Range<i64>) -> Vec<String> {
    let mut rows = lines(&rows(ids));
    rows.sort();
    rows
}

/// The names of all objects of `memory://NAME/`.
fn names(store: &str) -> Vec<String> {
    let store = memory_store(store);
    let objects = run(move || async move { store.list(None).try_collect::<Vec<_>>().await.unwrap() });
    let mut names: Vec<_> = objects.into_iter().map(|object| object.location.to_string()).collect();
    names.sort();
    names
}

fn object(store: &str, name: &str, bytes: &[u8]) {
    let (store, name, bytes) = (memory_store(store), name.to_owned(), bytes.to_vec());
    run(move || async move { store.put(&name.into(), bytes.into()).await.unwrap() });
}

fn completed(epoch: u64) -> Punctuation {
    Punctuation { epoch: Epoch(epoch), watermark: Time(0), now: Time(0) }
}

#[test]
fn what_is_written_is_read_in_all_formats() {
    let formats: [&[(&str, &str)]; 6] = [
        &[("format", "csv"), ("compression", "gzip")],
        &[("format", "json"), ("source.split-size", "1kb")],
        &[("format", "parquet"), ("parquet.block.size", "1")],
        &[("format", "parquet"), ("sink.rolling-policy.file-size", "1kb")],
        &[("format", "arrow")],
        &[("format", "avro")],
    ];
    for (at, options) in formats.into_iter().enumerate() {
        let mut table = table(&format!("memory://formats{at}/deep/t"), options);
        for keys in [vec![], vec![1]] {
            table.options.set("path", format!("memory://formats{at}/{}", keys.len()));
            table.partition_keys = keys;
            let batches: Vec<_> = (0..5).map(|at| rows(at * 20..at * 20 + 20)).collect();
            put(&table, &batches).unwrap();
            assert_eq!(get(&table), written(0..100), "{options:?}");
        }
    }
    let folders = names("formats0").into_iter().filter_map(|name| Some(name.rsplit_once('/')?.0.to_owned()));
    assert_eq!(
        folders.collect::<Vec<_>>(),
        ["0", "1/kind=__DEFAULT_PARTITION__", "1/kind=a%2Fb", "1/kind=c"].map(str::to_owned)
    );
}

#[test]
fn objects_are_named_as_files_are() {
    for (name, id) in [("a.csv", 1), ("deep/b.csv", 2), ("deep/er/c.txt", 3), ("_x", 9), (".h/d.csv", 9), ("e.part", 9)]
    {
        object("names", &format!("t/{name}"), format!("{id},x,y\n").as_bytes());
    }
    object("names", "tt/a.csv", b"9,x,y\n");
    let ids = |path: &str| {
        let table = table(&format!("memory://names/{path}"), &[("format", "csv")]);
        tables::all(&Filesystem, &table).column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
    };
    assert_eq!(ids("t"), [1, 2, 3]);
    assert_eq!(ids("t/"), [1, 2, 3]);
    assert_eq!(ids("t/a.csv"), [1]);
    assert_eq!(ids("t/*.csv"), [1]);
    assert_eq!(ids("t/*/*.csv"), [2]);
    assert_eq!(ids("t/d*"), [2, 3]);
    assert_eq!(ids("*"), [1, 2, 3, 9]);
    let error = |path: &str, format: &str| tables::error(&Filesystem, &table(path, &[("format", format)]));
    assert_eq!(error("memory://names/none", "csv"), "'path' = 'memory://names/none': no file is there");
    assert!(error("hdfs://names/none", "csv").contains("hdfs:// is not known; there are file, s3"));
    assert!(
        error("memory://names/t/a.csv", "parquet").starts_with("memory://names/t/a.csv: cannot be read as Parquet")
    );
}

#[test]
fn objects_are_known_by_metadata() {
    object("metadata", "t/a.csv", b"1,x,y\n");
    let table = table("memory://metadata/t", &[("format", "csv")]);
    let (keys, types): (Vec<_>, Vec<_>) = Filesystem.metadata().into_iter().unzip();
    let fields = keys.iter().zip(types).map(|(key, data_type)| Field::new(*key, data_type, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = keys.iter().map(|key| Column::Metadata((*key).to_owned())).collect();
    let scan = Scan { schema, columns, batch: 10 };
    let rows = support::read(Filesystem.source(&table, &scan).unwrap(), 10).unwrap().records;
    let row = lines(rows[0].batch()).remove(0);
    assert!(row.starts_with("memory://metadata/t/a.csv|a.csv|6|20"), "{row}");
}

#[test]
fn columns_are_inferred_of_objects() {
    object("infer", "t/a.csv", b"id,name\n1,x\n");
    put(&table("memory://infer/p", &[("format", "parquet")]), &[rows(0..3)]).unwrap();
    let infer = |path, format| {
        let schema = Filesystem.infer(&table(path, &[("format", format)])).unwrap();
        schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(infer("memory://infer/t", "csv"), ["id", "name"]);
    assert_eq!(infer("memory://infer/p", "parquet"), ["id", "kind", "text"]);
}

#[test]
fn an_object_is_there_when_it_is_whole() {
    // Larger than what is sent in one go, and than a part.
    let many = || bundle(0..400_000);
    let options = [("format", "csv"), ("sink.rolling-policy.file-size", "12MB")];
    let table = table("memory://whole/t", &options);
    let write = |keeps: bool| {
        let mut sink = Filesystem.sink(&table).unwrap();
        run(move || async move {
            for _ in 0..2 {
                sink.write(many()).await.unwrap();
            }
            sink.complete(completed(1)).await.unwrap();
            assert_eq!(memory_store("whole").list(None).try_collect::<Vec<_>>().await.unwrap().len(), 0);
            if keeps {
                sink.close().await.unwrap();
            } else {
                sink.abort();
            }
        });
    };
    write(false);
    assert_eq!(names("whole"), Vec::<String>::new());
    write(true);
    assert_eq!(names("whole").len(), 2);
    let mut want = lines(&rows(0..400_000));
    want.extend(want.clone());
    want.sort();
    assert!(get(&table) == want);
}

#[test]
fn a_job_without_an_end_gives_objects_with_its_epochs() {
    let options = [("format", "json"), ("sink.rolling-policy.rollover-interval", "1 ms")];
    let mut table = table("memory://epochs/t", &options);
    table.bounded = false;
    let mut sink = Filesystem.sink(&table).unwrap();
    run(move || async move {
        for epoch in 1..4 {
            sink.write(bundle(0..10)).await.unwrap();
            updraft_kernel::clock::sleep(std::time::Duration::from_millis(5)).await;
            sink.complete(completed(epoch)).await.unwrap();
        }
        sink.write(bundle(0..10)).await.unwrap();
        sink.abort();
    });
    assert_eq!(names("epochs").len(), 3);
}

#[test]
fn one_object_is_written_even_without_rows() {
    let table = table("memory://one/deep/t.csv.zst", &[("format", "csv")]);
    put(&table, &[]).unwrap();
    assert_eq!(names("one"), ["deep/t.csv.zst"]);
    put(&table, &[rows(0..10)]).unwrap();
    assert_eq!((names("one").len(), get(&table)), (1, written(0..10)));
}

#[test]
#[cfg(not(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http")))]
fn what_was_not_built_is_named() {
    for (url, feature) in [
        ("s3://bucket/t", "aws"),
        ("https://bucket.s3.eu-west-1.amazonaws.com/t", "aws"),
        ("gs://bucket/t", "gcp"),
        ("az://bucket/t", "azure"),
        ("abfss://files@account.dfs.core.windows.net/t", "azure"),
        ("http://host/t.csv", "http"),
    ] {
        let scheme = url.split_once(':').unwrap().0;
        let want = format!(
            "'path' = '{url}': this build does not reach {scheme}://; build updraft with `--features {feature}`"
        );
        assert_eq!(tables::error(&Filesystem, &table(url, &[("format", "csv")])), want);
    }
}

#[cfg(feature = "http")]
mod http {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// Serves one file to whoever asks, as a whole or by ranges.
    fn serve(name: &'static str, body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                let range = headers
                    .iter()
                    .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
                let mut words = request.split(' ');
                let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                if path != format!("/{name}") {
                    let _ =
                        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    continue;
                }
                let (from, to) = range.as_deref().and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
                let from: usize = from.parse().unwrap();
                let to = to.parse().map_or(body.len(), |to: usize| (to + 1).min(body.len()));
                let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\nLast-Modified: Tue, 06 Jan 2026 10:00:00 GMT\r\nETag: \"1\"\r\nConnection: close\r\n\r\n",
                    to - from,
                    to - 1,
                    body.len(),
                );
                let _ = stream.write_all(head.as_bytes());
                if method == "GET" {
                    let _ = stream.write_all(&body[from..to]);
                }
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        url
    }

    #[test]
    fn files_of_a_server_are_read() {
        for (name, format) in [("a file.parquet", "parquet"), ("t.json", "json")] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            put(&table(path.to_str().unwrap(), &[("format", format)]), &[rows(0..100)]).unwrap();
            let url = serve(if format == "json" { name } else { "a%20file.parquet" }, std::fs::read(&path).unwrap());
            let options = [("format", format), ("source.split-size", "1kb")];
            assert_eq!(get(&table(&format!("{url}/{name}"), &options)), written(0..100));
            let error = tables::error(&Filesystem, &table(&format!("{url}/none"), &options));
            assert!(error.contains("/none"), "{error}");
        }
    }
}
