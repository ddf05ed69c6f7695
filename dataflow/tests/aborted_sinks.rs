//! What a sink is told at the end of its job, good or bad.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::{Bundle, Error, Job, Running, Sink};
use updraft_kernel::{Runtime, Signal};

/// What the sink under test does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    Well,
    WaitsInWrite,
    FailsInWrite,
    PanicsInWrite,
    WaitsInClose,
    FailsInClose,
}

/// What it was told at the end.
#[derive(Clone, Default)]
struct Told {
    /// Set when it has begun to write, or to close.
    waits: Arc<Signal>,
    closed: Arc<AtomicUsize>,
    aborted: Arc<AtomicUsize>,
}

impl Told {
    /// How often it was closed, and how often told to give up.
    fn counts(&self) -> (usize, usize) {
        (self.closed.load(Ordering::SeqCst), self.aborted.load(Ordering::SeqCst))
    }
}

struct Witness {
    does: Does,
    told: Told,
}

impl Sink<u64> for Witness {
    async fn write(&mut self, _: Bundle<u64>) -> Result<(), Error> {
        match self.does {
            Does::WaitsInWrite => {
                self.told.waits.set();
                std::future::pending().await
            }
            Does::FailsInWrite => Err("full".into()),
            Does::PanicsInWrite => panic!("a sink's own fault"),
            _ => Ok(()),
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        match self.does {
            Does::WaitsInClose => {
                self.told.waits.set();
                std::future::pending().await
            }
            Does::FailsInClose => return Err("full".into()),
            _ => {}
        }
        self.told.closed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn abort(&mut self) {
        self.told.aborted.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until the sink does.
fn wait_for(runtime: &Runtime, told: &Told) {
    let waits = told.waits.clone();
    runtime.block_on(async move { waits.wait().await });
}

fn runtime() -> Runtime {
    Runtime::builder().kernels(2).pin(false).build().unwrap()
}

fn start(runtime: &Runtime, does: Does, told: &Told) -> Running {
    let job = Job::new("job");
    let stream = job.source("numbers", Scripted(vec![vec![vec![1u64, 2, 3]; 100]; 2])).stream();
    stream.sink("witness", Witness { does, told: told.clone() });
    job.start(runtime.handle()).unwrap()
}

#[test]
fn a_sink_that_was_closed_is_not_told_to_give_up() {
    let (runtime, told) = (runtime(), Told::default());
    runtime.block_on(start(&runtime, Does::Well, &told).join()).unwrap();
    assert_eq!(told.counts(), (1, 0));
}

#[test]
fn a_sink_is_told_of_its_own_failure() {
    let runtime = runtime();
    for does in [Does::FailsInWrite, Does::PanicsInWrite, Does::FailsInClose] {
        let told = Told::default();
        runtime.block_on(start(&runtime, does, &told).join()).unwrap_err();
        assert_eq!(told.counts(), (0, 1), "{does:?}");
    }
}

#[test]
fn a_sink_that_waits_is_told_that_the_job_is_cancelled() {
    let runtime = runtime();
    for does in [Does::WaitsInWrite, Does::WaitsInClose] {
        let told = Told::default();
        let running = start(&runtime, does, &told);
        wait_for(&runtime, &told);
        running.cancel();
        runtime.block_on(running.join()).unwrap_err();
        assert_eq!(told.counts(), (0, 1), "{does:?}");
    }
}

#[test]
fn a_sink_whose_job_is_cancelled_at_once_is_told_once() {
    let runtime = runtime();
    for _ in 0..100 {
        let told = Told::default();
        let running = start(&runtime, Does::WaitsInWrite, &told);
        running.cancel();
        runtime.block_on(running.join()).unwrap_err();
        assert_eq!(told.counts(), (0, 1));
    }
}

#[test]
fn a_sink_that_waits_is_told_that_the_runtime_ends() {
    let (runtime, told) = (runtime(), Told::default());
    let _running = start(&runtime, Does::WaitsInWrite, &told);
    wait_for(&runtime, &told);
    drop(runtime);
    assert_eq!(told.counts(), (0, 1));
}

#[test]
fn a_sink_is_told_of_a_panic_elsewhere() {
    let (runtime, told) = (runtime(), Told::default());
    let job = Job::new("job");
    let panics = job.source("numbers", Scripted(vec![vec![vec![1u64]]])).stream();
    panics.map(|n| if n == 1 { panic!("cannot bear {n}") } else { n }).sink("rows", gather().0);
    let witnessed = job.source("others", Scripted(vec![vec![vec![2u64]]])).stream();
    witnessed.sink("witness", Witness { does: Does::Well, told: told.clone() });
    runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap_err();
    assert_eq!(told.counts(), (0, 1));
}

#[test]
fn no_sink_is_closed_before_all_have_all_records() {
    let runtime = runtime();
    for does in [Does::WaitsInWrite, Does::FailsInWrite, Does::PanicsInWrite] {
        let (well, ill) = (Told::default(), Told::default());
        let job = Job::new("job");
        for (does, told) in [(Does::Well, &well), (does, &ill)] {
            let stream = job.source("numbers", Scripted(vec![vec![vec![1u64]]])).stream();
            stream.sink("witness", Witness { does, told: told.clone() });
        }
        let running = job.start(runtime.handle()).unwrap();
        if does == Does::WaitsInWrite {
            wait_for(&runtime, &ill);
            running.cancel();
        }
        runtime.block_on(running.join()).unwrap_err();
        assert_eq!((well.counts(), ill.counts()), ((0, 1), (0, 1)), "{does:?}");
    }
}
