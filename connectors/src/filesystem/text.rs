//! [`Text`]: a file of text that is being read. It is cut into records by one task; where records need not know of each other,
//! others decode them, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncReadExt;
use tokio::task::{JoinHandle, spawn_blocking};
use updraft_dataflow::{Batch, Error, Rows};

use crate::columns::{Decode, Stand};
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
    /// Batches that are being decoded, in order, and where each ends.
    detached: VecDeque<(JoinHandle<Result<Option<Batch<Rows>>, Error>>, Stand)>,
    /// Where the file's first byte of the input is.
    first: Arc<AtomicU64>,
    /// Where what has been given ends.
    given: Option<Stand>,
}

impl Text {
    /// What `decoder` makes of `input`, which counts in `read` and tells where its `first` byte is.
    pub(super) fn new(
        input: Input,
        read: Arc<AtomicU64>,
        first: Arc<AtomicU64>,
        decoder: Box<dyn Decode>,
        given: Option<Stand>,
    ) -> Self {
        Self { input, read, decoder, ended: false, detached: VecDeque::new(), first, given }
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
            batch => {
                self.given = Some(self.stand());
                Ok(batch)
            }
        }
    }

    /// Where all that has been cut ends.
    fn stand(&self) -> Stand {
        let mut stand = self.decoder.stand();
        stand.spot.byte += self.first.load(Ordering::Relaxed);
        stand
    }

    /// Where all that has been given ends; `None` at the beginning.
    pub(super) fn given(&self) -> Option<&Stand> {
        self.given.as_ref()
    }

    async fn ahead(&mut self, rows: usize) -> Result<Option<Batch<Rows>>, Error> {
        loop {
            while self.detached.len() < AHEAD {
                match self.decoder.detach(rows) {
                    Some(decode) => self.detached.push_back((spawn_blocking(decode), self.stand())),
                    None if self.ended => break,
                    None => self.fill().await?,
                }
            }
            let Some((first, end)) = self.detached.pop_front() else { return Ok(None) };
            let batch = first.await??;
            self.given = Some(end);
            if let Some(batch) = batch {
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
