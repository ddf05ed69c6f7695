//! How bytes become records: what [`crate::files`], [`crate::stdin`] and [`crate::socket`] share.
//!
//! A [`Format`] says what ends a record and decodes one. To add one, write a file beside [`json`] and a line
//! here; any source of bytes can use it then, through `.format(..)`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use updraft_dataflow::{Batch, Bundle, DeadLetter, Record};

pub mod csv;
pub mod decode;
pub(crate) mod frames;
pub mod json;
pub mod lines;

pub use csv::Csv;
pub use decode::Decode;
pub use frames::{Framing, Marks};
pub use json::Json;
pub use lines::Lines;

use frames::{Frame, Frames, Spot, Verdict};

/// The longest record that is taken unless told otherwise, in bytes: 1 MiB.
pub const MAX_LINE: usize = 1 << 20;

/// How much is read at a time, in bytes.
const CHUNK: usize = 256 << 10;

/// How much of a rejected record its dead letter holds, in bytes.
const KEPT: usize = 64 << 10;

/// Turns bytes into records. Each file is decoded by a clone of the one given, in the state it was given in. So is one
/// that is read on by another process: what a format remembers of a file, but for its header, is forgotten there.
pub trait Format: Clone + Send + 'static {
    /// What it yields.
    type Item: Record;

    /// What ends a record.
    fn framing(&self) -> Framing;

    /// Decodes one record, without the newline that ends it. `None` for what is no record: a blank line, a
    /// header. The error says what is wrong, naming the field and what was expected; the caller adds
    /// file and line.
    fn decode(&mut self, record: &[u8]) -> Result<Option<Self::Item>, String>;

    /// Whether the next record is a header, needed to decode the others: it is read even where reading begins at
    /// the end of a file.
    fn has_header(&self) -> bool {
        false
    }
}

/// Where a stream stands: what one who goes on from there has to know.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Stand {
    #[serde(flatten)]
    pub(crate) spot: Spot,
    /// Whether the header has been read, if there is one.
    pub(crate) header: bool,
}

/// Decodes one stream of bytes.
#[derive(Debug)]
pub(crate) struct Decoder<F> {
    origin: Arc<str>,
    frames: Frames,
    format: F,
}

impl<F: Format> Decoder<F> {
    /// `origin` is what dead letters name; records are of `max` bytes at most.
    pub(crate) fn new(origin: &str, format: F, max: usize) -> Self {
        Self { origin: origin.into(), frames: Frames::new(format.framing(), max), format }
    }

    /// Reads the next chunk; 0 at the end of the input.
    pub(crate) async fn fill(&mut self, input: &mut (impl AsyncRead + Unpin)) -> std::io::Result<usize> {
        let buffer = self.frames.spare(CHUNK);
        input.take(CHUNK as u64).read_buf(buffer).await
    }

    /// Room for `bytes` more, for who reads in another way than [`fill`](Self::fill). To be extended, never cut.
    pub(crate) fn spare(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.frames.spare(bytes)
    }

    /// Decodes what has been read, until `out` is full.
    pub(crate) fn decode(&mut self, out: &mut Output<F::Item>) {
        while !out.is_full() {
            let Some(frame) = self.frames.next() else {
                return;
            };
            self.decode_frame(&frame, out);
        }
    }

    /// Decodes what is left, now that nothing follows, until `out` is full.
    pub(crate) fn finish(&mut self, out: &mut Output<F::Item>) {
        while !out.is_full() {
            let Some(frame) = self.frames.last() else {
                return;
            };
            self.decode_frame(&frame, out);
        }
    }

