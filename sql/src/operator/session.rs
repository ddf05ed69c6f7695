//! [`Sessions`]: windows of rows of a key that follow each other without a gap; each with its aggregates, or with its rows.
//!
//! As in Flink a session is from its first row to `gap` after its last, and sessions that overlap or touch are one: two rows
//! exactly `gap` apart are of one session. It is over when no row can come any more that would touch it.

mod saved;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion_common::{Result, internal_err};
use smallvec::SmallVec;
use updraft_dataflow::checkpoint::{Column, Layout};
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, Rows, Saved, Snapshot, Time};
use updraft_kernel::prefetch;

use super::aggregate::{Aggregate, Groups};
use super::codec::{Codec, columns_of};
use super::group_by::merged::{Input, Merged, Part};
use super::keys::{Id, Keys};
use super::layout::{self, Described};
use super::own::{Own, settled};
use super::saved::{Share, load, save};
use super::times::{micros, timestamps};

/// What comes out of a session.
#[derive(Clone, Debug)]
pub enum Gives {
    /// A row: the keys, `window_start`, `window_end`, `window_time`, and these.
    Aggregates(Vec<Aggregate>),
    /// All its rows, each with `window_start`, `window_end` and `window_time` behind its own columns.
    Rows,
}

/// What [`Sessions`] are made of.
#[derive(Clone, Debug)]
pub struct SessionPlan {
    /// What comes in: rows that are only inserted.
    pub input: SchemaRef,
    /// The columns of the key. Where there are none, the rows' hashes must be 0.
    pub keys: Vec<usize>,
    /// The column of event time.
    pub time: usize,
    /// How long nothing comes when a session ends.
    pub gap: Duration,
    /// What comes out of each.
    pub gives: Gives,
    /// Its columns.
    pub output: SchemaRef,
}

/// Session windows.
#[derive(Clone)]
pub struct Sessions {
    plan: Arc<SessionPlan>,
    share: Share,
    state: Own<State>,
}

struct State {
    gap: i64,
    keys: Keys,
    /// By key.
    open: Vec<Open>,
    /// Keys whose first session ends in this part of time or after it: when that is over, they are looked at again.
    looks: BTreeMap<i64, Vec<Id>>,
    /// Microseconds of such a part.
    width: i64,
    seen: Vec<Id>,
    contents: Contents,
    /// How many batches have come.
    batches: u32,
    /// Numbers of sessions that are free.
    free: Vec<Id>,
    sessions: Id,
}

/// The sessions of a key that are not over.
#[derive(Default)]
struct Open {
    /// In order; most often one.
    sessions: SmallVec<[Session; 1]>,
    /// The part of time that is to be over when the key is looked at.
    look: Option<i64>,
}

#[derive(Clone, Copy)]
struct Session {
    first: i64,
    last: i64,
    id: Id,
    /// The batch in which its first row came.
    since: u32,
}

impl Open {
    /// The session that a row is of, where it can be but one: nearly always.
    #[inline]
    fn extend(&mut self, time: i64, gap: i64) -> Option<Id> {
        let [one] = &mut self.sessions[..] else { return None };
        one.touches(time, gap).then(|| {
            (one.first, one.last) = (one.first.min(time), one.last.max(time));
            one.id
        })
    }
}

impl Session {
    #[inline]
    fn touches(&self, time: i64, gap: i64) -> bool {
        time <= self.last.saturating_add(gap) && self.first <= time.saturating_add(gap)
    }
}

/// Sessions of which a row of a batch has made one, in this order.
#[derive(Default)]
struct Joined(Vec<Join>);

struct Join {
    from: Id,
    into: Id,
    /// Whether rows of batches before are in it, which are to be folded into the other's; then there are such in both.
    is_stored: bool,
}

