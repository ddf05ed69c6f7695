//! Session windows: the records of a key that follow each other without a gap, and the stage that finds them.
//!
//! Records go into slices as they do for other windows: a slice is no longer than the gap, so what a driver has of a key in
//! it is of one session, an accumulator with the times of its first and its last record. Sealed slices are merged
//! into the sessions that are open, in order of time; no record is sent to another kernel.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_kernel::yield_point;

use super::slices::{Open, Part, Piece, Slicer};
use super::{Slicing, Window, Windowed, Windows, pieces};
use crate::aggregate::{Accumulate, Aggregate};
use crate::bundle::{Bundle, Record, Times};
use crate::partial::join;
use crate::pipe::Pipe;
use crate::source::Error;
use crate::stage::{Emit, KeyGroup, Stage};
use crate::stream::Stream;
use crate::sync::{Mutex, lock};
use crate::table::{Key, Table, hash_of};
use crate::time::{Generation, Punctuation, Time, micros};

/// Rows of a bundle of results.
const ROWS: usize = 2048;
/// Slices in a gap. A session ends with the slice that its gap ends in, so a result comes up to a sixteenth of the gap after
/// the watermark has passed it.
const SLICES: i64 = 16;

/// Windows of records that follow each other with no more than `gap` between them; from the first record to `gap` after the
/// last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    pub(super) gap: i64,
}

impl Session {
    /// Sessions that end when nothing has come for `gap`. Two records that are exactly so far apart are of one session.
    ///
    /// # Panics
    /// When `gap` is less than a microsecond.
    pub fn with_gap(gap: Duration) -> Self {
        let gap = micros(gap);
        assert!(gap > 0, "the gap of a session must be at least a microsecond long");
        Self { gap }
    }
}

impl Windows for Session {
    fn aggregate<I, P, F, K, A>(self, stream: Stream<I, P>, key: F, aggregate: A) -> Stream<Windowed<K, A::Out>>
    where
        I: Record,
        P: Pipe<I>,
        P::Out: Record,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        K: Key,
        A: Aggregate<P::Out>,
    {
        stream.must_be_timed();
        stream.stage("session", move |pipe, kernels| SessionStage::new(pipe, key, self, aggregate, pieces(kernels)))
    }
}

/// The aggregate of a session, with its first and last moment.
struct Span<T, A> {
    aggregate: A,
    of: PhantomData<fn(T)>,
}

impl<T, A: Clone> Clone for Span<T, A> {
    fn clone(&self) -> Self {
        Self { aggregate: self.aggregate.clone(), of: PhantomData }
    }
}

/// What is kept of a session, or of a part of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Run<V> {
    first: i64,
    last: i64,
    value: V,
}

impl<T: 'static, A: Aggregate<T>> Accumulate for Span<T, A> {
    type Item = (i64, A::Item);
    type Acc = Run<A::Acc>;

    fn create(&self) -> Run<A::Acc> {
        Run { first: i64::MAX, last: i64::MIN, value: self.aggregate.create() }
    }
    #[inline(always)]
    fn update(&self, run: &mut Run<A::Acc>, (time, item): (i64, A::Item)) {
        run.first = run.first.min(time);
        run.last = run.last.max(time);
        self.aggregate.update(&mut run.value, item);
    }
    fn merge(&self, run: &mut Run<A::Acc>, other: Run<A::Acc>) {
        run.first = run.first.min(other.first);
        run.last = run.last.max(other.last);
        self.aggregate.merge(&mut run.value, other.value);
    }
}

/// See the module's page.
pub struct SessionStage<In, P, F, K, A>
where
    P: Pipe<In>,
    P::Out: Record,
    A: Aggregate<P::Out>,
{
    pipe: P,
    key: F,
    gap: i64,
    slicer: Slicer<K, Span<P::Out, A>>,
    pieces: Vec<Mutex<Sessions<K, A::Acc>>>,
    input: PhantomData<fn(In)>,
}

/// A driver's share: its own copy of the code, and its slices.
pub struct Local<P, F, K, I, V> {
    pipe: P,
    key: F,
    open: Open<K, (i64, I), Run<V>>,
}

/// The open sessions of a range of hashes.
struct Sessions<K, V> {
    runs: Table<K, Run<V>>,
    /// By slice: the hashes of keys that had records in it. Their sessions may end when the gap after it has.
    touched: BTreeMap<i64, Vec<u64>>,
    /// Of the slice that is being looked through: those that go on.
    waiting: Vec<u64>,
}

impl<K, V> Default for Sessions<K, V> {
    fn default() -> Self {
        Self { runs: Table::default(), touched: BTreeMap::new(), waiting: Vec::new() }
    }
}

