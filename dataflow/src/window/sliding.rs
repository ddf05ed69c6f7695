//! Windows that overlap.

use std::time::Duration;

use super::{Shape, Sliced, Slicing};
use crate::time::micros;

/// Windows of one length, one each `slide`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sliding {
    size: i64,
    slide: i64,
    offset: i64,
}

impl Sliding {
    /// Windows of `size`, one each `slide`, aligned to the origin of time.
    ///
    /// # Panics
    /// When `slide` is less than a microsecond or more than `size`.
    pub fn of(size: Duration, slide: Duration) -> Self {
        Self::of_micros(micros(size), micros(slide))
    }

    /// The same, in microseconds.
    ///
    /// # Panics
    /// As [`of`](Self::of).
    pub fn of_micros(size: i64, slide: i64) -> Self {
        assert!(slide > 0, "a sliding window must slide by at least a microsecond");
        assert!(slide <= size, "a slide longer than the window would lose the records in between");
        Self { size, slide, offset: 0 }
    }

    /// The same, with an edge at `offset` after the origin.
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        self.offset_micros(micros(offset))
    }

    /// The same, in microseconds; before the origin where it is negative.
    #[must_use]
    pub fn offset_micros(mut self, offset: i64) -> Self {
        self.offset = offset % self.slide;
        self
    }
}

impl Sliced for Sliding {
    fn slicing(&self) -> Slicing {
        Slicing { size: self.size, slide: self.slide, offset: self.offset, shape: Shape::Sliding }
    }
}
