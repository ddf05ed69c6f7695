//! A real job, killed at random moments with `kill -9`, and run again with the same command: what readers of what is committed see at the end is
//! what they see when nothing happens to it. The broker is the tests' own, and outlives the job.
//!
//! More rounds, as at night: `UPDRAFT_CRASHES=200 cargo test --release -p updraft-kafka --examples --test crash`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broker;
mod client;

#[path = "../../connectors/tests/support/processes.rs"]
mod processes;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use broker::Broker;
use client::{Random, put_pairs, values};
use processes::{must_end_well, signal};
use updraft_kernel::clock;

const ORDERS: u64 = 6_000;

fn crashes() -> u64 {
    std::env::var("UPDRAFT_CRASHES").map_or(10, |crashes| crashes.parse().unwrap())
}

/// The job: an example of the crate, which is built with its tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/totals");
    assert!(program.exists(), "{} is not built: run `cargo test -p updraft-kafka`", program.display());
    program
}

/// A broker with orders in three partitions, and topics for what becomes of them.
fn prepared() -> Broker {
    let broker = Broker::start();
    broker.topic("orders", 3);
    let mut random = Random(42);
    for partition in 0..3 {
        let order = |number: u64| {
            let (time, customer) = (number / 10 + random.below(4), random.below(50));
            (None::<&str>, Some(format!("{time},{customer},{}", random.below(10_000))))
        };
        put_pairs(&broker.servers(), "orders", partition, (0..ORDERS / 3).map(order));
    }
    clear(&broker);
    broker
}

fn clear(broker: &Broker) {
    for topic in ["copies", "totals"] {
        broker.delete_topic(topic);
        broker.topic(topic, 2);
    }
}

fn run(broker: &Broker, state: &Path, kernels: u64) -> Child {
    let mut job = Command::new(program());
    job.arg(broker.servers()).arg(state).arg(kernels.to_string());
    job.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What readers see, in any order.
fn written(broker: &Broker) -> Vec<Vec<String>> {
    ["copies", "totals"]
        .map(|topic| {
            let mut all: Vec<_> = (0..2).flat_map(|part| values(&broker.servers(), topic, part)).collect();
            all.sort();
            all
        })
        .to_vec()
}

/// What a job writes that nothing happens to, and how long it takes.
fn undisturbed(broker: &Broker) -> (Vec<Vec<String>>, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let begun = clock::now();
    must_end_well(run(broker, folder.path(), 2));
    let took = clock::now().since(begun);
    let written = written(broker);
    let mut orders: Vec<_> = (0..3).flat_map(|part| values(&broker.servers(), "orders", part)).collect();
    orders.sort();
    assert!(written[0] == orders && written[1].len() > 1_000, "{} and {}", written[0].len(), written[1].len());
    (written, took)
}

fn check(seen: &[Vec<String>], expected: &[Vec<String>]) {
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen == expected, "{} messages, expected {}", seen.len(), expected.len());
    }
}

#[test]
fn who_is_killed_goes_on_as_if_nothing_had_happened() {
    let broker = prepared();
    let (expected, took) = undisturbed(&broker);
    let (mut random, mut crashes) = (Random(clock::wall().as_nanos() as u64), crashes());
    let (mut aborted, mut more) = (0, 5);
    while crashes > 0 {
        clear(&broker);
        let folder = tempfile::tempdir().unwrap();
        // With another number of kernels each time.
        loop {
            let mut child = run(&broker, folder.path(), 1 + random.below(3));
            if crashes == 0 || random.below(6) == 0 {
                must_end_well(child);
                break;
            }
            if random.below(3) == 0 {
                sleep(Duration::from_micros(random.below(took.as_micros() as u64)));
            } else {
                // In the middle of writing, wherever that is.
                let until = broker.written("copies") + random.below(ORDERS);
                while broker.written("copies") < until && child.try_wait().unwrap().is_none() {
                    sleep(Duration::from_millis(1));
                }
                sleep(Duration::from_micros(random.below(30_000)));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            crashes -= 1;
        }
        check(&written(&broker), &expected);
        aborted += broker.aborted("copies") + broker.aborted("totals");
        // Once more, nothing is left to be done.
        must_end_well(run(&broker, folder.path(), 1));
        check(&written(&broker), &expected);
        assert_eq!(broker.open(), 0, "readers have to wait");
        if crashes == 0 && aborted == 0 && more > 0 {
            // Few are killed while a transaction is open, and among the few of a short run there may be none.
            (crashes, more) = (5, more - 1);
        }
    }
    assert!(aborted > 0, "nobody was killed in the middle of anything");
}

/// Who has been stopped for long, and replaced, does no harm when it goes on.
#[test]
fn who_was_replaced_does_no_harm() {
    let broker = prepared();
    let (expected, took) = undisturbed(&broker);
    let mut random = Random(clock::wall().as_nanos() as u64);
    for _ in 0..crashes().div_ceil(5) {
        clear(&broker);
        let folder = tempfile::tempdir().unwrap();
        let stale = run(&broker, folder.path(), 2);
        sleep(Duration::from_micros(random.below(took.as_micros() as u64)));
        signal(&stale, "-STOP");
        let new = run(&broker, folder.path(), 2);
        sleep(Duration::from_micros(random.below(took.as_micros() as u64)));
        // It may go on while the other is at work, or after that.
        signal(&stale, "-CONT");
        drop(new.wait_with_output().unwrap());
        drop(stale.wait_with_output().unwrap());
        // Whoever of them was too late, who comes last brings it to its end.
        must_end_well(run(&broker, folder.path(), 1));
        check(&written(&broker), &expected);
    }
}
