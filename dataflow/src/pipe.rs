//! A [`Pipe`]: the chain of stateless operators that a stage runs over a record, as one type.
//!
//! Each operator wraps the pipe before it, so that a chain of twenty is twenty nested types which the
//! compiler inlines into a single loop over the bundle: nothing is called through a pointer and nothing is
//! written in between. The operators themselves are in [`crate::operator`].

use crate::time::Time;

/// A chain of stateless operators: a record in, any number out.
///
/// Cloned once for each kernel, so that what an operator holds (a compiled regular expression, say) is
/// not contended for.
pub trait Pipe<In>: Clone + Send + Sync + 'static {
    /// What comes out.
    type Out;

    /// Runs `record` through the chain; calls `next` with all that comes out.
    fn push(&self, time: Time, record: In, next: &mut impl FnMut(Time, Self::Out));
}

/// The empty chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl<T> Pipe<T> for Identity {
    type Out = T;

    #[inline(always)]
    fn push(&self, time: Time, record: T, next: &mut impl FnMut(Time, T)) {
        next(time, record);
    }
}

/// The head of a chain over a source whose records know their event time.
#[derive(Clone, Copy, Debug)]
pub struct Stamped<F>(pub(crate) F);

/// The head of a chain over records whose event time is what `time` reads from them.
pub fn stamped<T, F>(time: F) -> Stamped<F>
where
    F: Fn(&T) -> Time + Clone + Send + Sync + 'static,
{
    Stamped(time)
}

impl<T, F> Pipe<T> for Stamped<F>
where
    F: Fn(&T) -> Time + Clone + Send + Sync + 'static,
{
    type Out = T;

    #[inline(always)]
    fn push(&self, _: Time, record: T, next: &mut impl FnMut(Time, T)) {
        let time = (self.0)(&record);
        next(time, record);
    }
}
