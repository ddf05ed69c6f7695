//! One file that is being read: as a stream of bytes, or by blocks.

use std::ops::Range;

use arrow_array::{ArrayRef, RecordBatch};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, Progress, Rows};

use super::find::Found;
use super::input::text;
use super::plan::Plan;
use super::text::Text;
use crate::columns::Stand;
use crate::columns::blocks::{Blocks, Part};

/// A file, or a part of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Unit {
    #[serde(flatten)]
    pub(super) file: Found,
    pub(super) share: Share,
    /// How many bytes that is, about.
    #[serde(rename = "bytes")]
    pub(super) size: u64,
}

/// How much of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Share {
    All,
    /// Some of its blocks.
    Groups(Vec<usize>),
    /// The lines that begin among these bytes.
    Lines(Range<u64>),
}

/// How much of a unit has been given, in a way that one can go on from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum At {
    Text(Stand),
    Rows(u64),
}

/// A file that is open.
pub(super) struct Open {
    unit: Unit,
    name: String,
    constants: Vec<Option<ArrayRef>>,
    reader: Reader,
    /// Rows that have been read.
    rows: u64,
}

enum Reader {
    Text(Text),
    /// Of so many rows, where the file tells.
    Blocks(Ahead, Option<u64>),
}

impl Open {
    /// Opens it, to go on after what has been given of it.
    pub(super) async fn new(unit: Unit, at: Option<At>, plan: &Plan) -> Result<Self, Error> {
        let (name, constants) = (unit.file.name(), plan.constants(&unit.file)?);
        let (reader, rows) = match (plan.settings.format.is_block(), at) {
            (true, Some(At::Rows(rows))) => (blocks(&unit, rows, plan).await?, rows),
            (true, None) => (blocks(&unit, 0, plan).await?, 0),
            (false, Some(At::Text(stand))) => (Reader::Text(text(&unit, Some(stand), plan).await?), 0),
            (false, None) => (Reader::Text(text(&unit, None, plan).await?), 0),
            (_, Some(_)) => {
                return Err(format!("{name}: was read in another format: give the table the one it had").into());
            }
        };
        Ok(Self { unit, name, constants, reader, rows })
    }

    /// What is being read.
    pub(super) fn unit(&self) -> &Unit {
        &self.unit
    }

    /// How much of it has been given; `None`: nothing.
    pub(super) fn at(&self) -> Option<At> {
        match &self.reader {
            Reader::Text(text) => text.given().cloned().map(At::Text),
            Reader::Blocks(..) => Some(At::Rows(self.rows)),
        }
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
                (u128::from(self.unit.size) * u128::from(self.rows) / u128::from(*all).max(1)) as u64
            }
            Reader::Blocks(_, None) => 0,
        };
        Progress { read: read.min(self.unit.size), whole: self.unit.size }
    }
}

fn batch(rows: Vec<Rows>, rejected: Vec<DeadLetter>) -> Batch<Rows> {
    Batch { records: Bundle::from(rows), rejected }
}

async fn blocks(unit: &Unit, skip: u64, plan: &Plan) -> Result<Reader, Error> {
    let Unit { file, share, .. } = unit.clone();
    let groups = if let Share::Groups(groups) = share { Some(groups) } else { None };
    let (part, wanted, format) = (Part { groups, skip, rows: plan.rows }, plan.decoded(), plan.settings.format.clone());
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
