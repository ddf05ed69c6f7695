//! [`Columns`]: slices of rows in columns, kept in whatever a [`Grouping`] says.
//!
//! [`Stream::window_rows`] is for who computes on columns as a whole, as SQL does: slices, sealing, hash ranges and sums of
//! slices are those of [`WindowStage`], the same as for records.

use std::ops::RangeInclusive;

use updraft_kernel::give_up;

use super::saved::SliceWriter;
use super::slices::Held;
use super::store::{Store, pieces_of};
use super::{Sliced, Window, WindowStage, pieces};
use crate::bundle::{Bundle, Record, Times};
use crate::checkpoint::Layout;
use crate::partial::DEEP;
use crate::pipe::Pipe;
use crate::rows::Rows;
use crate::snapshot::Rest;
use crate::source::Error;
use crate::stage::{Emit, KeyGroup};
use crate::stream::Stream;
use crate::time::Time;

/// Keys of a part of a share, at least: what is saved at a time.
const PART: usize = 64;

/// Groups rows by their keys, and keeps what each group comes to.
///
/// What rows come to must not depend on their order, nor on which driver takes them in. A function that cannot go on ends the
/// job with [`updraft_kernel::give_up`].
pub trait Grouping: Send + Sync + 'static {
    /// One driver's share of a slice, that takes rows in.
    type Partial: Send;
    /// What some of the keys have come to: immutable, and cheap to clone (columns of keys and states).
    type Sum: Clone + Send + Sync;

    /// The event time of each row, in microseconds: as many as rows, none below the watermark. `time` is that of all of them,
    /// where the stream itself knows one ([by arrival](crate::input::Input::stream_by_arrival)); else [`Time::MIN`].
    /// Not asked by [windows](super::Global) that end with the stream.
    fn times(&self, rows: &Rows, time: Time) -> Vec<i64>;

    /// A share without rows, that is to be [split](Self::split) in so many pieces, if it is split.
    fn create(&self, pieces: usize) -> Self::Partial;
    /// Takes in rows, all of one slice.
    fn update(&self, partial: &mut Self::Partial, rows: &Rows);
    /// Takes in what was kept elsewhere.
    fn merge(&self, partial: &mut Self::Partial, sum: &Self::Sum);
    /// What the keys have come to, by ranges of their hash: always `pieces` of them, a power of two up to 256. A key is in the
    /// one that [`piece_of`](super::piece_of) tells from its hash, which must be the same on all drivers.
    fn split(&self, partial: Self::Partial, pieces: usize) -> Vec<Self::Sum>;
    /// Gives the result rows of a window, in as many batches as it likes.
    fn finish(&self, partial: Self::Partial, window: Window, emit: &mut dyn FnMut(Rows));

    /// Whether a [window](super::Global) that ends with the stream gives a result although no row has come: as a count
    /// without keys does, which is 0 then. [`finish`](Self::finish) gets an empty share.
    fn tells_of_nothing(&self) -> bool {
        false
    }

    /// Keys held, or more where some are in it several times.
    fn len(&self, partial: &Self::Partial) -> usize;
    /// Whether no keys are held.
    fn is_empty(&self, partial: &Self::Partial) -> bool {
        self.len(partial) == 0
    }
    /// Bytes held, for the memory account.
    fn bytes(&self, partial: &Self::Partial) -> usize;
    /// Bytes held, for the memory account.
    fn sum_bytes(&self, sum: &Self::Sum) -> usize;

    /// A sum as it is stored, by [key group](KeyGroup::of) of the keys' hashes.
    ///
    /// # Errors
    /// When it cannot be written.
    fn save(&self, sum: &Self::Sum) -> Result<Vec<(KeyGroup, Vec<u8>)>, Error>;
    /// The same of some key groups of a share that nothing is added to any more. Once it was asked for some, it is asked for all,
    /// in their order, each once, unless the share is [split](Self::split) before.
    ///
    /// # Errors
    /// When it cannot be written.
    fn save_some(
        &self,
        partial: &mut Self::Partial,
        groups: RangeInclusive<KeyGroup>,
    ) -> Result<Vec<(KeyGroup, Vec<u8>)>, Error>;
    /// What [`save`](Self::save) or [`save_some`](Self::save_some) has written of a key group.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&self, group: KeyGroup, bytes: &[u8]) -> Result<Self::Sum, Error>;
}

/// See the module's page.
pub struct Columns<G> {
    grouping: G,
    /// In how many pieces the shares of a slice are split, if it is not small.
    pieces: usize,
}

/// A range of hashes of a slice.
pub struct Shares<G: Grouping> {
    /// The share of a driver that was not split, for there is one range only.
    whole: Option<G::Partial>,
    sums: Vec<G::Sum>,
}

impl<G: Grouping> Shares<G> {
    fn none() -> Self {
        Self { whole: None, sums: Vec::new() }
    }
}

