//! [`KafkaSource`]: reads topics.
//!
//! Each partition of a topic is a partition of the source, as there were when the job began; those that are found while it runs are
//! dealt out to these. A place says of each where it is read next, so a job goes on with what was dealt out as it was, whatever is there by
//! then. All share one client of librdkafka (`topics.rs`), in which each has a queue of its own with a bound on its bytes: while nobody
//! takes messages out, no more are fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::Message;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use updraft_dataflow::{Batch, Error, Partition, Place, Progress, Record, Source};
use updraft_kernel::clock::{self, Nanos};

use crate::client::{Cluster, let_go};
use crate::message::{Incoming, KafkaMessage, Plain, Turn, headers};
use crate::moment::{Asking, Moment};
use crate::topics::{Next, Part, Reading, Shared, Topics, gone};

/// How often a partition that waits looks after its client.
const SERVE: Duration = Duration::from_millis(500);
/// How often the group hears how far a partition is.
const COMMIT: Duration = Duration::from_secs(5);
/// Bytes of messages in a batch, about.
const BATCH: usize = 4 << 20;

/// What is read of Kafka.
#[derive(Clone, Debug)]
pub struct Reads {
    pub(crate) cluster: Cluster,
    pub(crate) topics: Topics,
    pub(crate) start: Moment,
    pub(crate) stop: Option<Moment>,
    pub(crate) discovery: Option<Duration>,
    pub(crate) partitions: Option<usize>,
}

impl Reads {
    /// Topics of a cluster, from what is oldest on, without an end.
    pub fn new(cluster: Cluster, topics: Topics) -> Self {
        let discovery = Some(Duration::from_secs(300));
        Self { cluster, topics, start: Moment::Earliest, stop: None, discovery, partitions: None }
    }

    /// Where to begin, in a job that does not go on from a checkpoint.
    #[must_use]
    pub fn from(mut self, start: Moment) -> Self {
        self.start = start;
        self
    }

    /// Where to end. It is found out when the job begins, and stays so.
    #[must_use]
    pub fn until(mut self, stop: Moment) -> Self {
        self.stop = Some(stop);
        self
    }

    /// How often to look for new partitions, if at all: every five minutes unless said otherwise. A source that ends does not.
    #[must_use]
    pub fn discover(mut self, every: Option<Duration>) -> Self {
        self.discovery = every;
        self
    }

    /// How many partitions the source has at most; as many as there are of its topics unless said otherwise.
    #[must_use]
    pub fn partitions(mut self, most: usize) -> Self {
        self.partitions = Some(most.max(1));
        self
    }

    /// A source of the messages as they are.
    pub fn source(self) -> KafkaSource<KafkaMessage> {
        KafkaSource::new(self, || Ok(Plain::default()))
    }

    /// The parts of `found`, from where they begin to where they end.
    fn parts(&self, asking: &Asking<'_>, known: &BTreeSet<(String, i32)>) -> Result<Vec<Part>, Error> {
        let mut spots = self.topics.partitions(asking)?;
        spots.retain(|spot| !known.contains(spot));
        let begins = asking.offsets(&self.start, &spots)?;
        let ends = self.stop.as_ref().map(|stop| asking.offsets(stop, &spots)).transpose()?;
        let mut parts = Vec::with_capacity(spots.len());
        for (at, spot) in spots.into_iter().enumerate() {
            let (oldest, after) = asking.range(&spot)?;
            let (next, end) = (begins[at].unwrap_or(oldest), ends.as_ref().and_then(|ends| ends[at]));
            let mut part = Part { topic: spot.0.into(), partition: spot.1, next, end, is_written: false };
            check(&mut part, oldest, after)?;
            parts.push(part);
        }
        Ok(parts)
    }

    fn consumer(&self) -> Result<rdkafka::consumer::BaseConsumer<crate::client::Context>, Error> {
        Shared::consumer(&self.cluster, 1)
    }
}

/// Whether a part can be read from where it is to begin.
fn check(part: &mut Part, oldest: i64, after: i64) -> Result<(), Error> {
    part.is_written = part.end.is_some_and(|end| end <= after);
    if (oldest..=after).contains(&part.next) {
        return Ok(());
    }
    Err(gone(part, &format!(" (there are {oldest} to {after})")))
}

/// Makes what makes records.
type Make<T> = Box<dyn Fn() -> Result<Box<dyn AnyTurn<T>>, Error> + Send>;

/// Reads topics: see the [module's page](self).
pub struct KafkaSource<T> {
    reads: Reads,
    make: Make<T>,
}

impl<T: Record> KafkaSource<T> {
    pub(crate) fn new<U: Turn<Item = T>>(reads: Reads, make: impl Fn() -> Result<U, Error> + Send + 'static) -> Self {
        Self { reads, make: Box::new(move || Ok(Box::new(make()?) as Box<dyn AnyTurn<T>>)) }
    }

