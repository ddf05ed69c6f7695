//! The hash join: one input is read to its end and kept, the other flows by. For inputs that end, and for streams that are
//! enriched from an input that does.
//!
//! Nothing is taken back: rows that come too early are held until the input that is kept has ended. That it has is told by
//! [`Hashed::end`], or by the end of both.

use updraft_dataflow::join::Side;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, Rows, Saved, Snapshot, Time};

use super::held::Held;
use super::plan::{Plan, or_end};
use super::probe::{probe, rest};
use super::regular::remember;
use super::store::Store;
use super::{Input, Joined};
use crate::gate::Gate;
use crate::operator::saved::{Share, load, save};

/// See the module's page.
///
/// Rows of the input that flows by may update and delete: what comes out is of their kind. Rows of the input that is kept come
/// out by themselves (as those of an outer join do) when both have ended.
#[derive(Clone, Debug)]
pub struct HashJoin {
    pub(super) plan: Plan,
    build: Input,
    loading: Held,
    /// Rows that have come too early.
    early: Held,
    /// Once it is complete.
    store: Option<Store<u32>>,
    /// Where those wait who read the other input.
    gate: Option<Gate>,
    share: Share,
    /// Whether something of the store was taken back, and nothing has come since.
    is_loading: bool,
}

/// The parts of what is saved.
const LOADING: u8 = 0;
const EARLY: u8 = 1;
const STORE: u8 = 2;
/// Whether the input that is kept is complete.
const COMPLETE: u8 = 3;

impl HashJoin {
    /// Joins both, of which `build` is kept: the smaller one.
    ///
    /// # Errors
    /// When what was asked for does not fit the inputs.
    pub fn new(joined: Joined, build: Input) -> Result<Self, Error> {
        let plan = Plan::new(joined)?;
        Ok(Self {
            plan,
            build,
            loading: Held::default(),
            early: Held::default(),
            store: None,
            gate: None,
            share: Share::default(),
            is_loading: false,
        })
    }

    /// Opens a gate as soon as the input that is kept has ended, on any kernel.
    #[must_use]
    pub fn opens(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// The input that is kept.
    pub(super) fn keeps(&self) -> Input {
        self.build
    }

    fn open_gate(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.open();
        }
    }

    /// Something comes after what was taken back: that is all there is.
    fn settle(&mut self) {
        if let (true, Some(store)) = (std::mem::replace(&mut self.is_loading, false), &mut self.store) {
            or_end(store.is_complete(self.plan.number(self.build)));
        }
    }

    /// The input that is kept has ended.
    fn complete(&mut self, out: &mut Outbox<'_, Rows>) {
        self.open_gate();
        if self.store.is_none() {
            let mut store = build(&self.plan, self.build, &self.loading.take());
            for rows in self.early.take() {
                probe(&self.plan, self.build.other(), &rows, &mut store, &mut |rows| out.emit(vec![rows]));
            }
            self.store = Some(store);
        }
    }
}

/// A store of all rows of an input; those without partners at its end, where they matter.
pub(super) fn build(plan: &Plan, input: Input, rows: &[Hashed]) -> Store<u32> {
    let schema = plan.input(input).clone();
    if rows.iter().all(|rows| rows.rows.kinds().is_none()) {
        return or_end(Store::load(schema, rows, plan.number(input), 0));
    }
    let mut store = Store::new(schema);
    for rows in rows {
        // One that can have no partner is kept, too: it may have to come out by itself.
        remember(&mut store, rows, None, &vec![0; rows.rows.len()]);
    }
    store
}

impl Operator<Side<Hashed, Hashed>> for HashJoin {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Side<Hashed, Hashed>>, out: &mut Outbox<'_, Rows>) {
        self.settle();
        for rows in bundle.into_vec() {
            let (input, rows) = Input::of(rows);
            match &mut self.store {
                _ if rows.is_end() && input == self.build => self.complete(out),
                _ if rows.is_end() => {}
                None if input == self.build => self.loading.push(rows),
                None => self.early.push(rows),
                Some(store) => probe(&self.plan, input, &rows, store, &mut |rows| out.emit(vec![rows])),
            }
        }
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        self.settle();
        if punctuation.watermark == Time::MAX {
            self.complete(out);
            if let Some(store) = self.store.take() {
                rest(&self.plan, self.build, &store, &mut |rows| out.emit(vec![rows]));
            }
            // Epochs that still follow have no rows.
            self.store = Some(Store::new(self.plan.input(self.build).clone()));
        }
    }

    fn bytes(&self) -> usize {
        self.loading.bytes() + self.early.bytes() + self.store.as_ref().map_or(0, Store::bytes)
    }

    /// Rows that were saved while they were held are written once more with the store that they are in when the input is
    /// complete.
    fn save(&mut self, snapshot: &mut Snapshot) -> Result<(), Error> {
        self.loading.save(LOADING, self.share, snapshot)?;
        self.early.save(EARLY, self.share, snapshot)?;
        if let Some(store) = &mut self.store {
            save(store, STORE, self.share, snapshot)?;
        }
        snapshot.add_whole(self.share.groups(), &(COMPLETE, self.store.is_some())).map(drop)
    }

    fn load(&mut self, saved: Saved) -> Result<(), Error> {
        let kept = self.plan.input(self.build).clone();
        match saved.read::<u8>()? {
            LOADING => self.loading.load(&kept, self.share, &saved),
            EARLY => self.early.load(self.plan.input(self.build.other()), self.share, &saved),
            part => {
                let is_complete = part == STORE || saved.read::<(u8, bool)>()?.1;
                if is_complete {
                    self.open_gate();
                    self.is_loading = true;
                    let store = self.store.get_or_insert_with(|| Store::new(kept));
                    return if part == STORE { load(store, self.share, &saved) } else { Ok(()) };
                }
                Ok(())
            }
        }
    }
}
