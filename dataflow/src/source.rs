//! Where records come from: the first of the five files of the data path.
//!
//! A [`Source`] is a list of [`Partition`]s; each is read by one task, in order, which stamps what it reads with
//! its epoch ([`Feed`]) and closes epochs. Next: [`crate::container`], where the bundles go.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_kernel::Bell;
use updraft_kernel::clock::{self, Nanos};

use crate::alignment::Aligned;
use crate::bundle::{Bundle, Record, Times};
use crate::checkpoint::{Gate, Report, Taking, note_of};
use crate::control::ride::Carriage;
use crate::control::settings::SourceSettings;
use crate::control::{Instance, Part, Seen, SourceChange};
use crate::epoch::Epochs;
use crate::exchange::Outlet;
use crate::lateness::{Piece, Stamped, Stamping};
use crate::metrics::SourceMetrics;
use crate::time::{Epoch, Punctuation, Time, micros};
use crate::worker::{Shared, here};

/// An error of a source or a sink that ends the job. Its text names the file (or address), the
/// line or field, and the remedy.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Where records come from.
///
/// How many partitions there are must depend on the source's own settings alone, never on the
/// machine: which records are late is decided within a partition, and must not change with the number
/// of kernels.
pub trait Source: Send + 'static {
    /// What the source yields.
    type Item: Record;
    /// One independent, ordered part of it.
    type Partition: Partition<Item = Self::Item>;

    /// Opens the source. At least one partition.
    fn open(self) -> Result<Vec<Self::Partition>, Error>;

    /// Opens it to go on where each of its partitions stood, in their order; partitions that had no place begin anew.
    ///
    /// # Errors
    /// When it cannot go on: what it reads is not what it was.
    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<Self::Partition>, Error>
    where
        Self: Sized,
    {
        seek_all(self.open()?, places)
    }
}

/// The partitions, each gone on where it stood; those that had no place begin anew.
///
/// # Errors
/// When there are not as many as places, or one cannot go on.
pub fn seek_all<P: Partition>(mut partitions: Vec<P>, places: Vec<Option<Place>>) -> Result<Vec<P>, Error> {
    if partitions.len() != places.len() {
        let (was, now, remedy) = (places.len(), partitions.len(), "read what was read before, or start the job anew");
        return Err(format!("{was} partitions were read, and there are {now}: {remedy}").into());
    }
    for (partition, place) in partitions.iter_mut().zip(places) {
        place.map_or(Ok(()), |place| partition.seek(place))?;
    }
    Ok(partitions)
}

/// Where a partition stands, in its own words: what it needs to go on from there, in a process to come.
pub type Place = serde_json::Value;

/// One ordered part of a source, read by one task on one kernel.
pub trait Partition: Send + 'static {
    /// What the partition yields.
    type Item: Record;

    /// The next records, about `limit` at most (rows are counted where they are [`Rows`](crate::Rows)), or `None` at the end. A batch may hold rejected records alone. Waits where
    /// nothing is there yet. An implementation that has something at hand returns it rather
    /// than wait for `limit` of them. The future is never dropped before it is done, unless
    /// the job ends or drains.
    ///
    /// Reading must not block the kernel's thread for long: await, or do at most about a bundle's work.
    fn next(&mut self, limit: usize) -> impl Future<Output = Result<Option<Batch<Self::Item>>, Error>>;

    /// Where the next record stands, in the partition's own words (`access.log:1042`): for error messages.
    fn position(&self) -> String;

    /// How much of it has been read, about, where it is known how much there is.
    fn progress(&self) -> Option<Progress> {
        None
    }

    /// Where it stands after all that [`next`](Self::next) has given: asked between two calls of it, for a checkpoint. `None` where it
    /// cannot be read again: then what it gives between a checkpoint and a crash is lost.
    fn place(&self) -> Option<Place> {
        None
    }

    /// Goes on from a place, before the first call of [`next`](Self::next), which then gives what it would have given there: the
    /// same records in the same order, however they are cut into batches.
    ///
    /// # Errors
    /// When it cannot: the file is gone, say.
    fn seek(&mut self, place: Place) -> Result<(), Error> {
        Err(format!("it cannot be read from a place, and is to go on from {place}").into())
    }

    /// A checkpoint is stored in which it stood at `place`: nobody will go on from an earlier one, so what was before it need not be
    /// kept for this partition any more. Told between two calls of [`next`](Self::next), in order; not of each checkpoint, but of the newest.
    fn stored(&mut self, place: &Place) {
        let _ = place;
    }
}

