//! The regular join: what comes out, applied to a table, is at each time the join of both tables.

use std::collections::BTreeMap;

use proptest::prelude::*;
use updraft_dataflow::join::Side;
use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::{Hashed, Job, RowKind, Rows};
use updraft_sql::operator::join::regular::RegularJoin;

use crate::by_hand::ByHand;
use crate::driven::kernels;
use crate::model::{Case, Change, KINDS, Row, cases, rows, told};
use crate::support::{Driver, drivers};

/// What is done to a table: the row to insert, or which row to delete or to replace.
#[derive(Clone, Debug)]
enum Step {
    Insert(Row),
    Delete(usize),
    Update(usize, Row),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => rows().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Delete),
        2 => (any::<usize>(), rows()).prop_map(|(at, row)| Step::Update(at, row)),
    ]
}

/// Does it to the table, and tells of it.
fn apply(step: Step, table: &mut Vec<Row>) -> Vec<Change> {
    match step {
        Step::Delete(at) if !table.is_empty() => vec![(RowKind::Delete, table.swap_remove(at % table.len()))],
        Step::Update(at, row) if !table.is_empty() => {
            let at = at % table.len();
            let before = std::mem::replace(&mut table[at], row.clone());
            vec![(RowKind::UpdateBefore, before), (RowKind::UpdateAfter, row)]
        }
        Step::Insert(row) | Step::Update(_, row) => {
            table.push(row.clone());
            vec![(RowKind::Insert, row)]
        }
        Step::Delete(_) => Vec::new(),
    }
}

/// What comes out of a join, as the table that it makes.
#[derive(Default)]
struct View(BTreeMap<String, i64>);

impl View {
    fn apply(&mut self, out: &[Rows], in_order: bool) {
        for (kind, row) in told(out) {
            let count = self.0.entry(row).or_default();
            *count += kind.weight();
            assert!(*count >= 0 || !in_order, "what was deleted was there");
        }
        self.0.retain(|_, count| *count != 0);
    }

    fn rows(&self) -> Vec<String> {
        self.0.iter().flat_map(|(row, count)| vec![row.clone(); usize::try_from(*count).unwrap()]).collect()
    }
}

