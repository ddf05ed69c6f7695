//! The coordinator of a job's checkpoints: one task, which restores state, asks for checkpoints, and stores them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use updraft_checkpoint::{Error as StoreError, Folder, Manifest, Part as Stage};
use updraft_kernel::clock::{self, Nanos};
use updraft_kernel::{Bell, Group, KernelId, block_on, yield_point};

use super::stored::{StageNote, Stored};
use super::taking::{Part, Report, Reports, Taking, note_of, read_note};
use super::{Checkpoints, Settings};
use crate::control::settings::Kept;
use crate::explain::NodeKind;
use crate::metrics::JobMetrics;
use crate::snapshot::Saved;
use crate::source::Error;
use crate::time::{Epoch, Time, micros};
use crate::worker::{Runner, Shared};

/// How long it waits before it tries once more what the store has refused, at least.
const RETRY: Duration = Duration::from_millis(200);
/// How often it tries to store the last checkpoint of a job.
const TRIES: u32 = 10;

/// Of the interval, how long a checkpoint waits at most until windows have just closed: one in so many.
const MOMENT: u32 = 10;

/// Records that wait for each part of a stage that is being restored.
const AHEAD: usize = 16;

/// The stages with state, by the parts that they are.
pub(crate) type Stages = BTreeMap<usize, Arc<dyn Runner>>;

/// Starts the coordinator of a job.
pub(crate) fn start(
    group: &Group,
    shared: &Arc<Shared>,
    taking: &Arc<Taking>,
    stages: Stages,
    checkpoints: Checkpoints,
    metrics: &Arc<JobMetrics>,
) {
    let (own, shared, taking, metrics) = (group.clone(), shared.clone(), taking.clone(), metrics.clone());
    group.spawn_stackful(KernelId(0), "checkpoints", move || {
        let Checkpoints { folder, from, settings, .. } = checkpoints;
        let (parts, stored, closed) = (taking.parts(), BTreeMap::new(), shared.clock.sources.hang());
        let every = shared.control.settings.now().checkpoints.unwrap_or(settings.every);
        taking.set(|now| *now = Settings { every, ..settings });
        let mut coordinator =
            Coordinator { group: own, shared, taking, folder, parts, stages, stored, metrics, closed };
        let is_first = from.is_none();
        let run = async {
            coordinator.restore(from.map(|(_, manifest)| manifest)).await?;
            coordinator.run(is_first).await
        };
        if let Err(error) = block_on(run) {
            coordinator.group.fail(error);
        }
    });
}

struct Coordinator {
    group: Group,
    shared: Arc<Shared>,
    taking: Arc<Taking>,
    folder: Folder,
    parts: Vec<Part>,
    stages: Stages,
    /// The state of stages, by part.
    stored: BTreeMap<usize, Stored>,
    metrics: Arc<JobMetrics>,
    /// Rung when an epoch is closed.
    closed: Arc<Bell>,
}

impl Coordinator {
    /// Gives each stage what it was.
    async fn restore(&mut self, manifest: Option<Manifest>) -> Result<(), Error> {
        let Some(mut manifest) = manifest else { return Ok(()) };
        let progress = &self.metrics.checkpoints;
        self.shared.clock.begins_after(Time(manifest.at));
        progress.to_restore.store(manifest.bytes(), Ordering::Relaxed);
        for (part, stage) in &self.stages {
            let id = &self.parts[*part].id;
            let Some(was) = manifest.parts.remove(&**id) else { continue };
            let note: StageNote = read_note(id, &was.note)?;
            let mut stored = Stored::of(was.files, &note);
            let at = note.at(Epoch(manifest.epoch));
            let next = stored.next_object();
            let (mut channels, mut loaders) = (Vec::new(), Vec::new());
            for number in 0..stage.parts() {
                let (channel, mut records) = mpsc::channel(AHEAD);
                let stage = stage.clone();
                channels.push(channel);
                loaders.push(self.group.spawn_stackful(KernelId(number % self.shared.kernels), "restore", move || {
                    let mut records = std::iter::from_fn(|| {
                        yield_point();
                        block_on(records.recv()).map(Ok)
                    });
                    stage.restore(number, at, next, &mut records)
                }));
            }
            // To the end, even if no loader is left: which object is in which file is known only then.
            let mut reading = stored.reading(&self.folder);
            while let Some(saved) = reading.next().await? {
                progress.restored.fetch_add(saved.bytes.len() as u64, Ordering::Relaxed);
                give(&channels, saved).await;
            }
            drop((reading, channels));
            for loader in loaders {
                loader.await??;
            }
            self.stored.insert(*part, stored);
        }
        Ok(())
    }

