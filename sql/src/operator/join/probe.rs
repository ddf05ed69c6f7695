//! Rows that flow by a store that does not change: what comes out is final, so nothing is taken back.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use updraft_dataflow::{Hashed, Rows};

use super::Input;
use super::condition::Pairs;
use super::log::{Log, NONE};
use super::plan::{Alone, Plan, or_end};
use super::regular::fields;
use super::search::{CHUNK, Search};
use super::shape::Draft;
use super::store::Store;

/// Joins rows of `input` with those of the store, of which each counts its partners where that matters.
pub(super) fn probe(plan: &Plan, input: Input, hashed: &Hashed, store: &mut Store<u32>, emit: &mut dyn FnMut(Rows)) {
    let rows = &hashed.rows;
    let log = Log::of(rows.batch());
    let exact = store.keys.is_exact();
    let mut search = search(plan, input, hashed, store);
    let mut alone = Single::new(plan.alone(input), rows.len());
    let mut pairs = Pairs::default();
    while !search.is_over() {
        pairs.clear();
        let (own, found) = fields(&mut pairs, input);
        search.fill(store, own, found, |_, _| true);
        if exact {
            plan.keep_filtered(input, &log, &store.log, &mut pairs);
        } else {
            plan.keep(input, &log, &store.log, &mut pairs);
        }
        let (own, found) = fields(&mut pairs, input);
        if plan.alone(input.other()) != Alone::Never {
            count(rows, own, found, store);
        }
        alone.count(own);
        if !plan.pairs() {
            own.clear();
            found.clear();
        }
        merge(own, found, &alone.told(search.row()));
        let kinds = rows.kinds().map(|kinds| own.iter().map(|row| kinds[*row as usize]).collect());
        plan.rows(input, &log, &store.log, &pairs, kinds).into_iter().for_each(&mut *emit);
        updraft_kernel::yield_point();
    }
}

/// Looks for rows by their keys, where the store knows these, or by their hashes.
fn search(plan: &Plan, input: Input, hashed: &Hashed, store: &Store<u32>) -> Search {
    let batch = hashed.rows.batch();
    match plan.number(input) {
        Some(column) if store.keys.is_exact() => {
            let numbers = or_end(cast(batch.column(column), &DataType::Int64));
            Search::exact(store, numbers.as_primitive())
        }
        _ => Search::new(store, &hashed.hashes, plan.matchable(input, batch).as_ref()),
    }
}

/// What of the store comes out by itself, when all rows have flown by. `input` is the store's.
pub(super) fn rest(plan: &Plan, input: Input, store: &Store<u32>, emit: &mut dyn FnMut(Rows)) {
    let alone = plan.alone(input);
    let told: Vec<u32> = store.numbers().filter(|row| alone.is_told(store.extras[*row as usize])).collect();
    let others = Log::new(plan.input(input.other()).clone());
    for rows in told.chunks(CHUNK) {
        let mut draft = Draft::default();
        rows.iter().for_each(|row| draft.own(*row, updraft_dataflow::RowKind::Insert));
        plan.draw(input, &store.log, &others, draft).into_iter().for_each(&mut *emit);
    }
}

/// Rows of a bundle by themselves.
struct Single {
    alone: Alone,
    /// Of each row, so far; none where nobody asks.
    partners: Vec<u32>,
    next: usize,
}

impl Single {
    fn new(alone: Alone, rows: usize) -> Self {
        Self { alone, partners: if alone == Alone::Never { Vec::new() } else { vec![0; rows] }, next: 0 }
    }

    fn count(&mut self, matched: &[u32]) {
        if !self.partners.is_empty() {
            matched.iter().for_each(|row| self.partners[*row as usize] += 1);
        }
    }

    /// Those before `end` that come out and have not yet.
    fn told(&mut self, end: usize) -> Vec<u32> {
        let rows = std::mem::replace(&mut self.next, end)..end;
        if self.alone == Alone::Never {
            return Vec::new();
        }
        rows.filter(|row| self.alone.is_told(self.partners[*row])).map(|row| row as u32).collect()
    }
}

/// The store's rows have partners that come or go.
fn count(rows: &Rows, own: &[u32], found: &[u32], store: &mut Store<u32>) {
    for (row, other) in own.iter().zip(found) {
        let count = store.extra_mut(*other);
        *count = if rows.kind(*row as usize).is_addition() { *count + 1 } else { count.saturating_sub(1) };
    }
}

/// Puts rows without partners among the pairs, in the order of rows.
fn merge(own: &mut Vec<u32>, found: &mut Vec<u32>, alone: &[u32]) {
    if alone.is_empty() {
        return;
    }
    let room = own.len() + alone.len();
    let pairs = std::mem::replace(own, Vec::with_capacity(room)).into_iter();
    let mut pairs = pairs.zip(std::mem::replace(found, Vec::with_capacity(room))).peekable();
    for row in alone {
        while let Some((before, other)) = pairs.next_if(|(other, _)| other < row) {
            own.push(before);
            found.push(other);
        }
        own.push(*row);
        found.push(NONE);
    }
    for (after, other) in pairs {
        own.push(after);
        found.push(other);
    }
}
