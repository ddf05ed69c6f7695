//! Streams as tables: rows go in and come out again; what is wrong with options is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_cast::pretty::pretty_format_batches;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_nats::header::HeaderMap;
use support::{Server, all, ask, client, make, run, stream};
use updraft_dataflow::connector::{Column, Connector, Registry, Scan, Table};
use updraft_dataflow::{Bundle, DeadLetter, Error, Partition, Rows, Sink, Source};
use updraft_nats::{NatsTable, register};

fn schema() -> SchemaRef {
    let fields = [("id", DataType::Int64), ("kind", DataType::Utf8View)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

fn table(options: &[(&str, &str)]) -> Table {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (primary_key, partition_keys) = (Vec::new(), Vec::new());
    Table { name: "t".into(), schema: schema(), primary_key, partition_keys, options, bounded: true }
}

fn rows(kinds: &[Option<&str>]) -> Rows {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..kinds.len() as i64));
    let kinds: ArrayRef = Arc::new(kinds.iter().copied().collect::<StringViewArray>());
    RecordBatch::try_new(schema(), vec![ids, kinds]).unwrap().into()
}

fn write(table: &Table, rows: Rows) -> Result<(), String> {
    table.options.check("'nats'", &NatsTable.options()).map_err(|error| error.to_string())?;
    let sink = NatsTable.sink(table).map_err(|error| error.to_string())?;
    run(move || async move {
        let mut sink = sink;
        sink.begin(1, Vec::new()).await?;
        sink.write(Bundle::from(vec![rows])).await?;
        let prepared = sink.prepare().await?;
        sink.commit(prepared).await?;
        sink.close().await
    })
    .map_err(|error: Error| error.to_string())
}

/// All columns, and all metadata.
fn scan(metadata: &[&str]) -> Scan {
    let mut fields: Vec<_> = schema().fields().iter().cloned().collect();
    let mut columns = vec![Column::Physical(0), Column::Physical(1)];
    for name in metadata {
        let (_, data_type) = NatsTable.metadata().into_iter().find(|(known, _)| known == name).unwrap();
        fields.push(Arc::new(Field::new(*name, data_type, true)));
        columns.push(Column::Metadata((*name).to_owned()));
    }
    Scan { schema: Arc::new(Schema::new(fields)), columns, batch: 100 }
}

fn read(table: &Table, metadata: &[&str]) -> Result<(Vec<RecordBatch>, Vec<DeadLetter>), String> {
    table.options.check("'nats'", &NatsTable.options()).map_err(|error| error.to_string())?;
    let source = NatsTable.source(table, &scan(metadata)).map_err(|error| error.to_string())?;
    run(move || async move {
        let (mut batches, mut rejected) = (Vec::new(), Vec::new());
        for mut partition in source.open()? {
            while let Some(batch) = partition.next(100).await? {
                batches.extend(batch.records.into_vec().iter().map(|rows| rows.batch().clone()));
                rejected.extend(batch.rejected);
            }
        }
        Ok((batches, rejected))
    })
    .map_err(|error: Error| error.to_string())
}

#[test]
fn rows_go_in_and_come_out() {
    for format in ["json", "csv"] {
        let server = Server::start();
        let url = server.url();
        let options = [("url", &*url), ("stream", "S"), ("format", format)];
        let into = [&options[..], &[("subject", "s.{kind}.x{id}"), ("sink.create-stream", "true")]].concat();
        write(&table(&into), rows(&[Some("a"), Some("b"), Some("a")])).unwrap();
        let told = ask(async { all(&client(&server).await, "S").await });
        let subjects: Vec<_> = told.iter().map(|told| &*told.subject).collect();
        assert_eq!(subjects, ["s.a.x0", "s.b.x1", "s.a.x2"]);
        if format == "json" {
            assert_eq!(told[1].payload, b"{\"id\":1,\"kind\":\"b\"}");
        }
        let (batches, rejected) = read(&table(&options), &["subject", "sequence"]).unwrap();
        assert_eq!(rejected, []);
        let want = "
+----+------+---------+----------+
| id | kind | subject | sequence |
+----+------+---------+----------+
| 0  | a    | s.a.x0  | 1        |
| 1  | b    | s.b.x1  | 2        |
| 2  | a    | s.a.x2  | 3        |
+----+------+---------+----------+";
        assert_eq!(pretty_format_batches(&batches).unwrap().to_string(), want.trim());
        let some = [
            &options[..],
            &[("subjects", "s.b.*; s.c.*"), ("scan.startup.mode", "sequence"), ("scan.startup.sequence", "2")],
        ];
        let (batches, _) = read(&table(&some.concat()), &[]).unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    }
}

