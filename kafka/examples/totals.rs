//! A job that can be killed at any moment: orders of a topic, as they are to one topic, and customers' totals by ten seconds to another.
//!
//! `cargo run --release -p updraft-kafka --example totals -- localhost:9092 state`
//!
//! Orders are `seconds,customer,cents`. It reads what there is when it first begins, and goes on from `state` when it is
//! run again. An optional third argument says with how many kernels.

use std::time::Duration;

use updraft_connectors::state_store;
use updraft_dataflow::aggregate::sum;
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::{Error, Job, Time, Tumbling, Watermarks};
use updraft_kafka::{Cluster, Guarantee, KafkaMessage, KafkaSink, Messages, Moment, Outgoing, Reads, Topics, Writes};
use updraft_kernel::Runtime;

/// Seconds, customer, cents.
fn order(message: &KafkaMessage) -> Option<(i64, u32, u64)> {
    let text = str::from_utf8(message.value.as_deref()?).ok()?;
    let mut fields = text.split(',');
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn sink(cluster: &Cluster, topic: &str) -> KafkaSink<Messages> {
    // Each sink has transactions of its own.
    Writes::new(cluster.clone(), topic).guarantee(Guarantee::ExactlyOnce { prefix: format!("totals-{topic}") }).sink()
}

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [servers, state, kernels @ ..] = &args[..] else { return Err("totals SERVERS STATE [KERNELS]".into()) };
    let kernels = kernels.first().map_or(Ok(2), |kernels| kernels.parse())?;
    let cluster = Cluster::new(servers);
    let runtime = Runtime::builder().kernels(kernels).pin(false).build()?;
    let (store, root) = state_store(state)?;
    let checkpoints = runtime.block_on(Checkpoints::open(store, &root))?.every(Duration::from_millis(20));
    let job = Job::new("totals").checkpoints(checkpoints);
    let orders = Reads::new(cluster.clone(), Topics::Named(vec!["orders".into()])).until(Moment::Latest).source();
    let (copied, counted) = job
        .source("orders", orders)
        .timestamps(
            |message: &KafkaMessage| Time::from_secs(order(message).map_or(0, |(seconds, ..)| seconds)),
            Watermarks::bounded(Duration::from_secs(5)),
        )
        .bundle(50)
        .stream()
        .fork();
    copied
        .map(|message: KafkaMessage| Outgoing { key: message.key, value: message.value, ..Outgoing::default() })
        .sink("copies", sink(&cluster, "copies"));
    counted
        .flat_map(|message: KafkaMessage| order(&message))
        .key_by(|(_, customer, _): &(i64, u32, u64)| *customer)
        .window(Tumbling::of(Duration::from_secs(10)))
        .aggregate(sum(|(_, _, cents): &(i64, u32, u64)| *cents))
        .map(|row| {
            let text = format!("{:?},{},{}", row.window, row.key, row.value);
            Outgoing {
                key: Some(row.key.to_string().into_bytes()),
                value: Some(text.into_bytes()),
                ..Outgoing::default()
            }
        })
        .sink("totals", sink(&cluster, "totals"));
    runtime.block_on(job.start(runtime.handle())?.join())?;
    Ok(())
}
