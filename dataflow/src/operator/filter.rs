//! `filter`: some records go no further.

use crate::bundle::Record;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::time::Time;

/// See [`Stream::filter`].
#[derive(Clone)]
pub struct Filter<P, F>(P, F);

impl<In, P, F> Pipe<In> for Filter<P, F>
where
    P: Pipe<In>,
    F: Fn(&P::Out) -> bool + Clone + Send + Sync + 'static,
{
    type Out = P::Out;

    #[inline(always)]
    fn push(&self, time: Time, record: In, next: &mut impl FnMut(Time, P::Out)) {
        self.0.push(time, record, &mut |time, record| {
            if (self.1)(&record) {
                next(time, record);
            }
        });
    }
}

impl<I: Record, P: Pipe<I>> Stream<I, P> {
    /// Only records for which `keep` says so go on.
    pub fn filter<F>(self, keep: F) -> Stream<I, Filter<P, F>>
    where
        F: Fn(&P::Out) -> bool + Clone + Send + Sync + 'static,
    {
        self.chain("filter", |pipe| Filter(pipe, keep))
    }
}
