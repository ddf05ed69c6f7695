//! The synchronisation primitives of the data path: std's, or shuttle's under `--cfg shuttle`, which runs the same code
//! under schedules of its own choice.

#[cfg(not(shuttle))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
pub(crate) use ::shuttle::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
#[cfg(shuttle)]
pub(crate) use ::shuttle::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks `mutex`. A panic fails the whole job, so what it left half done is never read: poison does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
