//! One file that is being read: as a stream of bytes, or by blocks.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow_array::{ArrayRef, RecordBatch};
use tokio::io::AsyncSeekExt;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, Progress, Rows};

use super::counted::Counted;
use super::find::Found;
use super::plan::Plan;
use super::section::Section;
use super::text::Text;
use crate::columns::blocks::{Blocks, Part};
use crate::compression::Input;

/// A file, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) file: Found,
    pub(super) share: Share,
    /// How many bytes that is, about.
    pub(super) size: u64,
}

/// How much of a file.
#[derive(Clone, Debug)]
pub(super) enum Share {
    All,
    /// Some of its blocks.
    Groups(Vec<usize>),
    /// The lines that begin among these bytes. The file's first lines say what their fields are.
    Lines(Range<u64>, Arc<[u8]>),
}

/// A file that is open.
pub(super) struct Open {
    name: String,
    constants: Vec<Option<ArrayRef>>,
    reader: Reader,
    /// Rows that have been read.
    rows: u64,
    /// Bytes, about.
    size: u64,
}

enum Reader {
    Text(Text),
    /// Of so many rows, where the file tells.
    Blocks(Ahead, Option<u64>),
}

impl Open {
    pub(super) async fn new(unit: Unit, plan: &Plan) -> Result<Self, Error> {
        let (name, constants, size) = (unit.file.name(), plan.constants(&unit.file)?, unit.size);
        let reader = if plan.settings.format.is_block() { blocks(unit, plan).await? } else { text(unit, plan).await? };
        Ok(Self { name, constants, reader, rows: 0, size })
    }

    /// The next rows, or `None` at the end.
    pub(super) async fn next(&mut self, plan: &Plan) -> Result<Option<Batch<Rows>>, Error> {
        let decoded = match &mut self.reader {
            Reader::Text(text) => text.next(plan.rows).await?,
            Reader::Blocks(ahead, _) => ahead.next().await?.map(|batch| vec![Rows::from(batch)].into()),
        };
        let Some(Batch { records, rejected }) = decoded else { return Ok(None) };
        let mut rows = Vec::new();
        for decoded in records.into_vec() {
            self.rows += decoded.len() as u64;
            rows.push(plan.rows(decoded.batch(), &self.constants)?);
        }
        Ok(Some(batch(rows, rejected)))
    }

    pub(super) fn position(&self) -> String {
        match &self.reader {
            Reader::Text(text) => text.position(),
            Reader::Blocks(..) => format!("{}:{}", self.name, self.rows + 1),
        }
    }

    /// How much of it has been read, in bytes, about.
    pub(super) fn progress(&self) -> Progress {
        let read = match &self.reader {
            Reader::Text(text) => text.read(),
            Reader::Blocks(_, Some(all)) => {
                (u128::from(self.size) * u128::from(self.rows) / u128::from(*all).max(1)) as u64
            }
            Reader::Blocks(_, None) => 0,
        };
        Progress { read: read.min(self.size), whole: self.size }
    }
}

fn batch(rows: Vec<Rows>, rejected: Vec<DeadLetter>) -> Batch<Rows> {
    Batch { records: Bundle::from(rows), rejected }
}

async fn text(unit: Unit, plan: &Plan) -> Result<Reader, Error> {
    let Unit { file, share, .. } = unit;
    let (name, format) = (file.name(), &plan.settings.format);
    let failed = |error| file.cannot_read(&error);
    let counted = Arc::<AtomicU64>::default();
    let read = &counted;
    let (input, decoder) = match share {
        Share::Lines(range, head) if range.start > 0 => {
            let origin = format!("{name}, from byte {}", range.start);
            let decoder = format.decoder_within(&plan.stored, &plan.wanted, &origin, &head)?;
            (section(&file, range, read).await?, decoder)
        }
        Share::Lines(range, _) => {
            (section(&file, range, read).await?, format.decoder(&plan.stored, &plan.wanted, &name)?)
        }
        Share::All | Share::Groups(_) => {
            let input = plan.settings.compression_of(&file.path).reader(bytes(&file, 0, read).await?).await;
            (input.map_err(failed)?, format.decoder(&plan.stored, &plan.wanted, &name)?)
        }
    };
    Ok(Reader::Text(Text::new(input, counted, decoder)))
}

/// The bytes of a file from byte `from` on; how many have been read is added to `read`.
async fn bytes(file: &Found, from: u64, read: &Arc<AtomicU64>) -> Result<Input, Error> {
    if let Some(store) = &file.store {
        return Ok(Box::new(Counted::new(store.stream(&file.path.to_string_lossy(), from)?, read)));
    }
    let open = async {
        let mut open = tokio::fs::File::open(&file.path).await?;
        open.seek(std::io::SeekFrom::Start(from)).await?;
        Ok::<_, std::io::Error>(open)
    };
    Ok(Box::new(Counted::new(open.await.map_err(|error| file.cannot_read(&error))?, read)))
}

/// The lines that begin in `range`. The byte before it tells whether its first one is the beginning of one.
async fn section(file: &Found, range: Range<u64>, read: &Arc<AtomicU64>) -> Result<Input, Error> {
    let from = range.start.saturating_sub(1);
    Ok(Box::new(Section::new(bytes(file, from, read).await?, range)))
}

async fn blocks(unit: Unit, plan: &Plan) -> Result<Reader, Error> {
    let Unit { file, share, .. } = unit;
    let groups = if let Share::Groups(groups) = share { Some(groups) } else { None };
    let (part, wanted, format) = (Part { groups, rows: plan.rows }, plan.decoded(), plan.settings.format.clone());
    let open = move || format.blocks(file.whole()?, wanted, &part);
    let blocks = spawn_blocking(open).await??;
    let rows = blocks.rows();
    Ok(Reader::Blocks(Ahead::new(blocks), rows))
}

/// How many batches are read ahead.
const AHEAD: usize = 2;

/// Reads some batches ahead, on a thread that may wait for the disk: the same one for all, whose memory is at hand then.
pub(crate) struct Ahead {
    batches: mpsc::Receiver<Result<RecordBatch, Error>>,
    reading: Option<JoinHandle<()>>,
}

impl Ahead {
    pub(crate) fn new(blocks: Box<dyn Blocks>) -> Self {
        let (send, batches) = mpsc::channel(AHEAD);
        Self { batches, reading: Some(spawn_blocking(move || read(blocks, &send))) }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        if let Some(batch) = self.batches.recv().await {
            return batch.map(Some);
        }
        // It has come to the end, unless it panicked.
        if let Some(reading) = self.reading.take() {
            reading.await?;
        }
        Ok(None)
    }
}

/// Sends all batches, up to the first error, or until nobody waits for more.
fn read(mut blocks: Box<dyn Blocks>, to: &mpsc::Sender<Result<RecordBatch, Error>>) {
    while let Some(batch) = blocks.next().transpose() {
        let is_error = batch.is_err();
        if batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0) {
            continue;
        }
        if to.blocking_send(batch).is_err() || is_error {
            return;
        }
    }
}
