//! [`Deduplicate`]: the first or the last row of each key, as they come or by their time; as a changelog, or once when a
//! window has ended.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion_common::{Result, internal_err};
use serde::{Deserialize, Serialize};
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, RowKind, Rows, Saved, Snapshot, Time};

use super::changes::Changes;
use super::codec::columns_of;
use super::group_by::Tell;
use super::keys::{Id, Keys};
use super::layout::{self, Described};
use super::log::Log;
use super::own::{Own, settled};
use super::saved::{ByKey, Packed, Share, load, numbers, save};
use super::times::micros;
use super::touched::{Ends, Expiry, Touched};

/// Which row of a key is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The first one; of those of equal times, the one that came first.
    First,
    /// The last one; of those of equal times, the one that came last.
    Last,
}

/// What a [`Deduplicate`] is made of.
#[derive(Clone, Debug)]
pub struct Deduplication {
    /// What comes in, and out.
    pub schema: SchemaRef,
    /// The columns of the key.
    pub keys: Vec<usize>,
    /// Which row is kept.
    pub keep: Keep,
    /// The column of event time that rows are compared by; as they come, where it is `None`. Then the last row may also be
    /// deleted or updated; else rows only come.
    pub time: Option<usize>,
    /// For deduplication of windows, which column of the key is the window's end: then rows come out, inserted only, when
    /// the watermark has passed it.
    pub window_end: Option<usize>,
    /// When it tells of what has changed.
    pub tell: Tell,
    /// How long (of processing time) a key is remembered after its row was chosen; forever, where it is `None`.
    pub remember: Option<Duration>,
}

/// Deduplication.
#[derive(Clone)]
pub struct Deduplicate {
    plan: Arc<Deduplication>,
    share: Share,
    state: Own<State>,
}

struct State {
    plan: Arc<Deduplication>,
    keys: Keys,
    best: Vec<Best>,
    /// Rows that are kept and were not told yet, and those that were.
    new: Log,
    told: Log,
    touched: Touched,
    expiry: Expiry,
    ends: Ends,
}

/// What is known of a key.
#[derive(Clone, Copy, Default)]
struct Best {
    /// The time of the row that is kept.
    time: Option<i64>,
    /// Where that row is in the bundle that is being looked at.
    row: Option<u32>,
}

impl Deduplicate {
    /// An operator that keeps these rows.
    pub fn new(plan: Deduplication) -> Self {
        Self { plan: Arc::new(plan), share: Share::default(), state: Own::default() }
    }

    fn state(&mut self) -> Result<&mut State> {
        let plan = &self.plan;
        self.state.get(|| State::new(plan))
    }

    fn take(&mut self, hashed: &Hashed, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let plan = self.plan.clone();
        if hashed.rows.kinds().is_some() && (plan.time.is_some() || plan.keep == Keep::First) {
            return internal_err!(
                "rows are updated or deleted, but only the last row as they come can be told of such"
            );
        }
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
            out.emit(state.windows(punctuation.watermark)?);
            return Ok(());
        }
        if let Some(keep) = plan.remember {
            let expired = state.expiry.pass(punctuation.now, keep);
            state.forget(&expired)?;
        }
        if plan.tell != Tell::Last || punctuation.watermark == Time::MAX {
            out.emit(state.tell(&plan)?);
        }
        Ok(())
    }
}

impl Described for Deduplicate {
    fn layout(&self) -> Layout {
        let Deduplication { schema, keys, time, .. } = &*self.plan;
        let fixed: Vec<_> = keys.iter().copied().chain(*time).collect();
        Layout::of("deduplicate")
            .table("keys", layout::keys(schema, keys))
            .table("rows", layout::rows(schema, &fixed))
            .table("time", layout::keys(schema, &Vec::from_iter(*time)))
    }
}

