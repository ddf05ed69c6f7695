//! Who runs next on a kernel: stream tasks by deadline, then batch tasks in turn.
//!
//! A kernel has two sides. [`Kernel`] belongs to its thread and needs no synchronisation; [`Shared`] is what others
//! reach: an inbox for tasks that they make ready, and the flags that get the kernel's attention.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering as Order;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_task::Runnable;

use crate::clock::{self, Nanos};
use crate::context::KernelId;
use crate::metrics::KernelMetrics;
use crate::stackful::{self, InterruptFlag};
use crate::sync::{AtomicBool, AtomicWaker, Ordering, fence, lock};

/// What a task is owed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Class {
    /// Runs before any batch task; among its like, the earliest deadline first.
    #[default]
    Stream = 0,
    /// Runs with what stream tasks leave.
    Batch = 1,
}

/// What the scheduler knows of a task.
pub(crate) struct Meta {
    pub(crate) class: Class,
    /// The deadline that the task has set itself, or 0.
    pub(crate) deadline: AtomicU64,
    pub(crate) home: Arc<Shared>,
}

pub(crate) type Task = Runnable<Arc<Meta>>;

/// A span that fits.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A kernel, as other threads see it.
pub(crate) struct Shared {
    pub(crate) id: KernelId,
    /// In nanoseconds.
    quantum: AtomicU64,
    pub(crate) metrics: KernelMetrics,
    inbox: Mutex<Vec<Inbound>>,
    /// Whether the inbox may hold something.
    mail: AtomicBool,
    sleeping: AtomicBool,
    waker: AtomicWaker,
    /// Whether the running task is a batch task, which gives way to a stream task.
    batch_runs: AtomicBool,
    pub(crate) interrupt: InterruptFlag,
    stopping: AtomicBool,
}

enum Inbound {
    Ready(Task, Nanos),
    Birth(Birth),
}

/// Makes a task, on the kernel that it is for.
type Birth = Box<dyn FnOnce(&Rc<Kernel>) + Send>;

