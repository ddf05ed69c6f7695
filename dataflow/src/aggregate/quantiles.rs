//! Quantiles of a field.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de};
use sketches_ddsketch::{Config, DDSketch};

use super::{Aggregate, of_checked};

/// See [`quantiles`].
#[derive(Clone, Debug)]
pub struct Quantiles<F> {
    field: F,
    wanted: Arc<[f64]>,
}

/// The `wanted` quantiles (0 is the least value, 0.5 the median, 1 the greatest) of what `field` reads from each record,
/// each within 1% of the true value (DDSketch: Masson, Rim and Lee, VLDB 2019), in 32 KiB at most. Values that are not a number
/// are left out; without any, there are no quantiles.
///
/// # Panics
/// When a wanted quantile is not between 0 and 1.
pub fn quantiles<T, F>(field: F, wanted: impl Into<Arc<[f64]>>) -> Quantiles<F>
where
    F: Fn(&T) -> f64 + Clone + Send + Sync + 'static,
{
    let wanted = wanted.into();
    assert!(wanted.iter().all(|q| (0.0..=1.0).contains(q)), "quantiles are between 0 and 1: {wanted:?}");
    Quantiles { field, wanted }
}

/// What is kept of values.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Sketch(DDSketch);

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kept = Kept::deserialize(deserializer)?;
        if !kept.is_sound() {
            return Err(de::Error::custom("a sketch of quantiles is damaged"));
        }
        of_checked(&kept).map(Self)
    }
}

/// A sketch, as the library writes it.
#[derive(Serialize, Deserialize)]
struct Kept {
    config: Config,
    store: Bins,
    negative_store: Bins,
    min: f64,
    max: f64,
    sum: f64,
    zero_count: u64,
}

/// How many values there are of each size: the first bin is that of the key `offset`.
#[derive(Serialize, Deserialize)]
struct Bins {
    bins: Vec<u64>,
    count: u64,
    min_key: i32,
    max_key: i32,
    offset: i32,
    bin_limit: usize,
    is_collapsed: bool,
}

/// More values than there will ever be, so that sums of some do not overflow.
const VALUES: u64 = 1 << 56;
/// More than the key of any number.
const KEYS: i32 = 1 << 20;

impl Kept {
    fn is_sound(&self) -> bool {
        let are_bins = |bins: &Bins| bins.are_sound(self.config.max_num_bins as usize);
        let is_ours = self.config == Config::defaults() && self.zero_count <= VALUES;
        is_ours && are_bins(&self.store) && are_bins(&self.negative_store)
    }
}

impl Bins {
    fn are_sound(&self, limit: usize) -> bool {
        let len = self.bins.len() as i32;
        let are_few = self.count <= VALUES && self.bins.iter().all(|bin| *bin <= VALUES);
        let are_within = match (self.min_key, self.max_key) {
            (i32::MAX, i32::MIN) => self.bins.is_empty() && self.count == 0,
            (least, greatest) => {
                let are_keys = [self.offset, least, greatest].iter().all(|key| (-KEYS..KEYS).contains(key));
                are_keys && self.offset <= least && least <= greatest && greatest - self.offset < len
            }
        };
        self.bin_limit == limit && self.bins.len() <= limit && are_few && are_within
    }
}

impl<T, F: Fn(&T) -> f64 + Clone + Send + Sync + 'static> Aggregate<T> for Quantiles<F> {
    type Item = f64;
    type Acc = Sketch;
    /// As many as were wanted, in that order; none without values.
    type Out = Vec<f64>;

    fn item(&self, record: &T) -> f64 {
        (self.field)(record)
    }
    fn create(&self) -> Sketch {
        Sketch(DDSketch::new(Config::defaults()))
    }
    fn update(&self, acc: &mut Sketch, item: f64) {
        if !item.is_nan() {
            acc.0.add(item);
        }
    }
    fn merge(&self, acc: &mut Sketch, other: Sketch) {
        let merged = acc.0.merge(&other.0);
        debug_assert!(merged.is_ok(), "all sketches have the same configuration");
    }
    fn finish(&self, acc: Sketch) -> Vec<f64> {
        self.wanted.iter().filter_map(|q| acc.0.quantile(*q).ok().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WANTED: [f64; 5] = [0.0, 0.25, 0.5, 0.99, 1.0];

    proptest! {
        #[test]
        fn are_within_a_percent_however_shared_out(
            shares in proptest::collection::vec(proptest::collection::vec(-1e6..1e6, 0..100), 1..4),
        ) {
            let aggregate = quantiles(|x: &f64| *x, WANTED);
            let mut whole = Aggregate::<f64>::create(&aggregate);
            for share in &shares {
                let mut acc = Aggregate::<f64>::create(&aggregate);
                share.iter().chain([&f64::NAN]).for_each(|x| aggregate.update(&mut acc, *x));
                aggregate.merge(&mut whole, acc);
            }
            let mut values = shares.concat();
            values.sort_by(f64::total_cmp);
            let found = Aggregate::<f64>::finish(&aggregate, whole);
            prop_assert_eq!(found.len(), if values.is_empty() { 0 } else { WANTED.len() });
            for (q, found) in WANTED.iter().zip(found) {
                // The rank may be rounded either way.
                let rank = q * (values.len() - 1) as f64;
                let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
                prop_assert!(found >= low - 0.0101 * low.abs() - 1e-6, "{} is below {}", found, low);
                prop_assert!(found <= high + 0.0101 * high.abs() + 1e-6, "{} is above {}", found, high);
            }
        }
    }
}
