//! A real job, killed at random moments with `kill -9`, stopped and replaced, and run again with the same command: in the end each row has been
//! copied, once. The job is `examples/copy.rs`.
//!
//! More rounds, as at night: `UPDRAFT_CRASHES=200 cargo test --release -p updraft-postgres --test crash`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use processes::{must_end_well, one_must_end_well, signal};
use tempfile::TempDir;
use updraft_kernel::clock;
use updraft_postgres::testing::Cluster;

#[path = "../examples/copy.rs"]
#[allow(dead_code, reason = "its main is for who runs it by hand")]
mod copy;

#[path = "../../connectors/tests/support/processes.rs"]
mod processes;

/// The arguments of the job, a line each.
const ARGUMENTS: &str = "UPDRAFT_COPY";

#[test]
#[ignore = "it is the job that the others start, and kill"]
fn job() {
    let arguments: Vec<_> = std::env::var(ARGUMENTS).unwrap().lines().map(str::to_owned).collect();
    copy::copy(&arguments).unwrap_or_else(|error| panic!("{error}"));
}

const ROWS: u64 = 40_000;

/// Numbers that differ from run to run: moments of a process cannot be repeated anyway.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(clock::wall().as_nanos() as u64 | 1)
    }

    /// A number below `end`, by xorshift.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn moment(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(longest.as_micros() as u64))
    }
}

/// A server with a table of rows, and where the job keeps its state.
struct Place {
    cluster: Cluster,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { cluster: Cluster::start(), folder: tempfile::tempdir().unwrap() };
        place.cluster.sql(&format!(
            "CREATE TABLE orders (id bigint PRIMARY KEY, note text); ALTER TABLE orders REPLICA IDENTITY FULL;
             INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, {ROWS}) n; CREATE TABLE copies (id bigint, note text)"
        ));
        place
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn run(&self, slot: Option<&str>) -> Child {
        // This program, as the job.
        let mut job = Command::new(std::env::current_exe().unwrap());
        let (url, state) = (self.cluster.url(), self.state().display().to_string());
        let arguments = [&*url, "orders", "copies", &state].into_iter().chain(slot).collect::<Vec<_>>();
        job.args(["job", "--exact", "--ignored", "--nocapture"]).env(ARGUMENTS, arguments.join("\n"));
        job.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn clear(&self) {
        fs::remove_dir_all(self.state()).unwrap();
        self.cluster.sql("TRUNCATE copies; TRUNCATE updraft_commits");
    }

    /// Whether each row has been copied once, and nothing is left to clean up.
    fn check(&self) {
        let count = self.cluster.sql("SELECT count(*), count(DISTINCT id) FROM copies");
        let orders = self.cluster.sql("SELECT count(*), count(*) FROM orders");
        assert_eq!(count, orders, "rows and different ones");
        let differ = "SELECT count(*) FROM (SELECT * FROM orders EXCEPT SELECT * FROM copies) d";
        assert_eq!(self.cluster.sql(differ), "0");
        let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'updraft_stage%'";
        assert_eq!(self.cluster.sql(left), "0");
    }
}

fn crashes() -> usize {
    std::env::var("UPDRAFT_CRASHES").map_or(20, |crashes| crashes.parse().unwrap())
}

/// How long it takes when nothing happens.
fn undisturbed(place: &Place) -> Duration {
    let begun = clock::now();
    must_end_well(place.run(None));
    let took = clock::now().since(begun);
    place.check();
    took
}

#[test]
fn who_is_killed_goes_on_as_if_nothing_had_happened() {
    let place = Place::new();
    let (took, mut dice, mut crashes) = (undisturbed(&place), Dice::new(), crashes());
    while crashes > 0 {
        place.clear();
        loop {
            let mut child = place.run(None);
            if crashes == 0 || dice.below(6) == 0 {
                must_end_well(child);
                break;
            }
            sleep(dice.moment(took));
            child.kill().unwrap();
            child.wait().unwrap();
            crashes -= 1;
        }
        place.check();
        // Once more, nothing is left to be done.
        must_end_well(place.run(None));
        place.check();
    }
}

/// Who has been stopped for long, and replaced, does no harm when it goes on.
#[test]
fn who_was_replaced_does_no_harm() {
    let place = Place::new();
    let (took, mut dice) = (undisturbed(&place), Dice::new());
    for _ in 0..crashes().div_ceil(5) {
        place.clear();
        let stale = place.run(None);
        sleep(dice.moment(took));
        signal(&stale, "-STOP");
        let new = place.run(None);
        sleep(dice.moment(took));
        // It may go on while the other is at work, or after that.
        signal(&stale, "-CONT");
        one_must_end_well([stale, new]);
        must_end_well(place.run(None));
        place.check();
    }
}

/// The same of one that follows, while rows are added, and the server crashes.
#[test]
fn who_follows_and_is_killed_misses_nothing() {
    let place = Place::new();
    let (mut dice, mut child) = (Dice::new(), place.run(Some("copy")));
    let mut next = ROWS;
    for round in 0..crashes() {
        let (first, last) = (next + 1, next + 1 + dice.below(3_000));
        next = last;
        let insert = "INSERT INTO orders SELECT n, md5(n::text) FROM generate_series";
        place.cluster.sql(&format!("{insert}({first}, {last}) n"));
        sleep(dice.moment(Duration::from_millis(1_500)));
        let stops = round % 7 == 6;
        if stops {
            place.cluster.stop(dice.below(2) == 0);
            place.cluster.resume();
        }
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        // A server that is stopped waits until its log has been read; the source waits for the sink, and the sink for the server, until it
        // gives up.
        let gave_up =
            ["shutting down", "cannot connect", "terminating connection"].iter().any(|why| told.contains(why));
        assert!(told.is_empty() || stops && gave_up, "{told}");
        child = place.run(Some("copy"));
    }
    let begun = clock::now();
    while place.cluster.sql("SELECT count(*) FROM copies") != next.to_string() {
        sleep(Duration::from_millis(100));
        if clock::now().since(begun).as_secs() > 60 {
            break;
        }
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let left = place.cluster.sql("SELECT count(*) FROM copies");
    assert_eq!(left, next.to_string(), "{}", String::from_utf8_lossy(&output.stderr));
    // What it was about to write when it was killed is not there: only what counts.
    place.cluster.sql("DO $$ DECLARE t record; BEGIN FOR t IN SELECT relname FROM pg_class WHERE relname LIKE 'updraft_stage%' LOOP EXECUTE 'DROP TABLE ' || t.relname; END LOOP; END $$");
    place.check();
}
