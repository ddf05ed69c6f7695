//! The regular join: of all rows that either input has at a time, while both insert, update and delete.
//!
//! Each row is remembered, with how many partners it has where rows come out by themselves: an outer join takes back the
//! row with nulls when a first partner comes, and gives it again when the last one goes; so do semi and anti joins.

use arrow::array::RecordBatch;
use arrow::buffer::NullBuffer;
use datafusion_common::JoinType;
use updraft_dataflow::join::Side;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, RowKind, Rows, Saved, Snapshot};

use super::condition::Pairs;
use super::log::Log;
use super::plan::{Alone, Plan, or_end};
use super::search::Search;
use super::shape::Draft;
use super::store::{Store, take_hashed};
use super::{Input, Joined};
use crate::operator::saved::{Share, load, save};

/// See the module's page.
///
/// An inner join gives a row the kind of the input's row that it comes of (`+U`, say); the others insert and delete.
/// That a row is deleted that never was inserted ends the job.
#[derive(Clone, Debug)]
pub struct RegularJoin {
    pub(super) plan: Plan,
    share: Share,
    left: Store<u32>,
    right: Store<u32>,
}

impl RegularJoin {
    /// Joins all rows.
    ///
    /// # Errors
    /// When what was asked for does not fit the inputs.
    pub fn new(joined: Joined) -> Result<Self, Error> {
        let plan = Plan::new(joined)?;
        let [left, right] = [Input::Left, Input::Right].map(|input| Store::new(plan.input(input).clone()));
        Ok(Self { plan, share: Share::default(), left, right })
    }

    /// Joins rows of one input with what is remembered of the other, and remembers them.
    fn rows(&mut self, input: Input, hashed: Hashed, emit: &mut dyn FnMut(Rows)) {
        let matchable = self.plan.matchable(input, hashed.rows.batch());
        let own = Log::of(hashed.rows.batch());
        let (mine, others) = match input {
            Input::Left => (&mut self.left, &mut self.right),
            Input::Right => (&mut self.right, &mut self.left),
        };
        let mut search = Search::new(others, &hashed.hashes, matchable.as_ref());
        let mut pairs = Pairs::default();
        let mut told = Told::new(&self.plan, input, &hashed.rows);
        while !search.is_over() {
            pairs.clear();
            let (rows, found) = fields(&mut pairs, input);
            search.fill(others, rows, found, |_, _| true);
            self.plan.keep(input, &own, &others.log, &mut pairs);
            let rows = if self.plan.kind == JoinType::Inner {
                let kinds = told.kinds(fields(&mut pairs, input).0);
                self.plan.rows(input, &own, &others.log, &pairs, kinds)
            } else {
                let (rows, found) = fields(&mut pairs, input);
                let draft = told.draft(rows, found, others, search.row());
                self.plan.draw(input, &own, &others.log, draft)
            };
            rows.into_iter().for_each(&mut *emit);
            updraft_kernel::yield_point();
        }
        remember(mine, &hashed, matchable.as_ref(), &told.partners);
    }
}

/// The numbers of pairs that are of `input`, and the others.
pub(super) fn fields(pairs: &mut Pairs, input: Input) -> (&mut Vec<u32>, &mut Vec<u32>) {
    match input {
        Input::Left => (&mut pairs.left, &mut pairs.right),
        Input::Right => (&mut pairs.right, &mut pairs.left),
    }
}

/// What rows of a bundle have to tell.
struct Told<'a> {
    rows: &'a Rows,
    own: Alone,
    other: Alone,
    pairs: bool,
    /// Of each row, how many were found so far.
    partners: Vec<u32>,
    /// The first row that is not told wholly.
    next: usize,
}

impl<'a> Told<'a> {
    fn new(plan: &Plan, input: Input, rows: &'a Rows) -> Self {
        let (own, other) = (plan.alone(input), plan.alone(input.other()));
        Self { rows, own, other, pairs: plan.pairs(), partners: vec![0; rows.len()], next: 0 }
    }

    /// Those of the rows that pairs are made of, unless all are inserted.
    fn kinds(&self, rows: &[u32]) -> Option<Vec<RowKind>> {
        let kinds = self.rows.kinds()?;
        Some(rows.iter().map(|row| kinds[*row as usize]).collect())
    }

