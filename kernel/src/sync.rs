//! The synchronisation primitives of the lock-free parts: std's, or loom's under `--cfg updraft_loom`, which runs the
//! same code under every interleaving that the memory model allows. (Tokio has a meaning of its own for `--cfg loom`.)

#[cfg(not(updraft_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, Ordering, fence};

#[cfg(updraft_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};

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

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, poisoned or not: what the kernel guards is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
