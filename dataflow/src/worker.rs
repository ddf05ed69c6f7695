//! The workers: what each kernel does for a job, and the runner of a stage that it drives.
//!
//! A worker is synchronous code on a stack of its own: it takes the oldest work that any stage of the job has, the
//! stage nearest to the exit first, and suspends when it is somebody else's turn or nothing is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use updraft_kernel::clock;
use updraft_kernel::{Account, Bell, Bells, KernelId, block_on, context, give_up, yield_now, yield_point};

use crate::bundle::Bundle;
use crate::checkpoint::{Report, Spool, StageNote, Taking, Waiting, note_of};
use crate::container::{Container, Containers, EpochOrder, Service};
use crate::control::ride::Carriage;
use crate::control::{Control, Part, PartKind};
use crate::epoch::EpochClock;
use crate::exchange::{Outlet, Port};
use crate::keyed::Spill;
use crate::metrics::StageMetrics;
use crate::ordered::Ordered;
use crate::snapshot::{Records, Snapshot};
use crate::source::Error;
use crate::stage::Stage;
use crate::sync::{Mutex, lock};
use crate::time::{Epoch, Generation, Punctuation, Time};

/// What the tasks of a job share.
pub(crate) struct Shared {
    pub(crate) kernels: usize,
    pub(crate) service: Service,
    /// Whether results keep to the epoch of what they are made of.
    pub(crate) boundaries: bool,
    /// Pieces of work that may wait at a stage before its sources wait.
    pub(crate) capacity: usize,
    pub(crate) account: Arc<Account>,
    pub(crate) clock: EpochClock,
    /// Workers that wait for work.
    pub(crate) work: Bells,
    /// The last stages and sinks that have not completed the job's last epoch.
    pub(crate) unfinished: AtomicUsize,
    /// Sinks that wait until the others have completed the last epoch, too.
    pub(crate) complete: Bells,
    pub(crate) draining: AtomicBool,
    /// Where is reported what there was at the end of marked epochs, in a job that takes checkpoints.
    pub(crate) taking: Option<Arc<Taking>>,
    /// Where keyed state goes that memory has no room for.
    pub(crate) spill: Option<Arc<Spill>>,
    /// What watches and changes the job.
    pub(crate) control: Arc<Control>,
}

impl Shared {
    /// Something was consumed: sources that wait for room look again. Whether there are such.
    pub(crate) fn consumed(&self) -> bool {
        self.clock.sources.ring_all()
    }

    /// A stage or sink has completed the last epoch.
    pub(crate) fn finished(&self) {
        if self.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.work.ring_all();
            self.complete.ring_all();
        }
    }

    /// Whether nothing but the closing of sinks is left to be done.
    pub(crate) fn is_finished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire) == 0
    }

    /// The generation that `epoch` writes to.
    pub(crate) fn generation(&self, epoch: Epoch) -> Generation {
        self.clock.marks.generation(epoch)
    }
}

