//! Standard input, in the formats of [`crate::files`]; gzip and zstd are told by their first bytes.

use std::fmt;

use serde::de::DeserializeOwned;
use updraft_dataflow::{Batch, Error, Partition, Record, Source};

use crate::compression::Compression;
use crate::files::read::Stream;
use crate::format::{Csv, Decode, Format, Json, Lines, MAX_LINE};

/// Standard input; a format, such as [`lines`](Self::lines), makes it a source. One job at a time may read it.
///
/// It cannot be read again: what has come since a job's last checkpoint is lost if its process is killed.
#[derive(Clone, Copy, Debug)]
pub struct Stdin {
    max_line: usize,
}

impl Default for Stdin {
    fn default() -> Self {
        Self::new()
    }
}

impl Stdin {
    /// Records of 1 MiB at most.
    pub const fn new() -> Self {
        Self { max_line: MAX_LINE }
    }

    /// The longest record that is taken, in bytes. Longer ones become dead letters.
    #[must_use]
    pub const fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }

    /// Lines of UTF-8 text.
    pub fn lines(self) -> StdinSource<Lines> {
        self.format(Lines)
    }

    /// CSV with a header, decoded as `T` by the names of its fields; for other kinds of CSV see [`Csv`].
    pub fn csv<T: Record + DeserializeOwned>(self) -> StdinSource<Csv<T>> {
        self.format(Csv::new())
    }

    /// A JSON value a line, decoded as `T`.
    pub fn json<T: Record + DeserializeOwned>(self) -> StdinSource<Json<T>> {
        self.format(Json::new())
    }

    /// Lines decoded by `decode`, as bytes and without a copy: see [`Decode`].
    pub fn decode<T, D>(self, decode: D) -> StdinSource<Decode<D>>
    where
        T: Record,
        D: Fn(&[u8]) -> Result<T, String> + Clone + Send + 'static,
    {
        self.format(Decode::new(decode))
    }

    /// Any [`Format`].
    pub fn format<F: Format>(self, format: F) -> StdinSource<F> {
        StdinSource { stdin: self, format }
    }
}

/// [`Stdin`] in a format.
#[derive(Clone, Debug)]
pub struct StdinSource<F> {
    stdin: Stdin,
    format: F,
}

impl<F: Format> Source for StdinSource<F> {
    type Item = F::Item;
    type Partition = StdinPartition<F>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        Ok(vec![StdinPartition { source: self, stream: None }])
    }
}

/// Standard input as one partition. It is opened by the first read, within the kernel that does it.
pub struct StdinPartition<F> {
    source: StdinSource<F>,
    stream: Option<Stream<F>>,
}

/// What dead letters name.
const ORIGIN: &str = "stdin";

impl<F: Format> StdinSource<F> {
    async fn stream(&self) -> Result<Stream<F>, Error> {
        let input = Compression::Plain.reader(tokio::io::stdin()).await;
        let input = input.map_err(|error| format!("{ORIGIN}: cannot be read: {error}; check what is piped in"))?;
        Ok(Stream::new(input, ORIGIN, self.format.clone(), self.stdin.max_line))
    }
}

impl<F: Format> Partition for StdinPartition<F> {
    type Item = F::Item;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<F::Item>>, Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            closed => closed.insert(self.source.stream().await?),
        };
        stream.next(limit).await
    }

    fn position(&self) -> String {
        self.stream.as_ref().map_or_else(|| format!("{ORIGIN}:1"), Stream::position)
    }
}

impl<F: Format> fmt::Debug for StdinPartition<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StdinPartition({})", self.position())
    }
}
