//! Upserts against a map.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use updraft_dataflow::Time;

use super::super::testing::{
    Change, Drive, Kernels, Row, Table, hashed, kernels, rows, schema, scripts, simulate, texts,
};
use super::*;

fn expected<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Table {
    let mut kept = BTreeMap::<Option<i64>, Row>::new();
    for (kind, row) in changes {
        match kind {
            RowKind::UpdateBefore => {}
            RowKind::Delete => drop(kept.remove(&row.0)),
            RowKind::Insert | RowKind::UpdateAfter => drop(kept.insert(row.0, row.clone())),
        }
    }
    Table::of(texts(&kept.into_values().collect::<Vec<_>>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_what_the_upserts_make_of_it(script in scripts(true), kernels in kernels()) {
        let mut drive = Drive::new(Normalize::new(schema(), [0]), kernels);
        let (mut table, mut before) = (Table::default(), Vec::new());
        for bundles in &script {
            for bundle in bundles {
                table.apply(&drive.bundle(hashed(rows(bundle), &[0])));
                before.extend(bundle);
                prop_assert_eq!(&table, &expected(before.iter().copied()));
            }
            prop_assert!(drive.end(Time(0)).is_empty());
        }
    }

    /// Of many keys, few of which change in an epoch.
    #[test]
    fn what_changes_is_saved_in_runs(
        changes in prop::collection::vec(prop::collection::vec((0i64..60, 0i64..9), 0..5), 1..30),
        kernels in kernels(),
    ) {
        let mut drive = Drive::new(Normalize::new(schema(), [0]), kernels);
        let first = (0..60).map(|key| (key, 1)).collect();
        let (mut table, mut before) = (Table::default(), Vec::new());
        for changes in [first].into_iter().chain(changes) {
            let kind = |value| if value == 0 { RowKind::Delete } else { RowKind::UpdateAfter };
            let change = |(key, value)| (kind(value), (Some(key), Some(value), None, 0));
            let changes: Vec<Change> = changes.into_iter().map(change).collect();
            table.apply(&drive.bundle(hashed(rows(&changes), &[0])));
            before.extend(changes);
            prop_assert_eq!(&table, &expected(&before));
            prop_assert!(drive.end(Time(0)).is_empty());
        }
    }

    #[test]
    fn whole_jobs_give_the_same(script in scripts(true), kernels in 1usize..4, seed: u64) {
        let out = simulate(Normalize::new(schema(), [0]), &script, &[0], (kernels, seed));
        let mut table = Table::default();
        table.apply(&out);
        prop_assert_eq!(table, expected(script.iter().flatten().flatten()));
    }
}

#[test]
fn a_row_that_stays_as_it_is_is_not_told_again() {
    let row = |kind, v| (kind, (Some(1), Some(v), None, 0));
    let mut drive = Drive::new(Normalize::new(schema(), [0]), 1);
    let mut give = |change: Change| drive.bundle(hashed(rows(&[change]), &[0]));
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    assert_eq!(give(row(UpdateAfter, 1)), [rows(&[row(Insert, 1)])]);
    assert_eq!(give(row(Insert, 1)), []);
    assert_eq!(give(row(Insert, 2)), [rows(&[row(UpdateBefore, 1), row(UpdateAfter, 2)])]);
    assert_eq!(give(row(Delete, 7)), [rows(&[row(Delete, 2)])], "of a deletion only the key matters");
    assert_eq!(give(row(Delete, 2)), []);
    drive.end(Time::MAX);
}

#[test]
fn who_overwrites_needs_no_rows_before() {
    let row = |kind, v| (kind, (Some(1), Some(v), None, 0));
    let all = rows(&[row(RowKind::UpdateBefore, 1), row(RowKind::UpdateAfter, 2), row(RowKind::Delete, 2)]);
    let left = rows(&[row(RowKind::UpdateAfter, 2), row(RowKind::Delete, 2)]);
    assert_eq!(without_before(all).unwrap(), left);
    assert_eq!(without_before(left.clone()).unwrap(), left);
}

#[test]
fn what_is_written_is_what_has_changed() {
    let row = |key, v| (RowKind::Insert, (Some(key), Some(v), Some("a text of some length".into()), 0));
    let mut drive = Drive::new(Normalize::new(schema(), [0]), Kernels::saving(2));
    let all: Vec<Change> = (0..30_000).map(|key| row(key, 0)).collect();
    drive.bundle(hashed(rows(&all), &[0]));
    drive.end(Time(0));
    let whole = drive.written();
    assert!(whole > 1_000_000);
    for epoch in 0..100 {
        drive.bundle(hashed(rows(&[row(epoch * 37, 1)]), &[0]));
        drive.end(Time(0));
    }
    let more = drive.written() - whole;
    assert!(more < whole / 2, "{more} bytes after {whole}");
}
