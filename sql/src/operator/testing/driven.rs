//! [`Driven`]: an operator that is driven epoch by epoch, and between them saved, and begun anew from what was saved on another
//! number of kernels. The tests of joins use it, too.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;
use updraft_dataflow::keyed::Dealt;
use updraft_dataflow::operator::{Operator, OperatorStage};
use updraft_dataflow::{Bundle, Generation, Keeps, Object, Punctuation, Saved, Snapshot, Stage, Time};

/// On how many kernels an operator runs, and what is done after each epoch.
#[derive(Clone, Debug)]
pub(crate) struct Kernels {
    first: usize,
    then: Vec<Then>,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Save,
    Restart(usize),
}

impl From<usize> for Kernels {
    /// As many, and nothing is saved.
    fn from(first: usize) -> Self {
        Self { first, then: Vec::new() }
    }
}

impl Kernels {
    /// As many, saved after each epoch.
    #[allow(dead_code, reason = "the tests of joins have no use for it")]
    pub(crate) fn saving(first: usize) -> Self {
        Self { first, then: vec![Then::Save; 200] }
    }

    /// Others after each epoch.
    #[allow(dead_code, reason = "the tests of joins have no use for it")]
    pub(crate) fn restarting() -> Self {
        Self { first: 2, then: (0..12).map(|epoch| Then::Restart(epoch % 4 + 1)).collect() }
    }
}

/// One to three at first, later up to four; after most epochs the state is saved.
pub(crate) fn kernels() -> impl Strategy<Value = Kernels> {
    let then = prop_oneof![1 => Just(Then::Nothing), 2 => Just(Then::Save), 1 => (1usize..5).prop_map(Then::Restart)];
    (1usize..4, prop::collection::vec(then, 30)).prop_map(|(first, then)| Kernels { first, then })
}

/// Snapshots, as whoever drives a stage stores them.
#[derive(Default)]
struct Stored {
    next: Arc<AtomicU64>,
    objects: BTreeMap<Object, Vec<Saved>>,
    /// Bytes that were ever written.
    written: usize,
}

impl Stored {
    /// Stores what is new, and lets go of what the newest snapshot is not made of.
    fn save<S: Stage>(&mut self, stage: &S, instances: &[S::Local]) {
        assert_eq!(S::KEEPS, Keeps::State);
        let mut kept = BTreeSet::new();
        for driver in 0..instances.len() {
            let mut snapshot = Snapshot::new(self.next.clone());
            stage.snapshot(instances, driver, Generation(0), &mut snapshot).unwrap();
            for saved in snapshot.saved {
                assert!(
                    snapshot.objects.contains(&saved.object),
                    "a record of an object that is not part of the state"
                );
                self.written += saved.bytes.len();
                self.objects.entry(saved.object).or_default().push(saved);
            }
            kept.extend(snapshot.objects);
        }
        assert!(kept.iter().all(|object| self.objects.contains_key(object)), "what is kept was saved");
        self.objects.retain(|object, _| kept.contains(object));
    }

    fn restore<S: Stage>(&self, stage: &S, instances: &[S::Local], at: Punctuation) {
        stage.restore(instances, at, &mut self.objects.values().flatten().cloned().map(Ok)).unwrap();
    }
}

/// See the module's page.
pub(crate) struct Driven<T: Dealt, O: Operator<T>> {
    operator: O,
    stage: OperatorStage<T, O>,
    instances: Vec<<OperatorStage<T, O> as Stage>::Local>,
    then: std::vec::IntoIter<Then>,
    stored: Stored,
}

impl<T: Dealt, O: Operator<T>> Driven<T, O> {
    pub(crate) fn new(operator: O, kernels: impl Into<Kernels>) -> Self {
        let Kernels { first, then } = kernels.into();
        let (stage, instances) = begin(&operator, first);
        Self { operator, stage, instances, then: then.into_iter(), stored: Stored::default() }
    }

    /// Deals a record out.
    pub(crate) fn bundle(&self, record: T) -> Vec<O::Out> {
        let mut out = Vec::new();
        record.deal(self.instances.len(), &mut |owner, record| self.give(owner, record, &mut out));
        out
    }

    /// Gives a record to all instances.
    #[allow(dead_code, reason = "operators of one input have no use for it")]
    pub(crate) fn all(&self, record: &T) -> Vec<O::Out> {
        let mut out = Vec::new();
        (0..self.instances.len()).for_each(|owner| self.give(owner, record.clone(), &mut out));
        out
    }

    fn give(&self, owner: usize, record: T, out: &mut Vec<O::Out>) {
        let bundle = Bundle::from(vec![record]);
        self.stage.bundle(&self.instances[owner], Generation(0), bundle, &mut |bundle| out.extend(bundle.into_vec()));
    }

    /// Closes an epoch; then perhaps the operator is saved, and perhaps begun anew.
    pub(crate) fn end(&mut self, punctuation: Punctuation) -> Vec<O::Out> {
        let mut out = Vec::new();
        for end in self.stage.seal(&self.instances, punctuation) {
            let owner = self.stage.owner(&end).unwrap();
            self.stage.part(&self.instances[owner], end, &mut |bundle| out.extend(bundle.into_vec()));
        }
        match self.then.next().filter(|_| punctuation.watermark < Time::MAX) {
            None | Some(Then::Nothing) => {}
            Some(Then::Save) => self.stored.save(&self.stage, &self.instances),
            Some(Then::Restart(kernels)) => {
                self.stored.save(&self.stage, &self.instances);
                (self.stage, self.instances) = begin(&self.operator, kernels);
                self.stored.restore(&self.stage, &self.instances, punctuation);
            }
        }
        out
    }

    /// How far the stages after it have come.
    #[allow(dead_code, reason = "operators of one input give no times")]
    pub(crate) fn watermark(&self, punctuation: Punctuation) -> Time {
        self.stage.watermark(punctuation)
    }

    /// Bytes that were ever written.
    #[allow(dead_code, reason = "the tests of joins have no use for it")]
    pub(crate) fn written(&self) -> usize {
        self.stored.written
    }

    pub(crate) fn bytes(&self) -> usize {
        self.stage.state_bytes()
    }
}

type Running<T, O> = (OperatorStage<T, O>, Vec<<OperatorStage<T, O> as Stage>::Local>);

fn begin<T: Dealt, O: Operator<T>>(operator: &O, kernels: usize) -> Running<T, O> {
    let stage = OperatorStage::new(operator.clone(), kernels);
    let instances = (0..kernels).map(|kernel| stage.local(kernel)).collect();
    (stage, instances)
}
