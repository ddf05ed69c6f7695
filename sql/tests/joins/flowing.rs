//! Joins that keep one input whole: hash joins and lookups; and what tells them that it is.

use proptest::prelude::*;
use updraft_dataflow::join::Side;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::testing::{Script, Scripted, gather};
use updraft_dataflow::{Batch, Bundle, Epochs, Error, Hashed, Job, Partition, RowKind, Rows, Source, Time};
use updraft_sql::gate::Gate;
use updraft_sql::operator::join::Input;
use updraft_sql::operator::join::hash::HashJoin;
use updraft_sql::operator::join::lookup::LookupJoin;

use crate::by_hand::ByHand;
use crate::driven::kernels;
use crate::model::{Case, KINDS, Row, cases, inserted, plain, rows, told};
use crate::support::{Driver, drivers};

/// By partition and batch.
type Given = Vec<Vec<Vec<Row>>>;

fn scripts() -> impl Strategy<Value = Given> {
    let batch = proptest::collection::vec(rows(), 1..9);
    proptest::collection::vec(proptest::collection::vec(batch, 0..6), 1..3)
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![Just(Input::Left), Just(Input::Right)]
}

fn hashed(case: &Case, script: &Given) -> Scripted<Hashed> {
    let record = |rows: &Vec<Row>| vec![case.hashed(&plain(rows))];
    Scripted(script.iter().map(|partition| partition.iter().map(record).collect()).collect())
}

fn run<O>(case: &Case, left: &Given, right: &Given, driver: Driver, join: O) -> Vec<Rows>
where
    O: Operator<Side<Hashed, Hashed>, Out = Rows>,
{
    let job = Job::new("join");
    let (sink, out) = gather();
    let [left, right] = [left, right].map(|script| job.source("rows", hashed(case, script)).stream());
    left.deal_with(right).operator("join", join).sink("out", sink);
    driver.run(job);
    out.take()
}

/// What is read only when a gate is open.
struct Behind(Scripted<Hashed>, Gate);

struct BehindPart(Script<Hashed>, Gate);

impl Source for Behind {
    type Item = Hashed;
    type Partition = BehindPart;

    fn open(self) -> Result<Vec<BehindPart>, Error> {
        Ok(self.0.open()?.into_iter().map(|partition| BehindPart(partition, self.1.clone())).collect())
    }
}

impl Partition for BehindPart {
    type Item = Hashed;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Hashed>>, Error> {
        self.1.pass().await;
        self.0.next(limit).await
    }

