//! [`Versions`]: a value that changes between two epochs.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use updraft_kernel::context;

use crate::time::Epoch;

/// A value, and what it was before: whoever works on an epoch gets the value of that epoch, also where later ones are worked on already.
#[derive(Clone, Debug)]
pub(crate) struct Versions<T> {
    /// By the last epoch that it is not for, in order; the first one is for all before the next. Never empty.
    values: VecDeque<(Option<Epoch>, T)>,
}

impl<T: Default> Default for Versions<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Versions<T> {
    /// The same in all epochs.
    pub(crate) fn new(value: T) -> Self {
        Self { values: VecDeque::from([(None, value)]) }
    }

    /// What it is in `epoch`.
    pub(crate) fn at(&self, epoch: Epoch) -> &T {
        let newer = self.values.partition_point(|(after, _)| after.is_none_or(|after| after < epoch));
        // The first one is for what is before it, too.
        &self.values[newer.max(1) - 1].1
    }

    /// What it is here: in an operator in the epoch that it works on, anywhere else from now on.
    #[inline]
    pub(crate) fn here(&self) -> &T {
        match context::epoch() {
            Some(epoch) if !self.is_one() => self.at(Epoch(epoch)),
            _ => self.newest(),
        }
    }

    /// What it is from now on.
    pub(crate) fn newest(&self) -> &T {
        &self.values[self.values.len() - 1].1
    }

    /// Whether it is the same in all epochs that are asked for.
    pub(crate) fn is_one(&self) -> bool {
        self.values.len() == 1
    }

    /// Has another value in the epochs after `epoch`, which is no earlier than the last one that was named.
    pub(crate) fn set_after(&mut self, epoch: Epoch, value: T) {
        debug_assert!(self.values.back().is_some_and(|(after, _)| after.is_none_or(|after| after <= epoch)));
        self.values.push_back((Some(epoch), value));
    }

    /// Nobody will ask what it was in `epoch`, or before.
    pub(crate) fn forget(&mut self, epoch: Epoch) {
        let past = self.values.partition_point(|(after, _)| after.is_none_or(|after| after <= epoch));
        // The last one of them is for the epoch after it.
        self.values.drain(..past.max(1) - 1);
    }
}

impl<T: Clone> Versions<T> {
    /// Has another value, which readers see without a lock, in the epochs after `epoch`; in all, if it is none.
    pub(crate) fn change(shared: &ArcSwap<Self>, epoch: Option<Epoch>, value: T) {
        let values = match epoch {
            Some(epoch) => {
                let mut values = Self::clone(&shared.load());
                values.set_after(epoch, value);
                values
            }
            None => Self::new(value),
        };
        shared.store(Arc::new(values));
    }

    /// [`forget`](Self::forget), where readers see it without a lock.
    pub(crate) fn forget_in(shared: &ArcSwap<Self>, epoch: Epoch) {
        let values = shared.load();
        if !values.is_one() {
            let mut values = Self::clone(&values);
            values.forget(epoch);
            shared.store(Arc::new(values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_depends_on_the_epoch() {
        let mut versions = Versions::new(0);
        versions.set_after(Epoch(3), 30);
        versions.set_after(Epoch(5), 50);
        let at = |versions: &Versions<_>| [3, 4, 5, 6, 9].map(|epoch| *versions.at(Epoch(epoch)));
        assert_eq!((at(&versions), *versions.newest()), ([0, 30, 30, 50, 50], 50));
        versions.forget(Epoch(4));
        assert_eq!(at(&versions), [30, 30, 30, 50, 50]);
        versions.forget(Epoch(9));
        assert_eq!(at(&versions), [50; 5]);
        assert!(versions.is_one());
    }
}
