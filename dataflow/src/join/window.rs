//! The window join: records of the same key and window, told when the window is over.
//!
//! While the window lasts each driver only sorts its records into slices and, by the key's hash, into partitions: no table is
//! touched and no record is sent to another kernel. When the watermark has passed, each partition is joined by itself:
//! an index of the right side, small enough for the cache, that the left side is looked up in.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use updraft_kernel::{prefetch, yield_point};

use super::index::Index;
use super::{Kind, Side};
use crate::aggregate::State;
use crate::bundle::{Bundle, Record, Times};
use crate::snapshot::{Object, Records, Snapshot};
use crate::source::Error;
use crate::stage::{Emit, Keeps, KeyGroup, Stage};
use crate::sync::{Mutex, lock};
use crate::table::{Key, hash_of};
use crate::time::{Generation, Punctuation, Time};
use crate::window::{Sliced, Slicing};

/// Rows of a bundle of results.
const ROWS: usize = 2048;
/// Partitions of a slice. As many as lists can be written to at a time without leaving the first level cache.
const PARTITIONS: usize = 64;
/// Records of a part of a window's join, at least: for less it is not worth being dealt out, nor an index of its own.
const SMALL: usize = 1024;
/// Partitions of which memory is kept for the next slices: what two slices need.
const SPARE: usize = 2 * PARTITIONS;

/// A record of either side, with its key.
pub type Keyed<K, L, R> = (K, Side<L, R>);

/// See the module's page.
pub struct WindowJoinStage<K, L, R, J> {
    kind: J,
    slicing: Slicing,
    /// By partition: the slices that windows to come still need.
    retained: Vec<Mutex<Retained<K, L, R>>>,
    /// All slices that start before it are sealed.
    sealed: AtomicI64,
    /// Empty ones of slices that nobody needs any more, for those to come. `None` when none will come.
    spare: Mutex<Option<Vec<Sides<K, L, R>>>>,
    bytes: AtomicUsize,
}

/// A driver's slices that are not sealed.
pub struct Local<K, L, R>(Mutex<Vec<Slice<K, L, R>>>);

struct Slice<K, L, R> {
    generation: Generation,
    start: i64,
    /// By partition.
    sides: Vec<Sides<K, L, R>>,
    /// As last accounted.
    bytes: usize,
}

/// Records of both sides.
struct Sides<K, L, R> {
    left: Vec<(K, L)>,
    right: Vec<(K, R)>,
    /// As what they are in snapshots; none where they are in none yet.
    object: Option<Object>,
}

impl<K, L, R> Default for Sides<K, L, R> {
    fn default() -> Self {
        Self { left: Vec::new(), right: Vec::new(), object: None }
    }
}

impl<K, L, R> Sides<K, L, R> {
    fn len(&self) -> usize {
        self.left.len() + self.right.len()
    }

    fn bytes(&self) -> usize {
        self.left.capacity() * size_of::<(K, L)>() + self.right.capacity() * size_of::<(K, R)>()
    }

    fn push(&mut self, key: K, side: Side<L, R>) {
        match side {
            Side::Left(left) => push(&mut self.left, (key, left)),
            Side::Right(right) => push(&mut self.right, (key, right)),
        }
    }
}

#[inline]
fn push<T>(list: &mut Vec<T>, record: T) {
    list.push(record);
    prefetch(list.spare_capacity_mut(), 64 / size_of::<T>().max(1));
}

/// The sealed slices of a partition.
struct Retained<K, L, R> {
    /// By start, each what the drivers had of it.
    slices: VecDeque<(i64, Vec<Sides<K, L, R>>)>,
    next_end: Option<i64>,
}

impl<K, L, R> Default for Retained<K, L, R> {
    fn default() -> Self {
        Self { slices: VecDeque::new(), next_end: None }
    }
}

/// Some partitions of what an epoch has sealed.
pub struct Part<K, L, R> {
    partitions: Vec<Partition<K, L, R>>,
    through: i64,
}

struct Partition<K, L, R> {
    index: usize,
    slices: Vec<(i64, Vec<Sides<K, L, R>>)>,
}

/// A record of a snapshot, of a partition: its key groups are those of the same top bits.
#[derive(Serialize, Deserialize)]
enum Saved<L, R> {
    /// Where its windows have come to.
    NextEnd(i64),
    /// Records of the slice that starts there.
    Slice(i64, Vec<L>, Vec<R>),
}

/// Records of a side in a record of a snapshot, at most.
const CHUNK: usize = 1024;