    /// Takes checkpoints until the job has come to its end.
    async fn run(&mut self, is_first: bool) -> Result<(), Error> {
        self.taking.bell.wait(|| self.taking.has_none_gone()).await;
        let begun = clock::now();
        let first = if is_first { self.mark(begun).ok() } else { None };
        self.taking.is_restored();
        if let Some(epoch) = first {
            // Of nothing, before anything is read: whoever comes after this process knows of its sinks then, whenever it dies.
            self.checkpoint(epoch, false, begun).await?;
        }
        self.taking.begins();
        let (mut begun, mut stored) = (begun, begun);
        loop {
            if self.is_due(begun, stored).await {
                self.windows_close().await;
            }
            self.taking.wanted.store(false, Ordering::Release);
            begun = clock::now();
            // After the last epoch of the job there is nothing to ask for: that one was marked when it was known.
            self.taking.stopped.store(self.taking.settings().stops, Ordering::Release);
            let marked = self.mark(begun);
            let (Ok(epoch) | Err(epoch)) = marked;
            self.checkpoint(epoch, marked.is_err(), begun).await?;
            if marked.is_err() {
                return Ok(());
            }
            self.taking.stopped.store(false, Ordering::Release);
            self.shared.consumed();
            stored = clock::now();
        }
    }

    /// Begins one, by marking an epoch: which it is; the last one of the job, which is marked already, if that is known.
    fn mark(&self, now: Nanos) -> Result<Epoch, Epoch> {
        self.taking.starts();
        self.shared.clock.mark(now)
    }

    /// Takes the checkpoint of a marked epoch, asked for at `begun`. One that cannot be stored is given up, unless it is the last.
    async fn checkpoint(&mut self, epoch: Epoch, is_last: bool, begun: Nanos) -> Result<(), Error> {
        let reports = self.gather(epoch, is_last).await;
        self.shared.clock.marks.forget(epoch);
        let mut manifest = self.take(epoch, is_last, reports);
        let mut tries = 0;
        loop {
            match self.store(&mut manifest, begun).await {
                Ok((number, bytes)) => {
                    self.taking.commit(epoch);
                    self.taking.stored_newest();
                    self.metrics.checkpoints.stored(number, bytes, clock::now().since(begun));
                    tracing::debug!("checkpoint {number} of {epoch} is stored: {bytes} bytes are new");
                    return self.sweep().await;
                }
                Err(error @ StoreError::Fenced { .. }) => return Err(error.into()),
                Err(error) => {
                    tries += 1;
                    self.metrics.checkpoints.failed.fetch_add(1, Ordering::Relaxed);
                    if is_last && tries == TRIES {
                        return Err(error.into());
                    }
                    tracing::warn!("a checkpoint could not be stored, and is tried again: {error}");
                    if !is_last {
                        return Ok(());
                    }
                    clock::sleep(RETRY * tries).await;
                }
            }
        }
    }

    /// Waits until it is time for a checkpoint after one that was begun and stored then, or somebody wants one, or the job's last
    /// epoch is known: whether it is for the time.
    async fn is_due(&self, begun: Nanos, stored: Nanos) -> bool {
        let taking = &self.taking;
        while !self.is_wanted() {
            let settings = taking.settings();
            // A job that stops for checkpoints has to come to something in between.
            let from = if settings.stops { stored } else { begun };
            let due = (from + settings.every).max(stored + settings.pause);
            tokio::select! {
                biased;
                () = taking.bell.wait(|| self.is_wanted() || taking.settings() != settings) => {}
                () = clock::sleep_until(due) => return true,
            }
        }
        false
    }

    /// Whether somebody wants one now, or there will be no other occasion.
    fn is_wanted(&self) -> bool {
        self.taking.wanted.load(Ordering::Acquire) || self.shared.clock.last().is_some()
    }

