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
use crate::control::placement::Placement;
use crate::control::ride::Carriage;
use crate::control::{Control, Instance, Load, Part};
use crate::epoch::EpochClock;
use crate::exchange::{Outlet, Port};
use crate::explain::NodeKind;
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
    /// Into how many shards keys are dealt out.
    pub(crate) shards: usize,
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
    /// Its number among those of its epoch, and whose it is, where that matters.
    Bundle(Bundle<T>, u64, usize),
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
    /// By driver.
    drivers: Vec<Driver>,
    /// Drivers of which a snapshot is being taken.
    saving: AtomicUsize,
    /// What each kernel may take for saving, in nanoseconds, by the time that its work has taken; less than none where it has taken too many.
    owed: Vec<AtomicI64>,
    /// What it is to control operations, and where it is worked for.
    own: Arc<Part>,
    placement: Arc<Placement>,
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

/// A driver of a stage.
#[derive(Default)]
struct Driver {
    /// Whether a kernel has what it owns in hand.
    is_held: AtomicBool,
    /// Whether some of a snapshot of it is still to be saved, while it works.
    is_saving: AtomicBool,
    /// Records that it has taken in.
    records: AtomicU64,
}

/// What a driver owns, in the hands of one kernel.
struct Held<'a>(&'a Driver);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.is_held.store(false, Ordering::Release);
    }
}

impl Driver {
    fn try_hold(&self) -> Option<Held<'_>> {
        (!self.is_held.swap(true, Ordering::Acquire)).then_some(Held(self))
    }

    /// Waits until nobody else is at work on it: one who has worked for it before may still be saving some of it.
    fn hold(&self) -> Held<'_> {
        loop {
            match self.try_hold() {
                Some(held) => return held,
                None => block_on(yield_now()),
            }
        }
    }
}

/// Of the time of a driver that works, the share in which it saves what is frozen: one in so many. One that has nothing to do saves all
/// the time.
const SAVING: i64 = 10;

