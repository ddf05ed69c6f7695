//! Change data capture against a model: the changes that a source gives, over many processes that go on from random places, make up the table.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

#[path = "../../connectors/tests/support/batches.rs"]
mod batches;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use batches::Random;
use support::{lines, run, scan, schema, table};
use updraft_dataflow::connector::{Changelog, Connector, Table};
use updraft_dataflow::{Partition, Place, RowKind, Rows, Source};
use updraft_kernel::clock;
use updraft_postgres::table::Cdc;
use updraft_postgres::testing::Cluster;
use updraft_postgres::{ChangePartition, ChangeSource, Startup, TableName};

fn name() -> TableName {
    TableName::parse("public.t").unwrap()
}

/// A table as changes make it: how often each row is there.
#[derive(Clone, Default, PartialEq, Debug)]
struct Model(BTreeMap<String, i64>);

impl Model {
    fn add(&mut self, rows: &Rows) {
        let mut before = None;
        for (row, line) in lines(rows.batch()).into_iter().enumerate() {
            let kind = rows.kind(row);
            // An update follows what it replaces.
            assert_eq!(kind == RowKind::UpdateAfter, before == Some(RowKind::UpdateBefore), "{line}");
            before = Some(kind);
            let count = self.0.entry(line).or_default();
            *count += kind.weight();
        }
        self.0.retain(|_, count| *count != 0);
    }

    fn lines(&self) -> Vec<String> {
        assert!(self.0.values().all(|count| *count > 0), "{:?}", self.0);
        let all = self.0.iter().flat_map(|(line, count)| std::iter::repeat_n(line.clone(), *count as usize));
        all.collect()
    }
}

