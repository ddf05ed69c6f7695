//! Formats of messages: what is written is read again; what cannot be read is told once, and the others kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;
use updraft_connectors::message::{Encoded, Formats, Message};
use updraft_dataflow::connector::{Changelog, Column, Scan, Table};
use updraft_dataflow::{DeadLetter, RowKind, Rows};

mod support;
mod tables;

#[path = "support/batches.rs"]
mod batches;

use batches::{Random, batch, intervals, nested, numbers, row, scalars, schema};
use tables::table;

/// Some columns, and the offset if it is wanted.
fn scan(schema: &SchemaRef, wanted: &[usize], offset: bool) -> Scan {
    let mut fields: Vec<_> = wanted.iter().map(|column| schema.fields()[*column].clone()).collect();
    let mut columns: Vec<_> = wanted.iter().map(|column| Column::Physical(*column)).collect();
    if offset {
        fields.push(Arc::new(Field::new("offset", DataType::Int64, false)));
        columns.push(Column::Metadata("offset".into()));
    }
    Scan { schema: Arc::new(Schema::new(fields)), columns, batch: 100 }
}

fn all(schema: &SchemaRef) -> Scan {
    scan(schema, &(0..schema.fields().len()).collect::<Vec<_>>(), false)
}

fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

struct Decoded {
    rows: Option<Rows>,
    rejected: Vec<DeadLetter>,
}

fn decode(formats: &Formats, scan: &Scan, messages: &[Pair<'_>]) -> Decoded {
    let mut decoder = formats.decoder(scan).unwrap();
    let origin = Arc::from("topic/0");
    for (offset, (key, value)) in (0..).zip(messages) {
        now(decoder.push(&Message { origin: &origin, offset, key: *key, value: *value })).unwrap();
    }
    assert_eq!(decoder.messages(), messages.len());
    let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(0..messages.len() as i64));
    let waiting = decoder.len();
    let batch = decoder.take(|_| Ok(offsets.clone())).unwrap();
    assert!(decoder.is_empty() && decoder.bytes() == 0 && decoder.take(|_| Ok(offsets.clone())).unwrap().is_none());
    let Some(batch) = batch else { return Decoded { rows: None, rejected: Vec::new() } };
    let mut rows = batch.records.into_vec();
    assert_eq!(rows.iter().map(Rows::len).sum::<usize>() + batch.rejected.len(), waiting);
    assert!(rows.len() <= 1);
    Decoded { rows: rows.pop(), rejected: batch.rejected }
}

fn encode(formats: &Formats, rows: &Rows) -> Vec<Encoded> {
    now(formats.encoder().unwrap().encode(rows)).unwrap()
}

fn pairs(messages: &[Encoded]) -> Vec<Pair<'_>> {
    messages.iter().map(|message| (message.key.as_deref(), message.value.as_deref())).collect()
}

fn error(table: &Table) -> String {
    Formats::of(table).err().unwrap().to_string()
}

/// Each format with all that it can hold.
fn formats() -> Vec<(Vec<(&'static str, &'static str)>, SchemaRef)> {
    let everything = || schema(scalars().into_iter().chain(intervals()).chain(nested()));
    let flat = || {
        let of = [numbers(), row(vec![DataType::Int64, DataType::Boolean])];
        schema(scalars().into_iter().chain(intervals()).chain(of))
    };
    let mut formats = vec![
        (vec![("format", "json")], everything()),
        (vec![("value.format", "json"), ("value.json.timestamp-format.standard", "ISO-8601")], everything()),
        (vec![("format", "csv"), ("csv.null-literal", "\\N"), ("csv.header", "true")], flat()),
        (vec![("format", "csv"), ("csv.null-literal", "\\N"), ("csv.escape-character", "!")], flat()),
    ];
    formats.push((vec![("format", "avro")], schema(scalars().into_iter().chain(nested()))));
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/everything.proto");
    formats.push((
        vec![("format", "protobuf"), ("protobuf.schema", proto), ("protobuf.message", "test.Everything")],
        of_proto(),
    ));
    for data_type in scalars().into_iter().take(7).chain([DataType::Utf8View, DataType::BinaryView]) {
        for endianness in ["big-endian", "little-endian"] {
            let schema = schema([data_type.clone()]);
            formats.push((vec![("format", "raw"), ("raw.endianness", endianness)], schema));
        }
    }
    formats
}

