//! A real job, killed at random moments with `kill -9`, and run again: its streams hold in the end what they hold when nothing happens to it.
//! The server is killed, too; and processes are stopped, replaced, and go on.
//!
//! More rounds, as at night: `UPDRAFT_CRASHES=200 cargo test --release -p updraft-nats --test crash`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what is around the job is no task of a kernel")]

mod support;

#[path = "../../connectors/tests/support/processes.rs"]
mod processes;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use processes::{must_end_well, one_must_end_well, signal};
use support::{Random, Server, all, ask, make, stream};
use updraft_kernel::clock;

const EVENTS: u64 = 8_000;

/// The program, which is built with the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/nats_job");
    assert!(program.exists(), "{} has to be built: cargo build -p updraft-nats --examples", program.display());
    program
}

fn launch(server: &Server, state: &Path, kernels: u64) -> Child {
    let mut command = Command::new(program());
    command.arg(server.url()).arg(state).arg(kernels.to_string()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A server with what the job reads, and nothing that it has written.
fn prepare(server: &Server) {
    ask(async {
        let js = server.js().await;
        make(&js, stream("IN", &["in.>"])).await;
        let (mut random, mut acks) = (Random::new(42), Vec::new());
        for id in 0..EVENTS {
            let (key, at) = (random.below(20), id * 50 + random.below(4_000));
            let subject = format!("in.{}.{key}", ["a", "b", "c"][random.below(3) as usize]);
            let event = format!("{{\"id\":{id},\"key\":\"k{key}\",\"at\":{at}}}");
            acks.push(js.publish(subject, event.into()).await.unwrap());
            if acks.len() == 100 {
                for ack in acks.drain(..) {
                    ack.await.unwrap();
                }
            }
        }
        for ack in acks {
            ack.await.unwrap();
        }
    });
    clear(server);
}

fn clear(server: &Server) {
    ask(async {
        let js = server.js().await;
        for (name, subjects) in [("COPIES", "copies.>"), ("COUNTS", "counts.>")] {
            let _ = js.delete_stream(name).await;
            let _ = js.delete_stream(format!("{name}_staging")).await;
            make(&js, stream(name, &[subjects])).await;
        }
    });
}

/// What the job has written, in order of the text.
fn written(server: &Server) -> Vec<Vec<String>> {
    ask(async {
        let js = server.js().await;
        let mut streams = Vec::new();
        for name in ["COPIES", "COUNTS"] {
            let told = all(&js, name).await.into_iter();
            let mut texts: Vec<_> =
                told.map(|told| format!("{} {}", told.subject, String::from_utf8(told.payload).unwrap())).collect();
            texts.sort();
            streams.push(texts);
        }
        streams
    })
}

/// What a job writes that nothing happens to, and how long it takes.
fn undisturbed(server: &Server) -> (Vec<Vec<String>>, Duration) {
    let (folder, begun) = (tempfile::tempdir().unwrap(), clock::now());
    must_end_well(launch(server, folder.path(), 2));
    let took = clock::now().since(begun);
    let expected = written(server);
    // Two of three subjects are read.
    let copies = expected[0].len() as u64;
    assert!((EVENTS / 2..EVENTS * 4 / 5).contains(&copies), "{copies}");
    let total = |texts: &[String]| -> u64 {
        texts.iter().map(|text| text.trim_end_matches(']').rsplit(',').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert_eq!(total(&expected[1]), copies);
    (expected, took)
}

fn crashes() -> usize {
    std::env::var("UPDRAFT_CRASHES").map_or(20, |crashes| crashes.parse().unwrap())
}

fn assert_same(server: &Server, expected: &[Vec<String>]) {
    for (rows, expected) in written(server).iter().zip(expected) {
        assert!(rows == expected, "{} messages, expected {}", rows.len(), expected.len());
    }
}

/// Numbers that differ from run to run: moments of a process cannot be repeated anyway.
fn dice() -> Random {
    Random::new(clock::wall().as_nanos() as u64)
}

#[test]
fn who_is_killed_goes_on_as_if_nothing_had_happened() {
    let mut server = Server::start();
    prepare(&server);
    let (expected, took) = undisturbed(&server);
    let (mut dice, mut crashes) = (dice(), crashes());
    while crashes > 0 {
        clear(&server);
        let folder = tempfile::tempdir().unwrap();
        loop {
            let mut child = launch(&server, folder.path(), 1 + dice.below(3));
            if crashes == 0 || dice.below(6) == 0 {
                must_end_well(child);
                break;
            }
            sleep(Duration::from_micros(dice.below(took.as_micros() as u64 * 2 / 3)));
            if dice.below(5) == 0 {
                // It goes on when the server is there again.
                server.kill();
                server.restart();
                continue_or_kill(&mut child, &mut dice, took);
            } else {
                child.kill().unwrap();
            }
            child.wait().unwrap();
            crashes -= 1;
        }
        assert_same(&server, &expected);
        // Once more, nothing is left to be done.
        must_end_well(launch(&server, folder.path(), 2));
        assert_same(&server, &expected);
    }
}

fn continue_or_kill(child: &mut Child, dice: &mut Random, took: Duration) {
    if dice.below(2) == 0 {
        sleep(Duration::from_micros(dice.below(took.as_micros() as u64)));
        child.kill().unwrap();
    }
}

/// Who has been stopped for long, and replaced, does no harm when it goes on.
#[test]
fn who_was_replaced_does_no_harm() {
    let server = Server::start();
    prepare(&server);
    let (expected, took) = undisturbed(&server);
    let mut dice = dice();
    for _ in 0..crashes() / 3 {
        clear(&server);
        let folder = tempfile::tempdir().unwrap();
        let stale = launch(&server, folder.path(), 2);
        sleep(Duration::from_micros(dice.below(took.as_micros() as u64)));
        signal(&stale, "-STOP");
        let new = launch(&server, folder.path(), 2);
        sleep(Duration::from_micros(dice.below(took.as_micros() as u64)));
        // It may go on while the other is at work, or after that.
        signal(&stale, "-CONT");
        one_must_end_well([stale, new]);
        assert_same(&server, &expected);
        must_end_well(launch(&server, folder.path(), 2));
        assert_same(&server, &expected);
    }
}
