//! Avro by the schemas of a registry: one of the test's own, that may be slow, fail and refuse.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use updraft_connectors::message::{Formats, Message};
use updraft_dataflow::connector::{Column, Scan};
use updraft_dataflow::{Batch, Error, Rows};

mod support;
mod tables;

#[path = "support/batches.rs"]
mod batches;

use tables::table;

/// A registry that answers over HTTP.
struct Registry {
    url: String,
    shared: Arc<Shared>,
    runtime: Runtime,
}

#[derive(Default)]
struct Shared {
    /// Subjects and schemas; the number of one is its place, from 1.
    schemas: Mutex<Vec<(String, Value)>>,
    asked: AtomicUsize,
    /// What becomes of the next requests.
    faults: Mutex<Vec<Fault>>,
    /// What is wanted as Authorization.
    auth: Mutex<Option<String>>,
}

#[derive(Clone, Copy)]
enum Fault {
    /// 503.
    Busy,
    /// The connection is closed.
    Closed,
    /// No answer.
    Silent,
    /// Something that is not JSON.
    Nonsense,
}

impl Registry {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let (serving, handle) = (shared.clone(), runtime.handle().clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                handle.spawn(serve(stream, serving.clone()));
            }
        });
        Self { url, shared, runtime }
    }

    fn add(&self, schema: Value) -> u32 {
        let mut schemas = self.shared.schemas.lock().unwrap();
        schemas.push(("other".into(), json!({ "schema": schema.to_string() })));
        schemas.len() as u32
    }

    fn fail(&self, faults: &[Fault]) {
        *self.shared.faults.lock().unwrap() = faults.to_vec();
    }

    fn asked(&self) -> usize {
        self.shared.asked.swap(0, Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut request = Vec::new();
    let head = loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => request.extend_from_slice(&chunk[..read]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let headers: HashMap<String, String> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                break (head.lines().next().unwrap().to_owned(), headers, body.to_owned());
            }
        }
    };
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let fault = {
        let mut faults = shared.faults.lock().unwrap();
        if faults.is_empty() { None } else { Some(faults.remove(0)) }
    };
    let (status, body) = match fault {
        None => answer(&shared, &head.0, &head.1, &head.2),
        Some(Fault::Busy) => ("503 Service Unavailable", json!({ "message": "busy" }).to_string()),
        Some(Fault::Nonsense) => ("200 OK", "<html>".into()),
        Some(Fault::Closed) => return,
        Some(Fault::Silent) => std::future::pending().await,
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn answer(shared: &Shared, line: &str, headers: &HashMap<String, String>, body: &str) -> (&'static str, String) {
    let auth = shared.auth.lock().unwrap();
    if auth.is_some() && headers.get("authorization") != auth.as_ref() {
        return ("401 Unauthorized", json!({ "error_code": 40101, "message": "Unauthorized" }).to_string());
    }
    let mut schemas = shared.schemas.lock().unwrap();
    let parts: Vec<&str> = line.split([' ', '/']).filter(|part| !part.is_empty()).collect();
    match parts[..] {
        ["GET", "schemas", "ids", id, ..] => match schemas.get(id.parse::<usize>().unwrap().wrapping_sub(1)) {
            Some((_, schema)) => ("200 OK", schema.to_string()),
            None => ("404 Not Found", json!({ "error_code": 40403, "message": "Schema not found" }).to_string()),
        },
        ["POST", "subjects", "refused", "versions", ..] => {
            ("409 Conflict", json!({ "error_code": 409, "message": "incompatible" }).to_string())
        }
        ["POST", "subjects", subject, "versions", ..] => {
            let schema: Value = serde_json::from_str(body).unwrap();
            let entry = (subject.to_owned(), schema);
            let place = schemas.iter().position(|other| *other == entry).unwrap_or_else(|| {
                schemas.push(entry);
                schemas.len() - 1
            });
            ("200 OK", json!({ "id": place + 1 }).to_string())
        }
        _ => ("404 Not Found", "{}".into()),
    }
}

fn formats(registry: &Registry, schema: &SchemaRef, more: &[(&str, &str)]) -> Formats {
    let options = [
        ("format", "avro-confluent"),
        ("avro-confluent.url", registry.url.as_str()),
        ("avro-confluent.timeout", "20 s"),
        ("topic", "orders"),
    ];
    Formats::of(&table(schema.clone(), &[&options[..], more].concat())).unwrap()
}

fn all(schema: &SchemaRef) -> Scan {
    let columns = (0..schema.fields().len()).map(Column::Physical).collect();
    Scan { schema: schema.clone(), columns, batch: 100 }
}

fn decode(
    registry: &Registry,
    formats: &Formats,
    schema: &SchemaRef,
    messages: &[Vec<u8>],
) -> Result<Batch<Rows>, Error> {
    let mut decoder = formats.decoder(&all(schema)).unwrap();
    let origin = Arc::from("orders/3");
    registry.runtime.block_on(async {
        for (offset, value) in (0..).zip(messages) {
            decoder.push(&Message { origin: &origin, offset, key: None, value: Some(value) }).await?;
        }
        Ok(decoder.take(|_| unreachable!())?.unwrap())
    })
}

fn encode(registry: &Registry, formats: &Formats, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, Error> {
    let encoded = registry.runtime.block_on(formats.encoder()?.encode(&batch.clone().into()))?;
    Ok(encoded.into_iter().map(|message| message.value.unwrap().to_vec()).collect())
}

fn people() -> (SchemaRef, RecordBatch) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8View, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(arrow_array::Int64Array::from(vec![1, 2])),
        Arc::new(arrow_array::StringViewArray::from(vec![Some("a"), None])),
    ];
    (schema.clone(), RecordBatch::try_new(schema, columns).unwrap())
}

