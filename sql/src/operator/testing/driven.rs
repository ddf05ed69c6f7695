//! [`Driven`]: an operator that is driven epoch by epoch, and between them saved, and begun anew from what was saved on another
//! number of kernels. The tests of joins use it, too.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use updraft_dataflow::keyed::Dealt;
use updraft_dataflow::operator::{Operator, OperatorStage};
use updraft_dataflow::testing::Stored;
use updraft_dataflow::{Bundle, Generation, Keeps, Punctuation, Stage, Time};

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

/// See the module's page.
pub(crate) struct Driven<T: Dealt, O: Operator<T>> {
    operator: O,
    stage: OperatorStage<T, O>,
    instances: Vec<<OperatorStage<T, O> as Stage>::Local>,
    then: std::vec::IntoIter<Then>,
    stored: Stored,
    /// Bytes that were ever written.
    written: usize,
}

impl<T: Dealt, O: Operator<T>> Driven<T, O> {
    pub(crate) fn new(operator: O, kernels: impl Into<Kernels>) -> Self {
        let Kernels { first, then } = kernels.into();
        let (stage, instances) = begin(&operator, first);
        Self { operator, stage, instances, then: then.into_iter(), stored: Stored::default(), written: 0 }
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
            Some(Then::Save) => self.save(),
            Some(Then::Restart(kernels)) => {
                self.save();
                (self.stage, self.instances) = begin(&self.operator, kernels);
                self.stored.restore(&self.stage, &self.instances, punctuation).unwrap();
            }
        }
        out
    }

    fn save(&mut self) {
        assert_eq!(OperatorStage::<T, O>::KEEPS, Keeps::State);
        self.written += self.stored.take(&self.stage, &self.instances, Generation(0));
        assert!(self.stored.is_whole(), "what is kept was saved");
    }

    /// How far the stages after it have come.
    #[allow(dead_code, reason = "operators of one input give no times")]
    pub(crate) fn watermark(&self, punctuation: Punctuation) -> Time {
        self.stage.watermark(punctuation)
    }

    /// Bytes that were ever written.
    #[allow(dead_code, reason = "the tests of joins have no use for it")]
    pub(crate) fn written(&self) -> usize {
        self.written
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