    /// What is told of these pairs, and of the rows before `end`, whose pairs are known now. Pairs are in the order of rows.
    fn draft(&mut self, rows: &[u32], found: &[u32], others: &mut Store<u32>, end: usize) -> Draft {
        let mut draft = Draft::default();
        let mut pairs = rows.iter().zip(found).peekable();
        loop {
            while let Some((row, other)) = pairs.next_if(|(row, _)| **row as usize == self.next) {
                self.pair(*row, *other, others.extra_mut(*other), &mut draft);
            }
            if self.next == end {
                return draft;
            }
            self.alone(&mut draft);
            self.next += 1;
        }
    }

    /// One comes or goes with a partner, which has had so many up to now.
    fn pair(&mut self, row: u32, other: u32, count: &mut u32, draft: &mut Draft) {
        let comes = self.rows.kind(row as usize).is_addition();
        let before = *count;
        *count = if comes { before + 1 } else { before.saturating_sub(1) };
        let (was, is) = (self.other.is_told(before), self.other.is_told(*count));
        if was && !is {
            draft.other(other, RowKind::Delete);
        }
        if self.pairs {
            draft.pair(row, other, plain(comes));
        }
        if is && !was {
            draft.other(other, RowKind::Insert);
        }
        self.partners[row as usize] += 1;
    }

    /// The next row's pairs are known.
    fn alone(&mut self, draft: &mut Draft) {
        if self.own.is_told(self.partners[self.next]) {
            let kind = self.rows.kind(self.next);
            // A row of a semi or anti join is as it was.
            draft.own(self.next as u32, if self.pairs { plain(kind.is_addition()) } else { kind });
        }
    }
}

fn plain(comes: bool) -> RowKind {
    if comes { RowKind::Insert } else { RowKind::Delete }
}

/// Adds the rows that come, and removes those that go; what can never have a partner is not remembered.
pub(super) fn remember(store: &mut Store<u32>, hashed: &Hashed, matchable: Option<&NullBuffer>, partners: &[u32]) {
    let batch = hashed.rows.batch();
    if hashed.rows.kinds().is_none() && matchable.is_none() {
        return or_end(store.push(batch.clone(), &hashed.hashes, partners.iter().copied()));
    }
    let matchable = |row: u32| matchable.is_none_or(|matchable| matchable.is_valid(row as usize));
    let rows = (0..batch.num_rows() as u32).filter(|row| matchable(*row));
    let (come, go): (Vec<u32>, Vec<u32>) = rows.partition(|row| hashed.rows.kind(*row as usize).is_addition());
    add(store, batch, &hashed.hashes, &come, partners);
    if !go.is_empty() {
        let (gone, _) = or_end(take_hashed(batch, &hashed.hashes, &go));
        or_end(store.remove_equal(&gone));
        or_end(store.compact());
    }
}

fn add(store: &mut Store<u32>, batch: &RecordBatch, hashes: &[u64], rows: &[u32], partners: &[u32]) {
    if !rows.is_empty() {
        let (batch, hashes) = or_end(take_hashed(batch, hashes, rows));
        or_end(store.push(batch, &hashes, rows.iter().map(|row| partners[*row as usize])));
    }
}

/// The parts of what is saved.
pub(super) const LEFT: u8 = 0;
pub(super) const RIGHT: u8 = 1;

impl Operator<Side<Hashed, Hashed>> for RegularJoin {
    type Out = Rows;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Side<Hashed, Hashed>>, out: &mut Outbox<'_, Rows>) {
        for rows in bundle.into_vec() {
            let (input, rows) = Input::of(rows);
            if !rows.rows.is_empty() {
                self.left.is_loaded();
                self.right.is_loaded();
                self.rows(input, rows, &mut |rows| out.emit(vec![rows]));
            }
        }
    }

    fn bytes(&self) -> usize {
        self.left.bytes() + self.right.bytes()
    }

    const KEEPS: Keeps = Keeps::State;

    fn save(&mut self, snapshot: &mut Snapshot) -> Result<(), Error> {
        save(&mut self.left, LEFT, self.share, snapshot)?;
        save(&mut self.right, RIGHT, self.share, snapshot)
    }

    fn load(&mut self, saved: Saved) -> Result<(), Error> {
        let store = if saved.read::<u8>()? == LEFT { &mut self.left } else { &mut self.right };
        load(store, self.share, &saved)
    }
}
