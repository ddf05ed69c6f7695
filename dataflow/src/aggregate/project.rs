//! Aggregates of a field that is read once.

use super::Aggregate;
use crate::bundle::Record;

/// See [`project`].
#[derive(Clone, Copy, Debug)]
pub struct Project<F, A> {
    field: F,
    aggregate: A,
}

/// `aggregate` of what `field` reads from each record. Several aggregates of one field move less data about this way,
/// which shows where there are many keys.
///
/// ```
/// use updraft_dataflow::aggregate::{count, max, project, sum};
/// struct Reading { celsius: i64 }
/// let aggregate = project(|r: &Reading| r.celsius, (sum(|c: &i64| *c), count(), max(|c: &i64| *c)));
/// ```
pub fn project<T, V, F, A>(field: F, aggregate: A) -> Project<F, A>
where
    V: Record,
    F: Fn(&T) -> V + Clone + Send + Sync + 'static,
    A: Aggregate<V>,
{
    Project { field, aggregate }
}

impl<T, V, F, A> Aggregate<T> for Project<F, A>
where
    V: Record,
    F: Fn(&T) -> V + Clone + Send + Sync + 'static,
    A: Aggregate<V>,
{
    type Item = V;
    type Acc = A::Acc;
    type Out = A::Out;

    #[inline]
    fn item(&self, record: &T) -> V {
        (self.field)(record)
    }
    #[inline]
    fn create(&self) -> A::Acc {
        self.aggregate.create()
    }
    #[inline]
    fn update(&self, acc: &mut A::Acc, item: V) {
        self.aggregate.update(acc, self.aggregate.item(&item));
    }
    #[inline]
    fn merge(&self, acc: &mut A::Acc, other: A::Acc) {
        self.aggregate.merge(acc, other);
    }
    #[inline]
    fn finish(&self, acc: A::Acc) -> A::Out {
        self.aggregate.finish(acc)
    }
}
