//! A job from streams to streams, to be killed by the crash test: `nats_job URL STATE KERNELS`.
//!
//! It copies each event to a stream of its own, and counts them by key and minute to one that others publish to, too.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_connectors::state_store;
use updraft_dataflow::aggregate::count;
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::{Job, Time, Tumbling, Watermarks};
use updraft_kernel::Runtime;
use updraft_nats::{End, Nats, Outgoing};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Event {
    id: u64,
    key: String,
    at: i64,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let [_, url, state, kernels] = &args[..] else { return Err("usage: nats_job URL STATE KERNELS".into()) };
    let runtime = Runtime::builder().kernels(kernels.parse()?).pin(false).build()?;
    let (store, root) = state_store(state)?;
    let checkpoints = runtime.block_on(Checkpoints::open(store, &root))?.every(Duration::from_millis(20));
    let nats = Nats::at(url).retry(Duration::from_secs(20));
    let job = Job::new("nats").checkpoints(checkpoints);
    let events = nats.source("IN").subjects(["in.a.*", "in.b.*"]).end(End::Latest).ahead(100, 1);
    let events = job
        .source("events", events.json::<Event>())
        .timestamps(|event| Time::from_millis(event.at), Watermarks::bounded(Duration::from_secs(5)))
        .stream();
    let copies = nats.sink("COPIES").exclusive();
    let copy = |event: &Event| Ok(Outgoing::new(format!("copies.{}", event.key), serde_json::to_vec(event)?));
    let (events, counted) = events.fork();
    let counts =
        counted.key_by(|event| event.key.clone()).window(Tumbling::of(Duration::from_secs(60))).aggregate(count());
    events.sink("copies", copies.of(copy));
    counts
        .map(|counted| (counted.key, counted.window.start.0, counted.value))
        .sink("counts", nats.sink("COUNTS").json("counts.all"));
    runtime.block_on(job.start(runtime.handle())?.join())?;
    Ok(())
}