impl<K: Key, V> Sessions<K, V> {
    fn bytes(&self) -> usize {
        let runs = if self.runs.is_grown() { self.runs.bytes() } else { 0 };
        runs + self.touched.values().map(|hashes| hashes.capacity() * size_of::<u64>()).sum::<usize>()
    }

    /// Takes in what the slice that starts at `start` has of a key: the session that was open for it, if that has ended before.
    fn add<A>(&mut self, start: i64, gap: i64, (key, run): (K, Run<V>), aggregate: &A) -> Option<(K, Run<V>)>
    where
        A: Accumulate<Acc = Run<V>>,
    {
        let hash = hash_of(&key);
        self.touched.entry(start).or_default().push(hash);
        let Some(at) = self.runs.position(hash, &key) else {
            self.runs.locate(hash, key, || run);
            return None;
        };
        let open = self.runs.at(at).1;
        if run.first <= open.last.saturating_add(gap) {
            aggregate.merge(open, run);
            return None;
        }
        Some((key, std::mem::replace(open, run)))
    }

    /// Takes a session out to which nothing can be added, given that all is known before `edge`: of a key that had records in
    /// the first slice, which is `slice` long.
    fn pop_ended(&mut self, gap: i64, slice: i64, edge: i64) -> Option<(K, Run<V>)> {
        let over = |last: i64| last.saturating_add(gap) < edge;
        while let Some((start, hashes)) = self.touched.iter_mut().next()
            && over(*start)
        {
            let (start, all_over) = (*start, over(start.saturating_add(slice - 1)));
            // Of a slice that is over in part, the sessions that go on are kept; of one that is wholly over, those that go on
            // have been touched since.
            while let Some(hash) = hashes.pop() {
                if let Some(at) = self.runs.position_where(hash, |run| over(run.last)) {
                    return self.runs.remove(at);
                }
                if !all_over {
                    self.waiting.push(hash);
                }
            }
            self.touched.remove(&start);
            if !all_over {
                self.touched.insert(start, std::mem::take(&mut self.waiting));
                return None;
            }
        }
        None
    }
}

impl<In, P, F, K, A> SessionStage<In, P, F, K, A>
where
    In: Record,
    P: Pipe<In>,
    P::Out: Record,
    F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
    K: Key,
    A: Aggregate<P::Out>,
{
    /// `aggregate` of what comes out of `pipe`, by `key` and session; results are merged in `parallelism` pieces (rounded up
    /// to a power of two, 256 at most).
    pub fn new(pipe: P, key: F, session: Session, aggregate: A, parallelism: usize) -> Self {
        let slice = (session.gap - 1) / SLICES + 1;
        let slicing = Slicing { size: slice, slide: slice, offset: 0 };
        let slicer = Slicer::new(slicing, Span { aggregate, of: PhantomData }, parallelism);
        let pieces = std::iter::repeat_with(Mutex::default).take(slicer.pieces).collect();
        Self { pipe, key, gap: session.gap, slicer, pieces, input: PhantomData }
    }

    fn row(&self, (key, run): (K, Run<A::Acc>)) -> Windowed<K, A::Out> {
        let window = Window { start: Time(run.first), end: Time(run.last.saturating_add(self.gap)) };
        Windowed { window, key, value: self.slicer.aggregate.aggregate.finish(run.value) }
    }

    fn advance(&self, piece: SpanPiece<K, P::Out, A>, edge: i64, rows: &mut Rows<'_, K, A::Out>) {
        let mut sessions = std::mem::take(&mut *lock(&self.pieces[piece.index]));
        let before = sessions.bytes();
        for (start, ranges) in piece.slices {
            for shares in ranges.into_iter().filter(|shares| !shares.is_empty()) {
                let mut table = join(shares, &self.slicer.aggregate, self.slicer.spare.table(), &self.slicer.spare);
                let used = table.len();
                for entry in table.drain() {
                    let ended = sessions.add(start, self.gap, entry, &self.slicer.aggregate);
                    ended.into_iter().for_each(|run| rows.push(self.row(run)));
                }
                self.slicer.spare.give_table(table, used);
                yield_point();
            }
        }
        while let Some(run) = sessions.pop_ended(self.gap, self.slicer.slicing.size, edge) {
            rows.push(self.row(run));
            yield_point();
        }
        if sessions.touched.is_empty() {
            // Nothing is open: a table that was large may be needed no more.
            sessions = Sessions::default();
        }
        self.slicer.bytes.fetch_add(sessions.bytes().wrapping_sub(before), Ordering::Relaxed);
        *lock(&self.pieces[piece.index]) = sessions;
    }
}

