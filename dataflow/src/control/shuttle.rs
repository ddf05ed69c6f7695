//! The protocol under random schedules: sources that close epochs, kernels that work on shards in lanes, and an operation that rides through both and moves
//! shards, all of them the real parts. Nothing is lost, done twice or out of order, each instance gives one answer, at the end of the epoch that the message rides on,
//! and a shard is worked for where it is in each epoch, by nobody else.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p updraft-dataflow --release --lib shuttle`

use std::collections::BTreeMap;
use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::thread;
use updraft_kernel::clock::Nanos;

use super::placement::Placement;
use super::ride::{Carriage, Control, Ride};
use super::{Instance, Message, Part, Seen};
use crate::container::{Container, Containers, EpochOrder, Service};
use crate::epoch::EpochClock;
use crate::explain::NodeKind;
use crate::time::{Epoch, Punctuation, Time};

/// The first epoch that nobody closes any more.
const LAST: u64 = 4;
const SOURCES: usize = 2;
const KERNELS: usize = 2;
const SHARDS: usize = 3;

/// Tells at the end of which epoch it has met an instance.
struct Probe<const BLOCKING: bool>;

impl<const BLOCKING: bool> Message for Probe<BLOCKING> {
    type Visit = ();
    type Answer = Epoch;
    const BLOCKING: bool = BLOCKING;

    fn on_init(&self, _: &Part, _: usize) {}
    fn on_complete(&self, (): &mut (), instance: &mut Instance<'_>) -> Epoch {
        instance.at.epoch
    }
}

enum Work {
    /// Of a shard: which source it is of, and its number there.
    Piece(usize, (usize, u64)),
    /// A shard meets what rides on the epoch.
    Control(usize),
}

struct Model {
    clock: EpochClock,
    control: Control,
    placement: Arc<Placement>,
    containers: Containers<Work>,
    source: Arc<Part>,
    stage: Arc<Part>,
    /// What was done for each shard, in order.
    done: [Mutex<Vec<(usize, u64)>>; SHARDS],
    complete: Mutex<u64>,
}

impl Model {
    fn new() -> Self {
        let control = Control::default();
        let source = control.add_part(NodeKind::Source, "source".into(), SOURCES, false);
        let stage = control.add_part(NodeKind::Stage, "stage".into(), SHARDS, true);
        let placement = control.place(&stage, KERNELS);
        let service = Service { order: EpochOrder::In, stealing: false, priority: true };
        let containers = Containers::new(KERNELS, service);
        (0..SOURCES).for_each(|_| containers.add_input());
        let clock = EpochClock::new(false);
        Self { clock, control, placement, containers, source, stage, done: Default::default(), complete: Mutex::new(0) }
    }

    /// Reads: a piece for each shard in an epoch that it is in, and perhaps none in one that another has closed.
    fn read(&self, source: usize) -> u64 {
        let (mut epoch, mut number) = (Epoch(0), 0);
        loop {
            for shard in 0..SHARDS {
                let lane = self.placement.kernel(epoch, shard);
                self.containers.add(lane, epoch, |_| Work::Piece(shard, (source, number)));
            }
            number += 1;
            self.clock.advance_past(epoch, Nanos(0));
            while self.clock.current() > epoch {
                let at = Punctuation { epoch, watermark: Time(0), now: Time(0) };
                let message = self.control.riding_on(epoch);
                for message in &message {
                    message.comes_to(&self.source, source);
                    message.completes(&self.source, &mut Instance::new(&self.source, source, at, Seen::default()));
                    message.comes(&self.stage);
                    message.goes_on_from(&self.source, source);
                }
                if let Some(container) = self.containers.close(at) {
                    self.settle(container);
                }
                epoch = epoch.next();
                if epoch == Epoch(LAST) {
                    return number;
                }
            }
        }
    }

