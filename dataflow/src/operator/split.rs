//! `split`: one stream as several, and the sides of what comes of a process.

use crate::bundle::Record;
use crate::join::Side;
use crate::pipe::Pipe;
use crate::stream::Stream;

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// The records that `is_first` says yes to, and the others.
    pub fn split<F>(self, is_first: F) -> (Stream<P::Out>, Stream<P::Out>)
    where
        F: Fn(&P::Out) -> bool + Clone + Send + Sync + 'static,
    {
        self.map(move |record| if is_first(&record) { Side::Left(record) } else { Side::Right(record) }).sides()
    }
}

impl<I: Record, P, L: Record, R: Record> Stream<I, P>
where
    P: Pipe<I, Out = Side<L, R>>,
{
    /// Both sides, each as a stream. A process that has side outputs gives the sides of a [`Side`]; for more than two, nested
    /// ones.
    pub fn sides(self) -> (Stream<L>, Stream<R>) {
        let (left, right) = self.fork();
        let left = left.flat_map(|side| if let Side::Left(left) = side { Some(left) } else { None });
        let right = right.flat_map(|side| if let Side::Right(right) = side { Some(right) } else { None });
        (left.materialize(), right.materialize())
    }
}