    fn position(&self) -> String {
        self.0.position()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn hash_joins_in_jobs(
        case in cases(&KINDS), build in inputs(), left in scripts(), right in scripts(), driver in drivers(),
    ) {
        let out = run(&case, &left, &right, driver, HashJoin::new(case.joined(), build).unwrap());
        let [left, right] = [left, right].map(|script| script.concat().concat());
        prop_assert_eq!(inserted(&out), case.expected(&left, &right, |_, _| true));
    }

    /// The end of what is kept is told while nothing is read of the other input, though epochs are long.
    #[test]
    fn hash_joins_that_the_other_input_waits_for(
        case in cases(&KINDS), left in scripts(), right in scripts(), driver in drivers(),
    ) {
        let (job, gate) = (Job::new("join"), Gate::default());
        let (sink, out) = gather();
        let flowing = Behind(hashed(&case, &left), gate.clone());
        let flowing = job.source("left", flowing).epochs(Epochs::Records(usize::MAX)).stream();
        let kept = job.source("right", hashed(&case, &right)).epochs(Epochs::Records(usize::MAX)).stream();
        let join = HashJoin::new(case.joined(), Input::Right).unwrap().opens(gate);
        flowing.deal_with(kept).operator("join", join).sink("out", sink);
        driver.run(job);
        let [left, right] = [left, right].map(|script| script.concat().concat());
        prop_assert_eq!(inserted(&out.take()), case.expected(&left, &right, |_, _| true));
    }

    #[test]
    fn lookups_in_jobs_wait(
        case in cases(&KINDS[..2]), left in scripts(), right in scripts(), driver in drivers(),
    ) {
        let out = run(&case, &left, &right, driver, LookupJoin::new(case.joined(), true).unwrap());
        let [left, right] = [left, right].map(|script| script.concat().concat());
        prop_assert_eq!(inserted(&out), case.expected(&left, &right, |_, _| true));
    }

    /// Those that don't wait find what is there.
    #[test]
    fn lookups_find_what_is_there(
        case in cases(&KINDS[..2]),
        bundles in proptest::collection::vec((any::<bool>(), proptest::collection::vec(rows(), 1..6), 0usize..4), 0..12),
        kernels in kernels(),
    ) {
        let mut join = ByHand::on(LookupJoin::new(case.joined(), false).unwrap(), kernels);
        let mut table: Vec<Row> = Vec::new();
        for (is_left, rows, goes) in bundles {
            if is_left {
                prop_assert_eq!(inserted(&join.left(case.hashed(&plain(&rows)))), case.expected(&rows, &table, |_, _| true));
            } else {
                let mut changes = plain(&rows);
                changes.extend(table.drain(..goes.min(table.len())).map(|row| (RowKind::Delete, row)));
                table.extend(rows);
                prop_assert!(join.right(case.hashed(&changes)).is_empty());
            }
            join.pause();
        }
        join.end();
    }

    /// Rows that come too early wait for the end of the other input; later ones don't.
    #[test]
    fn it_flows_once_the_kept_input_has_ended(
        case in cases(&KINDS), build in inputs(), kept in scripts(), early in scripts(), later in scripts(),
        kernels in kernels(),
    ) {
        let mut join = ByHand::on(HashJoin::new(case.joined(), build).unwrap(), kernels);
        let [kept, early, later] = [kept, early, later].map(|script| script.concat());
        let side = |input, rows| if input == Input::Left { Side::Left(rows) } else { Side::Right(rows) };
        for rows in kept.iter() {
            prop_assert!(join.give(vec![side(build, case.hashed(&plain(rows)))]).is_empty());
            join.pause();
        }
        for rows in early.iter() {
            prop_assert!(join.give(vec![side(build.other(), case.hashed(&plain(rows)))]).is_empty());
            join.pause();
        }
        let mut out = join.give(vec![side(build, Hashed::end())]);
        for rows in later.iter() {
            join.pause();
            out.extend(join.give(vec![side(build.other(), case.hashed(&plain(rows)))]));
        }
        let (kept, flown) = (kept.concat(), [early, later].concat().concat());
        let (left, right) = if build == Input::Left { (&kept, &flown) } else { (&flown, &kept) };
        let expected = case.expected(left, right, |_, _| true);
        out.extend(join.end());
        prop_assert_eq!(inserted(&out), expected);
    }

    /// Rows that come before the table is complete find all of it.
    #[test]
    fn lookups_wait_for_the_table(
        case in cases(&KINDS[..2]), early in scripts(), table in scripts(), later in scripts(), kernels in kernels(),
    ) {
        let mut join = ByHand::on(LookupJoin::new(case.joined(), true).unwrap(), kernels);
        let [early, table, later] = [early, table, later].map(|script| script.concat());
        for at in 0..early.len().max(table.len()) {
            early.get(at).into_iter().for_each(|rows| assert!(join.left(case.hashed(&plain(rows))).is_empty()));
            table.get(at).into_iter().for_each(|rows| assert!(join.right(case.hashed(&plain(rows))).is_empty()));
            join.pause();
        }
        let mut out = join.right(Hashed::end());
        for rows in later.iter() {
            join.pause();
            out.extend(join.left(case.hashed(&plain(rows))));
        }
        prop_assert!(join.end().is_empty(), "nothing waits any more");
        let (left, right) = ([early, later].concat().concat(), table.concat());
        prop_assert_eq!(inserted(&out), case.expected(&left, &right, |_, _| true));
    }

    #[test]
    fn what_flows_by_is_not_kept(case in cases(&KINDS), build in inputs(), kept in scripts(), flowing in scripts()) {
        let join = ByHand::new(HashJoin::new(case.joined(), build).unwrap());
        let side = |input, rows| if input == Input::Left { Side::Left(rows) } else { Side::Right(rows) };
        for rows in kept.concat() {
            join.give(vec![side(build, case.hashed(&plain(&rows)))]);
        }
        join.give(vec![side(build, Hashed::end())]);
        let held = join.bytes();
        for rows in flowing.concat() {
            join.give(vec![side(build.other(), case.hashed(&plain(&rows)))]);
        }
        // What is known to have changed takes a bit a row.
        prop_assert!(join.bytes() <= held + 64);
    }

    /// What flows by may be deleted again, in the order in which it came.
    #[test]
    fn what_flows_by_may_change(case in cases(&KINDS[..2]), kept in scripts(), flows in proptest::collection::vec(rows(), 1..9)) {
        let join = ByHand::new(HashJoin::new(case.joined(), Input::Right).unwrap());
        let kept = kept.concat().concat();
        if !kept.is_empty() {
            join.right(case.hashed(&plain(&kept)));
        }
        join.right(Hashed::end());
        let changes: Vec<_> = flows.iter().flat_map(|row| [(RowKind::Insert, row.clone()), (RowKind::Delete, row.clone())]).collect();
        let out = told(&join.left(case.hashed(&changes)));
        let mut expected = Vec::new();
        for (kind, row) in changes {
            let mut rows = case.expected(&[row], &kept, |_, _| true);
            rows.sort();
            expected.extend(rows.into_iter().map(|row| (kind, row)));
        }
        // Partners of a row are in any order.
        let sorted = |mut rows: Vec<(RowKind, String)>| {
            rows.chunk_by_mut(|one, other| one.0 == other.0).for_each(|run| run.sort());
            rows
        };
        prop_assert_eq!(sorted(out), sorted(expected));
    }
}

/// Tells what it hears of ends: for each input a row of it.
#[derive(Clone, Default)]
struct Ends {
    rows: [usize; 2],
}

impl Operator<Side<Hashed, Hashed>> for Ends {
    type Out = (bool, usize);

