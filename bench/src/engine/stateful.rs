//! The workloads that keep the records of a key together: keyed state, sessions, the window join. One file for all engines, as each
//! is a few lines in each.
//!
//! The hand-written loops: with two threads each reads all records, in order, and works on those of its own keys. (Handing them over by
//! channels mixes the order of two readers up, which sessions cannot have.)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use renoir::prelude::*;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator as _;
use timely::dataflow::operators::{Capability, Input as _, Probe as _};
use updraft::dataflow::join::Inner;
use updraft::dataflow::keyed::Context;
use updraft::kernel::prefetch;
use updraft::prelude::{
    Collect, Epochs, Job, Memory, Process, Session, Time, Tumbling, Watermarks, Windowed, count, project, sum,
};

use super::Engine;
use super::hand::{BATCH, Flat, Slot};
use super::updraft::{checksum, execute};
use crate::data::{DISORDER, GAP, Reading, SECOND, Sided, Sides, digest_pair, digest_seen, digest_session, mix};

/// Records that a thread takes at a time.
const CHUNK: usize = 8_192;

/// A thread's part of the work, on the keys that it owns.
trait Owner: Default + Send {
    type Record: Copy + Send + Sync;
    fn key(record: &Self::Record) -> u64;
    fn take(&mut self, records: &[Self::Record]);
    /// The checksum of all that it has told.
    fn end(self) -> u64;
}

/// Runs owners over the records: each reads all, in order, and takes what is of its keys.
fn owned<O: Owner>(records: &[O::Record], threads: usize) -> u64 {
    if threads == 1 {
        let mut owner = O::default();
        records.chunks(CHUNK).for_each(|chunk| owner.take(chunk));
        return owner.end();
    }
    let one = |thread: usize| {
        let (mut owner, mut own) = (O::default(), Vec::with_capacity(CHUNK));
        for chunk in records.chunks(CHUNK) {
            own.extend(chunk.iter().filter(|record| (mix(O::key(record)) >> 40) as usize % threads == thread));
            owner.take(&own);
            own.clear();
        }
        owner.end()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        running.into_iter().fold(0_u64, |sum, thread| sum.wrapping_add(thread.join().expect("it does not panic")))
    })
}

/// Keyed state by hand.
#[derive(Default)]
struct Seen {
    table: Flat<State>,
    checksum: u64,
}

#[derive(Clone, Copy, Default)]
struct State {
    key: u64,
    count: u64,
    last: u64,
    most: u64,
}

impl Slot for State {
    type Record = Reading;
    fn hash(record: &Reading) -> u64 {
        mix(record.key)
    }
    fn own_hash(&self) -> u64 {
        mix(self.key)
    }
    fn is_empty(&self) -> bool {
        self.count == 0
    }
    fn is_of(&self, record: &Reading) -> bool {
        self.key == record.key
    }
    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }
    fn update(&mut self, record: &Reading) {
        self.key = record.key;
        self.count += 1;
        self.last = record.value;
        self.most = self.most.max(record.value);
    }
    fn merge(&mut self, other: &Self) {
        *self = *other;
    }
}

impl Owner for Seen {
    type Record = Reading;
    fn key(record: &Reading) -> u64 {
        record.key
    }
    fn take(&mut self, records: &[Reading]) {
        for records in records.chunks(BATCH) {
            let checksum = &mut self.checksum;
            self.table.update_each(records, |state| {
                *checksum = checksum.wrapping_add(digest_seen(state.key, state.count));
            });
        }
    }
    fn end(self) -> u64 {
        self.checksum
    }
}

/// Keyed state here.
#[derive(Clone)]
struct Keep;

impl Process<u64, Reading> for Keep {
    type State = (u64, u64, u64);
    type Out = (u64, u64);
    const TIMERS: bool = false;
    #[inline]
    fn record(&mut self, reading: Reading, state: &mut Self::State, cx: &mut Context<'_, u64, Self::Out>) {
        state.0 += 1;
        state.1 = reading.value;
        state.2 = state.2.max(reading.value);
        cx.emit((*cx.key(), state.0));
    }
}

/// Sessions by hand: the last of each key, told when the next one begins. The records are in order.
#[derive(Default)]
struct Visits {
    table: Flat<Visit>,
    checksum: u64,
}

#[derive(Clone, Copy, Default)]
struct Visit {
    key: u64,
    first: i64,
    last: i64,
    count: u64,
    sum: u64,
}

impl Slot for Visit {
    type Record = Reading;
    fn hash(record: &Reading) -> u64 {
        mix(record.key)
    }
    fn own_hash(&self) -> u64 {
        mix(self.key)
    }
    fn is_empty(&self) -> bool {
        self.count == 0
    }
    fn is_of(&self, record: &Reading) -> bool {
        self.key == record.key
    }
    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }
    fn update(&mut self, record: &Reading) {
        if self.count == 0 {
            (self.key, self.first) = (record.key, record.time);
        }
        self.last = record.time;
        self.count += 1;
        self.sum += record.value;
    }
    fn merge(&mut self, other: &Self) {
        *self = *other;
    }
}

