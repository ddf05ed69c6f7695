//! GROUP BY against each group computed anew, by DataFusion's own accumulators.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_expr::Operator as Op;
use datafusion_functions_aggregate::{
    average::avg_udaf,
    bit_and_or_xor::bit_xor_udaf,
    count::count_udaf,
    first_last::{first_value_udaf, last_value_udaf},
    min_max::{max_udaf, min_udaf},
    string_agg::string_agg_udaf,
    sum::sum_udaf,
};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, lit};
use proptest::prelude::*;
use updraft_dataflow::{RowKind, Time};

use super::super::testing::{
    Change, Drive, Kernels, Row, Script, Table, aggregate, amount, batch, column, hashed, kernels, live, rows, schema,
    scripts, simulate, text,
};
use super::*;

fn cast(expr: Arc<dyn PhysicalExpr>, to: DataType) -> Arc<dyn PhysicalExpr> {
    Arc::new(CastExpr::new(expr, to, None))
}

/// One of each kind of keeping.
fn aggregates() -> Vec<Aggregate> {
    let v = || column(1);
    let float = || cast(v(), DataType::Float64);
    let decimal = || cast(v(), DataType::Decimal128(10, 2));
    let positive: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(v(), Op::Gt, lit(0i64)));
    let filtered = |aggregate: Aggregate| Aggregate { filter: Some(positive.clone()), ..aggregate };
    vec![
        aggregate(count_udaf(), vec![lit(1i64)], false),
        aggregate(count_udaf(), vec![v()], false),
        aggregate(sum_udaf(), vec![v()], false),
        aggregate(sum_udaf(), vec![decimal()], false),
        aggregate(avg_udaf(), vec![float()], false),
        aggregate(avg_udaf(), vec![decimal()], false),
        aggregate(min_udaf(), vec![column(2)], false),
        aggregate(max_udaf(), vec![v()], false),
        aggregate(count_udaf(), vec![v()], true),
        aggregate(sum_udaf(), vec![v()], true),
        aggregate(max_udaf(), vec![v()], true),
        aggregate(first_value_udaf(), vec![v()], false),
        aggregate(last_value_udaf(), vec![column(2)], false),
        aggregate(string_agg_udaf(), vec![column(2), lit(",")], false),
        aggregate(bit_xor_udaf(), vec![v()], false),
        filtered(aggregate(sum_udaf(), vec![v()], false)),
        filtered(aggregate(count_udaf(), vec![column(2)], true)),
        filtered(aggregate(min_udaf(), vec![v()], false)),
        filtered(aggregate(last_value_udaf(), vec![v()], false)),
    ]
}

fn plan(keys: &[usize], aggregates: Vec<Aggregate>, retracts: bool, tell: Tell) -> Grouping {
    let input = schema();
    let keys_of = keys.iter().map(|key| input.field(*key).clone());
    let results = aggregates.iter().enumerate();
    let results = results.map(|(at, a)| Field::new(at.to_string(), a.function.field().data_type().clone(), true));
    let output = Arc::new(Schema::new(keys_of.chain(results).collect::<Vec<_>>()));
    Grouping { input, keys: keys.to_vec(), aggregates, output, retracts, tell, keep: None }
}

/// What the rows amount to, each group by itself.
fn expected(rows: &[Row], plan: &Grouping) -> Table {
    let mut groups = BTreeMap::<Vec<String>, Vec<Row>>::new();
    for (row, texts) in rows.iter().zip(text(&batch(rows))) {
        groups.entry(plan.keys.iter().map(|key| texts[*key].clone()).collect()).or_default().push(row.clone());
    }
    if plan.keys.is_empty() && plan.tell == Tell::Last {
        groups.entry(Vec::new()).or_default();
    }
    Table::of(groups.into_iter().map(|(key, rows)| {
        let results = plan.aggregates.iter().map(|aggregate| amount(aggregate, &rows));
        key.into_iter().chain(results).collect()
    }))
}

/// After each epoch, the table that has come out is what the rows amount to.
fn check(script: &Script, plan: &Grouping, kernels: Kernels) {
    let mut drive = Drive::new(GroupBy::new(plan.clone()), kernels);
    let (mut table, mut before) = (Table::default(), Vec::<&Change>::new());
    for bundles in script {
        for bundle in bundles {
            let out = drive.bundle(hashed(rows(bundle), &plan.keys));
            table.apply(&out);
            before.extend(bundle);
            if plan.tell == Tell::Bundle {
                assert_eq!(table, expected(&live(before.iter().copied()), plan));
            }
        }
        table.apply(&drive.end(Time(0)));
        if plan.tell != Tell::Last {
            assert_eq!(table, expected(&live(before.iter().copied()), plan));
        }
    }
    table.apply(&drive.end(Time::MAX));
    assert_eq!(table, expected(&live(before.iter().copied()), plan));
    assert_eq!(drive.bytes(), 0, "nothing is kept after the end");
}

