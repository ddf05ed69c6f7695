//! OVER against each row's frame computed anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use arrow::datatypes::DataType;
use datafusion_expr::{Operator as Op, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion_functions_aggregate::{
    count::count_udaf,
    first_last::{first_value_udaf, last_value_udaf},
    min_max::min_udaf,
    string_agg::string_agg_udaf,
    sum::sum_udaf,
};
use datafusion_physical_expr::expressions::{BinaryExpr, lit};
use datafusion_physical_plan::windows::create_window_expr;
use proptest::prelude::*;

use super::super::order::SortColumn;
use super::super::testing::{
    Drive, Row, Table, advance, advancing, aggregate, amount, column, hashed, inserted, kernels, live, rows, schema,
    schema_and, scripts, texts,
};
use super::*;

fn calls() -> Vec<Call> {
    let filter: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(column(1), Op::Gt, lit(0i64)));
    let filtered = Aggregate { filter: Some(filter), ..aggregate(count_udaf(), vec![column(2)], false) };
    vec![
        Call::Aggregate(aggregate(sum_udaf(), vec![column(1)], false)),
        Call::Aggregate(aggregate(min_udaf(), vec![column(1)], false)),
        Call::Aggregate(aggregate(count_udaf(), vec![column(1)], true)),
        Call::Aggregate(aggregate(string_agg_udaf(), vec![column(2), lit(",")], false)),
        Call::Aggregate(aggregate(first_value_udaf(), vec![column(1)], false)),
        Call::Aggregate(aggregate(last_value_udaf(), vec![column(2)], false)),
        Call::Aggregate(filtered),
        Call::RowNumber,
        Call::Rank,
        Call::DenseRank,
        Call::Lag { value: column(1), back: 2, default: Some(lit(-7i64)) },
        Call::Lag { value: column(2), back: 1, default: None },
    ]
}

fn plan(frame: Frame, time: Option<usize>) -> OverPlan {
    let types = calls().into_iter().map(|call| match call {
        Call::Aggregate(aggregate) => aggregate.function.field().data_type().clone(),
        Call::Lag { value, .. } => value.data_type(&schema()).unwrap(),
        _ => DataType::Int64,
    });
    let output = schema_and(&types.collect::<Vec<_>>());
    OverPlan { input: schema(), partition: vec![0], time, frame, calls: calls(), output }
}

/// The partition's rows are in order; `peers` where those of equal time are one.
fn expected(rows: &[Row], at: usize, frame: Frame) -> Vec<String> {
    let (row, range) = (&rows[at], matches!(frame, Frame::Range(_)));
    let span = |span: Duration| span.as_millis() as i64;
    let in_frame = |other: usize| {
        let before = if range { rows[other].3 <= row.3 } else { other <= at };
        before
            && match frame {
                Frame::Rows(n) => n.is_none_or(|n| other as u64 + n >= at as u64),
                Frame::Range(n) => n.is_none_or(|n| rows[other].3 >= row.3 - span(n)),
            }
    };
    let of_frame: Vec<_> = (0..rows.len()).filter(|other| in_frame(*other)).map(|other| rows[other].clone()).collect();
    let earlier = rows.iter().filter(|other| other.3 < row.3).map(|other| other.3);
    let lag = |back: usize| at.checked_sub(back).map(|at| texts(rows)[at].clone());
    let result = |(number, call): (usize, Call)| match call {
        Call::Aggregate(aggregate) => amount(&aggregate, &of_frame),
        Call::RowNumber => (at + 1).to_string(),
        Call::Rank => (earlier.clone().count() + 1).to_string(),
        Call::DenseRank => (earlier.clone().collect::<std::collections::BTreeSet<_>>().len() + 1).to_string(),
        Call::Lag { back, .. } if number == 10 => lag(back).map_or("-7".into(), |row| row[1].clone()),
        Call::Lag { back, .. } => lag(back).map_or("NULL".into(), |row| row[2].clone()),
    };
    let results = calls().into_iter().enumerate().map(result);
    texts(rows)[at].iter().cloned().chain(results).collect()
}

