//! A stage by itself, driven by the test: it needs no runtime. Bundles of several epochs interleaved over several
//! drivers, parts in any order, and a snapshot from which another stage goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use support::grouping::{self, CountAndSum, results};
use updraft_dataflow::aggregate::{count, sum};
use updraft_dataflow::pipe::Identity;
use updraft_dataflow::pipe::stamped;
use updraft_dataflow::testing::{self, Stored};
use updraft_dataflow::window::{Sliced, WindowStage};
use updraft_dataflow::{Bundle, Cumulating, Epoch, Generation, Punctuation, Sliding, Stage, Time, Window, Windowed};

type Event = (i64, i64, i64);
type Row = (Window, i64, (u64, i64));

/// Epochs of `STEP`, records within the epoch's step or the next two: never below the watermark.
const STEP: i64 = 1_000;

#[derive(Clone, Debug)]
struct Case {
    /// By epoch and bundle.
    epochs: Vec<Vec<Vec<Event>>>,
    size: u64,
    slides: u64,
    /// How many drivers and pieces there are before and after the snapshot, which follows on this many epochs.
    before: (usize, usize),
    after: (usize, usize),
    cut: usize,
    cumulates: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let event = (0..3 * STEP, 0i64..40, -9i64..9);
    let epoch = proptest::collection::vec(proptest::collection::vec(event, 1..20), 0..5);
    let epochs = proptest::collection::vec(epoch, 1..12).prop_map(|epochs| {
        let late = epochs.into_iter().enumerate().map(|(e, bundles): (_, Vec<Vec<Event>>)| {
            let shift = |(t, k, v): Event| (t + STEP * e as i64, k, v);
            bundles.into_iter().map(|bundle| bundle.into_iter().map(shift).collect()).collect()
        });
        late.collect()
    });
    (epochs, 1u64..5_000, 1u64..5, (1usize..4, 1usize..9), (1usize..4, 1usize..9), 0usize..12, any::<(u64, bool)>())
        .prop_map(|(epochs, size, slides, before, after, cut, (seed, cumulates)): (Vec<_>, _, _, _, _, usize, _)| {
            let cut = cut.min(epochs.len());
            Case { epochs, size, slides, before, after, cut, cumulates, seed }
        })
}

struct Driver<S: Stage> {
    stage: S,
    locals: Vec<S::Local>,
    rows: Vec<S::Out>,
    random: u64,
}

impl<S: Stage> Driver<S> {
    fn new(stage: S, drivers: usize, random: u64) -> Self {
        let locals = (0..drivers).map(|driver| stage.local(driver)).collect();
        Self { stage, locals, rows: Vec::new(), random: random | 1 }
    }

    fn pick(&mut self, n: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % n
    }

    fn bundle(&mut self, generation: Generation, bundle: Bundle<S::In>) {
        let local = self.pick(self.locals.len());
        let rows = &mut self.rows;
        self.stage.bundle(&self.locals[local], generation, bundle, &mut |out| rows.extend(out.into_vec()));
    }

    fn complete(&mut self, epoch: u64, watermark: Time) {
        let mut parts = self.stage.seal(&self.locals, Punctuation { epoch: Epoch(epoch), watermark, now: Time(0) });
        while !parts.is_empty() {
            let part = parts.swap_remove(self.pick(parts.len()));
            let rows = &mut self.rows;
            self.stage.part(&self.locals[0], part, &mut |out| rows.extend(out.into_vec()));
        }
    }
}

/// All rows of the case, with a snapshot in between, from stages made with a number of pieces, which `bundle` feeds.
fn run<S: Stage>(case: &Case, stage: impl Fn(usize) -> S, bundle: impl Fn(&[Event]) -> Bundle<S::In>) -> Vec<S::Out> {
    let (mut driver, mut stored) = (Driver::new(stage(case.before.1), case.before.0, case.seed), Stored::default());
    for (e, bundles) in case.epochs.iter().enumerate() {
        if e == case.cut {
            // Bundles of the next generation are consumed before the old one is complete.
            bundles.iter().for_each(|events| driver.bundle(Generation(e as u64 + 1), bundle(events)));
            break;
        }
        bundles.iter().for_each(|events| driver.bundle(Generation(e as u64), bundle(events)));
        if driver.pick(2) == 0 {
            stored.finish(&driver.stage, &driver.locals);
        }
        driver.complete(e as u64, Time(STEP * (e as i64 + 1)));
        stored.finish(&driver.stage, &driver.locals);
        // Each snapshot keeps what it can of the one before.
        stored.begin(&driver.stage, &driver.locals, Generation(e as u64));
    }
    let mut rows = std::mem::take(&mut driver.rows);
    if case.cut < case.epochs.len() {
        // One that is begun now, or the last one, of which nothing may be saved yet.
        if case.cut == 0 || driver.pick(2) == 0 {
            stored.finish(&driver.stage, &driver.locals);
            stored.begin(&driver.stage, &driver.locals, Generation(case.cut as u64));
        }
        // What happens before it is saved does not show.
        if driver.pick(2) == 0 {
            driver.complete(case.cut as u64, Time(STEP * (case.cut as i64 + 1)));
        }
        stored.finish(&driver.stage, &driver.locals);
        driver = Driver::new(stage(case.after.1), case.after.0, case.seed ^ 7);
        stored.restore(&driver.stage, &driver.locals, at(case.cut as u64, Time(STEP * case.cut as i64))).unwrap();
        // The source replays what came after.
        for (e, bundles) in case.epochs.iter().enumerate().skip(case.cut) {
            bundles.iter().for_each(|events| driver.bundle(Generation(0), bundle(events)));
            driver.complete(e as u64, Time(STEP * (e as i64 + 1)));
        }
    }
    driver.complete(case.epochs.len() as u64, Time::MAX);
    rows.append(&mut driver.rows);
    assert_eq!(driver.stage.state_bytes(), 0, "all state has been given back");
    rows
}

