//! Text formats: bytes are cut into records, and each record becomes a row. [`crate::format::frames`] cuts,
//! [`Columns`] hold the rows. Where cutting alone is done, records are decoded by whoever has time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, Rows};

use super::cells::Columns;
use super::{Decode, Detached, Stand};
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
pub(crate) trait Text: Clone + Send + 'static {
    /// What ends a record.
    fn framing(&self) -> Framing;

    /// Decodes one record, without its newline. The error says what is wrong; columns may then have values of it.
    fn decode(&mut self, record: &[u8], columns: &mut Columns) -> Result<Record, String>;

    /// Whether bad records are to be left out without a word.
    fn ignores(&self) -> bool;

    /// Whether what records mean no longer depends on those before them: then clones may decode some each.
    fn is_settled(&self) -> bool {
        true
    }

    /// What those before them say about what records mean, for one who [goes on](Self::go_on) without them.
    fn learnt(&self) -> Value {
        Value::Null
    }

    /// Goes on where another one had learnt this.
    fn go_on(&mut self, learnt: Value) -> Result<(), Error> {
        let _ = learnt;
        Ok(())
    }
}

/// Bytes of records after which a batch is full, however few they are.
const FULL: usize = 8 << 20;

/// Decodes a stream of text.
struct Records<T> {
    frames: Frames,
    worker: Worker<T>,
    /// Records that are to be decoded elsewhere.
    cut: Cut,
    /// Room for more of them, of those that have been decoded: new memory costs more than what is done in it.
    spare: Arc<Mutex<Vec<Cut>>>,
    /// The lines of the rows that were taken last.
    taken: Vec<u64>,
    ended: bool,
}

/// A decoder of records of `max` bytes at most.
pub(crate) fn boxed(text: impl Text, columns: Columns, origin: &str, max: usize) -> Box<dyn Decode> {
    let frames = Frames::new(text.framing(), max);
    let origin: Arc<str> = origin.into();
    let ignored = Ignored::new(origin.clone());
    let worker = Worker::new(text, columns, origin, max, ignored);
    Box::new(Records { frames, worker, cut: Cut::default(), spare: Arc::default(), taken: Vec::new(), ended: false })
}

/// Makes rows of records.
struct Worker<T> {
    origin: Arc<str>,
    text: T,
    columns: Columns,
    rejected: Vec<DeadLetter>,
    lines: Vec<u64>,
    /// Bytes of the records of this batch.
    bytes: usize,
    /// Of the longest record.
    max: usize,
    ignored: Arc<Ignored>,
}

impl<T: Text> Worker<T> {
    fn new(text: T, columns: Columns, origin: Arc<str>, max: usize, ignored: Arc<Ignored>) -> Self {
        Self { origin, text, columns, rejected: Vec::new(), lines: Vec::new(), bytes: 0, max, ignored }
    }

    fn record(&mut self, bytes: &[u8], line: u64, verdict: Verdict) {
        let decoded = match verdict {
            Verdict::Whole => self.text.decode(bytes, &mut self.columns),
            broken if self.text.ignores() => {
                debug_assert_ne!(broken, Verdict::Whole);
                Ok(Record::Ignored)
            }
            Verdict::TooLong => Err(format!(
                "record longer than {} bytes: raise 'max-record', or look for a missing newline or quote",
                self.max
            )),
            Verdict::OpenQuote => Err("quote never closed: close it, or double a quote that is data".into()),
        };
        self.bytes += bytes.len();
        match decoded {
            Ok(Record::Row) => {
                self.columns.accept();
                self.lines.push(line);
            }
            Ok(Record::Nothing) => {}
            Ok(Record::Ignored) => {
                self.columns.reject();
                self.ignored.count();
            }
            Err(reason) => {
                self.rejected.push(dead_letter(&self.origin, line, bytes, reason));
                self.columns.reject();
            }
        }
    }

    fn take(&mut self) -> Result<Option<Batch<Rows>>, Error> {
        self.bytes = 0;
        // Also where all that has come is left out: more may follow.
        let (any, is_more) = (self.columns.good() > 0, self.columns.row() > 0);
        let rows = self.columns.take()?;
        let rejected = std::mem::take(&mut self.rejected);
        let records = if any { vec![Rows::from(rows)] } else { Vec::new() };
        Ok((is_more || !rejected.is_empty()).then(|| Batch { records: Bundle::from(records), rejected }))
    }
}

