//! What tests of jobs are made of: a source that is scripted, a sink that remembers, a checker of punctuations, and an
//! oracle: the same job, evaluated one record after the other, without engine, state or parallelism.
//!
//! Behind the feature `testing`.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use updraft_kernel::yield_now;

use crate::bundle::{Bundle, Record};
use crate::epoch::Epochs;
use crate::sink::{Prepared, Sink};
use crate::snapshot::{Object, Saved, Snapshot};
use crate::source::{Batch, Error, Partition, Place, Source};
use crate::stage::Stage;
use crate::time::{Epoch, Generation, Punctuation, Time, micros};
use crate::window::{Shape, Slicing, Window};

/// A source that gives prepared batches: for each partition a list of them.
pub struct Scripted<T>(pub Vec<Vec<Vec<T>>>);

impl<T: Record> Source for Scripted<T> {
    type Item = T;
    type Partition = Script<T>;

    fn open(self) -> Result<Vec<Script<T>>, Error> {
        Ok(self.0.into_iter().map(|batches| Script { batches: batches.into(), given: 0 }).collect())
    }
}

/// A partition of [`Scripted`].
pub struct Script<T> {
    batches: VecDeque<Vec<T>>,
    given: usize,
}

impl<T: Record> Partition for Script<T> {
    type Item = T;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<T>>, Error> {
        // Others may come in between.
        yield_now().await;
        let batch = self.batches.pop_front();
        self.given += batch.as_ref().map_or(0, Vec::len);
        Ok(batch.map(Batch::from))
    }

    fn position(&self) -> String {
        format!("record {}", self.given)
    }

    fn place(&self) -> Option<Place> {
        Some(self.given.into())
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        let place = place.as_u64().ok_or("a number of records")? as usize;
        while self.given < place {
            self.given += self.batches.pop_front().ok_or("a place that was there")?.len();
        }
        Ok(())
    }
}

/// Snapshots of a stage as one after the other would be stored: what later ones still need of earlier ones is kept.
#[derive(Debug, Default)]
pub struct Stored {
    next: Arc<AtomicU64>,
    /// The records of each object.
    objects: BTreeMap<Object, Vec<Saved>>,
}

impl Stored {
    /// Takes a snapshot of a stage, as [`Stage::snapshot`] says: how many bytes are new.
    ///
    /// # Panics
    /// When it cannot be taken, or is made of objects that no snapshot had.
    pub fn take<S: Stage>(&mut self, stage: &S, locals: &[S::Local], through: Generation) -> usize {
        self.begin(stage, locals, through) + self.finish(stage, locals)
    }

    /// Begins with that.
    ///
    /// # Panics
    /// As [`take`](Self::take).
    pub fn begin<S: Stage>(&mut self, stage: &S, locals: &[S::Local], through: Generation) -> usize {
        let (mut objects, mut bytes) = (BTreeMap::<_, Vec<Saved>>::new(), 0);
        let first = Object(self.next.load(Ordering::Relaxed));
        for driver in 0..locals.len() {
            let mut snapshot = Snapshot::new(self.next.clone());
            stage.snapshot(locals, driver, through, &mut snapshot).expect("a snapshot can be taken");
            for object in snapshot.objects {
                let is_new = object >= first;
                assert!(is_new || self.objects.contains_key(&object), "{object:?} was kept, and had been let go");
                let known = self.objects.get(&object).cloned().unwrap_or_default();
                objects.entry(object).or_insert(known);
            }
            bytes += add(&mut objects, snapshot.saved);
        }
        self.objects = objects;
        bytes
    }

    /// Takes in what it has left to be saved, as [`Stage::save_more`] says.
    ///
    /// # Panics
    /// As [`take`](Self::take).
    pub fn finish<S: Stage>(&mut self, stage: &S, locals: &[S::Local]) -> usize {
        let mut snapshot = Snapshot::new(self.next.clone());
        for local in locals {
            while stage.save_more(local, &mut snapshot).expect("it can be gone on with") {}
        }
        add(&mut self.objects, snapshot.saved)
    }

    /// Whether there are records of each object.
    pub fn is_whole(&self) -> bool {
        self.objects.values().all(|records| !records.is_empty())
    }

    /// Has a stage go on from the last snapshot.
    ///
    /// # Errors
    /// When it cannot read it.
    pub fn restore<S: Stage>(&self, stage: &S, locals: &[S::Local], at: Punctuation) -> Result<(), Error> {
        stage.restore(locals, at, &mut self.objects.values().flatten().cloned().map(Ok))
    }

    /// All records, to be damaged.
    pub fn records(&mut self) -> impl Iterator<Item = &mut Saved> {
        self.objects.values_mut().flatten()
    }
}