/// Bundles of both inputs.
fn bundles() -> impl Strategy<Value = Vec<(bool, Vec<Step>)>> {
    proptest::collection::vec((any::<bool>(), proptest::collection::vec(steps(), 1..8)), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn after_each_bundle_it_is_the_join_of_both(case in cases(&KINDS), bundles in bundles(), kernels in kernels()) {
        let mut join = ByHand::on(RegularJoin::new(case.joined()).unwrap(), kernels);
        let (mut left, mut right, mut view) = (Vec::new(), Vec::new(), View::default());
        for (is_left, steps) in bundles {
            let table = if is_left { &mut left } else { &mut right };
            let changes: Vec<Change> = steps.into_iter().flat_map(|step| apply(step, table)).collect();
            if !changes.is_empty() {
                let rows = case.hashed(&changes);
                view.apply(&if is_left { join.left(rows) } else { join.right(rows) }, true);
            }
            prop_assert_eq!(view.rows(), case.expected(&left, &right, |_, _| true));
            join.pause();
        }
        join.end();
    }

    #[test]
    fn in_jobs(
        case in cases(&KINDS),
        left in proptest::collection::vec(proptest::collection::vec(steps(), 0..8), 0..10),
        right in proptest::collection::vec(proptest::collection::vec(steps(), 0..8), 0..10),
        driver in drivers(),
    ) {
        // One partition each: the changes of a row stay in order.
        let script = |batches: Vec<Vec<Step>>, table: &mut Vec<Row>| {
            let mut batch = |steps: Vec<Step>| steps.into_iter().flat_map(|step| apply(step, table)).collect();
            vec![batches.into_iter().map(&mut batch).collect::<Vec<Vec<Change>>>()]
        };
        let (mut left_table, mut right_table) = (Vec::new(), Vec::new());
        let scripts = [script(left, &mut left_table), script(right, &mut right_table)];
        let out = run(&case, scripts, driver);
        let mut view = View::default();
        view.apply(&out, false);
        prop_assert_eq!(view.rows(), case.expected(&left_table, &right_table, |_, _| true));
    }
}

fn run(case: &Case, scripts: [Vec<Vec<Vec<Change>>>; 2], driver: Driver) -> Vec<Rows> {
    let job = Job::new("join");
    let [left, right] = scripts.map(|script| {
        let record = |changes: Vec<Change>| if changes.is_empty() { vec![] } else { vec![case.hashed(&changes)] };
        let partition = |batches: Vec<Vec<Change>>| batches.into_iter().map(record).collect();
        job.source("rows", Scripted::<Hashed>(script.into_iter().map(partition).collect())).stream()
    });
    let (sink, out) = gather();
    left.deal_with(right).operator("join", RegularJoin::new(case.joined()).unwrap()).sink("out", sink);
    driver.run(job);
    out.take()
}

/// Many rows, so that segments are put together, and rows numbered anew.
#[test]
fn what_is_deleted_is_forgotten() {
    let case = Case {
        kind: datafusion_common::JoinType::Full,
        keys: vec![0],
        nulls_equal: false,
        filtered: false,
        collide: false,
    };
    let mut join = ByHand::new(RegularJoin::new(case.joined()).unwrap());
    let row = |n: i64| Row { k: Some(n % 5_000), name: Some("a name that is too long for a view"), v: Some(n), ts: 0 };
    let mut view = View::default();
    let mut most = 0;
    for step in 0..200 {
        let come = (step * 100..(step + 1) * 100).map(|n| (RowKind::Insert, row(n)));
        let go = ((step - 20) * 100..(step - 19) * 100).filter(|n| *n >= 0).map(|n| (RowKind::Delete, row(n)));
        let rows = case.hashed(&come.chain(go).collect::<Vec<_>>());
        view.apply(
            &join.give(vec![if step % 2 == 0 { Side::Left(rows.clone()) } else { Side::Right(rows.clone()) }]),
            true,
        );
        view.apply(&join.give(vec![if step % 2 == 0 { Side::Right(rows) } else { Side::Left(rows) }]), true);
        most = most.max(join.bytes());
    }
    let live: Vec<Row> = (200 * 100 - 2_000..200 * 100).map(row).collect();
    assert_eq!(view.rows(), case.expected(&live, &live, |_, _| true));
    assert!(most < 3_000_000, "{most} bytes, of some 4,000 rows");
    join.close(updraft_dataflow::Time(0), updraft_dataflow::Time(0));
}

#[test]
fn what_was_never_inserted_cannot_be_deleted() {
    let case = Case {
        kind: datafusion_common::JoinType::Inner,
        keys: vec![0],
        nulls_equal: false,
        filtered: false,
        collide: false,
    };
    let row = Row { k: Some(1), name: Some("a"), v: None, ts: 0 };
    let job = Job::new("join");
    let never = case.hashed(&[(RowKind::Delete, row)]);
    let left = job.source("left", Scripted(vec![vec![vec![never]]])).stream();
    let right = job.source("right", Scripted(vec![Vec::<Vec<Hashed>>::new()])).stream();
    let (sink, _) = gather();
    left.deal_with(right).operator("join", RegularJoin::new(case.joined()).unwrap()).sink("out", sink);
    let runtime = updraft_kernel::Runtime::builder().kernels(1).pin(false).build().unwrap();
    let running = job.start(runtime.handle()).unwrap();
    let error = runtime.block_on(running.join()).unwrap_err().to_string();
    assert!(error.contains("(1, a, , 1970-01-01T00:00:00) is deleted, and never"), "{error}");
}
