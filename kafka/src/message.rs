//! Messages as Rust jobs have them, and [`Turn`]: what makes records of them.

use std::future::Future;
use std::sync::Arc;

use rdkafka::message::{Headers, Message, Timestamp};
use updraft_dataflow::{Batch, Bundle, Error, Record};

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaMessage {
    /// The topic that it came from.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its number there.
    pub offset: i64,
    /// In milliseconds since 1970, if it has one.
    pub timestamp: Option<i64>,
    /// What partitions are chosen by, if it has one.
    pub key: Option<Vec<u8>>,
    /// What it says; `None` says that its key is gone.
    pub value: Option<Vec<u8>>,
    /// What is said beside it.
    pub headers: Vec<Header>,
}

/// A header of a message: its name and value.
pub type Header = (String, Option<Vec<u8>>);

/// What a Rust job writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Messages of the same key go to the same partition.
    pub key: Option<Vec<u8>>,
    /// What it says; `None` says that its key is gone.
    pub value: Option<Vec<u8>>,
    /// In milliseconds since 1970; that of writing unless said otherwise.
    pub timestamp: Option<i64>,
    /// What is said beside it.
    pub headers: Vec<Header>,
}

/// A message as it comes.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    /// `topic/partition`
    pub(crate) origin: &'a Arc<str>,
    pub(crate) topic: &'a Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<Header>,
}

/// The headers of a message.
pub(crate) fn headers(message: &impl Message) -> Vec<Header> {
    let Some(headers) = message.headers() else { return Vec::new() };
    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

/// Makes records of messages.
pub(crate) trait Turn: Send + 'static {
    type Item: Record;

    /// Takes a message.
    fn push(&mut self, message: Incoming<'_>) -> impl Future<Output = Result<(), Error>>;

    /// Bytes of the messages that were taken since the last [`take`](Self::take).
    fn bytes(&self) -> usize;

    /// What has become of them.
    fn take(&mut self) -> Result<Option<Batch<Self::Item>>, Error>;
}

/// Gives messages as they are.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    messages: Vec<KafkaMessage>,
    bytes: usize,
}

impl Turn for Plain {
    type Item = KafkaMessage;

    async fn push(&mut self, message: Incoming<'_>) -> Result<(), Error> {
        let (key, value) = (message.key.map(<[u8]>::to_vec), message.value.map(<[u8]>::to_vec));
        self.bytes += size_of::<KafkaMessage>() + key.as_ref().map_or(0, Vec::len) + value.as_ref().map_or(0, Vec::len);
        self.messages.push(KafkaMessage {
            topic: message.topic.clone(),
            partition: message.partition,
            offset: message.offset,
            timestamp: message.timestamp.to_millis(),
            key,
            value,
            headers: message.headers,
        });
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn take(&mut self) -> Result<Option<Batch<KafkaMessage>>, Error> {
        let (messages, bytes) = (std::mem::take(&mut self.messages), std::mem::take(&mut self.bytes));
        Ok((!messages.is_empty()).then(|| Bundle::from(messages).with_bytes(bytes).into()))
    }
}
