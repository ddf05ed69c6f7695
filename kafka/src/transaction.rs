//! [`Transactions`]: what a sink writes is there once, whatever is killed when.
//!
//! A checkpoint's messages are written into a transaction of Kafka as they come. [`prepare`](Transactions::prepare) waits until the broker
//! has them, and notes *where*: partitions and offsets. [`commit`](Transactions::commit) commits the transaction, when the
//! checkpoint is stored.
//!
//! A process that dies in between loses the transaction: the next one cannot go on with it, for the protocol has no way to (KIP-939 is to
//! bring one), and must abort it to keep the dead one, which may be only stopped, from committing later. But an aborted
//! transaction's messages stay in the log, for readers of `read_uncommitted`. So the next process reads them where they were
//! noted, and writes them once more, in a transaction of its own. Nothing is stored twice unless a process dies just then, and how long
//! it stays away does not matter as long as the topic keeps its messages (`retention.ms`); if they are gone, that is told.
//!
//! Whether a checkpoint was committed is known by its number, which each transaction also commits, as the offset of a group of the run's own:
//! a run is all processes that go on from each other. The offset's metadata says by which attempt. It is read after older producers have been fenced
//! off, so it is final: a number that is not above it is never written again. Brokers forget what a group that does nothing has committed
//! (`offsets.retention.minutes`): a job that was away for so long is told so, and not gone on with.
//!
//! A process that began anew and was stopped before its first checkpoint may come back when another has begun anew, too. It cannot know
//! that, and fences off the other's producers; but it commits to a group of its own, and nothing else, for its checkpoints are not stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, Timestamp};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::Offset;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use updraft_dataflow::{Error, Prepared};
use updraft_kernel::clock;

use crate::client::{Cluster, Context, PATIENCE, asked, let_go};
use crate::delivered::{Copy, Ranges};
use crate::message::headers;
use crate::moment::list;
use crate::producer::{Producing, STEP, Sent};

/// Transactions that may be open at a time: that of the checkpoint that is being stored, and that which is being
/// written.
const SLOTS: usize = 2;
/// The producer that writes once more what was aborted.
const AGAIN: usize = SLOTS;
/// How long transactions may stay open unless told otherwise: as long as brokers allow unless told otherwise.
const TIMEOUT: &str = "900000";
/// How long to wait before something is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages that are read and not yet written again.
const AHEAD: usize = 1_000;

/// What was prepared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Noted {
    run: String,
    /// The checkpoint's number, by this sink's count.
    number: i64,
    /// Where its messages are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    messages: Ranges,
    /// Those of which it is not known where they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    copies: Vec<Copy>,
}

impl Noted {
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.copies.is_empty()
    }
}

/// What was committed last, and by whom.
#[derive(Clone, Copy, Debug)]
struct Mark {
    number: i64,
    attempt: u64,
}

/// See the module's page.
pub(crate) struct Transactions {
    cluster: Cluster,
    topic: Arc<str>,
    prefix: String,
    usual: Vec<(String, String)>,
    run: String,
    attempt: u64,
    /// The number of the checkpoint that is being written.
    number: i64,
    producers: Vec<Producing>,
    /// The one that is writing, if anything was written since the last checkpoint.
    writing: Option<usize>,
    /// Those that hold what is prepared, by its number.
    prepared: BTreeMap<i64, usize>,
    group: Option<Arc<BaseConsumer<Context>>>,
}

impl Transactions {
    pub(crate) fn new(cluster: &Cluster, topic: &Arc<str>, prefix: &str, usual: Vec<(String, String)>) -> Self {
        Self {
            cluster: cluster.clone(),
            topic: topic.clone(),
            prefix: prefix.to_owned(),
            usual,
            run: String::new(),
            attempt: 0,
            number: 0,
            producers: Vec::new(),
            writing: None,
            prepared: BTreeMap::new(),
            group: None,
        }
    }

