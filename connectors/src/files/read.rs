//! Files read once, from first to last byte, one after the other.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs::File;
use updraft_dataflow::{Batch, Error};

use crate::compression::{Compression, Input};
use crate::files::cannot_read;
use crate::files::path::Named;
use crate::format::{Decoder, Format, Output, Stand};

/// A queue of files, and the one that is being read.
pub struct Read<F: Format> {
    queue: VecDeque<PathBuf>,
    /// How far the first of the queue is, where that was begun by another process.
    at: Option<Stand>,
    reading: PathBuf,
    current: Option<Stream<F>>,
    format: F,
    max_line: usize,
}

impl<F: Format> Read<F> {
    pub(crate) fn new(queue: VecDeque<PathBuf>, format: F, max_line: usize) -> Self {
        Self { queue, at: None, reading: PathBuf::new(), current: None, format, max_line }
    }

    pub(crate) async fn next(&mut self, limit: usize) -> Result<Option<Batch<F::Item>>, Error> {
        loop {
            if let Some(stream) = &mut self.current {
                if let Some(batch) = stream.next(limit).await? {
                    return Ok(Some(batch));
                }
                self.current = None;
            }
            let Some(path) = self.queue.pop_front() else {
                return Ok(None);
            };
            self.current = Some(open(&path, self.at.take(), self.format.clone(), self.max_line).await?);
            self.reading = path;
        }
    }

    pub(crate) fn left(&self) -> Left {
        let reading = self.current.iter().map(|_| &self.reading);
        let files = reading.chain(&self.queue).cloned().map(Named).collect();
        Left { files, at: self.current.as_ref().map_or(self.at, |stream| Some(stream.decoder.stand())) }
    }

    /// Goes on where another one had this left, before anything is read.
    pub(crate) fn go_on(&mut self, left: Left) {
        self.queue = left.files.into_iter().map(|Named(path)| path).collect();
        self.at = left.at;
    }

    pub(crate) fn position(&self) -> String {
        match (&self.current, self.queue.front()) {
            (Some(stream), _) => stream.position(),
            (None, Some(path)) => format!("{}:1", path.display()),
            (None, None) => "the end of the files".into(),
        }
    }
}

/// Files that are not read to their end, and how far the first of them is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Left {
    files: Vec<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Stand>,
}

async fn open<F: Format>(path: &Path, at: Option<Stand>, format: F, max_line: usize) -> Result<Stream<F>, Error> {
    let (failed, compression) = (|error| cannot_read(path, &error), Compression::of_path(path));
    let mut decoder = Decoder::new(&path.display().to_string(), format, max_line);
    let Some(stand) = at.filter(|stand| stand.spot.byte > 0) else {
        let file = File::open(path).await.map_err(failed)?;
        let input = compression.reader(file).await.map_err(failed)?;
        return Ok(Stream { input, decoder, ended: false });
    };
    if stand.header {
        let file = File::open(path).await.map_err(failed)?;
        decoder.read_header(&mut compression.reader(file).await.map_err(failed)?).await.map_err(failed)?;
    }
    let input = compression.reader_from(path, stand.spot.byte).await.map_err(failed)?;
    decoder.go_on(stand.spot);
    match input {
        Some(input) => Ok(Stream { input, decoder, ended: false }),
        None => {
            let remedy = "put back the file that was read, or start the job anew";
            let (path, byte) = (path.display(), stand.spot.byte);
            Err(format!("{path}: is to be read on from byte {byte}, but is shorter: {remedy}").into())
        }
    }
}

impl<F: Format> fmt::Debug for Read<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("at", &self.position()).field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// One input that ends: a file, or standard input.
pub(crate) struct Stream<F> {
    input: Input,
    decoder: Decoder<F>,
    ended: bool,
}

impl<F: Format> Stream<F> {
    pub(crate) fn new(input: Input, origin: &str, format: F, max_line: usize) -> Self {
        Self { input, decoder: Decoder::new(origin, format, max_line), ended: false }
    }

    /// The next records, or `None` at the end.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Option<Batch<F::Item>>, Error> {
        let mut out = Output::new(limit);
        loop {
            self.decoder.decode(&mut out);
            if self.ended {
                self.decoder.finish(&mut out);
            }
            if !out.is_empty() {
                return Ok(Some(out.into_batch()));
            }
            if self.ended {
                return Ok(None);
            }
            self.ended = self.fill().await? == 0;
        }
    }

    async fn fill(&mut self) -> Result<usize, Error> {
        self.decoder.fill(&mut self.input).await.map_err(|error| {
            let remedy = "it is truncated or damaged: fetch it again, or leave it out";
            format!("{}: cannot be read on: {error}; {remedy}", self.decoder.position()).into()
        })
    }

    pub(crate) fn position(&self) -> String {
        self.decoder.position()
    }
}
