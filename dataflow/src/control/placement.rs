//! [`Placement`]: which kernel works for which driver of a stage. It changes between two epochs.
//!
//! What a driver of a keyed stage owns (a *shard*: the state and the timers of some key groups) is taken up by whoever works for it, so moving a
//! shard is naming another kernel. Epochs up to the one that the change rides on are worked on where they were, those after it where they are to
//! be: old and new placement are there side by side, and nobody waits for the others to change.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::versions::Versions;
use crate::time::Epoch;

/// The kernel of each driver.
pub(crate) struct Placement(ArcSwap<Versions<Arc<[usize]>>>);

impl Placement {
    /// As many drivers next to each other on each of so many kernels.
    pub(crate) fn even(drivers: usize, kernels: usize) -> Self {
        Self::new((0..drivers).map(|driver| driver * kernels / drivers).collect())
    }

    /// On these kernels.
    pub(crate) fn new(kernels: Arc<[usize]>) -> Self {
        Self(ArcSwap::from_pointee(Versions::new(kernels)))
    }

    /// Who works for a driver in `epoch`.
    #[inline]
    pub(crate) fn kernel(&self, epoch: Epoch, driver: usize) -> usize {
        self.0.load().at(epoch)[driver]
    }

    /// Who works for each driver in `epoch`.
    pub(crate) fn at(&self, epoch: Epoch) -> Arc<[usize]> {
        self.0.load().at(epoch).clone()
    }

    /// Who works for each driver from the newest change on.
    pub(crate) fn newest(&self) -> Arc<[usize]> {
        self.0.load().newest().clone()
    }

    /// Whether `kernel` works for `driver` from the newest change on.
    pub(crate) fn is_at(&self, kernel: usize, driver: usize) -> bool {
        self.0.load().newest()[driver] == kernel
    }

    /// Whether `kernel` works for any driver from the newest change on.
    pub(crate) fn has(&self, kernel: usize) -> bool {
        self.0.load().newest().contains(&kernel)
    }

    /// Has others work for the drivers in the epochs after `epoch`.
    pub(crate) fn set_after(&self, epoch: Epoch, kernels: Arc<[usize]>) {
        Versions::change(&self.0, Some(epoch), kernels);
    }

    /// All epochs up to `epoch` are complete.
    pub(crate) fn forget(&self, epoch: Epoch) {
        Versions::forget_in(&self.0, epoch);
    }
}

/// The drivers over the first so many kernels, as many on each (or one more): those that may stay where they are do.
pub(crate) fn spread(drivers: &[usize], kernels: usize) -> Vec<usize> {
    let (least, more) = (drivers.len() / kernels, drivers.len() % kernels);
    let mut counts = vec![0; kernels];
    drivers.iter().filter(|kernel| **kernel < kernels).for_each(|kernel| counts[*kernel] += 1);
    // Those that have the most may have one more.
    let mut by_count: Vec<_> = (0..kernels).collect();
    by_count.sort_by_key(|kernel| std::cmp::Reverse(counts[*kernel]));
    let mut room = vec![least; kernels];
    by_count[..more].iter().for_each(|kernel| room[*kernel] += 1);
    let mut stays = |kernel: &usize| {
        let has_room = room.get(*kernel).is_some_and(|room| *room > 0);
        if has_room {
            room[*kernel] -= 1;
        }
        has_room.then_some(*kernel)
    };
    let stay: Vec<_> = drivers.iter().map(&mut stays).collect();
    let free: Vec<_> = (0..kernels).flat_map(|kernel| std::iter::repeat_n(kernel, room[kernel])).collect();
    let mut free = free.into_iter();
    stay.into_iter().map(|kernel| kernel.or_else(|| free.next()).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn drivers_are_spread_evenly_and_few_move(
            drivers in proptest::collection::vec(0_usize..6, 1..40),
            kernels in 1_usize..6,
        ) {
            let spread = spread(&drivers, kernels);
            let count = |of: &[usize], kernel: usize| of.iter().filter(|other| **other == kernel).count();
            let counts: Vec<_> = (0..kernels).map(|kernel| count(&spread, kernel)).collect();
            prop_assert_eq!(spread.len(), drivers.len());
            prop_assert_eq!(counts.iter().sum::<usize>(), drivers.len());
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            // No more move than have to: where there are too few, as many as are missing; and those of which a kernel has too many.
            let mut before: Vec<_> = (0..kernels).map(|kernel| count(&drivers, kernel)).collect();
            before.sort_unstable_by(|one, other| other.cmp(one));
            let (least, more) = (drivers.len() / kernels, drivers.len() % kernels);
            let stay: usize =
                before.iter().enumerate().map(|(at, count)| (*count).min(least + usize::from(at < more))).sum();
            let moved = drivers.iter().zip(&spread).filter(|(was, is)| was != is).count();
            prop_assert_eq!(moved, drivers.len() - stay);
        }
    }
}
