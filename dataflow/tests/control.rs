//! Control operations over random graphs, several at once, with crashes in between: what comes of the job is what comes of it undisturbed, a
//! message meets each part of it at the end of the same epoch, and nothing is lost, doubled or reordered on the way.
//!
//! More cases: `PROPTEST_CASES=10000 cargo test -p updraft-dataflow --test control`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use support::graph::{self, Case, Rec, cases, interpret};
use support::{Driver, flows, sorted};
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::control::{
    Answer, Ask, Asked, ControlError, Controller, Cut, Drain, Instance, Message, Monitor, Moved, Part, PartCut, Pause,
    Rehash, Rescale, Resume, Round, Set, Swap, View,
};
use updraft_dataflow::explain::{Explanation, NodeKind};
use updraft_dataflow::sim::{Faults, Sim, slow, stalling};
use updraft_dataflow::testing::{Gathered, Ledger, Scripted, gather};
use updraft_dataflow::{Epoch, Epochs, Error, Job, Running};
use updraft_kernel::Runtime;

/// What is asked of a job, how long after what was asked before, in microseconds.
type Script = Vec<(u64, Wanted)>;

#[derive(Clone, Debug)]
enum Wanted {
    Monitor,
    /// One that waits at stages or not, so often, for sources alone or for all parts.
    Probe(bool, usize, bool),
    /// Of a source, counted round.
    Bundle(usize, usize),
    Pause(Option<usize>),
    Resume(Option<usize>),
    /// Of a stage, counted round, or of all.
    Rescale(Option<usize>, usize),
    /// Of an operator with two versions, counted round, the one or the other.
    Swap(usize, bool),
    /// A driver of a stage, to a kernel, all counted round.
    Rehash(usize, usize, usize),
}

fn scripts() -> impl Strategy<Value = Script> {
    let source = proptest::option::of(0usize..4);
    let wanted = prop_oneof![
        2 => Just(Wanted::Monitor),
        3 => (any::<bool>(), 1usize..4, any::<bool>()).prop_map(|(blocks, rounds, only)| Wanted::Probe(blocks, rounds, only)),
        1 => (0usize..4, 1usize..50).prop_map(|(source, bundle)| Wanted::Bundle(source, bundle)),
        1 => source.clone().prop_map(Wanted::Pause),
        2 => source.clone().prop_map(Wanted::Resume),
        2 => (source, 0usize..4).prop_map(|(stage, kernels)| Wanted::Rescale(stage, kernels)),
        1 => (0usize..9, any::<bool>()).prop_map(|(operator, other)| Wanted::Swap(operator, other)),
        2 => (0usize..9, 0usize..20, 0usize..4).prop_map(|(stage, driver, kernel)| Wanted::Rehash(stage, driver, kernel)),
    ];
    let after = prop_oneof![Just(0u64), 0u64..3_000, 0u64..100_000];
    proptest::collection::vec((after, wanted), 0..12)
}

/// What happens to a message, by part and instance.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<BTreeMap<(usize, usize), Vec<&'static str>>>>);

impl Notes {
    fn note(&self, part: &Part, number: usize, what: &'static str) {
        self.0.lock().unwrap().entry((part.number, number)).or_default().push(what);
    }
}

/// Waits at stages, if `BLOCKS`.
#[derive(Debug)]
struct Probe<const BLOCKS: bool> {
    notes: Notes,
    only_sources: bool,
    /// Rounds that are left.
    rounds: usize,
    epochs: Vec<Epoch>,
    answers: BTreeMap<(usize, usize), Epoch>,
    expected: usize,
    is_disposed: Arc<Mutex<usize>>,
}

impl<const BLOCKS: bool> Probe<BLOCKS> {
    fn new(rounds: usize, only_sources: bool, is_disposed: &Arc<Mutex<usize>>) -> Self {
        let (notes, epochs, answers) = (Notes::default(), Vec::new(), BTreeMap::new());
        Self { notes, only_sources, rounds, epochs, answers, expected: 0, is_disposed: is_disposed.clone() }
    }
}

