//! Standard input, in the formats of [`crate::files`]; gzip and zstd are told by their first bytes.

use std::fmt;

use serde::de::DeserializeOwned;
use updraft_dataflow::{Batch, Error, Partition, Record, Source};

use crate::compression::Compression;
use crate::files::read::Stream;
use crate::format::{Csv, Decode, Format, Json, Lines, MAX_LINE};

/// Standard input; a format, such as [`lines`](Self::lines), makes it a source. One job at a time may read it.
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
        Ok(vec![StdinPartition::Closed(self)])
    }
}

/// Standard input as one partition. It is opened by the first read, within the kernel that does it.
pub enum StdinPartition<F: Format> {
    /// Nothing has been read yet.
    Closed(StdinSource<F>),
    /// Being read.
    Open(Box<OpenStdin<F>>),
}

/// Standard input that is being read.
pub struct OpenStdin<F>(Stream<F>);

/// What dead letters name.
const ORIGIN: &str = "stdin";

async fn open<F: Format>(source: &StdinSource<F>) -> Result<OpenStdin<F>, Error> {
    let input = Compression::Plain.reader(tokio::io::stdin()).await;
    let input = input.map_err(|error| format!("{ORIGIN}: cannot be read: {error}; check what is piped in"))?;
    Ok(OpenStdin(Stream::new(input, ORIGIN, source.format.clone(), source.stdin.max_line)))
}

impl<F: Format> Partition for StdinPartition<F> {
    type Item = F::Item;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<F::Item>>, Error> {
        loop {
            match self {
                Self::Open(stdin) => return stdin.0.next(limit).await,
                Self::Closed(source) => *self = Self::Open(Box::new(open(source).await?)),
            }
        }
    }

    fn position(&self) -> String {
        match self {
            Self::Closed(_) => format!("{ORIGIN}:1"),
            Self::Open(stdin) => stdin.0.position(),
        }
    }
}

impl<F: Format> fmt::Debug for StdinPartition<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StdinPartition({})", self.position())
    }
}