/// A stage, as a worker sees it.
pub(crate) trait Runner: Send + Sync {
    /// Announces its outlet to the stages after it, once all are connected.
    fn wire(&self);
    /// The oldest epoch that there is work of, for `kernel`.
    fn oldest(&self, kernel: usize) -> Option<Epoch>;
    /// Does a piece of the oldest work, if there is any: whether a source may go on for it.
    fn run(&self, kernel: usize) -> bool;
    /// Whether a snapshot is being taken of what `kernel` owns.
    fn is_saving(&self, kernel: usize) -> bool;
    /// Goes on with it, if there is one.
    fn save_more(&self, kernel: usize) -> bool;
    /// How many parts of the state can be restored at the same time, each with the records for the driver of that number.
    fn parts(&self) -> usize;
    /// Restores such a part, before the first epoch; the objects of the next snapshot are numbered from `next` on.
    fn restore(&self, part: usize, at: Punctuation, next: u64, saved: Records<'_>) -> Result<(), Error>;
    /// From when on it keeps what it keeps by time, if it does, at this watermark of the sources.
    fn kept_from(&self, watermark: Time) -> Option<Time>;
    /// So many bytes of its last snapshot were written.
    fn stored(&self, bytes: u64);
}

/// A piece of a stage's work.
enum Work<T, P> {
    /// And its number among those of its epoch.
    Bundle(Bundle<T>, u64),
    Part(P),
    /// A driver's share of a snapshot.
    Snapshot(usize),
    /// What a driver does with a message of control.
    Control(usize),
}

/// Runs a stage: its containers, its state on each kernel, and where its results go.
pub(crate) struct StageRunner<S: Stage> {
    name: Arc<str>,
    stage: S,
    containers: Containers<Work<S::In, S::Part>>,
    locals: Vec<S::Local>,
    outlet: Arc<Outlet<S::Out>>,
    /// Of stages whose results stay in order.
    ordered: Ordered<S::Out>,
    shared: Arc<Shared>,
    metrics: Arc<StageMetrics>,
    /// Bytes of state, as last charged.
    charged: AtomicUsize,
    /// Bytes of the bundles that are being worked on.
    in_hand: AtomicUsize,
    /// Which part of checkpoints it is, if it has state, and the job takes any.
    part: Option<usize>,
    /// The number of the next object of its state.
    next_object: Arc<AtomicU64>,
    /// The snapshot that is being taken.
    taken: Mutex<Taken>,
    saving: Vec<Saving>,
    /// What it is to control operations.
    own: Arc<Part>,
}

/// What there is of a snapshot.
#[derive(Default)]
struct Taken {
    report: Report,
    /// What closed its epoch, once all drivers have begun.
    at: Option<Punctuation>,
    /// Where its records are, if memory has no room for them.
    spool: Option<Arc<Spool>>,
    /// Drivers that have not come to their end.
    left: usize,
}

/// How a driver saves its share of a snapshot while it works.
#[derive(Default)]
struct Saving {
    is_on: AtomicBool,
    /// Nanoseconds that it may take for that, by the time that its work has taken; less than none where it has taken too many.
    owed: AtomicI64,
}

/// Of the time of a driver that works, the share in which it saves what is frozen: one in so many. One that has nothing to do saves all
/// the time.
const SAVING: i64 = 10;

impl<S: Stage> StageRunner<S> {
    pub(crate) fn new(
        name: Arc<str>,
        stage: S,
        outlet: Arc<Outlet<S::Out>>,
        shared: Arc<Shared>,
        metrics: Arc<StageMetrics>,
        part: Option<usize>,
        in_order: bool,
    ) -> Self {
        shared.unfinished.fetch_add(1, Ordering::AcqRel);
        let own = shared.control.add_part(PartKind::Stage, name.clone(), shared.kernels);
        let order = if S::KEYED || in_order { EpochOrder::In } else { shared.service.order };
        let service = Service { order, stealing: shared.service.stealing && !S::KEYED, ..shared.service };
        Self {
            name,
            containers: Containers::new(shared.kernels, service),
            locals: (0..shared.kernels).map(|kernel| stage.local(kernel)).collect(),
            saving: (0..shared.kernels).map(|_| Saving::default()).collect(),
            stage,
            outlet,
            ordered: Ordered::default(),
            shared,
            metrics,
            charged: AtomicUsize::new(0),
            in_hand: AtomicUsize::new(0),
            part,
            next_object: Arc::default(),
            taken: Mutex::default(),
            own,
        }
    }

    /// Does a piece of work: how many pieces are done with that, and what they have given is given on.
    fn consume(&self, kernel: usize, container: &Container, work: Work<S::In, S::Part>) -> usize {
        let epoch = container.epoch;
        let mut give = |bundle: Bundle<S::Out>| {
            self.metrics.add_out(bundle.count());
            container.gave(bundle.count());
            let epoch = if self.shared.boundaries { epoch } else { self.shared.clock.stray(epoch) };
            self.outlet.add(kernel, epoch, bundle);
        };
        let mut done = 1;
        context::set_epoch(epoch.0);
        match work {
            Work::Bundle(bundle, number) => {
                let (bytes, len) = (bundle.bytes(), bundle.count());
                self.in_hand.fetch_add(bytes, Ordering::Relaxed);
                context::set_place(&self.name, bundle.position());
                let (local, generation) = (&self.locals[kernel], self.shared.generation(epoch));
                if S::ORDERED {
                    let mut results = Vec::new();
                    self.stage.bundle(local, generation, bundle, &mut |bundle| results.push(bundle));
                    done = self.ordered.pass(epoch, number, results, &self.shared.account, give);
                } else {
                    self.stage.bundle(local, generation, bundle, &mut give);
                }
                self.metrics.add_in(len);
                container.took(len);
                self.in_hand.fetch_sub(bytes, Ordering::Relaxed);
                self.shared.account.release(bytes);
            }
            Work::Part(part) => self.stage.part(&self.locals[kernel], part, &mut give),
            Work::Snapshot(driver) => self.snapshot(driver, epoch),
            Work::Control(driver) => {
                if let Some(message) = self.shared.control.riding_on(epoch) {
                    self.visit(&*message, driver, container.punctuation());
                }
            }
        }
        self.charge();
        done
    }

