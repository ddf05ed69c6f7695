//! Where messages wait until their checkpoint is stored: a stream of their own, several of them in one message of it.

use async_nats::header::HeaderMap;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_dataflow::Error;

use super::control::Which;
use crate::connection::{Connection, Patience};
use crate::fault::Fault;
use crate::message::Outgoing;
use crate::pull::{Begin, Pull, Pulled, What};

/// How large a message there becomes, if the messages in it are smaller than that.
const CHUNK: usize = 256 << 10;

/// The messages of a message.
#[derive(Debug, Serialize, Deserialize)]
struct Chunk {
    /// Its number among those of its attempt.
    number: u64,
    messages: Vec<Outgoing>,
}

/// What was written, and where it waits.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Staged {
    pub(super) run: String,
    #[serde(flatten)]
    pub(super) which: Which,
    /// How many messages.
    pub(super) count: u64,
    /// The number of their first chunk, and how many there are.
    chunk: u64,
    chunks: u64,
    /// The sequences of the first and the last.
    from: u64,
    pub(super) to: u64,
}

/// Writes what waits.
pub(super) struct Staging {
    connection: Connection,
    stream: String,
    subject: String,
    /// What is gathered, and its bytes.
    gathered: Vec<Outgoing>,
    bytes: usize,
    /// The chunk that is on its way.
    on_its_way: Option<(Bytes, u64, PublishAckFuture)>,
    /// The number of the next chunk.
    chunk: u64,
    /// What was written since the last time.
    open: Staged,
}

impl Staging {
    pub(super) fn new(connection: Connection, stream: String, subject: String, run: String, attempt: u64) -> Self {
        let which = Which { attempt, first: 0 };
        let open = Staged { run, which, count: 0, chunk: 0, chunks: 0, from: 0, to: 0 };
        let (gathered, bytes, on_its_way, chunk) = (Vec::new(), 0, None, 0);
        Self { connection, stream, subject, gathered, bytes, on_its_way, chunk, open }
    }

    pub(super) async fn add(&mut self, message: Outgoing) -> Result<(), Error> {
        // With the lengths of its parts.
        let headers = message.headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum::<usize>();
        let bytes = message.subject.len() + message.payload.len() + headers + 16;
        if self.bytes + bytes > CHUNK {
            self.flush().await?;
        }
        self.bytes += bytes;
        self.open.count += 1;
        self.gathered.push(message);
        Ok(())
    }

    /// Ends what was written, once it is all there.
    pub(super) async fn end(&mut self) -> Result<Staged, Error> {
        self.flush().await?;
        self.arrived().await?;
        let which = Which { first: self.open.which.first + self.open.count, ..self.open.which };
        let next = Staged { which, count: 0, chunk: self.chunk, chunks: 0, from: 0, to: 0, ..self.open.clone() };
        Ok(std::mem::replace(&mut self.open, next))
    }

    /// Sends what is gathered, after what was sent before has arrived: so they lie there in order.
    async fn flush(&mut self) -> Result<(), Error> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.arrived().await?;
        let chunk = Chunk { number: self.chunk, messages: std::mem::take(&mut self.gathered) };
        let bytes = Bytes::from(postcard::to_stdvec(&chunk)?);
        self.bytes = 0;
        let ack = self.connection.patiently(&self.stream, || self.send(&bytes, self.chunk)).await?;
        self.on_its_way = Some((bytes, self.chunk, ack));
        self.chunk += 1;
        Ok(())
    }

    async fn arrived(&mut self) -> Result<(), Error> {
        let Some((bytes, number, mut ack)) = self.on_its_way.take() else { return Ok(()) };
        let mut patience = Patience::new(&self.connection);
        let sequence = loop {
            match ack.await {
                Ok(ack) => break ack.sequence,
                Err(error) => patience.wait(&self.stream, self.explained(error.into())).await?,
            }
            ack = self.connection.patiently(&self.stream, || self.send(&bytes, number)).await?;
        };
        if self.open.chunks == 0 {
            self.open.from = sequence;
        }
        self.open.to = sequence;
        self.open.chunks += 1;
        Ok(())
    }

    fn explained(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Passing(error) if error.contains("maximum bytes") => Fault::lasting(format!(
                "is full, and what waits for a checkpoint does not fit: raise 'sink.staging.max-bytes' (and its 'max_bytes'), or take checkpoints more often ({error})"
            )),
            fault => fault,
        }
    }

    async fn send(&self, bytes: &Bytes, number: u64) -> Result<PublishAckFuture, Fault> {
        let id = format!("{}-{}-{number}", self.open.run, self.open.which.attempt);
        let publish = PublishMessage::build().payload(bytes.clone()).headers(HeaderMap::new()).message_id(id);
        Ok(self.connection.js.send_publish(self.subject.clone(), publish.expected_stream(&self.stream)).await?)
    }
}

/// Reads what waits, from its beginning.
pub(super) struct Waiting {
    pull: Option<Pull>,
    stream: String,
    staged: Staged,
    /// Messages that have been read, and chunks.
    read: u64,
    chunks: u64,
}

impl Waiting {
    pub(super) fn new(connection: &Connection, stream: &str, subject: String, staged: &Staged) -> Self {
        let what = What {
            stream: stream.to_owned(),
            filter: subject,
            at_server: None,
            headers_only: false,
            messages: 16,
            bytes: 4 << 20,
            all: false,
            created: None,
        };
        let pull = (staged.chunks > 0).then(|| Pull::new(connection.clone(), what, Begin::At(staged.from)));
        Self { pull, stream: stream.to_owned(), staged: staged.clone(), read: 0, chunks: 0 }
    }

    /// The next messages, with the number of the first; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Vec<Outgoing>)>, Error> {
        while self.chunks < self.staged.chunks {
            let Some(pull) = &mut self.pull else { break };
            let message = match pull.pull(1).await? {
                Pulled::Messages(mut messages) => messages.pop().filter(|message| message.sequence <= self.staged.to),
                // Of others.
                Pulled::Nothing if pull.next() <= self.staged.to => continue,
                Pulled::Nothing => None,
            };
            let Some(message) = message else { return Err(self.gone()) };
            let chunk: Chunk = postcard::from_bytes(&message.payload)?;
            match chunk.number.cmp(&(self.staged.chunk + self.chunks)) {
                // Sent again, for no answer had come.
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => return Err(self.gone()),
            }
            let first = self.staged.which.first + self.read;
            self.chunks += 1;
            self.read += chunk.messages.len() as u64;
            return Ok(Some((first, chunk.messages)));
        }
        if self.read == self.staged.count { Ok(None) } else { Err(self.gone()) }
    }

    fn gone(&self) -> Error {
        let Self { stream, staged: Staged { from, to, .. }, .. } = self;
        format!("stream '{stream}': of what was prepared (messages {from} to {to}) something is gone: put it back, or start the job anew").into()
    }
}
