//! [`Alignment`]: partitions that wait for the slowest of them, so that none gets far ahead of it in event time.
//!
//! The watermark of a job is that of its slowest partition. What the others have read beyond it is kept in windows and joins that are not
//! complete, and is in each checkpoint. How far they get ahead is up to chance, or to how much there is in each. (Flink calls it watermark
//! alignment, FLIP-182 and FLIP-217.) Next: [`Input`](crate::input::Input), whose partitions are aligned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use updraft_kernel::Bell;

use crate::sync::{Mutex, lock};
use crate::time::Time;

/// How far partitions may get ahead of the slowest of them: those of one source, or of all that are given a clone of it.
///
/// What is compared are watermarks, which move in steps ([`Epochs`](crate::Epochs)): one that is farther ahead is not read until the others
/// have come closer, so it is so far ahead, and a step and a batch, at most. Who is idle or has ended holds nobody back; who has given
/// nothing yet holds back all, until it is idle.
#[derive(Clone, Debug)]
pub struct Alignment(Arc<Members>);

#[derive(Debug)]
struct Members {
    drift: Duration,
    /// The watermark of the slowest.
    slowest: AtomicI64,
    each: Mutex<BTreeMap<usize, Member>>,
}

#[derive(Debug)]
struct Member {
    /// The last moment if it holds nobody back.
    watermark: Time,
    /// Where it waits.
    bell: Arc<Bell>,
}

impl Alignment {
    /// So much of event time ahead at most. Less than what an epoch takes has them wait for each other all the time.
    pub fn within(drift: Duration) -> Self {
        Self(Arc::new(Members { drift, slowest: AtomicI64::new(Time::MAX.0), each: Mutex::default() }))
    }

    /// How far ahead.
    pub fn drift(&self) -> Duration {
        self.0.drift
    }

    /// One more partition, which waits at `bell`.
    pub(crate) fn join(&self, bell: Arc<Bell>) -> Aligned {
        let each = &mut *lock(&self.0.each);
        let number = each.last_key_value().map_or(0, |(last, _)| last + 1);
        each.insert(number, Member { watermark: Time::MIN, bell });
        self.0.slowest.store(Time::MIN.0, Ordering::Release);
        Aligned { members: self.0.clone(), number }
    }
}

/// A partition among those that are aligned, until it is dropped.
pub(crate) struct Aligned {
    members: Arc<Members>,
    number: usize,
}

impl Aligned {
    /// How far it has come: to the last moment if it is to hold nobody back.
    pub(crate) fn declare(&self, watermark: Time) {
        self.change(|each| {
            if let Some(member) = each.get_mut(&self.number) {
                member.watermark = watermark;
            }
        });
    }

    /// Whether one that has come to `watermark` is to wait.
    pub(crate) fn is_ahead(&self, watermark: Time) -> bool {
        watermark > Time(self.members.slowest.load(Ordering::Acquire)) + self.members.drift
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<usize, Member>)) {
        let each = &mut *lock(&self.members.each);
        change(each);
        let slowest = each.values().map(|member| member.watermark).min().unwrap_or(Time::MAX);
        if self.members.slowest.swap(slowest.0, Ordering::AcqRel) < slowest.0 {
            each.values().for_each(|member| _ = member.bell.ring());
        }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        self.change(|each| drop(each.remove(&self.number)));
    }
}