impl Owner for Visits {
    type Record = Reading;
    fn key(record: &Reading) -> u64 {
        record.key
    }
    fn take(&mut self, records: &[Reading]) {
        for records in records.chunks(BATCH) {
            let checksum = &mut self.checksum;
            self.table.change_each(records, |visit, record| {
                if visit.count > 0 && record.time - visit.last > GAP {
                    *checksum = checksum.wrapping_add(digest_session(visit.first, visit.key, visit.count, visit.sum));
                    *visit = Visit::default();
                }
                visit.update(record);
            });
        }
    }
    fn end(self) -> u64 {
        let digest = |visit: &Visit| digest_session(visit.first, visit.key, visit.count, visit.sum);
        self.table.entries().fold(self.checksum, |sum, visit| sum.wrapping_add(digest(visit)))
    }
}

/// The window join by hand: what of a window comes is sorted into partitions; when it is over, each is joined by an index of
/// the right side.
#[derive(Default)]
struct Joined {
    open: BTreeMap<i64, Vec<[Vec<(u64, u64)>; 2]>>,
    newest: i64,
    /// Whether somebody else says when windows are over.
    is_fed: bool,
    checksum: u64,
    index: Index,
}

const PARTITIONS: usize = 64;

/// By key the last record, by record the one before it of the same key.
#[derive(Default)]
struct Index {
    slots: Vec<(u64, u32)>,
    before: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Index {
    fn build(&mut self, records: &[(u64, u64)]) {
        let size = (records.len() * 2).next_power_of_two().max(16);
        self.slots.clear();
        self.slots.resize(size, (0, NONE));
        self.before.clear();
        for (at, (key, _)) in records.iter().enumerate() {
            let slot = self.find(*key);
            self.before.push(self.slots[slot].1);
            self.slots[slot] = (*key, at as u32);
        }
    }

    fn find(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = mix(key) as usize & mask;
        while self.slots[at].1 != NONE && self.slots[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }
}

impl Joined {
    fn close(&mut self, window: i64) {
        for [left, right] in self.open.remove(&window).unwrap_or_default() {
            self.index.build(&right);
            for (key, value) in left {
                let mut at = self.index.slots[self.index.find(key)].1;
                while at != NONE {
                    let digest = digest_pair(window, key, value, right[at as usize].1);
                    self.checksum = self.checksum.wrapping_add(digest);
                    at = self.index.before[at as usize];
                }
            }
        }
    }
}

impl Owner for Joined {
    type Record = Sided;
    fn key(record: &Sided) -> u64 {
        record.key
    }
    fn take(&mut self, records: &[Sided]) {
        let mut window = i64::MIN;
        let mut current = Vec::new();
        for record in records {
            let of = record.time.div_euclid(SECOND);
            if of != window {
                self.open.insert(window, std::mem::take(&mut current));
                window = of;
                current = self.open.remove(&window).unwrap_or_default();
                current.resize_with(PARTITIONS, Default::default);
            }
            self.newest = self.newest.max(record.time);
            let list: &mut Vec<_> = &mut current[(mix(record.key) >> 58) as usize][usize::from(record.right)];
            list.push((record.key, record.value));
            prefetch(list.spare_capacity_mut(), 4);
        }
        self.open.insert(window, current);
        self.open.remove(&i64::MIN);
        if self.is_fed {
            return;
        }
        while let Some((first, _)) = self.open.first_key_value()
            && (first + 1) * SECOND <= self.newest - DISORDER
        {
            let first = *first;
            self.close(first);
        }
    }
    fn end(mut self) -> u64 {
        self.open.keys().copied().collect::<Vec<_>>().into_iter().for_each(|window| self.close(window));
        self.checksum
    }
}

pub(super) fn keyed(engine: Engine, readings: &Arc<[Reading]>, threads: usize) -> Option<u64> {
    match engine {
        Engine::Hand => Some(owned::<Seen>(readings, threads)),
        Engine::Updraft => {
            let job = Job::new("keyed");
            let source = job.source("readings", Memory::new(readings.clone())).epochs(Epochs::Records(100_000));
            let seen = source.stream().key_by(|reading| reading.key).process(Keep);
            let (total, job) = checksum!(job, seen, |(key, count)| digest_seen(key, count));
            Some(execute(job, total, threads))
        }
        _ => None,
    }
}

pub(super) fn sessions(engine: Engine, readings: &Arc<[Reading]>, threads: usize) -> Option<u64> {
    match engine {
        Engine::Hand => Some(owned::<Visits>(readings, threads)),
        Engine::Updraft => {
            let job = Job::new("sessions");
            let stats = project(|reading: &Reading| reading.value, (count(), sum(|value: &u64| *value)));
            let sessions = job
                .source("readings", Memory::new(readings.clone()))
                .timestamps(|reading: &Reading| Time(reading.time), Watermarks::monotonic())
                .stream()
                .key_by(|reading| reading.key)
                .window(Session::with_gap(Duration::from_micros(GAP as u64)))
                .aggregate(stats);
            let (total, job) = checksum!(job, sessions, |row: Windowed<u64, (u64, u64)>| {
                digest_session(row.window.start.0, row.key, row.value.0, row.value.1)
            });
            Some(execute(job, total, threads))
        }
        // Its sessions go by the clock of the machine, so they are other windows.
        Engine::Renoir => {
            let context = StreamContext::new(RuntimeConfig::local(threads as u64).ok()?);
            let readings = readings.clone();
            let add = |total: &mut u64, other: u64| *total = total.wrapping_add(other);
            let total = context
                .stream_par_iter(move |index, peers| super::renoir::share(readings, index, peers))
                .group_by(|reading| reading.key)
                .window(SessionWindow::new(Duration::from_micros(GAP as u64)))
                .fold((0_u64, 0_u64), |(count, sum), reading| {
                    *count += 1;
                    *sum += reading.value;
                })
                .unkey()
                .map(|(key, (count, sum))| digest_session(0, key, count, sum))
                .fold_assoc(0_u64, add, add)
                .collect_vec();
            context.execute_blocking();
            total.get().and_then(|total| total.into_iter().next())
        }
        _ => None,
    }
}

pub(super) fn join(engine: Engine, sides: &Sides, threads: usize) -> Option<u64> {
    match engine {
        Engine::Hand => Some(owned::<Joined>(&sides.all, threads)),
        Engine::Updraft => {
            let job = Job::new("join");
            let side = |name: &str, readings: &Arc<[Reading]>| {
                job.source(name.to_string(), Memory::new(readings.clone()))
                    .timestamps(
                        |reading: &Reading| Time(reading.time),
                        Watermarks::bounded(Duration::from_micros(DISORDER as u64)),
                    )
                    .stream()
                    .key_by(|reading| reading.key)
            };
            let pairs = side("left", &sides.left)
                .join(side("right", &sides.right))
                .window(Tumbling::of(Duration::from_micros(SECOND as u64)), Inner);
            let (total, job) = checksum!(job, pairs, |(left, right): (Reading, Reading)| {
                digest_pair(left.time.div_euclid(SECOND), left.key, left.value, right.value)
            });
            Some(execute(job, total, threads))
        }
        Engine::Timely => Some(timely_join(&sides.all, threads)),
        _ => None,
    }
}

/// In timely: the hand-written join inside an operator that records are exchanged to by key; a window is closed when the
/// frontier has passed it.
fn timely_join(records: &Arc<[Sided]>, threads: usize) -> u64 {
    const EPOCH: usize = 20_000;
    let records = records.clone();
    let guards = timely::execute(timely::Config::process(threads), move |worker| {
        let index = worker.index();
        let (mut input, probe, total) = worker.dataflow::<u64, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<Sided>>();
            let total = std::rc::Rc::new(std::cell::Cell::new(0_u64));
            let adds = total.clone();
            let joined = stream.unary_frontier::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(
                Exchange::new(|record: &Sided| mix(record.key) >> 40),
                "join",
                move |_, _| {
                    let mut join = Joined { is_fed: true, ..Joined::default() };
                    let mut open = BTreeMap::<i64, Capability<u64>>::new();
                    move |(input, frontier), output| {
                        let port = output.output_index();
                        input.for_each_time(|capability, batches| {
                            let batches: std::slice::IterMut<'_, Vec<Sided>> = batches;
                            for batch in batches {
                                for record in batch.iter() {
                                    let window = record.time.div_euclid(SECOND);
                                    open.entry(window).or_insert_with(|| {
                                        let closes = ((window + 1) * SECOND + DISORDER) as u64;
                                        let closes = closes.div_ceil(EPOCH as u64 * 5) - 1;
                                        capability.delayed(&closes.max(*capability.time()), port)
                                    });
                                }
                                join.take(batch);
                            }
                        });
                        while open.first_key_value().is_some_and(|(_, until)| !frontier.less_equal(until.time())) {
                            let Some((window, _)) = open.pop_first() else { break };
                            join.close(window);
                        }
                        adds.set(join.checksum);
                    }
                },
            );
            let (probe, _) = joined.probe();
            (input, probe, total)
        });
        for (number, epoch) in records.chunks(EPOCH).enumerate() {
            for chunk in epoch.chunks(1024).skip(index).step_by(threads) {
                input.send_batch(&mut chunk.to_vec());
                worker.step();
            }
            input.advance_to(number as u64 + 1);
            while probe.less_than(&(number as u64).saturating_sub(2)) {
                worker.step();
            }
        }
        drop(input);
        while !probe.done() {
            worker.step();
        }
        total.get()
    });
    let totals = guards.expect("timely starts").join().into_iter().map(|total| total.expect("no worker panics"));
    totals.fold(0_u64, u64::wrapping_add)
}
