//! [`Touched`]: what rows have come for in an epoch; [`Expiry`]: what none have come for in a long time; and [`Ends`]: what no row
//! can come for any more, as its window is over.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use updraft_dataflow::Time;

use super::keys::Id;

/// Groups that rows have come for, each once.
#[derive(Default)]
pub(crate) struct Touched {
    ids: Vec<Id>,
    is: Vec<bool>,
}

impl Touched {
    /// Rows have come for these.
    pub(crate) fn add(&mut self, ids: &[Id], bound: usize) {
        self.is.resize(bound.max(self.is.len()), false);
        for id in ids {
            if !std::mem::replace(&mut self.is[*id as usize], true) {
                self.ids.push(*id);
            }
        }
    }

    /// All, from the first on; then there are none.
    pub(crate) fn take(&mut self) -> Vec<Id> {
        let ids = std::mem::take(&mut self.ids);
        ids.iter().for_each(|id| self.is[*id as usize] = false);
        ids
    }
}

/// When the windows of groups are over.
#[derive(Default)]
pub(crate) struct Ends(BTreeMap<i64, HashSet<Id>>);

impl Ends {
    /// Rows have come for these, of windows with these ends, in microseconds.
    pub(crate) fn add(&mut self, ids: &[Id], ends: &[i64]) {
        ends.iter().zip(ids).for_each(|(end, id)| _ = self.0.entry(*end).or_default().insert(*id));
    }

    /// Gives those that are over, window by window, those of a window in order.
    pub(crate) fn pass(&mut self, watermark: Time) -> Vec<Id> {
        let mut over = Vec::new();
        while let Some(entry) = self.0.first_entry().filter(|entry| *entry.key() <= watermark.0) {
            let mut ids: Vec<_> = entry.remove().into_iter().collect();
            ids.sort_unstable();
            over.extend(ids);
        }
        over
    }
}

/// When groups have last been touched.
#[derive(Default)]
pub(crate) struct Expiry {
    last: Vec<Time>,
    /// Since the last epoch's end.
    recent: Vec<Id>,
    touched: VecDeque<(Time, Vec<Id>)>,
}

impl Expiry {
    /// Rows have come for these.
    pub(crate) fn touch(&mut self, ids: &[Id]) {
        self.recent.extend(ids);
    }

    /// An epoch is over: gives what was not touched for `keep`.
    pub(crate) fn pass(&mut self, now: Time, keep: Duration) -> Vec<Id> {
        let recent = std::mem::take(&mut self.recent);
        for id in &recent {
            let id = *id as usize;
            self.last.resize(self.last.len().max(id + 1), Time::MIN);
            self.last[id] = now;
        }
        if !recent.is_empty() {
            self.touched.push_back((now, recent));
        }
        let mut expired = Vec::new();
        while let Some((at, ids)) = self.touched.pop_front_if(|(at, _)| *at < now - keep) {
            for id in ids {
                if self.last[id as usize] == at {
                    self.last[id as usize] = Time::MIN;
                    expired.push(id);
                }
            }
        }
        expired
    }
}
