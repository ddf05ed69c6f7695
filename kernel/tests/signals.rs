//! What SIGINT and SIGTERM do, in a process of its own: this test's program, run again as the child.
#![allow(clippy::unwrap_used, reason = "a test stops at the first thing that is wrong")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use updraft_kernel::{Class, KernelId, Runtime, signals};

const ROLE: &str = "UPDRAFT_TEST_ROLE";

/// Not a test by itself: what the child does.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = Runtime::builder().kernels(2).pin(false).build().unwrap();
    let shutdown = signals::install(runtime.handle());
    let group = runtime.handle().group("job", Class::Stream);
    let job = group.spawn(KernelId(1), "job", move || async move {
        println!("ready");
        shutdown.requested().await;
        println!("draining");
        if role == "stuck" {
            std::future::pending::<()>().await;
        }
    });
    runtime.block_on(job).unwrap();
    println!("drained");
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn says(&mut self, wanted: &str) {
        let found = self.lines.any(|line| line.unwrap().ends_with(wanted));
        assert!(found, "the child ended without saying `{wanted}`");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

#[test]
fn the_first_signal_lets_jobs_drain() {
    for name in ["-INT", "-TERM"] {
        let mut process = Process::start("drains");
        process.says("ready");
        process.signal(name);
        process.says("draining");
        process.says("drained");
        assert!(process.child.wait().unwrap().success());
    }
}

#[test]
fn the_second_signal_ends_the_process_at_once() {
    for (first, second) in [("-INT", "-INT"), ("-INT", "-TERM"), ("-TERM", "-TERM")] {
        let mut process = Process::start("stuck");
        process.says("ready");
        process.signal(first);
        process.says("draining");
        process.signal(second);
        assert_eq!(process.child.wait().unwrap().code(), Some(130));
    }
}
