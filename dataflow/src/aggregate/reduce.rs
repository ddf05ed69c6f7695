//! Two records become one, until one is left.

use updraft_kernel::give_up;

use super::{Aggregate, NOTHING_SEEN, State};

/// See [`reduce`].
#[derive(Clone, Copy, Debug)]
pub struct Reduce<F>(F);

/// What is left when `combine` has joined all records, two by two; it must be commutative and associative.
pub fn reduce<T: State, F: Fn(T, T) -> T + Clone + Send + Sync + 'static>(combine: F) -> Reduce<F> {
    Reduce(combine)
}

impl<T: State, F: Fn(T, T) -> T + Clone + Send + Sync + 'static> Aggregate<T> for Reduce<F> {
    type Item = T;
    type Acc = Option<T>;
    type Out = T;

    #[inline]
    fn item(&self, record: &T) -> T {
        record.clone()
    }
    #[inline]
    fn create(&self) -> Option<T> {
        None
    }
    #[inline]
    fn update(&self, acc: &mut Option<T>, item: T) {
        *acc = Some(match acc.take() {
            Some(sofar) => (self.0)(sofar, item),
            None => item,
        });
    }
    #[inline]
    fn merge(&self, acc: &mut Option<T>, other: Option<T>) {
        if let Some(item) = other {
            self.update(acc, item);
        }
    }
    #[inline]
    fn finish(&self, acc: Option<T>) -> T {
        acc.unwrap_or_else(|| give_up(NOTHING_SEEN))
    }
}