/// How far something with an end has come: in bytes or records, as who tells it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What has been read.
    pub read: u64,
    /// What there is.
    pub whole: u64,
}

/// What a partition yields at a time.
#[derive(Debug)]
pub struct Batch<T> {
    /// Records, in order.
    pub records: Bundle<T>,
    /// What could not be decoded, and why.
    pub rejected: Vec<DeadLetter>,
}

impl<T> From<Bundle<T>> for Batch<T> {
    fn from(records: Bundle<T>) -> Self {
        Self { records, rejected: Vec::new() }
    }
}

impl<T: 'static> From<Vec<T>> for Batch<T> {
    fn from(records: Vec<T>) -> Self {
        Bundle::from(records).into()
    }
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeadLetter {
    /// The file or address that it came from.
    pub origin: Arc<str>,
    /// Its line there, from 1 (or its ordinal, where there are no lines).
    pub line: u64,
    /// The record as it was received.
    pub bytes: Vec<u8>,
    /// Why it was rejected, naming the field and what was expected.
    pub reason: String,
}

/// `origin:line: reason`
impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.origin, self.line, self.reason)
    }
}

/// What becomes of a record that cannot be decoded. It is counted either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BadRecords {
    /// The job ends, with an error that tells file, line and reason.
    #[default]
    Stop,
    /// It goes to the source's dead letters, or nowhere if nobody reads them.
    SetAside,
}

/// A source that gives nothing: when it stops holding the others back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Idle {
    /// After so long without a record a partition is idle: its watermark is then as far as that of the
    /// farthest partition which is not.
    pub after: Option<Duration>,
    /// Whether an idle partition's watermark also moves on with the clock: for records whose event time is
    /// the present, so that the last windows don't wait for the next record.
    pub follow_clock: bool,
}

impl Default for Idle {
    fn default() -> Self {
        Self { after: Some(Duration::from_secs(5)), follow_clock: false }
    }
}

/// How a source is fed to its job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedOptions {
    pub(crate) bundle: usize,
    pub(crate) epochs: Epochs,
    pub(crate) idle: Idle,
    pub(crate) bad: BadRecords,
    /// Whether the event time of a record is when it came.
    pub(crate) by_arrival: bool,
}

impl FeedOptions {
    /// As is set while the job runs.
    pub(crate) fn set(&mut self, SourceSettings { bundle, epochs }: SourceSettings) {
        self.bundle = bundle.unwrap_or(self.bundle);
        self.epochs = epochs.unwrap_or(self.epochs);
    }
}

/// Reads `partition` to its end: the task of a partition.
pub(crate) async fn drive<P, S>(mut partition: P, mut feed: Feed<P::Item, S>) -> Result<(), Error>
where
    P: Partition,
    P::Item: Record,
    S: Stamping<P::Item>,
{
    if let Some(Reporting { gate, .. }) = &feed.reporting {
        gate.restored().await;
    }
    feed.follow();
    if let Some(Reporting { gate, .. }) = &feed.reporting {
        gate.begun().await;
    }
    while !feed.has_ended && feed.room().await {
        if let Some(place) = feed.stored() {
            partition.stored(&place);
        }
        let batch = {
            let mut next = pin!(partition.next(feed.options.bundle));
            loop {
                tokio::select! {
                    biased;
                    batch = &mut next => break batch?,
                    goes_on = feed.meanwhile() => if !goes_on { break None },
                }
            }
        };
        match batch {
            Some(batch) => {
                feed.resumed().await;
                let place = feed.reporting.as_ref().and_then(|_| partition.place());
                feed.take(batch, place)?;
            }
            None => break,
        }
        feed.metrics.progress(feed.partition, partition.progress());
    }
    feed.end().await;
    Ok(())
}