#[derive(Debug)]
struct Sent<const BLOCKS: bool>(Notes, bool);

impl<const BLOCKS: bool> Message for Sent<BLOCKS> {
    type Visit = (Part, usize);
    type Answer = Epoch;
    const BLOCKING: bool = BLOCKS;

    fn concerns(&self, part: &Part) -> bool {
        !self.1 || part.kind == NodeKind::Source
    }
    fn on_init(&self, part: &Part, number: usize) -> (Part, usize) {
        self.0.note(part, number, "init");
        (part.clone(), number)
    }
    fn on_begin(&self, (part, number): &mut (Part, usize)) {
        self.0.note(part, *number, "begin");
    }
    fn on_next(&self, (part, number): &mut (Part, usize)) {
        self.0.note(part, *number, "next");
    }
    fn on_complete(&self, (part, number): &mut (Part, usize), instance: &mut Instance<'_>) -> Epoch {
        assert_eq!((&*part, *number), (instance.part, instance.number));
        self.0.note(part, *number, "complete");
        instance.at.epoch
    }
    fn on_dispose(&self, (part, number): (Part, usize)) {
        self.0.note(&part, number, "dispose");
    }
}

impl<const BLOCKS: bool> Controller for Probe<BLOCKS> {
    type Message = Sent<BLOCKS>;
    type Outcome = Vec<Epoch>;
    const NAME: &'static str = "probe";

    fn changes(&self, _: &Part) -> bool {
        BLOCKS
    }

    fn on_init(&mut self, job: &View<'_>) -> Result<Sent<BLOCKS>, Error> {
        let sent = Sent(self.notes.clone(), self.only_sources);
        self.expected = job.parts.iter().filter(|part| sent.concerns(part)).map(|part| part.instances).sum();
        Ok(sent)
    }
    fn on_begin(&mut self, epoch: Epoch) {
        self.epochs.push(epoch);
    }
    fn on_next(&mut self, answer: Answer<Epoch>) {
        let again = self.answers.insert((answer.part.number, answer.number), answer.said);
        assert_eq!(again, None, "{} has answered twice", answer.part);
    }
    fn on_complete(&mut self) -> Result<Round<Sent<BLOCKS>, Vec<Epoch>>, Error> {
        let answers = std::mem::take(&mut self.answers);
        assert_eq!(answers.len(), self.expected, "all instances have answered");
        let epoch = *self.epochs.last().unwrap();
        assert!(answers.into_values().all(|at| at == epoch), "at the end of the epoch that it rides on");
        for ((part, number), notes) in std::mem::take(&mut self.notes).0.lock().unwrap().iter() {
            let nexts = notes.iter().filter(|note| **note == "next").count();
            let expected = ["init", "begin"].into_iter().chain(std::iter::repeat_n("next", nexts));
            // The last one may not have gone on yet.
            let expected: Vec<_> = expected.chain(["complete", "dispose"]).take(notes.len().max(3 + nexts)).collect();
            assert!(*notes == expected && nexts > 0, "{number} of {part}: {notes:?}");
        }
        self.rounds -= 1;
        Ok(if self.rounds > 0 {
            Round::Again(Sent(self.notes.clone(), self.only_sources))
        } else {
            Round::Done(self.epochs.clone())
        })
    }
    fn on_dispose(&mut self) {
        *self.is_disposed.lock().unwrap() += 1;
    }
}

/// What was asked of a job, and what has come of it so far.
#[derive(Default)]
struct Operations {
    cuts: Vec<Asked<Cut>>,
    /// Those that change the same, in the order in which they were asked for.
    probes: Vec<Asked<Vec<Epoch>>>,
    others: Vec<Asked<Vec<Epoch>>>,
    epochs: Vec<Asked<Epoch>>,
    moves: Vec<Asked<Moved>>,
    begun: usize,
    disposed: Arc<Mutex<usize>>,
}