/// Adds records of a slice to a snapshot, or has them kept there.
fn save<K: Key, L: State, R: State>(
    snapshot: &mut Snapshot,
    partition: usize,
    start: i64,
    sides: &mut Sides<K, L, R>,
) -> Result<(), Error> {
    if let Some(object) = sides.object {
        snapshot.keep(object);
        return Ok(());
    }
    let object = *sides.object.insert(snapshot.create());
    for left in sides.left.chunks(CHUNK) {
        let records = Saved::<_, &(K, R)>::Slice(start, left.iter().collect(), Vec::new());
        snapshot.add(object, groups_of_partition(partition), &records)?;
        yield_point();
    }
    for right in sides.right.chunks(CHUNK) {
        let records = Saved::<&(K, L), _>::Slice(start, Vec::new(), right.iter().collect());
        snapshot.add(object, groups_of_partition(partition), &records)?;
        yield_point();
    }
    Ok(())
}

fn groups_of_partition(partition: usize) -> RangeInclusive<KeyGroup> {
    let first = partition * (256 / PARTITIONS);
    KeyGroup(first as u8)..=KeyGroup((first + 256 / PARTITIONS - 1) as u8)
}

fn partition_of<K: Key>(key: &K) -> usize {
    (hash_of(key) >> (64 - PARTITIONS.ilog2())) as usize
}

impl<K: Key, L: State, R: State, J: Kind<L, R>> WindowJoinStage<K, L, R, J> {
    /// Joins what is of the same key and window.
    pub fn new(kind: J, windows: &impl Sliced) -> Self {
        Self {
            kind,
            slicing: windows.slicing(),
            retained: std::iter::repeat_with(Mutex::default).take(PARTITIONS).collect(),
            sealed: AtomicI64::new(i64::MIN),
            spare: Mutex::new(Some(Vec::new())),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Keeps the memory of records that nobody needs any more, unless there is enough of it.
    fn let_go(&self, all: Vec<Sides<K, L, R>>) {
        for mut sides in all {
            sides.left.clear();
            sides.right.clear();
            sides.object = None;
            match &mut *lock(&self.spare) {
                Some(spare) if spare.len() < SPARE => spare.push(sides),
                _ => {
                    self.bytes.fetch_sub(sides.bytes(), Ordering::Relaxed);
                }
            }
        }
    }

    /// A slice without records, with memory that others have left.
    fn slice(&self, generation: Generation, start: i64) -> Slice<K, L, R> {
        let mut sides = lock(&self.spare).as_mut().map_or(Vec::new(), |spare| {
            let kept = spare.len().saturating_sub(PARTITIONS);
            spare.split_off(kept)
        });
        sides.resize_with(PARTITIONS, Sides::default);
        let bytes = sides.iter().map(Sides::bytes).sum();
        Slice { generation, start, sides, bytes }
    }

    /// Takes the slices that start before `edge` from all drivers: by partition, then by start.
    fn take_sealed(&self, locals: &[Local<K, L, R>], edge: i64) -> Vec<Partition<K, L, R>> {
        let mut slices = BTreeMap::<i64, Vec<Slice<K, L, R>>>::new();
        for local in locals {
            for slice in lock(&local.0).extract_if(.., |slice| slice.start < edge) {
                slices.entry(slice.start).or_default().push(slice);
            }
        }
        let mut partitions: Vec<_> =
            (0..PARTITIONS).map(|index| Partition { index, slices: Vec::with_capacity(slices.len()) }).collect();
        for (start, shares) in slices {
            partitions.iter_mut().for_each(|partition| partition.slices.push((start, Vec::new())));
            for (index, sides) in shares.into_iter().flat_map(|share| share.sides.into_iter().enumerate()) {
                if sides.len() > 0
                    && let Some((_, all)) = partitions[index].slices.last_mut()
                {
                    all.push(sides);
                } else {
                    self.let_go(vec![sides]);
                }
            }
        }
        partitions
    }

    /// Joins windows that are a slice each, several partitions at once: an index for each would be dear where they are small.
    fn join_slices(&self, partitions: Vec<Partition<K, L, R>>, emit: Emit<'_, J::Out>) {
        let mut slices = BTreeMap::<i64, Vec<Sides<K, L, R>>>::new();
        for (start, all) in partitions.into_iter().flat_map(|partition| partition.slices) {
            slices.entry(start).or_default().extend(all);
        }
        for (start, all) in slices {
            join(&self.kind, all.iter(), self.slicing.first_end_after(start), emit);
            self.let_go(all);
        }
    }

    fn advance(&self, partition: Partition<K, L, R>, through: i64, emit: Emit<'_, J::Out>) {
        let mut retained = std::mem::take(&mut *lock(&self.retained[partition.index]));
        let mut slices = partition.slices.into_iter().filter(|(_, all)| !all.is_empty()).peekable();
        while let Some(end) = retained.next_end.or_else(|| Some(self.slicing.first_end_after(slices.peek()?.0))) {
            retained.next_end = Some(end);
            while let Some(slice) = slices.next_if(|(start, _)| *start < end) {
                retained.slices.push_back(slice);
            }
            if end > through {
                break;
            }
            let (begin, next) = (self.slicing.window(end).start.0, self.slicing.end_after(end));
            // What the next window needs stays.
            let keep = next.map_or(i64::MAX, |next| self.slicing.window(next).start.0);
            let within = retained.slices.iter().filter(|(start, _)| *start >= begin);
            let window = within.flat_map(|(_, all)| all);
            join(&self.kind, window, end, emit);
            while let Some((_, all)) = retained.slices.pop_front_if(|(start, _)| *start < keep) {
                self.let_go(all);
            }
            // Windows without records are not visited: the next slice says where to go on.
            retained.next_end = next.filter(|_| !retained.slices.is_empty());
        }
        *lock(&self.retained[partition.index]) = retained;
    }
}

/// Joins the records of a window.
fn join<'a, K: Key, L: Record, R: Record, J: Kind<L, R>>(
    kind: &J,
    window: impl Iterator<Item = &'a Sides<K, L, R>> + Clone,
    end: i64,
    emit: Emit<'_, J::Out>,
) {
    let mut rows = Rows { rows: Vec::new(), time: Time(end - 1), emit };
    let right = Index::new(window.clone().map(|sides| &sides.right));
    let mut matched = vec![false; if J::WAITS && J::PAIRS { right.records().len() } else { 0 }];
    for (key, left) in window.flat_map(|sides| &sides.left) {
        let (mut any, mut partners) = (false, right.of(key));
        if J::PAIRS {
            for (number, record) in partners {
                kind.pair(left, record).into_iter().for_each(|row| rows.push(row));
                if J::WAITS {
                    (any, matched[number]) = (true, true);
                }
            }
        } else {
            any = partners.next().is_some();
        }
        if J::WAITS {
            kind.left(left.clone(), any).into_iter().for_each(|row| rows.push(row));
        }
        yield_point();
    }
    for (matched, record) in matched.into_iter().zip(right.records()) {
        kind.right(record.clone(), matched).into_iter().for_each(|row| rows.push(row));
    }
    rows.flush();
}

/// Results on their way into bundles.
struct Rows<'a, T> {
    rows: Vec<T>,
    time: Time,
    emit: Emit<'a, T>,
}

