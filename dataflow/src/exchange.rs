//! How what a stage gives reaches the stages after it. The fourth of the five files of the data path.
//!
//! An [`Outlet`] hands bundles and punctuations on to [`Port`]s, each the entry of a stage or of a sink. No record
//! is sent to a certain kernel: bundles lie down in the lane of the kernel that made them, and idle kernels come
//! and take them. (What must be merged by key is merged by hash range, in [`crate::window::WindowStage`].)
//! Next: [`crate::sink`].

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::bundle::{Bundle, Record};
use crate::control::rewire::Needed;
use crate::time::{Epoch, Punctuation};

/// The entry of a stage or of a sink.
pub(crate) trait Port<T>: Send + Sync {
    /// One more input will close each epoch. Before the first epoch only.
    fn add_input(&self);
    /// Takes a bundle of an epoch that the caller has not closed; `kernel` is where it was made.
    fn add(&self, kernel: usize, epoch: Epoch, bundle: Bundle<T>);
    /// One input gives no more of this epoch.
    fn close(&self, kernel: usize, punctuation: Punctuation);
    /// Whether an input should wait before it adds to `epoch`.
    fn is_full(&self, epoch: Epoch) -> bool;
    /// Whether something waits here or further on.
    fn has_work(&self) -> bool;
    /// Bytes that it has charged, counted anew: of what is queued, what is being worked on, and state.
    fn bytes(&self) -> usize;
}

/// A port, and in which epochs it is given something.
type Fed<T> = (Needed, Arc<dyn Port<T>>);

/// The exit of a source or of a stage: the ports that it feeds, none for a branch that nobody reads.
pub(crate) struct Outlet<T> {
    ports: RwLock<Vec<Fed<T>>>,
    /// Whether what it gives follows from what it gave before, as results of a keyed stage do: then the stages after it take
    /// up epochs in order.
    pub(crate) in_order: bool,
}

impl<T> Default for Outlet<T> {
    fn default() -> Self {
        Self::new(false)
    }
}

impl<T> Outlet<T> {
    pub(crate) fn new(in_order: bool) -> Self {
        Self { ports: RwLock::default(), in_order }
    }
}

impl<T: Record> Outlet<T> {
    /// Connects a port, before the first epoch.
    pub(crate) fn connect(&self, needed: Needed, port: Arc<dyn Port<T>>) {
        self.ports.write().unwrap_or_else(PoisonError::into_inner).push((needed, port));
    }

    fn ports(&self) -> RwLockReadGuard<'_, Vec<Fed<T>>> {
        self.ports.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces one more input to all ports.
    pub(crate) fn add_input(&self) {
        self.ports().iter().for_each(|(_, port)| port.add_input());
    }

    /// Gives a bundle to all ports where it is needed.
    pub(crate) fn add(&self, kernel: usize, epoch: Epoch, bundle: Bundle<T>) {
        let ports = self.ports();
        let mut needed = ports.iter().filter(|(needed, _)| needed.in_epoch(epoch)).peekable();
        while let Some((_, port)) = needed.next() {
            if needed.peek().is_none() {
                return port.add(kernel, epoch, bundle);
            }
            port.add(kernel, epoch, bundle.clone());
        }
    }

    /// Closes an epoch at all ports.
    pub(crate) fn close(&self, kernel: usize, punctuation: Punctuation) {
        self.ports().iter().for_each(|(_, port)| port.close(kernel, punctuation));
    }

    /// Whether some port is full that would be given something.
    pub(crate) fn is_full(&self, epoch: Epoch) -> bool {
        self.ports().iter().any(|(needed, port)| port.is_full(epoch) && needed.in_epoch(epoch))
    }

    /// Whether something waits at some port or further on.
    pub(crate) fn has_work(&self) -> bool {
        self.ports().iter().any(|(_, port)| port.has_work())
    }
}