/// What `everything.proto` says. What is repeated is not NULL, nor are its items: there it means the same as nothing.
fn of_proto() -> SchemaRef {
    let times = [TimeUnit::Millisecond, TimeUnit::Nanosecond].map(|unit| DataType::Timestamp(unit, Some("UTC".into())));
    let scalars = [
        DataType::Boolean,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Utf8View,
        DataType::BinaryView,
    ];
    let inner = row(vec![DataType::Int64, DataType::Utf8View]);
    let fields = scalars.clone().into_iter().chain(times).chain([inner.clone(), DataType::Int64]).enumerate();
    let fields = fields.map(|(at, data_type)| Field::new(format!("c{at}"), data_type, true));
    let items = scalars.into_iter().chain([inner]).enumerate();
    let items = items.map(|(at, item)| {
        Field::new(format!("r{at}"), DataType::List(Arc::new(Field::new("item", item, false))), false)
    });
    let plain = [Field::new("p0", DataType::Int32, false), Field::new("p1", DataType::Utf8View, false)];
    Arc::new(Schema::new(fields.chain(items).chain(plain).collect::<Vec<_>>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(seed in any::<u64>(), rows in 1usize..30) {
        for (options, schema) in formats() {
            let formats = Formats::of(&table(schema.clone(), &options)).unwrap();
            let mut random = Random::new(seed);
            let want = batch(&schema, rows, &mut random);
            let messages = encode(&formats, &want.clone().into());
            prop_assert_eq!(messages.iter().map(|message| message.row).collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
            if options[0].1 == "json" {
                for (row, message) in messages.iter().enumerate() {
                    let theirs: serde_json::Value = serde_json::from_slice(message.value.as_ref().unwrap()).unwrap();
                    prop_assert_eq!(theirs.as_object().unwrap().len(), schema.fields().len());
                    let nulls = (0..schema.fields().len()).filter(|at| theirs[format!("c{at}")].is_null()).collect::<Vec<_>>();
                    prop_assert_eq!(nulls, (0..schema.fields().len()).filter(|at| want.column(*at).is_null(row)).collect::<Vec<_>>());
                }
            }
            let some: Vec<usize> = (0..schema.fields().len()).rev().filter(|_| random.below(3) == 0).collect();
            for wanted in [(0..schema.fields().len()).collect(), some] {
                let got = decode(&formats, &scan(&schema, &wanted, false), &pairs(&messages));
                prop_assert_eq!(&got.rejected, &vec![], "{:?}", options);
                let got = got.rows.unwrap();
                prop_assert_eq!(got.batch(), &want.project(&wanted).unwrap(), "{:?} {:?}", options, messages);
                prop_assert_eq!(got.kinds(), None);
            }
        }
    }

    /// Each message is a row or a dead letter, once, with its offset; and those that are good stay what they are, whatever is
    /// between them.
    #[test]
    fn what_is_spoilt_is_told_once(seed in any::<u64>(), rows in 1usize..12) {
        for (options, schema) in formats() {
            let formats = Formats::of(&table(schema.clone(), &options)).unwrap();
            let mut random = Random::new(seed);
            let written = encode(&formats, &batch(&schema, rows, &mut random).into());
            let values: Vec<_> = written.iter().map(|message| {
                message.value.as_ref().map(|value| spoil(value, &mut random))
            }).collect();
            let scan = scan(&schema, &(0..schema.fields().len()).collect::<Vec<_>>(), true);
            let pairs: Vec<Pair<'_>> = values.iter().map(|value| (None, value.as_deref())).collect();
            let got = decode(&formats, &scan, &pairs);
            let column = scan.columns.len() - 1;
            let good = got.rows.as_ref().map(|rows| rows.batch().column(column).as_primitive::<Int64Type>().values().to_vec()).unwrap_or_default();
            let mut told: Vec<i64> = good.iter().copied().chain(got.rejected.iter().map(|letter| letter.line as i64)).collect();
            told.sort_unstable();
            prop_assert_eq!(told, (0..rows as i64).collect::<Vec<_>>(), "{:?}", options);
            for (row, offset) in good.iter().enumerate() {
                let alone = decode(&formats, &scan, &pairs[*offset as usize..*offset as usize + 1]);
                let (alone, together) = (alone.rows.unwrap(), got.rows.as_ref().unwrap().slice(row..row + 1));
                for column in 0..column {
                    prop_assert_eq!(alone.batch().column(column), together.batch().column(column), "{:?}", options);
                }
            }
        }
    }
}

/// The same bytes, or others: cut off, with some that have changed, or made up.
fn spoil(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match random.below(5) {
        0 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
        1 if !bytes.is_empty() => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
        }
        2 => bytes = (0..random.below(40)).map(|_| random.next() as u8).collect(),
        3 => bytes.extend((0..=random.below(3)).map(|_| random.next() as u8)),
        _ => {}
    }
    bytes
}

#[test]
fn changes_of_debezium_are_rows() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8View, true),
    ]));
    let told = Scan {
        schema: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("table", DataType::Utf8View, true),
            Field::new("offset", DataType::Int64, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        ])),
        columns: vec![
            Column::Physical(0),
            Column::Metadata("value.source.table".into()),
            Column::Metadata("offset".into()),
            Column::Metadata("value.source.timestamp".into()),
        ],
        batch: 100,
    };
    let plain = Formats::of(&table(schema.clone(), &[("format", "debezium-json")])).unwrap();
    assert_eq!(plain.changelog(), Changelog::Changes);
    let messages: Vec<&[u8]> = vec![
        br#"{"before":null,"after":{"id":1,"name":"a"},"op":"c","source":{"table":"t","ts_ms":5},"ts_ms":7}"#,
        br#"{"before":{"id":1,"name":"a"},"after":{"id":2,"name":"b"},"op":"u","source":null}"#,
        br#"{"before":{"id":1,"name":"a"},"after":{"id":"x","name":"b"},"op":"u"}"#,
        br#"{"before":null,"after":{"id":3},"op":"u"}"#,
        br#"{"after":{"id":4},"op":"r"}"#,
        br#"{"before":{"id":4},"after":null,"op":"d"}"#,
        br#"{"after":{"id":4},"op":"t"}"#,
        br#"{"after":{"id":4}}"#,
        br#"{"schema":{},"payload":{"after":{"id":5},"op":"c"}}"#,
    ];
    let mut pairs: Vec<Pair<'_>> = messages.iter().map(|message| (None, Some(*message))).collect();
    // What Debezium sends after a deletion.
    pairs.push((None, None));
    let got = decode(&plain, &told, &pairs);
    let reasons: Vec<_> = got.rejected.iter().map(|letter| format!("{}: {}", letter.line, letter.reason)).collect();
    assert_eq!(
        reasons,
        [
            "2: `after`: field `id`: \"x\" is not a INT",
            "3: `op` is \"u\", but there is no `before`; of PostgreSQL, tables need REPLICA IDENTITY FULL for it",
            "6: `op` is \"t\", and not \"c\", \"r\", \"u\" or \"d\"",
            "7: there is no `op`, which says what has changed",
            "8: there is no `op` but a `payload`: set 'debezium-json.schema-include' = 'true'",
        ]
    );
    let rows = got.rows.unwrap();
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    assert_eq!(rows.kinds().unwrap(), [Insert, UpdateBefore, UpdateAfter, Insert, Delete]);
    assert_eq!(rows.batch().column(0).as_primitive::<Int32Type>().values(), &[1, 1, 2, 4, 4]);
    assert_eq!(rows.batch().column(1).as_string_view().iter().collect::<Vec<_>>(), [Some("t"), None, None, None, None]);
    assert_eq!(rows.batch().column(2).as_primitive::<Int64Type>().values(), &[0, 1, 1, 4, 5]);
    assert_eq!(rows.batch().column(3).as_primitive::<TimestampMillisecondType>().value(0), 5);

    let options = [("format", "debezium-json"), ("debezium-json.schema-include", "true")];
    let wrapped = Formats::of(&table(schema.clone(), &options)).unwrap();
    assert_eq!(decode(&wrapped, &all(&schema), &pairs[8..9]).rows.unwrap().len(), 1);
    assert!(wrapped.encoder().unwrap_err().to_string().contains("messages are read alone"));
    let ignoring = Formats::of(&table(
        schema.clone(),
        &[("format", "debezium-json"), ("debezium-json.ignore-parse-errors", "true")],
    ));
    let got = decode(&ignoring.unwrap(), &all(&schema), &pairs);
    assert_eq!((got.rejected.len(), got.rows.unwrap().len()), (0, 5));

    let changes = Rows::changes(some_changes(&schema), [Insert, UpdateBefore, UpdateAfter, Delete]);
    let written = encode(&plain, &changes);
    let text: Vec<_> = written.iter().map(|message| String::from_utf8_lossy(message.value.as_ref().unwrap())).collect();
    assert_eq!(text[1], r#"{"before":{"id":1,"name":null},"after":null,"op":"d"}"#);
    assert_eq!(text[2], r#"{"before":null,"after":{"id":2,"name":null},"op":"c"}"#);
    let read = decode(&plain, &all(&schema), &self::pairs(&written)).rows.unwrap();
    assert_eq!((read.batch(), read.kinds().unwrap()), (changes.batch(), &[Insert, Delete, Insert, Delete][..]));
}

fn some_changes(schema: &SchemaRef) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(arrow_array::Int32Array::from(vec![1, 1, 2, 2])),
        arrow_array::new_null_array(&DataType::Utf8View, 4),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

fn ids() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k_id", DataType::Int32, false),
        Field::new("name", DataType::Utf8View, true),
        Field::new("k_zone", DataType::Utf8View, true),
    ]))
}

