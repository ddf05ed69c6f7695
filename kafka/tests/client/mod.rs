//! Other people's clients: what they write, and what they see.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

#[path = "../../../connectors/tests/support/kernel.rs"]
mod kernel;

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

pub(crate) use self::kernel::run;

/// Numbers by xorshift.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

/// Writes values to a partition.
pub(crate) fn put<V: AsRef<[u8]>>(servers: &str, topic: &str, partition: i32, values: impl IntoIterator<Item = V>) {
    put_pairs(servers, topic, partition, values.into_iter().map(|value| (None::<Vec<u8>>, Some(value))));
}

/// Writes keys and values to a partition.
pub(crate) fn put_pairs<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    servers: &str,
    topic: &str,
    partition: i32,
    pairs: impl IntoIterator<Item = (Option<K>, Option<V>)>,
) {
    let producer: BaseProducer = config(servers).set("linger.ms", "0").create().unwrap();
    for (key, value) in pairs {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        (record.key, record.payload) = (key.as_ref().map(AsRef::as_ref), value.as_ref().map(AsRef::as_ref));
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// A transaction of somebody else's, which is committed, aborted, or left open.
pub(crate) fn transaction(servers: &str, id: &str, topic: &str, values: &[&str], commit: Option<bool>) -> BaseProducer {
    let producer: BaseProducer = config(servers).set("transactional.id", id).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    for value in values {
        producer
            .send(BaseRecord::<(), str>::to(topic).partition(0).payload(value))
            .map_err(|(error, _)| error)
            .unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    match commit {
        Some(true) => producer.commit_transaction(Duration::from_secs(30)).unwrap(),
        Some(false) => producer.abort_transaction(Duration::from_secs(30)).unwrap(),
        None => {}
    }
    producer
}

/// A message as others see it: key and value.
pub(crate) type Seen = (Option<String>, Option<String>);

/// What a partition holds from its beginning to its end.
pub(crate) fn seen(servers: &str, topic: &str, partition: i32, isolation: &str) -> Vec<Seen> {
    let mut config = config(servers);
    config.set("group.id", "onlooker").set("enable.partition.eof", "true").set("isolation.level", isolation);
    let consumer: BaseConsumer = config.set("enable.auto.commit", "false").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut seen = Vec::new();
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    loop {
        match consumer.poll(Duration::from_secs(30)).expect("an answer within 30 s") {
            Ok(message) => seen.push((text(message.key()), text(message.payload()))),
            Err(KafkaError::PartitionEOF(_)) => return seen,
            Err(error) => assert!(error.rdkafka_error_code().is_some(), "{error}"),
        }
    }
}

/// The values that readers of what is committed see.
pub(crate) fn values(servers: &str, topic: &str, partition: i32) -> Vec<String> {
    seen(servers, topic, partition, "read_committed").into_iter().filter_map(|(_, value)| value).collect()
}
