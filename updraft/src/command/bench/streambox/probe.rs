//! One probe: a job at a rate, watched epoch by epoch.

use std::thread;
use std::time::Duration;

use updraft::dataflow::Error;
use updraft::kernel::{Nanos, clock};
use updraft::prelude::*;

/// Epochs that a probe lasts.
const SAMPLES: usize = 25;
/// The first of these are dropped; so is the same share where there are more or fewer.
const DROPPED: usize = 10;
/// Epochs that are short are watched for so long.
const LEAST: Duration = Duration::from_secs(2);
/// The share of its rate that a source must keep.
const KEPT: f64 = 0.97;
/// One in so many judged samples may miss the target: this is no machine of our own.
const MISSES: usize = 10;
/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What was seen of a job.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The latencies that are judged, ascending.
    judged: Vec<Duration>,
    /// Records a second that were taken meanwhile.
    pub(super) taken: f64,
}

/// How far a job has come at a time.
struct Mark {
    at: Nanos,
    samples: usize,
    records: u64,
}

impl Seen {
    fn of(mut samples: Vec<Duration>, marks: &[Mark]) -> Self {
        let dropped = samples.len() * DROPPED / SAMPLES;
        let mut judged = samples.split_off(dropped);
        judged.sort();
        let from = marks.iter().find(|mark| mark.samples >= dropped);
        let taken = from.zip(marks.last()).map_or(0.0, |(from, to)| {
            let span = to.at.since(from.at).as_secs_f64();
            if span > 0.0 { (to.records - from.records) as f64 / span } else { 0.0 }
        });
        Self { judged, taken }
    }

    /// Whether the source has kept `rate`, and enough of what is judged is within `target`.
    pub(super) fn meets(&self, rate: f64, target: Duration) -> bool {
        let misses = self.judged.iter().filter(|latency| **latency > target).count();
        !self.judged.is_empty() && self.taken >= KEPT * rate && misses * MISSES <= self.judged.len()
    }

    /// The latency in the middle, and the worst.
    pub(super) fn latencies(&self) -> Option<[Duration; 2]> {
        Some([*self.judged.get(self.judged.len() / 2)?, *self.judged.last()?])
    }
}

/// Runs `job` until it has been seen enough, for `limit` at most.
pub(super) fn watch(runtime: &Runtime, job: Job, limit: Duration) -> Result<Seen, Error> {
    let running = job.start(runtime.handle())?;
    let (begin, mut seen) = (clock::now(), 0);
    let (mut samples, mut marks) = (Vec::new(), Vec::new());
    loop {
        thread::sleep(LOOK);
        let (count, new) = running.metrics().latencies.after(seen);
        seen = count;
        samples.extend(new);
        let now = clock::now();
        marks.push(Mark { at: now, samples: samples.len(), records: running.metrics().records() });
        let passed = now.since(begin);
        if running.is_ended() || passed >= limit || samples.len() >= SAMPLES && passed >= LEAST.min(limit) {
            break;
        }
    }
    if running.is_ended() {
        // Its source has no end, so it has failed; if not, what was seen holds.
        runtime.block_on(running.join())?;
    } else {
        running.cancel();
        // That it was cancelled is no news.
        let _ = runtime.block_on(running.join());
    }
    Ok(Seen::of(samples, &marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(samples: &[u64], records: u64) -> Seen {
        let ms = samples.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let mark = |n: usize| Mark { at: Nanos(n as u64 * 1_000_000_000), samples: n, records: n as u64 * records };
        Seen::of(ms, &(0..=samples.len()).map(mark).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_ten_are_dropped_and_the_last_fifteen_judged() {
        let (slow, quick) = ([900; 10], [10; 15]);
        let target = Duration::from_millis(10);
        let all = [slow.as_slice(), &quick].concat();
        assert!(seen(&all, 1_000).meets(1_000.0, target));
        assert!(!seen(&all, 900).meets(1_000.0, target), "the source has not kept its rate");
        assert!(!seen(&all, 1_000).meets(1_000.0, target / 2));
        let mut odd = all.clone();
        odd[20] = 11;
        assert!(seen(&odd, 1_000).meets(1_000.0, target), "one may miss it");
        odd[21] = 11;
        assert!(!seen(&odd, 1_000).meets(1_000.0, target), "two may not");
        assert!(!seen(&[], 1_000).meets(0.0, target), "nothing seen is nothing met");
    }

    #[test]
    fn a_job_without_end_is_watched_and_ended() {
        let runtime = Runtime::builder().kernels(1).pin(false).build().expect("a kernel starts");
        let job = Job::new("endless");
        job.source("numbers", Generator::new(|i| i).rate(100_000.0))
            .epochs(Epochs::Records(1_000))
            .stream()
            .sink("none", Blackhole::new().0);
        let seen = watch(&runtime, job, Duration::from_millis(600)).expect("the job does not fail");
        assert!(seen.taken > 0.0, "{seen:?}");
    }
}
