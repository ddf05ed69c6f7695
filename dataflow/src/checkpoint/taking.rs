//! [`Taking`]: what the tasks of a job tell the coordinator of its checkpoints, and hear from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use updraft_kernel::{Bell, Bells};

use super::Settings;
use super::ids::Id;
use super::spool::Waiting;
use crate::explain::NodeKind;
use crate::snapshot::Object;
use crate::source::Error;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, lock};
use crate::time::Epoch;

/// A source, a stage with state, or a sink.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What it is called in manifests.
    pub(crate) id: Arc<str>,
    pub(crate) kind: NodeKind,
    /// How many reports come of it: one for each partition of a source.
    pub(crate) reports: usize,
    /// What is known of its state.
    pub(crate) about: Value,
}

/// What is told of a part when a marked epoch is over there.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What is too small for a file.
    pub(crate) note: Value,
    pub(crate) objects: BTreeSet<Object>,
    pub(crate) saved: Waiting,
}

impl Report {
    /// Bytes of memory that what is to be stored takes.
    pub(crate) fn bytes(&self) -> usize {
        self.saved.bytes()
    }
}

/// The reports of an epoch, by part and number.
pub(crate) type Reports = BTreeMap<(usize, usize), Report>;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Taking {
    /// The number of this process among those that have run the job.
    pub(crate) attempt: u64,
    settings: Mutex<Settings>,
    parts: Mutex<Vec<Part>>,
    reports: Mutex<BTreeMap<Epoch, Reports>>,
    /// Epochs below this are committed.
    committed: AtomicU64,
    /// Whether state has been restored: then epochs may be closed.
    restored: AtomicBool,
    /// Whether sources may be read.
    begun: AtomicBool,
    /// Whether sources are to stop until the checkpoint that is being taken is stored.
    pub(super) stopped: AtomicBool,
    /// How many checkpoints were begun, and which of them was stored last, from 1.
    started: AtomicU64,
    stored: AtomicU64,
    /// Whether somebody wants a checkpoint now.
    pub(super) wanted: AtomicBool,
    /// Transactions of sinks that are prepared and not committed.
    uncommitted: AtomicUsize,
    /// Sinks that the job does not have any more, and that have not committed what they had prepared.
    gone: AtomicUsize,
    /// Bytes of what was reported and is not stored.
    pub(super) bytes: AtomicUsize,
    /// The coordinator's.
    pub(super) bell: Arc<Bell>,
    /// Sources that wait for state to be restored.
    sources: Bells,
    /// Sinks that wait for a checkpoint to be stored.
    pub(crate) sinks: Bells,
}

impl Taking {
    /// `bell` is rung when the job's last epoch is known.
    pub(crate) fn new(attempt: u64, bell: Arc<Bell>) -> Self {
        Self {
            attempt,
            settings: Mutex::default(),
            parts: Mutex::default(),
            reports: Mutex::default(),
            committed: AtomicU64::new(0),
            restored: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            started: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            uncommitted: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            bell,
            sources: Bells::default(),
            sinks: Bells::default(),
        }
    }

    /// One more part: its number.
    pub(crate) fn add_part(&self, Id { kind, id, layout, .. }: &Id, reports: usize) -> usize {
        let about = if *kind == NodeKind::Stage { note_of(layout) } else { Value::Null };
        let parts = &mut *lock(&self.parts);
        parts.push(Part { id: id.clone(), kind: *kind, reports, about });
        parts.len() - 1
    }

    /// There is a sink that has only to commit what one that is gone had prepared.
    pub(crate) fn add_gone(&self) {
        self.gone.fetch_add(1, Ordering::AcqRel);
    }

    /// It has done so.
    pub(crate) fn gone_has_committed(&self) {
        self.gone.fetch_sub(1, Ordering::AcqRel);
        self.bell.ring();
    }

