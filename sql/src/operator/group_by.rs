//! [`GroupBy`]: GROUP BY without windows: what each group amounts to so far, as a changelog; or once, at the end.
//!
//! Rows are taken in as they come; what changed comes out at the end of the epoch, so that a group that many rows of an
//! epoch belong to changes once. How an aggregate is kept depends on it and on whether rows may go:
//! `plain` (numbers), `merged` (states), `distinct`, `extreme` (MIN and MAX), `replayed` (all else).

mod distinct;
mod extreme;
pub(super) mod merged;
mod plain;
mod replayed;
mod saved;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion_common::{Result, internal_err};
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, RowKind, Rows, Saved, Snapshot, Time};

use self::extreme::{Extreme, is_extreme};
use self::merged::{Input, Merged, Part, is_sum};
use self::replayed::Replayed;
use super::aggregate::{Aggregate, Groups};
use super::changes::Changes;
use super::codec::{Codec, Encoded, columns_of};
use super::keys::{Id, Keys};
use super::layout::{self, Described};
use super::log::Log;
use super::own::{Own, settled};
use super::saved::{ByKey, Packed, Share, load, save};
use super::touched::{Expiry, Touched};

/// When a [`GroupBy`] tells of what has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tell {
    /// At the end of each epoch.
    #[default]
    Epoch,
    /// After each bundle: sooner, and more often.
    Bundle,
    /// At the end of the input: each group once, inserted.
    Last,
}

/// What a [`GroupBy`] is made of.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// What comes in.
    pub input: SchemaRef,
    /// The columns that rows are grouped by. Where there are none, all rows are one group; then their hashes must be 0.
    pub keys: Vec<usize>,
    /// What is computed of each group.
    pub aggregates: Vec<Aggregate>,
    /// What comes out: the keys, then the aggregates.
    pub output: SchemaRef,
    /// Whether rows may go (be updated or deleted). Where they may not, less is kept.
    pub retracts: bool,
    /// When it tells of what has changed.
    pub tell: Tell,
    /// How long (of processing time) a group is kept that no row has come for; forever, where it is `None`.
    pub keep: Option<Duration>,
}

/// GROUP BY.
#[derive(Clone)]
pub struct GroupBy {
    plan: Arc<Grouping>,
    share: Share,
    state: Own<State>,
}

struct State {
    keys: Keys,
    merged: Merged,
    others: Vec<Other>,
    /// Where the column of each aggregate is: with those that are merged, or with the others.
    places: Vec<Kept>,
    /// Rows of each group.
    counts: Vec<i64>,
    /// What was told of each group.
    shown: Log,
    results: Codec,
    touched: Touched,
    waiting: Vec<Hashed>,
    rows: usize,
    waiting_bytes: usize,
    expiry: Expiry,
    seen: Vec<Id>,
}

#[derive(Clone, Copy)]
enum Kept {
    Merged(usize),
    Other(usize),
}

/// An aggregate that is not merged.
enum Other {
    Extreme(Extreme),
    Replayed(Replayed),
}

impl Other {
    fn absorb(&mut self, input: &Input<'_>) -> Result<()> {
        match self {
            Self::Extreme(other) => other.absorb(input),
            Self::Replayed(other) => other.absorb(input),
        }
    }

    fn results(&self, ids: &[Id]) -> Result<ArrayRef> {
        match self {
            Self::Extreme(other) => other.results(ids),
            Self::Replayed(other) => other.results(ids),
        }
    }

    fn pack(&self, ids: &[Id]) -> Result<Packed> {
        match self {
            Self::Extreme(other) => other.pack(ids),
            Self::Replayed(other) => other.pack(ids),
        }
    }

    fn unpack(&mut self, ids: &[Id], packed: &Packed) -> Result<()> {
        match self {
            Self::Extreme(other) => other.unpack(ids, packed),
            Self::Replayed(other) => other.unpack(ids, packed),
        }
    }

    fn forget(&mut self, ids: &[Id]) {
        match self {
            Self::Extreme(other) => other.forget(ids),
            Self::Replayed(other) => other.forget(ids),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Extreme(other) => other.bytes(),
            Self::Replayed(other) => other.bytes(),
        }
    }
}

/// How many rows are taken in at once, and given.
const ROWS: usize = 8192;

