//! Avro object container files.

use std::io::{BufReader, Read, Seek, SeekFrom};

use arrow_array::RecordBatch;
use arrow_avro::compression::CompressionCodec;
use arrow_avro::reader::{Reader, ReaderBuilder};
use arrow_avro::writer::format::AvroOcfFormat;
use arrow_avro::writer::{Writer, WriterBuilder};
use arrow_schema::{DataType, Schema, SchemaRef};
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Options};

use super::Encode;
use super::blocks::{Blocks, Match, Part, Whole};
use super::cells::batch_of;
use super::spill::Spill;
use super::text::strict;
use super::types::retype;
use crate::store::object::Handle;

pub(crate) const OPTIONS: [OptionSpec; 1] = [OptionSpec {
    name: "avro.codec",
    about: "How Avro's blocks are compressed when written: snappy (the default), zstandard, deflate or null.",
}];

/// The Avro format.
#[derive(Clone, Debug)]
pub struct Avro {
    codec: Option<CompressionCodec>,
}

impl Avro {
    /// As the options say.
    pub(crate) fn of(options: &Options) -> Result<Self, Error> {
        let codec = match options.get("avro.codec") {
            None | Some("snappy") => Some(CompressionCodec::Snappy),
            Some("zstandard" | "zstd") => Some(CompressionCodec::ZStandard),
            Some("deflate") => Some(CompressionCodec::Deflate),
            Some("null" | "none") => None,
            Some(other) => {
                return Err(format!("'avro.codec' = '{other}': snappy, zstandard, deflate or null").into());
            }
        };
        Ok(Self { codec })
    }

    pub(crate) fn encoder(&self, schema: &SchemaRef) -> Result<Encoder, Error> {
        let spill = Spill::default();
        let schema = SchemaRef::new(retype(schema, &plain));
        let builder = WriterBuilder::new(schema.as_ref().clone()).with_compression(self.codec);
        let writer = builder.build::<_, AvroOcfFormat>(spill.clone())?;
        Ok(Encoder { writer, spill, schema })
    }
}

/// Types that Avro's writer knows everywhere, also in maps.
fn plain(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8View => Some(DataType::Utf8),
        DataType::BinaryView => Some(DataType::Binary),
        DataType::Int8 | DataType::Int16 => Some(DataType::Int32),
        _ => None,
    }
}

fn reader(
    whole: &Whole,
    part: Option<&Part>,
    projection: Option<Vec<usize>>,
) -> Result<Reader<BufReader<Handle>>, Error> {
    let damaged = |error| Whole::damaged(&whole.name, "Avro", error);
    let mut file = whole.file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    // Not as views: then the library (59.3) takes NULL for empty text.
    let mut builder = ReaderBuilder::new();
    if let Some(part) = part {
        builder = builder.with_batch_size(part.rows);
    }
    if let Some(projection) = projection {
        builder = builder.with_projection(projection);
    }
    builder.build(file.buffered()).map_err(damaged)
}

/// The columns of a file.
pub(crate) fn schema(whole: &Whole) -> Result<Schema, Error> {
    Ok(reader(whole, None, None)?.schema().as_ref().clone())
}

/// Reads a file.
pub(crate) fn open(whole: Whole, wanted: SchemaRef, part: &Part) -> Result<Box<dyn Blocks>, Error> {
    let all = reader(&whole, None, None)?;
    check_end(&whole, &all.avro_header().sync())?;
    let mut matched = Match::new(wanted, &all.schema(), &whole.name)?;
    if matched.read.is_empty() {
        // Rows are counted by some column of theirs.
        matched.read.push(0);
    }
    let reader = reader(&whole, Some(part), Some(matched.read.clone()))?;
    Ok(Box::new(Batches { reader, matched, name: whole.name }))
}

/// That the file ends as blocks do: the library takes one that was cut off for one that is over.
fn check_end(whole: &Whole, sync: &[u8; 16]) -> Result<(), Error> {
    let mut file = whole.file.try_clone()?;
    let mut end = [0; 16];
    file.seek(SeekFrom::End(-16)).and_then(|_| file.read_exact(&mut end))?;
    if end == *sync { Ok(()) } else { Err(Whole::damaged(&whole.name, "Avro", "its last block is cut off")) }
}

struct Batches {
    reader: Reader<BufReader<Handle>>,
    matched: Match,
    name: String,
}

impl Blocks for Batches {
    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| Whole::damaged(&self.name, "Avro", error))?;
        self.matched.bring(&batch, &self.name).map(Some)
    }
}

/// Encodes rows as one file.
pub(crate) struct Encoder {
    writer: Writer<Spill, AvroOcfFormat>,
    spill: Spill,
    schema: SchemaRef,
}

impl Encode for Encoder {
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let column = |(array, field): (_, &arrow_schema::FieldRef)| strict(array, field.data_type());
        let columns = rows.columns().iter().zip(self.schema.fields()).map(column).collect::<Result<_, _>>()?;
        self.writer.write(&batch_of(&self.schema, columns, rows.num_rows())?)?;
        self.spill.empty(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.finish()?;
        self.spill.empty(out);
        Ok(())
    }
}
