//! A job whose process is asked to end: this test's program, run again as the child.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use updraft_dataflow::aggregate::count;
use updraft_dataflow::{Batch, Bundle, Error, Job, Partition, Sink, Source, Time, Tumbling, Watermarks, Windowed};
use updraft_kernel::{Class, KernelId, Runtime, clock, signals};

const ROLE: &str = "UPDRAFT_TEST_ROLE";
/// A child that nobody interrupts ends by itself, some minutes later.
const MOST: u64 = 1_000_000_000;

/// Two partitions that give numbers for long.
struct Numbers(Arc<AtomicU64>);

impl Source for Numbers {
    type Item = u64;
    type Partition = Self;
    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![Self(self.0.clone()), self])
    }
}

impl Partition for Numbers {
    type Item = u64;
    async fn next(&mut self, limit: usize) -> Result<Option<Batch<u64>>, Error> {
        clock::sleep(Duration::from_millis(1)).await;
        let first = self.0.fetch_add(limit as u64, Ordering::SeqCst);
        if first > 50 * limit as u64 {
            println!("flowing");
        }
        let batch: Vec<u64> = (first..first + limit as u64).collect();
        Ok((first < MOST).then(|| batch.into()))
    }
    fn position(&self) -> String {
        "somewhere".into()
    }
}

/// Sums up the counts that it is given, or waits with the first ones for ever.
struct Total {
    is_stuck: bool,
    total: Arc<AtomicU64>,
}

impl Sink<Windowed<u64, u64>> for Total {
    async fn write(&mut self, rows: Bundle<Windowed<u64, u64>>) -> Result<(), Error> {
        if self.is_stuck {
            println!("draining");
            std::future::pending::<()>().await;
        }
        self.total.fetch_add(rows.as_slice().iter().map(|row| row.value).sum(), Ordering::SeqCst);
        Ok(())
    }
}

/// Not a test by itself: what the child does.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = Runtime::builder().kernels(2).pin(false).build().unwrap();
    let (taken, total) = (Arc::default(), Arc::default());
    let job = Job::new("child");
    // One window, which fires when the source has stopped.
    job.source("numbers", Numbers(Arc::clone(&taken)))
        .timestamps(|_| Time(0), Watermarks::monotonic())
        .stream()
        .key_by(|n| n % 1000)
        .window(Tumbling::of(Duration::from_secs(1)))
        .aggregate(count())
        .sink("total", Total { is_stuck: role == "stuck", total: Arc::clone(&total) });
    let shutdown = signals::install(runtime.handle());
    let running = job.start(runtime.handle()).unwrap();
    let drains = running.clone();
    runtime.handle().group("shutdown", Class::Stream).spawn(KernelId(0), "drain", || async move {
        shutdown.requested().await;
        drains.drain();
    });
    runtime.block_on(running.join()).unwrap();
    println!("taken: {}", taken.load(Ordering::SeqCst));
    println!("written: {}", total.load(Ordering::SeqCst));
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(ROLE, role).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What stands after `name` on the next line that has it.
    fn says(&mut self, name: &str) -> String {
        let line = self.lines.find_map(|line| line.unwrap().split_once(name).map(|(_, rest)| rest.to_owned()));
        line.unwrap_or_else(|| panic!("the child ended without saying `{name}`"))
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn all_that_was_taken_is_written_before_an_interrupted_process_ends() {
    for name in ["-INT", "-TERM"] {
        let mut process = Process::start("drains");
        process.says("flowing");
        process.signal(name);
        let taken = process.says("taken: ");
        assert_eq!(process.says("written: "), taken);
        assert!(taken.parse::<u64>().unwrap() < MOST, "it was not interrupted");
        assert!(process.child.wait().unwrap().success());
    }
}

#[test]
fn a_drain_that_does_not_end_is_cut_short_by_a_second_signal() {
    for name in ["-INT", "-TERM"] {
        let mut process = Process::start("stuck");
        process.says("flowing");
        process.signal("-INT");
        process.says("draining");
        process.signal(name);
        assert_eq!(process.child.wait().unwrap().code(), Some(130));
    }
}