impl Operations {
    fn ask(&mut self, running: &Running, wanted: &Wanted, case: &Case, kernels: usize) {
        let (sources, stages) = (case.inputs.len(), &running.metrics().stages);
        let stage = |stage: usize| (!stages.is_empty()).then(|| stages[stage % stages.len()].name.to_string());
        let name = |source: usize| format!("source {}", source % sources);
        match *wanted {
            Wanted::Monitor => self.cuts.push(running.control(Monitor::default())),
            Wanted::Probe(true, rounds, only) => {
                self.begun += 1;
                self.probes.push(running.control(Probe::<true>::new(rounds, only, &self.disposed)));
            }
            Wanted::Probe(false, rounds, only) => {
                self.begun += 1;
                self.others.push(running.control(Probe::<false>::new(rounds, only, &self.disposed)));
            }
            Wanted::Bundle(source, records) => {
                self.epochs.push(running.control(Set::new().bundle(name(source), records)));
            }
            Wanted::Pause(source) => {
                let pause = source.map_or_else(Pause::all, |source| Pause::source(name(source)));
                self.epochs.push(running.control(pause));
            }
            Wanted::Resume(source) => {
                let resume = source.map_or_else(Resume::all, |source| Resume::source(name(source)));
                self.epochs.push(running.control(resume));
            }
            Wanted::Swap(at, other) => {
                let names = graph::swappable(case);
                if !names.is_empty() {
                    let swap = Swap::new(&*names[at % names.len()], if other { "other" } else { "one" });
                    self.epochs.push(running.control(swap));
                }
            }
            Wanted::Rescale(at, to) => {
                let to = 1 + to % kernels;
                let rescale = |stage| Rescale::stage(stage, to);
                let rescale = at.and_then(stage).map_or_else(|| Rescale::job(to), rescale);
                self.moves.push(running.control(rescale));
            }
            Wanted::Rehash(at, driver, to) => {
                // As many as a stage has at least.
                let drivers = case.shards.map_or(kernels, |shards| shards.min(kernels));
                if let Some(stage) = stage(at) {
                    self.moves.push(running.control(Rehash::stage(stage).shard(driver % drivers, to % kernels)));
                }
            }
        }
    }

    /// Waits for all, and checks what has come of them.
    async fn check(self, explained: &Explanation) -> Result<(), TestCaseError> {
        let mut last = None;
        for asked in self.probes {
            for epoch in done(asked.await).into_iter().flatten() {
                prop_assert!(last < Some(epoch), "one after the other");
                last = Some(epoch);
            }
        }
        for asked in self.others {
            let epochs = done(asked.await).unwrap_or_default();
            prop_assert!(epochs.is_sorted_by(|one, next| one < next));
        }
        for asked in self.epochs {
            done(asked.await);
        }
        for asked in self.moves {
            done(asked.await);
        }
        let (mut cuts, mut before) = (Vec::new(), None::<Cut>);
        for asked in self.cuts {
            cuts.extend(done(asked.await));
        }
        cuts.sort_by_key(|cut| cut.epoch);
        for cut in cuts {
            adds_up(explained, &cut)?;
            if let Some(before) = before {
                prop_assert!(before.epoch < cut.epoch);
                for (part, rate) in cut.since(&before) {
                    prop_assert!(rate.records_in >= 0.0 && rate.records_out >= 0.0, "{part}: {rate:?}");
                }
            }
            before = Some(cut);
        }
        prop_assert_eq!(*self.disposed.lock().unwrap(), self.begun);
        Ok(())
    }
}

