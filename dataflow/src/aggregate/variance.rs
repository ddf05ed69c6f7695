//! The spread of a field.

use serde::{Deserialize, Serialize};

use super::Aggregate;

/// See [`variance`].
#[derive(Clone, Copy, Debug)]
pub struct Variance<F>(F);

/// The mean and the variance of what `field` reads from each record, in one pass and without cancellation (Welford's method;
/// shares are merged as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
/// Variances", 1979, §2).
pub fn variance<T, F: Fn(&T) -> f64 + Clone + Send + Sync + 'static>(field: F) -> Variance<F> {
    Variance(field)
}

/// What [`variance`] comes to.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Moments {
    /// Values seen.
    pub count: u64,
    /// Their arithmetic mean; zero where there are none.
    pub mean: f64,
    /// The sum of the squares of their distances from the mean.
    pub squares: f64,
}

impl Moments {
    /// The variance, if these are all values that there are; none without values.
    pub fn population(&self) -> Option<f64> {
        (self.count > 0).then(|| self.squares / self.count as f64)
    }

    /// The variance, if these are a sample of the values that there are; none with fewer than two of them.
    pub fn sample(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }
}

impl<T, F: Fn(&T) -> f64 + Clone + Send + Sync + 'static> Aggregate<T> for Variance<F> {
    type Item = f64;
    type Acc = Moments;
    type Out = Moments;

    #[inline]
    fn item(&self, record: &T) -> f64 {
        (self.0)(record)
    }
    #[inline]
    fn create(&self) -> Moments {
        Moments::default()
    }
    #[inline]
    fn update(&self, acc: &mut Moments, item: f64) {
        acc.count += 1;
        let distance = item - acc.mean;
        acc.mean += distance / acc.count as f64;
        acc.squares += distance * (item - acc.mean);
    }
    #[inline]
    fn merge(&self, acc: &mut Moments, other: Moments) {
        if other.count == 0 {
            return;
        }
        let count = acc.count + other.count;
        let (distance, share) = (other.mean - acc.mean, other.count as f64 / count as f64);
        acc.squares += other.squares + distance * distance * acc.count as f64 * share;
        acc.mean += distance * share;
        acc.count = count;
    }
    #[inline]
    fn finish(&self, acc: Moments) -> Moments {
        acc
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_the_definition_however_it_is_shared_out(
            shares in proptest::collection::vec(proptest::collection::vec(-1e3..1e3, 0..50), 1..5),
            offset in prop_oneof![Just(0.0_f64), Just(1e9)],
        ) {
            let aggregate = variance(|x: &f64| *x);
            let values: Vec<f64> = shares.concat().iter().map(|x| x + offset).collect();
            let mut whole = Aggregate::<f64>::create(&aggregate);
            for share in shares {
                let mut acc = Aggregate::<f64>::create(&aggregate);
                share.iter().for_each(|x| aggregate.update(&mut acc, x + offset));
                aggregate.merge(&mut whole, acc);
            }
            prop_assert_eq!(whole.count, values.len() as u64);
            prop_assert_eq!(whole.population().is_some(), !values.is_empty());
            prop_assert_eq!(whole.sample().is_some(), values.len() > 1);
            if let Some(variance) = whole.population() {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let expected = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
                // What a double can tell apart at the offset.
                prop_assert!((whole.mean - mean).abs() <= 1e-14 * (1e3 + offset) * values.len() as f64);
                prop_assert!((variance - expected).abs() <= 1e-9 * expected + 1e-11 * (1e3 + offset));
            }
        }
    }
}
