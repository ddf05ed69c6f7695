//! Messages to a stream.
//!
//! In a job that takes checkpoints what is written is kept in a stream of its own until its checkpoint is stored (`staging.rs`), and published then,
//! by whoever the job is run by (`transaction.rs`). Otherwise, and where at least once is enough, it is published as it comes (`publish.rs`).
//! All of it happens on the thread of NATS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use updraft_dataflow::{Bundle, Error, Prepared, Record, Sink};

use crate::connection::Nats;
use crate::message::Outgoing;
use crate::{runtime, subject};

mod control;
mod publish;
mod staging;
mod target;
mod transaction;

use publish::Publisher;
use target::Target;
use transaction::Transactions;

/// What becomes of messages when a job is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Guarantee {
    /// Each is there once.
    #[default]
    ExactlyOnce,
    /// Each is there at least once: what came after the last checkpoint comes again.
    AtLeastOnce,
}

/// What a sink of a stream is like: see [`Nats::sink`].
#[derive(Clone, Debug)]
pub struct NatsSink {
    pub(crate) nats: Nats,
    pub(crate) stream: String,
    guarantee: Guarantee,
    exclusive: bool,
    staging: String,
    staging_bytes: i64,
    in_flight: usize,
    create: Option<Vec<String>>,
}

impl Nats {
    /// Publishes to a stream. What is published, and to which subjects, is said by [`NatsSink::of`], [`json`](NatsSink::json) or
    /// [`messages`](NatsSink::messages).
    ///
    /// # Exactly once
    /// In a job that takes checkpoints messages are published when their checkpoint is stored. Until then they are in a staging
    /// stream, `STREAM_staging` unless [said otherwise](NatsSink::staging), on the same server: whoever goes on with the job publishes what the one
    /// before has prepared. Each message has an id (`Nats-Msg-Id`), which it keeps when it is published again. Before a process publishes anything
    /// again it looks which ids are in the stream, since its checkpoint began to be published: so it does not matter how long
    /// nobody ran the job, or how long the stream remembers ids.
    ///
    /// * Where this job alone publishes to the stream ([`exclusive`](NatsSink::exclusive)), each message says which one it comes after. Then each is
    ///   there once and in order, whatever is killed, stopped and goes on when.
    /// * Where others publish, too, the server drops what it has the id of, for as long as it remembers: the stream's duplicate window, two minutes
    ///   if nobody has said otherwise. There is one case that it does not cover: a process that is stopped (`SIGSTOP`, a virtual machine that is moved)
    ///   in the middle of publishing, is replaced, and goes on after more than that window. It may publish again what it had in hand: as many
    ///   messages as [may be in flight](NatsSink::in_flight), at most.
    /// * A stream whose limits have deleted messages of a checkpoint before all of them were published, and then a crash: it cannot be seen
    ///   which they were. They are published again, if none of that checkpoint is left.
    pub fn sink(&self, stream: impl Into<String>) -> NatsSink {
        let stream = stream.into();
        NatsSink {
            nats: self.clone(),
            staging: format!("{stream}_staging"),
            stream,
            guarantee: Guarantee::ExactlyOnce,
            exclusive: false,
            staging_bytes: 1 << 30,
            in_flight: 256,
            create: None,
        }
    }
}

impl NatsSink {
    /// What becomes of messages when the job is killed; each is there once unless said otherwise.
    #[must_use]
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// Nobody but this job publishes to the stream. If somebody does the job ends with an error.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Where messages wait for their checkpoint: a stream of that name, which is made if it is not there, and never holds more than so many bytes. What
    /// one checkpoint is made of, and what the one before has not published yet, must fit. 1 GiB unless said otherwise.
    #[must_use]
    pub fn staging(mut self, stream: impl Into<String>, bytes: u64) -> Self {
        (self.staging, self.staging_bytes) = (stream.into(), i64::try_from(bytes.max(1)).unwrap_or(i64::MAX));
        self
    }

    /// How many messages may have been published and not acknowledged; 256 unless said otherwise, 1 at least.
    #[must_use]
    pub fn in_flight(mut self, messages: usize) -> Self {
        self.in_flight = messages.clamp(1, 4_096);
        self
    }

    /// Makes the stream if it is not there, with these subjects, on disk and without limits.
    #[must_use]
    pub fn create<S: Into<String>>(mut self, subjects: impl IntoIterator<Item = S>) -> Self {
        self.create = Some(subjects.into_iter().map(Into::into).collect());
        self
    }

