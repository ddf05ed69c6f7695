//! Synchronous code that can be suspended where it stands: a task on a stack of its own.
//!
//! [`yield_point`] is called in loops that may run for long. It costs about a nanosecond while it has nothing to
//! do: it counts down, and looks at a flag that is raised when a batch task has to give way. Only when the
//! count is at zero does it read the clock; how far to count is adapted to how often it is called.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Cx, Poll, Waker};
use std::time::Duration;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::clock::{self, Nanos};
use crate::runtime::sim;
use crate::scheduler::{Class, Kernel};
use crate::sync::lock;

/// Why a coroutine is suspended.
enum Pause {
    /// It gives way, and is ready.
    Yielded,
    /// It waits: its waker is with whom it waits for.
    Waiting,
}

/// Bytes of a task's stack; touched pages only take memory.
const STACK: usize = 1 << 20;
/// Calls between two looks at the clock, at most.
const MOST_CALLS: u32 = 1 << 14;

thread_local! {
    /// The yielder of the coroutine that runs on this thread; null where none does.
    static YIELDER: Cell<*const Yielder<(), Pause>> = const { Cell::new(std::ptr::null()) };
    static WAKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// Calls of `yield_point` until the next look at the clock.
    static COUNTDOWN: Cell<u32> = const { Cell::new(MOST_CALLS) };
    static INTERRUPT: Cell<&'static AtomicBool> = const { Cell::new(&NEVER) };
    static SLICE: Cell<Slice> = const { Cell::new(Slice::NONE) };
}

static NEVER: AtomicBool = AtomicBool::new(false);

/// The turn of the running task.
#[derive(Clone, Copy)]
struct Slice {
    class: Class,
    quantum: Duration,
    begin: Nanos,
    /// When the clock was last looked at, and how many calls ago.
    looked: Nanos,
    calls: u32,
}

impl Slice {
    const NONE: Self =
        Self { class: Class::Stream, quantum: Duration::MAX, begin: Nanos(0), looked: Nanos(0), calls: MOST_CALLS };
}

/// Flags that no kernel uses now. They live for ever and are used again, so that a yield point may read its
/// thread's without asking whether it is still there; a late one raised by mistake costs a look at the clock.
static FLAGS: Mutex<Vec<&'static AtomicBool>> = Mutex::new(Vec::new());

