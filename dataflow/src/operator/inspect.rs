//! `inspect`: a look at each record.

use crate::bundle::Record;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::time::Time;

/// See [`Stream::inspect`].
#[derive(Clone)]
pub struct Inspect<P, F>(P, F);

impl<In, P, F> Pipe<In> for Inspect<P, F>
where
    P: Pipe<In>,
    F: Fn(Time, &P::Out) + Clone + Send + Sync + 'static,
{
    type Out = P::Out;

    #[inline(always)]
    fn push(&self, time: Time, record: In, next: &mut impl FnMut(Time, P::Out)) {
        self.0.push(time, record, &mut |time, record| {
            (self.1)(time, &record);
            next(time, record);
        });
    }
}

impl<I: Record, P: Pipe<I>> Stream<I, P> {
    /// Shows each record and its event time to `look`, on whichever kernel it is.
    pub fn inspect<F>(self, look: F) -> Stream<I, Inspect<P, F>>
    where
        F: Fn(Time, &P::Out) + Clone + Send + Sync + 'static,
    {
        self.chain("inspect", |pipe| Inspect(pipe, look))
    }
}
