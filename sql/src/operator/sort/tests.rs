//! Sorts against the standard library's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;

use super::super::testing::{
    Drive, Row, advancing, hashed, inserted, kernels, live, rows, schema, scripts, text, texts, watermark,
};
use super::*;

fn given(out: &[Rows]) -> Vec<Vec<String>> {
    out.iter().flat_map(|rows| text(rows.batch())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn all_rows_at_the_end(
        script in scripts(true), skip in 0usize..5, fetch in prop::option::of(0usize..8), down: bool, nulls_first: bool,
        kernels in kernels(),
    ) {
        let options = arrow::compute::SortOptions { descending: down, nulls_first };
        let by = [SortColumn { column: 1, options }, SortColumn::ascending(2)];
        let mut drive = Drive::new(Sort::new(schema(), by, skip, fetch).retracting(), kernels);
        for bundles in &script {
            for bundle in bundles {
                prop_assert_eq!(drive.bundle(hashed(rows(bundle), &[])).len(), 0);
            }
            prop_assert!(drive.end(Time(0)).is_empty());
        }
        let out = given(&drive.end(Time::MAX));
        let mut rows: Vec<Row> = live(script.iter().flatten().flatten());
        let key = |row: &Row| (row.1.is_none() != nulls_first, row.1.map(|v| if down { -v } else { v }), row.2.clone());
        rows.sort_by_key(key);
        let expected: Vec<_> = rows.into_iter().skip(skip).take(fetch.unwrap_or(usize::MAX)).collect();
        prop_assert_eq!(out, texts(&expected));
        prop_assert_eq!(drive.bytes(), 0);
    }

    #[test]
    fn rows_as_the_watermark_passes_them(script in scripts(false), kernels in kernels()) {
        let script = advancing(script);
        let mut drive = Drive::new(EventSort::new(schema(), 3, [SortColumn::descending(1)]), kernels);
        let mut out = Vec::new();
        let sorted = |epochs: usize, before: Time| {
            let mut rows = inserted(&script[..epochs]);
            rows.retain(|row| Time::from_millis(row.3) < before);
            rows.sort_by_key(|row| (row.3, std::cmp::Reverse(row.1)));
            texts(&rows)
        };
        for (epoch, bundles) in script.iter().enumerate() {
            bundles.iter().for_each(|bundle| assert!(drive.bundle(hashed(rows(bundle), &[])).is_empty()));
            out.extend(given(&drive.end(watermark(epoch))));
            prop_assert_eq!(&out, &sorted(epoch + 1, watermark(epoch)));
        }
        out.extend(given(&drive.end(Time::MAX)));
        prop_assert_eq!(&out, &sorted(script.len(), Time::MAX));
    }
}

#[test]
fn the_first_of_many_rows_are_found_without_keeping_all() {
    let mut drive = Drive::new(Sort::new(schema(), [SortColumn::ascending(1)], 1, Some(3)), 1);
    for bundle in 0..30 {
        let row = |n: i64| (updraft_dataflow::RowKind::Insert, (Some(n), Some((n * 7919) % 30_011), None, 0));
        let all: Vec<_> = (bundle * 1000..(bundle + 1) * 1000).map(row).collect();
        drive.bundle(hashed(rows(&all), &[]));
        assert!(drive.bytes() < 2_000_000, "{} bytes", drive.bytes());
    }
    let values: Vec<_> = given(&drive.end(Time::MAX)).into_iter().map(|row| row[1].clone()).collect();
    let mut all: Vec<i64> = (0..30_000).map(|n| (n * 7919) % 30_011).collect();
    all.sort_unstable();
    assert_eq!(values, all[1..4].iter().map(ToString::to_string).collect::<Vec<_>>());
}
