//! Messages of a stream as records.
//!
//! What is read is known by its sequence, so a place is a number; what the server knows of its consumers does not count ([`Pull`](crate::pull)). A
//! task on the thread of NATS reads ahead (`reader.rs`), by a bounded number of messages and bytes, and a [`NatsPartition`] hands on what it has.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, Partition, Place, Progress, Record, Source, Time};

use crate::connection::Nats;
use crate::message::Message;
use crate::subject;

mod reader;

use reader::{Read, Reading};

/// Where a stream is read from, by who has no place in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Start {
    /// At the first message that there is.
    #[default]
    Earliest,
    /// After the last message that there is when the job starts.
    Latest,
    /// At the first message that was not stored before.
    Time(Time),
    /// At this one.
    Sequence(u64),
}

/// Where a stream is read to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    /// For ever.
    #[default]
    Never,
    /// To the last message that there is when the job first starts.
    Latest,
    /// To the last message that was stored before, among those that there are when the job first starts.
    Time(Time),
    /// To this one.
    Sequence(u64),
}

/// A source of a stream's messages: see [`Nats::source`].
///
/// With [`subjects`](Self::subjects) each pattern is a partition of its own, in order of sequences, and they are read at the same time; without,
/// there is one partition.
///
/// * Each message is read once, also by a job that goes on from a checkpoint: the place in it is the stream's sequence. No consumer has to be made for
///   it, and none that somebody has made is touched.
/// * Messages that were deleted before they were read (by the stream's limits, or by a purge) end the job with an error, unless
///   [`skip_missing`](Self::skip_missing) says otherwise. Of a stream without `subjects` that is told whenever it happens; with subjects, when the
///   job goes on, or when fewer messages come than the server had promised. What is deleted message by message, or by a limit of
///   messages for each subject, is left out in silence, as whoever set that limit wants it.
/// * When the connection breaks it is made again, and reading goes on where it was: see [`Nats::retry`].
///
/// ```no_run
/// use updraft_nats::{Message, Nats, Start};
/// let orders = Nats::at("nats://localhost:4222").source("ORDERS").subjects(["orders.eu.>", "orders.us.>"]).start(Start::Earliest);
/// let texts = orders.map(|message: &Message| String::from_utf8(message.payload.to_vec()).map_err(|error| error.to_string()));
/// ```
#[derive(Clone, Debug)]
pub struct NatsSource {
    pub(crate) nats: Nats,
    pub(crate) stream: String,
    pub(crate) subjects: Vec<String>,
    pub(crate) start: Start,
    pub(crate) end: End,
    pub(crate) all: bool,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) filter_at_server: Option<bool>,
}

impl Nats {
    /// Reads a stream.
    pub fn source(&self, stream: impl Into<String>) -> NatsSource {
        NatsSource {
            nats: self.clone(),
            stream: stream.into(),
            subjects: Vec::new(),
            start: Start::Earliest,
            end: End::Never,
            all: true,
            messages: 1_000,
            bytes: 4 << 20,
            filter_at_server: None,
        }
    }
}

impl NatsSource {
    /// Only messages of these subjects, in which `*` stands for a token and `>` for all that follow: no subject may be of two of them.
    #[must_use]
    pub fn subjects<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.subjects = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Where to begin; at the first message unless said otherwise.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Where to end; never unless said otherwise.
    #[must_use]
    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Goes on with a warning where messages were deleted before they were read.
    #[must_use]
    pub fn skip_missing(mut self) -> Self {
        self.all = false;
        self
    }

    /// How much is asked for at a time, of each partition: so many messages, and so many bytes, but never less than two of the largest
    /// messages that the server takes. What is read ahead is four times as much at most.
    #[must_use]
    pub fn ahead(mut self, messages: usize, bytes: usize) -> Self {
        (self.messages, self.bytes) = (messages.max(1), bytes.max(1));
        self
    }

    /// Whether the server sends the messages of [`subjects`](Self::subjects) alone, or all of them for us to choose from. Servers from version
    /// 2.10 on choose unless said otherwise. Those before lose sight of messages where others of their subject were deleted one by one, by a limit
    /// or otherwise (2.9.10 does); so they do so only when they are told to.
    #[must_use]
    pub fn filter_at_server(mut self, at_server: bool) -> Self {
        self.filter_at_server = Some(at_server);
        self
    }

