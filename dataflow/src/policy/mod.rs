//! Policies: what watches a job and changes it while it runs, by [control operations](crate::control).
//!
//! A [`Policy`] is asked once in a while what is to change, by two [cuts](Cut) of the job, one after the other; it reads no clock and waits for nothing,
//! so that what it decides can be tested by cuts that are made up. [`Running::follow`] has a job do what it says: each decision is logged with
//! its reason, and done, unless it [runs dry](Pace::dry).
//!
//! One file each: [`skew`], [`autoscale`], [`latency`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use updraft_kernel::{Group, KernelId, clock};

use crate::control::{ControlError, Cut, Monitor, Rehash, Rescale, Set, SplitKey};
use crate::job::Running;
use crate::sync::{Mutex, lock};
use crate::time::Epoch;

pub mod autoscale;
pub mod latency;
pub mod skew;

pub use autoscale::Autoscale;
pub use latency::LatencyTarget;
pub use skew::Skew;

/// Decides what is to change.
pub trait Policy: Send + 'static {
    /// What it is called in the log.
    const NAME: &'static str;

    /// What is to change, by what has happened between two cuts: most often nothing. After a change the next cut before is one that was taken when
    /// it had been done.
    fn decide(&mut self, before: &Cut, now: &Cut) -> Vec<Decision>;
}

/// What is to change, and why.
#[derive(Debug)]
pub struct Decision {
    /// What.
    pub change: Change,
    /// What it is called in the log, and the figures that it was made by.
    pub why: String,
}

/// An operation of a policy.
#[derive(Debug)]
pub enum Change {
    /// Settings.
    Set(Set),
    /// How many kernels work.
    Rescale(Rescale),
    /// Where shards are.
    Rehash(Rehash),
    /// Which keys are split.
    Split(SplitKey),
    /// Nothing: something that an operator should know.
    Nothing,
}

/// When a policy is asked, and whether what it says is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    every: Duration,
    is_dry: bool,
}

impl Pace {
    /// Once in such a span.
    pub fn every(every: Duration) -> Self {
        Self { every, is_dry: false }
    }

    /// Decisions are logged, and not done.
    #[must_use]
    pub fn dry(self) -> Self {
        Self { is_dry: true, ..self }
    }
}

/// A decision that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// The epoch of the cut that it was made by.
    pub epoch: Epoch,
    /// What was decided, and why.
    pub why: String,
    /// Whether it was done: not where the policy runs dry, or the operation was refused.
    pub is_done: bool,
}

/// Decisions that are remembered, at most: the newest.
const REMEMBERED: usize = 1024;

/// A policy that a job follows, until this is dropped or the job has ended.
pub struct Following {
    group: Group,
    decided: Arc<Mutex<VecDeque<Decided>>>,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("decided", &self.decided()).finish_non_exhaustive()
    }
}

impl Following {
    /// What was decided so far, oldest first: the last thousand, about.
    pub fn decided(&self) -> Vec<Decided> {
        lock(&self.decided).iter().cloned().collect()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

/// Has a job follow a policy: a task of the first kernel, which is no part of the job.
pub(crate) fn follow<P: Policy>(running: &Running, group: Group, mut policy: P, pace: Pace) -> Following {
    let decided = Arc::<Mutex<VecDeque<Decided>>>::default();
    let (noted, running) = (decided.clone(), running.clone());
    group.spawn(KernelId(0), P::NAME, move || async move {
        // What is refused is told; when the job has ended, so has this.
        while let Err(error) = watch(&running, &mut policy, pace, &noted).await {
            tracing::warn!("{} of {}: {error}", P::NAME, running.name());
            if matches!(error, ControlError::Ended { .. }) {
                return;
            }
        }
    });
    Following { group, decided }
}

async fn watch<P: Policy>(
    running: &Running,
    policy: &mut P,
    pace: Pace,
    decided: &Mutex<VecDeque<Decided>>,
) -> Result<(), ControlError> {
    let mut before = running.control(Monitor::default()).await?;
    loop {
        clock::sleep(pace.every).await;
        let now = running.control(Monitor::default()).await?;
        let decisions = policy.decide(&before, &now);
        let is_changed = !decisions.is_empty();
        for Decision { change, why } in decisions {
            let dry = if pace.is_dry { " (dry: it is not done)" } else { "" };
            tracing::info!("{} of {}: {why}{dry}", P::NAME, running.name());
            let done = if pace.is_dry { Ok(false) } else { change.have_done(running).await };
            let decisions = &mut *lock(decided);
            decisions.push_back(Decided { epoch: now.epoch, why, is_done: *done.as_ref().unwrap_or(&false) });
            let surplus = decisions.len().saturating_sub(REMEMBERED);
            decisions.drain(..surplus);
            done?;
        }
        before = if is_changed { running.control(Monitor::default()).await? } else { now };
    }
}

impl Change {
    /// Whether there was something to do.
    async fn have_done(self, running: &Running) -> Result<bool, ControlError> {
        match self {
            Self::Set(set) => running.control(set).await.map(|_| true),
            Self::Rescale(rescale) => running.control(rescale).await.map(|_| true),
            Self::Rehash(rehash) => running.control(rehash).await.map(|_| true),
            Self::Split(split) => running.control(split).await.map(|_| true),
            Self::Nothing => Ok(false),
        }
    }
}

/// A figure as a share of 100.
fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

#[cfg(test)]
mod tests;
