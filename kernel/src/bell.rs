//! Bells: how a task that has nothing to do waits for somebody who makes work.
//!
//! The one who waits raises a flag and looks again; the one who makes work does so and then looks for
//! the flag. With a full fence between the two steps on either side, one of them sees the other. Ringing a
//! bell that nobody waits at costs one load.

use std::sync::{Arc, PoisonError, RwLock};

use crate::signal::Signal;
use crate::sync::{AtomicBool, Ordering, fence};

/// Where one task waits for work that others make.
#[derive(Debug)]
pub struct Bell {
    waiting: AtomicBool,
    signal: Signal,
}

impl Default for Bell {
    fn default() -> Self {
        Self { waiting: AtomicBool::new(false), signal: Signal::new() }
    }
}

impl Bell {
    /// Waits until `ready`, which is asked at least whenever the bell has rung. For one task at a time.
    pub async fn wait(&self, mut ready: impl FnMut() -> bool) {
        loop {
            self.waiting.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if ready() {
                self.waiting.store(false, Ordering::Relaxed);
                return;
            }
            self.signal.wait().await;
        }
    }

    /// Wakes who waits, after what it waits for was done: whether somebody did.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        let waits = self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::Relaxed);
        if waits {
            self.signal.set();
        }
        waits
    }
}

/// The bells of tasks that wait for the same.
#[derive(Default, Debug)]
pub struct Bells(RwLock<Vec<Arc<Bell>>>);

impl Bells {
    /// One more.
    pub fn hang(&self) -> Arc<Bell> {
        let bell = Arc::new(Bell::default());
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(bell.clone());
        bell
    }

    /// Rings all: whether some were waited at.
    pub fn ring_all(&self) -> bool {
        let bells = self.0.read().unwrap_or_else(PoisonError::into_inner);
        bells.iter().fold(false, |any, bell| bell.ring() | any)
    }

    /// Rings the bell at `first`, and where that one was not waited at, one more of those that may go instead.
    pub fn ring_from(&self, first: usize, may_go: impl Fn(usize) -> bool) {
        let bells = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut in_turn = (0..bells.len()).map(|step| (first + step) % bells.len());
        let _ = in_turn.any(|at| (at == first || may_go(at)) && bells[at].ring());
    }
}
