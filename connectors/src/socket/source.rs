//! Records from sockets.
//!
//! [`Socket`] says which and how, a format makes it a source; a [`SocketPartition`] reads all the connections that it has been
//! given, a chunk of one at a time.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use updraft_dataflow::{Batch, Error, Partition, Record, Source};
use updraft_kernel::yield_now;

use super::address::Address;
use super::listener::Listener;
use super::stream::Stream;
use crate::format::{Csv, Decode, Decoder, Format, Json, Lines, MAX_LINE, Output};

/// How many connections a partition has at a time. Those who call meanwhile wait with the operating system.
pub(super) const OPEN: usize = 1 << 10;

/// Which socket to read, and how; a format, such as [`lines`](Self::lines), makes it a source.
///
/// * Each connection is a text of its own: its records are in order, it has its own header if it is CSV, and its lines are
///   counted from 1. A last line without a newline counts.
/// * A partition takes its connections in turn. Records of several are interleaved, never mixed within a record.
/// * A record that cannot be decoded, or is longer than [`max_line`](Self::max_line), becomes a dead letter, which names the
///   peer (`127.0.0.1:40312`, or `jobs.sock#3` for the third that connected to a UNIX socket) and the line.
/// * When a caller breaks off (not: ends) a connection, the line that is not whole becomes a dead letter, and the others go
///   on. When the connection that we made is broken off the job ends with an error: the rest is unknown.
/// * It reads when the job has room, and keeps at most about `max_line` and 64 KiB for each connection, of which a partition
///   has 1024 at a time: senders wait for a slow job. What has been received when the job drains or fails and is not among its records yet is lost, and so is what
///   is on its way: a socket cannot be read again.
///
/// ```
/// # fn main() -> Result<(), updraft_dataflow::Error> {
/// use std::time::Duration;
/// use updraft_connectors::Socket;
/// // `nc -lk 7000` writes, and is started later perhaps.
/// let called = Socket::connect("localhost:7000").retry(Duration::from_secs(60)).lines();
/// // Any number of senders, until the job is drained.
/// let listening = Socket::listen("127.0.0.1:0")?.partitions(2).json::<(u64, String)>();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Socket {
    end: End,
    partitions: usize,
    connections: Option<u64>,
    max_line: usize,
    retry: Duration,
}

/// Who calls.
#[derive(Debug)]
enum End {
    We(Address),
    They(Listener),
}

impl Socket {
    /// Connects to `host:port` when the job runs, and reads until the peer closes.
    pub fn connect(address: impl Into<String>) -> Self {
        Self::new(End::We(Address::Tcp(address.into())))
    }

    /// Connects to the UNIX socket at `path` when the job runs, and reads until the peer closes.
    pub fn connect_unix(path: impl Into<PathBuf>) -> Self {
        Self::new(End::We(Address::Unix(path.into())))
    }

    /// Listens at `host:port` from now on, and reads from all who connect, until the job drains or after a number of
    /// [`connections`](Self::connections). With port 0 the operating system chooses one: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// When the address is none of this machine's, or taken.
    pub fn listen(address: impl Into<String>) -> Result<Self, Error> {
        Ok(Self::new(End::They(Listener::tcp(address.into())?)))
    }

    /// Listens at a UNIX socket at `path`, as [`listen`](Self::listen) does. What a process that has died left there is
    /// removed first; our own is removed at the end.
    ///
    /// # Errors
    /// When it cannot be made, or somebody listens there.
    pub fn listen_unix(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Ok(Self::new(End::They(Listener::unix(path.into())?)))
    }

    fn new(end: End) -> Self {
        Self { end, partitions: 1, connections: None, max_line: MAX_LINE, retry: Duration::ZERO }
    }