fn at(epoch: u64, watermark: Time) -> Punctuation {
    Punctuation { epoch: Epoch(epoch), watermark, now: Time(0) }
}

fn check(mut rows: Vec<Row>, expected: BTreeMap<(Window, i64), Vec<i64>>) {
    rows.sort();
    let row =
        |((window, key), values): ((Window, i64), Vec<i64>)| (window, key, (values.len() as u64, values.iter().sum()));
    assert_eq!(rows, expected.into_iter().map(row).collect::<Vec<Row>>());
}

fn records(case: &Case) -> Vec<(Time, i64, i64)> {
    case.epochs.concat().concat().iter().map(|(t, k, v)| (Time(*t), *k, *v)).collect()
}

fn time() -> updraft_dataflow::pipe::Stamped<impl Fn(&Event) -> Time + Clone> {
    stamped(|event: &Event| Time(event.0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_goes_on_where_it_was_taken(case in cases()) {
        match kind(&case) {
            Kind::Sliding(kind) => { of_records(&case, &kind); of_columns(&case, &kind) }
            Kind::Cumulating(kind) => { of_records(&case, &kind); of_columns(&case, &kind) }
        }
    }
}

enum Kind {
    Sliding(Sliding),
    Cumulating(Cumulating),
}

fn kind(case: &Case) -> Kind {
    let slide = case.size.div_ceil(case.slides) as i64;
    if case.cumulates {
        return Kind::Cumulating(Cumulating::of_micros(slide * case.slides as i64, slide));
    }
    Kind::Sliding(Sliding::of_micros(case.size as i64, slide))
}

fn of_records(case: &Case, windows: &impl Sliced) {
    let aggregate = (count(), sum(|event: &Event| event.2));
    let stage = |pieces| WindowStage::new(time(), |event: &Event| event.1, windows, aggregate, pieces);
    let rows = run(case, stage, |events| events.to_vec().into());
    let row = |row: Windowed<i64, (u64, i64)>| (row.window, row.key, row.value);
    check(rows.into_iter().map(row).collect(), testing::windows(&records(case), windows.slicing()));
}

fn of_columns(case: &Case, windows: &impl Sliced) {
    let stage = |pieces| WindowStage::of_rows(Identity, windows, CountAndSum::default(), pieces);
    let rows = run(case, stage, |events| vec![grouping::rows(events)].into());
    check(rows.iter().flat_map(results).collect(), testing::windows(&records(case), windows.slicing()));
}

#[test]
fn a_damaged_snapshot_is_an_error() {
    let pipe = Identity;
    let windows = Sliding::of(Duration::from_secs(2), Duration::from_secs(1));
    let stage = WindowStage::<u32, _, _>::new(pipe, |x: &u32| *x, &windows, (count(), sum(|x: &u32| *x)), 1);
    let local = stage.local(0);
    stage.bundle(&local, Generation(0), vec![1, 2, 3].into(), &mut |_| {});
    let mut stored = Stored::default();
    stored.take(&stage, std::slice::from_ref(&local), Generation(0));
    stored.records().next().unwrap().bytes.truncate(3);
    let error = stored.restore(&stage, std::slice::from_ref(&local), at(0, Time(0))).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[test]
fn a_damaged_snapshot_of_columns_is_an_error() {
    let stage = WindowStage::of_rows(Identity, &Sliding::of_micros(2, 1), CountAndSum::default(), 1);
    let local = stage.local(0);
    stage.bundle(&local, Generation(0), vec![grouping::rows(&[(1, 2, 3)])].into(), &mut |_| {});
    let mut stored = Stored::default();
    stored.take(&stage, std::slice::from_ref(&local), Generation(0));
    // It ends with three numbers of eight bytes.
    stored.records().next().unwrap().bytes.pop();
    let error = stored.restore(&stage, std::slice::from_ref(&local), at(0, Time(0))).unwrap_err();
    assert!(error.to_string().contains("cannot be read: groups are cut short"), "{error}");
}
