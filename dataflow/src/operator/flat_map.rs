//! `flat_map`: one record becomes any number.

use crate::bundle::Record;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::time::Time;

/// See [`Stream::flat_map`].
#[derive(Clone)]
pub struct FlatMap<P, F>(P, F);

impl<In, P, F, U> Pipe<In> for FlatMap<P, F>
where
    P: Pipe<In>,
    F: Fn(P::Out) -> U + Clone + Send + Sync + 'static,
    U: IntoIterator,
{
    type Out = U::Item;

    #[inline(always)]
    fn push(&self, time: Time, record: In, next: &mut impl FnMut(Time, U::Item)) {
        self.0.push(time, record, &mut |time, record| {
            (self.1)(record).into_iter().for_each(|record| next(time, record));
        });
    }
}

impl<I: Record, P: Pipe<I>> Stream<I, P> {
    /// Each record becomes those that `f` makes of it, at the record's event time. An `Option` is a `filter_map`.
    pub fn flat_map<U, F>(self, f: F) -> Stream<I, FlatMap<P, F>>
    where
        F: Fn(P::Out) -> U + Clone + Send + Sync + 'static,
        U: IntoIterator,
    {
        self.chain("flat_map", |pipe| FlatMap(pipe, f))
    }
}
