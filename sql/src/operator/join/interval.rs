//! The interval join: of rows whose times are not too far apart. Both inputs only insert.
//!
//! Rows are remembered until the watermark tells that no partner can come any more. Those that have found none
//! come out then, where the kind of join wants them.

use std::time::Duration;

use datafusion_common::JoinType;
use updraft_dataflow::join::Side;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, RowKind, Rows, Saved, Snapshot, Time};

use super::condition::Pairs;
use super::due::Due;
use super::log::Log;
use super::plan::{Alone, Plan, or_end};
use super::regular::{LEFT, RIGHT, fields};
use super::saved::Extra;
use super::search::{CHUNK, Search};
use super::shape::Draft;
use super::store::{Store, take_hashed};
use super::times::TimeColumn;
use super::{Input, Joined};
use crate::operator::saved::{Share, load, save};

/// How far a left row's time may be from a right row's: from `lower` to `upper` microseconds after it (before it where they are
/// negative), both included. `l.ts > r.ts - INTERVAL '1' SECOND` is a `lower` of -999,999.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The least that the left time less the right one may be.
    pub lower: i64,
    /// The greatest that it may be.
    pub upper: i64,
}

impl Bounds {
    /// How long a row may have to wait for a partner that is later.
    fn reach(self, input: Input) -> i64 {
        match input {
            Input::Left => self.lower.saturating_neg(),
            Input::Right => self.upper,
        }
    }

    fn allow(self, left: i64, right: i64) -> bool {
        (self.lower..=self.upper).contains(&left.saturating_sub(right))
    }
}

/// What the time of a row is.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// What columns of the left input and of the right one say: timestamps.
    Event(usize, usize),
    /// When the epoch began in which it came: processing time.
    Processing,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct IntervalJoin {
    pub(super) plan: Plan,
    bounds: Bounds,
    /// Of the left input and of the right one; `None` for processing time.
    columns: Option<[TimeColumn; 2]>,
    left: Waiting,
    right: Waiting,
    /// No row will come whose time is less: the watermark; or the time of rows that come now, once that is known.
    now: i64,
    share: Share,
    /// Whether something was taken back, and nothing has come since.
    is_loading: bool,
}

/// The part of what is saved that is the time.
const NOW: u8 = 2;

/// Of a row that is remembered.
#[derive(Clone, Copy, Debug)]
struct Timed {
    time: i64,
    matched: bool,
}

impl Extra for Timed {
    fn numbers(self) -> [i64; 2] {
        [self.time, i64::from(self.matched)]
    }

    fn of([time, matched]: [i64; 2]) -> Self {
        Self { time, matched: matched != 0 }
    }
}

/// What is remembered of an input.
#[derive(Clone, Debug)]
struct Waiting {
    store: Store<Timed>,
    due: Due,
}

impl IntervalJoin {
    /// Joins rows within `bounds` of each other.
    ///
    /// # Errors
    /// When what was asked for does not fit the inputs, or a column of time is no timestamp.
    pub fn new(joined: Joined, clock: Clock, bounds: Bounds) -> Result<Self, Error> {
        let columns = match clock {
            Clock::Event(left, right) => {
                Some([TimeColumn::new(&joined.left, left)?, TimeColumn::new(&joined.right, right)?])
            }
            Clock::Processing => None,
        };
        let plan = Plan::new(joined)?;
        let span = bounds.upper.saturating_sub(bounds.lower);
        let waiting = |input| Waiting { store: Store::new(plan.input(input).clone()), due: Due::new(span) };
        let [left, right] = [Input::Left, Input::Right].map(waiting);
        let share = Share::default();
        Ok(Self { plan, bounds, columns, left, right, now: i64::MIN, share, is_loading: false })
    }

    fn times(&self, input: Input, rows: &Rows) -> Vec<i64> {
        if rows.kinds().is_some() {
            let remedy = "join it without bounds of time, or make it insert only";
            updraft_kernel::give_up(format!("an interval join's {input:?} input updates or deletes: {remedy}"));
        }
        match (self.columns, input) {
            (Some([column, _]), Input::Left) | (Some([_, column]), Input::Right) => column.of(rows.batch()),
            (None, _) => vec![self.now; rows.len()],
        }
    }