    /// Brings the account in line with the state that the stage holds.
    fn charge(&self) {
        let bytes = self.stage.state_bytes();
        let before = self.charged.swap(bytes, Ordering::AcqRel);
        if bytes > before {
            self.shared.account.charge(bytes - before);
        } else {
            self.shared.account.release(before - bytes);
        }
    }

    /// Nothing is pending in `container` any more: seals or completes its epoch, and those after it that waited for that alone.
    fn settle(&self, kernel: usize, container: Arc<Container>) {
        let mut settled = Some(container);
        while let Some(container) = settled {
            if container.seal() && self.deal_out(kernel, &container) {
                return;
            }
            let punctuation = container.punctuation();
            if self.is_saved_at(punctuation.epoch) {
                if container.save() {
                    self.deal_out_each(&container, Work::Snapshot);
                    return;
                }
                self.add(Snapshot::new(self.next_object.clone()), |taken| taken.at = Some(punctuation));
            }
            let message = self.shared.control.riding_on(punctuation.epoch);
            if let Some(records) = container.count() {
                self.metrics.count(records);
                if message.as_ref().is_some_and(|message| message.is_blocking()) {
                    self.deal_out_each(&container, Work::Control);
                    return;
                }
            }
            // Sealing may have let go of something; and kernels that charge at the same time may overtake each other.
            self.charge();
            self.ordered.complete(punctuation.epoch);
            let watermark = self.stage.watermark(punctuation);
            self.outlet.close(kernel, Punctuation { watermark, ..punctuation });
            self.metrics.complete(punctuation);
            if let Some(message) = message {
                if !message.is_blocking() {
                    (0..self.locals.len()).for_each(|driver| self.visit(&*message, driver, punctuation));
                }
                message.goes_on(&self.own);
            }
            if self.shared.clock.last() == Some(punctuation.epoch) {
                self.shared.finished();
                return;
            }
            settled = self.containers.retire(&container);
            if self.containers.in_order() {
                // Work of the next epoch may now be claimed, and added.
                self.shared.work.ring_all();
                self.shared.consumed();
            }
        }
    }

    /// Whether its state is part of a checkpoint at the end of `epoch`: after the last one nothing goes on from it.
    fn is_saved_at(&self, epoch: Epoch) -> bool {
        let clock = &self.shared.clock;
        self.shared.taking.is_some()
            && self.part.is_some()
            && clock.marks.is_marked(epoch)
            && clock.last() != Some(epoch)
    }

    /// Adds a piece of work for each driver.
    fn deal_out_each(&self, container: &Arc<Container>, work: impl Fn(usize) -> Work<S::In, S::Part>) {
        container.expect(self.shared.kernels);
        for driver in 0..self.shared.kernels {
            self.containers.push(driver, container.clone(), work(driver));
        }
        self.shared.work.ring_all();
    }

    /// Has a message dealt with by a driver, at the end of an epoch.
    fn visit(&self, message: &dyn Carriage, driver: usize, at: Punctuation) {
        message.meets(&self.own, driver, at, self.metrics.seen(self.stage.state_bytes()));
    }

