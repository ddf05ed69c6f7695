//! `fork`: the same records twice.

use crate::bundle::Record;
use crate::pipe::{Identity, Pipe};
use crate::stream::Stream;

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// The stream twice: what comes before is done once, what comes after gets the records each for itself.
    pub fn fork(self) -> (Stream<P::Out>, Stream<P::Out>) {
        let one = self.materialize();
        let other = Stream::new(one.job.clone(), one.upstream.clone(), Identity, "fork".into(), one.timed);
        (one, other)
    }
}

impl<I: Record> Stream<I> {
    /// The same stream once more: what comes before is done once.
    pub fn share(&self) -> Self {
        Stream::new(self.job.clone(), self.upstream.clone(), Identity, self.names.join(" → ").into(), self.timed)
    }
}
