//! What a job says of itself, as text and for Graphviz. That it is what runs is checked on random graphs: `graphs.rs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use updraft_dataflow::aggregate::count;
use updraft_dataflow::join::Inner;
use updraft_dataflow::join::interval::Interval;
use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::{EpochOrder, Epochs, Job, Time, Tumbling, Watermarks};
use updraft_kernel::Class;

fn numbers() -> Scripted<u64> {
    Scripted(vec![vec![(0..100).collect()]])
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Two sources, late records, a join by key, a fork, a window, three sinks.
fn job() -> Job {
    let job = Job::new("a \"job\"").class(Class::Batch).epoch_order(EpochOrder::In).memory_budget(1 << 20);
    let time = |n: &u64| Time::from_millis(*n as i64);
    let mut odd = job.source("odd", numbers()).timestamps(time, Watermarks::bounded(seconds(1)));
    odd.late().sink("late", gather().0);
    let odd = odd.stream().filter(|n| n % 2 == 1);
    let all = job.source("all", numbers()).timestamps(time, Watermarks::monotonic()).epochs(Epochs::Records(50));
    let interval = Interval::around(seconds(1), seconds(1));
    let (one, other) = odd.key_by(|n| n / 2).join(all.stream().key_by(|n| n / 2)).within(interval, Inner).fork();
    one.sink("pairs", gather().0);
    other.key_by(|pair| pair.0).window(Tumbling::of(seconds(1))).aggregate(count()).sink("counts", gather().0);
    job
}

#[test]
fn as_text() {
    let expected = r#"job a "job": class batch, epochs in order, 1048576 bytes at most
  0 source: odd
      event time, an epoch each 100ms of it
  1 source: all
      event time, an epoch each 50 records
  2 stage: odd late → sink
      from 0 (late), any kernel
  3 sink: late
      from 2, one task
  4 stage: odd → filter → map → shuffle
      from 0, any kernel
  5 stage: all → map → shuffle
      from 1, any kernel
  6 stage: interval join
      state and timers of 256 key groups, each owned by one kernel
      from 4, by key group
      from 5, by key group
  7 stage: interval join → materialize
      from 6, any kernel
  8 stage: materialize → sink
      from 7, any kernel
  9 sink: pairs
      from 8, one task
 10 stage: fork → window
      tables on each kernel, merged by hash range when the watermark has passed
      from 7, any kernel
 11 stage: window → sink
      from 10, any kernel
 12 sink: counts
      from 11, one task
"#;
    assert_eq!(job().explain().to_string(), expected);
}

#[test]
fn for_graphviz() {
    let expected = r#"digraph "a \"job\"" {
  rankdir=LR;
  node [shape=box];
  n0 [label="odd\nevent time, an epoch each 100ms of it", shape=cds];
  n1 [label="all\nevent time, an epoch each 50 records", shape=cds];
  n2 [label="odd late → sink", shape=box, style=rounded];
  n0 -> n2 [label="late"];
  n3 [label="late", shape=folder];
  n2 -> n3 [label="one task"];
  n4 [label="odd → filter → map → shuffle", shape=box, style=rounded];
  n0 -> n4 [label="any kernel"];
  n5 [label="all → map → shuffle", shape=box, style=rounded];
  n1 -> n5 [label="any kernel"];
  n6 [label="interval join\nstate and timers of 256 key groups, each owned by one kernel", shape=box, style=rounded];
  n4 -> n6 [label="by key group"];
  n5 -> n6 [label="by key group"];
  n7 [label="interval join → materialize", shape=box, style=rounded];
  n6 -> n7 [label="any kernel"];
  n8 [label="materialize → sink", shape=box, style=rounded];
  n7 -> n8 [label="any kernel"];
  n9 [label="pairs", shape=folder];
  n8 -> n9 [label="one task"];
  n10 [label="fork → window\ntables on each kernel, merged by hash range when the watermark has passed", shape=box, style=rounded];
  n7 -> n10 [label="any kernel"];
  n11 [label="window → sink", shape=box, style=rounded];
  n10 -> n11 [label="any kernel"];
  n12 [label="counts", shape=folder];
  n11 -> n12 [label="one task"];
}
"#;
    assert_eq!(job().explain().dot(), expected);
}

#[test]
fn a_job_without_anything_is_a_line() {
    assert_eq!(Job::new("empty").explain().to_string(), "job empty: class stream, epochs out of order\n");
}