#[test]
fn what_is_known_of_messages_is_told() {
    let server = Server::start();
    let url = server.url();
    ask(async {
        let js = client(&server).await;
        make(&js, stream("S", &["s"])).await;
        let mut headers = HeaderMap::new();
        for (name, value) in [("b", "1"), ("a", "2"), ("b", "3")] {
            headers.append(name, value);
        }
        js.publish_with_headers("s", headers, "{\"id\":7}".into()).await.unwrap().await.unwrap();
        js.publish("s", "no".into()).await.unwrap().await.unwrap();
        js.publish("s", "{\"id\":9}".into()).await.unwrap().await.unwrap();
    });
    let table = table(&[("url", &*url), ("stream", "S"), ("format", "json")]);
    let (batches, rejected) = read(&table, &["headers", "timestamp"]).unwrap();
    let shown: Vec<_> = batches.iter().map(|batch| batch.project(&[0, 2]).unwrap()).collect();
    let want = "
+----+------------------+
| id | headers          |
+----+------------------+
| 7  | {a: [2], b: [1, 3]} |
| 9  | {}               |
+----+------------------+";
    let words =
        |text: &str| text.split_whitespace().filter(|word| !word.starts_with('+')).collect::<Vec<_>>().join(" ");
    assert_eq!(words(&pretty_format_batches(&shown).unwrap().to_string()), words(want));
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].to_string().starts_with("S:2: "), "{}", rejected[0]);
    assert!(batches.iter().all(|batch| batch.column(3).null_count() == 0));
}

#[test]
fn wrong_options_are_told() {
    let server = Server::start();
    let url = server.url();
    let with = |more: &[(&str, &str)]| table(&[&[("url", &*url), ("stream", "S"), ("format", "json")], more].concat());
    let reading = |more: &[(&str, &str)]| read(&with(more), &[]).unwrap_err();
    let error = reading(&[("scan.startup.mode", "group-offsets")]);
    assert_eq!(
        error,
        "table `t`: option 'scan.startup.mode' = 'group-offsets': none of earliest, latest, timestamp and sequence"
    );
    let error = reading(&[("scan.startup.mode", "timestamp")]);
    assert_eq!(error, "table `t`: 'scan.startup.mode' = 'timestamp' needs 'scan.startup.timestamp-millis'");
    let error = reading(&[("scan.bounded.sequence", "5")]);
    assert!(error.contains("are of no meaning with 'scan.bounded.mode' = 'unsaid'"), "{error}");
    let error = reading(&[("scan.bounded.mode", "unbounded")]);
    assert!(error.contains("has no end ('scan.bounded.mode' = 'unbounded'), but the job is to end"), "{error}");
    let error = reading(&[("subject", "a"), ("subjects", "b")]);
    assert!(error.contains("leave one out"), "{error}");
    let error = reading(&[("username", "me")]);
    assert!(error.contains("log in with 'username' and 'password', or with 'token'"), "{error}");
    let error = reading(&[("key.format", "json")]);
    assert!(error.starts_with("'nats' has no option 'key.format'"), "{error}");
    let error = reading(&[("retry", "soon")]);
    assert!(error.contains("option 'retry' = 'soon': not a span of time"), "{error}");
    let writing = |more: &[(&str, &str)], kind| {
        let create = [more, &[("sink.create-stream", "true"), ("sink.create-stream.subjects", "s.>")]].concat();
        write(&with(&create), rows(&[kind])).unwrap_err()
    };
    assert!(writing(&[], None).contains("option 'subject' is missing"));
    assert!(writing(&[("subject", "s.{knd}")], None).contains("there is no column `knd`"));
    assert!(writing(&[("subject", "s.{kind")], None).contains("a brace is not closed"));
    assert!(writing(&[("subject", "s.*")], None).contains("has a wildcard"));
    assert!(writing(&[("subject", "s.{kind}")], None).contains("column `kind` is NULL, and is part of 'subject'"));
    assert!(writing(&[("subject", "s.{kind}")], Some("a.b")).contains("column `kind` is 'a.b', and cannot be part"));
    let error = writing(&[("subject", "s.1"), ("sink.delivery-guarantee", "none")], None);
    assert!(error.contains("neither 'exactly-once' nor 'at-least-once'"), "{error}");
    assert_eq!(register(Registry::default()).get("nats").unwrap().name(), "nats");
}
