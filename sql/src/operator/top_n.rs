//! [`TopN`]: the first rows of each partition in some order, by their rank, as a changelog; or once, when a window has ended.
//!
//! Where rows may go, all are kept, so that the next one can take their place; where they only come, no more than can be
//! shown are.

mod saved;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion_common::{Result, internal_err};
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, RowKind, Rows, Saved, Snapshot, Time};

use super::codec::{Codec, columns_of};
use super::group_by::Tell;
use super::keys::{Id, Keys};
use super::layout::{self, Described};
use super::order::{Order, SortColumn};
use super::own::{Own, settled};
use super::saved::{Share, load, save};
use super::times::micros;
use super::touched::{Ends, Expiry, Touched};

/// How rows that are equal in what they are ordered by are ranked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rank {
    /// ROW_NUMBER(): one after the other, as they have come.
    #[default]
    RowNumber,
    /// RANK(): equally; the next one has as many more.
    Rank,
    /// DENSE_RANK(): equally; the next one has one more.
    DenseRank,
}

/// What a [`TopN`] is made of.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// What comes in.
    pub input: SchemaRef,
    /// The columns of PARTITION BY. Where there are none, the rows' hashes must be 0.
    pub partition: Vec<usize>,
    /// The columns of ORDER BY; as rows come, where there are none.
    pub order: Vec<SortColumn>,
    /// Which rank it is.
    pub rank: Rank,
    /// The ranks that are given, from 1.
    pub ranks: RangeInclusive<u64>,
    /// Whether the rank comes out too, as the last column (BIGINT).
    pub numbered: bool,
    /// What comes out: the columns of the input, and the rank if it does.
    pub output: SchemaRef,
    /// Whether rows may go (be updated or deleted).
    pub retracts: bool,
    /// For Top-N of windows, which column of the partition is the window's end: then rows come out, inserted only, when the
    /// watermark has passed it.
    pub window_end: Option<usize>,
    /// When it tells of what has changed.
    pub tell: Tell,
    /// How long (of processing time) a partition is kept that no row has come for; forever, where it is `None`.
    pub keep: Option<Duration>,
}

/// Top-N.
#[derive(Clone)]
pub struct TopN {
    plan: Arc<Ranking>,
    share: Share,
    state: Own<State>,
}

struct State {
    plan: Arc<Ranking>,
    keys: Keys,
    order: Order,
    whole: Codec,
    tops: Vec<Top>,
    touched: Touched,
    expiry: Expiry,
    ends: Ends,
    arrived: u64,
    bytes: usize,
}

/// Where a row is: what it is ordered by, and when it came.
type Place = (Box<[u8]>, u64);

/// A partition.
#[derive(Default)]
struct Top {
    rows: BTreeMap<Place, Arc<[u8]>>,
    shown: Vec<Shown>,
    /// Where rows only come: what is behind this can't be shown any more.
    bound: Option<Place>,
    /// How many rows that left.
    kept: usize,
}

#[derive(Clone, PartialEq, Eq)]
struct Shown {
    arrived: u64,
    rank: u64,
    row: Arc<[u8]>,
}

/// Rows that may be kept though they can't be shown, until someone looks.
const SLACK: usize = 1024;

impl TopN {
    /// An operator that ranks so.
    pub fn new(plan: Ranking) -> Self {
        Self { plan: Arc::new(plan), share: Share::default(), state: Own::default() }
    }

    fn state(&mut self) -> Result<&mut State> {
        let plan = &self.plan;
        self.state.get(|| State::new(plan))
    }

    fn take(&mut self, hashed: &Hashed, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let plan = self.plan.clone();
        let state = self.state()?;
        state.absorb(&plan, hashed)?;
        if plan.tell == Tell::Bundle && plan.window_end.is_none() {
            out.emit(state.tell(&plan)?);
        }
        Ok(())
    }

    fn end(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let plan = self.plan.clone();
        let state = self.state()?;
        if plan.window_end.is_some() {
            out.emit(state.windows(&plan, punctuation.watermark)?);
            return Ok(());
        }
        if let Some(keep) = plan.keep {
            let expired = state.expiry.pass(punctuation.now, keep);
            expired.into_iter().for_each(|id| state.drop_key(id));
        }
        if plan.tell != Tell::Last || punctuation.watermark == Time::MAX {
            out.emit(state.tell(&plan)?);
        }
        Ok(())
    }
}

impl Described for TopN {
    fn layout(&self) -> Layout {
        let Ranking { input, partition, order, .. } = &*self.plan;
        Layout::of("rank")
            .table("keys", layout::keys(input, partition))
            .table("rows", layout::all(input))
            .table("order", layout::order(input, order))
    }
}

