//! What a stage holds of each open epoch. The second of the five files of the data path.
//!
//! A [`Container`] is a count: of all that still stands between its epoch and its completion. That is each
//! piece of work that was added and is not done, each input that has not closed the epoch yet, and the epoch
//! before it, if that is not complete. Who brings the count to zero completes the epoch; nobody
//! waits, and no lock is held over it. The two invariants follow from the counting:
//!
//! 1. *Watermark order*: an epoch completes after all its work and after all epochs before it.
//! 2. *Epoch boundaries*: what a piece of work gives is added downstream, to the same epoch, before the piece is
//!    counted as done, so the epoch is still open there.
//!
//! Work waits in a lane per kernel, oldest epoch first. Next: [`crate::stage`], what consumes it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::checkpoint::marks::Marks;
use crate::sync::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Mutex, Ordering, lock};
use crate::time::{Epoch, Punctuation, Time};

/// The count of one epoch at one stage.
pub(crate) struct Container {
    pub(crate) epoch: Epoch,
    /// Work not done, inputs not closed, and the epoch before.
    pending: AtomicUsize,
    /// The least of the inputs' watermarks.
    watermark: AtomicI64,
    /// When the epoch was closed: the same for all inputs.
    now: AtomicI64,
    /// Pieces of work that were added by inputs so far.
    added: AtomicU64,
    /// Pieces of work in the lanes.
    queued: AtomicUsize,
    /// Whether what is pending now is the work that completes the epoch.
    sealed: AtomicBool,
    /// Whether it is a snapshot.
    saved: AtomicBool,
    /// Whether its records have been counted: then it is complete, but for messages of control.
    counted: AtomicBool,
    /// Records that were taken in, and given on.
    records: [AtomicU64; 2],
}

