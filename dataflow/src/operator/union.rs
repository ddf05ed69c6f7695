//! `union`: several streams as one.

use std::sync::Arc;

use crate::bundle::Record;
use crate::exchange::Outlet;
use crate::operator::EmitStage;
use crate::pipe::{Identity, Pipe};
use crate::stream::Stream;

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// The records of both, in no particular order. The watermark is the lesser of the two.
    pub fn union<J: Record, Q: Pipe<J, Out = P::Out>>(self, other: Stream<J, Q>) -> Stream<P::Out> {
        let outlet = Arc::new(Outlet::new(self.upstream.in_order || other.upstream.in_order));
        let (job, timed) = (self.job.clone(), self.timed && other.timed);
        self.feed(&outlet, timed);
        other.feed(&outlet, timed);
        Stream::new(job, outlet, Identity, "union".into(), timed)
    }

    /// Ends the chain in a stage that gives to `outlet`, beside others.
    fn feed(self, outlet: &Arc<Outlet<P::Out>>, timed: bool) {
        let Self { job, upstream, pipe, mut names, .. } = self;
        names.push("union".into());
        job.stage(&names, upstream, outlet.clone(), move |_| EmitStage::new(pipe, timed));
    }
}
