//! One file that is being read: as a stream of bytes, or by blocks.

use std::fs::File;

use arrow_array::{ArrayRef, RecordBatch};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::{JoinHandle, spawn_blocking};
use updraft_dataflow::{Batch, Bundle, DeadLetter, Error, Rows};

use super::find::Found;
use super::plan::Plan;
use crate::columns::Decode;
use crate::columns::blocks::{Blocks, Part, Whole};
use crate::compression::Input;
use crate::files::cannot_read;

/// How much is read at a time, in bytes.
const CHUNK: usize = 1 << 20;

/// A file, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) file: Found,
    /// The blocks that are read, or all.
    pub(super) groups: Option<Vec<usize>>,
}

/// A file that is open.
pub(super) struct Open {
    name: String,
    constants: Vec<Option<ArrayRef>>,
    reader: Reader,
    /// Rows that have been read, where there are no lines.
    rows: u64,
}

enum Reader {
    Text { input: Input, decoder: Box<dyn Decode>, ended: bool },
    Blocks(Ahead),
}

impl Open {
    pub(super) async fn new(unit: Unit, plan: &Plan) -> Result<Self, Error> {
        let (name, constants) = (unit.file.name(), plan.constants(&unit.file)?);
        let reader = if plan.settings.format.is_block() { blocks(unit, plan).await? } else { text(unit, plan).await? };
        Ok(Self { name, constants, reader, rows: 0 })
    }

    /// The next rows, or `None` at the end.
    pub(super) async fn next(&mut self, plan: &Plan) -> Result<Option<Batch<Rows>>, Error> {
        let decoded = match &mut self.reader {
            Reader::Text { input, decoder, ended } => {
                fill(input, decoder.as_mut(), ended, plan.rows).await?;
                decoder.take()?
            }
            Reader::Blocks(ahead) => ahead.next().await?.map(|batch| vec![Rows::from(batch)].into()),
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
            Reader::Text { decoder, .. } => decoder.position(),
            Reader::Blocks(_) => format!("{}:{}", self.name, self.rows + 1),
        }
    }
}

fn batch(rows: Vec<Rows>, rejected: Vec<DeadLetter>) -> Batch<Rows> {
    Batch { records: Bundle::from(rows), rejected }
}

async fn text(unit: Unit, plan: &Plan) -> Result<Reader, Error> {
    let path = &unit.file.path;
    let failed = |error| cannot_read(path, &error);
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let input = plan.settings.compression_of(path).reader(file).await.map_err(failed)?;
    let decoder = plan.settings.format.decoder(&plan.stored, &plan.wanted, &unit.file.name())?;
    Ok(Reader::Text { input, decoder, ended: false })
}

/// Reads until there are as many rows as asked for, or the end is reached.
async fn fill(input: &mut Input, decoder: &mut dyn Decode, ended: &mut bool, rows: usize) -> Result<(), Error> {
    while !decoder.decode(rows)? && !*ended {
        let buffer = decoder.buffer(CHUNK);
        let read = read(input, buffer).await.map_err(|error| -> Error {
            let remedy = "it is truncated or damaged: fetch it again, or leave it out";
            format!("{}: cannot be read on: {error}; {remedy}", decoder.position()).into()
        })?;
        if read == 0 {
            *ended = true;
            decoder.end();
        }
    }
    Ok(())
}

async fn read(input: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> std::io::Result<usize> {
    input.take(CHUNK as u64).read_buf(buffer).await
}

async fn blocks(unit: Unit, plan: &Plan) -> Result<Reader, Error> {
    let part = Part { groups: unit.groups, rows: plan.rows };
    let (path, name, wanted) = (unit.file.path.clone(), unit.file.name(), plan.decoded());
    let format = plan.settings.format.clone();
    let open = move || {
        let file = File::open(&path).map_err(|error| cannot_read(&path, &error))?;
        format.blocks(Whole { file, name }, wanted, &part)
    };
    Ok(Reader::Blocks(Ahead::new(spawn_blocking(open).await??)))
}

/// Reads one batch ahead, on a thread that may wait for the disk.
pub(crate) struct Ahead(Option<JoinHandle<(Box<dyn Blocks>, Result<Option<RecordBatch>, Error>)>>);

impl Ahead {
    pub(crate) fn new(blocks: Box<dyn Blocks>) -> Self {
        Self(Some(Self::begin(blocks)))
    }

    fn begin(mut blocks: Box<dyn Blocks>) -> JoinHandle<(Box<dyn Blocks>, Result<Option<RecordBatch>, Error>)> {
        spawn_blocking(move || {
            let batch = loop {
                match blocks.next() {
                    Ok(Some(batch)) if batch.num_rows() == 0 => {}
                    other => break other,
                }
            };
            (blocks, batch)
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let Some(task) = &mut self.0 else { return Ok(None) };
        let (blocks, batch) = task.await?;
        let batch = batch?;
        self.0 = batch.is_some().then(|| Self::begin(blocks));
        Ok(batch)
    }
}