    /// Fences off older processes, and commits what they have prepared.
    pub(crate) async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>, fresh: String) -> Result<(), Error> {
        let prepared: Vec<Noted> = prepared
            .into_iter()
            .filter(|prepared| !prepared.is_null())
            .map(serde_json::from_value)
            .collect::<Result<_, _>>()?;
        self.attempt = attempt;
        self.run = prepared.first().map_or(fresh, |noted| noted.run.clone());
        self.group = Some(Arc::new(self.group("read_committed")?));
        self.must_not_disturb().await?;
        let (first, second, again) = tokio::try_join!(self.producer(0), self.producer(1), self.producer(AGAIN))?;
        self.producers = vec![first, second, again];
        let mark = self.mark().await?;
        self.must_be_newest(mark)?;
        let last = prepared.iter().map(|noted| noted.number).max();
        if let (Some(last), None) = (last, mark) {
            return Err(self.forgotten(last));
        }
        let committed = mark.map_or(0, |mark| mark.number);
        for noted in &prepared {
            if noted.number > committed {
                self.again(noted).await?;
            }
        }
        // From now on it is known who writes; and whether this may be done at all is known before anything is written.
        self.number = committed.max(last.unwrap_or(0)) + 1;
        self.producers[AGAIN].begin()?;
        self.finish(AGAIN, self.number - 1).await
    }

    fn forgotten(&self, number: i64) -> Error {
        let remedy = "brokers forget it after offsets.retention.minutes; start the job anew";
        self.fault(&format!("it is not known any more whether checkpoint {number} was committed by"), remedy)
    }

    fn fault(&self, what: &str, remedy: &str) -> Error {
        let (topic, prefix) = (&self.topic, &self.prefix);
        format!("topic `{topic}`: {what} 'sink.transactional-id-prefix' = '{prefix}': {remedy}").into()
    }

    /// A producer whose transactions are those of `slot`. What was open there is aborted.
    async fn producer(&self, slot: usize) -> Result<Producing, Error> {
        let id = format!("{}-{slot}", self.prefix);
        let usual: Vec<_> = self.usual.iter().map(|(name, value)| (&**name, &**value)).collect();
        let usual = [&[("transaction.timeout.ms", TIMEOUT)], &usual[..]].concat();
        let producer = Producing::new(&self.cluster, &self.topic, &usual, &[("transactional.id", &id)])?;
        let mut tries = 0;
        loop {
            match producer.wait(|producer| producer.init_transactions(PATIENCE)).await? {
                Ok(()) => return Ok(producer),
                Err(error) if is_passing(&error) && tries < 3 => tries += 1,
                Err(error) => return Err(producer.failed("takes no transactions", &error)),
            }
        }
    }

    fn group(&self, isolation: &str) -> Result<BaseConsumer<Context>, Error> {
        let group = self.cluster.clone().property("group.id", format!("{}-progress-{}", self.prefix, self.run));
        group.client(&[], &[("enable.auto.commit", "false"), ("isolation.level", isolation)], Context::default())
    }

    /// Who has been replaced must not fence off its successor. Transactions that are open are not waited for: they are what is to
    /// be aborted.
    async fn must_not_disturb(&self) -> Result<(), Error> {
        let group = Arc::new(self.group("read_uncommitted")?);
        let mark = self.mark_of(group.clone()).await;
        let_go(group);
        self.must_be_newest(mark?)
    }

    /// What was committed last.
    async fn mark(&self) -> Result<Option<Mark>, Error> {
        self.mark_of(self.group.clone().ok_or("transactions have not begun")?).await
    }

    async fn mark_of(&self, group: Arc<BaseConsumer<Context>>) -> Result<Option<Mark>, Error> {
        let wanted = list(&[(self.topic.to_string(), 0)], |_| Offset::Invalid)?;
        let found = spawn_blocking(move || asked(|| group.committed_offsets(wanted.clone(), PATIENCE))).await?;
        let unknown = |error: KafkaError| {
            let remedy = "check 'properties.bootstrap.servers', and that the group may be read";
            self.fault(&format!("it cannot be asked ({error}) what was committed by"), remedy)
        };
        let found = found.map_err(unknown)?;
        let elements = found.elements();
        let element = elements.first().ok_or("a broker has answered what was not asked")?;
        element.error().map_err(unknown)?;
        Ok(match element.offset() {
            Offset::Offset(number) => {
                let other = |_| self.fault("somebody else commits to the group of", "leave that group alone");
                Some(Mark { number, attempt: element.metadata().parse().map_err(other)? })
            }
            _ => None,
        })
    }

    fn must_be_newest(&self, mark: Option<Mark>) -> Result<(), Error> {
        match mark {
            Some(mark) if mark.attempt > self.attempt => {
                Err(self.fault("another process has taken over", "it goes on where this one stood"))
            }
            _ => Ok(()),
        }
    }

    /// Sends a message, as one of the next checkpoint's.
    pub(crate) async fn send(&mut self, sent: Sent<'_>) -> Result<(), Error> {
        let slot = match self.writing {
            Some(slot) => slot,
            None => self.open().await?,
        };
        self.producers[slot].send(sent).await
    }

    /// Opens a transaction.
    async fn open(&mut self) -> Result<usize, Error> {
        let free = (0..SLOTS).find(|slot| !self.prepared.values().any(|used| used == slot));
        let slot = if let Some(slot) = free {
            slot
        } else {
            // Checkpoints cannot be stored for a while. The oldest one's messages are aborted, and written once more when it is.
            self.must_not_disturb().await?;
            let (_, slot) = self.prepared.pop_first().ok_or("there is no transaction to abort")?;
            self.producers[slot] = self.producer(slot).await?;
            slot
        };
        self.producers[slot].begin()?;
        self.writing = Some(slot);
        Ok(slot)
    }

    /// Whether all went well so far.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.writing.map_or(Ok(()), |slot| self.producers[slot].check())
    }

    /// Waits until the broker has all messages, and notes where they are.
    pub(crate) async fn prepare(&mut self) -> Result<Prepared, Error> {
        let (run, number) = (self.run.clone(), self.number);
        let mut noted = Noted { run, number, messages: Ranges::new(), copies: Vec::new() };
        if let Some(slot) = self.writing {
            let written = self.producers[slot].flush().await?;
            (noted.messages, noted.copies) = (written.ranges, written.copies);
            self.prepared.insert(number, slot);
            self.writing = None;
        }
        self.number += 1;
        Ok(serde_json::to_value(noted)?)
    }

    /// Commits what was prepared.
    pub(crate) async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        let noted: Noted = serde_json::from_value(prepared)?;
        if noted.is_empty() {
            return Ok(());
        }
        if let Some(slot) = self.prepared.get(&noted.number).copied() {
            match self.finish(slot, noted.number).await {
                Ok(()) => {
                    self.prepared.remove(&noted.number);
                    return Ok(());
                }
                Err(error) => tracing::warn!("a transaction could not be committed, and is written again: {error}"),
            }
            self.prepared.remove(&noted.number);
            self.must_not_disturb().await?;
            self.producers[slot] = self.producer(slot).await?;
        }
        // It was aborted, by this process or for having been open for too long; unless it was committed, and the answer was lost.
        let mark = self.mark().await?;
        self.must_be_newest(mark)?;
        match mark {
            Some(mark) if mark.number >= noted.number => Ok(()),
            Some(_) => self.again(&noted).await,
            None => Err(self.forgotten(noted.number)),
        }
    }

    /// Commits the transaction of `slot`, and with it the checkpoint's number.
    async fn finish(&self, slot: usize, number: i64) -> Result<(), Error> {
        let producer = &self.producers[slot];
        let group = self.group.clone().ok_or("transactions have not begun")?;
        let (attempt, topic) = (self.attempt.to_string(), self.topic.clone());
        let done = producer.wait(move |producer| {
            let group = group.group_metadata().ok_or(KafkaError::Canceled)?;
            let mut offsets = TopicPartitionList::new();
            let mut offset = offsets.add_partition(&topic, 0);
            offset.set_offset(Offset::Offset(number))?;
            offset.set_metadata(attempt);
            insist(|| producer.send_offsets_to_transaction(&offsets, &group, STEP))?;
            insist(|| producer.commit_transaction(STEP))
        });
        done.await?.map_err(|error| producer.failed("has not committed a transaction", &error))
    }

    /// Writes once more what was aborted, and commits it.
    async fn again(&mut self, noted: &Noted) -> Result<(), Error> {
        if noted.is_empty() {
            return Ok(());
        }
        tracing::info!("topic `{}`: what was prepared of checkpoint {} is written once more", self.topic, noted.number);
        let mut tries = 0;
        loop {
            self.producers[AGAIN].begin()?;
            match self.write_again(noted).await {
                Ok(()) => return Ok(()),
                Err(error) if tries == 2 => return Err(error),
                Err(error) => tracing::warn!("it is tried again: {error}"),
            }
            tries += 1;
            clock::sleep(PAUSE).await;
            self.must_not_disturb().await?;
            self.producers[AGAIN] = self.producer(AGAIN).await?;
            if self.mark().await?.is_some_and(|mark| mark.number >= noted.number) {
                return Ok(());
            }
        }
    }

    async fn write_again(&self, noted: &Noted) -> Result<(), Error> {
        let producer = &self.producers[AGAIN];
        let (sender, mut copies) = mpsc::channel(AHEAD);
        let (cluster, topic, messages) = (self.cluster.clone(), self.topic.clone(), noted.messages.clone());
        let reading = spawn_blocking(move || read_again(&cluster, &topic, &messages, &sender));
        while let Some(copy) = copies.recv().await {
            producer.send(copy.sent()).await?;
        }
        reading.await??;
        for copy in &noted.copies {
            producer.send(copy.sent()).await?;
        }
        producer.flush().await?;
        self.finish(AGAIN, noted.number).await
    }

    /// Takes back what nobody waits for any more: else readers wait for its time-out.
    pub(crate) fn abort(&mut self) {
        if let Some(slot) = self.writing.take() {
            let producer = self.producers.swap_remove(slot);
            self.producers.clear();
            producer.abort();
        }
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        self.group.take().into_iter().for_each(let_go);
    }
}