    /// Begins with a driver's share, and saves as much of it as is saved at a time; the rest is the driver's affair.
    fn snapshot(&self, driver: usize, epoch: Epoch) {
        let mut snapshot = Snapshot::new(self.next_object.clone());
        let through = self.shared.generation(epoch);
        let begun = self.stage.snapshot(&self.locals, driver, through, &mut snapshot);
        let saved = begun.and_then(|()| self.stage.save_more(&self.locals[driver], &mut snapshot));
        let is_left = saved.unwrap_or_else(|error| give_up(error));
        self.add(snapshot, |taken| taken.left += usize::from(is_left));
        if is_left {
            self.saving[driver].owed.store(0, Ordering::Relaxed);
            self.saving[driver].is_on.store(true, Ordering::Release);
            // It may be asleep: others may have begun it.
            self.shared.work.ring_all();
        }
    }

    /// Takes in a piece of a snapshot, and reports that if it is whole now.
    fn add(&self, snapshot: Snapshot, change: impl FnOnce(&mut Taken)) {
        let mut spool = lock(&self.taken).spool.clone();
        let waiting = Waiting::of(snapshot.saved, self.shared.spill.as_deref(), &mut spool);
        let waiting = waiting.unwrap_or_else(|error| give_up(error));
        let mut taken = lock(&self.taken);
        taken.spool = spool;
        self.shared.account.charge(waiting.bytes());
        taken.report.objects.extend(snapshot.objects);
        taken.report.saved.extend(waiting);
        change(&mut taken);
        if taken.left == 0
            && let Some(at) = taken.at
            && let Some((taking, part)) = self.shared.taking.as_deref().zip(self.part)
        {
            let mut report = std::mem::take(&mut *taken).report;
            report.note = note_of(&StageNote::new(at, &report.objects));
            taking.report(at.epoch, part, 0, report);
        }
    }

    /// Adds the work that completes an epoch: whether there is any.
    fn deal_out(&self, kernel: usize, container: &Arc<Container>) -> bool {
        let parts = self.stage.seal(&self.locals, container.punctuation());
        container.expect(parts.len());
        let any = !parts.is_empty();
        for (index, part) in parts.into_iter().enumerate() {
            let lane = self.stage.owner(&part).unwrap_or(kernel + index);
            self.containers.push(lane, container.clone(), Work::Part(part));
            self.shared.work.ring_from(lane);
        }
        any
    }
}

impl<S: Stage> Runner for StageRunner<S> {
    fn parts(&self) -> usize {
        if S::KEYED { self.locals.len() } else { 1 }
    }

    fn restore(&self, part: usize, at: Punctuation, next: u64, saved: Records<'_>) -> Result<(), Error> {
        self.next_object.store(next, Ordering::Release);
        let locals = if S::KEYED { &self.locals[part..=part] } else { &self.locals[..] };
        // What has been read is there, and may have to be spilled before the rest is.
        let restored = self.stage.restore(locals, at, &mut saved.inspect(|_| self.charge()));
        self.charge();
        restored
    }

    fn kept_from(&self, watermark: Time) -> Option<Time> {
        self.stage.kept_from(watermark)
    }

    fn stored(&self, bytes: u64) {
        self.metrics.save(bytes);
    }

    fn wire(&self) {
        self.outlet.add_input();
    }

    fn oldest(&self, kernel: usize) -> Option<Epoch> {
        self.containers.oldest(kernel).filter(|epoch| !self.outlet.is_full(*epoch))
    }

    fn run(&self, kernel: usize) -> bool {
        let Some((container, work)) = self.containers.claim(kernel) else { return false };
        // Half full, so that a source which waits for room is woken once for several bundles.
        let is_half = !self.containers.is_full(self.shared.capacity / 2, container.epoch);
        if is_half && !self.containers.stealing() {
            // So do workers then, for they may not make room themselves.
            self.shared.work.ring_all();
        }
        let room = is_half && self.shared.consumed();
        let (begun, is_saving) = (clock::now(), self.saving[kernel].is_on.load(Ordering::Acquire));
        for _ in 0..self.consume(kernel, &container, work) {
            if container.done() {
                self.settle(kernel, container.clone());
            }
        }
        let now = clock::now();
        let took = now.since(begun);
        self.metrics.work(took);
        if is_saving {
            let owed = took.as_nanos() as i64 / SAVING;
            let is_due = self.saving[kernel].owed.fetch_add(owed, Ordering::Relaxed) + owed >= 0;
            // What had to be saved before it changed should not wait then.
            let is_short = || self.shared.spill.as_ref().is_some_and(|spill| spill.is_short(0));
            if (is_due || is_short()) && self.save_more(kernel) {
                let took = clock::now().since(now).as_nanos() as i64;
                self.saving[kernel].owed.fetch_sub(took, Ordering::Relaxed);
            }
        }
        room
    }