/// What has come of an operation, unless the job had ended before.
fn done<T>(outcome: Result<T, ControlError>) -> Option<T> {
    match outcome {
        Ok(outcome) => Some(outcome),
        Err(ControlError::Ended { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Whether a cut adds up.
fn adds_up(explained: &Explanation, cut: &Cut) -> Result<(), TestCaseError> {
    let seen = |cut: &'_ PartCut| (cut.seen.records_in, cut.seen.records_out);
    flows(explained, cut.parts.iter().map(|part| (part.part.kind, &*part.part.name, seen(part).0, seen(part).1)))
}

/// As many cases as the environment says.
fn how_many(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: how_many(400), ..ProptestConfig::default() })]

    #[test]
    fn operations_change_no_result(case in cases(), script in scripts()) {
        let is_simulated = matches!(case.driver, Driver::Simulated(..));
        let (job, streams) = graph::build(&case, is_simulated);
        let mut gathered = Vec::new();
        for (n, stream) in streams.into_iter().enumerate() {
            let (sink, rows) = gather();
            stream.sink(format!("sink {n}"), slow(sink, Duration::from_millis(if is_simulated { 30 } else { 0 })));
            gathered.push(rows);
        }
        let explained = job.explain();
        let mut operations = Operations::default();
        match case.driver {
            Driver::Simulated(seed, kernels, stalls) => {
                let faults = Faults::none().stalls(stalls, Duration::from_millis(20));
                let sim = Sim::builder(seed).kernels(kernels).faults(faults).build();
                let running = job.start(sim.handle()).unwrap();
                for (after, wanted) in &script {
                    sim.run_for(Duration::from_micros(*after));
                    operations.ask(&running, wanted, &case, kernels);
                }
                operations.ask(&running, &Wanted::Resume(None), &case, kernels);
                sim.block_on(running.join()).unwrap();
                sim.block_on(operations.check(&explained))?;
            }
            Driver::Threads(kernels) => {
                let runtime = Runtime::builder().kernels(kernels).pin(false).build().unwrap();
                let running = job.start(runtime.handle()).unwrap();
                for (_, wanted) in &script {
                    std::thread::yield_now();
                    operations.ask(&running, wanted, &case, kernels);
                }
                operations.ask(&running, &Wanted::Resume(None), &case, kernels);
                runtime.block_on(running.join()).unwrap();
                runtime.block_on(operations.check(&explained))?;
            }
        }
        prop_assert_eq!(sorted(&gathered), interpret(&case));
    }

    /// The same with checkpoints, and processes that are killed.
    #[test]
    fn operations_survive_crashes(
        case in cases(),
        lives in proptest::collection::vec((any::<u64>(), 1usize..4, 0u64..60_000, 200u64..20_000, scripts()), 1..5),
    ) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut ledgers = Vec::<Ledger<Rec>>::new();
        let last = lives.len() - 1;
        for (n, (seed, kernels, killed_after, every, script)) in lives.into_iter().enumerate() {
            let sim = Sim::builder(seed).kernels(kernels).build();
            let checkpoints = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
            let (job, streams) = graph::build(&case, true);
            ledgers.resize_with(streams.len(), Ledger::default);
            for (n, stream) in streams.into_iter().enumerate() {
                stream.sink(format!("sink {n}"), slow(ledgers[n].sink(), Duration::from_millis(20)));
            }
            let running = job.checkpoints(checkpoints.every(Duration::from_micros(every))).start(sim.handle()).unwrap();
            let mut operations = Operations::default();
            for (after, wanted) in &script {
                sim.run_for(Duration::from_micros(*after));
                operations.ask(&running, wanted, &case, kernels);
            }
            if n == last {
                operations.ask(&running, &Wanted::Resume(None), &case, kernels);
                sim.block_on(running.join()).unwrap();
            } else {
                sim.run_for(Duration::from_micros(killed_after));
            }
        }
        let committed = |ledger: &Ledger<Rec>| {
            let mut rows = ledger.committed();
            rows.sort();
            rows
        };
        prop_assert_eq!(ledgers.iter().map(committed).collect::<Vec<_>>(), interpret(&case));
    }

    /// A parameter is the same for a record wherever it comes, and does not go back.
    #[test]
    fn parameters_change_between_epochs(
        seed: u64, kernels in 1usize..4, quota in 1usize..20, waits in proptest::collection::vec(0u64..200_000, 0..8),
    ) {
        let sim = Sim::builder(seed).kernels(kernels).faults(Faults::none().stalls(0.05, Duration::from_millis(30))).build();
        let job = Job::new("parameters");
        let (one, other) = (job.parameter("factor", 0u64), job.parameter("factor", 0u64));
        let partition = |from: i64| (from..from + 60).map(|n| vec![n]).collect::<Vec<_>>();
        let source = stalling(Scripted(vec![partition(0), partition(1_000)]), Duration::from_millis(40));
        let numbers = job.source("numbers", source).bundle(1).epochs(Epochs::Records(quota)).stream();
        let seen = numbers.map(move |n| (n, one.get())).materialize().rebalance();
        let (sink, rows) = gather();
        seen.map(move |(n, seen)| (n, seen, other.get())).sink("rows", slow(sink, Duration::from_millis(20)));
        let running = job.start(sim.handle()).unwrap();
        let mut set = Vec::new();
        for (n, wait) in waits.iter().enumerate() {
            sim.run_for(Duration::from_micros(*wait));
            set.push(running.control(Set::new().parameter("factor", n as u64 + 1)));
        }
        sim.block_on(running.join()).unwrap();
        let newest = set.into_iter().filter_map(|asked| done(sim.block_on(asked))).count() as u64;
        let mut rows = rows.take();
        rows.sort_unstable();
        prop_assert_eq!(rows.len(), 120);
        for (n, seen, later) in &rows {
            prop_assert_eq!(seen, later, "of record {}", n);
            prop_assert!(*seen <= newest);
        }
        prop_assert!(rows[..60].is_sorted_by_key(|(_, seen, _)| *seen) && rows[60..].is_sorted_by_key(|(_, seen, _)| *seen));
    }
}

