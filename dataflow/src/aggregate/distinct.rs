//! How many different values.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};

use cardinality_estimator::CardinalityEstimator;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Aggregate, of_checked};
use crate::table::{Key, hash_of};

/// See [`distinct`].
#[derive(Clone, Copy, Debug)]
pub struct Distinct<F>(F);

/// The number of different values of what `field` reads from each record: exact, so all of them are kept. See
/// [`distinct_about`] for a small memory.
pub fn distinct<T, V: Key, F: Fn(&T) -> V + Clone + Send + Sync + 'static>(field: F) -> Distinct<F> {
    Distinct(field)
}

impl<T, V: Key, F: Fn(&T) -> V + Clone + Send + Sync + 'static> Aggregate<T> for Distinct<F> {
    type Item = V;
    type Acc = HashSet<V, BuildHasherDefault<DefaultHasher>>;
    type Out = u64;

    fn item(&self, record: &T) -> V {
        (self.0)(record)
    }
    fn create(&self) -> Self::Acc {
        HashSet::default()
    }
    fn update(&self, acc: &mut Self::Acc, item: V) {
        acc.insert(item);
    }
    fn merge(&self, acc: &mut Self::Acc, mut other: Self::Acc) {
        if other.len() > acc.len() {
            std::mem::swap(acc, &mut other);
        }
        acc.extend(other);
    }
    fn finish(&self, acc: Self::Acc) -> u64 {
        acc.len() as u64
    }
}

/// See [`distinct_about`].
#[derive(Clone, Copy, Debug)]
pub struct DistinctAbout<F>(F);

/// About the number of different values of what `field` reads from each record, in 3 KiB at most: with next to no error up to 128 of
/// them, from there with a standard error of 1.6% (HyperLogLog with 4096 registers; Flajolet et al., AofA 2007, with the bias
/// correction of Heule, Nunkesser and Hall, EDBT 2013).
pub fn distinct_about<T, V, F>(field: F) -> DistinctAbout<F>
where
    V: std::hash::Hash + 'static,
    F: Fn(&T) -> V + Clone + Send + Sync + 'static,
{
    DistinctAbout(field)
}

/// What is kept of values.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Estimator(CardinalityEstimator<u64>);

/// Registers of a large one.
const REGISTERS: u32 = 4096;
/// How the first number of a large one ends.
const LARGE: usize = 3;

impl<'de> Deserialize<'de> for Estimator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kept = <(usize, Option<Vec<u32>>)>::deserialize(deserializer)?;
        // How many registers are zero, which is taken off all of them.
        let zeros = kept.1.as_ref().and_then(|numbers| numbers.first()).filter(|_| kept.0 & LARGE == LARGE);
        if zeros.is_some_and(|zeros| *zeros > REGISTERS) {
            return Err(de::Error::custom("a sketch of different values is damaged"));
        }
        of_checked(&kept).map(Self)
    }
}

impl<T, V, F> Aggregate<T> for DistinctAbout<F>
where
    V: std::hash::Hash + 'static,
    F: Fn(&T) -> V + Clone + Send + Sync + 'static,
{
    /// The value's hash.
    type Item = u64;
    type Acc = Estimator;
    type Out = u64;

    fn item(&self, record: &T) -> u64 {
        scramble(hash_of(&(self.0)(record)))
    }
    fn create(&self) -> Self::Acc {
        Estimator(CardinalityEstimator::new())
    }
    fn update(&self, acc: &mut Self::Acc, item: u64) {
        acc.0.insert_hash(item);
    }
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc) {
        acc.0.merge(&other.0);
    }
    fn finish(&self, acc: Self::Acc) -> u64 {
        acc.0.estimate() as u64
    }
}

/// Tables like it that hashes of numbers in a row are spread evenly; a sketch takes them to be random (murmur3's finaliser).
fn scramble(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `aggregate` makes of `values`, dealt out to three shares.
    fn count<A: Aggregate<u64, Out = u64>>(aggregate: A, values: impl Iterator<Item = u64>) -> u64 {
        let mut shares: Vec<_> = (0..3).map(|_| aggregate.create()).collect();
        for (at, value) in values.enumerate() {
            aggregate.update(&mut shares[at % 3], aggregate.item(&value));
        }
        let mut whole = aggregate.create();
        shares.into_iter().for_each(|share| aggregate.merge(&mut whole, share));
        aggregate.finish(whole)
    }

    #[test]
    fn counts_each_value_once() {
        for (n, values) in [(0, 0), (1, 10), (100, 100), (128, 1_000), (50_000, 120_000_u64)] {
            let stream = || (0..values).map(move |i| i % n);
            assert_eq!(count(distinct(|x: &u64| *x), stream()), n);
            let about = count(distinct_about(|x: &u64| *x), stream());
            // Four standard errors; these values are always the same ones.
            let error = if n <= 128 { 0.0 } else { 0.064 * n as f64 };
            assert!((about as f64 - n as f64).abs() <= error, "{about} of {n}");
        }
    }
}
