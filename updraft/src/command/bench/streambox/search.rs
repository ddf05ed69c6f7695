//! The search for the highest rate that still meets a target.

use updraft::dataflow::Error;

/// How far apart, as a share, a rate that is met and one that is not may stay.
const CLOSE: f64 = 0.05;
/// Below such a share of the highest rate no more is looked for.
const LEAST: f64 = 0.02;

/// The highest rate, from nothing to `most`, at which `met` gives something, and that; none if there is no such rate. It is taken to be
/// met at all rates below one at which it is met.
pub(super) fn highest<T>(
    most: f64,
    mut met: impl FnMut(f64) -> Result<Option<T>, Error>,
) -> Result<Option<(f64, T)>, Error> {
    let (mut best, mut low, mut high, mut rate) = (None, 0.0, most, most);
    while high - low > CLOSE * high && high > LEAST * most {
        match met(rate)? {
            Some(what) => {
                (best, low) = (Some((rate, what)), rate);
            }
            None => high = rate,
        }
        rate = (low + high) / 2.0;
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue: the latency grows beyond all bounds as the rate comes near `capacity`.
    fn latency(rate: f64, capacity: f64) -> f64 {
        if rate < capacity { 0.001 / (1.0 - rate / capacity) } else { f64::INFINITY }
    }

    fn found(target: f64, capacity: f64, most: f64) -> (Option<f64>, u32) {
        let mut probes = 0;
        let best = highest(most, |rate| {
            probes += 1;
            Ok((latency(rate, capacity) <= target).then_some(()))
        });
        (best.expect("no probe fails").map(|(rate, ())| rate), probes)
    }

    #[test]
    fn finds_the_highest_rate_that_meets_the_target() {
        for capacity in [70.0, 1_000.0, 999_999.0] {
            for target in [0.0011, 0.002, 0.01, 1.0] {
                // Where the latency is the target.
                let truth = capacity * (1.0 - 0.001 / target);
                let (rate, probes) = found(target, capacity, 1.3 * capacity);
                let rate = rate.expect("some rate meets it");
                assert!(rate <= truth && rate > 0.94 * truth, "{rate} for {truth}");
                assert!(probes <= 12, "{probes} probes");
            }
        }
    }

    #[test]
    fn a_target_that_is_always_met_takes_one_probe() {
        assert_eq!(found(1.0, 1e9, 1e6), (Some(1e6), 1));
    }

    #[test]
    fn a_target_that_is_never_met_ends_with_nothing() {
        let (rate, probes) = found(0.0001, 1e6, 1e6);
        assert!(rate.is_none() && probes <= 8, "{rate:?} after {probes}");
    }

    #[test]
    fn a_probe_that_fails_ends_the_search() {
        assert!(highest(1.0, |_| Err::<Option<()>, _>("broken".into())).is_err());
    }
}
