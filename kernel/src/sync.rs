//! The synchronisation primitives of the lock-free parts: std's, or loom's under `--cfg updraft_loom`, which runs the
//! same code under every interleaving that the memory model allows. (Tokio has a meaning of its own for `--cfg loom`.)

#[cfg(not(updraft_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

#[cfg(updraft_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

#[cfg(not(updraft_loom))]
pub(crate) use atomic_waker::AtomicWaker;

/// Loom's, with the interface of the other.
#[cfg(updraft_loom)]
#[derive(Debug)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

#[cfg(updraft_loom)]
impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self(loom::future::AtomicWaker::new())
    }
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.0.register_by_ref(waker);
    }
    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}

#[cfg(not(updraft_loom))]
pub(crate) use tokio::sync::Notify;

/// Loom does not see into tokio's: what it promises of `notify_waiters`, made of loom's parts.
#[cfg(updraft_loom)]
#[derive(Debug)]
pub(crate) struct Notify {
    calls: AtomicUsize,
    waiting: loom::sync::Mutex<Vec<std::task::Waker>>,
}

#[cfg(updraft_loom)]
impl Notify {
    pub(crate) fn new() -> Self {
        Self { calls: AtomicUsize::new(0), waiting: loom::sync::Mutex::default() }
    }
    pub(crate) fn notified(&self) -> impl Future<Output = ()> {
        // Outside of the lock, as tokio does: it orders no more than it has to.
        let before = self.calls.load(Ordering::SeqCst);
        std::future::poll_fn(move |cx| {
            let mut waiting = self.waiting.lock().unwrap();
            if self.calls.load(Ordering::SeqCst) != before {
                return std::task::Poll::Ready(());
            }
            waiting.push(cx.waker().clone());
            std::task::Poll::Pending
        })
    }
    pub(crate) fn notify_waiters(&self) {
        let mut waiting = self.waiting.lock().unwrap();
        self.calls.fetch_add(1, Ordering::SeqCst);
        let woken = std::mem::take(&mut *waiting);
        drop(waiting);
        woken.into_iter().for_each(std::task::Waker::wake);
    }
}

#[cfg(not(updraft_loom))]
pub(crate) use rtrb as ring;

/// Loom does not see into `rtrb`: a ring with its interface, of loom's parts.
#[cfg(updraft_loom)]
pub(crate) mod ring {
    use std::collections::VecDeque;

    use loom::sync::{Arc, Mutex};

    pub(crate) use rtrb::{PopError, PushError};

    pub(crate) struct RingBuffer;

    struct End<T> {
        capacity: usize,
        values: Arc<Mutex<VecDeque<T>>>,
    }

    impl<T> End<T> {
        fn is_abandoned(&self) -> bool {
            // The count says so a little after the fact, as `rtrb`'s does.
            let _values = self.values.lock();
            Arc::strong_count(&self.values) == 1
        }
    }

    pub(crate) struct Producer<T>(End<T>);
    pub(crate) struct Consumer<T>(End<T>);

    impl RingBuffer {
        pub(crate) fn new<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
            let values = Arc::new(Mutex::new(VecDeque::new()));
            (Producer(End { capacity, values: values.clone() }), Consumer(End { capacity, values }))
        }
    }

    impl<T> Producer<T> {
        pub(crate) fn is_abandoned(&self) -> bool {
            self.0.is_abandoned()
        }
        pub(crate) fn push(&mut self, value: T) -> Result<(), PushError<T>> {
            let mut values = self.0.values.lock().unwrap();
            if values.len() == self.0.capacity {
                return Err(PushError::Full(value));
            }
            values.push_back(value);
            Ok(())
        }
    }

    impl<T> Consumer<T> {
        pub(crate) fn is_abandoned(&self) -> bool {
            self.0.is_abandoned()
        }
        pub(crate) fn pop(&mut self) -> Result<T, PopError> {
            self.0.values.lock().unwrap().pop_front().ok_or(PopError::Empty)
        }
    }
}

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, poisoned or not: what the kernel guards is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