impl<T: 'static> Rows<'_, T> {
    fn push(&mut self, row: T) {
        self.rows.push(row);
        if self.rows.len() == ROWS {
            self.flush();
            self.rows.reserve(ROWS);
        }
    }

    fn flush(&mut self) {
        if !self.rows.is_empty() {
            (self.emit)(Bundle::from(std::mem::take(&mut self.rows)).with_times(Times::Same(self.time)));
        }
    }
}

impl<K: Key, L: State, R: State, J: Kind<L, R>> Stage for WindowJoinStage<K, L, R, J> {
    type In = Keyed<K, L, R>;
    type Out = J::Out;
    type Local = Local<K, L, R>;
    type Part = Part<K, L, R>;

    const ABOUT: &'static str = "records on each kernel, joined by hash range when the watermark has passed";
    const KEEPS: Keeps = Keeps::State;

    fn local(&self, _: usize) -> Self::Local {
        Local(Mutex::default())
    }

    fn bundle(&self, local: &Self::Local, generation: Generation, bundle: Bundle<Self::In>, _: Emit<'_, J::Out>) {
        // Taken out for as long as the bundle lasts. Nobody else looks for them: its epoch is open, so none is sealed.
        let mut held = Vec::<Slice<K, L, R>>::new();
        let (mut now, mut start, mut end) = (0, i64::MAX, i64::MIN);
        bundle.for_each(|time, (key, side)| {
            debug_assert!(time.0 >= self.sealed.load(Ordering::Relaxed), "a record behind its stage's watermark");
            if time.0 < start || time.0 >= end {
                (start, end) = self.slicing.slice(time.0);
                now = held.iter().position(|slice| slice.start == start).unwrap_or_else(|| {
                    held.push(local.take(generation, start).unwrap_or_else(|| self.slice(generation, start)));
                    held.len() - 1
                });
            }
            held[now].sides[partition_of(&key)].push(key, side);
        });
        for slice in &mut held {
            let bytes = slice.sides.iter().map(Sides::bytes).sum();
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.bytes.fetch_sub(std::mem::replace(&mut slice.bytes, bytes), Ordering::Relaxed);
        }
        lock(&local.0).append(&mut held);
    }

    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<Self::Part> {
        let through = punctuation.watermark.0;
        let edge = self.slicing.edge(through);
        if self.sealed.fetch_max(edge, Ordering::Relaxed) >= edge {
            return Vec::new();
        }
        if punctuation.watermark == Time::MAX {
            let spare = lock(&self.spare).take().unwrap_or_default();
            self.bytes.fetch_sub(spare.iter().map(Sides::bytes).sum(), Ordering::Relaxed);
        }
        let partitions = self.take_sealed(locals, edge);
        let records = partitions.iter().flat_map(|partition| &partition.slices).flat_map(|(_, all)| all);
        let parts = (records.map(Sides::len).sum::<usize>() / SMALL).clamp(1, PARTITIONS);
        let mut rest = partitions.into_iter();
        let part = || {
            let partitions: Vec<_> = rest.by_ref().take(PARTITIONS.div_ceil(parts)).collect();
            (!partitions.is_empty()).then_some(Part { partitions, through })
        };
        std::iter::from_fn(part).collect()
    }

