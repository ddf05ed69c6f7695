//! How many.

use super::Aggregate;

/// See [`count`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

/// The number of records.
pub fn count() -> Count {
    Count
}

impl<T> Aggregate<T> for Count {
    type Item = ();
    type Acc = u64;
    type Out = u64;

    #[inline]
    fn item(&self, _: &T) {}
    #[inline]
    fn create(&self) -> u64 {
        0
    }
    #[inline]
    fn update(&self, acc: &mut u64, (): ()) {
        *acc += 1;
    }
    #[inline]
    fn merge(&self, acc: &mut u64, other: u64) {
        *acc += other;
    }
    #[inline]
    fn finish(&self, acc: u64) -> u64 {
        acc
    }
}
