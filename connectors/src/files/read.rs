//! Files read once, from first to last byte, one after the other.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use updraft_dataflow::{Batch, Error};

use crate::compression::{Compression, Input};
use crate::files::cannot_read;
use crate::format::{Decoder, Format, Output};

/// A queue of files, and the one that is being read.
pub struct Read<F: Format> {
    queue: VecDeque<PathBuf>,
    current: Option<Stream<F>>,
    format: F,
    max_line: usize,
}

impl<F: Format> Read<F> {
    pub(crate) fn new(queue: VecDeque<PathBuf>, format: F, max_line: usize) -> Self {
        Self { queue, current: None, format, max_line }
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
            self.current = Some(open(&path, self.format.clone(), self.max_line).await?);
        }
    }

    pub(crate) fn position(&self) -> String {
        match (&self.current, self.queue.front()) {
            (Some(stream), _) => stream.position(),
            (None, Some(path)) => format!("{}:1", path.display()),
            (None, None) => "the end of the files".into(),
        }
    }
}

async fn open<F: Format>(path: &Path, format: F, max_line: usize) -> Result<Stream<F>, Error> {
    let failed = |error| cannot_read(path, &error);
    let file = File::open(path).await.map_err(failed)?;
    let input = Compression::of_path(path).reader(file).await.map_err(failed)?;
    Ok(Stream::new(input, &path.display().to_string(), format, max_line))
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