    fn kept_from(&self, watermark: Time) -> Option<Time> {
        self.slicing.kept_from(watermark)
    }

    fn part(&self, _: &Self::Local, part: Self::Part, emit: Emit<'_, J::Out>) {
        if self.slicing.tumbles() {
            self.join_slices(part.partitions, emit);
            return;
        }
        for partition in part.partitions {
            self.advance(partition, part.through, emit);
        }
    }

    fn state_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn snapshot(
        &self,
        locals: &[Self::Local],
        driver: usize,
        through: Generation,
        snapshot: &mut Snapshot,
    ) -> Result<(), Error> {
        for (index, retained) in self.retained.iter().enumerate().skip(driver).step_by(locals.len()) {
            let retained = &mut *lock(retained);
            if let Some(end) = retained.next_end {
                snapshot.add_whole(groups_of_partition(index), &Saved::<(), ()>::NextEnd(end))?;
            }
            for (start, all) in &mut retained.slices {
                all.iter_mut().try_for_each(|sides| save(snapshot, index, *start, sides))?;
            }
        }
        // Taken out, for the driver goes on meanwhile, with slices of later generations.
        let open = &locals[driver].0;
        let mut left: Vec<_> = lock(open).extract_if(.., |slice| slice.generation <= through).collect();
        let saved = left.iter_mut().try_for_each(|slice| {
            let mut sides = slice.sides.iter_mut().enumerate().filter(|(_, sides)| sides.len() > 0);
            sides.try_for_each(|(index, sides)| save(snapshot, index, slice.start, sides))
        });
        lock(open).append(&mut left);
        saved
    }

    fn restore(&self, locals: &[Self::Local], _: Punctuation, saved: Records<'_>) -> Result<(), Error> {
        for record in saved {
            let record = record?;
            let index = usize::from(record.groups.start().0) / (256 / PARTITIONS);
            let local = &locals[index % locals.len()];
            match record.read::<Saved<(K, L), (K, R)>>()? {
                Saved::NextEnd(end) => lock(&self.retained[index]).next_end = Some(end),
                Saved::Slice(start, left, right) if self.slicing.slice(start).0 == start => {
                    // Sealed once more, with the next watermark.
                    let taken = local.take(Generation(0), start);
                    let mut slice = taken.unwrap_or_else(|| self.slice(Generation(0), start));
                    slice.sides[index].left.extend(left);
                    slice.sides[index].right.extend(right);
                    let bytes = slice.sides.iter().map(Sides::bytes).sum();
                    self.bytes.fetch_add(bytes, Ordering::Relaxed);
                    self.bytes.fetch_sub(std::mem::replace(&mut slice.bytes, bytes), Ordering::Relaxed);
                    lock(&local.0).push(slice);
                }
                Saved::Slice(..) => return Err("the snapshot of a join has a slice that is none of its".into()),
            }
        }
        Ok(())
    }
}

impl<K, L, R> Local<K, L, R> {
    /// Takes the slice that starts at `start` out, if there is one.
    fn take(&self, generation: Generation, start: i64) -> Option<Slice<K, L, R>> {
        let open = &mut *lock(&self.0);
        let at = open.iter().position(|slice| slice.start == start && slice.generation == generation)?;
        Some(open.swap_remove(at))
    }
}
