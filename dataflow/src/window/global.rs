//! The global window without a trigger: all of a key, when the stream ends.

use super::{Global, Sliced, Slicing, Window, WindowStage, Windowed, Windows, pieces};
use crate::aggregate::Aggregate;
use crate::bundle::Record;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::table::Key;
use crate::time::Time;

/// One slice for all records, which are put at the origin of time.
#[derive(Clone)]
struct Whole;

impl Sliced for Whole {
    fn slicing(&self) -> Slicing {
        Slicing { size: i64::MAX, slide: i64::MAX, offset: 0 }
    }
}

/// Records without their event time.
#[derive(Clone)]
struct Timeless<P>(P);

impl<In, P: Pipe<In>> Pipe<In> for Timeless<P> {
    type Out = P::Out;

    #[inline(always)]
    fn push(&self, time: Time, record: In, next: &mut impl FnMut(Time, P::Out)) {
        self.0.push(time, record, &mut |_, record| next(Time(0), record));
    }
}

impl Windows for Global {
    fn aggregate<I, P, F, K, A>(self, stream: Stream<I, P>, key: F, aggregate: A) -> Stream<Windowed<K, A::Out>>
    where
        I: Record,
        P: Pipe<I>,
        P::Out: Record,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        K: Key,
        A: Aggregate<P::Out>,
    {
        let window = Window { start: Time::MIN, end: Time::MAX };
        let rows = stream.stage("global window", move |pipe, kernels| {
            WindowStage::new(Timeless(pipe), key, &Whole, aggregate, pieces(kernels))
        });
        rows.map(move |row| Windowed { window, ..row }).materialize()
    }
}
