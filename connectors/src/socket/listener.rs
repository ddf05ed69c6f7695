//! A socket that is listened at, from before its job starts.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tokio::net;
use updraft_dataflow::Error;

use super::address::Address;
use super::stream::Stream;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listener {
    kind: Kind,
    address: Address,
    accepted: u64,
    calls: Option<Calls>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "removed when it is dropped")] SocketFile),
}

impl Listener {
    /// Listens at `host:port`; port 0 is one that is free.
    pub(super) fn tcp(address: String) -> Result<Self, Error> {
        let bound = TcpListener::bind(&address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        });
        match bound {
            Ok((bound, listener)) => Ok(Self::new(Kind::Tcp(listener), Address::Tcp(bound.to_string()))),
            Err(error) => Err(cannot_listen(&Address::Tcp(address), &error)),
        }
    }

    /// Listens at a UNIX socket, whose file is made now and removed at the end.
    pub(super) fn unix(path: PathBuf) -> Result<Self, Error> {
        let bound = bind(&path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener, SocketFile::new(&path)?))
        });
        let address = Address::Unix(path);
        match bound {
            Ok((listener, file)) => Ok(Self::new(Kind::Unix(listener, file), address)),
            Err(error) => Err(cannot_listen(&address, &error)),
        }
    }

    fn new(kind: Kind, address: Address) -> Self {
        Self { kind, address, accepted: 0, calls: None }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(..) => None,
        }
    }

    /// Waits until somebody has called: the connection, and the caller's name. Nothing is lost if it is dropped.
    pub(super) async fn called(&mut self) -> Result<(Stream, String), Error> {
        loop {
            let accepted = self.wait().await;
            if let Some(call) = self.admit(accepted)? {
                return Ok(call);
            }
        }
    }

    async fn wait(&mut self) -> io::Result<Accepted> {
        let calls = match &mut self.calls {
            Some(calls) => calls,
            none => none.insert(self.kind.calls()?),
        };
        calls.accept().await
    }

    /// Who has called already, if anybody has: the connection, and the caller's name.
    pub(super) fn accept(&mut self) -> Result<Option<(Stream, String)>, Error> {
        let accepted = self.kind.accept();
        self.admit(accepted)
    }

    fn admit(&mut self, accepted: io::Result<Accepted>) -> Result<Option<(Stream, String)>, Error> {
        use ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
        match accepted {
            Ok((stream, peer)) => {
                self.accepted += 1;
                let name = peer.map_or_else(|| format!("{}#{}", self.address, self.accepted), |peer| peer.to_string());
                Ok(Some((stream, name)))
            }
            // Nobody, or somebody who has called and gone.
            Err(error) if matches!(error.kind(), WouldBlock | ConnectionAborted | Interrupted) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        let remedy = "check how many files and connections a process may have (`ulimit -n`)";
        format!("{}: a connection cannot be accepted: {error}; {remedy}", self.address).into()
    }
}

/// A connection, and the address of who has made it if it has one.
type Accepted = (Stream, Option<SocketAddr>);

impl Kind {
    fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Stream::tcp(net::TcpStream::from_std(stream)?)?, Some(peer)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Stream::Unix(net::UnixStream::from_std(stream)?), None))
            }
        }
    }

    fn calls(&self) -> io::Result<Calls> {
        Ok(match self {
            Self::Tcp(listener) => Calls::Tcp(net::TcpListener::from_std(listener.try_clone()?)?),
            Self::Unix(listener, _) => Calls::Unix(net::UnixListener::from_std(listener.try_clone()?)?),
        })
    }
}

/// A second handle, which waits: made within the kernel that does.
#[derive(Debug)]
enum Calls {
    Tcp(net::TcpListener),
    Unix(net::UnixListener),
}

impl Calls {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::tcp(stream)?, Some(peer)))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }
}

/// Binds `path`, also where a process that is dead has left its socket.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_over(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Whether `path` is a socket that nobody listens at.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn cannot_listen(address: &Address, error: &io::Error) -> Error {
    let remedy = match (error.kind(), address) {
        (ErrorKind::AddrInUse, Address::Tcp(_)) => "end the process that listens there, or choose another port",
        (ErrorKind::AddrInUse, Address::Unix(_)) => {
            "end the process that listens there, or remove the file if it is something else"
        }
        (ErrorKind::PermissionDenied, Address::Tcp(_)) => "choose a port from 1024 on",
        (_, Address::Tcp(_)) => "give host:port, of this machine",
        (_, Address::Unix(_)) => "check that its folder is there and that this user may write to it",
    };
    format!("{address}: cannot listen: {error}; {remedy}").into()
}

/// The file of our UNIX socket: removed at the end, unless somebody else's has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Where it stays, the next listener removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
