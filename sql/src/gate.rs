//! [`Gate`]: has those who read what flows by a join wait until the input that is kept is complete. Without it the join would
//! have to hold the rows that come before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use updraft_kernel::Bells;

/// Closed until somebody opens it. All copies are one.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_open: AtomicBool,
    bells: Bells,
}

impl Gate {
    /// Lets all pass who wait, and those who come.
    pub fn open(&self) {
        if !self.0.is_open.swap(true, Ordering::AcqRel) {
            self.0.bells.ring_all();
        }
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        let is_open = || self.0.is_open.load(Ordering::Acquire);
        if !is_open() {
            self.0.bells.hang().wait(is_open).await;
        }
    }
}
