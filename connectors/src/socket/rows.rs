//! Rows of tables over sockets: the source and the sink behind `'connector' = 'socket'`.
//!
//! Connections are those of [`super::source`]; what comes over them is decoded into columns, what goes out is encoded of them.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use updraft_dataflow::{Batch, Bundle, Error, Partition, Rows, Sink, Source};
use updraft_kernel::yield_now;

use super::address::Address;
use super::source::{Entrance, OPEN, Socket};
use super::stream::Stream;
use crate::columns::{Decode, Encode};
use crate::table::shape::Shape;

/// Rows that come over a [`Socket`].
pub(crate) struct RowsSource {
    pub(crate) socket: Socket,
    pub(crate) shape: Shape,
}

impl Source for RowsSource {
    type Item = Rows;
    type Partition = RowsPartition;

    fn open(self) -> Result<Vec<RowsPartition>, Error> {
        let shape = self.shape;
        let open = |(address, entrance)| RowsPartition {
            address,
            entrance,
            connections: Vec::new(),
            turn: 0,
            shape: shape.clone(),
        };
        Ok(self.socket.entrances().into_iter().map(open).collect())
    }
}

/// Some of the connections.
pub(crate) struct RowsPartition {
    address: String,
    entrance: Entrance,
    connections: Vec<Connection>,
    /// The one that was read last: no other has something that is not decoded.
    turn: usize,
    shape: Shape,
}

/// One connection, and what has come over it.
struct Connection {
    stream: Stream,
    decoder: Box<dyn Decode>,
    state: State,
    is_ours: bool,
}

enum State {
    Open,
    /// The peer has closed it; what has come is still being decoded.
    Ended,
    Broken(io::Error),
}

impl Connection {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_read(cx, &mut self.decoder).map(|read| match read {
            Ok(0) => {
                self.decoder.end();
                self.state = State::Ended;
            }
            Ok(_) => {}
            Err(error) => self.state = State::Broken(error),
        })
    }

    /// Whether there will be no more, now that all that has come is decoded.
    fn is_over(&self) -> Result<bool, Error> {
        match &self.state {
            State::Open => Ok(false),
            State::Ended => Ok(true),
            State::Broken(error) if self.is_ours => {
                let remedy = "see what has become of the sender, and start the job again when it is well";
                Err(format!("{}: broken off: {error}; {remedy}", self.decoder.position()).into())
            }
            State::Broken(error) => {
                let at = self.decoder.position();
                tracing::warn!(at, %error, "a sender has broken its connection off: what is not a whole record is lost");
                Ok(true)
            }
        }
    }
}

impl RowsPartition {
    /// What the connection whose turn it is has given.
    fn decode(&mut self) -> Result<Option<Batch<Rows>>, Error> {
        let Some(connection) = self.connections.get_mut(self.turn) else { return Ok(None) };
        let batch = self.shape.next(connection.decoder.as_mut())?;
        if batch.is_none() && connection.is_over()? {
            self.connections.remove(self.turn);
        }
        Ok(batch)
    }

    fn is_over(&self) -> bool {
        self.connections.is_empty() && matches!(self.entrance, Entrance::Shut)
    }

    /// Waits for a connection, or for something to come over one.
    async fn wait(&mut self) -> Result<(), Error> {
        let may_enter = self.connections.len() < OPEN && !matches!(self.entrance, Entrance::Shut);
        tokio::select! {
            biased;
            entered = self.entrance.enter(), if may_enter => match entered? {
                Some((stream, name, is_ours)) => {
                    if is_ours {
                        self.entrance = Entrance::Shut;
                    }
                    let decoder = self.shape.decoder(&name)?;
                    self.connections.push(Connection { stream, decoder, state: State::Open, is_ours });
                }
                None => self.entrance = Entrance::Shut,
            },
            turn = poll_fn(|cx| poll_read(&mut self.connections, self.turn, cx)) => self.turn = turn,
        }
        Ok(())
    }
}

/// Reads from the first connection that has something, beginning after the one whose turn it was last.
fn poll_read(connections: &mut [Connection], last: usize, cx: &mut Context<'_>) -> Poll<usize> {
    let count = connections.len();
    let mut turns = (1..=count).map(|i| (last + i) % count);
    turns.find(|&turn| connections[turn].poll_read(cx).is_ready()).map_or(Poll::Pending, Poll::Ready)
}

impl Partition for RowsPartition {
    type Item = Rows;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<Rows>>, Error> {
        loop {
            if let Some(batch) = self.decode()? {
                return Ok(Some(batch));
            }
            if self.is_over() {
                return Ok(None);
            }
            // Also where bytes come without end and no record does, others have their turn.
            yield_now().await;
            self.wait().await?;
        }
    }

    fn position(&self) -> String {
        self.connections.get(self.turn).map_or_else(|| self.address.clone(), |open| open.decoder.position())
    }
}

/// Rows to one peer, which we call when the job runs.
pub(crate) struct RowsSink {
    address: Address,
    retry: Duration,
    stream: Option<Stream>,
    encoder: Box<dyn Encode>,
    bytes: Vec<u8>,
}

impl RowsSink {
    /// To `host:port`.
    pub(crate) fn tcp(address: String, retry: Duration, encoder: Box<dyn Encode>) -> Self {
        Self { address: Address::Tcp(address), retry, stream: None, encoder, bytes: Vec::new() }
    }

    /// To the UNIX socket at `path`.
    pub(crate) fn unix(path: &str, retry: Duration, encoder: Box<dyn Encode>) -> Self {
        Self { address: Address::Unix(path.into()), retry, stream: None, encoder, bytes: Vec::new() }
    }

    /// Sends what is encoded; it is told of a job without rows, too.
    async fn send(&mut self) -> Result<(), Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(self.address.connect(self.retry).await?),
        };
        let sent = stream.write_all(&self.bytes).await;
        self.bytes.clear();
        sent.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Error {
        let remedy = "see why it has closed the connection, and start the job again when it is well";
        format!("{}: cannot be written to: {error}; {remedy}", self.address).into()
    }
}

impl Sink<Rows> for RowsSink {
    async fn write(&mut self, bundle: Bundle<Rows>) -> Result<(), Error> {
        for rows in bundle.as_slice() {
            self.encoder.encode(rows.batch(), &mut self.bytes)?;
        }
        if self.bytes.is_empty() { Ok(()) } else { self.send().await }
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.encoder.finish(&mut self.bytes)?;
        self.send().await?;
        match self.stream.take() {
            Some(stream) => stream.hang_up().await.map_err(|error| self.failed(&error)),
            None => Ok(()),
        }
    }

    fn abort(&mut self) {
        self.stream.take().into_iter().for_each(Stream::break_off);
    }
}
