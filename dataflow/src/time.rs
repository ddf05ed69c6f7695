//! Event time, watermarks and epochs: the three clocks of a job.
//!
//! [`Time`] is when something happened, [`Epoch`] is which punctuation closes it, and a watermark is
//! a [`Time`] below which nothing more is expected. Next: [`crate::bundle`], what carries them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point of event time: microseconds since the Unix epoch (or any origin that a job keeps to).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// Before every event: the watermark of a source that has not closed an epoch yet.
    pub const MIN: Self = Self(i64::MIN);
    /// After every event: the watermark of a source that has ended.
    pub const MAX: Self = Self(i64::MAX);

    /// `millis` milliseconds after the origin; saturates at the ends of the range.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// `micros` microseconds after the origin.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// `secs` seconds after the origin; saturates at the ends of the range.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds after the origin.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds after the origin, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

/// `span` in the unit of [`Time`], saturating.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Seconds with six decimals; `-∞` and `+∞` at the ends of the range.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-∞"),
            Self::MAX => f.write_str("+∞"),
            Self(t) => {
                let sign = if t < 0 { "-" } else { "" };
                let t = t.unsigned_abs();
                write!(f, "{sign}{}.{:06}", t / 1_000_000, t % 1_000_000)
            }
        }
    }
}

/// The number of an epoch: the records between two punctuations. Job-wide, from 0, without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

/// The number of snapshots asked for before an epoch. State written by epochs of one generation is
/// kept apart from that of the next, so that a closed generation *is* its snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// What closes an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Punctuation {
    /// The epoch that is closed.
    pub epoch: Epoch,
    /// No record of a later epoch is below this time.
    pub watermark: Time,
    /// The calendar time when it was closed (processing time); never less than that of the epoch before.
    pub now: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_ends() {
        assert_eq!(Time::from_millis(1_500), Time(1_500_000));
        assert_eq!(Time::from_secs(-1) + Duration::from_millis(250), Time(-750_000));
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time::MIN - Duration::from_secs(1), Time::MIN);
        assert_eq!(Time(-1).as_millis(), -1);
        assert_eq!(format!("{} {} {}", Time(1_250_000), Time(-1), Time::MAX), "1.250000 -0.000001 +∞");
    }
}
