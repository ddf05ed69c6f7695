//! Network latency monitoring: the mean round trip between each two machines, in fixed windows of a second.

use std::sync::Arc;
use std::time::Duration;

use updraft::prelude::*;

use super::super::data::Random;
use super::replay::Feed;

/// Records a second of event time.
const PER_SECOND: u64 = 500_000;
const MACHINES: u64 = 2_000;
/// How many others each machine probes.
const PEERS: u64 = 100;

/// What came of one probe; with its event time it is 40 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    from: u32,
    to: u32,
    /// Microseconds.
    round_trip: u64,
    /// Of both ends, and what else there is to a probe.
    _rest: [u64; 2],
}

pub(super) struct Network {
    probes: Arc<[Probe]>,
}

impl Network {
    pub(super) fn new(count: usize) -> Self {
        let mut random = Random::new();
        let probe = |_| {
            let from = random.below(MACHINES);
            let to = (from + 1 + random.below(PEERS) * 17) % MACHINES;
            Probe { from: from as u32, to: to as u32, round_trip: 100 + random.below(900), _rest: [from, to] }
        };
        Self { probes: (0..count).map(probe).collect() }
    }

    /// The mean round trip of each pair in each window.
    pub(super) fn rows(&self, job: &Job, feed: Feed) -> Stream<Windowed<(u32, u32), f64>> {
        feed.read(job, "probes", &self.probes, (40, PER_SECOND))
            .map(|event| event.value)
            .key_by(|probe| (probe.from, probe.to))
            .window(Tumbling::of(Duration::from_secs(1)))
            .aggregate(avg(|probe: &Probe| probe.round_trip as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive::{Rows, agree, sliding};
    use super::super::replay::Event;
    use super::*;

    #[test]
    fn agrees_with_a_naive_evaluation() {
        assert_eq!(size_of::<Event<Probe>>(), 40);
        let work = Network::new(5_000);
        agree(
            |job, feed| work.rows(job, feed),
            |feed| {
                let mut rows = Rows::<_, (u64, u64)>::new();
                for (start, probe) in sliding(feed, PER_SECOND, &work.probes, 1, 1) {
                    let (sum, count) = rows.entry((start, probe.from, probe.to)).or_default();
                    *sum += probe.round_trip;
                    *count += 1;
                }
                let mean = |((start, from, to), (sum, n)): (_, (u64, u64))| {
                    format!("{start} {from} {to} {}", sum as f64 / n as f64)
                };
                rows.into_iter().map(mean).collect()
            },
            |row| format!("{} {} {} {}", row.window.start.0, row.key.0, row.key.1, row.value),
        );
    }
}
