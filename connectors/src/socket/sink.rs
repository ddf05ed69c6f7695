//! Records to sockets: to one peer, or to all who connect (`clients.rs`).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use updraft_dataflow::{Bundle, Error, Record, Sink};

use super::address::Address;
use super::clients::Clients;
use super::listener::Listener;
use super::stream::Stream;
use crate::rows::{Layout, Rows};

/// A sink that writes records, of any type that serde can serialise, to a socket: a JSON value a line, or [CSV](Self::csv).
///
/// * Bundles are sent as they come. When the job has ended well the connections are closed; when it has failed or was cancelled,
///   TCP connections are reset, so that readers don't take what they have for the whole. (UNIX sockets know no such thing.)
/// * Each row is sent once at most over a connection: rows count as written when the operating system has taken them, and what
///   a peer had not read when its connection broke is lost.
/// * [`connect`](Self::connect): one peer, which gets all rows. The job waits for it, and ends with an error if it
///   closes. It may take until the next bundle but one to notice.
/// * [`listen`](Self::listen): all who are connected get the bundles that come from then on; CSV begins with a header for each.
///   Clients that close are forgotten, and with nobody there rows go nowhere: so the job does not wait for the first
///   one. Its slowest client holds the job back, unless [`drop_slow`](Self::drop_slow) is set.
///
/// What was written since a job's last checkpoint is sent again if its process is killed: each row comes at least once.
///
/// ```
/// # fn main() -> Result<(), updraft_dataflow::Error> {
/// use std::time::Duration;
/// use updraft_connectors::SocketSink;
/// let to_one = SocketSink::connect("collector:7000").retry(Duration::from_secs(10));
/// // For `nc 127.0.0.1 PORT`, who may come and go.
/// let to_all = SocketSink::listen("127.0.0.1:0")?.csv().drop_slow(Duration::from_secs(1));
/// println!("results at {}", to_all.local_addr().expect("it is TCP"));
/// # Ok(())
/// # }
/// ```
pub struct SocketSink {
    layout: Layout,
    retry: Duration,
    end: End,
}

/// Who calls.
enum End {
    We(Peer),
    They(Clients),
}

impl SocketSink {
    /// Connects to `host:port` when the job runs.
    pub fn connect(address: impl Into<String>) -> Self {
        Self::new(End::We(Peer::new(Address::Tcp(address.into()))))
    }

    /// Connects to the UNIX socket at `path` when the job runs.
    pub fn connect_unix(path: impl Into<PathBuf>) -> Self {
        Self::new(End::We(Peer::new(Address::Unix(path.into()))))
    }

    /// Listens at `host:port` from now on. With port 0 the operating system chooses one: see
    /// [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// When the address is none of this machine's, or taken.
    pub fn listen(address: impl Into<String>) -> Result<Self, Error> {
        Ok(Self::new(End::They(Clients::new(Listener::tcp(address.into())?))))
    }

    /// Listens at a UNIX socket at `path` from now on. What a process that has died left there is removed first; our own is
    /// removed at the end.
    ///
    /// # Errors
    /// When it cannot be made, or somebody listens there.
    pub fn listen_unix(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Ok(Self::new(End::They(Clients::new(Listener::unix(path.into())?))))
    }

    fn new(end: End) -> Self {
        Self { layout: Layout::Json, retry: Duration::ZERO, end }
    }

    /// Where it listens; `None` for a UNIX socket, or when it is we who connect.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.end {
            End::They(clients) => clients.listener().local_addr(),
            End::We(_) => None,
        }
    }

    /// Comma-separated values with a header, instead of JSON lines; see [`Layout::Csv`].
    #[must_use]
    pub fn csv(mut self) -> Self {
        self.layout = Layout::Csv;
        self
    }

    /// Tries for so long to connect while nobody listens there; otherwise once. A connection that has ended is not made again.
    #[must_use]
    pub fn retry(mut self, limit: Duration) -> Self {
        self.retry = limit;
        self
    }

    /// Drops a client that has not taken a bundle after `patience` (its connection is reset), with a warning: none holds the
    /// job up for longer than that at a time. Of no meaning where it is we who connect.
    #[must_use]
    pub fn drop_slow(mut self, patience: Duration) -> Self {
        if let End::They(clients) = &mut self.end {
            clients.drop_slow(patience);
        }
        self
    }
}

/// The one that we call.
struct Peer {
    address: Address,
    stream: Option<Stream>,
    rows: Option<Rows>,
    buffer: Vec<u8>,
}

impl Peer {
    fn new(address: Address) -> Self {
        Self { address, stream: None, rows: None, buffer: Vec::new() }
    }

    async fn stream(&mut self, retry: Duration) -> Result<&mut Stream, Error> {
        Ok(match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(self.address.connect(retry).await?),
        })
    }

    async fn write<T: Serialize>(&mut self, layout: Layout, retry: Duration, records: &[T]) -> Result<(), Error> {
        self.buffer.clear();
        self.rows.get_or_insert_with(|| Rows::new(layout)).encode(records, &mut self.buffer)?;
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.stream(retry).await?.write_all(&buffer).await;
        self.buffer = buffer;
        written.map_err(|error| self.failed(&error))
    }

    async fn close(&mut self, retry: Duration) -> Result<(), Error> {
        // It is told of a job without rows, too.
        self.stream(retry).await?;
        match self.stream.take() {
            Some(stream) => stream.hang_up().await.map_err(|error| self.failed(&error)),
            None => Ok(()),
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        let remedy = "see why it has closed the connection, and start the job again when it is well";
        format!("{}: cannot be written to: {error}; {remedy}", self.address).into()
    }
}

impl<T: Record + Serialize> Sink<T> for SocketSink {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        match &mut self.end {
            End::We(peer) => peer.write(self.layout, self.retry, bundle.as_slice()).await,
            End::They(clients) => clients.write(self.layout, bundle.as_slice()).await,
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        match &mut self.end {
            End::We(peer) => peer.close(self.retry).await,
            End::They(clients) => clients.close().await,
        }
    }

    fn abort(&mut self) {
        match &mut self.end {
            End::We(peer) => peer.stream.take().into_iter().for_each(Stream::break_off),
            End::They(clients) => clients.abort(),
        }
    }
}

impl fmt::Debug for SocketSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.end {
            End::We(peer) => &peer.address,
            End::They(clients) => clients.listener().address(),
        };
        f.debug_struct("SocketSink").field("address", address).field("layout", &self.layout).finish_non_exhaustive()
    }
}