    /// Waits until windows have just closed, if they do so within a [share](MOMENT) of the interval: what is open then is least, and so is what has
    /// to be saved before the next ones close.
    async fn windows_close(&self) {
        let at_most = clock::now() + self.taking.settings().every / MOMENT;
        let before = self.kept_from();
        if before.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            () = self.closed.wait(|| self.kept_from() != before) => {}
            () = self.taking.bell.wait(|| self.is_wanted()) => {}
            () = clock::sleep_until(at_most) => {}
        }
    }

    /// From when on windows are open, by stage, as far as all sources have come.
    fn kept_from(&self) -> Vec<Time> {
        let partitions = self.metrics.sources.iter().flat_map(|source| source.partitions());
        let watermark = partitions.filter(|partition| !partition.is_idle).map(|partition| partition.watermark).min();
        let kept_from = |stage: &Arc<dyn Runner>| stage.kept_from(watermark?);
        self.stages.values().filter_map(kept_from).collect()
    }

    /// All reports of a marked epoch. Of the last one of the job sinks alone report: nothing else goes on from there.
    async fn gather(&self, epoch: Epoch, is_last: bool) -> Reports {
        let is_expected = |part: &Part| !is_last || part.kind == NodeKind::Sink;
        let missing = || self.taking.missing(epoch, is_expected);
        loop {
            let timeout = self.taking.settings().timeout;
            tokio::select! {
                biased;
                () = self.taking.bell.wait(|| missing().is_empty()) => return self.taking.take(epoch),
                () = clock::sleep(timeout) => {
                    let late = missing().join(", ");
                    tracing::warn!("the checkpoint of {epoch} waits for {late}, after {timeout:?}");
                }
            }
        }
    }

    /// The checkpoint that these are the reports of, but for the files that have to be written.
    fn take(&mut self, epoch: Epoch, finished: bool, reports: Reports) -> Manifest {
        let mut notes = BTreeMap::<usize, Vec<Value>>::new();
        let at = micros(clock::wall());
        let (job, kernels) = (self.group.name().into(), self.shared.kernels as u64);
        let settings = &self.shared.control.settings;
        let control = match settings.as_of(epoch) {
            nothing if nothing == Kept::default() => Value::Null,
            kept => note_of(&kept),
        };
        settings.forget_before(epoch);
        let mut manifest = Manifest { control, job, epoch: epoch.0, at, kernels, finished, ..Manifest::default() };
        if finished {
            self.stored.clear();
        }
        for ((part, _), Report { note, objects, saved }) in reports {
            if self.parts[part].kind == NodeKind::Stage {
                self.stored.entry(part).or_default().take(saved, objects);
            }
            notes.entry(part).or_default().push(note);
        }
        for (part, mut notes) in notes {
            let note = match self.parts[part].kind {
                NodeKind::Source => Value::Array(notes),
                NodeKind::Stage | NodeKind::Sink => notes.swap_remove(0),
            };
            let Part { id, about, .. } = &self.parts[part];
            manifest.parts.insert(id.to_string(), Stage { note, about: about.clone(), files: Vec::new() });
        }
        self.charge();
        manifest
    }

    /// Writes what is new, and puts the manifest: its number, and how many bytes were written.
    async fn store(&mut self, manifest: &mut Manifest, begun: Nanos) -> Result<(u64, u64), StoreError> {
        let mut bytes = 0;
        for (part, stored) in &mut self.stored {
            let written = stored.write(&mut self.folder).await?;
            self.stages.get(part).into_iter().for_each(|stage| stage.stored(written));
            bytes += written;
            if let Some(part) = manifest.parts.get_mut(&*self.parts[*part].id) {
                part.files = stored.files();
            }
        }
        self.charge();
        manifest.took = clock::now().since(begun).as_micros() as u64;
        let number = self.folder.commit(manifest.clone()).await?;
        Ok((number, bytes))
    }

    /// Deletes what is not needed any more. What cannot be deleted now will be next time.
    async fn sweep(&mut self) -> Result<(), Error> {
        match self.folder.sweep(self.taking.settings().keep).await {
            Ok(_) => Ok(()),
            Err(error @ StoreError::Fenced { .. }) => Err(error.into()),
            Err(error) => {
                tracing::warn!("old checkpoints could not be deleted, and will be later: {error}");
                Ok(())
            }
        }
    }

    /// Brings the account in line with what was reported and is not stored.
    fn charge(&self) {
        let pending = self.stored.values().map(Stored::pending_bytes).sum::<usize>();
        let before = self.taking.bytes.swap(pending, Ordering::AcqRel);
        self.shared.account.release(before - pending);
    }
}

/// Gives a record to the parts that it is for. One that is not there any more has failed, and tells of that itself.
async fn give(parts: &[mpsc::Sender<Saved>], saved: Saved) {
    let mut parts =
        parts.iter().enumerate().filter(|(part, _)| saved.is_for(*part, parts.len())).map(|(_, part)| part).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            let _ = part.send(saved).await;
            return;
        }
        let _ = part.send(saved.clone()).await;
    }
}