    /// As a stage's runner does.
    fn settle(&self, container: Arc<Container>) {
        let mut settled = Some(container);
        while let Some(container) = settled {
            container.seal();
            let at = container.punctuation();
            let message = self.control.riding_on(at.epoch);
            if container.count().is_some() && message.as_ref().is_some_and(|message| message.is_blocking()) {
                container.expect(SHARDS);
                for (shard, lane) in self.placement.at(at.epoch).iter().enumerate() {
                    self.containers.push(*lane, container.clone(), Work::Control(shard));
                }
                return;
            }
            if let Some(message) = message {
                if !message.is_blocking() {
                    (0..SHARDS).for_each(|shard| self.meet(&*message, shard, at));
                }
                message.goes_on(&self.stage);
            }
            *self.complete.lock().unwrap() += 1;
            settled = self.containers.retire(&container).filter(|next| next.epoch < Epoch(LAST));
        }
    }

    fn meet(&self, message: &dyn Carriage, shard: usize, at: Punctuation) {
        message.completes(&self.stage, &mut Instance::new(&self.stage, shard, at, Seen::default()));
    }

    fn work(&self, kernel: usize) {
        while *self.complete.lock().unwrap() < LAST {
            let Some((container, work)) = self.containers.claim(kernel, true) else {
                thread::yield_now();
                continue;
            };
            let (Work::Piece(shard, _) | Work::Control(shard)) = work;
            assert_eq!(self.placement.kernel(container.epoch, shard), kernel, "it is worked for where it is");
            match work {
                Work::Piece(shard, piece) => {
                    self.done[shard].try_lock().expect("nobody else works for it").push(piece);
                }
                Work::Control(shard) => {
                    let message = self.control.riding_on(container.epoch).expect("it rides until all have answered");
                    self.meet(&*message, shard, container.punctuation());
                }
            }
            if container.done() {
                self.settle(container);
            }
        }
    }

    /// Moves all shards to another kernel, and waits until that is over.
    fn operate<const BLOCKING: bool>(&self) {
        let parts = self.control.parts();
        let ride = Arc::new(Ride::new(Probe::<BLOCKING>, &parts));
        let riding = self.clock.carry(Nanos(0), |epoch| {
            self.control.put(epoch, ride.clone());
            let moved = self.placement.newest().iter().map(|kernel| (kernel + 1) % KERNELS).collect();
            self.placement.set_after(epoch, moved);
        });
        let Ok(epoch) = riding else { return };
        if epoch >= Epoch(LAST) {
            return;
        }
        let mut answers = BTreeMap::new();
        loop {
            let (some, is_last) = ride.take();
            for answer in some {
                let again = answers.insert((answer.part.number, answer.number), answer.said);
                assert!(again.is_none() && answer.said == epoch, "one answer, at the end of {epoch}");
            }
            if is_last {
                break;
            }
            thread::yield_now();
        }
        assert_eq!(answers.len(), SOURCES + SHARDS);
        self.control.take(epoch);
    }
}

fn check<const BLOCKING: bool>() {
    let model = Arc::new(Model::new());
    let on = |work: Box<dyn FnOnce(&Model) -> u64 + Send>| {
        let model = model.clone();
        thread::spawn(move || work(&model))
    };
    let sources: Vec<_> = (0..SOURCES).map(|source| on(Box::new(move |model| model.read(source)))).collect();
    let mut others: Vec<_> = (0..KERNELS)
        .map(|kernel| {
            on(Box::new(move |model| {
                model.work(kernel);
                0
            }))
        })
        .collect();
    others.push(on(Box::new(|model| {
        model.operate::<BLOCKING>();
        model.operate::<false>();
        0
    })));
    let read: Vec<_> = sources.into_iter().map(|source| source.join().unwrap()).collect();
    others.into_iter().for_each(|other| drop(other.join().unwrap()));
    for done in &model.done {
        let done = done.lock().unwrap();
        for (source, read) in read.iter().enumerate() {
            let of_source: Vec<_> = done.iter().filter(|piece| piece.0 == source).map(|piece| piece.1).collect();
            assert_eq!(of_source, (0..*read).collect::<Vec<_>>(), "each once, in order");
        }
    }
}

#[test]
fn messages_that_wait_and_shards_that_move() {
    shuttle::check_random(check::<true>, 3_000);
    shuttle::check_pct(check::<true>, 1_000, 3);
}

#[test]
fn messages_that_do_not_wait_and_shards_that_move() {
    shuttle::check_random(check::<false>, 3_000);
    shuttle::check_pct(check::<false>, 1_000, 3);
}
