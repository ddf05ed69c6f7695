//! An aggregate that keeps all records of a window: what a search has found in it.

use std::marker::PhantomData;

use updraft::dataflow::aggregate::{Aggregate, State};

/// See [`gather`].
pub(super) struct Gather<T>(PhantomData<fn(T)>);

/// All records, in no particular order.
pub(super) fn gather<T: State>() -> Gather<T> {
    Gather(PhantomData)
}

impl<T> Clone for Gather<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T: State> Aggregate<T> for Gather<T> {
    type Item = T;
    type Acc = Vec<T>;
    type Out = Vec<T>;

    fn item(&self, record: &T) -> T {
        record.clone()
    }
    fn create(&self) -> Vec<T> {
        Vec::new()
    }
    fn update(&self, acc: &mut Vec<T>, item: T) {
        acc.push(item);
    }
    fn merge(&self, acc: &mut Vec<T>, mut other: Vec<T>) {
        acc.append(&mut other);
    }
    fn finish(&self, acc: Vec<T>) -> Vec<T> {
        acc
    }
}