    /// Whether all of those have: only then may a checkpoint be stored that does not know of them.
    pub(super) fn has_none_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) == 0
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        lock(&self.parts).clone()
    }

    /// What there is to tell of a part at the end of a marked epoch; its bytes have been charged.
    pub(crate) fn report(&self, epoch: Epoch, part: usize, number: usize, report: Report) {
        self.bytes.fetch_add(report.bytes(), Ordering::AcqRel);
        lock(&self.reports).entry(epoch).or_default().insert((part, number), report);
        self.bell.ring();
    }

    /// A sink has prepared a transaction.
    pub(crate) fn prepared(&self) {
        self.uncommitted.fetch_add(1, Ordering::AcqRel);
    }

    /// A sink has committed a transaction.
    pub(crate) fn is_committed(&self) {
        self.uncommitted.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn has_uncommitted(&self) -> bool {
        self.uncommitted.load(Ordering::Acquire) > 0
    }

    /// Bytes of what was reported and is not stored.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// The parts that have not reported `epoch` yet.
    pub(super) fn missing(&self, epoch: Epoch, expected: impl Fn(&Part) -> bool) -> Vec<Arc<str>> {
        let (reports, parts) = (lock(&self.reports), lock(&self.parts));
        let has = |part: usize, number: usize| {
            reports.get(&epoch).is_some_and(|reports| reports.contains_key(&(part, number)))
        };
        let is_missing =
            |(at, part): &(usize, &Part)| expected(part) && !(0..part.reports).all(|number| has(*at, number));
        parts.iter().enumerate().filter(is_missing).map(|(_, part)| part.id.clone()).collect()
    }

    pub(super) fn take(&self, epoch: Epoch) -> Reports {
        lock(&self.reports).remove(&epoch).unwrap_or_default()
    }

    /// Epochs below this are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    pub(super) fn commit(&self, epoch: Epoch) {
        self.committed.store(epoch.0 + 1, Ordering::Release);
        self.sinks.ring_all();
    }

    /// Another checkpoint is begun.
    pub(super) fn starts(&self) {
        self.started.fetch_add(1, Ordering::AcqRel);
    }

    /// The one that was begun last is stored.
    pub(super) fn stored_newest(&self) {
        self.stored.store(self.begun_so_far(), Ordering::Release);
    }

    /// How many checkpoints were begun.
    pub(crate) fn begun_so_far(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// Which of them was stored last, from 1.
    pub(crate) fn newest_stored(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    /// Where a partition of a source waits.
    pub(crate) fn gate(self: &Arc<Self>) -> Gate {
        Gate { taking: self.clone(), bell: self.sources.hang() }
    }

    pub(super) fn settings(&self) -> Settings {
        *lock(&self.settings)
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.settings));
        self.bell.ring();
    }

    /// Whether sources are to read nothing for now.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(super) fn is_restored(&self) {
        self.restored.store(true, Ordering::Release);
        self.sources.ring_all();
    }

    pub(super) fn begins(&self) {
        self.begun.store(true, Ordering::Release);
        self.sources.ring_all();
    }

    /// Has a checkpoint taken as soon as may be.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// Where a partition of a source waits before it is read.
#[derive(Debug)]
pub(crate) struct Gate {
    taking: Arc<Taking>,
    bell: Arc<Bell>,
}

impl Gate {
    /// State has been restored: epochs may be closed.
    pub(crate) async fn restored(&self) {
        self.bell.wait(|| self.taking.restored.load(Ordering::Acquire)).await;
    }

    /// The job begins.
    pub(crate) async fn begun(&self) {
        self.bell.wait(|| self.taking.begun.load(Ordering::Acquire)).await;
    }
}

/// What is noted of a part.
pub(crate) fn note_of(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_else(|error| unreachable!("a note is JSON: {error}"))
}

/// What was noted of a part, as it was before.
pub(crate) fn read_note<T: serde::de::DeserializeOwned>(part: &str, note: &Value) -> Result<T, Error> {
    T::deserialize(note).map_err(|error| format!("the checkpoint's note of {part} cannot be read: {error}").into())
}
