//! [`Text`]: a file of text that is being read. It is cut into records by one task; where records need not know of each other,
//! others decode them, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncReadExt;
use tokio::task::{JoinHandle, spawn_blocking};
use updraft_dataflow::{Batch, Error, Rows};

use crate::columns::Decode;
use crate::compression::Input;

/// How much is read at a time, in bytes.
const CHUNK: usize = 1 << 20;
/// How many batches are decoded ahead, at most.
const AHEAD: usize = 4;

/// See the module's page.
pub(super) struct Text {
    input: Input,
    /// Bytes of the file that have been read.
    read: Arc<AtomicU64>,
    decoder: Box<dyn Decode>,
    ended: bool,
    /// Batches that are being decoded, in order.
    detached: VecDeque<JoinHandle<Result<Option<Batch<Rows>>, Error>>>,
}

impl Text {
    /// What `decoder` makes of `input`, which counts in `read`.
    pub(super) fn new(input: Input, read: Arc<AtomicU64>, decoder: Box<dyn Decode>) -> Self {
        Self { input, read, decoder, ended: false, detached: VecDeque::new() }
    }

    /// The next rows, or `None` at the end.
    pub(super) async fn next(&mut self, rows: usize) -> Result<Option<Batch<Rows>>, Error> {
        if self.decoder.can_detach() {
            return self.ahead(rows).await;
        }
        while !self.decoder.decode(rows)? && !self.ended {
            self.fill().await?;
        }
        match self.decoder.take()? {
            None if self.decoder.can_detach() => self.ahead(rows).await,
            batch => Ok(batch),
        }
    }

    async fn ahead(&mut self, rows: usize) -> Result<Option<Batch<Rows>>, Error> {
        loop {
            while self.detached.len() < AHEAD {
                match self.decoder.detach(rows) {
                    Some(decode) => self.detached.push_back(spawn_blocking(decode)),
                    None if self.ended => break,
                    None => self.fill().await?,
                }
            }
            let Some(first) = self.detached.pop_front() else { return Ok(None) };
            if let Some(batch) = first.await?? {
                return Ok(Some(batch));
            }
        }
    }

    /// Reads on.
    async fn fill(&mut self) -> Result<(), Error> {
        let buffer = self.decoder.buffer(CHUNK);
        let read = (&mut self.input).take(CHUNK as u64).read_buf(buffer).await.map_err(|error| -> Error {
            let remedy = "it is truncated or damaged: fetch it again, or leave it out";
            format!("{}: cannot be read on: {error}; {remedy}", self.decoder.position()).into()
        })?;
        if read == 0 {
            self.ended = true;
            self.decoder.end();
        }
        Ok(())
    }

    /// Where the next record stands.
    pub(super) fn position(&self) -> String {
        self.decoder.position()
    }

    /// Bytes of the file that have been read.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
