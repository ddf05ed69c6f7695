//! The sink of the demo: remembers the newest window.

use std::sync::{Arc, Mutex, PoisonError};

use updraft::dataflow::Error;
use updraft::prelude::*;

/// An item, and its bids in a window.
pub(super) type Hot = Windowed<u64, u64>;

/// The newest window's items, best first.
#[derive(Clone, Default)]
pub(super) struct Board(Arc<Mutex<Latest>>);

#[derive(Default)]
struct Latest {
    items: Vec<Hot>,
    /// How many windows have come.
    windows: u64,
}

impl Board {
    /// The newest window's items, and how many windows have come.
    pub(super) fn latest(&self) -> (Vec<Hot>, u64) {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (latest.items.clone(), latest.windows)
    }
}

impl Sink<Windowed<(), Vec<Hot>>> for Board {
    async fn write(&mut self, bundle: Bundle<Windowed<(), Vec<Hot>>>) -> Result<(), Error> {
        let latest = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for row in bundle.into_vec() {
            latest.items = row.value;
            latest.windows += 1;
        }
        Ok(())
    }
}