/// Pieces of work that may wait for a kernel, or for a driver, and so many more: enough that a kernel finds something while a source catches its
/// breath; little enough to stay in the cache.
pub(crate) const CAPACITY: usize = 4;

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
        let drivers = stage.drivers().unwrap_or(shared.kernels);
        let own = shared.control.add_part(NodeKind::Stage, name.clone(), drivers, S::KEYED);
        let placement = shared.control.place(&own, shared.kernels);
        let order = if S::KEYED || in_order { EpochOrder::In } else { shared.service.order };
        let service = Service { order, stealing: shared.service.stealing && !S::KEYED, ..shared.service };
        Self {
            name,
            containers: Containers::new(shared.kernels, service),
            locals: (0..drivers).map(|driver| stage.local(driver)).collect(),
            drivers: (0..drivers).map(|_| Driver::default()).collect(),
            saving: AtomicUsize::new(0),
            owed: (0..shared.kernels).map(|_| AtomicI64::new(0)).collect(),
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
            placement,
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
            Work::Bundle(bundle, number, driver) => {
                let (bytes, len) = (bundle.bytes(), bundle.count());
                let driver = if S::KEYED { driver } else { kernel };
                let _held = S::KEYED.then(|| self.drivers[driver].hold());
                self.in_hand.fetch_add(bytes, Ordering::Relaxed);
                context::set_place(&self.name, bundle.position());
                let (local, generation) = (&self.locals[driver], self.shared.generation(epoch));
                if S::ORDERED {
                    let mut results = Vec::new();
                    self.stage.bundle(local, generation, bundle, &mut |bundle| results.push(bundle));
                    done = self.ordered.pass(epoch, number, results, &self.shared.account, give);
                } else {
                    self.stage.bundle(local, generation, bundle, &mut give);
                }
                self.metrics.add_in(len);
                self.drivers[driver].records.fetch_add(len as u64, Ordering::Relaxed);
                container.took(len);
                self.in_hand.fetch_sub(bytes, Ordering::Relaxed);
                self.shared.account.release(bytes);
            }
            Work::Part(part) => {
                let driver = self.stage.owner(&part).unwrap_or(kernel);
                let _held = S::KEYED.then(|| self.drivers[driver].hold());
                self.stage.part(&self.locals[driver], part, &mut give);
            }
            Work::Snapshot(driver) => self.snapshot(kernel, driver, epoch),
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

    /// Whether a kernel may take what lies in the lanes of others.
    fn helps(&self, kernel: usize) -> bool {
        self.containers.stealing() && self.placement.has(kernel)
    }

    /// There is work in a lane: wakes its kernel, or one that may help.
    fn ring(&self, lane: usize) {
        self.shared.work.ring_from(lane, |kernel| self.placement.has(kernel));
    }

    /// Pieces of work that may wait before its sources do: as many bundles for each driver as there are for each kernel elsewhere.
    fn capacity(&self) -> usize {
        self.shared.capacity.max(CAPACITY * (1 + self.locals.len()))
    }

    /// The drivers of which `kernel` goes on with a snapshot.
    fn saved_by(&self, kernel: usize) -> impl Iterator<Item = usize> {
        let is_own =
            move |driver: &usize| if S::KEYED { self.placement.is_at(kernel, *driver) } else { *driver == kernel };
        let is_saving = |driver: &usize| self.drivers[*driver].is_saving.load(Ordering::Acquire);
        (0..self.locals.len()).filter(is_saving).filter(is_own)
    }

    /// Goes on with the snapshot of a driver, if nobody else has it in hand: whether there was something to do.
    fn save_more_of(&self, driver: usize) -> bool {
        let Some(_held) = self.drivers[driver].try_hold() else { return false };
        // The kernel that it was at before may have come to its end.
        if !self.drivers[driver].is_saving.load(Ordering::Acquire) {
            return false;
        }
        let mut snapshot = Snapshot::new(self.next_object.clone());
        let saved = self.stage.save_more(&self.locals[driver], &mut snapshot);
        self.charge();
        match saved {
            Ok(true) => self.add(snapshot, |_| {}),
            Ok(false) => {
                self.drivers[driver].is_saving.store(false, Ordering::Release);
                self.saving.fetch_sub(1, Ordering::AcqRel);
                self.add(snapshot, |taken| taken.left -= 1);
            }
            Err(error) => give_up(error),
        }
        true
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
        container.expect(self.locals.len());
        for (driver, kernel) in self.placement.at(container.epoch).iter().enumerate() {
            self.containers.push(*kernel, container.clone(), work(driver));
        }
        self.shared.work.ring_all();
    }

    /// Has a message dealt with by a driver, at the end of an epoch.
    fn visit(&self, message: &dyn Carriage, driver: usize, at: Punctuation) {
        let records = self.drivers[driver].records.load(Ordering::Relaxed);
        let load = Some(Load { kernel: self.placement.kernel(at.epoch, driver), records });
        let seen = self.metrics.seen(self.stage.state_bytes());
        let hot = || self.stage.hot_keys(&self.locals[driver]);
        message.completes(
            &self.own,
            &mut Instance { load, hot: Some(&hot), ..Instance::new(&self.own, driver, at, seen) },
        );
    }

    /// Begins with a driver's share, and saves as much of it as is saved at a time; the rest is the driver's affair.
    fn snapshot(&self, kernel: usize, driver: usize, epoch: Epoch) {
        let _held = self.drivers[driver].hold();
        let mut snapshot = Snapshot::new(self.next_object.clone());
        let through = self.shared.generation(epoch);
        let begun = self.stage.snapshot(&self.locals, driver, through, &mut snapshot);
        let saved = begun.and_then(|()| self.stage.save_more(&self.locals[driver], &mut snapshot));
        let is_left = saved.unwrap_or_else(|error| give_up(error));
        self.add(snapshot, |taken| taken.left += usize::from(is_left));
        if is_left {
            self.owed[kernel].store(0, Ordering::Relaxed);
            self.drivers[driver].is_saving.store(true, Ordering::Release);
            self.saving.fetch_add(1, Ordering::AcqRel);
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
            let driver = self.stage.owner(&part).unwrap_or((kernel + index) % self.locals.len());
            let lane = self.placement.kernel(container.epoch, driver);
            self.containers.push(lane, container.clone(), Work::Part(part));
            self.ring(lane);
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
        self.containers.oldest(kernel, self.helps(kernel)).filter(|epoch| !self.outlet.is_full(*epoch))
    }

    fn run(&self, kernel: usize) -> bool {
        let Some((container, work)) = self.containers.claim(kernel, self.helps(kernel)) else { return false };
        // Half full, so that a source which waits for room is woken once for several bundles.
        let is_half = !self.containers.is_full(self.capacity() / 2, container.epoch);
        if is_half && !self.containers.stealing() {
            // So do workers then, for they may not make room themselves.
            self.shared.work.ring_all();
        }
        let room = is_half && self.shared.consumed();
        let (begun, is_saving) = (clock::now(), self.is_saving(kernel));
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
            let is_due = self.owed[kernel].fetch_add(owed, Ordering::Relaxed) + owed >= 0;
            // What had to be saved before it changed should not wait then.
            let is_short = || self.shared.spill.as_ref().is_some_and(|spill| spill.is_short(0));
            if (is_due || is_short()) && self.save_more(kernel) {
                let took = clock::now().since(now).as_nanos() as i64;
                self.owed[kernel].fetch_sub(took, Ordering::Relaxed);
            }
        }
        room
    }

    fn is_saving(&self, kernel: usize) -> bool {
        self.saving.load(Ordering::Acquire) > 0 && self.saved_by(kernel).next().is_some()
    }

    fn save_more(&self, kernel: usize) -> bool {
        // Of each driver some: what has changed since, and had to be serialised before, takes memory until it is given on.
        self.saving.load(Ordering::Acquire) > 0
            && self.saved_by(kernel).fold(false, |any, driver| self.save_more_of(driver) | any)
    }
}

impl<S: Stage> Port<S::In> for StageRunner<S> {
    fn add_input(&self) {
        self.containers.add_input();
    }

    fn add(&self, kernel: usize, epoch: Epoch, bundle: Bundle<S::In>) {
        self.shared.account.charge(bundle.bytes());
        let driver = bundle.owner().unwrap_or(kernel);
        let lane = self.placement.kernel(epoch, driver);
        self.containers.add(lane, epoch, |number| Work::Bundle(bundle, number, driver));
        self.ring(lane);
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
        self.containers.is_full(self.capacity(), epoch)
    }

    fn has_work(&self) -> bool {
        self.containers.has_work() || self.outlet.has_work()
    }

    fn bytes(&self) -> usize {
        let queued = self.containers.sum(|work| if let Work::Bundle(bundle, ..) = work { bundle.bytes() } else { 0 });
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
    while stages.iter().any(|stage| stage.is_saving(kernel)) {
        // Another may have it in hand.
        if !save_more() {
            block_on(yield_now());
        }
        yield_point();
    }
}

/// The kernel that a task of a job was started on.
pub(crate) fn here() -> KernelId {
    updraft_kernel::kernel_id().unwrap_or(KernelId(0))
}
