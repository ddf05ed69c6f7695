//! Operators that wait, that are the user's own, that split and spread: on threads and simulated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use support::{Driver, drivers};
use updraft_dataflow::aggregate::count;
use updraft_dataflow::operator::{Calls, Operator, Outbox};
use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::{Bundle, Epochs, Job, Pipe, Punctuation, Stream, Time, Tumbling, Watermarks};
use updraft_kernel::sim::{Faults, Sim};
use updraft_kernel::{KernelId, clock, random};

/// Numbers from 0 up, in batches: their event time too.
fn numbers(job: &Job, batches: &[usize], epoch: usize) -> Stream<i64, impl Pipe<i64, Out = i64> + use<>> {
    let mut next = 0..;
    let batches = batches.iter().map(|len| next.by_ref().take(*len).collect()).collect();
    job.source("numbers", Scripted(vec![batches]))
        .timestamps(|number: &i64| Time(*number), Watermarks::monotonic())
        .epochs(Epochs::Records(epoch))
        .stream()
}

fn batches() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0usize..30, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn calls_are_made_for_all_and_no_more_at_a_time_than_allowed(
        batches in batches(), epoch in 1usize..60, limit in 1usize..8, ordered: bool, driver in drivers(),
    ) {
        let kernels = match driver { Driver::Threads(kernels) | Driver::Simulated(_, kernels, _) => kernels };
        let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let job = Job::new("calls");
        let (sink, rows) = gather();
        let (counts_sink, counts) = gather();
        let (now, seen) = (under_way.clone(), most.clone());
        let calls = if ordered { Calls::ordered(limit) } else { Calls::unordered(limit) };
        let doubled = numbers(&job, &batches, epoch).map_async(calls, move |number| {
            let (now, seen) = (now.clone(), seen.clone());
            async move {
                seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                clock::sleep(Duration::from_micros(random::u64() % 200)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(number * 2)
            }
        });
        let (one, other) = doubled.fork();
        // In epochs and in time: a window finds what is late, and a process what is out of order.
        one.key_by(|_| 0u8).process(Trail).sink("rows", sink);
        other.window_all(Tumbling::of(Duration::from_micros(10))).aggregate(count()).sink("counts", counts_sink);
        driver.run(job);
        let total: usize = batches.iter().sum();
        let rows = rows.take();
        let mut sorted = rows.clone();
        sorted.sort();
        let expected: Vec<_> = (0..total as i64).map(|number| number * 2).collect();
        prop_assert_eq!(&sorted, &expected);
        if ordered {
            prop_assert_eq!(&rows, &expected);
        }
        let mut counts: Vec<_> = counts.take().into_iter().map(|row| (row.window.start.0, row.value as usize)).collect();
        counts.sort();
        let windows: Vec<_> = (0..total).step_by(10).map(|at| (at as i64, 10.min(total - at))).collect();
        prop_assert_eq!(counts, windows);
        prop_assert!(most.load(Ordering::SeqCst) <= limit * kernels);
    }

    #[test]
    fn splitting_and_spreading_lose_nothing(batches in batches(), epoch in 1usize..60, driver in drivers()) {
        let job = Job::new("split");
        let (even_sink, even) = gather();
        let (odd_sink, odd) = gather();
        let (evens, odds) = numbers(&job, &batches, epoch).rebalance().split(|number| number % 2 == 0);
        evens.sink("even", even_sink);
        odds.rebalance().sink("odd", odd_sink);
        driver.run(job);
        let total = batches.iter().sum::<usize>() as i64;
        let (mut even, mut odd) = (even.take(), odd.take());
        even.sort();
        odd.sort();
        prop_assert_eq!(even, (0..total).step_by(2).collect::<Vec<_>>());
        prop_assert_eq!(odd, (1..total.max(1)).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn an_operator_sees_epochs_in_order_and_its_timers(
        batches in batches(), epoch in 1usize..60, shards in 1usize..9, driver in drivers(),
    ) {
        let kernels = match driver { Driver::Threads(kernels) | Driver::Simulated(_, kernels, _) => kernels };
        let job = Job::new("own").shards(shards);
        let (sink, rows) = gather();
        let (keyed_sink, keyed) = gather();
        let (one, other) = numbers(&job, &batches, epoch).fork();
        one.operator("watch", Watch::default()).sink("rows", sink);
        other.key_by(|number| number % 7).shuffle().operator("watch keys", Watch::default()).sink("keyed", keyed_sink);
        driver.run(job);
        let total: usize = batches.iter().sum();
        for (rows, instances) in [(rows.take(), kernels), (keyed.take(), shards)] {
            let mut records = 0;
            let mut ends = BTreeMap::<usize, Vec<u64>>::new();
            let mut timers = Vec::new();
            for seen in rows {
                match seen {
                    Seen::Epoch { kernel, epoch, count } => {
                        records += count;
                        ends.entry(kernel).or_default().push(epoch);
                    }
                    Seen::Timer(at) => timers.push(at),
                }
            }
            prop_assert_eq!(records, total);
            // Every instance is told of every epoch, once and in order.
            prop_assert_eq!(ends.len(), instances);
            for epochs in ends.values() {
                prop_assert_eq!(epochs, &(0..epochs.len() as u64).collect::<Vec<_>>());
            }
            timers.sort();
            prop_assert_eq!(timers, (0..total as i64).filter(|n| n % 5 == 0).map(|n| n + 3).collect::<Vec<_>>());
        }
    }
}

/// Gives its records on, one after the other.
#[derive(Clone)]
struct Trail;

impl updraft_dataflow::keyed::Process<u8, i64> for Trail {
    type State = ();
    type Out = i64;
    fn record(&mut self, number: i64, (): &mut (), cx: &mut updraft_dataflow::keyed::Context<'_, u8, i64>) {
        assert_eq!(Time(number / 2), cx.time());
        cx.emit(number);
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Epoch { kernel: usize, epoch: u64, count: usize },
    Timer(i64),
}

/// Tells of the epochs that it sees; sets a timer for each fifth number.
#[derive(Clone, Default)]
struct Watch {
    kernel: usize,
    count: usize,
    watermark: Option<Time>,
}

impl Watch {
    fn see(&mut self, time: Time, number: i64, out: &mut Outbox<'_, Seen>) {
        assert!(self.watermark.is_none_or(|watermark| time >= watermark) && time.0 == number);
        self.count += 1;
        if number % 5 == 0 {
            out.set_timer(Time(number + 3));
        }
    }
}

impl Operator<i64> for Watch {
    type Out = Seen;
    fn open(&mut self, kernel: usize, kernels: usize) {
        assert!(kernel < kernels);
        self.kernel = kernel;
    }
    fn bundle(&mut self, bundle: Bundle<i64>, out: &mut Outbox<'_, Seen>) {
        bundle.timed().for_each(|(time, number)| self.see(time, *number, out));
    }
    fn timer(&mut self, at: Time, out: &mut Outbox<'_, Seen>) {
        out.emit(vec![Seen::Timer(at.0)]);
    }
    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Seen>) {
        self.watermark = Some(punctuation.watermark);
        let count = std::mem::take(&mut self.count);
        out.emit(vec![Seen::Epoch { kernel: self.kernel, epoch: punctuation.epoch.0, count }]);
    }
}

impl Operator<(i64, i64)> for Watch {
    type Out = Seen;
    fn open(&mut self, kernel: usize, kernels: usize) {
        Operator::<i64>::open(self, kernel, kernels);
    }
    fn bundle(&mut self, bundle: Bundle<(i64, i64)>, out: &mut Outbox<'_, Seen>) {
        bundle.timed().for_each(|(time, (_, number))| self.see(time, *number, out));
    }
    fn timer(&mut self, at: Time, out: &mut Outbox<'_, Seen>) {
        Operator::<i64>::timer(self, at, out);
    }
    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Seen>) {
        Operator::<i64>::punctuation(self, punctuation, out);
    }
}

#[test]
fn calls_that_fail_or_take_too_long_end_the_job() {
    let run = |calls: Calls, fails: bool| {
        let sim = Sim::builder(5).kernels(2).faults(Faults::none().stalls(0.05, Duration::from_millis(1))).build();
        let job = Job::new("calls");
        numbers(&job, &[10, 10], 7)
            .map_async(calls, move |number| async move {
                clock::sleep(Duration::from_secs(if number == 13 { 60 } else { 1 })).await;
                if fails && number == 13 { Err("no such number".into()) } else { Ok(number) }
            })
            .sink("rows", gather().0);
        let running = job.start(sim.handle()).unwrap();
        sim.block_on(running.join()).map(|_| ()).map_err(|error| error.to_string())
    };
    let error = run(Calls::unordered(4), true).unwrap_err();
    assert_eq!(error, "job `calls`: `map_async`: no such number");
    let error = run(Calls::ordered(4).timeout(Duration::from_secs(30)), false).unwrap_err();
    assert_eq!(
        error,
        "job `calls`: `map_async`: a call has taken longer than 30s; allow more time, or handle it there"
    );
    run(Calls::ordered(4).timeout(Duration::from_secs(90)), false).unwrap();
}

#[test]
fn a_few_large_bundles_are_spread_over_the_kernels() {
    let sim = Sim::builder(3).kernels(4).build();
    let job = Job::new("spread").stealing(false);
    let (sink, rows) = gather();
    numbers(&job, &[40], 1_000)
        .rebalance()
        .map(|_| updraft_kernel::kernel_id().unwrap_or(KernelId(9)).0)
        .sink("rows", sink);
    sim.block_on(job.start(sim.handle()).unwrap().join()).unwrap();
    let mut each = [0; 4];
    rows.take().into_iter().for_each(|kernel| each[kernel] += 1);
    assert_eq!(each, [10; 4]);
}
