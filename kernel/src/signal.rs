//! A latched wake-up: the primitive that tasks on different kernels wait with.

use std::future::poll_fn;
use std::task::Poll;

use crate::sync::{AtomicBool, AtomicWaker, Ordering};

/// A flag that one task waits for and any thread sets. Set before the wait, it is not lost; set twice, it
/// wakes once.
#[derive(Debug)]
pub struct Signal {
    set: AtomicBool,
    waker: AtomicWaker,
}

impl Default for Signal {
    fn default() -> Self {
        Self { set: AtomicBool::new(false), waker: AtomicWaker::new() }
    }
}

impl Signal {
    /// Not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it, and wakes who waits. Cheap where it is set already.
    pub fn set(&self) {
        if !self.set.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Waits until it is set, and clears it. For one task at a time: a second one takes the first one's place.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.set.swap(false, Ordering::AcqRel) {
                return Poll::Ready(());
            }
            self.waker.register(cx.waker());
            // Between the look and the registration it may have been set.
            if self.set.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