#[test]
fn what_is_written_is_read_by_its_number() {
    let registry = Registry::start();
    let schema = batches::schema(batches::scalars().into_iter().chain(batches::nested()));
    let want = batches::batch(&schema, 40, &mut batches::Random::new(5));
    let formats = formats(&registry, &schema, &[]);
    let messages = encode(&registry, &formats, &want).unwrap();
    assert!(messages.iter().all(|message| message.starts_with(&[0, 0, 0, 0, 1])));
    {
        let schemas = registry.shared.schemas.lock().unwrap();
        assert_eq!(schemas[0].0, "orders-value");
        let written: Value = serde_json::from_str(schemas[0].1["schema"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&written["name"], &written["namespace"]),
            (&json!("record"), &json!("org.apache.flink.avro.generated"))
        );
        assert_eq!(written["fields"][0], json!({ "name": "c0", "type": ["null", "boolean"], "default": null }));
    }
    assert_eq!(registry.asked(), 1);
    // Another library understands it, and writes the same.
    let theirs = registry.shared.schemas.lock().unwrap()[0].1["schema"].as_str().unwrap().to_owned();
    let theirs = apache_avro::Schema::parse_str(&theirs).unwrap();
    for (row, message) in messages.iter().enumerate() {
        let mut rest = &message[5..];
        let value = apache_avro::from_avro_datum(&theirs, &mut rest, None).unwrap();
        let apache_avro::types::Value::Record(fields) = &value else { panic!("{value:?}") };
        if let (_, apache_avro::types::Value::Union(_, name)) = &fields[9] {
            let want = want.column(9).as_string_view();
            let want = want.is_valid(row).then(|| want.value(row).to_owned());
            assert_eq!(**name, want.map_or(apache_avro::types::Value::Null, apache_avro::types::Value::String));
        }
        assert!(rest.is_empty());
        // Maps have no order.
        let again = apache_avro::to_avro_datum(&theirs, value.clone()).unwrap();
        assert_eq!(again.len() + 5, message.len());
        assert_eq!(apache_avro::from_avro_datum(&theirs, &mut &again[..], None).unwrap(), value);
    }
    let got = decode(&registry, &formats, &schema, &messages).unwrap();
    assert_eq!(got.rejected, []);
    assert_eq!(got.records.as_slice()[0].batch(), &want);
    // It is asked once, whoever asks.
    decode(&registry, &formats, &schema, &messages).unwrap();
    assert_eq!(registry.asked(), 1);
}

/// `value` as a varint.
fn long(value: i64) -> Vec<u8> {
    let (mut left, mut bytes) = (((value << 1) ^ (value >> 63)) as u64, Vec::new());
    while left >= 128 {
        bytes.push(left as u8 | 128);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn text(value: &str) -> Vec<u8> {
    [long(value.len() as i64), value.as_bytes().to_vec()].concat()
}

fn message(id: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), &parts.concat()].concat()
}