impl Copy {
    fn sent(&self) -> Sent<'_> {
        let (partition, timestamp, headers) = (Some(self.partition), self.timestamp, &self.headers[..]);
        Sent { partition, timestamp, key: self.key.as_deref(), value: self.value.as_deref(), headers }
    }
}

/// Reads messages where they were noted, whatever became of their transaction.
fn read_again(
    cluster: &Cluster,
    topic: &Arc<str>,
    messages: &Ranges,
    copies: &mpsc::Sender<Copy>,
) -> Result<(), Error> {
    let forced = [
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_uncommitted"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "error"),
        ("queued.max.messages.kbytes", "16384"),
    ];
    let usual = [("group.id", "updraft")];
    for (partition, ranges) in messages {
        let Some((first, _)) = ranges.first() else { continue };
        let consumer: BaseConsumer<Context> = cluster.client(&usual, &forced, Context::default())?;
        consumer.assign(&list(&[(topic.to_string(), *partition)], |_| Offset::Offset(*first))?)?;
        let mut wanted = ranges.iter().flat_map(|(first, last)| *first..=*last).peekable();
        while let Some(offset) = wanted.peek().copied() {
            let gone = || {
                let remedy = "they were deleted before they could be committed; keep messages for longer \
                              (retention.ms, and delete.retention.ms where the topic is compacted), and start the job anew";
                Error::from(format!(
                    "topic `{topic}`, partition {partition}: what was prepared at offset {offset} is gone: {remedy}"
                ))
            };
            match consumer.poll(PATIENCE) {
                None => {}
                Some(Ok(message)) if message.offset() < offset => {}
                Some(Ok(message)) if message.offset() == offset => {
                    wanted.next();
                    let copy = Copy {
                        partition: *partition,
                        timestamp: match message.timestamp() {
                            Timestamp::CreateTime(time) => Some(time),
                            _ => None,
                        },
                        key: message.key().map(<[u8]>::to_vec),
                        value: message.payload().map(<[u8]>::to_vec),
                        headers: headers(&message),
                    };
                    if copies.blocking_send(copy).is_err() {
                        // Who wanted it has given up.
                        return Ok(());
                    }
                }
                Some(Ok(_)) | Some(Err(KafkaError::PartitionEOF(_))) => return Err(gone()),
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => return Err(gone()),
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                        return Err(gone());
                    }
                    _ => consumer.context().note(&error, "it is tried again"),
                },
            }
        }
    }
    Ok(())
}

/// Whether the same may be done again.
fn is_passing(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable(),
        _ => false,
    }
}

/// Does it again until it is done, or cannot be.
fn insist(mut work: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        match work() {
            Err(error) if is_passing(&error) => tracing::warn!("Kafka: {error}; it is tried again"),
            done => return done,
        }
    }
}
