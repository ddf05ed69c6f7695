//! Tuples of aggregates are aggregates.

use super::Aggregate;

macro_rules! tuple {
    ($($name:ident $index:tt),+) => {
        impl<T, $($name: Aggregate<T>),+> Aggregate<T> for ($($name,)+) {
            type Item = ($($name::Item,)+);
            type Acc = ($($name::Acc,)+);
            type Out = ($($name::Out,)+);

            #[inline]
            fn item(&self, record: &T) -> Self::Item {
                ($(self.$index.item(record),)+)
            }
            #[inline]
            fn create(&self) -> Self::Acc {
                ($(self.$index.create(),)+)
            }
            #[inline]
            fn update(&self, acc: &mut Self::Acc, item: Self::Item) {
                $(self.$index.update(&mut acc.$index, item.$index);)+
            }
            #[inline]
            fn merge(&self, acc: &mut Self::Acc, other: Self::Acc) {
                $(self.$index.merge(&mut acc.$index, other.$index);)+
            }
            #[inline]
            fn finish(&self, acc: Self::Acc) -> Self::Out {
                ($(self.$index.finish(acc.$index),)+)
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, G 5);
