//! [`EventSort`]: rows in the order of their time, as the watermark passes them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::{Result, internal_err};
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, Rows, Saved, Snapshot};

use super::super::held::Held;
use super::super::layout::{self, Described};
use super::super::order::SortColumn;
use super::super::own::{Own, settled};
use super::super::saved::Share;

/// ORDER BY a column of event time, then perhaps others: rows come out in order when no earlier one can come any more. All rows
/// must be dealt to one kernel: their hashes are 0.
#[derive(Clone)]
pub struct EventSort {
    schema: SchemaRef,
    time: usize,
    then: Arc<[SortColumn]>,
    share: Share,
    held: Own<Held>,
}

impl EventSort {
    /// Orders rows by column `time`, then by others.
    pub fn new(schema: SchemaRef, time: usize, then: impl Into<Arc<[SortColumn]>>) -> Self {
        Self { schema, time, then: then.into(), share: Share::default(), held: Own::default() }
    }

    fn held(&mut self) -> Result<&mut Held> {
        let (schema, time, then) = (&self.schema, self.time, &self.then);
        self.held.get(|| Held::new(schema.clone(), time, then))
    }

    fn take(&mut self, hashed: &Hashed) -> Result<()> {
        if hashed.rows.kinds().is_some() {
            return internal_err!("a sort by event time is of rows that are only inserted");
        }
        self.held()?.add(hashed)
    }
}

impl Described for EventSort {
    fn layout(&self) -> Layout {
        Layout::of("held rows")
            .table("rows", layout::rows(&self.schema, &[self.time]))
            .table("time", layout::keys(&self.schema, &[self.time]))
    }
}

impl Operator<Hashed> for EventSort {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Hashed>, _: &mut Outbox<'_, Rows>) {
        bundle.as_slice().iter().for_each(|hashed| settled(self.take(hashed)));
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        let released = settled(self.held().and_then(|held| held.release(punctuation.watermark)));
        if released.rows.num_rows() > 0 {
            out.emit(vec![released.rows.into()]);
        }
    }

    fn bytes(&self) -> usize {
        self.held.peek().map_or(0, Held::bytes)
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> std::result::Result<(), Error> {
        let share = self.share;
        self.held()?.save(0, share, snapshot)
    }

    fn load(&mut self, saved: Saved) -> std::result::Result<(), Error> {
        let share = self.share;
        self.held()?.load(share, &saved)
    }
}