fn keyed(more: &[(&'static str, &'static str)]) -> Formats {
    let keys = [("key.format", "json"), ("key.fields", "k_zone; k_id"), ("value.format", "json")];
    Formats::of(&table(ids(), &[&keys[..], more].concat())).unwrap()
}

fn some_ids() -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(arrow_array::Int32Array::from(vec![1, 2])),
        Arc::new(arrow_array::StringViewArray::from(vec![Some("a"), None])),
        Arc::new(arrow_array::StringViewArray::from(vec![Some("x"), None])),
    ];
    RecordBatch::try_new(ids(), columns).unwrap()
}

#[test]
fn keys_hold_some_columns() {
    let text = |bytes: &Option<bytes::Bytes>| String::from_utf8(bytes.as_ref().unwrap().to_vec()).unwrap();
    let both = keyed(&[]);
    let messages = encode(&both, &some_ids().into());
    assert_eq!(text(&messages[0].key), r#"{"k_zone":"x","k_id":1}"#);
    assert_eq!(text(&messages[0].value), r#"{"k_id":1,"name":"a","k_zone":"x"}"#);
    assert_eq!(decode(&both, &all(&ids()), &pairs(&messages)).rows.unwrap().batch(), &some_ids());
    let apart = keyed(&[("value.fields-include", "EXCEPT_KEY"), ("key.fields-prefix", "k_")]);
    let messages = encode(&apart, &some_ids().into());
    assert_eq!(text(&messages[0].key), r#"{"zone":"x","id":1}"#);
    assert_eq!(text(&messages[1].value), r#"{"name":null}"#);
    assert_eq!(decode(&apart, &all(&ids()), &pairs(&messages)).rows.unwrap().batch(), &some_ids());
    let some = decode(&apart, &scan(&ids(), &[2, 1], true), &pairs(&messages)).rows.unwrap();
    assert_eq!(some.batch().project(&[0, 1]).unwrap(), some_ids().project(&[2, 1]).unwrap());
    // A key that is not there, or none; a value that is not there is no row.
    let spoilt: [Pair<'_>; 4] = [
        (None, Some(b"{}")),
        (Some(b"{\"id\":\"x\"}"), Some(b"{}")),
        (Some(b"{\"id\":7}"), None),
        (Some(b"{\"id\":8}"), Some(b"{\"name\":\"b\"}")),
    ];
    let got = decode(&apart, &all(&ids()), &spoilt);
    let reasons: Vec<_> = got.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(
        reasons,
        [
            "topic/0:0: key: there is none, and column `id` is NOT NULL",
            "topic/0:1: key: field `id`: \"x\" is not a INT"
        ]
    );
    assert_eq!(got.rows.unwrap().batch().column(0).as_primitive::<Int32Type>().values(), &[8]);
}

#[test]
fn a_message_without_a_value_says_that_its_key_is_gone() {
    let schema =
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false), Field::new("n", DataType::Int64, false)]));
    let mut table = table(schema.clone(), &[("key.format", "json"), ("value.format", "json")]);
    assert!(Formats::upserting(&table).unwrap_err().to_string().contains("declare its PRIMARY KEY"));
    table.primary_key = vec![0];
    let formats = Formats::upserting(&table).unwrap();
    assert_eq!(formats.changelog(), Changelog::Upserts);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(arrow_array::Int32Array::from(vec![1, 1, 1, 1])), Arc::new(Int64Array::from(vec![1, 1, 2, 2]))];
    let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    let rows = Rows::changes(RecordBatch::try_new(schema.clone(), columns).unwrap(), kinds);
    let messages = encode(&formats, &rows);
    assert_eq!(
        messages.iter().map(|message| (message.row, message.value.is_some())).collect::<Vec<_>>(),
        [(0, true), (2, true), (3, false)]
    );
    let got = decode(&formats, &all(&schema), &pairs(&messages)).rows.unwrap();
    assert_eq!(got.kinds().unwrap(), [RowKind::UpdateAfter, RowKind::UpdateAfter, RowKind::Delete]);
    assert_eq!(got.batch().column(0).as_primitive::<Int32Type>().values(), &[1, 1, 1]);
    // What is NOT NULL and not known is a stand-in.
    assert_eq!(got.batch().column(1).as_primitive::<Int64Type>().values(), &[1, 2, 0]);
    let lost = decode(&formats, &all(&schema), &[(None, None)]);
    assert_eq!(lost.rejected[0].reason, "key: there is none, and the table is changed by it");
}