impl Operator<Hashed> for TopN {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Hashed>, out: &mut Outbox<'_, Rows>) {
        bundle.as_slice().iter().for_each(|hashed| settled(self.take(hashed, out)));
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        settled(self.end(punctuation, out));
    }

    fn bytes(&self) -> usize {
        self.state.peek().map_or(0, |state| state.keys.bytes() + state.bytes + state.tops.len() * size_of::<Top>())
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> std::result::Result<(), Error> {
        let share = self.share;
        save(self.state()?, 0, share, snapshot)
    }

    fn load(&mut self, saved: Saved) -> std::result::Result<(), Error> {
        let share = self.share;
        load(self.state()?, share, &saved)
    }
}

impl State {
    fn new(plan: &Arc<Ranking>) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            keys: Keys::of(&plan.input, &plan.partition)?,
            order: Order::new(&plan.input, &plan.order)?,
            whole: Codec::whole(&plan.input)?,
            tops: Vec::new(),
            touched: Touched::default(),
            expiry: Expiry::default(),
            ends: Ends::default(),
            arrived: 0,
            bytes: 0,
        })
    }

    fn absorb(&mut self, plan: &Ranking, hashed: &Hashed) -> Result<()> {
        if !plan.retracts && hashed.rows.kinds().is_some() {
            return internal_err!(
                "rows are updated or deleted, but the ranking was planned for such as are only inserted"
            );
        }
        let batch = hashed.rows.batch();
        let ids = self.keys.intern(&columns_of(batch, &plan.partition), &hashed.hashes)?;
        self.tops.resize_with(self.keys.bound(), Top::default);
        self.touched.add(&ids, self.keys.bound());
        if plan.keep.is_some() {
            self.expiry.touch(&ids);
        }
        if let Some(end) = plan.window_end {
            self.ends.add(&ids, &micros(batch.column(end))?);
        }
        let (order, whole) = (self.order.encode(batch)?, self.whole.encode(batch.columns())?);
        for (row, id) in ids.iter().enumerate() {
            let top = &mut self.tops[*id as usize];
            match hashed.rows.kind(row).is_addition() {
                true => self.bytes += top.come((order.row(row).into(), self.arrived), whole.row(row)),
                false => self.bytes -= top.go(order.row(row), whole.row(row)),
            }
            self.arrived += 1;
            if !plan.retracts && top.rows.len() > 2 * top.kept + SLACK {
                self.bytes -= top.prune(plan);
            }
        }
        Ok(())
    }

    fn tell(&mut self, plan: &Ranking) -> Result<Vec<Rows>> {
        let mut changes = Vec::new();
        for id in self.touched.take() {
            let top = &mut self.tops[id as usize];
            if !plan.retracts {
                self.bytes -= top.prune(plan);
            }
            let shown = top.to_show(plan);
            let before = std::mem::replace(&mut top.shown, shown);
            self.bytes += top.shown.len() * size_of::<Shown>();
            self.bytes -= before.len() * size_of::<Shown>();
            match plan.numbered {
                true => by_rank(&before, &top.shown, &mut changes),
                false => by_row(&before, &top.shown, &mut changes),
            }
            if top.rows.is_empty() && top.shown.is_empty() {
                self.keys.remove(id);
            }
        }
        self.rows(plan, changes)
    }

    /// What windows that are over have to show.
    fn windows(&mut self, plan: &Ranking, watermark: Time) -> Result<Vec<Rows>> {
        self.touched.take();
        let mut changes = Vec::new();
        for id in self.ends.pass(watermark) {
            let shown = self.tops[id as usize].to_show(plan);
            changes.extend(shown.into_iter().map(|shown| (RowKind::Insert, shown)));
            self.drop_key(id);
        }
        self.rows(plan, changes)
    }

    fn drop_key(&mut self, id: Id) {
        let top = std::mem::take(&mut self.tops[id as usize]);
        self.bytes -= top.rows.iter().map(|(place, row)| bytes_of(place, row)).sum::<usize>();
        self.bytes -= top.shown.len() * size_of::<Shown>();
        self.keys.remove(id);
    }

    fn rows(&self, plan: &Ranking, changes: Vec<(RowKind, Shown)>) -> Result<Vec<Rows>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns = self.whole.decode(changes.iter().map(|(_, shown)| &*shown.row))?;
        if plan.numbered {
            let ranks: Int64Array = changes.iter().map(|(_, shown)| Some(shown.rank as i64)).collect();
            columns.push(Arc::new(ranks) as ArrayRef);
        }
        let kinds: Vec<_> = changes.iter().map(|(kind, _)| *kind).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(kinds.len()));
        Ok(vec![Rows::changes(RecordBatch::try_new_with_options(plan.output.clone(), columns, &options)?, kinds)])
    }
}

