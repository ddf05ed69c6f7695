//! The sum of a field.

use super::{Aggregate, State};

/// What can be summed. Integers wrap around on overflow, in debug builds too: a stream must not stop for
/// one. Floating point sums depend on the order of records in their last digits.
pub trait Summable: State + Copy {
    /// The sum of nothing.
    const ZERO: Self;
    /// `self + other`.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

macro_rules! summable {
    ($($int:ty)*; $($float:ty)*) => {
        $(impl Summable for $int {
            const ZERO: Self = 0;
            #[inline]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
        })*
        $(impl Summable for $float {
            const ZERO: Self = 0.0;
            #[inline]
            fn plus(self, other: Self) -> Self {
                self + other
            }
        })*
    };
}
summable!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize; f32 f64);

/// See [`sum`].
#[derive(Clone, Copy, Debug)]
pub struct Sum<F>(F);

/// The sum of what `field` reads from each record.
pub fn sum<T, V: Summable, F: Fn(&T) -> V + Clone + Send + Sync + 'static>(field: F) -> Sum<F> {
    Sum(field)
}

impl<T, V: Summable, F: Fn(&T) -> V + Clone + Send + Sync + 'static> Aggregate<T> for Sum<F> {
    type Item = V;
    type Acc = V;
    type Out = V;

    #[inline]
    fn item(&self, record: &T) -> V {
        (self.0)(record)
    }
    #[inline]
    fn create(&self) -> V {
        V::ZERO
    }
    #[inline]
    fn update(&self, acc: &mut V, item: V) {
        *acc = acc.plus(item);
    }
    #[inline]
    fn merge(&self, acc: &mut V, other: V) {
        *acc = acc.plus(other);
    }
    #[inline]
    fn finish(&self, acc: V) -> V {
        acc
    }
}
