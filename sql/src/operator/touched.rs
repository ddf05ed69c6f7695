//! [`Touched`]: what rows have come for in an epoch; and [`Expiry`]: what none have come for in a long time.

use std::collections::VecDeque;
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