#[test]
fn a_message_is_one_record() {
    let names = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8View, true),
        Field::new("b", DataType::Utf8View, true),
    ]));
    let read = |options: &[(&str, &str)], value: &[u8]| {
        let got = decode(&Formats::of(&table(names.clone(), options)).unwrap(), &all(&names), &[(None, Some(value))]);
        match got.rejected.first() {
            Some(letter) => letter.reason.clone(),
            None => got.rows.map_or_else(String::new, |rows| {
                let text = |column: usize| rows.batch().column(column).as_string_view().value(0).to_owned();
                format!("{}|{}", text(0), text(1))
            }),
        }
    };
    let csv = |value: &[u8]| read(&[("format", "csv")], value);
    assert_eq!(csv(b"a,b"), "a|b");
    assert_eq!(csv(b"a,b\r\n"), "a|b");
    assert_eq!(csv(b"a,\"b\n\"\"\"\n"), "a|b\n\"");
    assert_eq!(csv(b"a,b\nc,d"), "more than one record: a message is one");
    assert_eq!(csv(b"a,\"b"), "quote never closed: close it, or double a quote that is data");
    assert_eq!(csv(b""), "the message is empty");
    assert_eq!(read(&[("format", "csv"), ("csv.allow-comments", "true")], b"#,"), "");
    let json = |value: &[u8]| read(&[("format", "json")], value);
    assert_eq!(json(b"\xEF\xBB\xBF{\n\"a\": \"x\",\r\n\"b\": \"y\"\n}\n"), "x|y");
    assert_eq!(json(b"{} {}"), "column 4: expected nothing after the object, found '{'");
    assert_eq!(json(b" "), "the message is empty");
    assert_eq!(read(&[("format", "json"), ("json.ignore-parse-errors", "true")], b" "), "");
}