impl Container {
    fn new(epoch: Epoch, pending: usize) -> Self {
        Self {
            epoch,
            pending: AtomicUsize::new(pending),
            watermark: AtomicI64::new(Time::MAX.0),
            now: AtomicI64::new(Time::MIN.0),
            added: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            sealed: AtomicBool::new(false),
            saved: AtomicBool::new(false),
            counted: AtomicBool::new(false),
            records: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Records of the epoch were taken in.
    pub(crate) fn took(&self, records: usize) {
        self.records[0].fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Records were given on.
    pub(crate) fn gave(&self, records: usize) {
        self.records[1].fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Records that were taken in and given on, when none is to come any more; none to who asks again.
    pub(crate) fn count(&self) -> Option<[u64; 2]> {
        let load = |records: &AtomicU64| records.load(Ordering::Relaxed);
        (!self.counted.swap(true, Ordering::AcqRel)).then(|| self.records.each_ref().map(load))
    }

    /// What closes the epoch; final when nothing is pending.
    pub(crate) fn punctuation(&self) -> Punctuation {
        let time = |time: &AtomicI64| Time(time.load(Ordering::Acquire));
        Punctuation { epoch: self.epoch, watermark: time(&self.watermark), now: time(&self.now) }
    }

    /// Counts `n` more pieces of work. To be called while something is pending, or by who completes the epoch.
    pub(crate) fn expect(&self, n: usize) {
        self.pending.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts one as done: whether nothing is pending any more.
    #[must_use]
    pub(crate) fn done(&self) -> bool {
        let before = self.pending.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "{} was counted down twice", self.epoch);
        before == 1
    }

    /// Marks that the work of completion follows: whether it was not marked before.
    pub(crate) fn seal(&self) -> bool {
        !self.sealed.swap(true, Ordering::AcqRel)
    }

    /// Marks that a snapshot follows, after the work of completion: whether it was not marked before.
    pub(crate) fn save(&self) -> bool {
        !self.saved.swap(true, Ordering::AcqRel)
    }
}

/// In which order a stage takes up the work of its open epochs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EpochOrder {
    /// Later epochs go on while earlier ones have stragglers.
    #[default]
    Out,
    /// An epoch waits until the one before it is complete: what other engines do, here for comparison.
    In,
}

impl EpochOrder {
    pub(crate) fn of(in_order: bool) -> Self {
        if in_order { Self::In } else { Self::Out }
    }
}

/// How lanes are served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) order: EpochOrder,
    /// Whether a kernel takes work from other kernels' lanes.
    pub(crate) stealing: bool,
    /// Whether the oldest work goes first; else the newest of the first lane that has any.
    pub(crate) priority: bool,
}

/// The containers of one stage, and the work in them.
pub(crate) struct Containers<W> {
    /// How many close each epoch.
    inputs: AtomicUsize,
    service: Service,
    /// Epochs after a marked one wait until that is complete, where it is said.
    marks: Option<Arc<Marks>>,
    lanes: Box<[Lane<W>]>,
    open: Mutex<Open>,
    /// The first epoch that is not complete.
    first: AtomicU64,
    /// Pieces of work in the lanes.
    queued: AtomicUsize,
}

struct Open {
    first: Epoch,
    containers: VecDeque<Arc<Container>>,
}

/// Work that waits for one kernel, by epoch. Aligned so that lanes don't share cache lines.
#[repr(align(128))]
struct Lane<W> {
    /// The epoch of the front, or [`EMPTY`]; a hint that is exact under the lock.
    front: AtomicU64,
    queue: Mutex<VecDeque<(Arc<Container>, W)>>,
}

const EMPTY: u64 = u64::MAX;

impl<W> Lane<W> {
    fn update_front(&self, queue: &VecDeque<(Arc<Container>, W)>) {
        self.front.store(queue.front().map_or(EMPTY, |(container, _)| container.epoch.0), Ordering::Release);
    }

    fn push(&self, container: Arc<Container>, work: W) {
        let queue = &mut *lock(&self.queue);
        // Nearly always at the back.
        let later = queue.iter().rev().take_while(|(other, _)| other.epoch > container.epoch).count();
        queue.insert(queue.len() - later, (container, work));
        self.update_front(queue);
    }

    fn pop(&self, at_most: u64, oldest: bool) -> Option<(Arc<Container>, W)> {
        let queue = &mut *lock(&self.queue);
        if queue.front()?.0.epoch.0 > at_most {
            return None;
        }
        let work = if oldest {
            queue.pop_front()
        } else {
            let newest = queue.iter().rposition(|(container, _)| container.epoch.0 <= at_most)?;
            queue.remove(newest)
        };
        self.update_front(queue);
        work
    }
}

impl<W> Containers<W> {
    pub(crate) fn new(kernels: usize, service: Service) -> Self {
        let lane = || Lane { front: AtomicU64::new(EMPTY), queue: Mutex::new(VecDeque::new()) };
        Self {
            inputs: AtomicUsize::new(0),
            service,
            marks: None,
            lanes: std::iter::repeat_with(lane).take(kernels).collect(),
            open: Mutex::new(Open { first: Epoch(0), containers: VecDeque::new() }),
            first: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
        }
    }

    /// Has epochs after a marked one wait until that is complete.
    pub(crate) fn stopping_at(self, marks: Arc<Marks>) -> Self {
        Self { marks: Some(marks), ..self }
    }

    /// One more input will close each epoch. Before the first epoch only.
    pub(crate) fn add_input(&self) {
        self.inputs.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether inputs should wait before they add to `epoch`.
    pub(crate) fn is_full(&self, capacity: usize, epoch: Epoch) -> bool {
        if self.queued.load(Ordering::SeqCst) < capacity {
            return false;
        }
        // What fills the lanes may wait, here or further on, for work that is still to be added to the first epoch.
        if epoch.0 <= self.first.load(Ordering::Acquire) {
            let first = lock(&self.open).containers.front().cloned();
            return first.is_some_and(|first| first.queued.load(Ordering::SeqCst) >= capacity);
        }
        true
    }

    /// Whether work of a later epoch waits until the one before is complete.
    pub(crate) fn in_order(&self) -> bool {
        self.service.order == EpochOrder::In
    }

    /// Whether any kernel may claim what is in a lane.
    pub(crate) fn stealing(&self) -> bool {
        self.service.stealing
    }

    /// What `f` says of the work in the lanes, added up.
    pub(crate) fn sum(&self, f: impl Fn(&W) -> usize) -> usize {
        let lane = |lane: &Lane<W>| lock(&lane.queue).iter().map(|(_, work)| f(work)).sum::<usize>();
        self.lanes.iter().map(lane).sum()
    }

    /// Whether work waits.
    pub(crate) fn has_work(&self) -> bool {
        self.queued.load(Ordering::SeqCst) > 0
    }

    /// The container of `epoch`, which is not complete.
    fn container(&self, epoch: Epoch) -> Arc<Container> {
        self.at(&mut lock(&self.open), epoch)
    }

    fn at(&self, open: &mut Open, epoch: Epoch) -> Arc<Container> {
        assert!(epoch >= open.first, "{epoch} is complete");
        let index = (epoch.0 - open.first.0) as usize;
        while open.containers.len() <= index {
            let next = Epoch(open.first.0 + open.containers.len() as u64);
            // The epoch before counts, but for the first.
            let pending = self.inputs.load(Ordering::Relaxed) + usize::from(next > Epoch(0));
            open.containers.push_back(Arc::new(Container::new(next, pending)));
        }
        open.containers[index].clone()
    }

    /// Adds work to an epoch that the caller keeps open: it is an input that has not closed it.
    /// `work` is made with its number: those of one input are in the order in which it adds.
    pub(crate) fn add(&self, lane: usize, epoch: Epoch, work: impl FnOnce(u64) -> W) {
        let container = self.container(epoch);
        container.expect(1);
        let number = container.added.fetch_add(1, Ordering::Relaxed);
        self.push(lane, container, work(number));
    }

    /// Adds work that has been counted.
    pub(crate) fn push(&self, lane: usize, container: Arc<Container>, work: W) {
        self.queued.fetch_add(1, Ordering::SeqCst);
        container.queued.fetch_add(1, Ordering::SeqCst);
        self.lanes[lane % self.lanes.len()].push(container, work);
    }

    /// The epoch of the work that [`claim`](Self::claim) would give. One that does not help takes what is in its own lane alone.
    pub(crate) fn oldest(&self, lane: usize, helps: bool) -> Option<Epoch> {
        self.best_lane(lane, helps).map(|(_, epoch)| Epoch(epoch))
    }

    /// The lane with the oldest work that `lane`'s kernel may take; its own, among equals.
    fn best_lane(&self, own: usize, helps: bool) -> Option<(usize, u64)> {
        let front = |lane: usize| self.lanes[lane].front.load(Ordering::Acquire);
        let (mut best, at_most) = ((own, front(own)), self.at_most());
        let may_go = |epoch: u64| epoch != EMPTY && epoch <= at_most;
        if self.service.stealing && helps {
            for lane in 0..self.lanes.len() {
                if !self.service.priority && may_go(best.1) {
                    break;
                }
                let epoch = front(lane);
                if epoch < best.1 {
                    best = (lane, epoch);
                }
            }
        }
        may_go(best.1).then_some(best)
    }

    /// The latest epoch that work may be claimed of.
    fn at_most(&self) -> u64 {
        let first = self.first.load(Ordering::Acquire);
        match self.service.order {
            EpochOrder::Out => {
                self.marks.as_ref().and_then(|marks| marks.next(Epoch(first))).map_or(EMPTY, |mark| mark.0)
            }
            EpochOrder::In => first,
        }
    }

    /// Takes the oldest work that there is for `lane`'s kernel (unless there is no priority). Count it as [`done`](Container::done) afterwards.
    pub(crate) fn claim(&self, lane: usize, helps: bool) -> Option<(Arc<Container>, W)> {
        loop {
            let (best, _) = self.best_lane(lane, helps)?;
            // Another kernel may have been faster: look again.
            if let Some(work) = self.lanes[best].pop(self.at_most(), self.service.priority) {
                self.queued.fetch_sub(1, Ordering::SeqCst);
                work.0.queued.fetch_sub(1, Ordering::SeqCst);
                debug_assert!(work.0.epoch.0 >= self.first.load(Ordering::Acquire), "work of a complete epoch");
                return Some(work);
            }
        }
    }

    /// One input closes `epoch`: the container, if that was the last that was pending.
    pub(crate) fn close(&self, punctuation: Punctuation) -> Option<Arc<Container>> {
        let container = self.container(punctuation.epoch);
        container.watermark.fetch_min(punctuation.watermark.0, Ordering::AcqRel);
        container.now.store(punctuation.now.0, Ordering::Release);
        container.done().then_some(container)
    }

    /// The epoch is complete: its successor, if nothing is pending there now.
    pub(crate) fn retire(&self, container: &Container) -> Option<Arc<Container>> {
        let next = {
            let open = &mut *lock(&self.open);
            let first = open.containers.pop_front();
            debug_assert!(first.is_some_and(|first| first.epoch == container.epoch), "epochs complete in order");
            open.first = container.epoch.next();
            self.first.store(open.first.0, Ordering::Release);
            self.at(open, container.epoch.next())
        };
        next.done().then_some(next)
    }
}

#[cfg(all(test, shuttle))]
mod shuttle;