    fn bundle(&mut self, bundle: Bundle<Side<Hashed, Hashed>>, out: &mut Outbox<'_, Self::Out>) {
        for rows in bundle.into_vec() {
            let (is_left, rows) = match rows {
                Side::Left(rows) => (true, rows),
                Side::Right(rows) => (false, rows),
            };
            self.rows[usize::from(is_left)] += rows.rows.len();
            if rows.is_end() {
                out.emit(vec![(is_left, self.rows[usize::from(is_left)])]);
            }
        }
    }
}

proptest! {
    /// Each shard hears of each input's end once, after the last of its rows.
    #[test]
    fn ends_are_heard_of(
        case in cases(&KINDS), left in scripts(), right in scripts(), shards in 1usize..6, driver in drivers(),
    ) {
        let job = Job::new("ends").shards(shards);
        let (sink, out) = gather();
        let [one, other] = [&left, &right].map(|script| job.source("rows", hashed(&case, script)).stream());
        one.deal_with(other).operator("ends", Ends::default()).sink("out", sink);
        driver.run(job);
        let heard: Vec<(bool, usize)> = out.take();
        for (is_left, script) in [(true, left), (false, right)] {
            let of: Vec<usize> = heard.iter().filter(|(of, _)| *of == is_left).map(|(_, rows)| *rows).collect();
            prop_assert_eq!(of.len(), shards);
            prop_assert_eq!(of.iter().sum::<usize>(), script.concat().concat().len());
        }
    }
}

/// Output is cut into batches, of rows that have many partners, too.
#[test]
fn many_partners() {
    let case = Case {
        kind: datafusion_common::JoinType::Full,
        keys: vec![0],
        nulls_equal: false,
        filtered: false,
        collide: false,
    };
    let row = |v: i64| Row { k: Some(v % 2), name: None, v: Some(v), ts: 0 };
    let all: Vec<Row> = (0..500).map(row).collect();
    for build in [Input::Left, Input::Right] {
        let mut join = ByHand::new(HashJoin::new(case.joined(), build).unwrap());
        let out = join.give(vec![Side::Left(case.hashed(&plain(&all))), Side::Right(case.hashed(&plain(&all)))]);
        assert!(out.is_empty());
        let out = join.close(Time::MAX, Time(0));
        assert!(out.len() > 1 && out.iter().all(|rows| rows.len() <= 32 * 1024));
        assert_eq!(inserted(&out), case.expected(&all, &all, |_, _| true));
    }
}
