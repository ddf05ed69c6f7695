//! A [`Runtime`]: the kernels of a process.
//!
//! What a kernel's thread does is in the file of its platform: [`tokio`](self::tokio) drives real ones. The seam is narrow:
//! a platform makes threads (or none), runs each [`Kernel`](crate::scheduler) when it has something ready, and gives
//! [`crate::clock`] and [`crate::random`] their answers. [`sim`] drives simulated ones, on a single thread.

mod cores;
pub mod sim;
mod tokio;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use self::cores::Cores;
use crate::account::Account;
use crate::context::KernelId;
use crate::group::{self, Group};
use crate::metrics::KernelMetrics;
use crate::scheduler::{Class, Shared};
use crate::sync::lock;

/// How a runtime is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    kernels: usize,
    pin: bool,
    quantum: Duration,
    memory_budget: usize,
}

impl Default for Builder {
    fn default() -> Self {
        let kernels = thread::available_parallelism().map_or(1, Into::into);
        Self { kernels, pin: true, quantum: Duration::from_micros(100), memory_budget: half_of_memory() }
    }
}

impl Builder {
    /// How many kernels; all cores of the machine by default. At least one.
    #[must_use]
    pub fn kernels(mut self, kernels: usize) -> Self {
        self.kernels = kernels.max(1);
        self
    }

    /// Whether each kernel's thread stays on a core of its own; yes by default, where there are enough cores.
    #[must_use]
    pub fn pin(mut self, pin: bool) -> Self {
        self.pin = pin;
        self
    }

    /// How long a task may hold its core while another waits; 100 µs by default.
    #[must_use]
    pub fn quantum(mut self, quantum: Duration) -> Self {
        self.quantum = quantum;
        self
    }

    /// Bytes that may be queued and held as state before sources wait; half of the machine's memory by default.
    #[must_use]
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// Starts the kernels.
    ///
    /// # Errors
    /// When the operating system gives no thread, or no file descriptor for its events.
    pub fn build(self) -> io::Result<Runtime> {
        let shared = (0..self.kernels).map(|id| Arc::new(Shared::new(KernelId(id), self.quantum)));
        let kernels: Arc<[_]> = shared.collect();
        let mut runtime = Runtime {
            handle: Handle(Arc::new(Inner {
                kernels: kernels.clone(),
                account: Account::new(self.memory_budget),
                groups: Mutex::default(),
            })),
            threads: Vec::new(),
        };
        let cores = Cores::new(self.kernels, self.pin);
        for kernel in &*kernels {
            runtime.threads.push(tokio::start(kernel.clone(), self.kernels, &cores)?);
        }
        Ok(runtime)
    }
}

fn half_of_memory() -> usize {
    let kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    });
    kib.map_or(1 << 30, |kib| kib / 2 * 1024)
}

/// Kernels, and the threads that they run on. Dropped, it cancels all tasks and waits for the threads.
pub struct Runtime {
    handle: Handle,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Runtime {
    /// With defaults: a kernel on each core.
    ///
    /// # Errors
    /// As for [`Builder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Says how it is to be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What tasks are started with.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for `future` on the calling thread, which is none of the kernels'.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        park_on(pin!(future))
    }

    /// Cancels all tasks and waits for the threads.
    pub fn shutdown(self) {}
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let groups = std::mem::take(&mut *lock(&self.handle.0.groups));
        groups.iter().filter_map(group::Weak::upgrade).for_each(|group| group.cancel());
        self.handle.0.kernels.iter().for_each(|kernel| kernel.stop());
        for thread in self.threads.drain(..) {
            // A kernel's thread catches the panics of its tasks; one of its own has been printed.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("kernels", &self.handle.kernels()).finish_non_exhaustive()
    }
}

/// What tasks are started with, from any thread.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("kernels", &self.kernels()).finish_non_exhaustive()
    }
}

struct Inner {
    kernels: Arc<[Arc<Shared>]>,
    account: Arc<Account>,
    /// To be cancelled when the runtime goes.
    groups: Mutex<Vec<group::Weak>>,
}

impl Handle {
    /// How many kernels there are.
    pub fn kernels(&self) -> usize {
        self.0.kernels.len()
    }

    /// How long a task runs before others have their turn, as [`Builder::quantum`] has said or [`set_quantum`](Self::set_quantum) since.
    pub fn quantum(&self) -> Duration {
        self.0.kernels.first().map_or(Duration::ZERO, |kernel| kernel.quantum())
    }

    /// Changes that, from each kernel's next task on: of all groups. At least a microsecond.
    pub fn set_quantum(&self, quantum: Duration) {
        self.0.kernels.iter().for_each(|kernel| kernel.set_quantum(quantum.max(Duration::from_micros(1))));
    }

    /// A new group of tasks.
    pub fn group(&self, name: impl Into<Arc<str>>, class: Class) -> Group {
        let account = Account::child(&self.0.account, usize::MAX);
        let group = Group::new(name.into(), class, account, self.0.kernels.clone());
        let groups = &mut *lock(&self.0.groups);
        groups.retain(|group| group.upgrade().is_some());
        groups.push(group.downgrade());
        group
    }

    /// The memory account of all groups.
    pub fn account(&self) -> &Arc<Account> {
        &self.0.account
    }

    /// What each kernel has done.
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = &KernelMetrics> {
        self.0.kernels.iter().map(|kernel| &kernel.metrics)
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for `future`, parking the thread.
pub(crate) fn park_on<T>(mut future: Pin<&mut impl Future<Output = T>>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
