//! The `k` records of the highest score.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Aggregate, State};

/// See [`top_k`].
#[derive(Clone, Copy, Debug)]
pub struct TopK<F> {
    k: usize,
    score: F,
}

/// A record and its score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scored<S, T> {
    /// What it is ranked by.
    pub score: S,
    /// The record.
    pub record: T,
}

/// The `k` records of the highest `score`, best first. Of equal scores the lesser record comes first, so
/// that the result does not depend on the order in which records arrive.
pub fn top_k<T, S, F>(k: usize, score: F) -> TopK<F>
where
    T: State + Ord,
    S: State + Ord,
    F: Fn(&T) -> S + Clone + Send + Sync + 'static,
{
    TopK { k, score }
}

fn rank<S: Ord, T: Ord>(a: &Scored<S, T>, b: &Scored<S, T>) -> Ordering {
    b.score.cmp(&a.score).then_with(|| a.record.cmp(&b.record))
}

impl<T, S, F> Aggregate<T> for TopK<F>
where
    T: State + Ord,
    S: State + Ord,
    F: Fn(&T) -> S + Clone + Send + Sync + 'static,
{
    type Item = Scored<S, T>;
    /// At most `k`, best first.
    type Acc = Vec<Scored<S, T>>;
    type Out = Vec<T>;

    fn item(&self, record: &T) -> Scored<S, T> {
        Scored { score: (self.score)(record), record: record.clone() }
    }
    fn create(&self) -> Self::Acc {
        Vec::new()
    }
    fn update(&self, acc: &mut Self::Acc, item: Scored<S, T>) {
        let full = acc.len() >= self.k;
        if full && acc.last().is_none_or(|worst| rank(worst, &item).is_le()) {
            return;
        }
        let at = acc.partition_point(|better| rank(better, &item).is_le());
        if full {
            acc.pop();
        }
        acc.insert(at, item);
    }
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc) {
        for item in other {
            self.update(acc, item);
        }
    }
    fn finish(&self, acc: Self::Acc) -> Vec<T> {
        acc.into_iter().map(|scored| scored.record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_best_in_any_order() {
        let top = top_k(3, |x: &u32| x / 2);
        let mut ascending = Aggregate::<u32>::create(&top);
        let mut descending = Aggregate::<u32>::create(&top);
        for x in 0..100 {
            top.update(&mut ascending, top.item(&x));
            top.update(&mut descending, top.item(&(99 - x)));
        }
        assert_eq!(ascending, descending);
        assert_eq!(Aggregate::<u32>::finish(&top, ascending), [98, 99, 96]);
    }

    #[test]
    fn none_of_nothing() {
        let top = top_k(0, |x: &u32| *x);
        let mut acc = Aggregate::<u32>::create(&top);
        top.update(&mut acc, top.item(&1));
        assert!(acc.is_empty());
    }
}