    fn decode_frame(&mut self, frame: &Frame, out: &mut Output<F::Item>) {
        let bytes = self.frames.bytes(frame.range.clone());
        let decoded = match frame.verdict {
            Verdict::Whole => self.format.decode(bytes),
            Verdict::TooLong => Err(format!(
                "record longer than max_line, {} bytes: raise max_line, or look for a missing newline or quote",
                self.frames.max()
            )),
            Verdict::OpenQuote => Err("quote never closed: close it, or double a quote that is data".into()),
        };
        match decoded {
            Ok(Some(record)) => out.push(record, bytes.len()),
            Ok(None) => {}
            Err(reason) => out.reject(dead_letter(&self.origin, frame.line, bytes, reason)),
        }
    }

    /// Gives up the part of a record that has come: the rest never will.
    pub(crate) fn abandon(&mut self, reason: &str, out: &mut Output<F::Item>) {
        let rest = self.frames.rest();
        if !rest.is_empty() {
            out.reject(dead_letter(&self.origin, self.frames.line(), rest, reason.into()));
        }
    }

    /// Where the next record begins.
    pub(crate) fn stand(&self) -> Stand {
        Stand { spot: self.frames.spot(), header: !self.format.has_header() }
    }

    /// The next bytes are those at `spot`. To be told before the first of them.
    pub(crate) fn go_on(&mut self, spot: Spot) {
        self.frames.go_on(spot);
    }

    /// Reads the header of a file that is read from elsewhere on.
    pub(crate) async fn read_header(&mut self, input: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
        while self.format.has_header() {
            match self.frames.next() {
                Some(frame) if frame.verdict == Verdict::Whole => {
                    drop(self.format.decode(self.frames.bytes(frame.range)));
                }
                Some(_) => {}
                None if self.fill(input).await? == 0 => break,
                None => {}
            }
        }
        self.frames = Frames::new(self.format.framing(), self.frames.max());
        Ok(())
    }

    /// `file:line` of the next record.
    pub(crate) fn position(&self) -> String {
        format!("{}:{}", self.origin, self.frames.line())
    }
}

/// Decodes bytes that are in memory, chunk by chunk, as a source decodes what it reads: for tests, fuzzing, and
/// programs that get their bytes elsewhere. Dead letters name `origin`; records are of `max_line` bytes at most.
pub fn decode_chunks<'a, F: Format>(
    format: F,
    origin: &str,
    max_line: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Batch<F::Item> {
    let mut decoder = Decoder::new(origin, format, max_line);
    let mut out = Output::new(usize::MAX);
    for chunk in chunks {
        decoder.frames.spare(chunk.len()).extend_from_slice(chunk);
        decoder.decode(&mut out);
    }
    decoder.finish(&mut out);
    out.into_batch()
}

pub(crate) fn dead_letter(origin: &Arc<str>, line: u64, bytes: &[u8], mut reason: String) -> DeadLetter {
    if bytes.len() > KEPT {
        reason.push_str(&format!(" (the first {KEPT} bytes are kept)"));
    }
    let bytes = bytes[..bytes.len().min(KEPT)].to_vec();
    DeadLetter { origin: origin.clone(), line, bytes, reason }
}

/// The batch that a decoder is filling.
#[derive(Debug)]
pub(crate) struct Output<T> {
    records: Vec<T>,
    rejected: Vec<DeadLetter>,
    limit: usize,
    bytes: usize,
}

impl<T: 'static> Output<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { records: Vec::new(), rejected: Vec::new(), limit: limit.max(1), bytes: 0 }
    }

    fn push(&mut self, record: T, bytes: usize) {
        self.records.push(record);
        self.bytes += bytes + size_of::<T>();
    }

    fn reject(&mut self, letter: DeadLetter) {
        self.rejected.push(letter);
    }

    /// Dead letters count, too: a file of nothing else must not become one batch.
    pub(crate) fn is_full(&self) -> bool {
        self.records.len() + self.rejected.len() >= self.limit
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.rejected.is_empty()
    }

    pub(crate) fn into_batch(self) -> Batch<T> {
        Batch { records: Bundle::from(self.records).with_bytes(self.bytes), rejected: self.rejected }
    }
}