/// A job of numbers, some hundreds a second.
fn numbers(job: &Job, count: i64) -> Gathered<i64> {
    let (sink, rows) = gather();
    let source = stalling(Scripted(vec![(0..count).map(|n| vec![n]).collect()]), Duration::from_millis(20));
    let factor = job.parameter("factor", 1i64);
    job.source("numbers", source).stream().map(move |n| n * factor.get()).sink("rows", sink);
    rows
}

/// What is paused gives nothing more, and loses nothing.
#[test]
fn who_is_paused_reads_nothing() {
    let sim = Sim::new(1);
    let job = Job::new("numbers");
    let rows = numbers(&job, 1_000);
    let running = job.start(sim.handle()).unwrap();
    sim.run_for(Duration::from_secs(1));
    sim.block_on(running.control(Pause::all())).unwrap();
    let read = running.metrics().results();
    assert!((50..900).contains(&read), "{read}");
    sim.run_for(Duration::from_secs(60));
    assert_eq!(running.metrics().results(), read);
    // Messages go through all the same.
    let cut = sim.block_on(running.control(Monitor::default())).unwrap();
    assert_eq!(cut.parts.iter().map(|cut| cut.seen.records_in).collect::<Vec<_>>(), [read; 3]);
    sim.block_on(running.control(Resume::all())).unwrap();
    sim.block_on(running.join()).unwrap();
    assert_eq!(rows.take(), (0..1_000).collect::<Vec<_>>());
}

#[test]
fn who_drains_ends_well() {
    let sim = Sim::new(1);
    let job = Job::new("numbers");
    let rows = numbers(&job, 1_000);
    let running = job.start(sim.handle()).unwrap();
    sim.run_for(Duration::from_secs(1));
    sim.block_on(running.control(Drain::default())).unwrap();
    sim.block_on(running.join()).unwrap();
    let rows = rows.take();
    assert!((50..900).contains(&rows.len()) && rows == (0..rows.len() as i64).collect::<Vec<_>>(), "{rows:?}");
    let error = sim.block_on(running.control(Monitor::default())).unwrap_err();
    assert_eq!(error.to_string(), "monitor: the job has ended");
}

