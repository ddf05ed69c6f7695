//! Results in the order of what they were made of: bundles of an epoch are worked on by several kernels at a time, and what
//! comes of them is given on in the order in which they came, whoever was faster.

use std::collections::BTreeMap;

use updraft_kernel::Account;

use crate::bundle::Bundle;
use crate::sync::{Mutex, lock};
use crate::time::Epoch;

/// See the module's page.
pub(crate) struct Ordered<T>(Mutex<BTreeMap<Epoch, Held<T>>>);

/// What waits for results of earlier bundles.
struct Held<T> {
    /// The bundle that is next.
    next: u64,
    results: BTreeMap<u64, Vec<Bundle<T>>>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Ordered<T> {
    /// Takes the results of bundle `number`, and gives those on that are next: of how many bundles.
    pub(crate) fn pass(
        &self,
        epoch: Epoch,
        number: u64,
        results: Vec<Bundle<T>>,
        account: &Account,
        mut give: impl FnMut(Bundle<T>),
    ) -> usize {
        let epochs = &mut *lock(&self.0);
        let held = epochs.entry(epoch).or_insert_with(|| Held { next: 0, results: BTreeMap::new() });
        let bytes = |results: &[Bundle<T>]| results.iter().map(Bundle::bytes).sum();
        if number > held.next {
            account.charge(bytes(&results));
            held.results.insert(number, results);
            return 0;
        }
        results.into_iter().for_each(&mut give);
        held.next += 1;
        let before = held.next;
        while let Some(results) = held.results.remove(&held.next) {
            account.release(bytes(&results));
            results.into_iter().for_each(&mut give);
            held.next += 1;
        }
        1 + (held.next - before) as usize
    }

    /// Bytes of what waits.
    pub(crate) fn bytes(&self) -> usize {
        let epochs = lock(&self.0);
        epochs.values().flat_map(|held| held.results.values().flatten()).map(Bundle::bytes).sum()
    }

    /// No bundle of the epoch is left.
    pub(crate) fn complete(&self, epoch: Epoch) {
        let held = lock(&self.0).remove(&epoch);
        debug_assert!(held.is_none_or(|held| held.results.is_empty()), "all bundles of a complete epoch were given on");
    }
}
