//! Tables by Flink's options.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, Schema};
use updraft_dataflow::connector::{AnySource, Changelog, Column, Connector, Registry, Scan, Table};
use updraft_dataflow::{Bundle, Error, Partition, RowKind, Rows, Sink, Source};
use updraft_kafka::{Kafka, UpsertKafka, register};

use crate::broker::Broker;
use crate::client::{put, put_pairs, run, seen};

/// A table `orders` of a number and a name.
fn table(broker: &Broker, options: &[(&str, &str)]) -> Table {
    let fields = [("id", DataType::Int64), ("name", DataType::Utf8View)];
    let schema = Arc::new(Schema::new(fields.map(|(name, kind)| Field::new(name, kind, true)).to_vec()));
    let servers = broker.servers();
    let usual = [("topic", "t"), ("properties.bootstrap.servers", &*servers)];
    let options = usual.iter().chain(options).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Table { name: "orders".into(), schema, primary_key: vec![0], partition_keys: Vec::new(), options, bounded: true }
}

fn made(connector: &impl Connector, table: &Table, metadata: &[&str]) -> Result<AnySource, Error> {
    table.options.check(connector.name(), &connector.options())?;
    let known = connector.metadata();
    let mut fields: Vec<_> = table.schema.fields().iter().cloned().collect();
    let mut columns: Vec<_> = (0..fields.len()).map(Column::Physical).collect();
    for key in metadata {
        let (_, kind) = known.iter().find(|(known, _)| known == key).unwrap();
        fields.push(Arc::new(Field::new(*key, kind.clone(), true)));
        columns.push(Column::Metadata((*key).to_owned()));
    }
    connector.source(table, &Scan { schema: Arc::new(Schema::new(fields)), columns, batch: 1_000 })
}

/// Each row of a table as text, and what was rejected.
fn read(table: &Table, metadata: &[&str]) -> Result<(Vec<String>, Vec<String>), Error> {
    let partitions = made(&Kafka, table, metadata)?.open()?;
    run(move || async move {
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        for mut partition in partitions {
            while let Some(batch) = partition.next(10).await? {
                rejected.extend(batch.rejected.iter().map(ToString::to_string));
                batch.records.as_slice().iter().for_each(|found| rows.extend(lines(found.batch())));
            }
        }
        Ok((rows, rejected))
    })
}

/// What has happened to each row, and the row as text.
fn changes_of(connector: &impl Connector, table: &Table) -> Result<Vec<String>, Error> {
    let partitions = made(connector, table, &[])?.open()?;
    run(move || async move {
        let mut changes = Vec::new();
        for mut partition in partitions {
            while let Some(batch) = partition.next(10).await? {
                for found in batch.records.as_slice() {
                    let kinds = (0..found.len()).map(|row| found.kind(row));
                    changes.extend(kinds.zip(lines(found.batch())).map(|(kind, line)| format!("{kind:?} {line}")));
                }
            }
        }
        Ok(changes)
    })
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default();
    let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

fn error(broker: &Broker, options: &[(&str, &str)]) -> String {
    read(&table(broker, options), &[]).unwrap_err().to_string()
}

fn rows(kinds: &[(RowKind, i64, &str)]) -> Bundle<Rows> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(kinds.iter().map(|(_, id, _)| *id)));
    let names: ArrayRef = Arc::new(kinds.iter().map(|(_, _, name)| Some(*name)).collect::<StringViewArray>());
    let batch = RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap();
    vec![Rows::changes(batch, kinds.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>())].into()
}

fn write(connector: &impl Connector, table: &Table, rows: Bundle<Rows>) -> Result<(), Error> {
    table.options.check(connector.name(), &connector.options())?;
    let mut sink = connector.sink(table)?;
    run(move || async move {
        sink.write(rows).await?;
        sink.close().await
    })
}

const EARLIEST: (&str, &str) = ("scan.startup.mode", "earliest-offset");
const JSON: (&str, &str) = ("format", "json");

#[test]
fn messages_are_rows_with_what_is_known_of_them() {
    let broker = Broker::start();
    broker.topic("t", 2);
    put(&broker.servers(), "t", 0, ["{\"id\":1,\"name\":\"a\"}", "{\"id\":\"x\"}", "{\"id\":2}"]);
    put(&broker.servers(), "t", 1, ["{\"name\":\"b\",\"id\":3}"]);
    let table = table(&broker, &[EARLIEST, JSON]);
    let (rows, rejected) = read(&table, &["topic", "partition", "offset", "timestamp-type", "headers"]).unwrap();
    assert_eq!(rows, ["1|a|t|0|0|CreateTime|{}", "2||t|0|2|CreateTime|{}", "3|b|t|1|0|CreateTime|{}"]);
    assert_eq!(rejected, ["t/0:1: field `id`: \"x\" is not a BIGINT"]);
    let (rows, _) = read(&table, &["timestamp"]).unwrap();
    // This century's.
    assert!(rows.iter().all(|row| row.contains("|20")), "{rows:?}");
}

