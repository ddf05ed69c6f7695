//! The temporal join: each record with the version of a table that was valid at its time.
//!
//! The second stream is the table: a record of it is what the key is from its time on. A record of the first stream waits until
//! the watermark has passed it, as earlier versions may still come until then; versions that nobody can ask for any
//! more are dropped.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::{Kind, Side};
use crate::aggregate::State;
use crate::keyed::{Context, Process, Timer};
use crate::table::Key;
use crate::time::Time;

/// See the module's page. Of [`Kind`]s, those that tell of the first stream.
pub struct TemporalJoin<L, R, J> {
    kind: J,
    sides: PhantomData<fn(L, R)>,
}

impl<L, R, J> TemporalJoin<L, R, J> {
    /// Joins each record of the first stream with one version.
    pub fn new(kind: J) -> Self {
        Self { kind, sides: PhantomData }
    }
}

impl<L, R, J: Clone> Clone for TemporalJoin<L, R, J> {
    fn clone(&self) -> Self {
        Self::new(self.kind.clone())
    }
}

/// What is known of a key.
#[derive(Clone, Serialize, Deserialize)]
pub struct History<L, R> {
    /// By the time from which they are valid; of two at the same time, the last that came.
    versions: BTreeMap<i64, R>,
    /// Records that wait for the watermark, by time, in the order in which they came.
    waiting: BTreeMap<i64, Vec<L>>,
}

impl<L, R> Default for History<L, R> {
    fn default() -> Self {
        Self { versions: BTreeMap::new(), waiting: BTreeMap::new() }
    }
}

impl<K, L, R, J> Process<K, Side<L, R>> for TemporalJoin<L, R, J>
where
    K: Key,
    L: State,
    R: State,
    J: Kind<L, R>,
{
    type State = History<L, R>;
    type Out = J::Out;

    fn record(&mut self, record: Side<L, R>, history: &mut History<L, R>, cx: &mut Context<'_, K, J::Out>) {
        let time = cx.time();
        match record {
            Side::Left(left) => {
                history.waiting.entry(time.0).or_default().push(left);
                cx.set_timer(Time(time.0.saturating_add(1)));
            }
            Side::Right(right) => {
                // Those that were valid before the watermark are asked for no more, but for the last.
                history.forget(cx.watermark());
                history.versions.insert(time.0, right);
            }
        }
    }

    fn timer(&mut self, timer: Timer, history: &mut History<L, R>, cx: &mut Context<'_, K, J::Out>) {
        let time = timer.at.0.saturating_sub(1);
        let version = history.versions.range(..=time).next_back().map(|(_, version)| version);
        for left in history.waiting.remove(&time).unwrap_or_default() {
            if let Some(version) = version {
                self.kind.pair(&left, version).into_iter().for_each(|row| cx.emit_at(Time(time), row));
            }
            self.kind.left(left, version.is_some()).into_iter().for_each(|row| cx.emit_at(Time(time), row));
        }
        if history.waiting.is_empty() {
            history.forget(cx.watermark());
            if history.versions.is_empty() {
                cx.clear();
            }
        }
    }

    fn heap_bytes(&self, history: &History<L, R>) -> usize {
        history.versions.len() * size_of::<(i64, R)>() + history.waiting.len() * size_of::<(i64, Vec<L>, L)>()
    }
}

impl<L, R> History<L, R> {
    /// Drops versions that were followed by another before `watermark`, and before all that wait.
    fn forget(&mut self, watermark: Time) {
        let needed = self.waiting.first_key_value().map_or(watermark.0, |(time, _)| (*time).min(watermark.0));
        if let Some((valid, _)) = self.versions.range(..=needed).next_back() {
            let valid = *valid;
            self.versions = self.versions.split_off(&valid);
        }
    }
}