impl GroupBy {
    /// An operator that groups so.
    pub fn new(plan: Grouping) -> Self {
        Self { plan: Arc::new(plan), share: Share::default(), state: Own::default() }
    }

    fn state(&mut self) -> Result<&mut State> {
        let plan = &self.plan;
        self.state.get(|| State::new(plan))
    }

    fn take(&mut self, bundle: Bundle<Hashed>, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let plan = self.plan.clone();
        let state = self.state()?;
        for hashed in bundle.into_vec() {
            state.rows += hashed.rows.len();
            state.waiting_bytes += hashed.rows.bytes();
            state.waiting.push(hashed);
        }
        if state.rows >= ROWS || plan.tell == Tell::Bundle {
            state.absorb(&plan)?;
        }
        if plan.tell == Tell::Bundle {
            out.emit(state.tell(&plan)?);
        }
        Ok(())
    }

    fn end(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let (plan, owns_all) = (self.plan.clone(), self.share.is_first() && self.plan.keys.is_empty());
        let state = self.state()?;
        state.absorb(&plan)?;
        if let Some(keep) = plan.keep {
            let expired = state.expiry.pass(punctuation.now, keep);
            state.forget(&expired)?;
        }
        if plan.tell != Tell::Last {
            out.emit(state.tell(&plan)?);
        } else if punctuation.watermark == Time::MAX {
            state.last(&plan, owns_all, out)?;
        }
        Ok(())
    }
}

impl Described for GroupBy {
    fn layout(&self) -> Layout {
        let Grouping { input, keys, aggregates, output, retracts, .. } = &*self.plan;
        let kind = if *retracts { "group of changes" } else { "group" };
        let results = Vec::from_iter(keys.len()..output.fields().len());
        Layout::of(kind)
            .table("keys", layout::keys(input, keys))
            .table("values", layout::keys(output, &results))
            .table("states", layout::states(aggregates))
    }
}