impl Joined {
    /// Calls sessions by those that they are part of in the end.
    fn rename(&mut self, sessions: &mut [Id]) {
        if self.0.is_empty() {
            return;
        }
        let mut ends = HashMap::new();
        for join in self.0.iter_mut().rev() {
            join.into = ends.get(&join.into).copied().unwrap_or(join.into);
            ends.insert(join.from, join.into);
        }
        sessions.iter_mut().for_each(|id| *id = ends.get(id).copied().unwrap_or(*id));
    }
}

/// How many rows before its turn a key is asked for: it may be far away in memory.
const AHEAD: usize = 8;

/// In how many parts a gap is divided, by which keys are looked at whose sessions may be over.
const PARTS: i64 = 8;

/// What sessions are made of.
enum Contents {
    States(Merged),
    Rows { whole: Codec, rows: Vec<Vec<Box<[u8]>>>, bytes: usize },
}

impl Sessions {
    /// An operator that gathers these.
    pub fn new(plan: SessionPlan) -> Self {
        Self { plan: Arc::new(plan), share: Share::default(), state: Own::default() }
    }

    fn state(&mut self) -> Result<&mut State> {
        let plan = &self.plan;
        self.state.get(|| State::new(plan))
    }

    fn take(&mut self, hashed: &Hashed) -> Result<()> {
        let plan = self.plan.clone();
        if hashed.rows.kinds().is_some() {
            return internal_err!("sessions are of rows that are only inserted");
        }
        self.state()?.absorb(&plan, hashed)
    }

    fn close(&mut self, watermark: Time, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let plan = self.plan.clone();
        let state = self.state()?;
        let over = state.over(watermark);
        if !over.is_empty() {
            out.emit(vec![state.rows(&plan, &over)?.into()]);
            state.close(&over)?;
        }
        Ok(())
    }
}

impl Described for Sessions {
    fn layout(&self) -> Layout {
        let SessionPlan { input, keys, gap, gives, .. } = &*self.plan;
        let layout = Layout::of("session").table("keys", layout::keys(input, keys));
        let layout = match gives {
            Gives::Aggregates(aggregates) => layout.table("states", layout::states(aggregates)),
            Gives::Rows => layout.table("rows", layout::all(input)),
        };
        layout.table("gap", [Column::new("gap", format!("{gap:?}"))])
    }
}

impl Operator<Hashed> for Sessions {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Hashed>, _: &mut Outbox<'_, Rows>) {
        bundle.as_slice().iter().for_each(|hashed| settled(self.take(hashed)));
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        settled(self.close(punctuation.watermark, out));
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
    fn new(plan: &SessionPlan) -> Result<Self> {
        let contents = match &plan.gives {
            Gives::Aggregates(aggregates) => {
                Contents::States(Merged::new(aggregates.iter().cloned().map(Part::plain).collect())?)
            }
            Gives::Rows => Contents::Rows { whole: Codec::whole(&plan.input)?, rows: Vec::new(), bytes: 0 },
        };
        let gap = i64::try_from(plan.gap.as_micros()).unwrap_or(i64::MAX);
        Ok(Self {
            gap,
            width: (gap / PARTS).max(1),
            seen: Vec::new(),
            keys: Keys::of(&plan.input, &plan.keys)?,
            open: Vec::new(),
            looks: BTreeMap::new(),
            contents,
            batches: 0,
            free: Vec::new(),
            sessions: 0,
        })
    }