/// Takes what a partition reads: stamps it, closes epochs, and hands it on.
pub(crate) struct Feed<T, S> {
    pub(crate) options: FeedOptions,
    pub(crate) stamp: S,
    pub(crate) outlet: Arc<Outlet<T>>,
    pub(crate) late: Arc<Outlet<T>>,
    pub(crate) dead: Arc<Outlet<DeadLetter>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<SourceMetrics>,
    /// Its number among the source's.
    pub(crate) partition: usize,
    /// Partitions of the source that have not ended.
    pub(crate) open: Arc<AtomicUsize>,
    /// Rung when another partition closes an epoch, and when there is room.
    pub(crate) bell: Arc<Bell>,
    /// Who it is not to get far ahead of.
    pub(crate) aligned: Option<Aligned>,
    /// The epoch of what is read now.
    pub(crate) epoch: Epoch,
    /// The watermark declared by what was handed on. The stamp's is ahead while a batch is being cut up.
    pub(crate) declared: Time,
    /// The watermark that it has closed the last one with.
    pub(crate) closed: Time,
    pub(crate) begun: Nanos,
    /// When the last record came, and whether that is too long ago.
    pub(crate) active: Nanos,
    pub(crate) is_idle: bool,
    /// Records taken, or rows of them.
    pub(crate) position: u64,
    /// Where the partition stands after what was handed on.
    pub(crate) place: Option<Place>,
    /// Whether there is nothing more to be read.
    pub(crate) has_ended: bool,
    /// Who hears of it at the end of marked epochs, in a job that takes checkpoints.
    pub(crate) reporting: Option<Reporting>,
    /// Where it stood at the end of marked epochs whose checkpoints it has not heard of yet.
    pub(crate) reported: VecDeque<(Epoch, Option<Place>)>,
    /// What it is to control operations, and what they are told.
    pub(crate) own: Arc<Part>,
    pub(crate) seen: Seen,
    /// Whether an operation has it wait, or end.
    pub(crate) is_paused: bool,
    pub(crate) is_drained: bool,
}

/// Where a partition reports to: as which part of the job.
pub(crate) struct Reporting {
    pub(crate) taking: Arc<Taking>,
    pub(crate) part: usize,
    pub(crate) gate: Gate,
}

/// What is noted of a partition in checkpoints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PartitionNote {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
    /// Records taken.
    position: u64,
    watermark: Time,
    stamp: Stamped,
}

impl<T: Record, S: Stamping<T>> Feed<T, S> {
    /// Goes on where the partition was.
    pub(crate) fn restore(&mut self, note: PartitionNote) {
        self.stamp.restore(note.stamp);
        // What it let the job's watermark come past, as an idle one, stays past.
        self.stamp.raise(note.watermark);
        (self.declared, self.position) = (note.watermark, note.position);
        (self.place, self.has_ended) = (note.place, note.ended);
        if note.watermark > Time::MIN {
            self.shared.clock.declare(note.watermark);
        }
        self.align();
    }

    /// Where it stood in the newest checkpoint that is stored, if it has not been told yet.
    fn stored(&mut self) -> Option<Place> {
        let committed = self.reporting.as_ref()?.taking.committed();
        let mut newest = None;
        while self.reported.front().is_some_and(|(epoch, _)| epoch.0 < committed) {
            newest = self.reported.pop_front().and_then(|(_, place)| place);
        }
        newest
    }

