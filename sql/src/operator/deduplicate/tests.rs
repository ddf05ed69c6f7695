//! Deduplication against the first or last of all rows, by key.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::testing::{
    Change, Drive, Kernels, Row, Script, Table, advance, ending, hashed, inserted, kernels, rows, schema, scripts,
    simulate, texts,
};
use super::*;

fn plan(keep: Keep, time: Option<usize>, tell: Tell) -> Deduplication {
    Deduplication { schema: schema(), keys: vec![0], keep, time, window_end: None, tell, remember: None }
}

/// Row after row, from the definition.
fn expected<'a>(changes: impl IntoIterator<Item = &'a Change>, keep: Keep, time: bool) -> Table {
    let mut kept = BTreeMap::<Option<i64>, Row>::new();
    for (kind, row) in changes {
        let before = kept.get(&row.0).map(|before| if time { before.3 } else { row.3 });
        let better = match keep {
            Keep::First => before.is_none_or(|before| time && row.3 < before),
            Keep::Last => before.is_none_or(|before| row.3 >= before),
        };
        match kind {
            RowKind::UpdateBefore => {}
            RowKind::Delete => drop(kept.remove(&row.0)),
            _ if better => drop(kept.insert(row.0, row.clone())),
            _ => {}
        }
    }
    Table::of(texts(&kept.into_values().collect::<Vec<_>>()))
}

fn check(script: &Script, plan: &Deduplication, kernels: Kernels) {
    let mut drive = Drive::new(Deduplicate::new(plan.clone()), kernels);
    let (mut table, mut before) = (Table::default(), Vec::<&Change>::new());
    for bundles in script {
        for bundle in bundles {
            table.apply(&drive.bundle(hashed(rows(bundle), &[0])));
            before.extend(bundle);
        }
        table.apply(&drive.end(Time(0)));
        if plan.tell != Tell::Last {
            assert_eq!(table, expected(before.iter().copied(), plan.keep, plan.time.is_some()));
        }
    }
    table.apply(&drive.end(Time::MAX));
    assert_eq!(table, expected(before.iter().copied(), plan.keep, plan.time.is_some()));
}

fn keeps() -> impl Strategy<Value = (Keep, Option<usize>, Tell)> {
    let tell = prop_oneof![Just(Tell::Epoch), Just(Tell::Bundle), Just(Tell::Last)];
    (prop_oneof![Just(Keep::First), Just(Keep::Last)], prop_oneof![Just(None), Just(Some(3))], tell)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn of_rows_that_only_come(script in scripts(false), (keep, time, tell) in keeps(), kernels in kernels()) {
        check(&script, &plan(keep, time, tell), kernels);
    }

    #[test]
    fn the_last_of_rows_that_go_too(script in scripts(true), kernels in kernels()) {
        check(&script, &plan(Keep::Last, None, Tell::Epoch), kernels);
    }

    #[test]
    fn whole_jobs_give_the_same(script in scripts(false), (keep, time, tell) in keeps(), kernels in 1usize..4, seed: u64) {
        let out = simulate(Deduplicate::new(plan(keep, time, tell)), &script, &[0], (kernels, seed));
        let mut table = Table::default();
        table.apply(&out);
        prop_assert_eq!(table, expected(script.iter().flatten().flatten(), keep, time.is_some()));
    }

    /// The time is the window's end; rows of a window are compared as they come.
    #[test]
    fn windows_come_out_when_they_are_over(script in scripts(false), last: bool, kernels in kernels()) {
        let script = ending(script);
        let keep = if last { Keep::Last } else { Keep::First };
        let plan = Deduplication { keys: vec![0, 3], window_end: Some(3), ..plan(keep, None, Tell::Epoch) };
        advance(Deduplicate::new(plan), (&script, &[0, 3], kernels), |table, epochs, watermark| {
            let mut windows = BTreeMap::<i64, Vec<Change>>::new();
            let over = inserted(&script[..epochs]).into_iter().filter(|row| Time::from_millis(row.3) <= watermark);
            over.for_each(|row| windows.entry(row.3).or_default().push((RowKind::Insert, row)));
            let tables = windows.values().map(|rows| expected(rows, keep, false).0);
            assert_eq!(table.0, tables.flatten().collect());
        });
    }
}

#[test]
fn the_first_row_as_they_come_is_told_once_and_not_kept() {
    let row = |v| (RowKind::Insert, (Some(1), Some(v), None, 0));
    let mut drive = Drive::new(Deduplicate::new(plan(Keep::First, None, Tell::Epoch)), 1);
    drive.bundle(hashed(rows(&[row(1), row(2)]), &[0]));
    assert_eq!(drive.end(Time(0)), [rows(&[row(1)])]);
    drive.bundle(hashed(rows(&[row(3)]), &[0]));
    assert_eq!(drive.end(Time(0)), []);
}

#[test]
fn a_key_is_forgotten_when_its_time_is_over_and_duplicates_do_not_prolong_it() {
    let row = |v| (RowKind::Insert, (Some(1), Some(v), None, 0));
    let remember = Some(Duration::from_micros(10));
    for kernels in [1.into(), Kernels::restarting()] {
        let plan = Deduplication { remember, ..plan(Keep::First, None, Tell::Epoch) };
        let mut drive = Drive::new(Deduplicate::new(plan), kernels);
        let mut epoch = |now, v| {
            drive.bundle(hashed(rows(&[row(v)]), &[0]));
            drive.end_at(Time(0), Time(now)).len()
        };
        assert_eq!([epoch(0, 1), epoch(5, 2), epoch(11, 3), epoch(12, 4)], [1, 0, 0, 1]);
    }
}
