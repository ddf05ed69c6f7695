//! Changes of a map, an epoch at a time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use updraft_dataflow::Time;

use super::super::testing::{Change, Drive, Row, Table, hashed, kernels, rows, schema, texts};
use super::*;

/// What is told when a key is given a value; 0 is none.
fn told(map: &mut BTreeMap<i64, Row>, (key, value): (i64, i64)) -> Vec<Change> {
    let row: Row = (Some(key), Some(value), None, 0);
    let old = if value == 0 { map.remove(&key) } else { map.insert(key, row.clone()) };
    match (old, value) {
        (None, 0) => Vec::new(),
        (Some(old), 0) => vec![(RowKind::Delete, old)],
        (None, _) => vec![(RowKind::Insert, row)],
        (Some(old), _) => vec![(RowKind::UpdateBefore, old), (RowKind::UpdateAfter, row)],
    }
}

proptest! {
    #[test]
    fn each_epoch_makes_the_table_what_it_is(
        epochs in prop::collection::vec(prop::collection::vec((0i64..5, 0i64..4), 0..12), 1..12),
        bundle in 1usize..5,
        kernels in kernels(),
    ) {
        let mut drive = Drive::new(Settle::new(schema(), [0]), kernels);
        let (mut map, mut table) = (BTreeMap::new(), Table::default());
        for epoch in epochs {
            let changes: Vec<_> = epoch.into_iter().flat_map(|change| told(&mut map, change)).collect();
            for changes in changes.chunks(bundle) {
                prop_assert!(drive.bundle(hashed(rows(changes), &[0])).is_empty());
            }
            let given = drive.end(Time(0));
            // One change of each key.
            let additions = given.iter().flat_map(|rows| (0..rows.len()).map(|row| rows.kind(row)));
            prop_assert!(additions.filter(|kind| kind.is_addition()).count() <= map.len());
            table.apply(&given);
            prop_assert_eq!(&table, &Table::of(texts(&map.values().cloned().collect::<Vec<_>>())));
        }
    }
}
