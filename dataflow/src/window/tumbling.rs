//! Windows side by side.

use std::time::Duration;

use super::{Shape, Sliced, Slicing};
use crate::time::micros;

/// Windows of one length, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tumbling {
    size: i64,
    offset: i64,
}

impl Tumbling {
    /// Windows of `size`, aligned to the origin of time.
    ///
    /// # Panics
    /// When `size` is less than a microsecond.
    pub fn of(size: Duration) -> Self {
        Self::of_micros(micros(size))
    }

    /// The same, in microseconds.
    ///
    /// # Panics
    /// When `size` is less than 1.
    pub fn of_micros(size: i64) -> Self {
        assert!(size > 0, "a tumbling window must be at least a microsecond long");
        Self { size, offset: 0 }
    }

    /// The same, with an edge at `offset` after the origin (days in another time zone).
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        self.offset_micros(micros(offset))
    }

    /// The same, in microseconds; before the origin where it is negative.
    #[must_use]
    pub fn offset_micros(mut self, offset: i64) -> Self {
        self.offset = offset % self.size;
        self
    }
}

impl Sliced for Tumbling {
    fn slicing(&self) -> Slicing {
        Slicing { size: self.size, slide: self.size, offset: self.offset, shape: Shape::Sliding }
    }
}