fn table(mut rows: Vec<Row>, frame: Frame) -> Table {
    rows.sort_by_key(|row| (row.0, row.3));
    let partitions: Vec<_> = rows.chunk_by(|a, b| a.0 == b.0).collect();
    Table::of(partitions.iter().flat_map(|rows| (0..rows.len()).map(|at| expected(rows, at, frame))))
}

fn frames() -> impl Strategy<Value = Frame> {
    let rows = prop::option::of(0u64..5).prop_map(Frame::Rows);
    prop_oneof![rows, prop::option::of((0u64..8).prop_map(Duration::from_millis)).prop_map(Frame::Range)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn rows_by_event_time(script in scripts(false), frame in frames(), kernels in kernels()) {
        let script = advancing(script);
        let mut drive = Drive::new(Over::new(plan(frame, Some(3))), kernels);
        let mut out = Table::default();
        let check = |out: &Table, epochs: usize, before: Time| {
            let mut rows = inserted(&script[..epochs]);
            rows.retain(|row| Time::from_millis(row.3) < before);
            assert_eq!(*out, table(rows, frame));
        };
        for (epoch, bundles) in script.iter().enumerate() {
            bundles.iter().for_each(|bundle| assert!(drive.bundle(hashed(rows(bundle), &[0])).is_empty()));
            out.apply(&drive.end(super::super::testing::watermark(epoch)));
            check(&out, epoch + 1, super::super::testing::watermark(epoch));
        }
        out.apply(&drive.end(Time::MAX));
        check(&out, script.len(), Time::MAX);
    }

    /// Then the time is that of the end of the epoch: here, all times are made so.
    #[test]
    fn rows_as_they_come(mut script in scripts(false), preceding in prop::option::of(0u64..5), kernels in kernels()) {
        for (epoch, bundles) in script.iter_mut().enumerate() {
            bundles.iter_mut().flatten().for_each(|(_, row)| row.3 = epoch as i64);
        }
        let frame = Frame::Rows(preceding);
        advance(Over::new(plan(frame, None)), (&script, &[0], kernels), |out, epochs, _| {
            assert_eq!(*out, table(inserted(&script[..epochs]), frame));
        });
    }

    #[test]
    fn any_frame_at_the_end(script in scripts(true), kernels in kernels()) {
        let bound = |n| datafusion_common::ScalarValue::UInt64(Some(n));
        let (start, end) = (WindowFrameBound::Preceding(bound(1)), WindowFrameBound::Following(bound(1)));
        let frame = Arc::new(WindowFrame::new_bounds(WindowFrameUnits::Rows, start, end));
        let sum = WindowFunctionDefinition::AggregateUDF(sum_udaf());
        let function = create_window_expr(
            &sum, "s".into(), &[column(1)], &[column(0)], &[], frame, schema(), false, false, None,
        ).unwrap();
        let output = schema_and(&[DataType::Int64]);
        let operator = OverAll::new(schema(), &[0], &[SortColumn::ascending(3)], vec![function], output);
        let mut drive = Drive::new(operator, kernels);
        for bundles in &script {
            bundles.iter().for_each(|bundle| drop(drive.bundle(hashed(rows(bundle), &[0]))));
            prop_assert!(drive.end(Time(0)).is_empty());
        }
        let mut out = Table::default();
        out.apply(&drive.end(Time::MAX));
        let mut left = live(script.iter().flatten().flatten());
        left.sort_by_key(|row| (row.0, row.3));
        let of = |rows: &[Row]| {
            let around = |at: usize| rows[at.saturating_sub(1)..(at + 2).min(rows.len())].iter().filter_map(|row| row.1);
            let sum = |at| around(at).reduce(|a, b| a + b).map_or("NULL".into(), |sum| sum.to_string());
            texts(rows).into_iter().enumerate().map(|(at, row)| [row, vec![sum(at)]].concat()).collect::<Vec<_>>()
        };
        let partitions: Vec<_> = left.chunk_by(|a, b| a.0 == b.0).collect();
        prop_assert_eq!(out, Table::of(partitions.into_iter().flat_map(of)));
    }
}