    fn is_saving(&self, kernel: usize) -> bool {
        self.saving[kernel].is_on.load(Ordering::Acquire)
    }

    fn save_more(&self, kernel: usize) -> bool {
        if !self.is_saving(kernel) {
            return false;
        }
        let mut snapshot = Snapshot::new(self.next_object.clone());
        let saved = self.stage.save_more(&self.locals[kernel], &mut snapshot);
        self.charge();
        match saved {
            Ok(true) => self.add(snapshot, |_| {}),
            Ok(false) => {
                self.saving[kernel].is_on.store(false, Ordering::Release);
                self.add(snapshot, |taken| taken.left -= 1);
            }
            Err(error) => give_up(error),
        }
        true
    }
}

impl<S: Stage> Port<S::In> for StageRunner<S> {
    fn add_input(&self) {
        self.containers.add_input();
    }

    fn add(&self, kernel: usize, epoch: Epoch, bundle: Bundle<S::In>) {
        self.shared.account.charge(bundle.bytes());
        let lane = bundle.owner().unwrap_or(kernel);
        self.containers.add(lane, epoch, |number| Work::Bundle(bundle, number));
        self.shared.work.ring_from(lane);
    }

    fn close(&self, kernel: usize, punctuation: Punctuation) {
        if let Some(message) = self.shared.control.riding_on(punctuation.epoch) {
            message.comes(&self.own);
        }
        if let Some(container) = self.containers.close(punctuation) {
            self.settle(kernel, container);
        }
    }

    fn is_full(&self, epoch: Epoch) -> bool {
        self.containers.is_full(self.shared.capacity, epoch)
    }

    fn has_work(&self) -> bool {
        self.containers.has_work() || self.outlet.has_work()
    }

    fn bytes(&self) -> usize {
        let queued = self.containers.sum(|work| if let Work::Bundle(bundle, _) = work { bundle.bytes() } else { 0 });
        let load = |bytes: &AtomicUsize| bytes.load(Ordering::Relaxed);
        let taken = lock(&self.taken).report.bytes();
        queued + taken + self.ordered.bytes() + load(&self.in_hand) + load(&self.charged)
    }
}

/// Turns of its kernel that a worker lets pass before it waits: most often there is work again sooner than a kernel that
/// sleeps could be woken.
const IDLE_TURNS: u32 = 32;

/// Works for a job on one kernel until the job is done. `stages` are in order of the data.
pub(crate) fn work(shared: &Shared, stages: &[Arc<dyn Runner>], kernel: usize, bell: &Bell) {
    let next = || {
        if !shared.service.priority {
            return stages.iter().find(|stage| stage.oldest(kernel).is_some());
        }
        // Nearest to the exit first, among equal epochs.
        let work = stages.iter().rev().filter_map(|stage| Some((stage.oldest(kernel)?, stage)));
        work.min_by_key(|(epoch, _)| *epoch).map(|(_, stage)| stage)
    };
    let save_more = || stages.iter().any(|stage| stage.save_more(kernel));
    let mut turns = 0;
    while !shared.is_finished() {
        match next() {
            // A source of this kernel goes first, or there would be nothing to do long before the quantum is over.
            Some(stage) => {
                turns = 0;
                if stage.run(kernel) {
                    block_on(yield_now());
                }
            }
            None if save_more() => block_on(yield_now()),
            None if turns < IDLE_TURNS => {
                turns += 1;
                block_on(yield_now());
            }
            None => {
                let is_saving = || stages.iter().any(|stage| stage.is_saving(kernel));
                block_on(bell.wait(|| shared.is_finished() || next().is_some() || is_saving()));
            }
        }
        yield_point();
    }
    while save_more() {
        yield_point();
    }
}

/// The kernel that a task of a job was started on.
pub(crate) fn here() -> KernelId {
    updraft_kernel::kernel_id().unwrap_or(KernelId(0))
}
