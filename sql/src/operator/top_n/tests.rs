//! Top-N against all rows sorted anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use proptest::prelude::*;

use super::super::testing::{
    Drive, Kernels, Row, Script, Table, advance, ending, hashed, inserted, kernels, live, rows, schema, schema_and,
    scripts, simulate, texts,
};
use super::*;

#[derive(Clone, Debug)]
struct Case {
    partition: Vec<usize>,
    descending: bool,
    rank: Rank,
    ranks: RangeInclusive<u64>,
    numbered: bool,
    tell: Tell,
    kernels: Kernels,
}

fn cases() -> impl Strategy<Value = Case> {
    let rank = prop_oneof![Just(Rank::RowNumber), Just(Rank::Rank), Just(Rank::DenseRank)];
    let tell = prop_oneof![Just(Tell::Epoch), Just(Tell::Bundle), Just(Tell::Last)];
    let partition = prop_oneof![Just(vec![]), Just(vec![0])];
    let ranks = (1u64..4, 0u64..4).prop_map(|(first, more)| first..=first + more);
    (partition, any::<bool>(), rank, ranks, any::<bool>(), tell, kernels()).prop_map(
        |(partition, descending, rank, ranks, numbered, tell, kernels)| Case {
            partition,
            descending,
            rank,
            ranks,
            numbered,
            tell,
            kernels,
        },
    )
}

fn plan(case: &Case, retracts: bool) -> Ranking {
    let order = if case.descending { SortColumn::descending(1) } else { SortColumn::ascending(1) };
    Ranking {
        input: schema(),
        partition: case.partition.clone(),
        order: vec![order],
        rank: case.rank,
        ranks: case.ranks.clone(),
        numbered: case.numbered,
        output: if case.numbered { schema_and(&[DataType::Int64]) } else { schema() },
        retracts,
        window_end: None,
        tell: case.tell,
        keep: None,
    }
}

/// The ranks of rows that are in order, from the definition.
fn rank(rows: &[Row], at: usize, rank: Rank) -> u64 {
    let less =
        rows.iter().filter(|row| row.1 != rows[at].1).take_while(|row| rows.iter().position(|r| r == *row) < Some(at));
    match rank {
        Rank::RowNumber => at as u64 + 1,
        Rank::Rank => less.count() as u64 + 1,
        Rank::DenseRank => less.map(|row| row.1).collect::<HashSet<_>>().len() as u64 + 1,
    }
}

fn expected(rows: &[Row], case: &Case) -> Table {
    let mut partitions = BTreeMap::<_, Vec<Row>>::new();
    for row in rows {
        partitions.entry(if case.partition.is_empty() { None } else { row.0 }).or_default().push(row.clone());
    }
    let mut table = Vec::new();
    for mut rows in partitions.into_values() {
        rows.sort_by(|a, b| if case.descending { b.1.cmp(&a.1) } else { a.1.cmp(&b.1) });
        for (at, mut cells) in texts(&rows).into_iter().enumerate() {
            let rank = rank(&rows, at, case.rank);
            cells.extend(case.numbered.then(|| rank.to_string()));
            table.extend(case.ranks.contains(&rank).then_some(cells));
        }
    }
    Table::of(table)
}

fn check(script: &Script, case: &Case, retracts: bool) {
    let mut drive = Drive::new(TopN::new(plan(case, retracts)), case.kernels.clone());
    let (mut table, mut before) = (Table::default(), Vec::new());
    for bundles in script {
        for bundle in bundles {
            table.apply(&drive.bundle(hashed(rows(bundle), &case.partition)));
            before.extend(bundle);
        }
        table.apply(&drive.end(Time(0)));
        if case.tell != Tell::Last {
            assert_eq!(table, expected(&live(before.iter().copied()), case));
        }
    }
    table.apply(&drive.end(Time::MAX));
    assert_eq!(table, expected(&live(before.iter().copied()), case));
    assert_eq!(drive.bytes(), 0, "nothing is kept after the end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn of_rows_that_only_come(script in scripts(false), case in cases()) {
        check(&script, &case, false);
    }

    #[test]
    fn of_rows_that_go_too(script in scripts(true), case in cases()) {
        check(&script, &case, true);
    }

    #[test]
    fn whole_jobs_give_the_same(script in scripts(true), case in cases(), kernels in 1usize..4, seed: u64) {
        let out = simulate(TopN::new(plan(&case, true)), &script, &case.partition, (kernels, seed));
        let mut table = Table::default();
        table.apply(&out);
        prop_assert_eq!(table, expected(&live(script.iter().flatten().flatten()), &case));
    }

    /// The time is the window's end: each of them is a window of its own.
    #[test]
    fn windows_come_out_when_they_are_over(script in scripts(false), case in cases()) {
        let case = Case { partition: vec![3], ..case };
        let script = ending(script);
        let operator = TopN::new(Ranking { window_end: Some(3), ..plan(&case, false) });
        advance(operator, (&script, &[3], case.kernels.clone()), |table, epochs, watermark| {
            let mut windows = BTreeMap::<i64, Vec<Row>>::new();
            let over = inserted(&script[..epochs]).into_iter().filter(|row| Time::from_millis(row.3) <= watermark);
            over.for_each(|row| windows.entry(row.3).or_default().push(row));
            let whole = Case { partition: vec![], ..case.clone() };
            let tables = windows.values().map(|rows| expected(rows, &whole).0);
            assert_eq!(table.0, tables.flatten().collect());
        });
    }
}
