//! Windows that overlap.

use std::time::Duration;

use super::{Sliced, Slicing};
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
        let (size, slide) = (micros(size), micros(slide));
        assert!(slide > 0, "a sliding window must slide by at least a microsecond");
        assert!(slide <= size, "a slide longer than the window would lose the records in between");
        Self { size, slide, offset: 0 }
    }

    /// The same, with an edge at `offset` after the origin.
    #[must_use]
    pub fn offset(mut self, offset: Duration) -> Self {
        self.offset = micros(offset) % self.slide;
        self
    }
}

impl Sliced for Sliding {
    fn slicing(&self) -> Slicing {
        Slicing { size: self.size, slide: self.slide, offset: self.offset }
    }
}
