//! Count windows: so many records of a key, in the order in which they come.

use std::collections::VecDeque;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::bundle::Record;
use crate::keyed::{Context, Process};
use crate::table::Key;

/// Aggregates the last `size` records of a key, each `slide` records.
pub struct CountWindows<T, A> {
    aggregate: A,
    /// Records of a slice; slices of a window, and from one window to the next.
    slice: u64,
    slices: usize,
    slide: u64,
    of: PhantomData<fn(T)>,
}

impl<T, A: Clone> Clone for CountWindows<T, A> {
    fn clone(&self) -> Self {
        Self { aggregate: self.aggregate.clone(), ..*self }
    }
}

impl<T, A> CountWindows<T, A> {
    /// Windows of `size` records, one each `slide`.
    ///
    /// # Panics
    /// When one of them is zero, or `slide` is greater than `size`.
    pub fn new(aggregate: A, size: u64, slide: u64) -> Self {
        assert!(
            0 < slide && slide <= size,
            "a count window slides by one record or more, and by no more than its size"
        );
        let slice = gcd(size, slide);
        Self { aggregate, slice, slices: (size / slice) as usize, slide: slide / slice, of: PhantomData }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What is kept of a key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Counted<V> {
    /// Whole slices, and the one that is being filled at the back.
    slices: VecDeque<V>,
    /// Records in the last slice, and whole slices since the last window.
    filled: u64,
    since: u64,
}

impl<V> Default for Counted<V> {
    fn default() -> Self {
        Self { slices: VecDeque::new(), filled: 0, since: 0 }
    }
}

impl<K, T, A> Process<K, T> for CountWindows<T, A>
where
    K: Key,
    T: Record,
    A: Aggregate<T>,
{
    type State = Counted<A::Acc>;
    /// The key, and what the window comes to. The first windows of a sliding one have fewer records; what does not make a
    /// slide at the end of the stream makes no window.
    type Out = (K, A::Out);

    const TIMERS: bool = false;

    fn record(&mut self, record: T, counted: &mut Self::State, cx: &mut Context<'_, K, Self::Out>) {
        if counted.filled == 0 {
            if counted.slices.len() >= self.slices {
                counted.slices.pop_front();
            }
            counted.slices.push_back(self.aggregate.create());
        }
        if let Some(last) = counted.slices.back_mut() {
            self.aggregate.update(last, self.aggregate.item(&record));
        }
        counted.filled = counted.filled.saturating_add(1) % self.slice;
        if counted.filled > 0 {
            return;
        }
        counted.since = counted.since.saturating_add(1) % self.slide;
        if counted.since == 0 {
            let mut all = self.aggregate.create();
            counted.slices.iter().for_each(|slice| self.aggregate.merge(&mut all, slice.clone()));
            let row = (cx.key().clone(), self.aggregate.finish(all));
            cx.emit(row);
            if self.slices as u64 == self.slide {
                cx.clear();
            }
        }
    }

    fn heap_bytes(&self, counted: &Self::State) -> usize {
        counted.slices.capacity() * size_of::<A::Acc>()
    }
}