    fn rows(&mut self, input: Input, hashed: &Hashed, emit: &mut dyn FnMut(Rows)) {
        let times = self.times(input, &hashed.rows);
        let bounds = self.bounds;
        let allow = |own: i64, other: i64| {
            let (left, right) = input.order(own, other);
            bounds.allow(left, right)
        };
        let matchable = self.plan.matchable(input, hashed.rows.batch());
        let own = Log::of(hashed.rows.batch());
        let mut matched = vec![false; times.len()];
        let others = self.waiting(input.other());
        let mut search = Search::new(&others.store, &hashed.hashes, matchable.as_ref());
        while !search.is_over() {
            let others = &mut self.waiting(input.other()).store;
            let mut pairs = Pairs::default();
            let (rows, found) = fields(&mut pairs, input);
            search.fill(others, rows, found, |row, other| allow(times[row], other.time));
            let rows = self.pairs(input, &own, pairs, &mut matched);
            rows.into_iter().for_each(&mut *emit);
            updraft_kernel::yield_point();
        }
        let can_wait = |row: &u32| matchable.as_ref().is_none_or(|matchable| matchable.is_valid(*row as usize));
        let stays = |row: &u32| can_wait(row) && times[*row as usize].saturating_add(bounds.reach(input)) >= self.now;
        let (stay, over): (Vec<u32>, Vec<u32>) = (0..times.len() as u32).partition(stays);
        self.unmatched(input, &own, over.into_iter().filter(|row| !matched[*row as usize]), emit);
        let reach = bounds.reach(input);
        self.waiting(input).add(hashed, &stay, reach, |row| Timed { time: times[row], matched: matched[row] });
    }

    fn waiting(&mut self, input: Input) -> &mut Waiting {
        match input {
            Input::Left => &mut self.left,
            Input::Right => &mut self.right,
        }
    }

    /// What comes of pairs that are near enough to each other.
    fn pairs(&mut self, input: Input, own: &Log, mut pairs: Pairs, matched: &mut [bool]) -> Option<Rows> {
        let Self { plan, left, right, .. } = self;
        let others = if input == Input::Left { &mut right.store } else { &mut left.store };
        plan.keep(input, own, &others.log, &mut pairs);
        if plan.kind == JoinType::Inner {
            return plan.rows(input, own, &others.log, &pairs, None);
        }
        let (rows, found) = fields(&mut pairs, input);
        let new = |matched: &mut bool| !std::mem::replace(matched, true);
        let own_new: Vec<u32> = rows.iter().copied().filter(|row| new(&mut matched[*row as usize])).collect();
        let first = |row: &u32| {
            let is_first = !others.extras[*row as usize].matched;
            if is_first {
                others.extra_mut(*row).matched = true;
            }
            is_first
        };
        let other_new: Vec<u32> = found.iter().copied().filter(first).collect();
        if plan.pairs() {
            return plan.rows(input, own, &others.log, &pairs, None);
        }
        let mut draft = Draft::default();
        if plan.alone(input) == Alone::Matched {
            own_new.into_iter().for_each(|row| draft.own(row, RowKind::Insert));
        }
        if plan.alone(input.other()) == Alone::Matched {
            other_new.into_iter().for_each(|row| draft.other(row, RowKind::Insert));
        }
        plan.draw(input, own, &others.log, draft)
    }

    /// Rows that can find no partner any more, and have found none.
    fn unmatched(&self, input: Input, own: &Log, rows: impl Iterator<Item = u32>, emit: &mut dyn FnMut(Rows)) {
        if self.plan.alone(input) != Alone::Unmatched {
            return;
        }
        let others = Log::new(self.plan.input(input.other()).clone());
        let rows: Vec<u32> = rows.collect();
        for rows in rows.chunks(CHUNK) {
            let mut draft = Draft::default();
            rows.iter().for_each(|row| draft.own(*row, RowKind::Insert));
            self.plan.draw(input, own, &others, draft).into_iter().for_each(&mut *emit);
        }
    }

    /// Forgets the rows of an input that can find no partner any more.
    fn evict(&mut self, input: Input, emit: &mut dyn FnMut(Rows)) {
        let (now, reach) = (self.now, self.bounds.reach(input));
        let over = self.waiting(input).over(now, reach);
        let waiting = if input == Input::Left { &self.left } else { &self.right };
        let unmatched = over.iter().copied().filter(|row| !waiting.store.extras[*row as usize].matched);
        self.unmatched(input, &waiting.store.log, unmatched, emit);
        self.waiting(input).remove(&over, reach);
    }

