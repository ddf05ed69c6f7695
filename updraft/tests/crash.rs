//! A real job, killed at random moments with `kill -9`, and run again with the same command: what it has written at the end is what it writes
//! when nothing happens to it. Windows, sessions, keyed state and a join, from files that are read as well as followed, to files.
//!
//! More rounds, as at night: `UPDRAFT_CRASHES=200 cargo test --release -p updraft --test crash`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

#[path = "../../connectors/tests/support/processes.rs"]
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use processes::{must_end_well, one_must_end_well, signal};
use tempfile::TempDir;
use updraft::kernel::clock;

/// Numbers that differ from run to run: moments of a process cannot be repeated anyway.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(clock::wall().as_nanos() as u64)
    }

    /// A number below `end`, by xorshift.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

const ORDERS: u64 = 60_000;

const JOB: &str = "
SET 'execution.checkpointing.interval' = '20 ms';
CREATE TABLE orders (id BIGINT, customer BIGINT, price BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'csv', 'csv.header' = 'true');
CREATE TABLE payments (id BIGINT, paid BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'payments.jsonl', 'format' = 'json');
CREATE TABLE totals (customer BIGINT, starts TIMESTAMP(3), n BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/totals', 'format' = 'csv');
CREATE TABLE sessions (customer BIGINT, starts TIMESTAMP(3), ends TIMESTAMP(3), n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/sessions', 'format' = 'json');
CREATE TABLE ranks (id BIGINT, customer BIGINT, so_far BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/ranks.csv', 'format' = 'csv');
CREATE TABLE paid (id BIGINT, price BIGINT, paid BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/paid', 'format' = 'parquet');
EXECUTE STATEMENT SET BEGIN
INSERT INTO totals SELECT customer, window_start, COUNT(*), SUM(price)
  FROM TABLE(HOP(TABLE orders, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) GROUP BY customer, window_start, window_end;
INSERT INTO sessions SELECT customer, window_start, window_end, COUNT(*)
  FROM TABLE(SESSION(TABLE orders PARTITION BY customer, DESCRIPTOR(at), INTERVAL '3' SECOND)) GROUP BY customer, window_start, window_end;
INSERT INTO ranks SELECT id, customer, SUM(price) OVER (PARTITION BY customer ORDER BY at) FROM orders;
INSERT INTO paid SELECT o.id, o.price, p.paid FROM orders o, payments p
  WHERE o.id = p.id AND p.at BETWEEN o.at AND o.at + INTERVAL '20' SECOND;
END;
";

/// A time of the first of January 2026: `millis` after midnight.
fn at(millis: u64) -> String {
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    format!("2026-01-01 {:02}:{:02}:{:02}.{millis:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A folder with what the job reads.
fn prepared() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("orders")).unwrap();
    let mut dice = Dice(42);
    let (mut files, mut payments) = (vec![String::from("id,customer,price,at\n"); 3], String::new());
    for id in 0..ORDERS {
        let (time, customer, price) = (id * 20 + dice.below(3_000), dice.below(200), dice.below(1_000));
        let file = &mut files[(id * 3 / ORDERS) as usize];
        file.push_str(&format!("{id},{customer},{price},{}\n", at(time)));
        let later = time + dice.below(25_000);
        if dice.below(3) > 0 {
            payments.push_str(&format!("{{\"id\":{id},\"paid\":{},\"at\":\"{}\"}}\n", dice.below(1_000), at(later)));
        }
    }
    for (n, text) in files.iter().enumerate() {
        fs::write(folder.path().join(format!("orders/{n}.csv")), text).unwrap();
    }
    // Nearly in order of time, as they would come.
    let mut lines: Vec<_> = payments.lines().collect();
    lines.sort_by_key(|line| line.rsplit_once("\"at\"").map(|(_, at)| at.to_owned()));
    fs::write(folder.path().join("payments.jsonl"), lines.join("\n") + "\n").unwrap();
    fs::write(folder.path().join("job.sql"), JOB).unwrap();
    folder
}

fn run(folder: &Path, args: &[&str]) -> Child {
    let mut updraft = Command::new(env!("CARGO_BIN_EXE_updraft"));
    updraft.args(["run", "job.sql"]).args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    updraft.stderr(Stdio::piped()).spawn().unwrap()
}

/// All rows that were written, by table. Nothing else may be there.
fn rows(folder: &Path) -> Vec<Vec<String>> {
    let mut tables = Vec::new();
    for (table, columns) in [("totals", "customer,starts,n,total"), ("sessions", "customer,starts,ends,n")] {
        tables.push(read(folder, &format!("out/{table}"), columns));
    }
    tables.push(read(folder, "out/ranks.csv", "id,customer,so_far"));
    tables.push(read(folder, "out/paid", "id,price,paid"));
    tables
}

fn read(folder: &Path, path: &str, columns: &str) -> Vec<String> {
    let (text, types) = (folder.join("query.sql"), |column: &str| match column {
        "starts" | "ends" => "TIMESTAMP(3)",
        _ => "BIGINT",
    });
    let format = [("sessions", "json"), ("paid", "parquet")].into_iter().find(|(table, _)| path.ends_with(table));
    let format = format.map_or("csv", |(_, format)| format);
    let columns: Vec<_> = columns.split(',').map(|column| format!("{column} {}", types(column))).collect();
    let query = format!(
        "CREATE TABLE t ({}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = '{format}');\nSELECT * FROM t;",
        columns.join(", ")
    );
    fs::write(&text, query).unwrap();
    let mut updraft = Command::new(env!("CARGO_BIN_EXE_updraft"));
    updraft.args(["run", "query.sql", "--mode", "batch", "-o", "csv"]).current_dir(folder).stdin(Stdio::null());
    let mut rows: Vec<_> = support::stdout(&mut updraft).lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

/// What a job writes that nothing happens to, and how long it takes.
fn undisturbed(folder: &Path) -> (Vec<Vec<String>>, Duration) {
    let begun = clock::now();
    must_end_well(run(folder, &["--state", "state"]));
    let took = clock::now().since(begun);
    let expected = rows(folder);
    assert!(expected.iter().all(|rows| rows.len() > 1_000), "{:?}", expected.iter().map(Vec::len).collect::<Vec<_>>());
    (expected, took)
}

fn clear(folder: &Path) {
    for name in ["out", "state"] {
        fs::remove_dir_all(folder.join(name)).unwrap();
    }
}

fn crashes() -> usize {
    std::env::var("UPDRAFT_CRASHES").map_or(20, |crashes| crashes.parse().unwrap())
}

/// Files that somebody would have to clean up.
fn left_over(folder: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for path in ["out", "out/totals", "out/sessions", "out/paid"] {
        for entry in fs::read_dir(folder.join(path)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with('.') {
                left.push(format!("{path}/{name}"));
            }
        }
    }
    left
}

#[test]
fn who_is_killed_goes_on_as_if_nothing_had_happened() {
    let folder = prepared();
    let folder = folder.path();
    let (expected, took) = undisturbed(folder);
    let (mut dice, mut crashes) = (Dice::new(), crashes());
    while crashes > 0 {
        clear(folder);
        // With another number of kernels each time.
        loop {
            let kernels = (1 + dice.below(3)).to_string();
            let mut child = run(folder, &["--state", "state", "--kernels", &kernels]);
            if crashes == 0 || dice.below(6) == 0 {
                must_end_well(child);
                break;
            }
            sleep(Duration::from_micros(dice.below(took.as_micros() as u64 * 2 / 3)));
            child.kill().unwrap();
            child.wait().unwrap();
            crashes -= 1;
        }
        for (rows, expected) in rows(folder).iter().zip(&expected) {
            assert!(rows == expected, "{} rows, expected {}", rows.len(), expected.len());
        }
        // Once more, nothing is left to be done.
        must_end_well(run(folder, &["--state", "state"]));
        assert!(rows(folder) == expected);
        assert_eq!(left_over(folder), Vec::<String>::new());
    }
}

/// The same of a job that is re-shaped all the while, by commands from outside: shards move from kernel to kernel, and versions take over that do the same.
#[test]
fn who_is_reshaped_and_killed_goes_on_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut dice = Dice(7);
    let mut expected = BTreeMap::<String, u64>::new();
    let (mut text, mut rows) = (String::new(), Vec::new());
    for _ in 0..160_000 {
        for _ in 0..5 {
            // A third of all words are one.
            let word = if dice.below(3) == 0 { "Hot".into() } else { format!("W{}", spelled(dice.below(5_000))) };
            let count = expected.entry(word.to_lowercase()).or_default();
            *count += 1;
            rows.push(format!("{},{count}", word.to_lowercase()));
            text += &format!("{word} ");
        }
        text.push('\n');
    }
    rows.sort();
    fs::write(folder.join("text"), text).unwrap();
    let control = folder.join("control");
    let start = || {
        let mut job = support::example("06_reshaped");
        job.args(["text", "words"]).current_dir(folder).env("UPDRAFT_CONTROL", &control);
        job.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let begun = clock::now();
    must_end_well(start());
    let took = clock::now().since(begun);
    let (mut dice, mut crashes, mut reshaped) = (Dice::new(), crashes(), 0);
    while crashes > 0 {
        fs::remove_dir_all(folder.join("words")).unwrap();
        loop {
            let mut child = start();
            let ends = crashes == 0 || dice.below(6) == 0;
            let until = clock::now() + Duration::from_micros(dice.below(took.as_micros() as u64));
            while clock::now() < until {
                let (one, other) = (dice.below(2), dice.below(4));
                let command = match dice.below(4) {
                    0 => format!("scale --kernels {}", one + 1),
                    1 => format!("rehash --stage process --shard {other}={one}"),
                    2 => format!("swap --version lower={}", ["unicode", "ascii"][one as usize]),
                    _ => format!("swap --version nth={}", ["first", "second"][one as usize]),
                };
                let mut updraft = Command::new(env!("CARGO_BIN_EXE_updraft"));
                updraft.args(command.split(' ')).env("UPDRAFT_CONTROL", &control).stdin(Stdio::null());
                // It may not have begun, or have come to its end.
                reshaped += usize::from(updraft.output().unwrap().status.success());
            }
            if ends {
                must_end_well(child);
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            crashes -= 1;
        }
        let written = fs::read_to_string(folder.join("words/words.csv")).unwrap();
        // The first line is the header.
        let mut written: Vec<_> = written.lines().skip(1).map(str::to_owned).collect();
        written.sort();
        assert!(written == rows, "{} rows, expected {}", written.len(), rows.len());
    }
    assert!(reshaped > 0, "no command has come while it ran");
}

/// A number in letters.
fn spelled(n: u64) -> String {
    n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

/// Who has been stopped for long, and replaced, does no harm when it goes on.
#[test]
fn who_was_replaced_does_no_harm() {
    let folder = prepared();
    let folder = folder.path();
    let (expected, took) = undisturbed(folder);
    let mut dice = Dice::new();
    for _ in 0..crashes() / 5 {
        clear(folder);
        let stale = run(folder, &["--state", "state"]);
        sleep(Duration::from_micros(dice.below(took.as_micros() as u64)));
        signal(&stale, "-STOP");
        let new = run(folder, &["--state", "state"]);
        sleep(Duration::from_micros(dice.below(took.as_micros() as u64)));
        // It may go on while the other is at work, or after that.
        signal(&stale, "-CONT");
        one_must_end_well([stale, new]);
        assert!(rows(folder) == expected);
        // What the stale one had not prepared is its own to remove, or the next one's.
        must_end_well(run(folder, &["--state", "state"]));
        assert!(rows(folder) == expected);
    }
}
