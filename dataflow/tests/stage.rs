//! A stage by itself, driven by the test: it needs no runtime. Bundles of several epochs interleaved over several
//! drivers, parts in any order, and a snapshot from which another stage goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use updraft_dataflow::aggregate::{Count, Sum, count, sum};
use updraft_dataflow::pipe::Identity;
use updraft_dataflow::pipe::stamped;
use updraft_dataflow::testing::windows;
use updraft_dataflow::window::{Sliced, WindowStage};
use updraft_dataflow::{Bundle, Epoch, Generation, Punctuation, Sliding, Stage, Time, Window, Windowed};

type Event = (i64, u32, i64);
type Row = (Window, u32, (u64, i64));

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
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let event = (0..3 * STEP, 0u32..40, -9i64..9);
    let epoch = proptest::collection::vec(proptest::collection::vec(event, 1..20), 0..5);
    let epochs = proptest::collection::vec(epoch, 1..12).prop_map(|epochs| {
        let late = epochs.into_iter().enumerate().map(|(e, bundles): (_, Vec<Vec<Event>>)| {
            let shift = |(t, k, v): Event| (t + STEP * e as i64, k, v);
            bundles.into_iter().map(|bundle| bundle.into_iter().map(shift).collect()).collect()
        });
        late.collect()
    });
    (epochs, 1u64..5_000, 1u64..5, (1usize..4, 1usize..9), (1usize..4, 1usize..9), 0usize..12, any::<u64>()).prop_map(
        |(epochs, size, slides, before, after, cut, seed): (Vec<_>, _, _, _, _, usize, _)| {
            let cut = cut.min(epochs.len());
            Case { epochs, size, slides, before, after, cut, seed }
        },
    )
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

/// All rows of the case, with a snapshot in between, from stages made with a number of pieces.
fn run<S>(case: &Case, stage: impl Fn(usize) -> S) -> Vec<Row>
where
    S: Stage<In = Event, Out = Windowed<u32, (u64, i64)>>,
{
    let mut driver = Driver::new(stage(case.before.1), case.before.0, case.seed);
    let mut early: Vec<Vec<Event>> = Vec::new();
    for (e, bundles) in case.epochs.iter().enumerate() {
        if e == case.cut {
            // Bundles of the next generation are consumed before the old one is complete.
            for bundle in bundles {
                driver.bundle(Generation(1), bundle.clone().into());
                early.push(bundle.clone());
            }
            break;
        }
        for bundle in bundles {
            driver.bundle(Generation(0), bundle.clone().into());
        }
        driver.complete(e as u64, Time(STEP * (e as i64 + 1)));
    }
    let mut rows = std::mem::take(&mut driver.rows);
    if case.cut < case.epochs.len() {
        let snapshot = driver.stage.snapshot(&driver.locals, Generation(0)).unwrap();
        driver = Driver::new(stage(case.after.1), case.after.0, case.seed ^ 7);
        driver.stage.restore(&driver.locals, snapshot).unwrap();
        // The source replays what came after.
        for (e, bundles) in case.epochs.iter().enumerate().skip(case.cut) {
            for bundle in bundles {
                driver.bundle(Generation(0), bundle.clone().into());
            }
            driver.complete(e as u64, Time(STEP * (e as i64 + 1)));
        }
    }
    driver.complete(case.epochs.len() as u64, Time::MAX);
    rows.append(&mut driver.rows);
    assert_eq!(driver.stage.state_bytes(), 0, "all state has been given back");
    let mut rows: Vec<Row> = rows.into_iter().map(|row| (row.window, row.key, row.value)).collect();
    rows.sort();
    rows
}

fn check(rows: Vec<Row>, expected: BTreeMap<(Window, u32), Vec<i64>>) {
    let row =
        |((window, key), values): ((Window, u32), Vec<i64>)| (window, key, (values.len() as u64, values.iter().sum()));
    assert_eq!(rows, expected.into_iter().map(row).collect::<Vec<Row>>());
}

fn records(case: &Case) -> Vec<(Time, u32, i64)> {
    case.epochs.concat().concat().iter().map(|(t, k, v)| (Time(*t), *k, *v)).collect()
}

fn time() -> updraft_dataflow::pipe::Stamped<impl Fn(&Event) -> Time + Clone> {
    stamped(|event: &Event| Time(event.0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_goes_on_where_it_was_taken(case in cases()) {
        let slide = Duration::from_micros(case.size.div_ceil(case.slides));
        let kind = Sliding::of(Duration::from_micros(case.size), slide);
        let aggregate = (count(), sum(|event: &Event| event.2));
        let rows = run(&case, |pieces| WindowStage::new(time(), |event: &Event| event.1, &kind, aggregate, pieces));
        check(rows, windows(&records(&case), kind.slicing()));
    }
}

#[test]
fn a_damaged_snapshot_is_an_error() {
    let pipe = Identity;
    let stage: WindowStage<u32, _, _, u32, (Count, Sum<fn(&u32) -> u32>)> = WindowStage::new(
        pipe,
        |x: &u32| *x,
        &Sliding::of(Duration::from_secs(2), Duration::from_secs(1)),
        (count(), sum((|x| *x) as fn(&u32) -> u32)),
        1,
    );
    let local = stage.local(0);
    let mut snapshot = {
        stage.bundle(&local, Generation(0), vec![1, 2, 3].into(), &mut |_| {});
        stage.snapshot(std::slice::from_ref(&local), Generation(0)).unwrap()
    };
    snapshot[0].1.truncate(3);
    let error = stage.restore(std::slice::from_ref(&local), snapshot).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}