fn keys() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![]), Just(vec![0]), Just(vec![2]), Just(vec![0, 2])]
}

fn tells() -> impl Strategy<Value = Tell> {
    prop_oneof![Just(Tell::Epoch), Just(Tell::Bundle), Just(Tell::Last)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn groups_of_appended_rows_are_what_their_rows_amount_to(
        script in scripts(false), keys in keys(), tell in tells(), kernels in kernels(),
    ) {
        check(&script, &plan(&keys, aggregates(), false, tell), kernels);
    }

    #[test]
    fn groups_of_rows_that_go_too_are_what_is_left(
        script in scripts(true), keys in keys(), tell in tells(), kernels in kernels(),
    ) {
        check(&script, &plan(&keys, aggregates(), true, tell), kernels);
    }

    #[test]
    fn whole_jobs_give_the_same_table(script in scripts(true), keys in keys(), kernels in 1usize..4, seed: u64) {
        let plan = plan(&keys, aggregates(), true, Tell::Epoch);
        let out = simulate(GroupBy::new(plan.clone()), &script, &keys, (kernels, seed));
        let mut table = Table::default();
        table.apply(&out);
        prop_assert_eq!(table, expected(&live(script.iter().flatten().flatten()), &plan));
    }
}

fn row(k: i64, v: i64) -> Row {
    (Some(k), Some(v), None, 0)
}

fn told(out: &[Rows]) -> Vec<(RowKind, Vec<String>)> {
    out.iter()
        .flat_map(|rows| text(rows.batch()).into_iter().enumerate().map(|(at, row)| (rows.kind(at), row)))
        .collect()
}

fn cells(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

#[test]
fn a_group_is_inserted_then_updated_then_deleted_and_not_told_when_it_stays() {
    let plan = plan(&[0], vec![aggregate(sum_udaf(), vec![column(1)], false)], true, Tell::Epoch);
    let mut drive = Drive::new(GroupBy::new(plan), 1);
    let mut epoch = |changes: &[Change]| {
        drive.bundle(hashed(rows(changes), &[0]));
        told(&drive.end(Time(0)))
    };
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    assert_eq!(epoch(&[(Insert, row(1, 2)), (Insert, row(1, 3))]), [(Insert, cells(&["1", "5"]))]);
    assert_eq!(epoch(&[(Insert, row(1, 1))]), [(UpdateBefore, cells(&["1", "5"])), (UpdateAfter, cells(&["1", "6"]))]);
    assert_eq!(epoch(&[(Insert, row(1, 0))]), []);
    let gone = [(Delete, row(1, 2)), (Delete, row(1, 3)), (Delete, row(1, 1)), (Delete, row(1, 0))];
    assert_eq!(epoch(&gone), [(Delete, cells(&["1", "6"]))]);
    assert_eq!(epoch(&[(Insert, row(2, 1)), (Delete, row(2, 1))]), [], "it was never told");
}

#[test]
fn a_group_is_forgotten_when_its_time_is_over() {
    for tell in [Tell::Epoch, Tell::Bundle] {
        forgotten(tell, 1.into());
        forgotten(tell, Kernels::restarting());
    }
}

fn forgotten(tell: Tell, kernels: Kernels) {
    let counts = plan(&[0], vec![aggregate(count_udaf(), vec![column(1)], true)], false, tell);
    let plan = Grouping { keep: Some(Duration::from_micros(10)), ..counts };
    let mut drive = Drive::new(GroupBy::new(plan), kernels);
    let mut epoch = |now: i64, row: Option<Row>| {
        let changes: Vec<_> = row.into_iter().map(|row| (RowKind::Insert, row)).collect();
        let mut out = told(&drive.bundle(hashed(rows(&changes), &[0])));
        out.extend(told(&drive.end_at(Time(0), Time(now))));
        out
    };
    assert_eq!(epoch(0, Some(row(1, 1))), [(RowKind::Insert, cells(&["1", "1"]))]);
    assert_eq!(epoch(5, Some(row(2, 1))), [(RowKind::Insert, cells(&["2", "1"]))]);
    assert_eq!(epoch(11, None), []);
    assert_eq!(epoch(12, Some(row(1, 1))), [(RowKind::Insert, cells(&["1", "1"]))], "1 begins anew");
    assert_eq!(epoch(13, Some(row(2, 2))).len(), 2, "2 goes on");
}

#[test]
fn no_groups_without_rows_but_the_one_of_all_at_the_end() {
    let sums = || vec![aggregate(sum_udaf(), vec![column(1)], false), aggregate(count_udaf(), vec![lit(1i64)], false)];
    for (keys, retracts) in [(vec![], false), (vec![], true), (vec![0], true)] {
        let plan = plan(&keys, sums(), retracts, Tell::Last);
        let out = told(&Drive::new(GroupBy::new(plan), 3).end(Time::MAX));
        let one = if keys.is_empty() { vec![(RowKind::Insert, cells(&["NULL", "0"]))] } else { vec![] };
        assert_eq!(out, one);
    }
}