#[test]
fn schemas_may_differ_from_the_columns() {
    let registry = Registry::start();
    let inner = |name: &str| {
        json!({ "type": "record", "name": name, "fields": [
        { "name": "city", "type": "string" }, { "name": "zip", "type": "int" } ] })
    };
    // Other order, narrower types, fields that are not wanted (one defines a type that another one is of), an enum.
    let old = registry.add(json!({ "type": "record", "name": "Person", "namespace": "a.b", "fields": [
        { "name": "extra", "type": inner("Address") },
        { "name": "kind", "type": { "type": "enum", "name": "Kind", "symbols": ["GOOD", "BAD"] } },
        { "name": "address", "type": ["Address", "null"] },
        { "name": "id", "type": "int" } ] }));
    let new = registry.add(json!({ "type": "record", "name": "Person2", "fields": [
        { "name": "id", "type": "long" },
        { "name": "address", "type": ["null", inner("Home")] },
        { "name": "born", "type": ["null", { "type": "long", "logicalType": "timestamp-micros" }] } ] }));
    let lacking =
        registry.add(json!({ "type": "record", "name": "P", "fields": [{ "name": "kind", "type": "string" }] }));
    let number = registry.add(json!("long"));
    let row = DataType::Struct(
        vec![Field::new("zip", DataType::Int64, true), Field::new("street", DataType::Utf8View, true)].into(),
    );
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("kind", DataType::Utf8View, true),
        Field::new("address", row, true),
        Field::new("born", DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, Some("UTC".into())), true),
    ]));
    let formats = formats(&registry, &schema, &[]);
    let messages = vec![
        message(old, &[text("x"), long(1), long(1), long(0), text("y"), long(7), long(11)]),
        message(new, &[long(12), long(1), text("z"), long(8), long(1), long(1_500_000)]),
        message(lacking, &[text("GOOD")]),
        message(99, &[long(1)]),
        message(number, &[long(1)]),
        vec![1, 0, 0, 0, 1, 1],
        vec![0, 0],
        message(old, &[text("x"), long(1), long(1), long(0)]),
        message(new, &[long(13), long(0), long(0), long(0)]),
        message(new, &[long(14), long(5)]),
        message(old, &[text("x"), long(2), long(0), long(1), long(15)]),
    ];
    let got = decode(&registry, &formats, &schema, &messages).unwrap();
    let told: Vec<_> = got.rejected.iter().map(|letter| format!("{}: {}", letter.line, letter.reason)).collect();
    println!("{told:#?}");
    assert_eq!(got.rejected.iter().map(|letter| letter.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(told[0], "2: there is no field `id`, and the column is NOT NULL");
    assert_eq!(told[1], "3: the registry has no schema 99: 404 Not Found: Schema not found");
    assert_eq!(got.rejected[0].bytes, messages[2]);
    let rows = got.records.as_slice()[0].batch();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[11, 12, 15]);
    assert_eq!(rows.column(1).as_string_view().iter().collect::<Vec<_>>(), [Some("BAD"), None, Some("GOOD")]);
    let address = rows.column(2).as_struct();
    assert_eq!(address.column(0).as_primitive::<Int64Type>().values()[..2], [7, 8]);
    assert_eq!(address.logical_nulls().map(|nulls| nulls.iter().collect::<Vec<_>>()), Some(vec![true, true, false]));
    assert_eq!(address.column(1).null_count(), 3);
}

#[test]
fn a_record_is_not_followed_by_the_head_of_another() {
    let registry = Registry::start();
    let (schema, _) = people();
    let id = registry.add(json!({ "type": "record", "name": "Person", "fields": [
        { "name": "id", "type": "long" }, { "name": "name", "type": ["null", "string"] } ] }));
    let formats = formats(&registry, &schema, &[]);
    let head = message(id, &[]);
    let messages = [
        message(id, &[long(1), long(0)]),
        message(id, &[long(2), long(0), head.clone()]),
        message(id, &[long(3), long(0)]),
        // The same bytes, of a name.
        message(id, &[long(4), long(1), text(std::str::from_utf8(&head).unwrap())]),
        head,
        message(id, &[long(5), long(0)]),
    ];
    let got = decode(&registry, &formats, &schema, &messages).unwrap();
    let told: Vec<_> = got.rejected.iter().map(|letter| (letter.line, letter.reason.as_str())).collect();
    assert_eq!(told, [(1, "something follows the record: a message is one"), (4, "the record is cut off")]);
    let rows = got.records.as_slice()[0].batch();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[1, 3, 4, 5]);
    assert_eq!(rows.column(1).as_string_view().value(2), "\0\0\0\0\u{1}");
}

