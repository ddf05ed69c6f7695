//! [`KafkaSink`]: writes to a topic.
//!
//! How often a message may be there is said by [`Guarantee`]. Exactly once needs a job that takes checkpoints, and readers that set
//! `isolation.level` to `read_committed`: messages are there for them when their checkpoint is stored. How, see `transaction.rs`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::producer::Producer;
use updraft_dataflow::{Bundle, Error, Prepared, Punctuation, Record, Sink};
use updraft_kernel::clock;

use crate::client::{Cluster, PATIENCE};
use crate::message::{Header, Outgoing};
use crate::producer::{Producing, Sent};
use crate::transaction::Transactions;

/// How often a message may be there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Guarantee {
    /// Lost, if brokers fail or the job does.
    None,
    /// Once, or again if the job fails: what was written since the last checkpoint comes again.
    #[default]
    AtLeastOnce,
    /// Once, for readers of what is committed, whatever fails. The prefix is of the sink's alone; by it later processes of the job
    /// know the transactions of earlier ones.
    ExactlyOnce {
        /// What the names of its transactions begin with.
        prefix: String,
    },
}

/// Which partition a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Partitioner {
    /// By its key, as Java's client does; any, without one.
    #[default]
    Default,
    /// All to the first.
    Fixed,
    /// One after the other.
    RoundRobin,
}

/// What is written to.
#[derive(Clone, Debug)]
pub struct Writes {
    cluster: Cluster,
    topic: Arc<str>,
    guarantee: Guarantee,
    partitioner: Partitioner,
}

impl Writes {
    /// A topic of a cluster: at least once, by key.
    pub fn new(cluster: Cluster, topic: impl Into<Arc<str>>) -> Self {
        let (guarantee, partitioner) = (Guarantee::default(), Partitioner::default());
        Self { cluster, topic: topic.into(), guarantee, partitioner }
    }

    /// How often a message may be there.
    #[must_use]
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// Which partition a message goes to.
    #[must_use]
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = partitioner;
        self
    }

    /// A sink of messages.
    pub fn sink(self) -> KafkaSink<Messages> {
        KafkaSink::new(self, Messages)
    }
}

/// Makes messages of what is written.
pub(crate) trait Encode<T>: Send + 'static {
    fn encode(&mut self, records: Bundle<T>) -> impl Future<Output = Result<Vec<Outgoing>, Error>>;
}

/// Takes messages as they are.
#[derive(Clone, Copy, Debug)]
pub struct Messages;

impl Encode<Outgoing> for Messages {
    async fn encode(&mut self, records: Bundle<Outgoing>) -> Result<Vec<Outgoing>, Error> {
        Ok(records.into_vec())
    }
}

/// Writes to a topic: see the [module's page](self).
pub struct KafkaSink<E> {
    writes: Writes,
    encode: E,
    client: Client,
    /// Partitions to go round, and the next one.
    round: Option<(i32, i32)>,
}

enum Client {
    None,
    Plain(Producing),
    Transactions(Box<Transactions>),
}

/// Sinks that this process has made.
static SINKS: AtomicU64 = AtomicU64::new(0);

impl<E> KafkaSink<E> {
    pub(crate) fn new(writes: Writes, encode: E) -> Self {
        Self { writes, encode, client: Client::None, round: None }
    }

    fn usual(&self) -> Vec<(String, String)> {
        // As Java's client does it, so that it does not matter who writes.
        vec![("partitioner".into(), "murmur2_random".into())]
    }

    /// The client of a sink without transactions.
    fn plain(&self) -> Result<Producing, Error> {
        let usual = self.usual();
        let usual: Vec<_> = usual.iter().map(|(name, value)| (&**name, &**value)).collect();
        // So that messages stay in order, and none comes twice if an answer is lost.
        let is_safe = self.writes.guarantee != Guarantee::None;
        let forced = [("enable.idempotence", if is_safe { "true" } else { "false" })];
        Producing::new(&self.writes.cluster, &self.writes.topic, &usual, &forced)
    }

    fn client(&mut self) -> Result<&mut Client, Error> {
        if matches!(self.client, Client::None) {
            if matches!(self.writes.guarantee, Guarantee::ExactlyOnce { .. }) {
                let topic = &self.writes.topic;
                let remedy = "run it with --state, or set 'sink.delivery-guarantee' = 'at-least-once'";
                return Err(format!(
                    "topic `{topic}`: 'sink.delivery-guarantee' = 'exactly-once' needs a job that takes checkpoints: {remedy}"
                )
                .into());
            }
            self.client = Client::Plain(self.plain()?);
        }
        Ok(&mut self.client)
    }