type SpanPiece<K, T, A> = Piece<K, (i64, <A as Aggregate<T>>::Item), Run<<A as Aggregate<T>>::Acc>>;

/// Results on their way into bundles.
struct Rows<'a, K, V> {
    rows: Vec<Windowed<K, V>>,
    emit: Emit<'a, Windowed<K, V>>,
}

impl<K, V> Rows<'_, K, V> {
    fn push(&mut self, row: Windowed<K, V>) {
        self.rows.push(row);
        if self.rows.len() == ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.rows.is_empty() {
            let times = self.rows.iter().map(|row| Time(row.window.end.0 - 1)).collect();
            (self.emit)(Bundle::from(std::mem::take(&mut self.rows)).with_times(Times::Each(times)));
        }
    }
}

impl<In, P, F, K, A> Stage for SessionStage<In, P, F, K, A>
where
    In: Record,
    P: Pipe<In>,
    P::Out: Record,
    F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
    K: Key,
    A: Aggregate<P::Out>,
{
    type In = In;
    type Out = Windowed<K, A::Out>;
    type Local = Local<P, F, K, A::Item, A::Acc>;
    type Part = Part<K, (i64, A::Item), Run<A::Acc>>;

    fn local(&self, _: usize) -> Self::Local {
        Local { pipe: self.pipe.clone(), key: self.key.clone(), open: Open::default() }
    }

    fn bundle(&self, local: &Self::Local, generation: Generation, bundle: Bundle<In>, _: Emit<'_, Self::Out>) {
        let mut writer = self.slicer.writer(&local.open, &local.key, generation);
        let aggregate = &self.slicer.aggregate.aggregate;
        bundle.for_each(|time, record| {
            local.pipe.push(time, record, &mut |time, record| {
                debug_assert!(self.slicer.is_open(time), "a record behind its stage's watermark");
                writer.write(time, &record, |record| (time.0, aggregate.item(record)));
            });
        });
        self.slicer.put_back(writer);
    }

    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<Self::Part> {
        self.slicer.seal(locals.iter().map(|local| &local.open), punctuation, false)
    }

    /// What is open ends with the last slice that is sealed, or later.
    fn watermark(&self, punctuation: Punctuation) -> Time {
        if punctuation.watermark == Time::MAX {
            return Time::MAX;
        }
        Time(self.slicer.edge(punctuation.watermark).saturating_sub(1)).min(punctuation.watermark)
    }

    fn part(&self, _: &Self::Local, part: Self::Part, emit: Emit<'_, Self::Out>) {
        let mut rows = Rows { rows: Vec::new(), emit };
        for piece in part.pieces {
            self.advance(piece, part.edge, &mut rows);
        }
        rows.flush();
        self.slicer.bytes.fetch_sub(part.bytes, Ordering::Relaxed);
    }

    fn state_bytes(&self) -> usize {
        self.slicer.bytes.load(Ordering::Relaxed) + self.slicer.spare.bytes()
    }

    fn snapshot(&self, locals: &[Self::Local], through: Generation) -> Result<Vec<(KeyGroup, Vec<u8>)>, Error> {
        let mut groups = BTreeMap::<KeyGroup, Vec<(K, Run<A::Acc>)>>::new();
        let mut save = |(key, run): (&K, &Run<A::Acc>)| {
            let group = KeyGroup((hash_of(key) >> 56) as u8);
            groups.entry(group).or_default().push((key.clone(), run.clone()));
        };
        for sessions in self.pieces.iter().map(lock) {
            sessions.runs.iter().for_each(&mut save);
        }
        for local in locals {
            Slicer::<K, Span<P::Out, A>>::visit(&local.open, through, |slice| {
                slice.partial.settled(&self.slicer.aggregate).flat_map(Table::iter).for_each(&mut save);
            });
        }
        groups.iter().map(|(group, runs)| Ok((*group, postcard::to_allocvec(runs)?))).collect()
    }

    fn restore(&self, locals: &[Self::Local], groups: Vec<(KeyGroup, Vec<u8>)>) -> Result<(), Error> {
        for (group, bytes) in groups {
            let runs = postcard::from_bytes::<Vec<(K, Run<A::Acc>)>>(&bytes)
                .map_err(|error| format!("the snapshot of {group:?} cannot be read: {error}"))?;
            let local = &locals[usize::from(group.0) % locals.len()];
            let mut writer = self.slicer.writer(&local.open, &local.key, Generation(0));
            for (key, run) in runs {
                // A session that is open goes on where its last record was.
                let at = writer.turn_to(run.last);
                writer.held[at].partial.merge(key, run, &self.slicer.aggregate);
            }
            self.slicer.put_back(writer);
        }
        Ok(())
    }
}
