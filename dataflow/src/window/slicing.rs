//! [`Slicing`]: how windows are cut into slices, and which windows a slice is in.

use super::Window;
use crate::time::Time;

/// Where windows begin and end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One begins each `slide`, and all are `size` long.
    Sliding,
    /// One ends each `slide`, and begins where a multiple of `size` does: they grow until they are `size` long.
    Cumulating,
    /// There is one, of all time; it ends with the stream.
    Whole,
}

/// Windows of `size`, one each `slide`, with an edge at `offset`; all in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slicing {
    /// The length of a window; of the longest, where they differ.
    pub size: i64,
    /// From one window to the next; at most `size`, of which it is a part where windows cumulate.
    pub slide: i64,
    /// Where some window starts.
    pub offset: i64,
    /// Where windows begin and end.
    pub shape: Shape,
}

impl Slicing {
    /// One window of all time.
    pub const WHOLE: Self = Self { size: i64::MAX, slide: i64::MAX, offset: 0, shape: Shape::Whole };

    /// Whether there is but one window.
    pub(crate) fn is_whole(&self) -> bool {
        self.shape == Shape::Whole
    }

    /// Whether each window is a slice.
    pub(crate) fn tumbles(&self) -> bool {
        self.slide == self.size
    }

    /// The slice that holds `time`: its start, and its end. Slices end where windows start or end, so there are
    /// at most two of them a slide, whatever the sizes ("paired windows": Krishnamurthy et al., "On-the-fly Sharing for
    /// Streamed Aggregation", SIGMOD 2006, §3). Saturates at the ends of time.
    #[inline]
    pub(crate) fn slice(&self, time: i64) -> (i64, i64) {
        if self.is_whole() {
            return (i64::MIN, i64::MAX);
        }
        let start = align_down(time, self.slide, self.offset);
        let (ends_at, next) = (start.saturating_add(self.size % self.slide), start.saturating_add(self.slide));
        if time < ends_at { (start, ends_at) } else { (ends_at, next) }
    }

    /// From when on slices are kept at this watermark; none where there is but one window.
    pub(crate) fn kept_from(&self, watermark: Time) -> Option<Time> {
        (!self.is_whole()).then(|| Time(self.edge(watermark.0)))
    }

    /// Slices that start before it are over when the watermark has come `through`.
    pub(crate) fn edge(&self, through: i64) -> i64 {
        match through {
            i64::MAX => i64::MAX,
            _ if self.is_whole() => i64::MIN,
            _ => self.slice(through).0,
        }
    }

    /// The end of the first window that ends after `time`.
    pub(crate) fn first_end_after(&self, time: i64) -> i64 {
        if self.is_whole() {
            return i64::MAX;
        }
        // Windows end where windows start plus `size`.
        align_down(time, self.slide, self.offset.saturating_add(self.size)).saturating_add(self.slide)
    }

    /// The end of the window that ends next after the one that ends at `end`; none at the end of time.
    pub(crate) fn end_after(&self, end: i64) -> Option<i64> {
        (end < i64::MAX).then(|| end.saturating_add(self.slide))
    }

    /// The window that ends at `end`.
    pub(crate) fn window(&self, end: i64) -> Window {
        let start = match self.shape {
            Shape::Sliding => end.saturating_sub(self.size),
            Shape::Cumulating => align_down(end.saturating_sub(1), self.size, self.offset),
            Shape::Whole => i64::MIN,
        };
        Window { start: Time(start), end: Time(end) }
    }
}

/// The greatest `offset + n * step` not after `time`.
#[inline]
fn align_down(time: i64, step: i64, offset: i64) -> i64 {
    let past = time.wrapping_sub(offset).rem_euclid(step);
    time.saturating_sub(past)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Cumulating, Global, Sliced, Sliding, Tumbling};

    fn windows_of(slicing: Slicing, time: i64) -> Vec<(i64, i64)> {
        let ends = std::iter::successors(Some(slicing.first_end_after(time)), |end| slicing.end_after(*end));
        let windows = ends.map(|end| slicing.window(end)).take_while(|window| window.start.0 <= time);
        windows.map(|window| (window.start.0, window.end.0)).collect()
    }

    #[test]
    fn the_windows_of_a_moment() {
        let tumbling = Tumbling::of_micros(10).offset_micros(-3).slicing();
        assert_eq!(windows_of(tumbling, -4), [(-13, -3)]);
        assert_eq!(windows_of(tumbling, -3), [(-3, 7)]);
        let sliding = Sliding::of_micros(10, 4).offset_micros(-1).slicing();
        assert_eq!(windows_of(sliding, 0), [(-9, 1), (-5, 5), (-1, 9)]);
        let cumulating = Cumulating::of_micros(12, 4).offset_micros(-2).slicing();
        assert_eq!(windows_of(cumulating, -2), [(-2, 2), (-2, 6), (-2, 10)]);
        assert_eq!(windows_of(cumulating, 7), [(-2, 10)]);
        assert_eq!(windows_of(cumulating, -3), [(-14, -2)]);
        assert_eq!(windows_of(Global.slicing(), 7), [(i64::MIN, i64::MAX)]);
    }

    /// Slices lie side by side, each in the same windows from its first moment to its last.
    #[test]
    fn slices_are_parts_of_windows() {
        let kinds = [
            Tumbling::of_micros(7).offset_micros(2).slicing(),
            Sliding::of_micros(10, 4).slicing(),
            Sliding::of_micros(9, 3).offset_micros(-2).slicing(),
            Cumulating::of_micros(12, 4).offset_micros(1).slicing(),
        ];
        for slicing in kinds {
            for time in -40..40 {
                let (start, end) = slicing.slice(time);
                assert!(start <= time && time < end, "{time} in {start}..{end}");
                assert_eq!((slicing.slice(start), slicing.slice(end - 1)), ((start, end), (start, end)));
                assert_eq!(windows_of(slicing, start), windows_of(slicing, end - 1));
                assert_eq!(slicing.edge(time), start);
            }
        }
        assert_eq!(Global.slicing().edge(40), i64::MIN);
        assert_eq!(Global.slicing().edge(i64::MAX), i64::MAX);
    }
}
