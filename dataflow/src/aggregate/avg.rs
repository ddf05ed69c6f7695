//! The mean of a field.

use super::Aggregate;

/// See [`avg`].
#[derive(Clone, Copy, Debug)]
pub struct Avg<F>(F);

/// The arithmetic mean of what `field` reads from each record, as `f64`.
pub fn avg<T, F: Fn(&T) -> f64 + Clone + Send + Sync + 'static>(field: F) -> Avg<F> {
    Avg(field)
}

impl<T, F: Fn(&T) -> f64 + Clone + Send + Sync + 'static> Aggregate<T> for Avg<F> {
    type Item = f64;
    /// The sum and the count.
    type Acc = (f64, u64);
    type Out = f64;

    #[inline]
    fn item(&self, record: &T) -> f64 {
        (self.0)(record)
    }
    #[inline]
    fn create(&self) -> (f64, u64) {
        (0.0, 0)
    }
    #[inline]
    fn update(&self, (sum, count): &mut (f64, u64), item: f64) {
        *sum += item;
        *count += 1;
    }
    #[inline]
    fn merge(&self, (sum, count): &mut (f64, u64), other: (f64, u64)) {
        *sum += other.0;
        *count += other.1;
    }
    #[inline]
    fn finish(&self, (sum, count): (f64, u64)) -> f64 {
        sum / count as f64
    }
}