/// What cannot be done is told, with what can, and nothing of it is done.
#[test]
fn what_cannot_be_set_is_told() {
    let sim = Sim::new(1);
    let job = Job::new("numbers");
    let rows = numbers(&job, 100);
    let running = job.start(sim.handle()).unwrap();
    let refused = |set: Set| sim.block_on(running.control(set)).unwrap_err().to_string();
    let wrong_name = refused(Set::new().parameter("factor", 5).bundle("words", 7));
    assert_eq!(wrong_name, "set: the job has no source `words`; it has `numbers`");
    assert_eq!(refused(Set::new().parameter("facto", 5)), "set: the job has no parameter `facto`; it has `factor`");
    let wrong_type = refused(Set::new().parameter("factor", "five"));
    assert!(wrong_type.starts_with("set: parameter `factor` cannot be \"five\": "), "{wrong_type}");
    assert_eq!(refused(Set::new().checkpoints(Duration::from_secs(1))), "set: the job takes no checkpoints");
    let endless = refused(Set::new().quantum(Duration::MAX));
    assert_eq!(endless, "set: a task runs between a microsecond and a second at a time");
    sim.block_on(running.join()).unwrap();
    assert_eq!(rows.take(), (0..100).collect::<Vec<_>>());
}

/// Who asks hears who is late; the operation goes on all the same.
#[test]
fn who_is_late_is_named() {
    let sim = Sim::new(1);
    let job = Job::new("numbers");
    let (sink, _) = gather();
    let source = Scripted(vec![vec![(0..10).collect::<Vec<i64>>(); 100]]);
    job.source("numbers", source).stream().map(|n| n).sink("rows", slow(sink, Duration::from_secs(100)));
    let running = job.start(sim.handle()).unwrap();
    sim.run_for(Duration::from_secs(1));
    let ask = Ask::new(Monitor::default()).within(Duration::from_millis(10));
    let error = sim.block_on(running.control(ask)).unwrap_err().to_string();
    assert!(
        error.starts_with("monitor is not done after 10ms: it waits for ") && error.ends_with("sink `rows`"),
        "{error}"
    );
    running.cancel();
}

/// What was set is set in the process that comes after, and what was done is not done once more.
#[test]
fn what_was_set_stays() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let start = |sim: &Sim| {
        let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
        let job = Job::new("numbers").checkpoints(opened.every(Duration::from_secs(3_600)));
        let rows = numbers(&job, 1_000);
        (job.start(sim.handle()).unwrap(), rows)
    };
    let double = |id: &str| Ask::new(Set::new().parameter("factor", -1)).id(id);
    {
        let sim = Sim::new(1);
        let (running, _) = start(&sim);
        sim.run_for(Duration::from_millis(500));
        sim.block_on(running.control(double("negative"))).unwrap();
        let set = Set::new().checkpoints(Duration::from_millis(100)).quantum(Duration::from_micros(250));
        sim.block_on(running.control(set)).unwrap();
        assert_eq!(sim.handle().quantum(), Duration::from_micros(250));
        sim.run_for(Duration::from_secs(1));
        assert!((5..15).contains(&running.metrics().checkpoints.count()));
    }
    let sim = Sim::new(2);
    let (running, rows) = start(&sim);
    assert_eq!(sim.handle().quantum(), Duration::from_micros(250), "so has the quantum");
    let error = sim.block_on(running.control(double("negative"))).unwrap_err();
    assert_eq!(error.to_string(), "set `negative` was done before");
    sim.run_for(Duration::from_secs(1));
    assert!((5..15).contains(&running.metrics().checkpoints.count()), "the interval has stayed");
    sim.block_on(running.join()).unwrap();
    let rows = rows.take();
    assert!(rows.len() > 100 && rows.iter().all(|n| *n < 0), "so has the parameter: {rows:?}");
}
