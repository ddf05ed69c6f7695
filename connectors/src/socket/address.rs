//! Where a connection goes to, and how it is made.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use updraft_dataflow::Error;
use updraft_kernel::clock;

use super::stream::Stream;

/// How long an attempt may take: a host that is not there says nothing.
const ANSWER: Duration = Duration::from_secs(10);

/// The first pause between two attempts; each is twice as long as the one before, up to the longest.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The other end of a connection, as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    /// Connects, and tries again for as long as `retry` while nobody is there.
    pub(super) async fn connect(&self, retry: Duration) -> Result<Stream, Error> {
        let begun = clock::now();
        let (mut attempts, mut pause) = (1, PAUSE);
        loop {
            let error = match clock::timeout(ANSWER, self.attempt()).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => error,
                None => io::Error::new(ErrorKind::TimedOut, "no answer"),
            };
            let spent = clock::now().since(begun);
            // No waiting makes an address of what is none.
            if spent >= retry || error.kind() == ErrorKind::InvalidInput {
                return Err(self.failed(&error, attempts));
            }
            clock::sleep(pause.min(retry - spent)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            attempts += 1;
        }
    }

    async fn attempt(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => Stream::tcp(TcpStream::connect(address).await?),
            Self::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }

    fn failed(&self, error: &io::Error, attempts: u32) -> Error {
        let times = if attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
        let remedy = match error.kind() {
            ErrorKind::InvalidInput => "give host:port",
            _ => "check that somebody listens there, or wait longer for it: `.retry(..)`",
        };
        format!("{self}: cannot connect: {error} (tried {times}); {remedy}").into()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