    /// Rows of the first epoch came now, as far as is known.
    fn begin(&mut self, now: i64) {
        for input in [Input::Left, Input::Right] {
            let reach = self.bounds.reach(input);
            let waiting = self.waiting(input);
            (0..waiting.store.extras.len() as u32).for_each(|row| waiting.store.extra_mut(row).time = now);
            waiting.renumber(reach);
        }
    }
}

impl IntervalJoin {
    /// Something comes after what was taken back: that is all there is.
    fn settle(&mut self) {
        if !std::mem::replace(&mut self.is_loading, false) {
            return;
        }
        for input in [Input::Left, Input::Right] {
            let reach = self.bounds.reach(input);
            let waiting = self.waiting(input);
            waiting.store.is_loaded();
            waiting.renumber(reach);
        }
    }
}

impl Waiting {
    fn add(&mut self, hashed: &Hashed, rows: &[u32], reach: i64, extra: impl Fn(usize) -> Timed) {
        if rows.is_empty() {
            return;
        }
        let first = self.store.log.len();
        let (batch, hashes) = or_end(take_hashed(hashed.rows.batch(), &hashed.hashes, rows));
        or_end(self.store.push(batch, &hashes, rows.iter().map(|row| extra(*row as usize))));
        for row in first..self.store.log.len() {
            self.due.add(row as u32, self.store.extras[row].time.saturating_add(reach));
        }
    }

    /// The rows whose partners would have come before `now`.
    fn over(&mut self, now: i64, reach: i64) -> Vec<u32> {
        let extras = &self.store.extras;
        self.due.before(now, |row| extras[row as usize].time.saturating_add(reach))
    }

    fn remove(&mut self, rows: &[u32], reach: i64) {
        rows.iter().for_each(|row| self.store.remove(*row));
        if or_end(self.store.compact()).is_some() {
            self.renumber(reach);
        }
    }

    fn renumber(&mut self, reach: i64) {
        let store = &self.store;
        self.due.renumber(store.numbers().map(|row| (row, store.extras[row as usize].time.saturating_add(reach))));
    }
}

impl Operator<Side<Hashed, Hashed>> for IntervalJoin {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Side<Hashed, Hashed>>, out: &mut Outbox<'_, Rows>) {
        self.settle();
        for rows in bundle.into_vec() {
            let (input, rows) = Input::of(rows);
            if !rows.rows.is_empty() {
                self.rows(input, &rows, &mut |rows| out.emit(vec![rows]));
            }
        }
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        self.settle();
        let now = match (self.columns, punctuation.watermark) {
            (Some(_), watermark) => watermark,
            (None, Time::MAX) => Time::MAX,
            (None, _) => punctuation.now,
        };
        if self.columns.is_none() && self.now == i64::MIN {
            self.begin(now.0);
        }
        self.now = self.now.max(now.0);
        for input in [Input::Left, Input::Right] {
            self.evict(input, &mut |rows| out.emit(vec![rows]));
        }
    }

    /// What comes out has the times of both rows, of which the earlier one may be as far behind the watermark as it may wait.
    fn lag(&self) -> Duration {
        let reach = |input| self.bounds.reach(input);
        let lag = match self.plan.alone(Input::Left) {
            _ if self.columns.is_none() => 0,
            _ if self.plan.pairs() => reach(Input::Left).max(reach(Input::Right)),
            Alone::Never => reach(Input::Right),
            _ => reach(Input::Left),
        };
        Duration::from_micros(lag.max(0).unsigned_abs())
    }

    fn bytes(&self) -> usize {
        [&self.left, &self.right].iter().map(|waiting| waiting.store.bytes() + waiting.due.bytes()).sum()
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> Result<(), Error> {
        save(&mut self.left.store, LEFT, self.share, snapshot)?;
        save(&mut self.right.store, RIGHT, self.share, snapshot)?;
        snapshot.add_whole(self.share.groups(), &(NOW, self.now)).map(drop)
    }

    fn load(&mut self, saved: Saved) -> Result<(), Error> {
        self.is_loading = true;
        match saved.read::<u8>()? {
            LEFT => load(&mut self.left.store, self.share, &saved),
            RIGHT => load(&mut self.right.store, self.share, &saved),
            _ => {
                self.now = self.now.max(saved.read::<(u8, i64)>()?.1);
                Ok(())
            }
        }
    }
}