/// Two drivers take a snapshot after each of three epochs, then what is stored is damaged; three drivers go on from it, through two more
/// epochs and a snapshot, if it can be restored. `give` gives a stage the records of an epoch, `watermark` tells where time is at its end,
/// but for the last, which ends all. Returns the records that were damaged, as they were before.
pub fn go_on_damaged<S: Stage>(
    stage: impl Fn(usize) -> S,
    give: impl Fn(&S, &[S::Local], i64),
    watermark: impl Fn(i64) -> Time,
    damage: impl FnOnce(&mut Stored),
) -> Vec<Vec<u8>> {
    let epoch = |stage: &S, locals: &[S::Local], number: i64, watermark: Time| {
        give(stage, locals, number);
        let at = Punctuation { epoch: Epoch(number as u64), watermark, now: Time(4 * number) };
        for part in stage.seal(locals, at) {
            let local = &locals[stage.owner(&part).unwrap_or_default()];
            stage.part(local, part, &mut |_| {});
        }
        at
    };
    let (before, mut stored) = (stage(2), Stored::default());
    let locals = [before.local(0), before.local(1)];
    let [_, _, at] = [0, 1, 2].map(|number| {
        let at = epoch(&before, &locals, number, watermark(number));
        stored.take(&before, &locals, Generation(0));
        at
    });
    let kept = stored.records().map(|record| record.bytes.clone()).collect();
    damage(&mut stored);
    let after = stage(3);
    let locals = [after.local(0), after.local(1), after.local(2)];
    if stored.restore(&after, &locals, at).is_ok() {
        epoch(&after, &locals, 3, watermark(3));
        stored.take(&after, &locals, Generation(0));
        epoch(&after, &locals, 4, Time::MAX);
    }
    kept
}

/// Does what may [give up](updraft_kernel::give_up): whether it did not. Whoever panics panics.
pub fn goes_through(work: impl FnOnce()) -> bool {
    let Err(ended) = catch_unwind(AssertUnwindSafe(work)) else { return true };
    // Who gives up says why as an error, and not as text.
    if ended.is::<&str>() || ended.is::<String>() {
        resume_unwind(ended);
    }
    false
}

/// Adds records to the objects that they are of: how many bytes they have.
fn add(objects: &mut BTreeMap<Object, Vec<Saved>>, records: Vec<Saved>) -> usize {
    let bytes = records.iter().map(|saved| saved.bytes.len()).sum();
    for saved in records {
        objects.get_mut(&saved.object).expect("records are of objects of the snapshot").push(saved);
    }
    bytes
}

/// A sink whose records count when they are committed, with what outlives the processes of a job.
#[derive(Debug)]
pub struct Transactional<T> {
    outside: Arc<Mutex<Outside<T>>>,
    attempt: u64,
    begun: u64,
    open: Vec<T>,
}

/// What is outside of all processes: see [`Transactional`].
#[derive(Debug)]
struct Outside<T> {
    prepared: BTreeMap<String, Vec<T>>,
    committed: Vec<T>,
}

/// Where the sinks of all processes of a job write to.
#[derive(Debug)]
pub struct Ledger<T>(Arc<Mutex<Outside<T>>>);

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Outside { prepared: BTreeMap::new(), committed: Vec::new() })))
    }
}

impl<T: Record> Ledger<T> {
    /// A sink for one process.
    pub fn sink(&self) -> Transactional<T> {
        Transactional { outside: self.0.clone(), attempt: 0, begun: 0, open: Vec::new() }
    }

    /// What was committed, in that order.
    pub fn committed(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).committed.clone()
    }

    /// How many transactions are prepared, and neither committed nor given up.
    pub fn prepared(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).prepared.len()
    }
}

impl<T> Outside<T> {
    fn commit(&mut self, id: &str) {
        // Somebody else may have.
        self.committed.extend(self.prepared.remove(id).into_iter().flatten());
    }
}

impl<T: Record> Transactional<T> {
    fn outside(&self) -> std::sync::MutexGuard<'_, Outside<T>> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Record> Sink<T> for Transactional<T> {
    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        self.attempt = attempt;
        let mut outside = self.outside();
        prepared.iter().filter_map(Prepared::as_str).for_each(|id| outside.commit(id));
        outside.prepared.clear();
        Ok(())
    }

    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        self.open.extend(bundle.into_vec());
        Ok(())
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        self.begun += 1;
        let id = format!("{}-{}", self.attempt, self.begun);
        let open = std::mem::take(&mut self.open);
        self.outside().prepared.insert(id.clone(), open);
        Ok(id.into())
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        self.outside().commit(prepared.as_str().unwrap_or_default());
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        assert!(self.open.is_empty(), "all is committed before a sink is closed");
        Ok(())
    }
}