/// Records one after the other, that are decoded elsewhere.
#[derive(Default)]
struct Cut {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    /// Bytes of the records.
    size: usize,
}

impl Cut {
    fn is_full(&self, rows: usize) -> bool {
        self.frames.len() >= rows.max(1) || self.size >= FULL
    }

    fn push(&mut self, frame: Frame) {
        self.size += frame.range.len();
        self.frames.push(frame);
    }

    /// Copies the bytes of the frames from `first` on, all at once: they lie beside each other.
    fn copy(&mut self, first: usize, from: &Frames) {
        let new = &mut self.frames[first..];
        let (Some(start), Some(end)) = (new.first(), new.last()) else { return };
        let (start, end, to) = (start.range.start, end.range.end, self.bytes.len());
        self.bytes.extend_from_slice(from.bytes(start..end));
        new.iter_mut().for_each(|Frame { range, .. }| *range = range.start - start + to..range.end - start + to);
    }

    fn decode<T: Text>(&self, mut worker: Worker<T>) -> Result<Option<Batch<Rows>>, Error> {
        worker.columns.reserve(self.frames.len());
        for Frame { range, line, verdict } in &self.frames {
            worker.record(&self.bytes[range.clone()], *line, *verdict);
        }
        worker.take()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
        self.size = 0;
    }
}

impl<T: Text> Records<T> {
    fn next_frame(&mut self) -> Option<Frame> {
        self.frames.next().or_else(|| if self.ended { self.frames.last() } else { None })
    }

    /// Cuts records until a batch is full; false if that takes more bytes.
    fn cut(&mut self, rows: usize) -> bool {
        let first = self.cut.frames.len();
        while !self.cut.is_full(rows)
            && let Some(frame) = self.next_frame()
        {
            self.cut.push(frame);
        }
        self.cut.copy(first, &self.frames);
        self.cut.is_full(rows)
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
        while self.worker.columns.row() < rows.max(1) && self.worker.bytes < FULL {
            match self.next_frame() {
                Some(frame) => self.worker.record(self.frames.bytes(frame.range), frame.line, frame.verdict),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn take(&mut self) -> Result<Option<Batch<Rows>>, Error> {
        std::mem::swap(&mut self.worker.lines, &mut self.taken);
        self.worker.lines.clear();
        self.worker.take()
    }

    fn can_detach(&self) -> bool {
        self.worker.text.is_settled() && self.worker.columns.row() == 0
    }

    fn detach(&mut self, rows: usize) -> Option<Detached> {
        if !self.cut(rows) && (!self.ended || self.cut.frames.is_empty()) {
            return None;
        }
        let room = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let (mut cut, spare) = (std::mem::replace(&mut self.cut, room), self.spare.clone());
        let Worker { text, columns, origin, max, ignored, .. } = &self.worker;
        let (text, schema, origin) = (text.clone(), columns.schema().clone(), origin.clone());
        let (max, ignored) = (*max, ignored.clone());
        Some(Box::new(move || {
            let decoded = cut.decode(Worker::new(text, Columns::new(schema)?, origin, max, ignored));
            cut.clear();
            spare.lock().unwrap_or_else(PoisonError::into_inner).push(cut);
            decoded
        }))
    }

    fn stand(&self) -> Stand {
        Stand { spot: self.frames.spot(), learnt: self.worker.text.learnt() }
    }

    fn go_on(&mut self, stand: Stand) -> Result<(), Error> {
        self.frames.go_on(stand.spot);
        self.worker.text.go_on(stand.learnt)
    }

    fn lines(&self) -> Vec<u64> {
        self.taken.clone()
    }

    fn position(&self) -> String {
        format!("{}:{}", self.worker.origin, self.frames.line())
    }
}

/// How many bad records were left out: told when all is done.
pub(crate) struct Ignored {
    origin: Arc<str>,
    records: AtomicU64,
}

impl Ignored {
    pub(crate) fn new(origin: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self { origin: origin.into(), records: AtomicU64::new(0) })
    }

    /// One more.
    pub(crate) fn count(&self) {
        self.records.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Ignored {
    fn drop(&mut self) {
        let records = *self.records.get_mut();
        if records > 0 {
            tracing::warn!(origin = %self.origin, records, "bad records were left out");
        }
    }
}

impl<T> fmt::Debug for Records<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("origin", &self.worker.origin).finish_non_exhaustive()
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