/// The flag that a kernel's yield points look at.
pub(crate) struct InterruptFlag(&'static AtomicBool);

impl InterruptFlag {
    pub(crate) fn new() -> Self {
        Self(lock(&FLAGS).pop().unwrap_or_else(|| Box::leak(Box::new(AtomicBool::new(false)))))
    }

    /// Makes it the flag of this thread's yield points, until the thread ends.
    pub(crate) fn install(&self) {
        INTERRUPT.set(self.0);
    }

    /// A stream task is ready: a batch task that runs on the kernel is to give way.
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for InterruptFlag {
    fn drop(&mut self) {
        lock(&FLAGS).push(self.0);
    }
}

/// A task that runs synchronous code on a stack of its own.
pub(crate) struct Stackful<T> {
    coroutine: Coroutine<(), Pause, T, DefaultStack>,
}

impl<T: 'static> Stackful<T> {
    pub(crate) fn new(run: impl FnOnce() -> T + 'static) -> std::io::Result<Self> {
        let stack = DefaultStack::new(STACK)?;
        let coroutine = Coroutine::with_stack(stack, |yielder, ()| {
            YIELDER.set(yielder);
            run()
        });
        Ok(Self { coroutine })
    }
}

impl<T> Future for Stackful<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<T> {
        let outer_waker = WAKER.replace(Some(cx.waker().clone()));
        let outer_yielder = YIELDER.get();
        let _restore = Restore(outer_yielder, outer_waker);
        match self.coroutine.resume(()) {
            CoroutineResult::Return(value) => Poll::Ready(value),
            CoroutineResult::Yield(Pause::Waiting) => Poll::Pending,
            CoroutineResult::Yield(Pause::Yielded) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// Puts back what the thread had before it resumed a coroutine, also when that panics.
struct Restore(*const Yielder<(), Pause>, Option<Waker>);

impl Drop for Restore {
    fn drop(&mut self) {
        YIELDER.set(self.0);
        WAKER.set(self.1.take());
    }
}

/// Suspends the running coroutine: whether there is one.
fn suspend(pause: Pause) -> bool {
    let yielder = YIELDER.get();
    if yielder.is_null() {
        return false;
    }
    #[expect(unsafe_code, reason = "the yielder lives on the coroutine's own stack, which no lifetime can name")]
    // SAFETY: the pointer is set when the coroutine starts and whenever it goes on (below), and taken
    // back whenever it leaves (`Restore`); so it is that of the coroutine whose stack this code runs on, and
    // that stack holds the yielder until the coroutine ends.
    unsafe {
        (*yielder).suspend(pause);
    }
    YIELDER.set(yielder);
    true
}

/// Begins the turn of a task.
pub(crate) fn begin_slice(now: Nanos, class: Class, quantum: Duration) {
    let calls = SLICE.get().calls;
    COUNTDOWN.set(sim::calls_to_pass().unwrap_or(calls));
    SLICE.set(Slice { class, quantum, begin: now, looked: now, calls });
    INTERRUPT.get().store(false, Ordering::Relaxed);
}

/// A stream task is ready on this thread's kernel: a batch task that runs here is to give way.
pub(crate) fn interrupt_batch() {
    if SLICE.get().class == Class::Batch {
        INTERRUPT.get().store(true, Ordering::Relaxed);
    }
}

/// Suspends the running task if its quantum is over and something else is ready, or, if it is a batch task, as soon as a
/// stream task is ready. To be called in loops of synchronous code that may run for more than some microseconds.
/// Does nothing in tasks that have no stack of their own, and outside of tasks.
#[inline]
pub fn yield_point() {
    let left = COUNTDOWN.get();
    if left > 0 && !INTERRUPT.get().load(Ordering::Relaxed) {
        COUNTDOWN.set(left - 1);
    } else {
        look();
    }
}

/// Looks at the clock, and gives way if it is time.
#[cold]
fn look() {
    let mut slice = SLICE.get();
    let interrupted = INTERRUPT.get().swap(false, Ordering::Relaxed);
    if YIELDER.get().is_null() {
        COUNTDOWN.set(MOST_CALLS);
        return;
    }
    if sim::is_simulated() {
        suspend(Pause::Yielded);
        return;
    }
    let now = clock::now();
    let made = slice.calls - COUNTDOWN.get().min(slice.calls);
    slice.calls = calls_within(slice.quantum / 4, made.max(1), now.since(slice.looked));
    slice.looked = now;
    COUNTDOWN.set(slice.calls);
    SLICE.set(slice);
    let Some(kernel) = Kernel::current() else { return };
    let over = now.since(slice.begin) >= slice.quantum;
    if interrupted && slice.class == Class::Batch || over && (kernel.has_ready() || reactor_is_due(&slice, now)) {
        kernel.shared.metrics.suspensions.fetch_add(1, Ordering::Relaxed);
        drop(kernel);
        suspend(Pause::Yielded);
    }
}

/// Even with nothing else ready, timers and sockets want a turn.
fn reactor_is_due(slice: &Slice, now: Nanos) -> bool {
    now.since(slice.begin) >= slice.quantum * 4
}

/// How many calls fit into `span`, given that `calls` took `took`; changes by no more than four times at once.
fn calls_within(span: Duration, calls: u32, took: Duration) -> u32 {
    let fit = u128::from(calls) * span.as_nanos() / took.as_nanos().max(1);
    let fit = u32::try_from(fit).unwrap_or(u32::MAX);
    fit.clamp(calls / 4, calls.saturating_mul(4)).clamp(1, MOST_CALLS)
}

/// Waits for `future` in synchronous code: in a task with a stack of its own, suspends it; outside of tasks, parks the thread.
///
/// # Panics
/// In a task that has no stack of its own: await there.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        let waker = WAKER.with_borrow(Clone::clone);
        let Some(waker) = waker else {
            assert!(crate::context::current().is_none(), "`block_on` would stop the kernel: await instead");
            return crate::runtime::park_on(future);
        };
        if let Poll::Ready(value) = future.as_mut().poll(&mut Cx::from_waker(&waker)) {
            return value;
        }
        suspend(Pause::Waiting);
    }
}
