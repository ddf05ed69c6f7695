//! How many records are due: what [`crate::generator`] and [`crate::nexmark`] share to keep to a rate.

use std::time::Duration;

use updraft_dataflow::Error;
use updraft_kernel::clock::{self, Nanos};

/// How long a slice is: records that fall due within one are given together, so that a high rate costs a
/// thousand wake-ups a second, not a million.
const SLICE: Duration = Duration::from_millis(1);

/// How much of a pause is made up for. What is older is never given: a source that stood still for a minute
/// must not flood the job with a minute's records.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Records at a rate, from the kernel's clock.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Nanoseconds from one record to the next.
    interval: f64,
    /// When the record `given = 0` is due; unknown until the first look at the clock.
    start: Option<Nanos>,
    given: u64,
    /// How much of its pauses has not been made up for, since somebody last took account of it.
    forgiven: Duration,
}

impl Pace {
    /// `rate` records per second, of those that [`check`](Self::check) lets pass.
    pub(crate) fn new(rate: f64) -> Self {
        // From a record in a century to more than any machine can make: no sum below overflows.
        let interval = 1e9 / rate.clamp(3e-10, 1e12);
        Self { interval, start: None, given: 0, forgiven: Duration::ZERO }
    }

    /// Whether `rate` is one.
    pub(crate) fn check(rate: Option<f64>) -> Result<(), Error> {
        match rate {
            Some(rate) if rate.is_nan() || rate <= 0.0 => {
                Err(format!("rate({rate}) is no rate: give records per second, more than 0").into())
            }
            _ => Ok(()),
        }
    }

    /// Time that has been lost since this was last asked: the records to come are later by as much.
    pub(crate) fn take_forgiven(&mut self) -> Duration {
        std::mem::take(&mut self.forgiven)
    }

    /// Waits until a record is due and takes what is, `limit` at most.
    pub(crate) async fn take(&mut self, limit: usize) -> usize {
        loop {
            let due = self.due(clock::now());
            if due > 0 {
                let taken = due.min(limit as u64);
                self.given += taken;
                return taken as usize;
            }
            clock::sleep(self.wait(clock::now())).await;
        }
    }

    /// How many records are due at `now` and not given yet.
    fn due(&mut self, now: Nanos) -> u64 {
        let start = *self.start.get_or_insert(now);
        let behind = now.since(start + self.offset(self.given));
        if behind > CATCH_UP {
            self.start = Some(start + (behind - CATCH_UP));
            self.forgiven += behind - CATCH_UP;
        }
        let behind = behind.min(CATCH_UP).as_nanos() as f64;
        let is_due = now >= start + self.offset(self.given);
        if is_due { 1 + (behind / self.interval) as u64 } else { 0 }
    }

    /// How long until the next record is due, a slice at least.
    fn wait(&self, now: Nanos) -> Duration {
        let next = self.start.unwrap_or(now) + self.offset(self.given);
        next.since(now).max(SLICE)
    }

    /// When a record is due, after the start.
    fn offset(&self, record: u64) -> Duration {
        Duration::from_nanos((record as f64 * self.interval) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(pace: &mut Pace, millis: u64) -> u64 {
        let due = pace.due(Nanos(millis * 1_000_000));
        pace.given += due;
        due
    }

    #[test]
    fn keeps_to_the_rate() {
        let mut pace = Pace::new(1_000.0);
        assert_eq!(take_all(&mut pace, 5), 1);
        let given: u64 = (6..=1_005).map(|ms| take_all(&mut pace, ms)).sum();
        assert_eq!(given, 1_000);
    }

    #[test]
    fn waits_for_the_next_record_and_not_less_than_a_slice() {
        let mut pace = Pace::new(10.0);
        assert_eq!(take_all(&mut pace, 0), 1);
        assert_eq!(take_all(&mut pace, 99), 0);
        assert_eq!(pace.wait(Nanos(20_000_000)), Duration::from_millis(80));
        assert_eq!(pace.wait(Nanos(99_999_999)), SLICE);
    }

    #[test]
    fn catches_up_after_a_pause_but_not_for_ever() {
        let mut pace = Pace::new(1_000.0);
        assert_eq!(take_all(&mut pace, 0), 1);
        assert_eq!(take_all(&mut pace, 500), 500);
        assert_eq!(take_all(&mut pace, 3_600_000), 1_001);
        assert_eq!(take_all(&mut pace, 3_600_000), 0);
        assert_eq!(take_all(&mut pace, 3_600_001), 1);
    }

    #[test]
    fn no_rate_is_too_odd() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let mut pace = Pace::new(rate);
            pace.due(Nanos(0));
            pace.due(Nanos(u64::MAX));
        }
    }
}