#[test]
fn keys_are_columns() {
    let broker = Broker::start();
    broker.topic("t", 1);
    put_pairs(&broker.servers(), "t", 0, [(Some("7"), Some("{\"name\":\"a\"}"))]);
    let keyed =
        [("key.format", "raw"), ("key.fields", "id"), ("value.format", "json"), ("value.fields-include", "EXCEPT_KEY")];
    let mut table = table(&broker, &[&keyed[..], &[EARLIEST]].concat());
    let text = Field::new("id", DataType::Utf8View, true);
    table.schema = Arc::new(Schema::new(vec![text, table.schema.field(1).clone()]));
    assert_eq!(read(&table, &[]).unwrap().0, ["7|a"]);
}

#[test]
fn rows_are_messages() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let table = table(&broker, &[JSON]);
    assert_eq!(Kafka.accepts(&table), Changelog::Insertions);
    write(&Kafka, &table, rows(&[(RowKind::Insert, 1, "a"), (RowKind::Insert, 2, "b")])).unwrap();
    let messages =
        ["{\"id\":1,\"name\":\"a\"}", "{\"id\":2,\"name\":\"b\"}"].map(|value| (None, Some(value.to_owned())));
    assert_eq!(seen(&broker.servers(), "t", 0, "read_committed"), messages);
}

#[test]
fn changes_by_key_are_messages() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let table = table(&broker, &[("key.format", "json"), ("value.format", "json")]);
    assert_eq!(UpsertKafka.accepts(&table), Changelog::Upserts);
    let changes = [
        (RowKind::Insert, 1, "a"),
        (RowKind::UpdateBefore, 1, "a"),
        (RowKind::UpdateAfter, 1, "b"),
        (RowKind::Delete, 1, "b"),
    ];
    write(&UpsertKafka, &table, rows(&changes)).unwrap();
    let key = || Some("{\"id\":1}".to_owned());
    let value = |name| Some(format!("{{\"id\":1,\"name\":\"{name}\"}}"));
    let expected = [(key(), value("a")), (key(), value("b")), (key(), None)];
    assert_eq!(seen(&broker.servers(), "t", 0, "read_committed"), expected);
    // And read again, the last word on the key is that it is gone.
    assert_eq!(UpsertKafka.tells(&table), Changelog::Upserts);
    let read = changes_of(&UpsertKafka, &table).unwrap();
    assert_eq!(read, ["UpdateAfter 1|a", "UpdateAfter 1|b", "Delete 1|"]);
}

#[test]
fn changes_that_a_database_has_told_are_changes() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let row = |id: i64, name: &str| format!("{{\"id\":{id},\"name\":\"{name}\"}}");
    let change =
        |op: &str, before: &str, after: &str| format!("{{\"op\":\"{op}\",\"before\":{before},\"after\":{after}}}");
    let told =
        [change("c", "null", &row(1, "a")), change("u", &row(1, "a"), &row(1, "b")), change("d", &row(1, "b"), "null")];
    put(&broker.servers(), "t", 0, told.each_ref().map(|text| &**text));
    let table = table(&broker, &[EARLIEST, ("format", "debezium-json")]);
    assert_eq!(Kafka.tells(&table), Changelog::Changes);
    let read = changes_of(&Kafka, &table).unwrap();
    assert_eq!(read, ["Insert 1|a", "UpdateBefore 1|a", "UpdateAfter 1|b", "Delete 1|b"]);
}