    /// Where it listens; `None` for a UNIX socket, or when it is we who connect.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.end {
            End::They(listener) => listener.local_addr(),
            End::We(_) => None,
        }
    }

    /// Deals connections out to `partitions`, to whichever has waited for one the longest. At least one, which is the
    /// default; one where it is we who connect. A partition without a connection is idle after a while: see [`Idle`](updraft_dataflow::Idle).
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions.max(1);
        self
    }

    /// Ends when so many have connected and all of them are read to their ends; later ones are refused. At least one.
    /// Of no meaning where it is we who connect.
    #[must_use]
    pub fn connections(mut self, connections: u64) -> Self {
        self.connections = Some(connections.max(1));
        self
    }

    /// Tries for so long to connect while nobody listens there; otherwise once. A connection that has ended is not made again.
    #[must_use]
    pub fn retry(mut self, limit: Duration) -> Self {
        self.retry = limit;
        self
    }

    /// The longest record that is taken, in bytes; 1 MiB unless said otherwise. Longer ones become dead letters that hold
    /// their first 64 KiB.
    #[must_use]
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }

    /// Lines of UTF-8 text.
    pub fn lines(self) -> SocketSource<Lines> {
        self.format(Lines)
    }

    /// CSV with a header, decoded as `T` by the names of its fields; for other kinds of CSV see [`Csv`].
    pub fn csv<T: Record + DeserializeOwned>(self) -> SocketSource<Csv<T>> {
        self.format(Csv::new())
    }

    /// A JSON value a line, decoded as `T`.
    pub fn json<T: Record + DeserializeOwned>(self) -> SocketSource<Json<T>> {
        self.format(Json::new())
    }

    /// Lines decoded by `decode`, as bytes and without a copy: see [`Decode`].
    pub fn decode<T, D>(self, decode: D) -> SocketSource<Decode<D>>
    where
        T: Record,
        D: Fn(&[u8]) -> Result<T, String> + Clone + Send + 'static,
    {
        self.format(Decode::new(decode))
    }

    /// Any [`Format`].
    pub fn format<F: Format>(self, format: F) -> SocketSource<F> {
        SocketSource { socket: self, format }
    }
}

/// [`Socket`] in a format.
#[derive(Debug)]
pub struct SocketSource<F> {
    socket: Socket,
    format: F,
}

impl<F: Format> Source for SocketSource<F> {
    type Item = F::Item;
    type Partition = SocketPartition<F>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        let max_line = self.socket.max_line;
        let open = |(address, entrance)| SocketPartition {
            address,
            entrance,
            connections: Vec::new(),
            turn: 0,
            format: self.format.clone(),
            max_line,
        };
        Ok(self.socket.entrances().into_iter().map(open).collect())
    }
}

impl Socket {
    /// Where the connections of each partition come from, and its address.
    pub(super) fn entrances(self) -> Vec<(String, Entrance)> {
        match self.end {
            End::We(address) => vec![(address.to_string(), Entrance::Call(address, self.retry))],
            End::They(listener) => {
                let address = listener.address().to_string();
                let door = Arc::new(Mutex::new(Door { listener: Some(listener), left: self.connections }));
                (0..self.partitions).map(|_| (address.clone(), Entrance::Door(door.clone()))).collect()
            }
        }
    }
}

/// Where connections come from.
pub(super) enum Entrance {
    /// We call, once.
    Call(Address, Duration),
    /// Others call.
    Door(Arc<Mutex<Door>>),
    /// No more will come.
    Shut,
}

/// Where those who call are let in, to one partition after the other.
pub(super) struct Door {
    /// `None` when enough have come.
    listener: Option<Listener>,
    left: Option<u64>,
}

impl Entrance {
    /// Waits for a connection: it, its name, and whether it is ours. `None` when no more will come. Nothing is lost if it is
    /// dropped.
    pub(super) async fn enter(&self) -> Result<Option<(Stream, String, bool)>, Error> {
        match self {
            Self::Call(address, retry) => Ok(Some((address.connect(*retry).await?, address.to_string(), true))),
            Self::Door(door) => {
                let entered = door.lock().await.enter().await?;
                Ok(entered.map(|(stream, name)| (stream, name, false)))
            }
            Self::Shut => Ok(None),
        }
    }
}

impl Door {
    async fn enter(&mut self) -> Result<Option<(Stream, String)>, Error> {
        let Some(listener) = &mut self.listener else { return Ok(None) };
        let call = listener.called().await?;
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                self.listener = None;
            }
        }
        Ok(Some(call))
    }
}