    fn absorb(&mut self, plan: &SessionPlan, hashed: &Hashed) -> Result<()> {
        let batch = hashed.rows.batch();
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let times = micros(batch.column(plan.time))?;
        let keys = self.keys.intern(&columns_of(batch, &plan.keys), &hashed.hashes)?;
        self.open.resize_with(self.keys.bound(), Open::default);
        self.batches = self.batches.wrapping_add(1);
        let mut joined = Joined::default();
        let of_row = |(row, (key, time)): (usize, (&Id, &i64))| {
            if let Some(later) = keys.get(row + AHEAD) {
                prefetch(&self.open, *later as usize);
            }
            match self.open[*key as usize].extend(*time, self.gap) {
                Some(session) => session,
                None => self.fit_in(*key, *time, &mut joined),
            }
        };
        let mut sessions: Vec<_> = keys.iter().zip(&times).enumerate().map(of_row).collect();
        joined.rename(&mut sessions);
        let stored: Vec<_> = joined.0.iter().filter(|join| join.is_stored).map(|join| (join.from, join.into)).collect();
        self.contents.fold(&stored)?;
        self.contents.add(batch, &sessions, self.sessions, &mut self.seen)?;
        self.free.extend(joined.0.iter().map(|join| join.from));
        Ok(())
    }

    /// The session that a row is of, which may be a new one, or one that was several.
    fn fit_in(&mut self, key: Id, time: i64, joined: &mut Joined) -> Id {
        let gap = self.gap;
        let Open { sessions: open, look } = &mut self.open[key as usize];
        let from = open.partition_point(|one| one.last.saturating_add(gap) < time);
        let to = from + open[from..].iter().take_while(|one| one.touches(time, gap)).count();
        // What was there before stays: what is new is but the number of rows that are not added yet.
        let stays = open[from..to].iter().position(|one| one.since != self.batches).unwrap_or_default();
        let touched: SmallVec<[Session; 2]> = open.drain(from..to).collect();
        let (id, since) = match touched.get(stays) {
            Some(session) => (session.id, session.since),
            None => {
                let new = self.free.pop().unwrap_or(self.sessions);
                self.sessions = self.sessions.max(new + 1);
                (new, self.batches)
            }
        };
        let others = touched.iter().enumerate().filter(|(at, _)| *at != stays);
        joined.0.extend(others.map(|(_, other)| Join {
            from: other.id,
            into: id,
            is_stored: other.since != self.batches,
        }));
        let first = touched.first().map_or(time, |one| one.first.min(time));
        let last = touched.last().map_or(time, |one| one.last.max(time));
        open.insert(from, Session { first, last, id, since });
        let part = open[0].last.div_euclid(self.width);
        if look.is_none_or(|look| part < look) {
            *look = Some(part);
            self.looks.entry(part).or_default().push(key);
        }
        id
    }

    /// Sessions that no row can touch any more, with their keys; they are open no more.
    fn over(&mut self, watermark: Time) -> Vec<(Id, Session)> {
        let (gap, width, mut over) = (self.gap, self.width, Vec::new());
        let is_over = |last: i64| watermark == Time::MAX || last.saturating_add(gap) < watermark.0;
        while let Some(entry) = self.looks.first_entry().filter(|entry| is_over(entry.key().saturating_mul(width))) {
            let (part, mut keys) = entry.remove_entry();
            keys.retain(|key| {
                let Open { sessions, look } = &mut self.open[*key as usize];
                if *look != Some(part) {
                    // It is looked at earlier than was thought once.
                    return false;
                }
                let ended = sessions.iter().take_while(|session| is_over(session.last)).count();
                over.extend(sessions.drain(..ended).map(|session| (*key, session)));
                *look = sessions.first().map(|first| first.last.div_euclid(width));
                if let Some(next) = look.filter(|next| *next != part) {
                    self.looks.entry(next).or_default().push(*key);
                }
                *look == Some(part)
            });
            if !keys.is_empty() {
                // The watermark is within this part.
                self.looks.insert(part, keys);
                break;
            }
        }
        over.sort_by_key(|(key, session)| (session.last, *key));
        over
    }

