//! The lookup join: each row of a stream with the rows that a table has when it comes. The table is kept whole.

use datafusion_common::JoinType;
use updraft_dataflow::join::Side;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, Rows, Saved, Snapshot, Time};

use super::held::Held;
use super::plan::Plan;
use super::probe::probe;
use super::regular::remember;
use super::store::Store;
use super::{Input, Joined};
use crate::operator::saved::{Share, load, save};

/// See the module's page.
///
/// The left input is the stream, the right one the table, which may insert, update and delete. What came out is not taken
/// back when the table changes.
#[derive(Clone, Debug)]
pub struct LookupJoin {
    pub(super) plan: Plan,
    table: Store<u32>,
    /// Rows that wait for the table to be complete; `None` where they don't, or no more.
    early: Option<Held>,
    share: Share,
}

/// The parts of what is saved.
const TABLE: u8 = 0;
const EARLY: u8 = 1;
/// Whether rows wait.
const WAITS: u8 = 2;

impl LookupJoin {
    /// Looks rows up in a table: `waits` until it has been read to its end, or finds what is there.
    ///
    /// # Errors
    /// When what was asked for does not fit the inputs, or is neither an inner nor a left join.
    pub fn new(joined: Joined, waits: bool) -> Result<Self, Error> {
        let plan = Plan::new(joined)?.only(&[JoinType::Inner, JoinType::Left], "a lookup join")?;
        let table = Store::new(plan.input(Input::Right).clone());
        Ok(Self { plan, table, early: waits.then(Held::default), share: Share::default() })
    }

    /// The table is complete.
    fn complete(&mut self, out: &mut Outbox<'_, Rows>) {
        for rows in self.early.take().map(|mut early| early.take()).unwrap_or_default() {
            self.look_up(&rows, out);
        }
    }

    fn look_up(&mut self, rows: &Hashed, out: &mut Outbox<'_, Rows>) {
        probe(&self.plan, Input::Left, rows, &mut self.table, &mut |rows| out.emit(vec![rows]));
    }

    fn change(&mut self, rows: &Hashed) {
        let matchable = self.plan.matchable(Input::Right, rows.rows.batch());
        remember(&mut self.table, rows, matchable.as_ref(), &vec![0; rows.rows.len()]);
    }
}

impl Operator<Side<Hashed, Hashed>> for LookupJoin {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Side<Hashed, Hashed>>, out: &mut Outbox<'_, Rows>) {
        self.table.is_loaded();
        for rows in bundle.into_vec() {
            match (rows, &mut self.early) {
                (Side::Right(rows), _) if rows.is_end() => self.complete(out),
                (Side::Left(rows), _) if rows.is_end() => {}
                (Side::Right(rows), _) => self.change(&rows),
                (Side::Left(rows), Some(early)) => early.push(rows),
                (Side::Left(rows), None) => self.look_up(&rows, out),
            }
        }
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        if punctuation.watermark == Time::MAX {
            self.complete(out);
        }
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.early.as_ref().map_or(0, Held::bytes)
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> Result<(), Error> {
        save(&mut self.table, TABLE, self.share, snapshot)?;
        if let Some(early) = &mut self.early {
            early.save(EARLY, self.share, snapshot)?;
        }
        snapshot.add_whole(self.share.groups(), &(WAITS, self.early.is_some())).map(drop)
    }

    fn load(&mut self, saved: Saved) -> Result<(), Error> {
        match (saved.read::<u8>()?, &mut self.early) {
            (TABLE, _) => load(&mut self.table, self.share, &saved),
            (EARLY, Some(early)) => early.load(self.plan.input(Input::Left), self.share, &saved),
            (WAITS, _) if !saved.read::<(u8, bool)>()?.1 => {
                self.early = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