impl Top {
    /// A row comes; gives the bytes that this takes.
    fn come(&mut self, place: Place, row: &[u8]) -> usize {
        if self.bound.as_ref().is_some_and(|bound| place > *bound) {
            return 0;
        }
        let bytes = bytes_of(&place, row);
        self.rows.insert(place, row.into());
        bytes
    }

    /// A row goes, the first of several that are equal; gives the bytes that this frees. One that is not there has been
    /// forgotten: it goes no more.
    fn go(&mut self, order: &[u8], row: &[u8]) -> usize {
        let of_order = (order.into(), 0)..=(order.into(), u64::MAX);
        let place = self.rows.range(of_order).find(|(_, other)| ***other == *row).map(|(place, _)| place.clone());
        place.map_or(0, |place| {
            self.rows.remove(&place);
            bytes_of(&place, row)
        })
    }

    /// The rows whose rank is not behind the last one that is asked for, in order.
    fn ranked(&self, plan: &Ranking) -> impl Iterator<Item = Shown> {
        let (mut rank, mut dense, mut before) = (0, 0, None);
        let ranked = self.rows.iter().enumerate().map(move |(at, ((order, arrived), row))| {
            if before != Some(order) {
                (rank, dense, before) = (at as u64 + 1, dense + 1, Some(order));
            }
            let rank = match plan.rank {
                Rank::RowNumber => at as u64 + 1,
                Rank::Rank => rank,
                Rank::DenseRank => dense,
            };
            Shown { arrived: *arrived, rank, row: row.clone() }
        });
        let last = *plan.ranks.end();
        ranked.take_while(move |shown| shown.rank <= last)
    }

    /// The rows that are asked for.
    fn to_show(&self, plan: &Ranking) -> Vec<Shown> {
        self.ranked(plan).filter(|shown| plan.ranks.contains(&shown.rank)).collect()
    }

    /// Drops rows that can't be shown any more, where they only come; gives the bytes that this frees.
    fn prune(&mut self, plan: &Ranking) -> usize {
        let kept = self.ranked(plan).count();
        self.kept = kept;
        let Some(first) = self.rows.keys().nth(kept).cloned() else { return 0 };
        // A row that is equal to the last one is behind it: only if ranks are shared does it matter.
        self.bound = self.rows.keys().nth(kept.wrapping_sub(1)).map(|(order, arrived)| match plan.rank {
            Rank::RowNumber => (order.clone(), *arrived),
            Rank::Rank | Rank::DenseRank => (order.clone(), u64::MAX),
        });
        let gone = self.rows.split_off(&first);
        gone.iter().map(|(place, row)| bytes_of(place, row)).sum()
    }
}

/// With ranks: what is at each place, in turn.
fn by_rank(before: &[Shown], after: &[Shown], changes: &mut Vec<(RowKind, Shown)>) {
    for at in 0..before.len().max(after.len()) {
        match (before.get(at), after.get(at)) {
            (Some(old), Some(new)) if old.rank == new.rank && old.row == new.row => {}
            (Some(old), Some(new)) => {
                changes.push((RowKind::UpdateBefore, old.clone()));
                changes.push((RowKind::UpdateAfter, new.clone()));
            }
            (Some(old), None) => changes.push((RowKind::Delete, old.clone())),
            (None, new) => changes.extend(new.map(|new| (RowKind::Insert, new.clone()))),
        }
    }
}

/// Without: which rows are there.
fn by_row(before: &[Shown], after: &[Shown], changes: &mut Vec<(RowKind, Shown)>) {
    let arrivals = |shown: &[Shown]| shown.iter().map(|shown| shown.arrived).collect::<HashSet<_>>();
    let (old, new) = (arrivals(before), arrivals(after));
    let gone = before.iter().filter(|shown| !new.contains(&shown.arrived));
    let come = after.iter().filter(|shown| !old.contains(&shown.arrived));
    changes.extend(gone.map(|shown| (RowKind::Delete, shown.clone())));
    changes.extend(come.map(|shown| (RowKind::Insert, shown.clone())));
}

fn bytes_of(place: &Place, row: &[u8]) -> usize {
    place.0.len() + row.len() + size_of::<(Place, Arc<[u8]>)>()
}
