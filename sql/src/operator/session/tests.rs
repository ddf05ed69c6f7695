//! Sessions against rows sorted by time and cut where there is a gap.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_functions_aggregate::{count::count_udaf, min_max::max_udaf, sum::sum_udaf};
use datafusion_physical_expr::expressions::lit;
use proptest::prelude::*;

use super::super::testing::{
    Drive, Row, Table, advance, advancing, aggregate, amount, column, hashed, inserted, kernels, rows, schema,
    schema_and, scripts, texts,
};
use super::*;

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn aggregates() -> Vec<Aggregate> {
    vec![
        aggregate(count_udaf(), vec![lit(1i64)], false),
        aggregate(sum_udaf(), vec![column(1)], false),
        aggregate(count_udaf(), vec![column(1)], true),
        aggregate(max_udaf(), vec![column(2)], false),
    ]
}

fn plan(gives: Gives, gap: i64) -> SessionPlan {
    let output = match &gives {
        Gives::Rows => schema_and(&[time(), time(), time()]),
        Gives::Aggregates(aggregates) => {
            let results = aggregates.iter().map(|a| a.function.field().data_type().clone());
            let types = [DataType::Int64, time(), time(), time()].into_iter().chain(results);
            let fields = types.enumerate().map(|(at, data_type)| Field::new(at.to_string(), data_type, true));
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        }
    };
    SessionPlan { input: schema(), keys: vec![0], time: 3, gap: Duration::from_millis(gap as u64), gives, output }
}

/// The sessions of each key that no row before the watermark's end can touch.
fn sessions(mut rows: Vec<Row>, gap: i64, watermark: Time) -> Vec<Vec<Row>> {
    rows.sort_by_key(|row| (row.0, row.3));
    let sessions = rows.chunk_by(|a, b| a.0 == b.0 && b.3 - a.3 <= gap).map(<[_]>::to_vec);
    sessions.filter(|rows| Time::from_millis(rows[rows.len() - 1].3 + gap) < watermark).collect()
}

fn stamp(millis: i64) -> String {
    let array = timestamps([millis * 1_000], &time()).unwrap();
    arrow::util::display::array_value_to_string(&array, 0).unwrap()
}

fn window(rows: &[Row], gap: i64) -> Vec<String> {
    let end = rows[rows.len() - 1].3 + gap;
    vec![stamp(rows[0].3), stamp(end), stamp(end - 1)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn aggregates_of_sessions(script in scripts(false), gap in 1i64..5, kernels in kernels()) {
        let script = advancing(script);
        let operator = Sessions::new(plan(Gives::Aggregates(aggregates()), gap));
        advance(operator, (&script, &[0], kernels), |table, epochs, watermark| {
            let row = |rows: Vec<Row>| {
                let key = texts(&rows)[0][0].clone();
                let amounts = aggregates().iter().map(|aggregate| amount(aggregate, &rows)).collect::<Vec<_>>();
                [vec![key], window(&rows, gap), amounts].concat()
            };
            let sessions = sessions(inserted(&script[..epochs]), gap, watermark);
            assert_eq!(*table, Table::of(sessions.into_iter().map(row)));
        });
    }

    #[test]
    fn rows_of_sessions(script in scripts(false), gap in 1i64..5, kernels in kernels()) {
        let script = advancing(script);
        advance(Sessions::new(plan(Gives::Rows, gap)), (&script, &[0], kernels), |table, epochs, watermark| {
            let rows = |rows: &Vec<Row>| {
                let window = window(rows, gap);
                texts(rows).into_iter().map(|row| [row, window.clone()].concat()).collect::<Vec<_>>()
            };
            let sessions = sessions(inserted(&script[..epochs]), gap, watermark);
            assert_eq!(*table, Table::of(sessions.iter().flat_map(rows)));
        });
    }
}

#[test]
fn rows_exactly_a_gap_apart_are_of_one_session() {
    let row = |time| (updraft_dataflow::RowKind::Insert, (Some(1), Some(1), None, time));
    let mut drive = Drive::new(Sessions::new(plan(Gives::Aggregates(aggregates()[..1].to_vec()), 10)), 1);
    drive.bundle(hashed(rows(&[row(0)]), &[0]));
    assert_eq!(drive.end(Time::from_millis(10)), [], "a row at 10 may come");
    drive.bundle(hashed(rows(&[row(10), row(21)]), &[0]));
    let out = drive.end(Time::MAX);
    let counts: Vec<_> = super::super::testing::text(out[0].batch()).into_iter().map(|row| row[4].clone()).collect();
    assert_eq!(counts, ["2", "1"]);
}
