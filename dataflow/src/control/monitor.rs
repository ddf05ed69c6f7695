//! [`Monitor`]: what each part of a job has done by the end of an epoch.
//!
//! It is a *cut*: what is counted at each part are the records of the same epochs, so what a stage has taken in is what those before it
//! have given, to the record, however far ahead some are. Two cuts give rates: [`Cut::since`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_kernel::clock::{self, Nanos};

use super::{Answer, Controller, Instance, Message, Part, Round, View};
use crate::explain::NodeKind;
use crate::keyed::HotKey;
use crate::metrics::JobMetrics;
use crate::source::Error;
use crate::time::{Epoch, Punctuation, Time};
use crate::worker::Shared;

/// See the module's page. It costs each part a few loads, and holds nothing up.
#[derive(Default)]
pub struct Monitor {
    job: Option<(Arc<Shared>, Arc<JobMetrics>)>,
    begun: (Epoch, Nanos),
    seen: BTreeMap<usize, PartCut>,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("begun", &self.begun).field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// What a part has done by the end of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Records taken in; of a source, those read.
    pub records_in: u64,
    /// Records given on; nothing, for a sink.
    pub records_out: u64,
    /// Records of a source that came after the watermark had passed them.
    pub late: u64,
    /// Records of a source that could not be decoded.
    pub rejected: u64,
    /// Time in which kernels have worked for it, added up, what was suspended meanwhile included; of a sink, time that its writing took.
    #[serde(with = "seconds")]
    pub busy: Duration,
    /// Time in which a source waited for room, for others or for a resumption, added up over its partitions.
    #[serde(with = "seconds")]
    pub blocked: Duration,
    /// Bytes that a stage keeps.
    pub state: u64,
    /// Records that a source gives at a time, at most.
    pub bundle: u64,
}

impl Seen {
    /// What has been done in a second, on the average, since `before`, so many seconds ago, by so many instances.
    pub fn since(&self, before: &Self, seconds: f64, instances: usize) -> Rate {
        let seconds = seconds.max(1e-9);
        let records = |now: u64, was: u64| now.saturating_sub(was) as f64 / seconds;
        let share = |now: Duration, was: Duration| now.saturating_sub(was).as_secs_f64() / seconds;
        Rate {
            records_in: records(self.records_in, before.records_in),
            records_out: records(self.records_out, before.records_out),
            busy: share(self.busy, before.busy),
            blocked: share(self.blocked, before.blocked) / instances.max(1) as f64,
        }
    }
}

/// How durations are serialised: as seconds.
mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(span.as_secs_f64())
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// What a driver of a stage has to do: of a keyed stage, for the keys that it owns, its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Load {
    /// The kernel that works for it.
    pub kernel: usize,
    /// Records that it has taken in; where epochs are worked on out of order, some of later ones may be among them.
    pub records: u64,
}

/// A part of a job in a [`Cut`].
#[derive(Clone, Debug)]
pub struct PartCut {
    /// Which one.
    pub part: Arc<Part>,
    /// What it has done.
    pub seen: Seen,
    /// What each driver of a stage has to do, by its number.
    pub loads: Vec<Load>,
    /// The keys that a tenth of a shard's records or more are of, about, by shard and from the hottest on.
    pub hot: Vec<HotKey>,
    /// The watermark that the epoch was closed with there; the least of a source's partitions.
    pub watermark: Time,
    /// Of a sink, whether it gets what comes after the epoch: see [`Rewire`](super::Rewire).
    pub is_attached: bool,
}

/// What each part of a job has done by the end of an epoch.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The epoch.
    pub epoch: Epoch,
    /// How long it took from when it was asked for until the last part had answered.
    pub took: Duration,
    /// When it was asked for, by the monotonic clock.
    pub at: Nanos,
    /// Sources first, then stages in the order of the data, then sinks.
    pub parts: Vec<PartCut>,
    /// Epochs that were closed at a source and not complete at a sink when the last part had answered.
    pub epochs_in_flight: usize,
    /// Bytes in queues and as state then.
    pub memory: usize,
    /// How much event time is unfinished: from the sinks' watermark to the newest record that was read.
    pub watermark_lag: Duration,
    /// Epochs of which the results have been taken so far.
    pub epochs: u64,
    /// How long results of the last of these took, at most 1,024, oldest first.
    pub latencies: Vec<Duration>,
    /// Kernels that the job may use.
    pub kernels: usize,
}

impl Cut {
    /// How long results of the last epochs took, at most 1,024: the median and the 99th percentile. None before the first.
    pub fn latency(&self) -> Option<(Duration, Duration)> {
        quantiles(&self.latencies)
    }