    /// What `decode` makes of each message. Where it gives an error the message is a dead letter.
    pub fn map<T: Record, F>(self, decode: F) -> Decoded<F>
    where
        F: FnMut(&Message) -> Result<T, String> + Clone + Send + 'static,
    {
        Decoded { source: self, decode }
    }

    /// Payloads as JSON.
    pub fn json<T: Record + for<'a> Deserialize<'a>>(
        self,
    ) -> Decoded<impl FnMut(&Message) -> Result<T, String> + Clone + Send + 'static> {
        self.map(|message: &Message| serde_json::from_slice(&message.payload).map_err(|error| error.to_string()))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.nats.check()?;
        let fault = |what: String| Err(format!("stream '{}': {what}", self.stream).into());
        if self.stream.is_empty()
            || self.stream.contains(['.', '*', '>', '/', '\\'])
            || self.stream.contains(char::is_whitespace)
        {
            return fault("is no name of a stream: it has no dots, blanks, slashes or wildcards".into());
        }
        for (at, one) in self.subjects.iter().enumerate() {
            subject::check(one, true)?;
            if let Some(other) = self.subjects[..at].iter().find(|other| subject::overlap(one, other)) {
                return fault(format!(
                    "'{other}' and '{one}' have subjects in common, which would be read twice: leave one out"
                ));
            }
        }
        Ok(())
    }

    /// One for each pattern, each with the place that is its own.
    pub(crate) fn partitions(self, places: Vec<Option<Place>>) -> Result<Vec<NatsPartition>, Error> {
        self.check()?;
        let all = [String::new()];
        let filters = if self.subjects.is_empty() { &all[..] } else { &self.subjects };
        let mut partitions: Vec<_> = filters.iter().map(|filter| NatsPartition::new(&self, filter)).collect();
        if !places.is_empty() {
            if places.len() != partitions.len() {
                let (was, now) = (places.len(), partitions.len());
                return Err(format!(
                    "stream '{}': {was} patterns of subjects were read, and there are {now}: read what was read before, or start the job anew",
                    self.stream
                )
                .into());
            }
            for (partition, place) in partitions.iter_mut().zip(places) {
                place.map_or(Ok(()), |place| partition.seek(place))?;
            }
        }
        Ok(partitions)
    }
}

impl Source for NatsSource {
    type Item = Message;
    type Partition = NatsPartition;

    fn open(self) -> Result<Vec<NatsPartition>, Error> {
        self.partitions(Vec::new())
    }

    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<NatsPartition>, Error> {
        self.partitions(places)
    }
}

/// Where a partition stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    stream: String,
    /// When the stream was made.
    created: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    subject: String,
    /// All before it has been read.
    next: u64,
    /// The last message to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
}

/// The messages of one pattern of subjects.
pub struct NatsPartition {
    source: NatsSource,
    filter: String,
    /// Not known before the server has answered.
    standing: Option<Standing>,
    reading: Option<Reading>,
    /// What has been read and not handed on.
    ahead: VecDeque<Message>,
    begun_at: u64,
}

impl NatsPartition {
    fn new(source: &NatsSource, filter: &str) -> Self {
        let (source, filter) = (source.clone(), filter.to_owned());
        Self { source, filter, standing: None, reading: None, ahead: VecDeque::new(), begun_at: 0 }
    }

    fn is_at_end(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.end.is_some_and(|end| standing.next > end))
    }

    /// The next messages, perhaps none where there are none for a while: then it stands farther on.
    pub(crate) async fn messages(&mut self, limit: usize) -> Result<Option<Vec<Message>>, Error> {
        while self.ahead.is_empty() {
            if self.is_at_end() {
                self.reading = None;
                return Ok(None);
            }
            let reading = match &mut self.reading {
                Some(reading) => reading,
                none => none.insert(Reading::start(&self.source, &self.filter, self.standing.as_ref())?),
            };
            match reading.next().await? {
                Read::Begun { created, next, end } => {
                    let stream = self.source.stream.clone();
                    self.begun_at = next;
                    self.standing = Some(Standing { stream, created, subject: self.filter.clone(), next, end });
                    // So that the next checkpoint knows where we began.
                    return Ok(if self.is_at_end() { None } else { Some(Vec::new()) });
                }
                Read::Messages(messages) => self.ahead = messages.into(),
                Read::Passed(next) => {
                    if let Some(standing) = self.standing.as_mut().filter(|standing| standing.next < next) {
                        standing.next = next;
                        return Ok(if self.is_at_end() { None } else { Some(Vec::new()) });
                    }
                }
            }
        }
        let some = self.ahead.drain(..limit.max(1).min(self.ahead.len())).collect::<Vec<_>>();
        if let (Some(standing), Some(last)) = (&mut self.standing, some.last()) {
            standing.next = last.sequence + 1;
        }
        Ok(Some(some))
    }

    /// How dead letters call it.
    pub(crate) fn origin(&self) -> String {
        self.source.stream.clone()
    }
}

