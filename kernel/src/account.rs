//! The memory account: what is queued and held as state, against a budget.

use std::sync::Arc;

use crate::sync::{AtomicUsize, Notify, Ordering, fence};

/// Bytes used, against a budget. A child's bytes are its parent's too; either can be over budget.
#[derive(Debug)]
pub struct Account {
    used: AtomicUsize,
    peak: AtomicUsize,
    budget: AtomicUsize,
    parent: Option<Arc<Account>>,
    released: Notify,
}

/// What a job that has failed has left on its account is given back to the parent's: it went with the job.
impl Drop for Account {
    fn drop(&mut self) {
        let left = self.used();
        self.parent.iter().for_each(|parent| parent.release(left));
    }
}

impl Account {
    /// An account of its own, with a budget in bytes.
    pub fn new(budget: usize) -> Arc<Self> {
        Arc::new(Self::with_parent(budget, None))
    }

    /// An account whose bytes are also charged to `parent`.
    pub fn child(parent: &Arc<Self>, budget: usize) -> Arc<Self> {
        Arc::new(Self::with_parent(budget, Some(parent.clone())))
    }

    fn with_parent(budget: usize, parent: Option<Arc<Self>>) -> Self {
        Self {
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            budget: AtomicUsize::new(budget),
            parent,
            released: Notify::new(),
        }
    }

    /// Uses `bytes` more. Never refuses: who makes bytes asks [`over_budget`](Self::over_budget) before it makes more.
    pub fn charge(&self, bytes: usize) {
        if bytes > 0 {
            let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
            self.peak.fetch_max(used, Ordering::Relaxed);
            self.parent.iter().for_each(|parent| parent.charge(bytes));
        }
    }

    /// Uses `bytes` less.
    pub fn release(&self, bytes: usize) {
        if bytes > 0 {
            let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
            debug_assert!(before >= bytes, "released {bytes} bytes of {before}");
            // Either this sees a budget that was set meanwhile, or who waits with that one sees this release.
            fence(Ordering::SeqCst);
            let budget = self.budget();
            if before > budget && before.saturating_sub(bytes) <= budget {
                self.released.notify_waiters();
            }
            self.parent.iter().for_each(|parent| parent.release(bytes));
        }
    }

    /// Bytes used now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// The most bytes ever used.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Bytes that may be used.
    pub fn budget(&self) -> usize {
        self.budget.load(Ordering::Relaxed)
    }

    /// Sets how many bytes may be used.
    pub fn set_budget(&self, bytes: usize) {
        self.budget.store(bytes, Ordering::Relaxed);
        self.released.notify_waiters();
    }

    /// Whether this account or one above it uses more than it may.
    pub fn over_budget(&self) -> bool {
        self.used() > self.budget() || self.parent.as_ref().is_some_and(|parent| parent.over_budget())
    }

    /// The least that this account and those above it may use.
    pub fn limit(&self) -> usize {
        self.parent.as_ref().map_or(usize::MAX, |parent| parent.limit()).min(self.budget())
    }

    /// By how many bytes this account, or one above it, uses more than a `share` of what it may, with so many bytes `more` that
    /// are not charged yet.
    pub fn excess(&self, more: isize, share: impl Fn(usize) -> usize + Copy) -> usize {
        let own = self.used().saturating_add_signed(more).saturating_sub(share(self.budget()));
        self.parent.as_ref().map_or(own, |parent| own.max(parent.excess(more, share)))
    }

    /// Waits until neither this account nor one above it is over budget.
    pub async fn wait_within(&self) {
        let mut account = self;
        loop {
            account.wait_own().await;
            match &account.parent {
                Some(parent) => account = parent,
                // While waiting above, bytes may have been charged below.
                None if self.over_budget() => account = self,
                None => return,
            }
        }
    }

    async fn wait_own(&self) {
        loop {
            // Made before the look: tokio wakes what was made before a release, polled or not, so none is missed.
            let released = self.released.notified();
            // The counterpart of the one in `release`.
            fence(Ordering::SeqCst);
            if self.used() <= self.budget() {
                return;
            }
            released.await;
        }
    }
}
