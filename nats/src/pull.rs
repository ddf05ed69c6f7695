//! Reads a stream by sequence.
//!
//! A consumer of the server's is only a means to that: it is made to begin at a sequence, acknowledges nothing, and is forgotten when something goes
//! wrong; the next one begins where we stand. The server numbers what it delivers, so we know when something was lost on the way. It sends no more
//! than it was asked for, so nobody is flooded.

use std::time::Duration;

use async_nats::jetstream::Message as Delivered;
use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::stream::{Info, RetentionPolicy};
use async_nats::{StatusCode, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use updraft_dataflow::{Error, Time};

use crate::connection::{Connection, Patience};
use crate::fault::Fault;
use crate::message::{Message, headers_of};
use crate::subject::matches;

/// How long the server keeps a request that it has no messages for.
const WAIT: Duration = Duration::from_secs(5);
/// How long after that its word for it may be late.
const GRACE: Duration = Duration::from_secs(3);
/// How long the server keeps a consumer that asks for nothing.
const FORGET: Duration = Duration::from_secs(300);

/// What is read of a stream, and how.
#[derive(Clone, Debug)]
pub(crate) struct What {
    pub(crate) stream: String,
    /// A pattern of subjects; all if it is empty.
    pub(crate) filter: String,
    /// Who filters: the server, or we; by its version, where it is not said.
    pub(crate) at_server: Option<bool>,
    /// Whether payloads are left out.
    pub(crate) headers_only: bool,
    /// How much is asked for at a time.
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// Whether it is an error that messages were deleted before they were read.
    pub(crate) all: bool,
    /// When the stream was made that it is to be, in nanoseconds since 1970.
    pub(crate) created: Option<i64>,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    At(u64),
    /// At the first message that is not older, in nanoseconds since 1970.
    Time(i64),
}

/// What reading gives.
#[derive(Debug)]
pub(crate) enum Pulled {
    Messages(Vec<Message>),
    /// There are none now: all that come will be of [`Pull::next`] or later.
    Nothing,
}

/// Reads.
pub(crate) struct Pull {
    connection: Connection,
    what: What,
    /// All before it has been read.
    next: u64,
    begin: Begin,
    consumer: Option<Live>,
    patience: Patience,
}

/// A consumer, and what it was asked for.
struct Live {
    consumer: Consumer<Config>,
    inbox: Subject,
    answers: Subscriber,
    /// What the last message said: its number, and how many more there were.
    delivered: u64,
    pending: u64,
    /// Messages of the last request that have not come.
    asked: usize,
    /// Whether anything came of it.
    has_given: bool,
    bytes: usize,
    /// Whether other subjects come, too.
    unfiltered: bool,
}

impl Drop for Pull {
    /// The server would forget the consumer by itself, but later.
    fn drop(&mut self) {
        let (Some(live), Ok(here)) = (self.consumer.take(), tokio::runtime::Handle::try_current()) else { return };
        let (js, stream) = (self.connection.js.clone(), self.what.stream.clone());
        here.spawn(async move {
            let _ = js.delete_consumer_from_stream(&live.consumer.cached_info().name, stream).await;
        });
    }
}

impl Pull {
    pub(crate) fn new(connection: Connection, what: What, begin: Begin) -> Self {
        let patience = Patience::new(&connection);
        let next = if let Begin::At(next) = begin { next } else { 0 };
        Self { connection, what, next, begin, consumer: None, patience }
    }

    /// What all before it has been read of; not known before the first message where it begins at a time.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Finds out where it begins.
    pub(crate) async fn begin(&mut self) -> Result<u64, Error> {
        while self.consumer.is_none() {
            match self.consume().await {
                Ok(live) => self.consumer = Some(live),
                Err(fault) => self.patience.wait(&self.what.stream, fault).await?,
            }
        }
        Ok(self.next)
    }

    /// The next messages, at least one and `most` at most, as soon as there are any.
    pub(crate) async fn pull(&mut self, most: usize) -> Result<Pulled, Error> {
        loop {
            match self.attempt(most).await {
                Ok(pulled) => {
                    self.patience.reset();
                    return Ok(pulled);
                }
                Err(fault) => {
                    self.consumer = None;
                    self.patience.wait(&self.what.stream, fault).await?;
                }
            }
        }
    }

    /// Whether the server has said that there is nothing more for now. It may be wrong: see [`verify`](Self::verify).
    pub(crate) fn seems_done(&self) -> bool {
        self.consumer.as_ref().is_some_and(|live| live.pending == 0)
    }

    /// Finds out whether there is nothing more for now; then all is read that was there.
    pub(crate) async fn verify(&mut self) -> Result<(), Error> {
        let mut patience = Patience::new(&self.connection);
        loop {
            match self.nothing().await {
                Ok(_) => return Ok(()),
                // Something has come.
                Err(Fault::Passing(_)) if !self.seems_done() => return Ok(()),
                Err(fault) => {
                    self.consumer = None;
                    patience.wait(&self.what.stream, fault).await?;
                    self.begin().await?;
                }
            }
        }
    }

    /// What is known of the stream, which is the one that it is to be.
    async fn info(&self) -> Result<Info, Fault> {
        let info = self.connection.stream_info(&self.what.stream).await?;
        let created = info.created.unix_timestamp_nanos() as i64;
        if self.what.created.is_some_and(|was| was != created) {
            let remedy = "start the job anew";
            return Err(Fault::lasting(format!("was deleted and made anew since it was read: {remedy}")));
        }
        Ok(info)
    }

    /// Messages that are gone and were not read.
    fn missing(&self, from: u64, to: u64) -> Result<(), Fault> {
        let (stream, what) = (&self.what.stream, if self.what.filter.is_empty() { "were" } else { "may have been" });
        if self.what.all {
            return Err(Fault::lasting(format!(
                "messages {from} to {to} are gone, by its limits or because it was purged, and {what} to be read: \
                 raise its limits, and start the job anew, or go on without them ('scan.fail-on-data-loss' = 'false')"
            )));
        }
        tracing::warn!(stream, from, to, "messages are gone before they were read");
        Ok(())
    }

    /// Makes a consumer that begins where we stand.
    async fn consume(&mut self) -> Result<Live, Fault> {
        let info = self.info().await?;
        let (stream, first, last) = (&self.what.stream, info.state.first_sequence, info.state.last_sequence);
        if info.config.retention != RetentionPolicy::Limits {
            return Err(Fault::lasting(
                "deletes messages when they have been consumed ('retention' is not 'limits'), so that a job could not read them again after a \
                 crash: read a stream that has it as its source",
            ));
        }
        if self.next > last + 1 {
            let (next, remedy) = (self.next, "it is not what it was: start the job anew, or at another sequence");
            return Err(Fault::lasting(format!("is to be read from message {next} on, and ends at {last}: {remedy}")));
        }
        if self.next > 0 && first > self.next {
            self.missing(self.next, first - 1)?;
            self.next = first;
        }
        self.what.created = Some(info.created.unix_timestamp_nanos() as i64);
        let deliver_policy = match self.begin {
            Begin::Time(nanos) if self.next == 0 => {
                let start_time = async_nats::datetime::from_nanos(nanos.into()).map_err(Fault::lasting)?;
                DeliverPolicy::ByStartTime { start_time }
            }
            _ => DeliverPolicy::ByStartSequence { start_sequence: self.next.max(1) },
        };
        let at_server = self.what.at_server.unwrap_or_else(|| self.connection.client.is_server_compatible(2, 10, 0));
        let unfiltered = self.what.filter.is_empty() || !at_server;
        let config = self.config(deliver_policy, unfiltered);
        let consumer = self.connection.js.create_consumer_on_stream(config, stream).await?;
        if self.next == 0 {
            self.next = consumer.cached_info().delivered.stream_sequence + 1;
        }
        let inbox = Subject::from(self.connection.client.new_inbox());
        let answers = self.connection.client.subscribe(inbox.clone()).await.map_err(Fault::passing)?;
        // What was before we began is no break.
        self.connection.made.mark_unchanged();
        let bytes = self.what.bytes.max(2 * self.connection.max_payload());
        let pending = consumer.cached_info().num_pending;
        Ok(Live { consumer, inbox, answers, delivered: 0, pending, asked: 0, has_given: false, bytes, unfiltered })
    }

    fn config(&self, deliver_policy: DeliverPolicy, unfiltered: bool) -> Config {
        Config {
            deliver_policy,
            description: Some("updraft".into()),
            ack_policy: AckPolicy::None,
            filter_subject: if unfiltered { String::new() } else { self.what.filter.clone() },
            headers_only: self.what.headers_only,
            inactive_threshold: FORGET,
            num_replicas: 1,
            memory_storage: true,
            ..Config::default()
        }
    }

    async fn attempt(&mut self, most: usize) -> Result<Pulled, Fault> {
        if self.consumer.is_none() {
            self.consumer = Some(self.consume().await?);
        }
        let (mut messages, mut others) = (Vec::new(), 0);
        // From where on messages are missing, and how many there were then.
        let mut gap = None;
        loop {
            let Some(live) = &mut self.consumer else { return Err(Fault::passing("no consumer")) };
            if live.asked == 0 && messages.is_empty() && others == 0 {
                live.ask(self.what.messages).await?;
            }
            let answer = if messages.is_empty() && others == 0 {
                tokio::select! {
                    biased;
                    answer = live.answers.next() => answer,
                    _ = self.connection.made.changed() => return Err(Fault::passing("the connection was made anew")),
                    () = crate::runtime::pause(WAIT + GRACE) => return Err(Fault::passing("the server does not answer")),
                }
            } else {
                match live.answers.next().now_or_never() {
                    Some(answer) => answer,
                    None => break,
                }
            };
            let answer = answer.ok_or_else(|| Fault::passing("the connection is closed"))?;
            if let Some(status) = answer.status.filter(|status| *status != StatusCode::OK) {
                if live.is_over(status, answer.description.as_deref())? && !live.has_given {
                    return self.nothing().await;
                }
                continue;
            }
            let delivered = Delivered { message: answer, context: self.connection.js.clone() };
            let info = delivered.info().map_err(|error| Fault::lasting(error.to_string()))?;
            if info.consumer_sequence != live.delivered + 1 {
                // What has come before it is in order.
                live.asked = 0;
                if messages.is_empty() && others == 0 {
                    return Err(Fault::passing("messages were lost on the way"));
                }
                self.consumer = None;
                break;
            }
            let (sequence, pending, time) = (info.stream_sequence, info.pending, info.published);
            if sequence > self.next && (live.unfiltered || pending + 1 < live.pending) {
                gap.get_or_insert((self.next, sequence));
            }
            (live.delivered, live.pending, live.has_given) = (info.consumer_sequence, pending, true);
            live.asked = live.asked.saturating_sub(1);
            self.next = sequence + 1;
            let time = Time((time.unix_timestamp_nanos() / 1_000) as i64);
            let message = delivered.message;
            if live.unfiltered && !self.what.filter.is_empty() && !matches(&self.what.filter, &message.subject) {
                others += 1;
                if messages.len() + others >= most {
                    break;
                }
                continue;
            }
            let (subject, headers) = (message.subject.to_string(), headers_of(message.headers.as_ref()));
            messages.push(Message { subject, sequence, time, headers, payload: message.payload });
            if messages.len() + others >= most {
                break;
            }
        }
        if let Some((from, to)) = gap {
            // Messages may also be deleted one by one, or by the limit of their subject, as somebody wanted: then earlier ones are there.
            let first = self.info().await?.state.first_sequence;
            if first > from {
                self.missing(from, first.min(to) - 1)?;
            }
        }
        Ok(if messages.is_empty() { Pulled::Nothing } else { Pulled::Messages(messages) })
    }

    /// The server seems to have nothing. That is so if a consumer that begins where we stand has nothing before it; then all is read that was there.
    async fn nothing(&mut self) -> Result<Pulled, Fault> {
        let info = self.info().await?;
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        if last >= self.next && self.pending().await? > 0 {
            return Err(Fault::passing("there are messages that the server has not delivered"));
        }
        if first > self.next && self.consumer.as_ref().is_some_and(|live| live.unfiltered) {
            self.missing(self.next, first - 1)?;
        }
        self.next = self.next.max(last + 1);
        Ok(Pulled::Nothing)
    }
}

impl Pull {
    /// How many messages there are from where we stand, as a new consumer counts them.
    async fn pending(&self) -> Result<u64, Fault> {
        let unfiltered = self.consumer.as_ref().is_none_or(|live| live.unfiltered);
        let config = self.config(DeliverPolicy::ByStartSequence { start_sequence: self.next }, unfiltered);
        let consumer = self.connection.js.create_consumer_on_stream(config, &self.what.stream).await?;
        let info = consumer.cached_info();
        let _ = self.connection.js.delete_consumer_from_stream(&info.name, &self.what.stream).await;
        Ok(info.num_pending)
    }
}

impl Live {
    async fn ask(&mut self, messages: usize) -> Result<(), Fault> {
        let request =
            BatchConfig { batch: messages, expires: Some(WAIT), max_bytes: self.bytes, ..BatchConfig::default() };
        self.consumer.request_batch(request, self.inbox.clone()).await.map_err(Fault::passing)?;
        (self.asked, self.has_given) = (messages, false);
        Ok(())
    }

    /// Whether nothing more comes of a request.
    fn is_over(&mut self, status: StatusCode, why: Option<&str>) -> Result<bool, Fault> {
        let why = why.unwrap_or_default();
        match status.as_u16() {
            100 => return Ok(false),
            404 | 408 => {}
            409 if why.contains("MaxBytes") => {
                if !self.has_given {
                    // One message alone is larger; it can only be as large as the server lets it.
                    self.bytes *= 2;
                    self.has_given = true;
                }
            }
            _ => return Err(Fault::passing(format!("{status} {why}"))),
        }
        self.asked = 0;
        Ok(true)
    }
}