#[test]
fn a_registry_that_fails_is_asked_again() {
    let registry = Registry::start();
    let (schema, want) = people();
    let formats = formats(&registry, &schema, &[("avro-confluent.subject", "mine")]);
    registry.fail(&[Fault::Busy, Fault::Closed, Fault::Nonsense]);
    let messages = encode(&registry, &formats, &want).unwrap();
    assert_eq!((registry.asked(), registry.shared.schemas.lock().unwrap()[0].0.as_str()), (4, "mine"));
    registry.fail(&[Fault::Closed, Fault::Busy]);
    let got = decode(&registry, &formats, &schema, &messages).unwrap();
    assert_eq!(got.records.as_slice()[0].batch(), &want);
    assert_eq!(registry.asked(), 3);
}

#[test]
fn a_registry_that_does_not_answer_ends_the_job() {
    let registry = Registry::start();
    let (schema, want) = people();
    let formats = formats(&registry, &schema, &[("avro-confluent.timeout", "300 ms")]);
    registry.fail(&[Fault::Silent; 100]);
    let error = encode(&registry, &formats, &want).unwrap_err().to_string();
    assert!(
        error
            .starts_with(&format!("{}/: the schema of subject 'orders-value': no answer within 300ms: ", registry.url)),
        "{error}"
    );
    assert!(
        error.ends_with(
            "check 'avro-confluent.url' and that the registry runs, or give it longer by 'avro-confluent.timeout'"
        ),
        "{error}"
    );
    let error = decode(&registry, &formats, &schema, &[message(1, &[long(1)])]).unwrap_err().to_string();
    assert!(error.contains("schema 1: no answer within 300ms"), "{error}");
    registry.fail(&[Fault::Busy; 100]);
    let error = decode(&registry, &formats, &schema, &[message(1, &[long(1)])]).unwrap_err().to_string();
    assert!(error.contains("503 Service Unavailable: busy"), "{error}");
}

#[test]
fn refusals_are_told_at_once() {
    let registry = Registry::start();
    let (schema, want) = people();
    let refused = formats(&registry, &schema, &[("avro-confluent.subject", "refused")]);
    let error = encode(&registry, &refused, &want).unwrap_err().to_string();
    assert!(
        error.contains(
            "409 Conflict: incompatible; give the table columns that fit, or another 'avro-confluent.subject'"
        ),
        "{error}"
    );
    // user:pass
    *registry.shared.auth.lock().unwrap() = Some("Basic dXNlcjpwYXNz".into());
    let error = encode(&registry, &formats(&registry, &schema, &[]), &want).unwrap_err().to_string();
    assert!(error.contains("401 Unauthorized: Unauthorized; check 'avro-confluent.basic-auth.user-info'"), "{error}");
    assert_eq!(registry.asked(), 2);
    let known = formats(&registry, &schema, &[("avro-confluent.basic-auth.user-info", "user:pass")]);
    assert_eq!(encode(&registry, &known, &want).unwrap().len(), 2);
    let url = registry.url.replace("http://", "http://user:pass@");
    let known = Formats::of(&table(
        schema.clone(),
        &[
            ("format", "avro-confluent"),
            ("avro-confluent.url", &format!("{url}, {url}")),
            ("avro-confluent.subject", "s"),
        ],
    ));
    assert_eq!(encode(&registry, &known.unwrap(), &want).unwrap().len(), 2);
    *registry.shared.auth.lock().unwrap() = Some("Bearer abc".into());
    let known = formats(&registry, &schema, &[("avro-confluent.bearer-auth.token", "abc")]);
    assert_eq!(encode(&registry, &known, &want).unwrap().len(), 2);
}

#[test]
fn options_are_checked() {
    let (schema, _) = people();
    let error = |options: &[(&str, &str)]| {
        let formats = Formats::of(&table(schema.clone(), &[&[("format", "avro-confluent")], options].concat()));
        formats.and_then(|formats| formats.encoder()).unwrap_err().to_string()
    };
    assert!(error(&[]).contains("option 'avro-confluent.url' is missing"));
    assert!(error(&[("avro-confluent.url", "localhost")]).contains("give it as http://host:8081"));
    let url = ("avro-confluent.url", "http://localhost:1");
    assert!(error(&[url]).contains("option 'avro-confluent.subject' is missing"));
    assert!(error(&[url, ("avro-confluent.timeout", "soon")]).contains("not a span of time"));
    if !cfg!(any(feature = "aws", feature = "azure", feature = "gcp", feature = "http")) {
        assert!(error(&[("avro-confluent.url", "https://localhost")]).contains("this build has no TLS"));
    }
}