    /// Tells where the partition stands at the end of a marked epoch.
    fn report(&mut self) {
        let Some(Reporting { taking, part, .. }) = &self.reporting else { return };
        self.reported.push_back((self.epoch, self.place.clone()));
        let note = PartitionNote {
            place: self.place.clone(),
            ended: self.has_ended,
            position: self.position,
            watermark: self.declared.max(self.closed),
            stamp: self.stamp.save(),
        };
        taking.report(self.epoch, *part, self.partition, Report { note: note_of(&note), ..Report::default() });
    }

    /// Waits for room, and follows the other partitions meanwhile; whether the job goes on.
    async fn room(&mut self) -> bool {
        self.wait_while(Self::is_blocked).await;
        !self.is_draining()
    }

    /// Waits until it may go on with what it has read, if it was paused meanwhile.
    async fn resumed(&mut self) {
        self.wait_while(|feed| feed.is_paused).await;
    }

    /// Waits while it is held up, unless the job drains, and follows the other partitions meanwhile.
    async fn wait_while(&mut self, is_held: impl Fn(&Self) -> bool) {
        if !is_held(self) {
            return;
        }
        let since = clock::now();
        while is_held(self) && !self.is_draining() {
            let clock = &self.shared.clock;
            self.bell.wait(|| !is_held(self) || clock.current() > self.epoch || self.is_draining()).await;
            self.follow();
        }
        let now = clock::now();
        let waited = now.since(since);
        self.metrics.blocked.fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
        self.seen.blocked += waited;
        // Waiting for others is not being idle.
        self.active = now;
    }

    /// Whether it is to read nothing more.
    fn is_draining(&self) -> bool {
        self.is_drained || self.shared.draining.load(Ordering::Acquire)
    }

    /// Whether others should be given time: those that it is ahead of, or what is downstream. With nothing queued there is nothing to wait for:
    /// then a bundle is let through even over budget, for only new records move windows on.
    fn is_blocked(&self) -> bool {
        let is_stopped = self.reporting.as_ref().is_some_and(|reporting| reporting.taking.is_stopped());
        let is_ahead = self.aligned.as_ref().is_some_and(|aligned| aligned.is_ahead(self.declared));
        is_stopped
            || is_ahead
            || self.is_paused
            || self.outlet.is_full(self.epoch)
            || self.shared.account.over_budget() && self.outlet.has_work()
    }

    /// Waits for what has to be done although no record comes, and does it; whether the job goes on.
    async fn meanwhile(&mut self) -> bool {
        let (shared, epoch) = (self.shared.clone(), self.epoch);
        let rung = self.bell.wait(|| shared.clock.current() > epoch || shared.draining.load(Ordering::Acquire));
        match self.wakes_at() {
            Some(at) => tokio::select! {
                biased;
                () = rung => {}
                () = clock::sleep_until(at) => {}
            },
            None => rung.await,
        }
        self.follow();
        self.tick(clock::now());
        !self.is_draining()
    }

    /// When there is something to do although no record comes.
    fn wakes_at(&self) -> Option<Nanos> {
        let every = if let Epochs::WallClock(every) = self.options.epochs { Some(every) } else { None };
        let tick = every.into_iter().chain(self.shared.clock.tick()).min().map(|every| self.begun + every);
        let idle = self.options.idle.after.map(|after| self.active + after);
        let idle = if !self.is_idle {
            idle
        } else {
            // Then it moves on with the clock, ten times a second.
            self.options.idle.follow_clock.then(|| clock::now() + Duration::from_millis(100))
        };
        tick.into_iter().chain(idle).min()
    }

