//! The least and the greatest of a field.

use updraft_kernel::give_up;

use super::{Aggregate, NOTHING_SEEN, State};

macro_rules! extremum {
    ($name:ident, $function:ident, $what:literal, $better:tt) => {
        #[doc = concat!("See [`", stringify!($function), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name<F>(F);

        #[doc = concat!("The ", $what, " of what `field` reads from each record.")]
        pub fn $function<T, V, F>(field: F) -> $name<F>
        where
            V: State + Ord,
            F: Fn(&T) -> V + Clone + Send + Sync + 'static,
        {
            $name(field)
        }

        impl<T, V, F> Aggregate<T> for $name<F>
        where
            V: State + Ord,
            F: Fn(&T) -> V + Clone + Send + Sync + 'static,
        {
            type Item = V;
            type Acc = Option<V>;
            /// `None` for a window without records, which is never emitted.
            type Out = V;

            #[inline]
            fn item(&self, record: &T) -> V {
                (self.0)(record)
            }
            #[inline]
            fn create(&self) -> Option<V> {
                None
            }
            #[inline]
            fn update(&self, acc: &mut Option<V>, item: V) {
                if acc.as_ref().is_none_or(|best| item $better *best) {
                    *acc = Some(item);
                }
            }
            #[inline]
            fn merge(&self, acc: &mut Option<V>, other: Option<V>) {
                if let Some(item) = other {
                    Aggregate::<T>::update(self, acc, item);
                }
            }
            #[inline]
            fn finish(&self, acc: Option<V>) -> V {
                acc.unwrap_or_else(|| give_up(NOTHING_SEEN))
            }
        }
    };
}

extremum!(Min, min, "least", <);
extremum!(Max, max, "greatest", >);
