//! Simulated kernels: one thread, virtual time, a seeded schedule, and faults on request.
//!
//! A [`Sim`] has the same [`Handle`] as a [`Runtime`](super::Runtime), so whatever runs on kernels runs here: tasks, channels,
//! whole jobs. Each step lets one kernel, chosen by chance, run one task for one turn. Virtual time passes as steps
//! are made, and jumps to the next timer when nobody has anything to do. All chance comes from the seed: the same
//! seed is the same run, to the byte.
//!
//! ```
//! use std::time::Duration;
//! use updraft_kernel::sim::{Faults, Sim};
//! use updraft_kernel::{Class, KernelId, clock};
//!
//! let sim = Sim::builder(7).kernels(3).faults(Faults::none().stalls(0.1, Duration::from_millis(5))).build();
//! let group = sim.handle().group("naps", Class::Stream);
//! let nap = group.spawn(KernelId(2), "nap", || async {
//!     let begin = clock::now();
//!     clock::sleep(Duration::from_secs(3600)).await;
//!     clock::now().since(begin)
//! });
//! assert!(sim.block_on(nap)? >= Duration::from_secs(3600));
//! # Ok::<(), updraft_kernel::TaskError>(())
//! ```
//!
//! What it does not simulate: files, sockets and other threads (a task that asks tokio for them panics), and the order in
//! which the memory of one core becomes visible to another (the loom models do that).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{Handle, Inner};
use crate::account::Account;
use crate::clock::{self, Nanos};
use crate::context::KernelId;
use crate::group;
use crate::random::{self, Random};
use crate::scheduler::{Kernel, Shared};
use crate::sync::lock;

/// What goes wrong in a simulated run, and how often. Probabilities are from 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Faults {
    stall: f64,
    longest_stall: Duration,
    panic: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// Nothing goes wrong; the schedule is still by chance.
    pub const fn none() -> Self {
        Self { stall: 0.0, longest_stall: Duration::ZERO, panic: 0.0 }
    }

    /// At each step, with `probability`, a kernel stands still for some time up to `longest`: as one does that the
    /// operating system has taken off its core.
    #[must_use]
    pub const fn stalls(mut self, probability: f64, longest: Duration) -> Self {
        (self.stall, self.longest_stall) = (probability, longest);
        self
    }

    /// At the beginning of each turn of a task, with `probability`, the task panics.
    #[must_use]
    pub const fn panics(mut self, probability: f64) -> Self {
        self.panic = probability;
        self
    }
}

/// How a simulated runtime is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    seed: u64,
    kernels: usize,
    quantum: Duration,
    memory_budget: usize,
    faults: Faults,
}

impl Builder {
    /// How many kernels; 2 by default. At least one.
    #[must_use]
    pub fn kernels(mut self, kernels: usize) -> Self {
        self.kernels = kernels.max(1);
        self
    }

    /// Bytes that may be queued and held as state before sources wait; without limit by default.
    #[must_use]
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// What goes wrong; nothing by default.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Makes this thread the one that simulates.
    ///
    /// # Panics
    /// Where the thread simulates already, or is a kernel.
    pub fn build(self) -> Sim {
        assert!(!is_simulated() && crate::kernel_id().is_none(), "a thread can simulate one runtime at a time");
        let shared: Arc<[_]> = (0..self.kernels).map(|id| Arc::new(Shared::new(KernelId(id), self.quantum))).collect();
        let kernels = shared.iter().map(|shared| Rc::new(Kernel::new(shared.clone(), self.kernels))).collect();
        let world = World {
            random: Random::new(self.seed),
            timers: BTreeMap::new(),
            made: 0,
            faults: self.faults,
            frozen: vec![Nanos(0); self.kernels],
        };
        WORLD.set(Some(world));
        SIMULATED.set(true);
        clock::set_virtual(Some(Nanos(0)));
        random::seed(self.seed);
        let inner = Inner { kernels: shared, account: Account::new(self.memory_budget), groups: Mutex::default() };
        Sim {
            seed: self.seed,
            handle: Handle(Arc::new(inner)),
            kernels,
            steps: Cell::new(0),
            watch: RefCell::default(),
        }
    }
}

/// A simulated runtime: see the module's page. Dropped, it cancels all tasks and lets them end.
pub struct Sim {
    seed: u64,
    handle: Handle,
    kernels: Vec<Rc<Kernel>>,
    steps: Cell<u64>,
    watch: RefCell<Vec<Box<dyn FnMut()>>>,
}

/// What a run has come to: equal for equal runs, and in practice for no others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// Steps made.
    pub steps: u64,
    /// Virtual time passed.
    pub time: Nanos,
    /// The random number that would be drawn next.
    pub next: u64,
}

impl Sim {
    /// Two kernels, without faults.
    pub fn new(seed: u64) -> Self {
        Self::builder(seed).build()
    }

    /// Says how it is to be.
    pub fn builder(seed: u64) -> Builder {
        let quantum = Duration::from_micros(100);
        Builder { seed, kernels: 2, quantum, memory_budget: usize::MAX, faults: Faults::none() }
    }

    /// What tasks and jobs are started with.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has `check` called after each step, when no task is running: for what must hold at any moment.
    pub fn at_each_step(&self, check: impl FnMut() + 'static) {
        self.watch.borrow_mut().push(Box::new(check));
    }