fn seen(cluster: &Cluster, columns: &str) -> Vec<String> {
    let mut lines: Vec<_> = cluster.sql(&format!("SELECT {columns} FROM t")).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn open(source: &ChangeSource, place: Option<&Place>) -> ChangePartition {
    // As text, as it is kept.
    let place = place.map(|place| serde_json::from_str(&place.to_string()).unwrap());
    source.clone().resume(vec![place]).unwrap().remove(0)
}

/// Reads until the changes make up what is in the table.
async fn catch_up(partition: &mut ChangePartition, model: &mut Model, expected: &[String]) {
    let begun = clock::now();
    while model.0.values().any(|count| *count < 0) || model.lines() != expected {
        let batch = partition.next(50).await.unwrap().expect("a table that is followed has no end");
        batch.records.into_vec().iter().for_each(|rows| model.add(rows));
        let late = clock::now().since(begun).as_secs() > 60;
        assert!(!late, "it gives {:?}, and the table has {expected:?}", model.0);
    }
}

/// Something that is done to a table `t (id, name, big, note)`.
fn statement(random: &mut Random, next: &mut u64) -> String {
    let some = |random: &mut Random| format!("id % {} = {}", 2 + random.below(6), random.below(5));
    match random.below(9) {
        0..=3 => {
            let (first, count) = (*next, 1 + random.below(8));
            *next += count;
            format!(
                "INSERT INTO t SELECT n, 'k' || n % 5, CASE n % 3 WHEN 0 THEN repeat(md5(n::text), 200) END, 'x' FROM generate_series({first}, {}) n",
                first + count - 1
            )
        }
        // Large values stay as they are.
        4 => format!("UPDATE t SET note = 'n{}' WHERE {}", random.below(100), some(random)),
        5 => format!("UPDATE t SET name = NULL, note = E'a\\tb\\\\' WHERE {}", some(random)),
        6 => format!("UPDATE t SET id = id + 100000 + {0} WHERE {1} AND id < 100000", 0, some(random)),
        7 => format!("DELETE FROM t WHERE {}", some(random)),
        _ => format!("INSERT INTO other VALUES ({})", random.below(9)),
    }
}

/// One statement, a transaction of several, or one that is rolled back.
fn transaction(random: &mut Random, next: &mut u64) -> String {
    let statements: Vec<_> = (0..1 + random.below(4)).map(|_| statement(random, next)).collect();
    match random.below(5) {
        0 => format!("BEGIN; {}; ROLLBACK", statements.join("; ")),
        1 => statements.join("; "),
        _ => format!("BEGIN; {}; COMMIT", statements.join("; ")),
    }
}

const COLUMNS: &str = "concat(id, '|', coalesce(name, 'NULL'), '|', coalesce(big, 'NULL'), '|', note)";

fn columns(id: DataType) -> SchemaRef {
    schema(&[("id", id), ("name", DataType::Utf8View), ("big", DataType::Utf8View), ("note", DataType::Utf8View)])
}

/// Random changes, while processes read, die, and go on from what was stored last.
fn follow(create: &str, id: DataType, seeds: std::ops::Range<u64>) {
    let cluster = Arc::new(Cluster::start());
    for seed in seeds {
        cluster.sql(&format!(
            "DROP TABLE IF EXISTS t, other; {create}; ALTER TABLE t REPLICA IDENTITY FULL; CREATE TABLE other (x int)"
        ));
        let (at, source) = (cluster.clone(), ChangeSource::new(cluster.server(), name(), columns(id.clone()), "s"));
        run(move || async move {
            let (mut random, mut next) = (Random::new(seed), 0);
            for _ in 0..5 {
                at.sql(&transaction(&mut random, &mut next));
            }
            let mut partition = open(&source, None);
            let (mut model, mut stored) = (Model::default(), (None, Model::default()));
            for _ in 0..50 {
                match random.below(20) {
                    0..=5 => drop(at.sql(&transaction(&mut random, &mut next))),
                    6..=14 => {
                        let limit = 1 + random.below(9) as usize;
                        let batch = partition.next(limit).await.unwrap().unwrap();
                        batch.records.into_vec().iter().for_each(|rows| model.add(rows));
                    }
                    15 | 16 => {
                        if let Some(place) = partition.place() {
                            // Not every checkpoint is told.
                            if random.below(2) == 0 {
                                partition.stored(&place);
                            }
                            stored = (Some(place), model.clone());
                        }
                    }
                    17 | 18 => {
                        let old = std::mem::replace(&mut partition, open(&source, stored.0.as_ref()));
                        // One that is only stopped is thrown out.
                        if random.below(2) == 0 {
                            drop(old)
                        } else {
                            std::mem::forget(old)
                        }
                        model = stored.1.clone();
                    }
                    _ if random.below(3) == 0 => {
                        at.stop(random.below(2) == 0);
                        at.resume();
                    }
                    _ => {}
                }
            }
            let expected = seen(&at, COLUMNS);
            catch_up(&mut partition, &mut model, &expected).await;
            at.sql(&transaction(&mut random, &mut next));
            let expected = seen(&at, COLUMNS);
            catch_up(&mut partition, &mut model, &expected).await;
        });
        // Those that were only stopped hold locks.
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL");
        while cluster.sql("SELECT count(*) FROM pg_replication_slots WHERE active") != "0" {}
        cluster.sql("SELECT pg_drop_replication_slot('s'); DROP PUBLICATION s");
    }
}

#[test]
fn a_table_with_a_key_of_numbers_is_followed() {
    follow("CREATE TABLE t (id bigint PRIMARY KEY, name text, big text, note text)", DataType::Int64, 0..5);
}

#[test]
fn a_table_with_a_key_of_several_columns_is_followed() {
    let create =
        "CREATE TABLE t (id numeric, name text, big text, note text, x char(3) DEFAULT 'a', PRIMARY KEY (x, id))";
    follow(create, DataType::Utf8View, 100..103);
}

#[test]
fn a_table_without_a_key_is_followed() {
    follow("CREATE TABLE t (id bigint, name text, big text, note text)", DataType::Int64, 200..203);
}

#[test]
fn the_log_is_kept_until_a_checkpoint_is_stored() {
    let cluster = Arc::new(Cluster::start());
    cluster
        .sql("CREATE TABLE t (id bigint PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; CREATE TABLE other (x int)");
    let source = ChangeSource::new(cluster.server(), name(), schema(&[("id", DataType::Int64)]), "s");
    let at = cluster.clone();
    run(move || async move {
        let confirmed = || at.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots");
        let mut partition = open(&source, None);
        let mut model = Model::default();
        at.sql("INSERT INTO t VALUES (1)");
        catch_up(&mut partition, &mut model, &["1".into()]).await;
        let begun = confirmed();
        at.sql("INSERT INTO t VALUES (2)");
        catch_up(&mut partition, &mut model, &["1".into(), "2".into()]).await;
        at.sql("CHECKPOINT");
        assert_eq!(confirmed(), begun);
        // Rows are given before the end of their transaction is known, up to which nothing of it is safe.
        while partition.place().unwrap().get("given").is_some() {
            partition.next(9).await.unwrap();
        }
        partition.stored(&partition.place().unwrap());
        let moved = || at.sql(&format!("SELECT confirmed_flush_lsn > '{begun}' FROM pg_replication_slots"));
        while moved() != "t" {
            partition.next(9).await.unwrap();
        }
        // What others write moves it, too, though the table does not change.
        let before = partition.place().unwrap()["lsn"].as_u64().unwrap();
        at.sql("INSERT INTO other SELECT generate_series(1, 10000)");
        while partition.place().unwrap()["lsn"].as_u64().unwrap() < before + 500_000 {
            partition.next(9).await.unwrap();
        }
        // Who stands before the slot does not go on.
        drop(partition);
        let mut partition = open(&source, Some(&serde_json::json!({"lsn": 5})));
        let error = partition.next(9).await.err().unwrap().to_string();
        assert!(
            error.contains("the replication slot 's' stands at") && error.contains("start the job anew"),
            "{error}"
        );
    });
}

#[test]
fn who_was_replaced_is_told() {
    let cluster = Arc::new(Cluster::start());
    cluster
        .sql("CREATE TABLE t (id bigint PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1)");
    let source = ChangeSource::new(cluster.server(), name(), schema(&[("id", DataType::Int64)]), "s");
    let at = cluster.clone();
    run(move || async move {
        let (mut first, mut model) = (open(&source, None), Model::default());
        catch_up(&mut first, &mut model, &["1".into()]).await;
        first.next(9).await.unwrap();
        let place = first.place().unwrap();
        let mut second = open(&source, Some(&place));
        second.next(9).await.unwrap();
        let error = loop {
            if let Err(error) = first.next(9).await {
                break error.to_string();
            }
        };
        assert!(error.contains("another process reads the replication slot 's' now"), "{error}");
        at.sql("INSERT INTO t VALUES (2)");
        catch_up(&mut second, &mut model, &["1".into(), "2".into()]).await;
    });
}

#[test]
fn what_cannot_be_followed_is_told() {
    let cluster = Arc::new(Cluster::start());
    cluster.sql("CREATE TABLE t (id bigint PRIMARY KEY, x int)");
    let error = |source: &ChangeSource, place: Option<Place>| {
        let source = source.clone();
        run(move || async move {
            let mut partition = open(&source, place.as_ref());
            loop {
                if let Err(error) = partition.next(9).await {
                    break error.to_string();
                }
            }
        })
    };
    let source = ChangeSource::new(cluster.server(), name(), schema(&[("id", DataType::Int64)]), "s");
    let told = error(&source, None);
    assert!(told.contains("ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL"), "{told}");
    assert_eq!(cluster.sql("SELECT count(*) FROM pg_publication"), "0");
    cluster.sql("ALTER TABLE t REPLICA IDENTITY FULL");
    let told = error(&source, Some(serde_json::json!({"lsn": 5})));
    assert!(told.contains("the replication slot 's' is gone"), "{told}");
    let told = error(&source.clone().startup(Startup::Committed), None);
    assert!(told.contains("there is no replication slot 's'"), "{told}");
    cluster.sql("CREATE PUBLICATION p WITH (publish = 'insert')");
    let of = source.clone().publication("p");
    let told = error(&of, None);
    assert!(told.contains("ALTER PUBLICATION \"p\" ADD TABLE"), "{told}");
    cluster.sql("ALTER PUBLICATION p ADD TABLE t");
    let told = error(&of, None);
    assert!(told.contains("ALTER PUBLICATION \"p\" SET (publish ="), "{told}");

    // While it is followed.
    let (at, followed) = (cluster.clone(), source.clone());
    let told = run(move || async move {
        let mut told = Vec::new();
        for (change, back) in [
            ("TRUNCATE t", "SELECT 1"),
            ("ALTER TABLE t RENAME id TO other; INSERT INTO t VALUES (8)", "ALTER TABLE t RENAME other TO id"),
            ("ALTER TABLE t REPLICA IDENTITY DEFAULT; INSERT INTO t VALUES (9)", "ALTER TABLE t REPLICA IDENTITY FULL"),
        ] {
            let mut partition = open(&followed, None);
            partition.next(9).await.unwrap();
            partition.next(9).await.unwrap();
            at.sql(change);
            told.push(loop {
                if let Err(error) = partition.next(9).await {
                    break error.to_string();
                }
            });
            at.sql(back);
        }
        // Columns that come are none of its business.
        let (mut partition, mut model) = (open(&followed, None), Model::default());
        let expected = seen(&at, "id");
        catch_up(&mut partition, &mut model, &expected).await;
        // Reading the table holds a lock until it is known that there is no more.
        partition.next(9).await.unwrap();
        partition.next(9).await.unwrap();
        at.sql("ALTER TABLE t ADD y text DEFAULT 'y'; ALTER TABLE t DROP x; INSERT INTO t VALUES (77)");
        let expected = seen(&at, "id");
        catch_up(&mut partition, &mut model, &expected).await;
        told
    });
    assert!(
        told[0].contains("was emptied by TRUNCATE") && told[0].contains("'scan.truncate' = 'ignore'"),
        "{}",
        told[0]
    );
    assert!(told[1].contains("has no column `id`"), "{}", told[1]);
    assert!(told[2].contains("REPLICA IDENTITY FULL"), "{}", told[2]);
    let plain = Cluster::with("", None);
    plain.sql("CREATE TABLE t (id bigint PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL");
    let told = error(&ChangeSource::new(plain.server(), name(), schema(&[("id", DataType::Int64)]), "s"), None);
    assert!(told.contains("ALTER SYSTEM SET wal_level = logical"), "{told}");
}

#[test]
fn it_is_a_table_of_sql() {
    let cluster = Arc::new(Cluster::start());
    cluster.sql("CREATE TABLE t (id bigint PRIMARY KEY, x text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'a')");
    let (host, port) = (cluster.path().display().to_string(), cluster.port().to_string());
    let options = [
        ("hostname", &*host),
        ("port", &*port),
        ("username", "postgres"),
        ("database-name", "postgres"),
        ("table-name", "t"),
        ("slot.name", "s"),
        ("decoding.plugin.name", "pgoutput"),
    ];
    let with = |more: &[(&str, &str)]| -> Table { table(schema(&[]), &[&options[..], more].concat()) };
    let declared = with(&[]);
    declared.options.check("'postgres-cdc'", &Cdc.options()).unwrap();
    let inferred = Cdc.infer(&declared).unwrap();
    assert_eq!(inferred, schema(&[("id!", DataType::Int64), ("x", DataType::Utf8View)]));
    assert!(Cdc.tells(&declared) == Changelog::Changes && !Cdc.is_bounded(&declared));
    let snapshot = Table { schema: inferred, ..with(&[("scan.startup.mode", "snapshot")]) };
    assert!(Cdc.tells(&snapshot) == Changelog::Insertions && Cdc.is_bounded(&snapshot));
    let rows = support::read(Cdc.source(&snapshot, &scan(&snapshot)).unwrap()).unwrap();
    assert_eq!(rows.iter().flat_map(|rows| lines(rows.batch())).collect::<Vec<_>>(), ["1|a"]);
    for (more, part) in [
        (("scan.startup.mode", "now"), "there are initial, snapshot"),
        (("slot.name", "My Slot"), "slots are named with a-z"),
        (("decoding.plugin.name", "wal2json"), "there is pgoutput"),
        (("port", "x"), "not a port"),
    ] {
        let table = with(&[more]);
        let error = Cdc.source(&table, &scan(&table)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let bounded = Table { bounded: true, ..with(&[]) };
    assert!(Cdc.source(&bounded, &scan(&bounded)).unwrap_err().to_string().contains("has no end"));
}