    /// The same of the epochs since an earlier cut.
    pub fn latency_since(&self, earlier: &Self) -> Option<(Duration, Duration)> {
        let new = usize::try_from(self.epochs.saturating_sub(earlier.epochs)).unwrap_or(usize::MAX);
        quantiles(&self.latencies[self.latencies.len().saturating_sub(new)..])
    }

    /// Records a second that each part has taken in and given on since an earlier cut, and the share of a kernel that it has used.
    pub fn since(&self, earlier: &Self) -> Vec<(Arc<Part>, Rate)> {
        let seconds = self.at.since(earlier.at).as_secs_f64();
        let before: BTreeMap<_, _> = earlier.parts.iter().map(|cut| (cut.part.number, cut.seen)).collect();
        let rate = |cut: &PartCut| {
            let was = before.get(&cut.part.number).copied().unwrap_or_default();
            (cut.part.clone(), cut.seen.since(&was, seconds, cut.part.instances))
        };
        self.parts.iter().map(rate).collect()
    }
}

/// The median and the 99th percentile.
fn quantiles(spans: &[Duration]) -> Option<(Duration, Duration)> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let quantile = |percent: usize| sorted.get(sorted.len() * percent / 100).copied();
    quantile(50).zip(quantile(99))
}

/// What a part does in a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// Records taken in.
    pub records_in: f64,
    /// Records given on.
    pub records_out: f64,
    /// Kernels that work for it, on the average.
    pub busy: f64,
    /// The share of the time in which a source could not go on, from 0 to 1.
    pub blocked: f64,
}

/// What each instance says.
#[derive(Debug)]
pub struct Told {
    seen: Seen,
    load: Option<Load>,
    hot: Vec<HotKey>,
    at: Punctuation,
}

/// What each instance is asked: what its part has done.
#[derive(Debug)]
pub struct Tell;

impl Message for Tell {
    type Visit = ();
    type Answer = Told;

    fn on_init(&self, _: &Part, _: usize) {}

    fn on_complete(&self, (): &mut (), instance: &mut Instance<'_>) -> Self::Answer {
        Told { seen: instance.seen, load: instance.load, hot: instance.hot_keys(), at: instance.at }
    }
}

impl Controller for Monitor {
    type Message = Tell;
    type Outcome = Cut;
    const NAME: &'static str = "monitor";

    fn on_init(&mut self, job: &View<'_>) -> Result<Tell, Error> {
        self.job = Some((job.shared.clone(), job.metrics.clone()));
        Ok(Tell)
    }

    fn on_begin(&mut self, epoch: Epoch) {
        self.begun = (epoch, clock::now());
    }

    fn on_next(&mut self, Answer { part, number, said: Told { seen, load, hot, at } }: Answer<Told>) {
        let is_source = part.kind == NodeKind::Source;
        let cut = self.seen.entry(part.number).or_insert_with(|| PartCut {
            part,
            seen: Seen::default(),
            loads: Vec::new(),
            hot: Vec::new(),
            watermark: Time::MAX,
            is_attached: true,
        });
        if let Some(load) = load {
            // They come in any order.
            cut.loads.resize(cut.loads.len().max(number + 1), load);
            cut.loads[number] = load;
        }
        cut.watermark = cut.watermark.min(at.watermark);
        cut.hot.extend(hot);
        // Drivers of a stage all tell of the whole stage, partitions of a source each of itself.
        if is_source {
            cut.seen.records_in += seen.records_in;
            cut.seen.records_out += seen.records_out;
            cut.seen.late += seen.late;
            cut.seen.rejected += seen.rejected;
            cut.seen.blocked += seen.blocked;
            cut.seen.bundle = cut.seen.bundle.max(seen.bundle);
        } else if number == 0 {
            cut.seen = seen;
        }
    }

    fn on_complete(&mut self) -> Result<Round<Tell, Cut>, Error> {
        let (epoch, at) = self.begun;
        let Some((shared, metrics)) = self.job.take() else { return Err("it has not begun".into()) };
        let mut parts: Vec<_> = std::mem::take(&mut self.seen).into_values().collect();
        parts.sort_by_key(|cut| (cut.part.kind, cut.part.number));
        for cut in &mut parts {
            cut.hot.sort_by_key(|hot| hot.shard);
            if cut.part.kind == NodeKind::Sink {
                cut.is_attached = shared.control.attachment(&cut.part.name).holds_at(epoch.next());
            }
        }
        let (epochs, latencies) = metrics.latencies.after(0);
        Ok(Round::Done(Cut {
            epoch,
            took: clock::now().since(at),
            at,
            parts,
            epochs_in_flight: shared.clock.in_flight(),
            memory: shared.account.used(),
            watermark_lag: metrics.watermark_lag(),
            epochs,
            latencies,
            kernels: shared.kernels,
        }))
    }
}
