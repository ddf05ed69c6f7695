//! [`Producing`]: a client that writes to one topic, and waits where the kernel is not held up.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::task::spawn_blocking;
use updraft_dataflow::Error;
use updraft_kernel::clock;

use crate::client::{Cluster, PATIENCE, let_go};
use crate::delivered::{Delivered, Written};
use crate::message::Header;

/// How long a call may block a thread of those that may be blocked, before it is made again.
pub(crate) const STEP: Duration = Duration::from_secs(30);
/// How long a sink waits for room in the client's queue before it looks again.
const ROOM: Duration = Duration::from_millis(2);

/// What is written: borrowed, for the client copies it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header],
}

/// See the module's page.
pub(crate) struct Producing {
    producer: Option<ThreadedProducer<Delivered>>,
    topic: Arc<str>,
    servers: Arc<str>,
}

impl Producing {
    pub(crate) fn new(
        cluster: &Cluster,
        topic: &Arc<str>,
        usual: &[(&str, &str)],
        forced: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let usual = [&[("linger.ms", "20"), ("queue.buffering.max.kbytes", "65536")], usual].concat();
        let producer = cluster.client(&usual, forced, Delivered::default())?;
        Ok(Self { producer: Some(producer), topic: topic.clone(), servers: cluster.name().into() })
    }

    fn client(&self) -> Result<&ThreadedProducer<Delivered>, Error> {
        self.producer.as_ref().ok_or_else(|| "a client of Kafka that was closed is used".into())
    }

    /// Sends a message. Waits while too many are on their way.
    pub(crate) async fn send(&self, sent: Sent<'_>) -> Result<(), Error> {
        let producer = self.client()?;
        loop {
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
            (record.key, record.payload, record.partition, record.timestamp) =
                (sent.key, sent.value, sent.partition, sent.timestamp);
            if !sent.headers.is_empty() {
                let headers = OwnedHeaders::new_with_capacity(sent.headers.len());
                record.headers = Some(sent.headers.iter().fold(headers, |headers, (key, value)| {
                    headers.insert(rdkafka::message::Header { key, value: value.as_deref() })
                }));
            }
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.check()?;
                    clock::sleep(ROOM).await;
                }
                Err((error, _)) => {
                    let bytes = sent.key.map_or(0, <[u8]>::len) + sent.value.map_or(0, <[u8]>::len);
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                    return Err(self.told(code, &format!("a message of {bytes} bytes")));
                }
            }
        }
    }

    /// Whether all messages went well, as far as it is known.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.client()?.context().failure() {
            None => Ok(()),
            Some(code) => Err(self.told(code, "a message")),
        }
    }

    /// Waits until it is known of each message what has become of it.
    pub(crate) async fn flush(&self) -> Result<Written, Error> {
        while self.client()?.in_flight_count() > 0 {
            let flushed = self.wait(|producer| producer.flush(STEP)).await?;
            if let Err(error) = flushed
                && error.rdkafka_error_code() != Some(RDKafkaErrorCode::OperationTimedOut)
            {
                return Err(self.failed("cannot be written to", &error));
            }
        }
        let written = self.client()?.context().take();
        match written.failed {
            None => Ok(written),
            Some(code) => Err(self.told(code, "a message")),
        }
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        self.client()?.begin_transaction().map_err(|error| self.failed("takes no transactions", &error))
    }

    /// Aborts its transaction, without waiting for it.
    pub(crate) fn abort(mut self) {
        if let Some(producer) = self.producer.take() {
            let abort = move || drop(producer.abort_transaction(PATIENCE));
            drop(std::thread::Builder::new().name("kafka-abort".into()).spawn(abort));
        }
    }

    /// Does what may take its time.
    pub(crate) async fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ThreadedProducer<Delivered>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let producer = self.client()?.clone();
        Ok(spawn_blocking(move || work(&producer)).await?)
    }

    /// What is wrong, and what to do about it.
    pub(crate) fn failed(&self, what: &str, error: &KafkaError) -> Error {
        let heard = self.client().map(|client| client.context().heard()).unwrap_or_default();
        let Self { topic, servers, .. } = self;
        format!("topic `{topic}` of Kafka at {servers} {what}: {error}{heard}; {}", remedy(error.rdkafka_error_code()))
            .into()
    }

    fn told(&self, code: RDKafkaErrorCode, what: &str) -> Error {
        let heard = self.client().map(|client| client.context().heard()).unwrap_or_default();
        let Self { topic, servers, .. } = self;
        format!("topic `{topic}` of Kafka at {servers}: {what} was not taken: {code}{heard}; {}", remedy(Some(code)))
            .into()
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.producer.take().into_iter().for_each(let_go);
    }
}

fn remedy(code: Option<RDKafkaErrorCode>) -> &'static str {
    use RDKafkaErrorCode as Code;
    match code {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
            "raise 'properties.message.max.bytes', and the topic's max.message.bytes"
        }
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            "create it, or correct 'topic'"
        }
        Some(Code::InvalidTransactionTimeout) => {
            "set 'properties.transaction.timeout.ms' to no more than the brokers' transaction.max.timeout.ms, and take \
             checkpoints more often than that"
        }
        Some(Code::ProducerFenced | Code::Fenced | Code::InvalidProducerEpoch) => {
            "another process has taken over, or another job has the same 'sink.transactional-id-prefix', or its \
             transaction was open for longer than 'properties.transaction.timeout.ms'"
        }
        Some(
            Code::TransactionalIdAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed,
        ) => "have its owner grant it: to write the topic, and for exactly-once the transactional ids and the group",
        Some(Code::MessageTimedOut | Code::OperationTimedOut | Code::AllBrokersDown | Code::BrokerTransportFailure) => {
            "check 'properties.bootstrap.servers', and that its brokers run"
        }
        _ => "see the log of the broker",
    }
}