impl<G: Grouping> Columns<G> {
    /// Rows go to the slices of their times: most often all to one, and nothing is copied.
    fn write(&self, held: &mut Held<'_, Self>, time: Time, rows: &Rows) {
        if rows.is_empty() {
            return;
        }
        let slicing = held.slicer.slicing;
        let times = if slicing.is_whole() { vec![0] } else { self.times(rows, time) };
        let range = |(least, greatest): (i64, i64), time: &i64| (least.min(*time), greatest.max(*time));
        let (least, greatest) = times.iter().fold((i64::MAX, i64::MIN), range);
        debug_assert!(held.slicer.is_open(Time(least)), "rows behind their stage's watermark");
        let at = held.turn_to(least);
        if greatest < held.slices[at].end || slicing.is_whole() {
            return self.grouping.update(&mut held.slices[at].partial, rows);
        }
        for (at, numbers) in by_slice(held, &times).into_iter().enumerate().filter(|(_, numbers)| !numbers.is_empty()) {
            self.grouping.update(&mut held.slices[at].partial, &some_of(rows, numbers));
        }
    }

    fn times(&self, rows: &Rows, time: Time) -> Vec<i64> {
        let times = self.grouping.times(rows, time);
        if times.len() != rows.len() {
            give_up(format!(
                "{} event times were read from {} rows: there must be one for each",
                times.len(),
                rows.len()
            ));
        }
        times
    }

    fn split(&self, partial: G::Partial, pieces: usize) -> Vec<G::Sum> {
        let sums = self.grouping.split(partial, pieces);
        if sums.len() != pieces {
            give_up(format!("keys were split into {} ranges of hashes instead of {pieces}", sums.len()));
        }
        sums
    }

    /// One sum of a share.
    fn sum(&self, partial: G::Partial) -> Option<G::Sum> {
        self.split(partial, 1).pop()
    }

    /// The shares of all drivers in one range: the largest is not split.
    fn alone(&self, mut partials: Vec<G::Partial>) -> Shares<G> {
        let largest = (0..partials.len()).max_by_key(|at| self.grouping.len(&partials[*at]));
        let whole = largest.map(|at| partials.swap_remove(at));
        Shares { whole, sums: partials.into_iter().filter_map(|partial| self.sum(partial)).collect() }
    }

    fn merged<'a>(&self, whole: Option<G::Partial>, sums: impl IntoIterator<Item = &'a G::Sum>) -> G::Partial {
        let mut partial = whole.unwrap_or_else(|| self.grouping.create(1));
        sums.into_iter().for_each(|sum| self.grouping.merge(&mut partial, sum));
        partial
    }

    fn finish(&self, partial: G::Partial, window: Window, emit: Emit<'_, Rows>) {
        self.grouping.finish(partial, window, &mut |rows| {
            if !rows.is_empty() {
                emit(Bundle::from(vec![rows]).with_times(Times::Same(window.last())));
                updraft_kernel::yield_point();
            }
        });
    }
}

/// The numbers of the rows of each slice that is held.
fn by_slice<G: Grouping>(held: &mut Held<'_, Columns<G>>, times: &[i64]) -> Vec<Vec<u32>> {
    let mut lanes: Vec<Vec<u32>> = Vec::new();
    let (mut at, mut start, mut end) = (0, i64::MAX, i64::MIN);
    for (row, time) in times.iter().enumerate() {
        if *time < start || *time >= end {
            at = held.turn_to(*time);
            (start, end) = (held.slices[at].start, held.slices[at].end);
            lanes.resize_with(held.slices.len(), Vec::new);
        }
        lanes[at].push(row as u32);
    }
    lanes
}

/// The rows of these numbers, which ascend: copied only where there are others in between.
fn some_of(rows: &Rows, numbers: Vec<u32>) -> Rows {
    let (first, last) = (numbers.first().map_or(0, |row| *row as usize), numbers.last().map_or(0, |row| *row as usize));
    if last + 1 - first == numbers.len() {
        return rows.slice(first..last + 1);
    }
    rows.take(&numbers.into())
        .unwrap_or_else(|error| give_up(format!("the rows of a window cannot be copied: {error}")))
}

impl<G: Grouping> Store for Columns<G> {
    type Record = Rows;
    type Out = Rows;
    type Reader = ();
    type Partial = G::Partial;
    type Range = Shares<G>;
    type Sum = Option<G::Sum>;

    fn create(&self, _: bool) -> G::Partial {
        self.grouping.create(self.pieces)
    }

    fn is_large(&self, _: &G::Partial) -> bool {
        false
    }

    fn len(&self, partial: &G::Partial) -> usize {
        self.grouping.len(partial)
    }

    fn bytes(&self, partial: &G::Partial) -> usize {
        self.grouping.bytes(partial)
    }

    fn sum_bytes(&self, sum: &Self::Sum) -> usize {
        sum.as_ref().map_or(0, |sum| self.grouping.sum_bytes(sum))
    }

