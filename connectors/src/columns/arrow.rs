//! Arrow's own format: the file, and the stream for pipes and connections. Files of either kind are read.

use std::collections::VecDeque;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileReader, StreamDecoder, StreamReader};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use updraft_dataflow::{Batch, Error, Rows};

use super::blocks::{Blocks, Match, Part, Whole};
use super::spill::Spill;
use super::{Decode, Encode};
use crate::store::object::Handle;

/// What a file begins with.
const MAGIC: &[u8] = b"ARROW1";

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// A file or a stream that was kept in a file.
fn is_file(whole: &Whole) -> Result<bool, Error> {
    let (mut file, mut magic) = (whole.file.try_clone()?, Vec::new());
    file.seek(SeekFrom::Start(0))?;
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(magic == MAGIC)
}

/// The columns of a file.
pub(crate) fn schema(whole: &Whole) -> Result<Schema, Error> {
    let schema = if is_file(whole)? {
        FileReader::try_new(buffered(whole)?, None).map(|reader| reader.schema())
    } else {
        StreamReader::try_new(buffered(whole)?, None).map(|reader| reader.schema())
    };
    schema.map(|schema| schema.as_ref().clone()).map_err(|error| Whole::damaged(&whole.name, "Arrow", error))
}

fn buffered(whole: &Whole) -> std::io::Result<BufReader<Handle>> {
    Ok(whole.file.try_clone()?.buffered())
}

/// Reads a file.
pub(crate) fn open(whole: Whole, wanted: SchemaRef, part: &Part) -> Result<Box<dyn Blocks>, Error> {
    let mut matched = Match::new(wanted, &schema(&whole)?, &whole.name)?;
    if matched.read.is_empty() {
        // Rows are counted by some column of theirs.
        matched.read.push(0);
    }
    let read = Some(matched.read.clone());
    let batches = if is_file(&whole)? {
        FileReader::try_new(buffered(&whole)?, read).map(|reader| Box::new(reader) as Batches)
    } else {
        StreamReader::try_new(buffered(&whole)?, read).map(|reader| Box::new(reader) as Batches)
    };
    let batches = batches.map_err(|error| Whole::damaged(&whole.name, "Arrow", error))?;
    Ok(Box::new(Reader { batches, matched, name: whole.name, rest: None, rows: part.rows }))
}

struct Reader {
    batches: Batches,
    matched: Match,
    name: String,
    /// What is left of a batch that was longer than asked for.
    rest: Option<RecordBatch>,
    rows: usize,
}

impl Blocks for Reader {
    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let Some(batch) = self.batches.next() else { return Ok(None) };
                let batch = batch.map_err(|error| Whole::damaged(&self.name, "Arrow", error))?;
                self.matched.bring(&batch, &self.name)?
            }
        };
        let rows = self.rows.min(batch.num_rows());
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        Ok(Some(batch.slice(0, rows)))
    }
}

/// Decodes a stream.
pub(crate) struct Decoder {
    origin: Arc<str>,
    stream: StreamDecoder,
    wanted: SchemaRef,
    matched: Option<Match>,
    bytes: Vec<u8>,
    batches: VecDeque<RecordBatch>,
    rows: u64,
    ended: bool,
}

impl Decoder {
    pub(crate) fn new(wanted: SchemaRef, origin: &str) -> Self {
        Self {
            origin: origin.into(),
            stream: StreamDecoder::new(),
            wanted,
            matched: None,
            bytes: Vec::new(),
            batches: VecDeque::new(),
            rows: 0,
            ended: false,
        }
    }

    fn damaged(&self, error: &ArrowError) -> Error {
        Whole::damaged(&self.position(), "a stream of Arrow", error)
    }

    /// The file's column names are known with its first batch.
    fn bring(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut matched = match self.matched.take() {
            Some(matched) => matched,
            None => Match::new(self.wanted.clone(), &batch.schema(), &self.origin)?,
        };
        let read = std::mem::take(&mut matched.read);
        let brought = batch.project(&read).map_err(Error::from).and_then(|batch| matched.bring(&batch, &self.origin));
        matched.read = read;
        self.matched = Some(matched);
        brought
    }
}

impl Decode for Decoder {
    fn buffer(&mut self, more: usize) -> &mut Vec<u8> {
        self.bytes.reserve(more);
        &mut self.bytes
    }

    fn end(&mut self) {
        self.ended = true;
    }

    fn decode(&mut self, rows: usize) -> Result<bool, Error> {
        let mut buffer = Buffer::from_vec(std::mem::take(&mut self.bytes));
        while !buffer.is_empty() {
            let batch = self.stream.decode(&mut buffer).map_err(|error| self.damaged(&error))?;
            if let Some(batch) = batch {
                let batch = self.bring(&batch)?;
                self.batches.push_back(batch);
            }
        }
        if self.ended {
            self.stream.finish().map_err(|error| self.damaged(&error))?;
        }
        Ok(self.batches.iter().map(RecordBatch::num_rows).sum::<usize>() >= rows)
    }

    fn take(&mut self) -> Result<Option<Batch<Rows>>, Error> {
        let rows: Vec<_> = self.batches.drain(..).filter(|batch| batch.num_rows() > 0).map(Rows::from).collect();
        self.rows += rows.iter().map(|rows| rows.len() as u64).sum::<u64>();
        Ok((!rows.is_empty()).then(|| rows.into()))
    }

    fn position(&self) -> String {
        format!("{}:{}", self.origin, self.rows + 1)
    }
}

/// Encodes rows as one file, or as one stream.
pub(crate) struct Encoder {
    writer: Writer,
    spill: Spill,
}

enum Writer {
    File(FileWriter<Spill>),
    Stream(StreamWriter<Spill>),
}

impl Encoder {
    pub(crate) fn file(schema: &SchemaRef) -> Result<Self, Error> {
        let spill = Spill::default();
        Ok(Self { writer: Writer::File(FileWriter::try_new(spill.clone(), schema)?), spill })
    }

    pub(crate) fn stream(schema: &SchemaRef) -> Result<Self, Error> {
        let spill = Spill::default();
        Ok(Self { writer: Writer::Stream(StreamWriter::try_new(spill.clone(), schema)?), spill })
    }
}

impl Encode for Encoder {
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.writer {
            Writer::File(writer) => writer.write(rows)?,
            Writer::Stream(writer) => writer.write(rows)?,
        }
        self.spill.empty(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.writer {
            Writer::File(writer) => writer.finish()?,
            Writer::Stream(writer) => writer.finish()?,
        }
        self.spill.empty(out);
        Ok(())
    }
}
