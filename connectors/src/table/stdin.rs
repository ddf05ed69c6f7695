//! `'connector' = 'stdin'`: what is piped in, in whatever format it is.
//!
//! Its beginning may be looked at while the job is planned; what was looked at is kept for the job (`held.rs`).

use std::fs::File;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_schema::{DataType, SchemaRef};
use tokio::io::{AsyncReadExt, stdin};
use tokio::task::spawn_blocking;
use updraft_dataflow::connector::{AnySink, AnySource, Connector, OptionSpec, Options, Scan, Table};
use updraft_dataflow::{Batch, Error, Partition, Rows, Source};

use super::shape::{METADATA, Shape};
use super::{held, sniff};
use crate::columns::blocks::{Part, Whole};
use crate::columns::{Decode, Format};
use crate::compression::{Compression, Input};
use crate::filesystem::infer::unpacked;
use crate::filesystem::open::Ahead;

/// The connector. Without a `'format'` it is told by how the input begins: Parquet, Arrow and Avro by their first bytes
/// (those are read whole before the first row), JSON lines by a brace, CSV by a delimiter that all lines have as often;
/// what is neither is lines of text. All options of formats are known.
///
/// A table that is declared without columns has those that its beginning shows. `gzip` and `zstd` are told by their first
/// bytes. The metadata column `line` is the line that a row begins in, from 1. One table reads standard input at a time.
///
/// It cannot be read again: what has come since a job's last checkpoint is lost if its process is killed.
#[derive(Clone, Copy, Debug)]
pub struct Stdin;

/// What errors and dead letters name.
const ORIGIN: &str = "stdin";

/// How much is read at a time, in bytes.
const CHUNK: usize = 256 << 10;

impl Connector for Stdin {
    fn name(&self) -> &'static str {
        "stdin"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Format::options()
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        METADATA.to_vec()
    }

    fn infer(&self, table: &Table) -> Result<SchemaRef, Error> {
        let sample = sample()?;
        let format = Format::of(&sniff::with_format(&table.options, &sample))?;
        let schema = if format.is_block() {
            format.block_schema(&whole(held::spooled()?))
        } else if sample.is_empty() {
            Err("there is none: declare its columns, or pipe something in".into())
        } else {
            format.text_schema(&sample)
        };
        let named = |error| format!("table `{}`: its columns cannot be told from standard input: {error}", table.name);
        Ok(Arc::new(schema.map_err(named)?))
    }

    fn is_bounded(&self, _: &Table) -> bool {
        true
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        Ok(AnySource::new(Piped { shape: Shape::new(table, scan, format(&table.options)?)? }))
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        Err(format!("table `{}` cannot be written to: 'stdin' is read; 'print' writes", table.name).into())
    }
}

/// The format that is said, or that the input looks like: only then it is looked at.
fn format(options: &Options) -> Result<Format, Error> {
    match options.get("format") {
        Some(_) => Format::of(options),
        None => Format::of(&sniff::with_format(options, &sample()?)),
    }
}

/// The beginning of the input, unpacked, up to the end of a line.
fn sample() -> Result<Vec<u8>, Error> {
    let (packed, is_all) = held::peek(sniff::is_enough)?;
    let mut sample = unpacked(packed, Compression::Plain)?;
    if !is_all && let Some(end) = memchr::memrchr(b'\n', &sample) {
        sample.truncate(end + 1);
    }
    Ok(sample)
}

fn whole(file: File) -> Whole {
    Whole { file: file.into(), name: ORIGIN.into() }
}

struct Piped {
    shape: Shape,
}

/// Whether somebody reads it.
static IS_READ: AtomicBool = AtomicBool::new(false);

impl Source for Piped {
    type Item = Rows;
    type Partition = PipedPartition;

    fn open(self) -> Result<Vec<PipedPartition>, Error> {
        if IS_READ.swap(true, Ordering::AcqRel) {
            return Err("standard input is read by another table already: read it once, and use its rows twice".into());
        }
        Ok(vec![PipedPartition { shape: self.shape, reader: None, rows: 0 }])
    }
}

/// Standard input; opened by the first read, within the kernel that does it.
struct PipedPartition {
    shape: Shape,
    reader: Option<Reader>,
    /// Rows that have been read.
    rows: u64,
}

enum Reader {
    Stream { input: Input, decoder: Box<dyn Decode>, ended: bool },
    Blocks(Ahead),
}

impl Drop for PipedPartition {
    fn drop(&mut self) {
        IS_READ.store(false, Ordering::Release);
    }
}

impl Reader {
    async fn open(shape: &Shape) -> Result<Self, Error> {
        if shape.format().is_block() {
            let (format, wanted) = (shape.format().clone(), shape.decoded());
            let part = Part { groups: None, skip: 0, rows: shape.rows };
            let open = move || format.blocks(whole(held::spooled()?), wanted, &part);
            return Ok(Self::Blocks(Ahead::new(spawn_blocking(open).await??)));
        }
        let input = Cursor::new(held::take()).chain(stdin());
        let input = Compression::Plain.reader(input).await;
        let input = input.map_err(|error| format!("{ORIGIN}: cannot be read: {error}; check what is piped in"))?;
        Ok(Self::Stream { input, decoder: shape.decoder(ORIGIN)?, ended: false })
    }

    async fn next(&mut self, shape: &Shape) -> Result<Option<Batch<Rows>>, Error> {
        let (input, decoder, ended) = match self {
            Self::Blocks(ahead) => {
                let Some(batch) = ahead.next().await? else { return Ok(None) };
                return Ok(Some(vec![shape.arrange(&batch, &[])?].into()));
            }
            Self::Stream { input, decoder, ended } => (input, decoder, ended),
        };
        loop {
            if let Some(batch) = shape.next(decoder.as_mut())? {
                return Ok(Some(batch));
            }
            if *ended {
                return Ok(None);
            }
            let read = (&mut *input).take(CHUNK as u64).read_buf(decoder.buffer(CHUNK)).await;
            let failed = |error| format!("{}: cannot be read on: {error}; check what is piped in", decoder.position());
            if read.map_err(failed)? == 0 {
                *ended = true;
                decoder.end();
            }
        }
    }
}

impl Partition for PipedPartition {
    type Item = Rows;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<Rows>>, Error> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.shape).await?),
        };
        let batch = reader.next(&self.shape).await?;
        self.rows += batch.as_ref().map_or(0, |batch| batch.records.count() as u64);
        Ok(batch)
    }

    fn position(&self) -> String {
        match &self.reader {
            Some(Reader::Stream { decoder, .. }) => decoder.position(),
            _ => format!("{ORIGIN}:{}", self.rows + 1),
        }
    }
}