    /// Closes an epoch if its time is over, and finds out whether the partition is idle.
    fn tick(&mut self, now: Nanos) {
        if self.options.idle.after.is_some_and(|after| now.since(self.active) >= after) {
            self.is_idle = true;
            self.align();
            if self.watermark() > self.closed {
                // What it has held back goes on now, not only with the next epoch of another partition.
                self.close(now);
            }
        }
        if self.is_idle && self.options.idle.follow_clock {
            self.follow_clock(now);
        }
        if let Epochs::WallClock(every) = self.options.epochs
            && now.since(self.begun) >= every
        {
            self.declare_and_close(now);
        } else if self.shared.clock.tick().is_some_and(|every| now.since(self.begun) >= every) {
            self.close(now);
        }
    }

    fn follow_clock(&mut self, now: Nanos) {
        self.stamp.pass(now.since(self.active));
        self.declared = self.declared.max(self.stamp.watermark());
        if self.declared > self.closed {
            self.close(now);
        }
    }

    /// Takes what was read; `place` is where the partition stands after it.
    fn take(&mut self, batch: Batch<T>, place: Option<Place>) -> Result<(), Error> {
        let now = clock::now();
        if !batch.records.is_empty() {
            self.awake(now);
        }
        self.follow();
        self.reject(batch.rejected)?;
        let (position, count) = (self.position, batch.records.count() as u64);
        self.position += count;
        self.metrics.records.fetch_add(count, Ordering::Relaxed);
        let pieces = self.stamp.cut(batch.records.at(position));
        self.metrics.newest.fetch_max(self.stamp.newest().0, Ordering::Relaxed);
        if self.options.by_arrival {
            self.declared = self.arrival();
            self.metrics.newest.fetch_max(self.declared.0, Ordering::Relaxed);
        }
        for piece in pieces {
            let (ends, watermark) = (piece.ends, piece.watermark);
            self.hand_on(piece);
            self.declared = self.declared.max(watermark);
            // A marked epoch does not end within a batch, for the partition stands at its end then: what follows is of the same epoch. Nor
            // does one that a message of control rides on.
            if ends
                && self.shared.clock.advance_past_unmarked(self.epoch, now)
                && self.shared.control.riding_on(self.epoch).is_none()
            {
                self.close_own(now);
            }
        }
        self.place = place;
        self.follow();
        self.tick(now);
        Ok(())
    }

    /// A record has come.
    fn awake(&mut self, now: Nanos) {
        self.active = now;
        if std::mem::take(&mut self.is_idle) {
            // What others have come past meanwhile stays past.
            let frontier = self.shared.clock.frontier();
            self.stamp.raise(frontier);
            self.declared = self.declared.max(frontier);
        }
    }

    fn hand_on(&mut self, piece: Piece<T>) {
        let kernel = here().0;
        self.seen.records_in += (piece.late.count() + piece.in_time.count()) as u64;
        if !piece.late.is_empty() {
            self.metrics.late.fetch_add(piece.late.count() as u64, Ordering::Relaxed);
            self.seen.late += piece.late.count() as u64;
            self.late.add(kernel, self.epoch, piece.late);
        }
        if !piece.in_time.is_empty() {
            self.seen.records_out += piece.in_time.count() as u64;
            let arrival = Times::Same(if self.options.by_arrival { self.declared } else { Time::MIN });
            self.outlet.add(kernel, self.epoch, piece.in_time.with_times(arrival));
        }
    }

    fn reject(&mut self, rejected: Vec<DeadLetter>) -> Result<(), Error> {
        self.metrics.rejected.fetch_add(rejected.len() as u64, Ordering::Relaxed);
        self.seen.rejected += rejected.len() as u64;
        match (self.options.bad, rejected.first()) {
            (_, None) => {}
            (BadRecords::SetAside, Some(_)) => {
                let bytes = rejected.iter().map(|letter| letter.bytes.len() + size_of::<DeadLetter>()).sum();
                self.dead.add(here().0, self.epoch, Bundle::from(rejected).with_bytes(bytes));
            }
            (BadRecords::Stop, Some(first)) => {
                return Err(
                    format!("{first} (to go on without such records, set them aside: `.dead_letters()`)").into()
                );
            }
        }
        Ok(())
    }