/// Some of the connections of a [`Socket`].
pub struct SocketPartition<F> {
    address: String,
    entrance: Entrance,
    connections: Vec<Connection<F>>,
    /// The one that was read last: no other has something that is not decoded.
    turn: usize,
    format: F,
    max_line: usize,
}

/// One connection, and what has come over it.
struct Connection<F> {
    stream: Stream,
    decoder: Decoder<F>,
    state: State,
    is_ours: bool,
}

enum State {
    Open,
    /// The peer has closed it.
    Ended,
    Broken(io::Error),
}

/// What comes next.
enum Event {
    Entered(Option<(Stream, String, bool)>),
    /// Something has been read from a connection, or its end.
    Read(usize),
}

impl<F: Format> Connection<F> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_read(cx, &mut self.decoder).map(|read| match read {
            Ok(0) => self.state = State::Ended,
            Ok(_) => {}
            Err(error) => self.state = State::Broken(error),
        })
    }

    /// Decodes what has come: whether there will be no more.
    fn decode(&mut self, out: &mut Output<F::Item>) -> Result<bool, Error> {
        self.decoder.decode(out);
        if out.is_full() {
            return Ok(false);
        }
        match &self.state {
            State::Open => return Ok(false),
            State::Ended => {
                self.decoder.finish(out);
                return Ok(!out.is_full());
            }
            State::Broken(error) if self.is_ours => return Err(self.broken(error)),
            State::Broken(error) => {
                tracing::warn!(at = self.decoder.position(), %error, "a sender has broken its connection off");
                self.decoder.abandon(&format!("broken off in this record: {error}; have it sent again"), out);
            }
        }
        Ok(true)
    }

    fn broken(&self, error: &io::Error) -> Error {
        let remedy = "see what has become of the sender, and start the job again when it is well";
        format!("{}: broken off: {error}; {remedy}", self.decoder.position()).into()
    }
}

impl<F: Format> SocketPartition<F> {
    /// Decodes what the connection whose turn it is has given.
    fn decode(&mut self, out: &mut Output<F::Item>) -> Result<(), Error> {
        if let Some(connection) = self.connections.get_mut(self.turn)
            && connection.decode(out)?
        {
            self.connections.remove(self.turn);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.connections.is_empty() && matches!(self.entrance, Entrance::Shut)
    }

    /// Waits for a connection, or for something to come over one.
    async fn wait(&mut self) -> Result<(), Error> {
        let may_enter = self.connections.len() < OPEN && !matches!(self.entrance, Entrance::Shut);
        let event = tokio::select! {
            biased;
            entered = self.entrance.enter(), if may_enter => Event::Entered(entered?),
            read = poll_fn(|cx| poll_read(&mut self.connections, self.turn, cx)) => Event::Read(read),
        };
        match event {
            Event::Entered(Some((stream, name, is_ours))) => {
                if is_ours {
                    self.entrance = Entrance::Shut;
                }
                let decoder = Decoder::new(&name, self.format.clone(), self.max_line);
                self.connections.push(Connection { stream, decoder, state: State::Open, is_ours });
            }
            Event::Entered(None) => self.entrance = Entrance::Shut,
            Event::Read(index) => self.turn = index,
        }
        Ok(())
    }
}

/// Reads from the first connection that has something, beginning after the one whose turn it was last.
fn poll_read<F: Format>(connections: &mut [Connection<F>], last: usize, cx: &mut Context<'_>) -> Poll<usize> {
    let count = connections.len();
    let mut turns = (1..=count).map(|i| (last + i) % count);
    turns.find(|&turn| connections[turn].poll_read(cx).is_ready()).map_or(Poll::Pending, Poll::Ready)
}

impl<F: Format> Partition for SocketPartition<F> {
    type Item = F::Item;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<F::Item>>, Error> {
        let mut out = Output::new(limit);
        loop {
            self.decode(&mut out)?;
            if !out.is_empty() {
                return Ok(Some(out.into_batch()));
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

impl<F: Format> fmt::Debug for SocketPartition<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketPartition({})", self.position())
    }
}