impl Shared {
    pub(crate) fn new(id: KernelId, quantum: Duration) -> Self {
        Self {
            id,
            quantum: AtomicU64::new(nanos(quantum)),
            metrics: KernelMetrics::default(),
            inbox: Mutex::default(),
            mail: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            batch_runs: AtomicBool::new(false),
            interrupt: InterruptFlag::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// How long a task runs before others have their turn.
    pub(crate) fn quantum(&self) -> Duration {
        Duration::from_nanos(self.quantum.load(Ordering::Relaxed))
    }

    pub(crate) fn set_quantum(&self, quantum: Duration) {
        self.quantum.store(nanos(quantum), Ordering::Relaxed);
    }

    /// Runs `birth` on the kernel's thread.
    pub(crate) fn birth(&self, birth: impl FnOnce(&Rc<Kernel>) + Send + 'static) {
        self.send(Inbound::Birth(Box::new(birth)));
    }

    /// Lets the kernel end, once no task is left.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    fn send(&self, inbound: Inbound) {
        lock(&self.inbox).push(inbound);
        self.mail.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes the kernel if it sleeps. The fence stands between what the kernel is to see and the look at whether it
    /// sleeps; its counterpart is in [`Kernel::sleep`].
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

/// Makes a task ready, on its own kernel, from any thread. This is what a task's waker does.
pub(crate) fn schedule(task: Task) {
    let since = clock::now();
    let mut task = Some(task);
    KERNEL.with_borrow(|kernel| {
        if let Some(kernel) = kernel
            && let Some(local) = task.take_if(|task| Arc::ptr_eq(&task.metadata().home, &kernel.shared))
        {
            kernel.enqueue(local, since);
            // The thread may be in its reactor, which has just found an event for the task.
            if kernel.asleep_since.get().is_some() {
                kernel.shared.wake();
            }
        }
    });
    if let Some(task) = task {
        let meta = task.metadata().clone();
        let home = &meta.home;
        home.send(Inbound::Ready(task, since));
        if meta.class == Class::Stream && home.batch_runs.load(Ordering::Relaxed) {
            home.interrupt.raise();
        }
    }
}

/// Ready stream tasks are ordered by deadline; without one, by when they became ready.
struct Ready {
    deadline: u64,
    order: u64,
    since: Nanos,
    task: Task,
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Ready {}
impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}
/// The greatest is the most urgent.
impl Ord for Ready {
    fn cmp(&self, other: &Self) -> Order {
        (other.deadline, other.order).cmp(&(self.deadline, self.order))
    }
}

thread_local! {
    static KERNEL: RefCell<Option<Rc<Kernel>>> = const { RefCell::new(None) };
}

/// A kernel, as its own thread sees it.
pub(crate) struct Kernel {
    pub(crate) shared: Arc<Shared>,
    pub(crate) kernels: usize,
    stream: RefCell<BinaryHeap<Ready>>,
    batch: RefCell<VecDeque<(Task, Nanos)>>,
    enqueued: Cell<u64>,
    /// Tasks that have not ended, in the order in which they were made.
    tasks: RefCell<BTreeMap<u64, String>>,
    made: Cell<u64>,
    asleep_since: Cell<Option<Nanos>>,
}

impl Kernel {
    pub(crate) fn new(shared: Arc<Shared>, kernels: usize) -> Self {
        Self {
            shared,
            kernels,
            stream: RefCell::default(),
            batch: RefCell::default(),
            enqueued: Cell::new(0),
            tasks: RefCell::default(),
            made: Cell::new(0),
            asleep_since: Cell::new(None),
        }
    }

    /// Makes this thread a kernel.
    pub(crate) fn install(shared: Arc<Shared>, kernels: usize) -> Rc<Self> {
        let kernel = Rc::new(Self::new(shared, kernels));
        kernel.shared.interrupt.install();
        KERNEL.set(Some(kernel.clone()));
        kernel
    }

    /// This thread's kernel.
    pub(crate) fn current() -> Option<Rc<Self>> {
        KERNEL.with_borrow(Clone::clone)
    }

    /// This thread is a kernel no longer: drops the tasks that are still queued, where they belong.
    pub(crate) fn uninstall() {
        if let Some(kernel) = KERNEL.take() {
            kernel.clear();
        }
    }

    /// Drops the tasks that are still queued.
    pub(crate) fn clear(&self) {
        lock(&self.shared.inbox).clear();
        self.stream.take();
        self.batch.take();
    }

    /// On a thread that is one kernel after the other: is this one, for one turn of one task.
    pub(crate) fn turn(self: &Rc<Self>) {
        KERNEL.set(Some(self.clone()));
        self.shared.interrupt.install();
        self.run(Duration::ZERO);
        KERNEL.take();
    }

    /// A task begins: by which number it is known.
    pub(crate) fn add_task(&self, name: String) -> u64 {
        self.made.set(self.made.get() + 1);
        self.tasks.borrow_mut().insert(self.made.get(), name);
        self.made.get()
    }

    /// A task has ended.
    pub(crate) fn remove_task(&self, id: u64) {
        self.tasks.borrow_mut().remove(&id);
    }

    /// The tasks that have not ended.
    pub(crate) fn tasks(&self) -> Vec<String> {
        self.tasks.borrow().values().cloned().collect()
    }

    fn enqueue(&self, task: Task, since: Nanos) {
        match task.metadata().class {
            Class::Stream => {
                self.enqueued.set(self.enqueued.get() + 1);
                let deadline = match task.metadata().deadline.load(Ordering::Relaxed) {
                    0 => since.0,
                    deadline => deadline,
                };
                self.stream.borrow_mut().push(Ready { deadline, order: self.enqueued.get(), since, task });
                stackful::interrupt_batch();
            }
            Class::Batch => self.batch.borrow_mut().push_back((task, since)),
        }
    }

    /// Whether something waits for the task that runs now to give way.
    pub(crate) fn has_ready(&self) -> bool {
        self.shared.mail.load(Ordering::Relaxed) || !self.stream.borrow().is_empty() || !self.batch.borrow().is_empty()
    }

    fn receive(self: &Rc<Self>) {
        if self.shared.mail.load(Ordering::Relaxed) && self.shared.mail.swap(false, Ordering::AcqRel) {
            let inbox = std::mem::take(&mut *lock(&self.shared.inbox));
            for inbound in inbox {
                match inbound {
                    Inbound::Ready(task, since) => self.enqueue(task, since),
                    Inbound::Birth(birth) => birth(self),
                }
            }
        }
    }

    fn next(&self) -> Option<(Task, Nanos)> {
        let stream = self.stream.borrow_mut().pop().map(|ready| (ready.task, ready.since));
        stream.or_else(|| self.batch.borrow_mut().pop_front())
    }

    /// Runs ready tasks until none is left or `slice` is over; whether none is left.
    pub(crate) fn run(self: &Rc<Self>, slice: Duration) -> bool {
        let begin = clock::now();
        if let Some(since) = self.asleep_since.take() {
            self.shared.metrics.idle.fetch_add(begin.since(since).as_nanos() as u64, Ordering::Relaxed);
        }
        let mut now = begin;
        loop {
            self.receive();
            let Some((task, since)) = self.next() else { return true };
            now = self.run_one(task, since, now);
            if now.since(begin) >= slice {
                return false;
            }
        }
    }

    fn run_one(&self, task: Task, since: Nanos, now: Nanos) -> Nanos {
        let class = task.metadata().class;
        let metrics = &self.shared.metrics;
        metrics.ready_to_run[class as usize].record(now.since(since));
        metrics.polls.fetch_add(1, Ordering::Relaxed);
        self.shared.batch_runs.store(class == Class::Batch, Ordering::Relaxed);
        stackful::begin_slice(now, class, self.shared.quantum());
        task.run();
        self.shared.batch_runs.store(false, Ordering::Relaxed);
        let end = clock::now();
        metrics.busy[class as usize].fetch_add(end.since(now).as_nanos() as u64, Ordering::Relaxed);
        end
    }

    /// Prepares to sleep until something is ready: whether that is right. `waker` wakes the thread.
    pub(crate) fn sleep(&self, waker: &std::task::Waker) -> bool {
        self.shared.waker.register(waker);
        self.shared.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.shared.mail.load(Ordering::Relaxed) || self.has_ready() || self.is_over() {
            self.shared.sleeping.store(false, Ordering::Relaxed);
            return false;
        }
        self.asleep_since.set(Some(clock::now()));
        true
    }

    /// Whether the kernel is to end, and no task is left.
    pub(crate) fn is_over(&self) -> bool {
        self.tasks.borrow().is_empty() && self.shared.stopping.load(Ordering::Acquire) && !self.has_ready()
    }
}

/// Gives way to what else is ready; goes on after it.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