    fn begin(self, hands: Vec<Vec<Part>>) -> Result<Vec<KafkaPartition<T>>, Error> {
        let Reads { cluster, topics, discovery, stop, .. } = self.reads;
        let bounded = stop.is_some();
        let shared = Shared::begin(cluster, topics, &hands)?;
        let looks = |hand: usize| discovery.filter(|_| !bounded && hand == 0);
        (0..hands.len())
            .map(|hand| KafkaPartition::new(shared.clone(), hand, (self.make)()?, looks(hand), bounded))
            .collect()
    }
}

impl<T: Record> Source for KafkaSource<T> {
    type Item = T;
    type Partition = KafkaPartition<T>;

    fn open(self) -> Result<Vec<KafkaPartition<T>>, Error> {
        let consumer = self.reads.consumer()?;
        let asking = Asking { cluster: &self.reads.cluster, consumer: &consumer };
        let parts = self.reads.parts(&asking, &BTreeSet::new());
        let_go(consumer);
        let parts = parts?;
        if parts.is_empty() && (self.reads.stop.is_some() || self.reads.discovery.is_none()) {
            let (topics, servers) = (self.reads.topics.name(), self.reads.cluster.name());
            return Err(format!("no topic of Kafka at {servers} matches '{topics}': correct 'topic-pattern'").into());
        }
        let hands = parts.len().clamp(1, self.reads.partitions.unwrap_or(usize::MAX));
        let mut dealt = vec![Vec::new(); hands];
        parts.into_iter().enumerate().for_each(|(at, part)| dealt[at % hands].push(part));
        self.begin(dealt)
    }

    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<KafkaPartition<T>>, Error> {
        if places.iter().all(Option::is_none) {
            let was = places.len();
            let partitions = self.open()?;
            return if partitions.len() == was { Ok(partitions) } else { Err(another(was, partitions.len())) };
        }
        let mut hands: Vec<Vec<Part>> = Vec::with_capacity(places.len());
        for place in &places {
            hands.push(match place {
                Some(place) => Left::deserialize(place)?.parts,
                None => Vec::new(),
            });
        }
        let consumer = self.reads.consumer()?;
        let asking = Asking { cluster: &self.reads.cluster, consumer: &consumer };
        for part in hands.iter_mut().flatten().filter(|part| !part.is_over()) {
            let (oldest, after) = asking.range(&part.spot())?;
            check(part, oldest, after)?;
        }
        // Who has never come to tell where it stands begins anew, with what nobody else has.
        let empty: Vec<usize> = (0..places.len()).filter(|hand| places[*hand].is_none()).collect();
        if !empty.is_empty() {
            let known: BTreeSet<_> = hands.iter().flatten().map(Part::spot).collect();
            let rest = self.reads.parts(&asking, &known)?;
            rest.into_iter().enumerate().for_each(|(at, part)| hands[empty[at % empty.len()]].push(part));
        }
        let_go(consumer);
        self.begin(hands)
    }
}

fn another(was: usize, now: usize) -> Error {
    let remedy = "read what was read before, or start the job anew";
    format!("{was} partitions were read, and there are {now}: {remedy}").into()
}

impl<T> fmt::Debug for KafkaSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("reads", &self.reads).finish_non_exhaustive()
    }
}

/// A place: what there is to read, and where.
#[derive(Serialize, Deserialize)]
struct Left {
    parts: Vec<Part>,
}

/// Some partitions of the topics: one, unless more were found since.
pub struct KafkaPartition<T> {
    readings: Vec<Reading>,
    shared: Arc<Shared>,
    hand: usize,
    turn: Box<dyn AnyTurn<T>>,
    bell: Arc<Notify>,
    /// Which of them is asked first.
    first: usize,
    bounded: bool,
    discovery: Option<Discovery>,
    /// When the group was told how far it is, unless it is told with each checkpoint.
    committed: Option<Nanos>,
    /// Offsets that there are to read, where there is an end.
    whole: u64,
}

/// Looks for new partitions.
struct Discovery {
    every: Duration,
    due: Nanos,
    running: Option<JoinHandle<Result<(), Error>>>,
}

impl<T: Record> KafkaPartition<T> {
    fn new(
        shared: Arc<Shared>,
        hand: usize,
        turn: Box<dyn AnyTurn<T>>,
        discovery: Option<Duration>,
        bounded: bool,
    ) -> Result<Self, Error> {
        let (bell, now) = (shared.bell(hand), clock::now());
        let discovery = discovery.map(|every| Discovery { every, due: now + every, running: None });
        let readings = shared.adopt(hand);
        let committed = Some(now);
        let mut this = Self { readings, shared, hand, turn, bell, first: 0, bounded, discovery, committed, whole: 0 };
        this.whole = this.ahead();
        Ok(this)
    }

    /// Offsets that are still to come, where there is an end.
    fn ahead(&self) -> u64 {
        self.parts().map(|part| part.end.map_or(0, |end| (end - part.next).max(0) as u64)).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.readings.iter().map(|reading| &reading.part)
    }