impl Operator<Hashed> for GroupBy {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Hashed>, out: &mut Outbox<'_, Rows>) {
        settled(self.take(bundle, out));
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        settled(self.end(punctuation, out));
    }

    fn bytes(&self) -> usize {
        self.state.peek().map_or(0, State::bytes)
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
    fn new(plan: &Grouping) -> Result<Self> {
        let (mut parts, mut others, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for aggregate in &plan.aggregates {
            if !plan.retracts || is_sum(aggregate) {
                places.push(Kept::Merged(parts.len()));
                parts.push(Part::new(aggregate.clone(), &plan.input, plan.retracts)?);
                continue;
            }
            places.push(Kept::Other(others.len()));
            others.push(match is_extreme(aggregate) {
                true => Other::Extreme(Extreme::new(aggregate.clone(), &plan.input)?),
                false => Other::Replayed(Replayed::new(aggregate.clone(), &plan.input)?),
            });
        }
        let results: Vec<_> = (plan.keys.len()..plan.output.fields().len()).collect();
        Ok(Self {
            keys: Keys::of(&plan.input, &plan.keys)?,
            merged: Merged::new(parts)?,
            others,
            places,
            counts: Vec::new(),
            shown: Log::new(plan.output.clone()),
            results: Codec::of(&plan.output, &results)?,
            touched: Touched::default(),
            waiting: Vec::new(),
            rows: 0,
            waiting_bytes: 0,
            expiry: Expiry::default(),
            seen: Vec::new(),
        })
    }

    /// Takes in the rows that wait.
    fn absorb(&mut self, plan: &Grouping) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(());
        }
        let rows = concat_batches(&plan.input, waiting.iter().map(|hashed| hashed.rows.batch()))?;
        if !plan.retracts && waiting.iter().any(|hashed| hashed.rows.kinds().is_some()) {
            return internal_err!(
                "rows are updated or deleted, but the grouping was planned for such as are only inserted"
            );
        }
        let hashes: Vec<_> = waiting.iter().flat_map(|hashed| hashed.hashes.iter().copied()).collect();
        let weights: Vec<_> = waiting
            .iter()
            .flat_map(|hashed| (0..hashed.rows.len()).map(|row| hashed.rows.kind(row).weight()))
            .collect();
        let ids = self.keys.intern(&columns_of(&rows, &plan.keys), &hashes)?;
        self.add(&rows, &ids, plan.retracts.then_some(&weights))?;
        if plan.keep.is_some() {
            self.expiry.touch(&ids);
        }
        Ok(())
    }

    fn add(&mut self, rows: &RecordBatch, ids: &[Id], weights: Option<&Vec<i64>>) -> Result<()> {
        let bound = self.keys.bound();
        let groups = Groups::new(ids, &mut self.seen, bound);
        self.counts.resize(bound, 0);
        let weight = |row| weights.map_or(1, |weights: &Vec<i64>| weights[row]);
        ids.iter().enumerate().for_each(|(row, id)| self.counts[*id as usize] += weight(row));
        self.touched.add(&groups.ids, bound);
        let input = Input { rows, ids, weights: weights.map(Vec::as_slice) };
        self.merged.absorb(&input, || &groups)?;
        self.others.iter_mut().try_for_each(|other| other.absorb(&input))
    }

    /// What the groups are now.
    fn results(&self, plan: &Grouping, ids: &[Id]) -> Result<RecordBatch> {
        if ids.is_empty() {
            return Ok(RecordBatch::new_empty(plan.output.clone()));
        }
        let merged = self.merged.results(ids)?;
        let others = self.others.iter().map(|other| other.results(ids)).collect::<Result<Vec<_>>>()?;
        let results = self.places.iter().map(|place| match place {
            Kept::Merged(at) => merged[*at].clone(),
            Kept::Other(at) => others[*at].clone(),
        });
        let columns: Vec<_> = self.keys.columns(ids)?.into_iter().chain(results).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        Ok(RecordBatch::try_new_with_options(plan.output.clone(), columns, &options)?)
    }

    /// What has changed since it was last told.
    fn tell(&mut self, plan: &Grouping) -> Result<Vec<Rows>> {
        let touched = self.touched.take();
        let (live, gone): (Vec<_>, Vec<_>) = touched.into_iter().partition(|id| self.counts[*id as usize] > 0);
        let new = self.results(plan, &live)?;
        let known: Vec<_> = live.iter().chain(&gone).copied().filter(|id| self.shown.has(*id)).collect();
        let old = self.shown.gather(&known)?;
        let (before, after) = (self.encode(plan, &old)?, self.encode(plan, &new)?);
        let (mut changes, mut changed, mut at) = (Changes::default(), Vec::new(), 0);
        for (row, id) in live.iter().enumerate() {
            if !self.shown.has(*id) {
                changes.push(RowKind::Insert, 1, row);
                changed.push(row as u32);
                continue;
            }
            if before.row(at) != after.row(row) {
                changes.push(RowKind::UpdateBefore, 0, at);
                changes.push(RowKind::UpdateAfter, 1, row);
                changed.push(row as u32);
            }
            at += 1;
        }
        (at..known.len()).for_each(|row| changes.push(RowKind::Delete, 0, row));
        let rows = changes.rows(&[&old, &new])?;
        let ids: Vec<_> = changed.iter().map(|row| live[*row as usize]).collect();
        self.shown.put(&ids, take_record_batch(&new, &UInt32Array::from(changed))?)?;
        self.forget(&gone)?;
        Ok(rows)
    }

    fn encode(&self, plan: &Grouping, rows: &RecordBatch) -> Result<Encoded> {
        self.results.encode(&rows.columns()[plan.keys.len()..])
    }

    /// What all groups are at the end. All rows without keys are a group even if there are none.
    fn last(&mut self, plan: &Grouping, owns_all: bool, out: &mut Outbox<'_, Rows>) -> Result<()> {
        if owns_all {
            self.keys.intern(&[], &[0])?;
            let nothing = RecordBatch::new_empty(plan.input.clone());
            let groups = Groups { ids: vec![0], of: Vec::new() };
            let input = Input { rows: &nothing, ids: &[], weights: None };
            self.merged.absorb(&input, || groups)?;
            self.counts.resize(1, 0);
        }
        let ids: Vec<_> = self.keys.ids().filter(|id| owns_all || self.counts[*id as usize] > 0).collect();
        for ids in ids.chunks(ROWS) {
            out.emit(vec![self.results(plan, ids)?.into()]);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let others: usize = self.others.iter().map(Other::bytes).sum();
        let by_key = size_of::<i64>() + size_of::<bool>() + size_of::<Time>();
        self.keys.bytes()
            + self.merged.bytes()
            + others
            + self.shown.bytes()
            + self.waiting_bytes
            + self.counts.len() * by_key
    }
}
