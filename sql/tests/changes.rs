//! Tables whose sources tell changes: what queries make of them is what is there at the end, on one to three kernels, real and simulated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../dataflow/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::*;
use support::{Driver, drivers};
use updraft_dataflow::connector::{
    AnySink, AnySource, Changelog, Column, Connector, OptionSpec, Registry, Scan, Table,
};
use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::{Error, Job, RowKind, Rows};
use updraft_sql::Session;

/// A key, and its value from now on; none where it is gone.
type Step = (i64, Option<i64>);

/// By partition and batch. A key is in one partition.
type Script = Vec<Vec<Vec<Step>>>;

fn scripts() -> impl Strategy<Value = Script> {
    let step = (0..6i64, proptest::option::weighted(0.8, 0..4i64));
    let batch = proptest::collection::vec(step, 1..6);
    proptest::collection::vec(proptest::collection::vec(batch, 0..8), 1..=3).prop_map(|mut script| {
        for (partition, batches) in script.iter_mut().enumerate() {
            batches.iter_mut().flatten().for_each(|(key, _)| *key += 10 * partition as i64);
        }
        script
    })
}

/// The table at the end.
fn last(script: &Script) -> BTreeMap<i64, i64> {
    let mut table = BTreeMap::new();
    for (key, value) in script.iter().flatten().flatten() {
        match value {
            Some(value) => table.insert(*key, *value),
            None => table.remove(key),
        };
    }
    table
}

/// The connector of these steps.
#[derive(Debug)]
struct Changing {
    script: Mutex<Script>,
    told: Changelog,
}

impl Connector for Changing {
    fn name(&self) -> &'static str {
        "changing"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn tells(&self, _: &Table) -> Changelog {
        self.told
    }

    fn source(&self, _: &Table, scan: &Scan) -> Result<AnySource, Error> {
        let column = |column: &Column| if let Column::Physical(index) = column { Some(*index) } else { None };
        let columns: Vec<_> = scan.columns.iter().filter_map(column).collect();
        let mut known = BTreeMap::new();
        let script = std::mem::take(&mut *self.script.lock().unwrap());
        let mut batches = |batches: Vec<Vec<Step>>| -> Vec<Vec<Rows>> {
            batches.into_iter().map(|batch| self.batch(batch, &columns, &mut known)).collect()
        };
        Ok(AnySource::new(Scripted(script.into_iter().map(&mut batches).collect())))
    }

    fn sink(&self, _: &Table) -> Result<AnySink, Error> {
        Err("rows are only read".into())
    }
}

impl Changing {
    fn batch(&self, steps: Vec<Step>, columns: &[usize], known: &mut BTreeMap<i64, i64>) -> Vec<Rows> {
        let mut rows: Vec<(RowKind, i64, Option<i64>)> = Vec::new();
        for (key, value) in steps {
            let old = match value {
                Some(value) => known.insert(key, value),
                None => known.remove(&key),
            };
            match (self.told, old, value) {
                (Changelog::Upserts, None, Some(_)) => rows.push((RowKind::Insert, key, value)),
                (Changelog::Upserts, Some(_), Some(_)) => rows.push((RowKind::UpdateAfter, key, value)),
                (Changelog::Upserts, _, None) => rows.push((RowKind::Delete, key, None)),
                (_, None, Some(_)) => rows.push((RowKind::Insert, key, value)),
                (_, Some(_), Some(_)) => {
                    rows.extend([(RowKind::UpdateBefore, key, old), (RowKind::UpdateAfter, key, value)]);
                }
                (_, Some(_), None) => rows.push((RowKind::Delete, key, old)),
                (_, None, None) => {}
            }
        }
        let all: [ArrayRef; 2] = [
            Arc::new(rows.iter().map(|(_, key, _)| *key).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(.., value)| *value).collect::<Int64Array>()),
        ];
        let fields = ["k", "v"].map(|name| Field::new(name, DataType::Int64, true));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), all.to_vec()).unwrap();
        let kinds: Vec<_> = rows.iter().map(|(kind, ..)| *kind).collect();
        if kinds.is_empty() { Vec::new() } else { vec![Rows::changes(batch.project(columns).unwrap(), kinds)] }
    }
}

/// The rows that are there when a query's changes have been told, in order.
fn run(script: &Script, told: Changelog, query: &str, driver: Driver) -> Vec<Vec<i64>> {
    let job = Job::new("changes");
    let changing = Changing { script: Mutex::new(script.clone()), told };
    let mut sql = Session::new(Registry::default().with(changing)).embed(&job);
    let table = "CREATE TABLE t (k BIGINT, v BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'changing')";
    sql.execute(&format!("{table};")).unwrap();
    let (sink, out) = gather();
    sql.query(query).unwrap().sink("out", sink);
    driver.run(job);
    let mut there = BTreeMap::<Vec<i64>, i64>::new();
    for rows in out.take() {
        for row in 0..rows.len() {
            let value = |column: &ArrayRef| column.as_primitive::<Int64Type>().value(row);
            let key = rows.batch().columns().iter().map(value).collect();
            *there.entry(key).or_default() += if rows.kind(row).is_addition() { 1 } else { -1 };
        }
    }
    there.into_iter().flat_map(|(row, count)| (0..count).map(move |_| row.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_query_tells_what_is_there_at_the_end(script in scripts(), upserts in any::<bool>(), driver in drivers()) {
        let told = if upserts { Changelog::Upserts } else { Changelog::Changes };
        let table = last(&script);
        let found = run(&script, told, "SELECT k, v FROM t", driver);
        prop_assert_eq!(found, table.iter().map(|(key, value)| vec![*key, *value]).collect::<Vec<_>>());
        // Without the key, which is read all the same.
        let found = run(&script, told, "SELECT v, COUNT(*) FROM t GROUP BY v", driver);
        let mut counts = BTreeMap::new();
        table.values().for_each(|value| *counts.entry(*value).or_insert(0) += 1);
        prop_assert_eq!(found, counts.into_iter().map(|(value, count)| vec![value, count]).collect::<Vec<_>>());
        let found = run(&script, told, "SELECT k, v FROM t WHERE v > 1", driver);
        let greater = table.iter().filter(|(_, value)| **value > 1);
        prop_assert_eq!(found, greater.map(|(key, value)| vec![*key, *value]).collect::<Vec<_>>());
    }
}