    /// The partition of the next message, where it does not go by its key.
    async fn partition(&mut self) -> Result<Option<i32>, Error> {
        match self.writes.partitioner {
            Partitioner::Default => Ok(None),
            Partitioner::Fixed => Ok(Some(0)),
            Partitioner::RoundRobin => {
                let (count, next) = match self.round {
                    Some(round) => round,
                    None => (self.count().await?, 0),
                };
                self.round = Some((count, (next + 1) % count));
                Ok(Some(next))
            }
        }
    }

    /// How many partitions the topic has.
    async fn count(&self) -> Result<i32, Error> {
        let (producer, topic) = (self.plain()?, self.writes.topic.clone());
        let found = producer.wait(move |producer| {
            let metadata = producer.client().fetch_metadata(Some(&topic), PATIENCE)?;
            Ok(metadata.topics().first().map_or(0, |topic| topic.partitions().len()))
        });
        match found.await?.map_err(|error| producer.failed("cannot be asked for its partitions", &error))? {
            0 => Err(format!("topic `{}` has no partitions: create it, or correct 'topic'", self.writes.topic).into()),
            count => Ok(i32::try_from(count)?),
        }
    }

    async fn send(&mut self, message: &Outgoing) -> Result<(), Error> {
        let partition = self.partition().await?;
        let headers: &[Header] = &message.headers;
        let (key, value) = (message.key.as_deref(), message.value.as_deref());
        let sent = Sent { partition, timestamp: message.timestamp, key, value, headers };
        match self.client()? {
            Client::None => Ok(()),
            Client::Plain(producer) => producer.send(sent).await,
            Client::Transactions(transactions) => transactions.send(sent).await,
        }
    }

    /// Whether what was written went well, as far as it is known.
    fn check(&self) -> Result<(), Error> {
        match &self.client {
            Client::None => Ok(()),
            Client::Plain(producer) => self.forgive(producer.check()),
            Client::Transactions(transactions) => transactions.check(),
        }
    }

    /// Waits until all was written.
    async fn flush(&self) -> Result<(), Error> {
        match &self.client {
            Client::Plain(producer) => self.forgive(producer.flush().await.map(drop)),
            _ => Ok(()),
        }
    }

    /// What is lost may be lost, if that was said.
    fn forgive(&self, done: Result<(), Error>) -> Result<(), Error> {
        match done {
            Err(error) if self.writes.guarantee == Guarantee::None => {
                tracing::warn!("{error}");
                Ok(())
            }
            done => done,
        }
    }
}

impl<T: Record, E: Encode<T>> Sink<T> for KafkaSink<E> {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        self.check()?;
        for message in self.encode.encode(bundle).await? {
            self.send(&message).await?;
        }
        Ok(())
    }

    async fn complete(&mut self, _: Punctuation) -> Result<(), Error> {
        self.check()
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        if let Guarantee::ExactlyOnce { prefix } = &self.writes.guarantee {
            let Writes { cluster, topic, .. } = &self.writes;
            let mut transactions = Transactions::new(cluster, topic, prefix, self.usual());
            let sink = SINKS.fetch_add(1, Ordering::Relaxed);
            let run = format!("{:x}-{:x}-{sink}", clock::wall().as_micros(), std::process::id());
            transactions.begin(attempt, prepared, run).await?;
            self.client = Client::Transactions(Box::new(transactions));
        }
        Ok(())
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        if let Client::Transactions(transactions) = &mut self.client {
            return transactions.prepare().await;
        }
        if self.writes.guarantee != Guarantee::None {
            self.flush().await?;
        }
        Ok(Prepared::Null)
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        match &mut self.client {
            Client::Transactions(transactions) => transactions.commit(prepared).await,
            _ => Ok(()),
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.flush().await?;
        self.client = Client::None;
        Ok(())
    }

    fn abort(&mut self) {
        if let Client::Transactions(transactions) = &mut self.client {
            transactions.abort();
        }
    }
}

impl<E> fmt::Debug for KafkaSink<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("writes", &self.writes).finish_non_exhaustive()
    }
}