    /// Takes what has come, `limit` messages at most; whether there were any.
    async fn gather(&mut self, limit: usize) -> Result<usize, Error> {
        let (mut taken, count) = (0, self.readings.len());
        for at in 0..count {
            let reading = &mut self.readings[(self.first + at) % count];
            let origin = reading.origin.clone();
            while taken < limit && self.turn.bytes() < BATCH && !reading.part.is_over() {
                let topic = reading.part.topic.clone();
                let (after, end, is_written) = (reading.part.next, reading.part.end, reading.part.is_written);
                let next = reading.next(&self.shared.cluster)?;
                let took = match next {
                    Next::Message(message) => push(&mut *self.turn, &message, &origin, &topic, after, end).await?,
                    Next::Early(message) => push(&mut *self.turn, &message, &origin, &topic, after, end).await?,
                    // What was written last may be no message, but the end of a transaction.
                    Next::End => end.filter(|_| is_written),
                    Next::None => break,
                };
                let Some(next) = took else { continue };
                reading.part.next = next;
                taken += 1;
            }
        }
        self.first = (self.first + 1) % count.max(1);
        Ok(taken)
    }

    /// Looks for new partitions now and then. One failure is no reason to end: what is known is read on.
    async fn look(&mut self) -> Result<(), Error> {
        let Some(discovery) = &mut self.discovery else { return Ok(()) };
        if let Some(running) = &mut discovery.running {
            if !running.is_finished() {
                return Ok(());
            }
            if let Err(error) = running.await? {
                tracing::warn!("new partitions could not be looked for, and will be later: {error}");
            }
            discovery.running = None;
            discovery.due = clock::now() + discovery.every;
        } else if clock::now() >= discovery.due {
            let shared = self.shared.clone();
            discovery.running = Some(spawn_blocking(move || shared.discover()));
        }
        Ok(())
    }

    fn commit(&mut self) {
        let now = clock::now();
        if self.committed.is_some_and(|committed| now.since(committed) >= COMMIT) {
            self.committed = Some(now);
            self.shared.commit(self.parts());
        }
    }
}

/// Hands a message on; where the next one stands then, and `None` if it was not to be read.
async fn push<T, M: Message>(
    turn: &mut dyn AnyTurn<T>,
    message: &M,
    origin: &Arc<str>,
    topic: &Arc<str>,
    after: i64,
    end: Option<i64>,
) -> Result<Option<i64>, Error> {
    let offset = message.offset();
    if offset < after {
        return Ok(None);
    }
    if end.is_some_and(|end| offset >= end) {
        return Ok(end);
    }
    let (partition, timestamp) = (message.partition(), message.timestamp());
    let (key, value, headers) = (message.key(), message.payload(), headers(message));
    turn.push_any(Incoming { origin, topic, partition, offset, timestamp, key, value, headers }).await?;
    Ok(Some(offset + 1))
}

impl<T: Record> Partition for KafkaPartition<T> {
    type Item = T;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<T>>, Error> {
        loop {
            self.readings.extend(self.shared.adopt(self.hand));
            let taken = self.gather(limit.max(1)).await?;
            self.look().await?;
            let batch = self.turn.take_any()?;
            if taken > 0 {
                self.commit();
                return Ok(Some(batch.unwrap_or_else(|| Vec::new().into())));
            }
            if self.bounded && self.parts().all(Part::is_over) {
                self.shared.commit(self.parts());
                return Ok(None);
            }
            self.shared.serve()?;
            tokio::select! {
                () = self.bell.notified() => {}
                () = clock::sleep(SERVE) => self.commit(),
            }
        }
    }

    fn position(&self) -> String {
        let mut at = self.parts().map(|part| format!("{}/{}:{}", part.topic, part.partition, part.next));
        at.next().unwrap_or_else(|| self.shared.topics.name())
    }

    fn progress(&self) -> Option<Progress> {
        self.bounded.then(|| Progress { read: self.whole.saturating_sub(self.ahead()), whole: self.whole })
    }

    fn place(&self) -> Option<Place> {
        serde_json::to_value(Left { parts: self.parts().cloned().collect() }).ok()
    }

    fn stored(&mut self, place: &Place) {
        self.committed = None;
        if let Ok(Left { parts }) = Left::deserialize(place) {
            self.shared.commit(parts.iter());
        }
    }
}

impl<T> fmt::Debug for KafkaPartition<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: BTreeMap<_, _> =
            self.readings.iter().map(|reading| (reading.origin.clone(), reading.part.next)).collect();
        f.debug_struct("KafkaPartition").field("at", &parts).finish_non_exhaustive()
    }
}

/// Some [`Turn`].
trait AnyTurn<T>: Send {
    fn push_any<'a>(&'a mut self, message: Incoming<'a>) -> Local<'a>;
    fn bytes(&self) -> usize;
    fn take_any(&mut self) -> Result<Option<Batch<T>>, Error>;
}

type Local<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

impl<U: Turn> AnyTurn<U::Item> for U {
    fn push_any<'a>(&'a mut self, message: Incoming<'a>) -> Local<'a> {
        Box::pin(self.push(message))
    }

    fn bytes(&self) -> usize {
        Turn::bytes(self)
    }

    fn take_any(&mut self) -> Result<Option<Batch<U::Item>>, Error> {
        self.take()
    }
}