#[test]
fn options_are_those_of_flink() {
    let broker = Broker::start();
    broker.topic("t", 2);
    put(&broker.servers(), "t", 0, ["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    put(&broker.servers(), "t", 1, ["{\"id\":4}"]);
    let ids = |options: &[(&str, &str)]| {
        let (rows, _) = read(&table(&broker, &[options, &[JSON]].concat()), &[]).unwrap();
        rows.into_iter().map(|row| row.replace('|', "")).collect::<Vec<_>>().concat()
    };
    let specific = ("scan.startup.mode", "specific-offsets");
    assert_eq!(ids(&[specific, ("scan.startup.specific-offsets", "partition:0,offset:2;partition:1,offset:0")]), "34");
    assert_eq!(ids(&[("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "0")]), "1234");
    assert_eq!(ids(&[("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "99999999999999")]), "");
    let until = ("scan.bounded.mode", "specific-offsets");
    assert_eq!(
        ids(&[EARLIEST, until, ("scan.bounded.specific-offsets", "partition:0,offset:1;partition:1,offset:0")]),
        "1"
    );
    assert_eq!(ids(&[("properties.group.id", "g"), ("properties.auto.offset.reset", "earliest")]), "1234");
    // From where the group stands now.
    while broker.committed("g", "t", 1).is_none() {
        std::thread::yield_now();
    }
    put(&broker.servers(), "t", 1, ["{\"id\":5}"]);
    assert_eq!(ids(&[("properties.group.id", "g")]), "5");
}

#[test]
fn what_is_wrong_with_options_is_told() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let told = |options: &[(&str, &str)], expected: &str| {
        let error = error(&broker, options);
        assert!(error.contains(expected), "{error}");
    };
    told(
        &[JSON],
        "'group-offsets' needs 'properties.group.id': name it, or set 'scan.startup.mode' = 'earliest-offset'",
    );
    told(&[JSON, ("scan.startup.mode", "earliest")], "there are earliest-offset, latest-offset, group-offsets");
    told(&[JSON, ("scan.startup.mod", "x")], "did you mean 'scan.startup.mode'?");
    told(&[JSON, ("scan.startup.mode", "timestamp")], "option 'scan.startup.timestamp-millis' is missing");
    told(&[JSON, EARLIEST, ("topic-pattern", "x")], "'topic' and 'topic-pattern' say the same");
    told(&[JSON, EARLIEST, ("scan.parallelism", "0")], "option 'scan.parallelism' = '0': not a number from 1 on");
    told(&[JSON, EARLIEST, ("properties.enable.auto.commit", "true")], "'properties.enable.auto.commit' cannot be set");
    told(&[JSON, EARLIEST, ("scan.bounded.mode", "unbounded")], "table `orders` has no end, but the job is to end");
    told(&[EARLIEST], "option 'format' is missing");
    let sink = |options: &[(&str, &str)]| Kafka.sink(&table(&broker, options)).unwrap_err().to_string();
    let error = sink(&[JSON, ("sink.delivery-guarantee", "exactly-once")]);
    assert!(error.contains("option 'sink.transactional-id-prefix' is missing"), "{error}");
    let error = sink(&[JSON, ("sink.partitioner", "org.example.Mine")]);
    assert!(error.contains("there are default, fixed and round-robin"), "{error}");
}

#[test]
fn both_are_found_by_their_names() {
    let registry = register(Registry::default());
    for name in ["kafka", "upsert-kafka"] {
        assert_eq!(registry.get(name).unwrap().name(), name);
    }
}

/// What the chapter shows is what there is: its tables can be made, and its options are known.
#[test]
fn the_chapter_is_true() {
    let chapter = include_str!("../../../docs/kafka.md");
    let known = [Kafka.options(), UpsertKafka.options()].concat();
    let is_known = |name: &str| {
        let fits = |known: &str| name == known || known.strip_suffix('*').is_some_and(|start| name.starts_with(start));
        known.iter().any(|spec| fits(spec.name))
    };
    let rows: Vec<_> = chapter.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let named = rows.iter().flat_map(|row| row.split(" | ").next().unwrap().split(", or "));
    let options: Vec<_> = named.map(|name| name.trim_matches('`')).filter(|name| name.contains(['.', '-'])).collect();
    assert!(options.len() > 10, "{options:?}");
    for name in options.into_iter().filter(|name| !["at-least-once", "exactly-once"].contains(name)) {
        assert!(is_known(name), "{name}");
    }
    for (key, _) in Kafka.metadata().iter().take(6) {
        assert!(chapter.contains(&format!("`{key}`")), "{key} is not told of");
    }
    let broker = Broker::start();
    let statements = chapter.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    for statement in statements.split("CREATE TABLE ").skip(1) {
        let with = statement.split(" WITH (").nth(1).unwrap().split(");").next().unwrap();
        let words: Vec<_> = with.split('\'').skip(1).step_by(2).collect();
        let pairs: Vec<_> = words.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let rest: Vec<_> = pairs.iter().copied().filter(|(name, _)| *name != "connector").collect();
        let table = table(&broker, &rest);
        match pairs.iter().find(|(name, _)| *name == "connector").unwrap().1 {
            "kafka" => drop(made(&Kafka, &table, &["timestamp"]).unwrap()),
            _ => {
                table.options.check("'upsert-kafka'", &UpsertKafka.options()).unwrap();
                drop(UpsertKafka.sink(&table).unwrap());
            }
        }
    }
}
