//! Text formats: bytes are cut into records, and each record becomes a row. [`crate::format::frames`] cuts,
//! [`Columns`] hold the rows.

use std::fmt;
use std::sync::Arc;

use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, Rows};

use super::Decode;
use super::cells::Columns;
use crate::format::frames::{Frame, Frames, Verdict};
use crate::format::{Framing, dead_letter};

/// What one record is.
#[derive(Debug)]
pub(crate) enum Record {
    /// A row: each column has one value more.
    Row,
    /// No row, and nothing wrong: a blank line, a header, a comment.
    Nothing,
    /// No row, and the user said not to mind. Columns may have values of it.
    Ignored,
}

/// A text format on its way through a stream.
pub(crate) trait Text: Send + 'static {
    /// What ends a record.
    fn framing(&self) -> Framing;

    /// Decodes one record, without its newline. The error says what is wrong; columns may then have values of it.
    fn decode(&mut self, record: &[u8], columns: &mut Columns) -> Result<Record, String>;

    /// Whether bad records are to be left out without a word.
    fn ignores(&self) -> bool;
}

/// Bytes of records after which a batch is full, however few they are.
const FULL: usize = 8 << 20;

/// Decodes a stream of text.
struct Records<T> {
    origin: Arc<str>,
    frames: Frames,
    text: T,
    columns: Columns,
    rejected: Vec<DeadLetter>,
    /// Of the rows of this batch, and of the one before.
    lines: Vec<u64>,
    taken: Vec<u64>,
    /// Bytes of the records of this batch.
    bytes: usize,
    ended: bool,
    ignored: u64,
}

/// A decoder of records of `max` bytes at most.
pub(crate) fn boxed(text: impl Text, columns: Columns, origin: &str, max: usize) -> Box<dyn Decode> {
    Box::new(Records {
        origin: origin.into(),
        frames: Frames::new(text.framing(), max),
        text,
        columns,
        rejected: Vec::new(),
        lines: Vec::new(),
        taken: Vec::new(),
        bytes: 0,
        ended: false,
        ignored: 0,
    })
}

impl<T: Text> Records<T> {
    fn cut(&mut self) -> Option<Frame> {
        self.frames.next().or_else(|| if self.ended { self.frames.last() } else { None })
    }

    fn frame(&mut self, frame: &Frame) {
        let bytes = self.frames.bytes(frame);
        let decoded = match frame.verdict {
            Verdict::Whole => self.text.decode(bytes, &mut self.columns),
            broken if self.text.ignores() => {
                debug_assert_ne!(broken, Verdict::Whole);
                Ok(Record::Ignored)
            }
            Verdict::TooLong => Err(format!(
                "record longer than {} bytes: raise 'max-record', or look for a missing newline or quote",
                self.frames.max()
            )),
            Verdict::OpenQuote => Err("quote never closed: close it, or double a quote that is data".into()),
        };
        self.bytes += bytes.len();
        match decoded {
            Ok(Record::Row) => {
                self.columns.accept();
                self.lines.push(frame.line);
            }
            Ok(Record::Nothing) => {}
            Ok(Record::Ignored) => {
                self.columns.reject();
                self.ignored += 1;
            }
            Err(reason) => {
                self.rejected.push(dead_letter(&self.origin, frame.line, bytes, reason));
                self.columns.reject();
            }
        }
    }
}

impl<T: Text> Decode for Records<T> {
    fn buffer(&mut self, more: usize) -> &mut Vec<u8> {
        self.frames.spare(more)
    }

    fn end(&mut self) {
        self.ended = true;
    }

    fn decode(&mut self, rows: usize) -> Result<bool, Error> {
        while self.columns.row() < rows.max(1) && self.bytes < FULL {
            match self.cut() {
                Some(frame) => self.frame(&frame),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn take(&mut self) -> Result<Option<Batch<Rows>>, Error> {
        self.bytes = 0;
        std::mem::swap(&mut self.lines, &mut self.taken);
        self.lines.clear();
        let any = self.columns.good() > 0;
        let rows = self.columns.take()?;
        let rejected = std::mem::take(&mut self.rejected);
        let records = if any { vec![Rows::from(rows)] } else { Vec::new() };
        Ok((any || !rejected.is_empty()).then(|| Batch { records: Bundle::from(records), rejected }))
    }

    fn lines(&self) -> Vec<u64> {
        self.taken.clone()
    }

    fn position(&self) -> String {
        format!("{}:{}", self.origin, self.frames.line())
    }
}

impl<T> Drop for Records<T> {
    fn drop(&mut self) {
        if self.ignored > 0 {
            tracing::warn!(origin = %self.origin, records = self.ignored, "bad records were left out");
        }
    }
}

impl<T> fmt::Debug for Records<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The record as text.
pub(crate) fn utf8(record: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(record).map_err(|error| format!("byte {}: not UTF-8", error.valid_up_to() + 1))
}

/// A value as an error quotes it: its beginning.
pub(crate) fn quoted(value: &str) -> String {
    const SHOWN: usize = 60;
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}
