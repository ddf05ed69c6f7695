//! [`Topics`]: which topics a source reads, and [`Shared`]: the one client that reads them for all partitions of a source.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
use rdkafka::topic_partition_list::Offset;
use regex::Regex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use updraft_dataflow::Error;

use crate::client::{Cluster, Context, let_go};
use crate::moment::{Asking, Moment, Spot, list, told};

/// How much of what is fetched ahead may lie there, for all partitions together, in kilobytes.
const AHEAD: usize = 64 << 10;

/// Topics by their names, or by what their names are like.
#[derive(Clone, Debug)]
pub enum Topics {
    /// These.
    Named(Vec<String>),
    /// All whose names match as a whole.
    Matching(Regex),
}

impl Topics {
    /// Those whose names match `pattern` as a whole.
    ///
    /// # Errors
    /// When it is no regular expression.
    pub fn matching(pattern: &str) -> Result<Self, Error> {
        Ok(Self::Matching(Regex::new(&format!("^(?:{pattern})$"))?))
    }

    /// What errors call them.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Named(names) => names.join(";"),
            Self::Matching(pattern) => pattern.as_str().to_owned(),
        }
    }

    /// The partitions that they have.
    pub(crate) fn partitions(&self, asking: &Asking<'_>) -> Result<Vec<Spot>, Error> {
        match self {
            Self::Named(names) => {
                let found: Vec<_> = names.iter().map(|name| asking.partitions(Some(name))).collect::<Result<_, _>>()?;
                Ok(found.concat())
            }
            Self::Matching(pattern) => {
                let mut spots = asking.partitions(None)?;
                spots.retain(|(topic, _)| pattern.is_match(topic));
                Ok(spots)
            }
        }
    }
}

/// Where a partition of a topic is read: what is kept of it in places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// The offset of the message that is read next.
    pub(crate) next: i64,
    /// Where it ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<i64>,
    /// Whether all up to there was written when the process began: then there is nothing more to come once all is read.
    #[serde(skip)]
    pub(crate) is_written: bool,
}

impl Part {
    pub(crate) fn spot(&self) -> Spot {
        (self.topic.to_string(), self.partition)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// A partition of a topic that is being read.
pub(crate) struct Reading {
    pub(crate) part: Part,
    /// `topic/partition`
    pub(crate) origin: Arc<str>,
    /// What came before it had a queue of its own.
    early: VecDeque<OwnedMessage>,
    queue: PartitionQueue<Context>,
}

/// A message that has come, or that there is none.
pub(crate) enum Next<'a> {
    Early(OwnedMessage),
    Message(BorrowedMessage<'a>),
    /// All that there is has been read.
    End,
    None,
}

impl Reading {
    /// The next message, if one is there.
    pub(crate) fn next(&mut self, cluster: &Cluster) -> Result<Next<'_>, Error> {
        if let Some(early) = self.early.pop_front() {
            return Ok(Next::Early(early));
        }
        match self.queue.poll(Duration::ZERO) {
            None => Ok(Next::None),
            Some(Ok(message)) => Ok(Next::Message(message)),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Next::End),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(code) => fault(cluster, &self.part, code).map_or(Ok(Next::None), Err),
                None => Err(format!("{}: {error}", self.origin).into()),
            },
        }
    }
}

/// What an error says of a partition, if it does not go by itself.
fn fault(cluster: &Cluster, part: &Part, code: RDKafkaErrorCode) -> Option<Error> {
    use RDKafkaErrorCode as Code;
    let Part { topic, partition, next, .. } = part;
    match code {
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Some(gone(part, "")),
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::TopicAuthorizationFailed => Some(told(cluster, topic, Some(*partition), code)),
        Code::BadMessage | Code::BadCompression | Code::NotImplemented | Code::Fatal | Code::InvalidMessage => {
            let remedy = "its compression may need a cargo feature (gzip, zstd), or it is damaged";
            Some(
                format!("topic `{topic}`, partition {partition}, offset {next}: cannot be read: {code}; {remedy}")
                    .into(),
            )
        }
        code => {
            // Brokers that come and go: librdkafka tries again.
            tracing::warn!("topic `{topic}`, partition {partition}: {code}; it is tried again");
            None
        }
    }
}

/// What was to be read is not there.
pub(crate) fn gone(part: &Part, there: &str) -> Error {
    let Part { topic, partition, next, .. } = part;
    let remedy = "messages were deleted before they were read, or the topic was made anew; keep them for longer \
                  (retention.ms), and start the job anew";
    format!("topic `{topic}`, partition {partition}: offset {next} is not there{there}: {remedy}").into()
}

/// What all partitions of a source share.
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) topics: Topics,
    consumer: Arc<BaseConsumer<Context>>,
    /// Whether the group hears how far it has come.
    commits: bool,
    state: Mutex<State>,
    /// Rung when there is something for a partition of the source.
    bells: Vec<Arc<Notify>>,
}

#[derive(Default)]
struct State {
    known: BTreeSet<Spot>,
    /// For each partition of the source: what was found for it.
    found: Vec<Vec<Reading>>,
}

impl Shared {
    /// A client, which reads nothing yet.
    pub(crate) fn consumer(cluster: &Cluster, partitions: usize) -> Result<BaseConsumer<Context>, Error> {
        let ahead = (AHEAD / partitions.max(1)).max(1 << 10).to_string();
        let usual =
            [("group.id", "updraft"), ("queued.max.messages.kbytes", &ahead), ("queued.min.messages", "1000000")];
        let forced = [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
        ];
        cluster.client(&usual, &forced, Context::default())
    }