impl Operator<Hashed> for Deduplicate {
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
    fn new(plan: &Arc<Deduplication>) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            keys: Keys::of(&plan.schema, &plan.keys)?,
            best: Vec::new(),
            new: Log::new(plan.schema.clone()),
            told: Log::new(plan.schema.clone()),
            touched: Touched::default(),
            expiry: Expiry::default(),
            ends: Ends::default(),
        })
    }

    fn absorb(&mut self, plan: &Deduplication, hashed: &Hashed) -> Result<()> {
        let batch = hashed.rows.batch();
        let ids = self.keys.intern(&columns_of(batch, &plan.keys), &hashed.hashes)?;
        self.best.resize(self.keys.bound(), Best::default());
        self.touched.add(&ids, self.keys.bound());
        if let Some(end) = plan.window_end {
            self.ends.add(&ids, &micros(batch.column(end))?);
        }
        let changed = self.choose(plan, &hashed.rows, &ids)?;
        if plan.remember.is_some() {
            self.expiry.touch(&changed.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        }
        let (put, gone): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|(_, row)| hashed.rows.kind(*row as usize).is_addition());
        let (ids, rows): (Vec<_>, Vec<_>) = put.into_iter().unzip();
        self.new.put(&ids, take_record_batch(batch, &UInt32Array::from(rows))?)?;
        gone.iter().for_each(|(id, _)| self.best[*id as usize].time = None);
        self.new.remove(gone.into_iter().map(|(id, _)| id))
    }

    /// The keys that have another row now, each with its number in the bundle.
    fn choose(&mut self, plan: &Deduplication, rows: &Rows, ids: &[Id]) -> Result<Vec<(Id, u32)>> {
        let times = plan.time.map(|time| micros(rows.batch().column(time))).transpose()?;
        let mut changed = Vec::new();
        for (row, id) in ids.iter().enumerate() {
            if rows.kind(row) == RowKind::UpdateBefore {
                continue;
            }
            let time = times.as_ref().map_or(0, |times| times[row]);
            let best = &mut self.best[*id as usize];
            let better = best.time.is_none_or(|before| match plan.keep {
                Keep::First => time < before,
                Keep::Last => time >= before,
            });
            if better {
                best.time = Some(time);
                if best.row.replace(row as u32).is_none() {
                    changed.push(*id);
                }
            }
        }
        Ok(changed.into_iter().filter_map(|id| Some((id, self.best[id as usize].row.take()?))).collect())
    }

    fn tell(&mut self, plan: &Deduplication) -> Result<Vec<Rows>> {
        let touched = self.touched.take();
        let changed: Vec<_> = touched.iter().copied().filter(|id| self.new.has(*id)).collect();
        let gone: Vec<_> = touched.into_iter().filter(|id| self.best[*id as usize].time.is_none()).collect();
        let known: Vec<_> = changed.iter().chain(&gone).copied().filter(|id| self.told.has(*id)).collect();
        let (new, old) = (self.new.gather(&changed)?, self.told.gather(&known)?);
        let (mut changes, mut at) = (Changes::default(), 0);
        for (row, id) in changed.iter().enumerate() {
            if self.told.has(*id) {
                changes.push(RowKind::UpdateBefore, 0, at);
                changes.push(RowKind::UpdateAfter, 1, row);
                at += 1;
            } else {
                changes.push(RowKind::Insert, 1, row);
            }
        }
        (at..known.len()).for_each(|row| changes.push(RowKind::Delete, 0, row));
        let rows = changes.rows(&[&old, &new])?;
        // The first row that came is never replaced: it need not be remembered.
        if plan.keep == Keep::Last || plan.time.is_some() {
            self.told.put(&changed, new)?;
        }
        self.new.remove(changed)?;
        self.forget(&gone)?;
        Ok(rows)
    }

    /// The rows of windows that are over.
    fn windows(&mut self, watermark: Time) -> Result<Vec<Rows>> {
        self.touched.take();
        let over = self.ends.pass(watermark);
        let here: Vec<_> = over.iter().copied().filter(|id| self.new.has(*id)).collect();
        let rows: RecordBatch = self.new.gather(&here)?;
        self.forget(&over)?;
        Ok(if here.is_empty() { Vec::new() } else { vec![rows.into()] })
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.new.bytes() + self.told.bytes() + self.best.len() * size_of::<Best>()
    }
}

/// What is kept of keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct Content {
    /// The time of the row that is kept, and when that was chosen.
    best: Packed,
    new: Packed,
    told: Packed,
}

impl ByKey for State {
    type Content = Content;

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    fn write(&mut self, ids: &[Id]) -> Result<Content> {
        let times = numbers(ids.iter().map(|id| self.best[*id as usize].time));
        let best = Packed::new(vec![times, self.expiry.pack(ids)], ids.len())?;
        Ok(Content { best, new: self.new.pack(ids)?, told: self.told.pack(ids)? })
    }

    fn read(&mut self, ids: &[Id], Content { best, new, told }: Content) -> Result<()> {
        self.best.resize(self.keys.bound(), Best::default());
        best.of_rows(ids.len())?;
        ids.iter().zip(best.numbers(0)?).for_each(|(id, time)| self.best[*id as usize].time = time);
        self.expiry.unpack(ids, best.numbers(1)?);
        self.new.unpack(ids, &new)?;
        self.told.unpack(ids, &told)?;
        if self.plan.tell == Tell::Last {
            self.touched.add(ids, self.keys.bound());
        }
        if let Some(end) = self.plan.window_end {
            self.ends.add(ids, &self.keys.micros(ids, &self.plan.keys, end)?);
        }
        Ok(())
    }

    fn forget(&mut self, ids: &[Id]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.new.remove(ids.iter().copied())?;
        self.told.remove(ids.iter().copied())?;
        for id in ids {
            self.best[*id as usize] = Best::default();
            self.keys.remove(*id);
        }
        Ok(())
    }
}