    fn take_in<In, P>(&self, (): &(), held: &mut Held<'_, Self>, pipe: &P, bundle: Bundle<In>)
    where
        In: Record,
        P: Pipe<In, Out = Rows>,
    {
        bundle.for_each(|time, record| pipe.push(time, record, &mut |time, rows| self.write(held, time, &rows)));
    }

    fn deal(&self, partials: Vec<G::Partial>, pieces: usize) -> Vec<Shares<G>> {
        if pieces == 1 {
            return vec![self.alone(partials)];
        }
        let mut ranges: Vec<_> = std::iter::repeat_with(Shares::none).take(pieces).collect();
        for partial in partials {
            let sums = self.split(partial, pieces);
            ranges.iter_mut().zip(sums).for_each(|(range, sum)| range.sums.push(sum));
        }
        // Each range begins with another share: what is put off in a split is done by all who tell of ranges at the same time.
        ranges.iter_mut().enumerate().filter(|(_, range)| !range.sums.is_empty()).for_each(|(at, range)| {
            let first = at % range.sums.len();
            range.sums.rotate_left(first);
        });
        ranges
    }

    fn nothing(&self) -> Option<Shares<G>> {
        self.grouping.tells_of_nothing().then(|| Shares { whole: Some(self.grouping.create(1)), sums: Vec::new() })
    }

    fn tell(&self, window: Window, Shares { whole, sums }: Shares<G>, emit: Emit<'_, Rows>) {
        let has_rows = whole.is_some();
        let partial = self.merged(whole, &sums);
        if has_rows || !self.grouping.is_empty(&partial) {
            self.finish(partial, window, emit);
        }
    }

    fn whole(&self, Shares { whole, mut sums }: Shares<G>) -> Self::Sum {
        if whole.is_none() && sums.len() < 2 {
            return sums.pop();
        }
        self.sum(self.merged(whole, &sums))
    }

    fn merge(&self, sum: &mut Self::Sum, other: &Self::Sum) {
        match (sum.take(), other) {
            (Some(one), Some(other)) => *sum = self.sum(self.merged(None, [&one, other])),
            (one, other) => *sum = one.or_else(|| other.clone()),
        }
    }

    fn gather(&self, sums: Vec<Self::Sum>) -> Self::Sum {
        self.whole(Shares { whole: None, sums: sums.into_iter().flatten().collect() })
    }

    fn tell_sum(&self, window: Window, older: &Self::Sum, newer: &Self::Sum, emit: Emit<'_, Rows>) {
        let partial = self.merged(None, [older, newer].into_iter().flatten());
        if !self.grouping.is_empty(&partial) {
            self.finish(partial, window, emit);
        }
    }

    fn save(&self, sum: &Self::Sum, writer: &mut SliceWriter<'_>) -> Result<(), Error> {
        let groups = sum.as_ref().map_or(Ok(Vec::new()), |sum| self.grouping.save(sum))?;
        groups.into_iter().for_each(|(group, bytes)| writer.add_whole(group, &bytes));
        Ok(())
    }

    fn saved_parts(&self, partial: &G::Partial) -> usize {
        (self.grouping.len(partial) / PART).next_power_of_two().min(DEEP)
    }

    fn save_part(
        &self,
        partial: &mut G::Partial,
        part: usize,
        of: usize,
        writer: &mut SliceWriter<'_>,
    ) -> Result<(), Error> {
        let groups = DEEP / of;
        let [first, last] = [part * groups, (part + 1) * groups - 1].map(|group| KeyGroup(group as u8));
        let saved = self.grouping.save_some(partial, first..=last)?;
        saved.into_iter().for_each(|(group, bytes)| writer.add_whole(group, &bytes));
        Ok(())
    }

    fn load(&self, group: KeyGroup, saved: Rest<'_>) -> Result<Self::Sum, Error> {
        let sum = self.grouping.load(group, saved.bytes());
        Ok(Some(sum.map_err(|error| format!("the snapshot of {group:?} cannot be read: {error}"))?))
    }

    fn add(&self, partial: &mut G::Partial, sum: Self::Sum) {
        sum.iter().for_each(|sum| self.grouping.merge(partial, sum));
    }
}

impl<In: Record, P: Pipe<In, Out = Rows>, G: Grouping> WindowStage<In, P, Columns<G>> {
    /// What rows come to by `grouping` and window; results are merged in `parallelism` pieces (rounded up to a power of
    /// two, 256 at most).
    pub fn of_rows(pipe: P, windows: &impl Sliced, grouping: G, parallelism: usize) -> Self {
        let store = Columns { grouping, pieces: pieces_of(parallelism) };
        Self::over(pipe, (), windows.slicing(), store, parallelism)
    }
}

impl<I: Record, P: Pipe<I, Out = Rows>> Stream<I, P> {
    /// What rows come to by `grouping` and window, as soon as the watermark has passed the window's end; the event time of
    /// the result is the window's last moment. No row is sent to another kernel. Of a stream without event time only the
    /// [window](super::Global) that ends with the stream.
    ///
    /// # Panics
    /// When the stream has no event time, and windows end before the stream does.
    pub fn window_rows(self, name: &str, windows: impl Sliced, grouping: impl Grouping) -> Stream<Rows> {
        self.must_be_timed_for(&windows.slicing());
        let kept = Layout::of(name).sliced(&windows.slicing());
        self.stage(name, move |pipe, kernels| WindowStage::of_rows(pipe, &windows, grouping, pieces(kernels)))
            .keeps(kept)
    }
}