    /// Closes the epochs that others have closed, where this partition stands.
    fn follow(&mut self) {
        while self.shared.clock.current() > self.epoch {
            self.punctuate(self.watermark());
        }
    }

    /// Tells those that it is aligned with how far it is.
    fn align(&self) {
        if let Some(aligned) = &self.aligned {
            aligned.declare(if self.is_idle || self.has_ended { Time::MAX } else { self.declared });
        }
    }

    /// How far this partition lets the job's watermark come.
    fn watermark(&self) -> Time {
        if self.is_idle { self.declared.max(self.shared.clock.frontier()) } else { self.declared }
    }

    fn declare_and_close(&mut self, now: Nanos) {
        self.stamp.declare();
        self.declared = self.declared.max(self.stamp.watermark());
        if self.options.by_arrival {
            self.declared = self.arrival();
        }
        self.close(now);
    }

    /// The calendar time, which does not go back.
    fn arrival(&self) -> Time {
        Time(micros(clock::wall())).max(self.declared)
    }

    /// Closes the epoch, and has the others follow.
    fn close(&mut self, now: Nanos) {
        self.shared.clock.advance_past(self.epoch, now);
        self.close_own(now);
        self.follow();
    }

    /// Closes the epoch, as the others will.
    fn close_own(&mut self, now: Nanos) {
        let watermark = self.watermark();
        if watermark > Time::MIN {
            self.shared.clock.declare(watermark);
        }
        self.begun = now;
        self.punctuate(watermark);
    }

    /// Closes the epoch at all outlets, and goes on to the next one.
    fn punctuate(&mut self, watermark: Time) {
        let punctuation = Punctuation { epoch: self.epoch, watermark, now: self.shared.clock.begun(self.epoch.next()) };
        let kernel = here().0;
        let message = self.shared.control.riding_on(self.epoch);
        message.iter().for_each(|message| self.visit(&**message, punctuation));
        self.outlet.close(kernel, punctuation);
        self.late.close(kernel, punctuation);
        self.dead.close(kernel, punctuation);
        message.iter().for_each(|message| message.goes_on_from(&self.own, self.partition));
        self.metrics.close(self.partition, watermark, self.is_idle);
        self.closed = watermark;
        self.align();
        if self.shared.clock.marks.is_marked(self.epoch) {
            self.report();
        }
        self.epoch = self.epoch.next();
    }

    /// Has a message of control dealt with, at the end of an epoch.
    fn visit(&mut self, message: &dyn Carriage, at: Punctuation) {
        message.comes_to(&self.own, self.partition);
        let seen = Seen { bundle: self.options.bundle as u64, ..self.seen };
        let (number, mut change) = (self.partition, SourceChange::default());
        let mut instance = Instance { change: Some(&mut change), ..Instance::new(&self.own, number, at, seen) };
        message.completes(&self.own, &mut instance);
        self.options.set(change.settings);
        change.settings.epochs.into_iter().for_each(|epochs| self.stamp.close(epochs));
        self.is_paused = change.pause.unwrap_or(self.is_paused);
        self.is_drained |= change.drain;
    }

    /// The partition is exhausted: it holds nobody back, and follows until all others are.
    async fn end(mut self) {
        let now = clock::now();
        self.has_ended = true;
        self.align();
        self.shared.clock.end_partition(now);
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Who waits for the end of this source need not wait for somebody else to close the epoch.
            self.shared.clock.advance_past(self.epoch, now);
        }
        loop {
            while self.shared.clock.current() > self.epoch {
                self.punctuate(Time::MAX);
            }
            let last = self.shared.clock.last();
            if last.is_some_and(|last| self.epoch > last) {
                return;
            }
            let (shared, epoch) = (&self.shared, self.epoch);
            self.bell.wait(|| shared.clock.current() > epoch).await;
        }
    }
}