    fn rows(&self, plan: &SessionPlan, over: &[(Id, Session)]) -> Result<RecordBatch> {
        let keys: Vec<_> = over.iter().map(|(key, _)| *key).collect();
        let sessions: Vec<_> = over.iter().map(|(_, session)| *session).collect();
        let columns = match &self.contents {
            Contents::States(states) => {
                let ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
                let mut columns = self.keys.columns(&keys)?;
                columns.extend(self.window(plan, &sessions, columns.len())?);
                columns.extend(states.results(&ids)?);
                columns
            }
            Contents::Rows { whole, rows, .. } => {
                let of = |session: &Session| &rows[session.id as usize];
                let each: Vec<_> = sessions.iter().flat_map(|s| std::iter::repeat_n(*s, of(s).len())).collect();
                let mut columns = whole.decode(sessions.iter().flat_map(of).map(|row| &**row))?;
                columns.extend(self.window(plan, &each, columns.len())?);
                columns
            }
        };
        Ok(RecordBatch::try_new(plan.output.clone(), columns)?)
    }

    /// `window_start`, `window_end` and `window_time` (a millisecond before the end) of each session.
    fn window(&self, plan: &SessionPlan, sessions: &[Session], at: usize) -> Result<Vec<ArrayRef>> {
        let end = |session: &Session| session.last.saturating_add(self.gap);
        let of = |at: usize, micros: &dyn Fn(&Session) -> i64| {
            timestamps(sessions.iter().map(micros), plan.output.field(at).data_type())
        };
        Ok(vec![of(at, &|session| session.first)?, of(at + 1, &end)?, of(at + 2, &|session| end(session) - 1_000)?])
    }

    /// Forgets sessions that are over, and keys that have no others.
    fn close(&mut self, over: &[(Id, Session)]) -> Result<()> {
        let ids: Vec<_> = over.iter().map(|(_, session)| session.id).collect();
        self.contents.forget(&ids)?;
        self.free.extend(ids);
        for (key, _) in over {
            match self.open[*key as usize].sessions.is_empty() {
                true => self.keys.remove(*key),
                false => self.keys.touch(*key),
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let contents = match &self.contents {
            Contents::States(states) => states.bytes(),
            Contents::Rows { bytes, .. } => *bytes,
        };
        let by_session = size_of::<Session>() + size_of::<(i64, Id)>();
        self.keys.bytes() + contents + self.sessions as usize * by_session + self.open.len() * size_of::<Open>()
    }
}

impl Contents {
    fn add(&mut self, batch: &RecordBatch, sessions: &[Id], bound: Id, seen: &mut Vec<Id>) -> Result<()> {
        match self {
            Self::States(states) => {
                let input = Input { rows: batch, ids: sessions, weights: None };
                states.absorb(&input, || Groups::new(sessions, seen, bound as usize))
            }
            Self::Rows { whole, rows, bytes } => {
                rows.resize_with(bound as usize, Vec::new);
                let encoded = whole.encode(batch.columns())?;
                for (row, id) in sessions.iter().enumerate() {
                    *bytes += bytes_of(encoded.row(row));
                    rows[*id as usize].push(encoded.row(row).into());
                }
                Ok(())
            }
        }
    }

    fn fold(&mut self, folds: &[(Id, Id)]) -> Result<()> {
        match self {
            Self::States(states) => {
                let (from, into): (Vec<_>, Vec<_>) = folds.iter().copied().unzip();
                states.fold(&from, &into)
            }
            Self::Rows { rows, .. } => {
                for (from, into) in folds {
                    let moved = rows.get_mut(*from as usize).map(std::mem::take).unwrap_or_default();
                    rows[*into as usize].extend(moved);
                }
                Ok(())
            }
        }
    }

    fn forget(&mut self, ids: &[Id]) -> Result<()> {
        match self {
            Self::States(states) => states.forget(ids),
            Self::Rows { rows, bytes, .. } => {
                for id in ids {
                    *bytes -= std::mem::take(&mut rows[*id as usize]).iter().map(|row| bytes_of(row)).sum::<usize>();
                }
                Ok(())
            }
        }
    }
}

fn bytes_of(row: &[u8]) -> usize {
    row.len() + size_of::<Box<[u8]>>()
}
