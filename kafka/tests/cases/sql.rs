//! What the chapter on Kafka shows first, done: SQL from a topic to a topic, and on from where it stood.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use updraft_connectors::state_store;
use updraft_dataflow::Job;
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::connector::Registry;
use updraft_kafka::register;
use updraft_kernel::Runtime;
use updraft_sql::Session;
use updraft_sql::parse::parse;
use updraft_sql::session::Outcome;

use crate::broker::Broker;
use crate::client::{Random, put, seen};

/// The job of the chapter, at this broker.
fn job(broker: &Broker) -> Job {
    let chapter = include_str!("../../../docs/kafka.md");
    let (_, rest) = chapter.split_once("```sql\n").unwrap();
    let sql = rest.split_once("```").unwrap().0.replace("localhost:9092", &broker.servers());
    let mut session = Session::new(register(Registry::default()));
    let mut jobs = Vec::new();
    for statement in parse(&sql) {
        if let Outcome::Inserts(inserts) = session.execute(&statement.unwrap().value, "").unwrap() {
            jobs.push(inserts.job("totals").unwrap());
        }
    }
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

/// What the topic `totals` says last of each customer.
fn totals(broker: &Broker) -> BTreeMap<u64, u64> {
    let mut totals = BTreeMap::new();
    for (key, value) in (0..2).flat_map(|partition| seen(&broker.servers(), "totals", partition, "read_committed")) {
        let [key, value] = [key, value].map(|text| serde_json::from_str::<serde_json::Value>(&text.unwrap()).unwrap());
        assert_eq!(key["customer"], value["customer"]);
        totals.insert(key["customer"].as_u64().unwrap(), value["total"].as_u64().unwrap());
    }
    totals
}

/// Runs the job until these are the totals, and has it suspended.
fn run(broker: &Broker, state: &Path, kernels: usize, expected: &BTreeMap<u64, u64>) {
    let runtime = Runtime::builder().kernels(kernels).pin(false).build().unwrap();
    let (store, root) = state_store(state.to_str().unwrap()).unwrap();
    let checkpoints = runtime.block_on(Checkpoints::open(store, &root)).unwrap().every(Duration::from_millis(20));
    let running = job(broker).checkpoints(checkpoints).start(runtime.handle()).unwrap();
    while totals(broker) != *expected {
        assert!(!running.is_ended(), "{:?}", runtime.block_on(running.join()));
        std::thread::sleep(Duration::from_millis(20));
    }
    runtime.block_on(running.suspend().unwrap());
}

#[test]
fn the_chapter_counts_each_order_once() {
    let broker = Broker::start();
    broker.topic("orders", 3);
    broker.topic("totals", 2);
    let state = tempfile::tempdir().unwrap();
    let (mut random, mut expected, mut id) = (Random(42), BTreeMap::<u64, u64>::new(), 0);
    for kernels in [2, 1, 3] {
        for partition in 0..3 {
            let orders: Vec<_> = (0..200)
                .map(|_| {
                    let (customer, cents) = (random.below(30), random.below(10_000));
                    *expected.entry(customer).or_default() += cents;
                    id += 1;
                    format!("{{\"id\":{id},\"customer\":{customer},\"cents\":{cents}}}")
                })
                .collect();
            put(&broker.servers(), "orders", partition, orders);
        }
        run(&broker, state.path(), kernels, &expected);
    }
    assert_eq!(broker.open(), 0, "readers have to wait");
}
