//! Windows that grow, step by step, and begin anew when they are full.

use std::time::Duration;

use super::{Shape, Sliced, Slicing};
use crate::time::micros;

/// Windows that begin where a multiple of the longest one's length does, and end each step from there: of a day with a step
/// of an hour, what has come since midnight, each hour. (Flink's `CUMULATE`.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cumulating {
    size: i64,
    step: i64,
    offset: i64,
}

impl Cumulating {
    /// Windows of up to `size`, one each `step`, aligned to the origin of time.
    ///
    /// # Panics
    /// When `step` is less than a microsecond, or `size` is not a multiple of it.
    pub fn of(size: Duration, step: Duration) -> Self {
        Self::of_micros(micros(size), micros(step))
    }

    /// The same, in microseconds.
    ///
    /// # Panics
    /// As [`of`](Self::of).
    pub fn of_micros(size: i64, step: i64) -> Self {
        assert!(step > 0, "a cumulating window must grow by at least a microsecond");
        assert!(size >= step && size % step == 0, "a cumulating window's length must be a multiple of its step");
        Self { size, step, offset: 0 }
    }

    /// The same, with a window that starts at `offset` after the origin.
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

impl Sliced for Cumulating {
    fn slicing(&self) -> Slicing {
        Slicing { size: self.size, slide: self.step, offset: self.offset, shape: Shape::Cumulating }
    }
}
