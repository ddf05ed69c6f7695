//! [`Touched`]: what rows have come for in an epoch; [`Expiry`]: what none have come for in a long time; and [`Ends`]: what no row
//! can come for any more, as its window is over.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use updraft_dataflow::Time;

use super::keys::Id;
use super::saved::numbers_of;

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
pub(crate) struct Ends {
    windows: BTreeMap<i64, HashSet<Id>>,
    /// Of each group: one that was forgotten, and its number given to another, is still among those of its window.
    of: Vec<i64>,
}

impl Ends {
    /// Rows have come for these, of windows with these ends, in microseconds.
    pub(crate) fn add(&mut self, ids: &[Id], ends: &[i64]) {
        for (end, id) in ends.iter().zip(ids) {
            self.windows.entry(*end).or_default().insert(*id);
            self.of.resize(self.of.len().max(*id as usize + 1), i64::MIN);
            self.of[*id as usize] = *end;
        }
    }

    /// Gives those that are over, window by window, those of a window in order.
    pub(crate) fn pass(&mut self, watermark: Time) -> Vec<Id> {
        let mut over = Vec::new();
        while let Some(entry) = self.windows.first_entry().filter(|entry| *entry.key() <= watermark.0) {
            let (end, ids) = entry.remove_entry();
            let mut ids: Vec<_> = ids.into_iter().filter(|id| self.of[*id as usize] == end).collect();
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
    touched: BTreeMap<Time, Vec<Id>>,
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
            self.touched.entry(now).or_default().extend(recent);
        }
        let mut expired = Vec::new();
        while let Some(entry) = self.touched.first_entry().filter(|entry| *entry.key() < now - keep) {
            let (at, ids) = entry.remove_entry();
            for id in ids {
                if self.last[id as usize] == at {
                    self.last[id as usize] = Time::MIN;
                    expired.push(id);
                }
            }
        }
        expired
    }

    /// When groups have last been touched, as it is written.
    pub(crate) fn pack(&self, ids: &[Id]) -> ArrayRef {
        numbers_of(ids.iter().map(|id| self.last.get(*id as usize).copied().unwrap_or(Time::MIN).0))
    }

    /// Takes it back.
    pub(crate) fn unpack(&mut self, ids: &[Id], last: &Int64Array) {
        for (id, last) in ids.iter().zip(last.values()) {
            self.last.resize(self.last.len().max(*id as usize + 1), Time::MIN);
            self.last[*id as usize] = Time(*last);
            if *last != Time::MIN.0 {
                self.touched.entry(Time(*last)).or_default().push(*id);
            }
        }
    }
}
