//! `map`: one record becomes another.

use crate::bundle::Record;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::time::Time;

/// See [`Stream::map`].
#[derive(Clone)]
pub struct Map<P, F>(P, F);

impl<In, P, F, U> Pipe<In> for Map<P, F>
where
    P: Pipe<In>,
    F: Fn(P::Out) -> U + Clone + Send + Sync + 'static,
{
    type Out = U;

    #[inline(always)]
    fn push(&self, time: Time, record: In, next: &mut impl FnMut(Time, U)) {
        self.0.push(time, record, &mut |time, record| next(time, (self.1)(record)));
    }
}

impl<I: Record, P: Pipe<I>> Stream<I, P> {
    /// Each record becomes what `f` makes of it.
    pub fn map<U, F>(self, f: F) -> Stream<I, Map<P, F>>
    where
        F: Fn(P::Out) -> U + Clone + Send + Sync + 'static,
    {
        self.chain("map", |pipe| Map(pipe, f))
    }
}
