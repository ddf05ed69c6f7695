//! Aggregates: what a window keeps of its records, and how two kernels' shares become one.
//!
//! An [`Aggregate`] has `create`, `update`, `merge` and `finish`. Tuples of aggregates are aggregates, so
//! `(count(), sum(|r: &Bid| r.price))` computes both in one pass. To add one: a file here, and a line in
//! the list below.

mod avg;
mod count;
mod distinct;
mod extremum;
mod project;
mod quantiles;
mod reduce;
mod sum;
mod top_k;
mod tuple;
mod variance;

pub use avg::{Avg, avg};
pub use count::{Count, count};
pub use distinct::{Distinct, DistinctAbout, Estimator, distinct, distinct_about};
pub use extremum::{Max, Min, max, min};
pub use project::{Project, project};
pub use quantiles::{Quantiles, Sketch, quantiles};
pub use reduce::{Reduce, reduce};
pub use sum::{Sum, Summable, sum};
pub use top_k::{Scored, TopK, top_k};
pub use variance::{Moments, Variance, variance};

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bundle::Record;

/// Of what is emitted, and has seen nothing: only who has read it from somewhere can have such.
const NOTHING_SEEN: &str = "what a checkpoint keeps of a window has seen no record: it is damaged";

/// What a library keeps, of what has been read in its stead and checked: what it reads itself, it takes for granted.
fn of_checked<T: DeserializeOwned, E: serde::de::Error>(kept: &impl Serialize) -> Result<T, E> {
    let bytes = postcard::to_allocvec(kept).map_err(E::custom)?;
    postcard::from_bytes(&bytes).map_err(E::custom)
}

/// What may be kept as state: it can be snapshot and restored.
pub trait State: Record + Serialize + DeserializeOwned {}
impl<T: Record + Serialize + DeserializeOwned> State for T {}

/// A mergeable aggregate over records of type `T`.
///
/// `update` and `merge` must be commutative and associative up to `finish`: records arrive in any order,
/// on any kernel.
pub trait Aggregate<T>: Clone + Send + Sync + 'static {
    /// What of a record the aggregate looks at. With many keys this, not the record, is what is moved
    /// about: keep it small.
    type Item: Record;
    /// What is kept.
    type Acc: State;
    /// The result.
    type Out: Record;

    /// What of `record` goes into [`update`](Self::update).
    fn item(&self, record: &T) -> Self::Item;
    /// Nothing seen yet.
    fn create(&self) -> Self::Acc;
    /// One more.
    fn update(&self, acc: &mut Self::Acc, item: Self::Item);
    /// Two shares become one, in `acc`.
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc);
    /// The result of all that was seen.
    fn finish(&self, acc: Self::Acc) -> Self::Out;
}

/// What is left of an [`Aggregate`] once items have been taken from the records: it no longer matters what
/// they were items of.
pub(crate) trait Accumulate: Clone + Send + Sync + 'static {
    type Item: Record;
    type Acc: State;

    fn create(&self) -> Self::Acc;
    fn update(&self, acc: &mut Self::Acc, item: Self::Item);
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc);
}

/// `A` as an aggregate over `T` and nothing else.
pub(crate) struct Over<T, A> {
    pub(crate) aggregate: A,
    of: PhantomData<fn(T)>,
}

impl<T, A> Over<T, A> {
    pub(crate) fn new(aggregate: A) -> Self {
        Self { aggregate, of: PhantomData }
    }
}

impl<T, A: Clone> Clone for Over<T, A> {
    fn clone(&self) -> Self {
        Self::new(self.aggregate.clone())
    }
}

impl<T: 'static, A: Aggregate<T>> Accumulate for Over<T, A> {
    type Item = A::Item;
    type Acc = A::Acc;

    #[inline(always)]
    fn create(&self) -> A::Acc {
        self.aggregate.create()
    }
    #[inline(always)]
    fn update(&self, acc: &mut A::Acc, item: A::Item) {
        self.aggregate.update(acc, item);
    }
    #[inline(always)]
    fn merge(&self, acc: &mut A::Acc, other: A::Acc) {
        self.aggregate.merge(acc, other);
    }
}