    /// A sink of messages as they are.
    pub fn messages(self) -> Sending<impl FnMut(&Outgoing) -> Result<Outgoing, Error> + Send + 'static> {
        self.of(|message: &Outgoing| Ok(message.clone()))
    }

    /// A sink of records as JSON, all to one subject.
    pub fn json<T: Serialize>(
        self,
        subject: impl Into<String>,
    ) -> Sending<impl FnMut(&T) -> Result<Outgoing, Error> + Send + 'static> {
        let subject = subject.into();
        self.of(move |record: &T| Ok(Outgoing::new(subject.clone(), serde_json::to_vec(record)?)))
    }

    /// A sink of records that `encode` makes messages of.
    pub fn of<T, F>(self, encode: F) -> Sending<F>
    where
        F: FnMut(&T) -> Result<Outgoing, Error> + Send + 'static,
    {
        Sending { writer: Writer::new(self), encode }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.nats.check()?;
        for name in [&self.stream, &self.staging] {
            if name.is_empty() || name.contains(['.', '*', '>', '/', '\\']) || name.contains(char::is_whitespace) {
                return Err(
                    format!("'{name}' is no name of a stream: it has no dots, blanks, slashes or wildcards").into()
                );
            }
        }
        if self.stream == self.staging {
            return Err(format!("stream '{}' cannot be its own staging stream: name another", self.stream).into());
        }
        self.create.iter().flatten().try_for_each(|one| subject::check(one, true))
    }
}

/// Writes messages to a stream, as a [`NatsSink`] says.
#[derive(Clone)]
pub(crate) struct Writer {
    settings: NatsSink,
    state: Arc<Mutex<State>>,
}

/// What a sink is doing.
enum State {
    /// Nothing yet.
    Idle,
    /// No message is taken: a job with checkpoints is about to begin, or has not come to the end of that, or all is over.
    Shut,
    /// Publishing as messages come.
    Direct(Box<Publisher>),
    Transactions(Box<Transactions>),
}

impl Writer {
    pub(crate) fn new(settings: NatsSink) -> Self {
        Self { settings, state: Arc::new(Mutex::new(State::Idle)) }
    }

    pub(crate) async fn write(&self, messages: Vec<Outgoing>) -> Result<(), Error> {
        let this = self.clone();
        runtime::run(async move {
            let mut state = this.state.lock().await;
            match this.started(&mut state).await? {
                State::Transactions(transactions) => transactions.write(messages).await,
                State::Direct(publisher) => publisher.publish(messages).await,
                State::Idle | State::Shut => Err("the sink takes no messages: it has not begun, or is closed".into()),
            }
        })
        .await?
    }

    pub(crate) async fn begin(&self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        // Whatever becomes of this call, nothing is published as if there were no checkpoints.
        *self.state.lock().await = State::Shut;
        let this = self.clone();
        runtime::run(async move {
            let mut state = this.state.lock().await;
            if this.settings.guarantee == Guarantee::AtLeastOnce {
                *state = State::Idle;
                return this.started(&mut state).await.map(drop);
            }
            let target = Target::open(&this.settings).await?;
            *state = State::Transactions(Box::new(Transactions::begin(target, attempt, prepared).await?));
            Ok(())
        })
        .await?
    }

    pub(crate) async fn prepare(&self) -> Result<Prepared, Error> {
        let this = self.clone();
        runtime::run(async move {
            match &mut *this.state.lock().await {
                State::Idle | State::Shut => Ok(Prepared::Null),
                State::Direct(publisher) => publisher.settle().await.map(|()| Prepared::Null),
                State::Transactions(transactions) => transactions.prepare().await,
            }
        })
        .await?
    }

    pub(crate) async fn commit(&self, prepared: Prepared) -> Result<(), Error> {
        let this = self.clone();
        runtime::run(async move {
            match &mut *this.state.lock().await {
                State::Idle | State::Shut | State::Direct(_) => Ok(()),
                State::Transactions(transactions) => transactions.commit(prepared).await,
            }
        })
        .await?
    }

    pub(crate) async fn close(&self) -> Result<(), Error> {
        let this = self.clone();
        runtime::run(async move {
            match std::mem::replace(&mut *this.state.lock().await, State::Shut) {
                State::Idle | State::Shut => Ok(()),
                State::Direct(mut publisher) => publisher.settle().await,
                State::Transactions(mut transactions) => transactions.close().await,
            }
        })
        .await?
    }

    async fn started<'a>(&self, state: &'a mut State) -> Result<&'a mut State, Error> {
        if matches!(state, State::Idle) {
            let target = Target::open(&self.settings).await?;
            *state = State::Direct(Box::new(Publisher::new(target)));
        }
        Ok(state)
    }
}

/// A sink of records: see [`NatsSink::of`].
pub struct Sending<F> {
    writer: Writer,
    encode: F,
}

impl<F> fmt::Debug for Sending<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.writer.settings.fmt(f)
    }
}

impl<T, F> Sink<T> for Sending<F>
where
    T: Record,
    F: FnMut(&T) -> Result<Outgoing, Error> + Send + 'static,
{
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        let messages = bundle.as_slice().iter().map(&mut self.encode).collect::<Result<_, _>>()?;
        self.writer.write(messages).await
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        self.writer.begin(attempt, prepared).await
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        self.writer.prepare().await
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        self.writer.commit(prepared).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.writer.close().await
    }
}

/// A name that no other run, and no other sink of this one, has.
fn run_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SINKS: AtomicU64 = AtomicU64::new(0);
    let sink = SINKS.fetch_add(1, Ordering::Relaxed);
    let now = updraft_kernel::clock::wall();
    format!("{:x}-{:x}-{sink}", now.as_micros(), std::process::id())
}

/// How long an acknowledgement may take before it is asked again.
const ACK: Duration = crate::connection::PATIENCE;