    /// Begins to read `hands`: for each partition of the source, some of the topics'.
    pub(crate) fn begin(cluster: Cluster, topics: Topics, hands: &[Vec<Part>]) -> Result<Arc<Self>, Error> {
        let parts = hands.iter().map(Vec::len).sum();
        let consumer = Arc::new(Self::consumer(&cluster, parts)?);
        let commits = cluster.get("group.id").is_some();
        let bells = hands.iter().map(|_| Arc::default()).collect();
        let state = Mutex::new(State { found: hands.iter().map(|_| Vec::new()).collect(), ..State::default() });
        let shared = Arc::new(Self { cluster, topics, consumer, commits, state, bells });
        shared.attach(
            hands.iter().enumerate().flat_map(|(hand, parts)| parts.iter().map(move |part| (hand, part.clone()))),
        )?;
        Ok(shared)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bell(&self, hand: usize) -> Arc<Notify> {
        self.bells[hand].clone()
    }

    /// Begins to read partitions of topics, each for a partition of the source.
    fn attach(&self, parts: impl IntoIterator<Item = (usize, Part)>) -> Result<(), Error> {
        let mut state = self.state();
        let parts: Vec<_> = parts.into_iter().filter(|(_, part)| state.known.insert(part.spot())).collect();
        let live: Vec<Spot> = parts.iter().map(|(_, part)| part.spot()).collect();
        self.consumer.incremental_assign(&list(&live, |at| Offset::Offset(parts[at].1.next))?)?;
        let mut readings = Vec::with_capacity(parts.len());
        for (hand, part) in parts {
            let queue = self.consumer.split_partition_queue(&part.topic, part.partition);
            let mut queue = queue.ok_or_else(|| format!("topic `{}` cannot be read: its name is none", part.topic))?;
            let bell = self.bells[hand].clone();
            queue.set_nonempty_callback(move || bell.notify_one());
            let origin = format!("{}/{}", part.topic, part.partition).into();
            readings.push((hand, Reading { part, origin, early: VecDeque::new(), queue }));
        }
        // What was fetched before a partition had a queue of its own lies in that of all, and comes first. Nothing is added there any more.
        let mut early: BTreeMap<Spot, VecDeque<OwnedMessage>> = BTreeMap::new();
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            match polled {
                Ok(message) => {
                    let spot = (message.topic().to_owned(), message.partition());
                    early.entry(spot).or_default().push_back(message.detach());
                }
                Err(error) => self.consumer.context().note(&error, "while partitions are assigned"),
            }
        }
        for (hand, mut reading) in readings {
            reading.early = early.remove(&reading.part.spot()).unwrap_or_default();
            state.found[hand].push(reading);
            self.bells[hand].notify_one();
        }
        match early.keys().next() {
            Some((topic, partition)) => Err(astray(topic, *partition)),
            None => Ok(()),
        }
    }

    /// What was found for a partition of the source.
    pub(crate) fn adopt(&self, hand: usize) -> Vec<Reading> {
        std::mem::take(&mut self.state().found[hand])
    }

    /// Does what librdkafka asks for, and hears what it says of brokers.
    pub(crate) fn serve(&self) -> Result<(), Error> {
        let _state = self.state();
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            match polled {
                Ok(message) => return Err(astray(message.topic(), message.partition())),
                Err(error) => self.consumer.context().note(&error, "it is tried again"),
            }
        }
        Ok(())
    }

    /// Looks for new partitions, and deals them out: each to whoever has the fewest. To be called where one may wait.
    pub(crate) fn discover(&self) -> Result<(), Error> {
        let asking = Asking { cluster: &self.cluster, consumer: &self.consumer };
        let mut new = self.topics.partitions(&asking)?;
        new.retain(|spot| !self.state().known.contains(spot));
        if new.is_empty() {
            return Ok(());
        }
        // What came before it was found counts, too.
        let begins = asking.offsets(&Moment::Earliest, &new)?;
        let hands = self.bells.len();
        let taken = self.state().known.len();
        let parts = new.into_iter().zip(begins).enumerate().map(|(at, ((topic, partition), next))| {
            tracing::info!("topic `{topic}`, partition {partition} is new, and is read from now on");
            (
                (taken + at) % hands,
                Part { topic: topic.into(), partition, next: next.unwrap_or(0), end: None, is_written: false },
            )
        });
        self.attach(parts)
    }

    /// Tells the group, for who looks at it, how far partitions have come. Nobody goes on from there unless told to: what counts is in checkpoints.
    pub(crate) fn commit<'a>(&self, parts: impl Iterator<Item = &'a Part>) {
        if !self.commits {
            return;
        }
        let parts: Vec<_> = parts.collect();
        let spots: Vec<_> = parts.iter().map(|part| part.spot()).collect();
        let told = list(&spots, |at| Offset::Offset(parts[at].next))
            .and_then(|list| Ok(self.consumer.commit(&list, CommitMode::Async)?));
        if let Err(error) = told {
            tracing::warn!("the group could not be told how far it is: {error}");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let_go(self.consumer.clone());
    }
}

fn astray(topic: &str, partition: i32) -> Error {
    format!("topic `{topic}`, partition {partition}: a message came that nobody reads; start the job again").into()
}
