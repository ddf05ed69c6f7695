//! [`Marks`]: the epochs that checkpoints are taken at the end of.

use std::collections::VecDeque;

use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::time::{Epoch, Generation};

/// See the module's page. An epoch is marked before anybody has closed it; by then nobody has begun the next one.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    marked: Mutex<Marked>,
    /// How many there ever were: most often nobody has to look further.
    count: AtomicU64,
}

#[derive(Debug, Default)]
struct Marked {
    /// Marks that were forgotten.
    before: u64,
    epochs: VecDeque<Epoch>,
}

impl Marks {
    pub(crate) fn mark(&self, epoch: Epoch) {
        let marked = &mut *lock(&self.marked);
        debug_assert!(marked.epochs.back().is_none_or(|last| *last < epoch), "epochs are marked in order, each once");
        marked.epochs.push_back(epoch);
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn is_without(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The generation that `epoch` writes to: how many marked epochs are before it.
    pub(crate) fn generation(&self, epoch: Epoch) -> Generation {
        if self.is_without() {
            return Generation(0);
        }
        let marked = lock(&self.marked);
        Generation(marked.before + marked.epochs.iter().take_while(|mark| **mark < epoch).count() as u64)
    }

    pub(crate) fn is_marked(&self, epoch: Epoch) -> bool {
        !self.is_without() && lock(&self.marked).epochs.contains(&epoch)
    }

    /// The first marked epoch from `epoch` on.
    pub(crate) fn next(&self, epoch: Epoch) -> Option<Epoch> {
        if self.is_without() {
            return None;
        }
        lock(&self.marked).epochs.iter().find(|mark| **mark >= epoch).copied()
    }

    /// Epochs up to `epoch` are complete everywhere: nobody will ask for them.
    pub(crate) fn forget(&self, epoch: Epoch) {
        let marked = &mut *lock(&self.marked);
        while marked.epochs.pop_front_if(|mark| *mark <= epoch).is_some() {
            marked.before += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_counted_from_the_beginning() {
        let marks = Marks::default();
        assert_eq!((marks.generation(Epoch(9)), marks.next(Epoch(0))), (Generation(0), None));
        [2, 3, 7].into_iter().for_each(|epoch| marks.mark(Epoch(epoch)));
        let generations = |epochs: [u64; 5]| epochs.map(|epoch| marks.generation(Epoch(epoch)).0);
        assert_eq!(generations([2, 3, 4, 7, 8]), [0, 1, 2, 2, 3]);
        assert_eq!(
            [0, 3, 4, 8].map(|epoch| marks.next(Epoch(epoch)).map(|epoch| epoch.0)),
            [Some(2), Some(3), Some(7), None]
        );
        marks.forget(Epoch(3));
        assert_eq!(generations([4, 5, 7, 8, 9]), [2, 2, 2, 3, 3]);
        assert!(!marks.is_marked(Epoch(3)) && marks.is_marked(Epoch(7)));
    }
}