#[test]
fn raw_is_what_flink_says() {
    let read = |data_type: DataType, options: &[(&str, &str)], value: Option<&[u8]>| {
        let schema = Arc::new(Schema::new(vec![Field::new("v", data_type, true)]));
        let formats = Formats::of(&table(schema.clone(), &[&[("format", "raw")], options].concat())).unwrap();
        decode(&formats, &all(&schema), &[(None, value)])
    };
    let got = read(DataType::Int32, &[], Some(&[0, 0, 1, 2])).rows.unwrap();
    assert_eq!(got.batch().column(0).as_primitive::<Int32Type>().value(0), 258);
    let got = read(DataType::Int32, &[("raw.endianness", "little-endian")], Some(&[2, 1, 0, 0])).rows.unwrap();
    assert_eq!(got.batch().column(0).as_primitive::<Int32Type>().value(0), 258);
    assert_eq!(read(DataType::Int32, &[], Some(b"abc")).rejected[0].reason, "3 bytes are not a INT, which has 4");
    assert!(read(DataType::Utf8View, &[], None).rows.unwrap().batch().column(0).is_null(0));
    assert_eq!(read(DataType::Utf8View, &[], Some(b"\xFF")).rejected[0].reason, "byte 1: not UTF-8");
}

#[test]
fn options_are_checked() {
    let with = |options: &[(&str, &str)]| error(&table(ids(), options));
    assert_eq!(with(&[]), "table `t`: option 'format' is missing: add 'format' = '…' to the table's WITH");
    assert_eq!(
        with(&[("format", "json"), ("value.format", "json")]),
        "table `t`: 'format' and 'value.format' are the same: leave one out"
    );
    assert_eq!(
        with(&[("format", "json"), ("key.format", "json")]),
        "table `t`: 'key.format' needs 'key.fields': name the columns that keys hold, as 'a;b'"
    );
    assert_eq!(
        with(&[("format", "json"), ("key.format", "json"), ("key.fields", "id")]),
        "table `t`: 'key.fields' names `id`, which is no column; there are k_id, name, k_zone"
    );
    let keys = [("format", "json"), ("key.format", "json"), ("key.fields", "k_id;name")];
    let prefix =
        |include| with(&[&keys[..], &[("key.fields-prefix", "k_"), ("value.fields-include", include)]].concat());
    assert!(prefix("ALL").contains("needs 'value.fields-include' = 'EXCEPT_KEY'"));
    assert_eq!(prefix("EXCEPT_KEY"), "table `t`: 'key.fields-prefix' = 'k_': column `name` does not begin so");
    assert_eq!(
        with(&[&keys[..], &[("key.json.ignore-errors", "true")]].concat()),
        "table `t`: 'key.format' = 'json' has no option 'json.ignore-errors': did you mean 'json.ignore-parse-errors'?"
    );
    assert_eq!(
        with(&[&keys[..], &[("key.csv.null-literal", "-")]].concat()),
        "table `t`: option 'key.csv.null-literal' is not of 'key.format' = 'json': leave it out"
    );
    assert_eq!(with(&[("format", "raw")]), "table `t`: 'raw' is a format of one column, and the table has 3");
}
