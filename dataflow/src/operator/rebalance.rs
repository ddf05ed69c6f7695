//! `rebalance`: records spread evenly over the kernels.

use crate::bundle::{Bundle, Record, Times};
use crate::pipe::{Identity, Pipe};
use crate::stage::{Emit, Stage};
use crate::stream::Stream;
use crate::time::{Generation, Punctuation};

/// Cuts bundles into one piece for each driver.
pub struct RebalanceStage<T> {
    drivers: usize,
    of: std::marker::PhantomData<fn(T)>,
}

impl<T> RebalanceStage<T> {
    /// To so many drivers.
    pub fn new(drivers: usize) -> Self {
        Self { drivers, of: std::marker::PhantomData }
    }
}

impl<T: Record> Stage for RebalanceStage<T> {
    type In = T;
    type Out = T;
    type Local = ();
    type Part = ();

    const ORDERED: bool = true;

    fn local(&self, _: usize) {}

    fn bundle(&self, (): &(), _: Generation, bundle: Bundle<T>, emit: Emit<'_, T>) {
        // The first piece, which may be the only one, is not always the same driver's.
        let (first, size) = (bundle.position() as usize, bundle.len().div_ceil(self.drivers).max(1));
        let (records, times) = bundle.into_parts();
        let (mut records, mut times) = (records.into_iter(), times.iter());
        for piece in 0.. {
            let some: Vec<T> = records.by_ref().take(size).collect();
            if some.is_empty() {
                return;
            }
            let times = Times::Each(times.by_ref().take(some.len()).collect());
            emit(Bundle::from(some).with_times(times).owned_by((first + piece) % self.drivers));
        }
    }

    fn seal(&self, _: &[()], _: Punctuation) -> Vec<()> {
        Vec::new()
    }

    fn part(&self, (): &(), (): (), _: Emit<'_, T>) {}
}

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// Cuts what has been made so far into a piece for each kernel. Idle kernels take whole bundles from others anyway: this
    /// is for a few bundles of records that are much work each.
    pub fn rebalance(self) -> Stream<P::Out> {
        self.materialize().stage("rebalance", |Identity, kernels| RebalanceStage::new(kernels))
    }
}