    /// Runs kernels until `future` is done.
    ///
    /// # Panics
    /// When nobody can go on: every task waits, and no timer is set. The message names the tasks, and the seed.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        let mut future = pin!(future);
        loop {
            if woken.0.swap(false, Ordering::AcqRel)
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return value;
            }
            // The future may have woken itself.
            if !self.step() && !woken.0.load(Ordering::Acquire) {
                self.stuck();
            }
        }
    }

    fn stuck(&self) -> ! {
        let tasks: Vec<_> = self.kernels.iter().flat_map(|kernel| kernel.tasks()).collect();
        let now = Duration::from_nanos(clock::now().0);
        panic!("seed {}: after {now:?} nobody can go on; waiting are {}", self.seed, tasks.join(", "));
    }

    /// Lets `span` of virtual time pass.
    pub fn run_for(&self, span: Duration) {
        self.block_on(clock::sleep(span));
    }

    /// What the run has come to.
    pub fn fingerprint(&self) -> Fingerprint {
        let next = with_world(|world| world.random.clone().u64());
        Fingerprint { steps: self.steps.get(), time: clock::now(), next }
    }

    /// Lets one kernel run one task for one turn, or time pass; whether there was anything to do.
    fn step(&self) -> bool {
        self.steps.set(self.steps.get() + 1);
        let now = clock::now();
        while let Some(waker) = with_world(|world| world.due(now)) {
            waker.wake();
        }
        let ready: Vec<_> = (0..self.kernels.len()).filter(|id| self.kernels[*id].has_ready()).collect();
        let (awake, frozen): (Vec<_>, Vec<_>) = ready.into_iter().partition(|id| frozen_until(*id) <= now);
        if awake.is_empty() {
            let thaw = frozen.into_iter().map(frozen_until);
            let Some(next) = thaw.chain(with_world(|world| world.next_timer())).min() else { return false };
            clock::set_virtual(Some(next));
            return true;
        }
        let kernel = with_world(|world| {
            let id = awake[world.random.below(awake.len() as u64) as usize];
            world.freeze(id, now).then_some(id)
        });
        if let Some(id) = kernel {
            self.kernels[id].turn();
            // A turn takes some time, more or less.
            let took = with_world(|world| world.random.below(20_000));
            clock::set_virtual(Some(now + Duration::from_nanos(took)));
            self.watch.borrow_mut().iter_mut().for_each(|check| check());
        }
        true
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let groups = std::mem::take(&mut *lock(&self.handle.0.groups));
        groups.iter().filter_map(group::Weak::upgrade).for_each(|group| group.cancel());
        with_world(|world| world.faults = Faults::none());
        self.watch.borrow_mut().clear();
        while self.step() {}
        self.kernels.iter().for_each(|kernel| kernel.clear());
        SIMULATED.set(false);
        WORLD.set(None);
        clock::set_virtual(None);
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed).field("kernels", &self.kernels.len()).finish_non_exhaustive()
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

thread_local! {
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Whether this thread simulates kernels.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.get()
}

/// What is around the kernels.
struct World {
    random: Random,
    /// By time, then by when they were set.
    timers: BTreeMap<(Nanos, u64), Waker>,
    made: u64,
    faults: Faults,
    /// By kernel: until when it stands still.
    frozen: Vec<Nanos>,
}

fn with_world<T>(f: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| f(world.as_mut().expect("only a thread that simulates asks for this")))
}

fn frozen_until(kernel: usize) -> Nanos {
    with_world(|world| world.frozen[kernel])
}

impl World {
    /// Takes a timer that is due.
    fn due(&mut self, now: Nanos) -> Option<Waker> {
        let first = self.timers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn next_timer(&self) -> Option<Nanos> {
        Some(self.timers.first_key_value()?.0.0)
    }

    /// Whether `kernel` may have its turn; else it stands still from now on.
    fn freeze(&mut self, kernel: usize, now: Nanos) -> bool {
        let stalls = self.random.chance(self.faults.stall);
        if stalls {
            let longest = self.faults.longest_stall.as_nanos() as u64;
            self.frozen[kernel] = now + Duration::from_nanos(1 + self.random.below(longest.max(1)));
        }
        !stalls
    }
}

/// Panics, if that is the task's fate.
pub(crate) fn begin_turn() {
    if is_simulated() && with_world(|world| world.random.chance(world.faults.panic)) {
        panic!("a panic by the simulator");
    }
}

/// In a simulated run: how many yield points to pass until the task is suspended.
pub(crate) fn calls_to_pass() -> Option<u32> {
    // Mostly some, now and then many: both that a loop is interrupted and that it is not should happen.
    is_simulated().then(|| with_world(|world| 1_u32 << world.random.below(12)))
}

/// A timer of virtual time.
pub(crate) struct Sleep {
    at: Nanos,
    key: Option<(Nanos, u64)>,
}

impl Sleep {
    pub(crate) fn until(at: Nanos) -> Self {
        Self { at, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if clock::now() >= self.at {
            return Poll::Ready(());
        }
        let (at, key) = (self.at, self.key);
        self.key = Some(with_world(|world| {
            let key = key.unwrap_or_else(|| {
                world.made += 1;
                (at, world.made)
            });
            world.timers.insert(key, cx.waker().clone());
            key
        }));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            WORLD.with_borrow_mut(|world| world.as_mut().map(|world| world.timers.remove(&key)));
        }
    }
}