impl Partition for NatsPartition {
    type Item = Message;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Message>>, Error> {
        let Some(messages) = self.messages(limit).await? else { return Ok(None) };
        let bytes = messages.iter().map(Message::bytes).sum();
        Ok(Some(Bundle::from(messages).with_bytes(bytes).into()))
    }

    fn position(&self) -> String {
        let next = self.standing.as_ref().map_or(0, |standing| standing.next);
        match &*self.filter {
            "" => format!("{}:{next}", self.source.stream),
            filter => format!("{}:{next} ({filter})", self.source.stream),
        }
    }

    fn progress(&self) -> Option<Progress> {
        let standing = self.standing.as_ref()?;
        let whole = (standing.end? + 1).saturating_sub(self.begun_at);
        Some(Progress { read: standing.next.saturating_sub(self.begun_at).min(whole), whole })
    }

    fn place(&self) -> Option<Place> {
        self.standing.as_ref().and_then(|standing| serde_json::to_value(standing).ok())
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        let standing: Standing = serde_json::from_value(place)?;
        if (&standing.stream, &standing.subject) != (&self.source.stream, &self.filter) {
            let name = |stream: &str, subject: &str| match subject {
                "" => format!("stream '{stream}'"),
                subject => format!("subjects '{subject}' of stream '{stream}'"),
            };
            let (was, is) = (name(&standing.stream, &standing.subject), name(&self.source.stream, &self.filter));
            return Err(format!(
                "{was} were read, and now it is {is}: read what was read before, or start the job anew"
            )
            .into());
        }
        self.begun_at = standing.next;
        self.standing = Some(standing);
        Ok(())
    }
}

impl fmt::Debug for NatsPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPartition").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// A source of what is made of messages: see [`NatsSource::map`].
#[derive(Clone)]
pub struct Decoded<F> {
    source: NatsSource,
    decode: F,
}

impl<F> fmt::Debug for Decoded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl<F, T> Source for Decoded<F>
where
    T: Record,
    F: FnMut(&Message) -> Result<T, String> + Clone + Send + 'static,
{
    type Item = T;
    type Partition = DecodedPartition<F>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        self.resume(Vec::new())
    }

    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<Self::Partition>, Error> {
        let decode = self.decode;
        let decoded = |messages| DecodedPartition { messages, decode: decode.clone() };
        Ok(self.source.partitions(places)?.into_iter().map(decoded).collect())
    }
}

/// What is made of the messages of a partition.
pub struct DecodedPartition<F> {
    messages: NatsPartition,
    decode: F,
}

impl<F> fmt::Debug for DecodedPartition<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.messages.fmt(f)
    }
}

impl<F, T> Partition for DecodedPartition<F>
where
    T: Record,
    F: FnMut(&Message) -> Result<T, String> + Clone + Send + 'static,
{
    type Item = T;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<T>>, Error> {
        let Some(messages) = self.messages.messages(limit).await? else { return Ok(None) };
        let (mut records, mut rejected, mut bytes) = (Vec::with_capacity(messages.len()), Vec::new(), 0);
        for message in messages {
            match (self.decode)(&message) {
                Ok(record) => {
                    bytes += size_of::<T>() + message.payload.len();
                    records.push(record);
                }
                Err(reason) => rejected.push(DeadLetter {
                    origin: self.messages.origin().into(),
                    line: message.sequence,
                    bytes: message.payload.to_vec(),
                    reason,
                }),
            }
        }
        Ok(Some(Batch { records: Bundle::from(records).with_bytes(bytes), rejected }))
    }

    fn position(&self) -> String {
        self.messages.position()
    }

    fn progress(&self) -> Option<Progress> {
        self.messages.progress()
    }

    fn place(&self) -> Option<Place> {
        self.messages.place()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.messages.seek(place)
    }
}

/// Nanoseconds since 1970.
fn nanos(time: Time) -> i64 {
    let limit = Duration::from_secs(9_000_000_000).as_micros() as i64;
    time.0.clamp(0, limit) * 1_000
}
