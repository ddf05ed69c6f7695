//! Standard output: an aligned table, CSV or JSON lines.

use std::fmt;
use std::io::{self, ErrorKind};

use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use updraft_dataflow::{Bundle, Error, Punctuation, Record, Sink};

use crate::rows::{Layout, Rows};

/// How much is gathered before it is written, in bytes; a completed epoch is written at once.
pub(crate) const BUFFER: usize = 64 << 10;

/// A sink that prints records, of any type that serde can serialise.
///
/// What was written since a job's last checkpoint is written again if its process is killed: each record comes at least
/// once.
#[derive(Debug)]
pub struct Stdout {
    rows: Rows,
    buffer: Vec<u8>,
}

/// The error of a [`Stdout`] whose reader has gone, as `head` does after ten lines: no failure, but the end of the
/// job, to be passed over in silence. Tell it from others with [`Closed::is_in`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl Closed {
    /// Whether `error` is this, or was caused by it.
    pub fn is_in(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Self>())
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of standard output has gone")
    }
}

impl std::error::Error for Closed {}

impl Stdout {
    /// A table for people; see [`Layout::Table`].
    pub fn table() -> Self {
        Self::new(Layout::Table)
    }

    /// A JSON value a line.
    pub fn json() -> Self {
        Self::new(Layout::Json)
    }

    /// Comma-separated values with a header; see [`Layout::Csv`].
    pub fn csv() -> Self {
        Self::new(Layout::Csv)
    }

    /// In the layout given.
    pub fn new(layout: Layout) -> Self {
        Self { rows: Rows::new(layout), buffer: Vec::new() }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let result = put(tokio::io::stdout(), "standard output", &self.buffer).await;
        self.buffer.clear();
        result
    }
}

/// Writes all of `bytes` to a stream of that name; [`Closed`] where nobody reads it any more.
pub(crate) async fn put(mut stream: impl AsyncWrite + Unpin, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    written.await.map_err(|error: io::Error| match error.kind() {
        ErrorKind::BrokenPipe => Closed.into(),
        _ => format!("{name} cannot be written: {error}; check where it goes").into(),
    })
}

impl<T: Record + Serialize> Sink<T> for Stdout {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        self.rows.encode(bundle.as_slice(), &mut self.buffer)?;
        if self.buffer.len() >= BUFFER { self.flush().await } else { Ok(()) }
    }

    async fn complete(&mut self, _: Punctuation) -> Result<(), Error> {
        self.rows.flush(&mut self.buffer);
        if self.buffer.is_empty() { Ok(()) } else { self.flush().await }
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.rows.flush(&mut self.buffer);
        self.flush().await
    }
}