/// A sink that remembers all records, and checks that punctuations come in order.
pub struct Gather<T> {
    records: Arc<Mutex<Vec<T>>>,
    last: Option<Punctuation>,
}

/// What a [`Gather`] has gathered.
pub struct Gathered<T>(Arc<Mutex<Vec<T>>>);

impl<T> Gathered<T> {
    /// All records so far; the next call gives those after them.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A sink, and what it gathers.
pub fn gather<T>() -> (Gather<T>, Gathered<T>) {
    let records = Arc::default();
    (Gather { records: Arc::clone(&records), last: None }, Gathered(records))
}

impl<T: Record> Sink<T> for Gather<T> {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).extend(bundle.into_vec());
        Ok(())
    }

    async fn complete(&mut self, punctuation: Punctuation) -> Result<(), Error> {
        let expected = self.last.map_or(Epoch(0), |last| last.epoch.next());
        assert_eq!(punctuation.epoch, expected, "epochs complete in order, each once");
        let before = self.last.map_or(Time::MIN, |last| last.watermark);
        assert!(punctuation.watermark >= before, "the watermark never goes back");
        self.last = Some(punctuation);
        Ok(())
    }
}

/// Which of a partition's records are late, straight from the definition: `times` in the order of arrival, with
/// watermarks that trail the greatest time by `disorder`.
pub fn late(times: &[Time], disorder: std::time::Duration, epochs: Epochs) -> Vec<bool> {
    let disorder = micros(disorder);
    let greatest = |n: usize| times[..n].iter().map(|t| t.0).max();
    let declared = |before: usize| match epochs {
        Epochs::WatermarkStep(step) => {
            let step = micros(step);
            let floor = |t: i64| (t - disorder).div_euclid(step) * step;
            // The step that the first record lies in is never declared.
            greatest(before).map(floor).filter(|reached| *reached > floor(times[0].0))
        }
        Epochs::Records(n) => greatest(before / n * n).map(|t| t - disorder),
        Epochs::WallClock(_) => unimplemented!("depends on the clock"),
    };
    (0..times.len()).map(|at| declared(at).is_some_and(|watermark| times[at].0 < watermark)).collect()
}

/// All windows and keys that have records, each with its records, straight from the definition.
pub fn windows<K: Ord + Clone, T: Clone>(records: &[(Time, K, T)], slicing: Slicing) -> BTreeMap<(Window, K), Vec<T>> {
    let mut windows = BTreeMap::<_, Vec<T>>::new();
    for (time, key, record) in records {
        for window in windows_of(*time, slicing) {
            windows.entry((window, key.clone())).or_default().push(record.clone());
        }
    }
    windows
}

/// The windows that hold `time`, from the definition of their shape.
fn windows_of(time: Time, slicing: Slicing) -> Vec<Window> {
    let Slicing { size, slide, offset, shape } = slicing;
    let floor = |step: i64| (time.0 - offset).div_euclid(step) * step + offset;
    let window = |start, end| Window { start: Time(start), end: Time(end) };
    match shape {
        Shape::Whole => vec![Window { start: Time::MIN, end: Time::MAX }],
        Shape::Cumulating => {
            let ends = (1..=size / slide).map(|steps| floor(size) + steps * slide);
            ends.filter(|end| *end > time.0).map(|end| window(floor(size), end)).collect()
        }
        // The last window that starts at or before the record, and those before it that still hold it.
        Shape::Sliding => {
            let starts = (0..).map(|n| floor(slide) - n * slide).take_while(|start| start + size > time.0);
            starts.map(|start| window(start, start + size)).collect()
        }
    }
}

/// All sessions of all keys, each with its records, straight from the definition.
pub fn sessions<K: Ord + Clone, T: Clone>(
    records: &[(Time, K, T)],
    gap: std::time::Duration,
) -> BTreeMap<(Window, K), Vec<T>> {
    let gap = micros(gap);
    let mut by_key = BTreeMap::<K, Vec<(i64, T)>>::new();
    records
        .iter()
        .for_each(|(time, key, record)| by_key.entry(key.clone()).or_default().push((time.0, record.clone())));
    let mut sessions = BTreeMap::new();
    for (key, mut records) in by_key {
        records.sort_by_key(|(time, _)| *time);
        for session in records.chunk_by(|one, next| next.0 - one.0 <= gap) {
            let window = Window { start: Time(session[0].0), end: Time(session[session.len() - 1].0 + gap) };
            sessions.insert((window, key.clone()), session.iter().map(|(_, record)| record.clone()).collect());
        }
    }
    sessions
}
