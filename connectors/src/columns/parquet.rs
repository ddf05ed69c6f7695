//! Parquet files: read by row groups, only the columns that are wanted.

use std::fs::File;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Options};

use super::Encode;
use super::blocks::{Blocks, Match, Part, Whole};
use super::spill::Spill;
use super::types::retype;

pub(crate) const OPTIONS: [OptionSpec; 2] = [
    OptionSpec {
        name: "parquet.compression",
        about: "How Parquet is written: snappy (the default), zstd, lz4 or uncompressed.",
    },
    OptionSpec { name: "parquet.block.size", about: "Bytes of a row group of Parquet, about (134217728)." },
];

/// The Parquet format.
#[derive(Clone, Debug)]
pub struct Parquet {
    compression: Compression,
    block: usize,
}

impl Parquet {
    /// As the options say.
    pub(crate) fn of(options: &Options) -> Result<Self, Error> {
        let compression = match options.get("parquet.compression").map(str::to_ascii_lowercase).as_deref() {
            None | Some("snappy") => Compression::SNAPPY,
            Some("zstd") => Compression::ZSTD(ZstdLevel::default()),
            Some("lz4" | "lz4_raw") => Compression::LZ4_RAW,
            Some("uncompressed" | "none") => Compression::UNCOMPRESSED,
            Some(other) => {
                return Err(format!("'parquet.compression' = '{other}': snappy, zstd, lz4 or uncompressed").into());
            }
        };
        let block = options.parse("parquet.block.size", "a number of bytes")?.unwrap_or(128 << 20);
        Ok(Self { compression, block })
    }

    pub(crate) fn encoder(&self, schema: &SchemaRef) -> Result<Encoder, Error> {
        let spill = Spill::default();
        let properties = WriterProperties::builder().set_compression(self.compression).build();
        let writer = ArrowWriter::try_new(spill.clone(), schema.clone(), Some(properties))?;
        Ok(Encoder { writer, spill, block: self.block })
    }
}

/// Text and bytes are read as views, which is quickest.
fn load(file: &File) -> Result<ArrowReaderMetadata, parquet::errors::ParquetError> {
    let plain = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    let viewed = |data_type: &DataType| match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => Some(DataType::Utf8View),
        DataType::Binary | DataType::LargeBinary => Some(DataType::BinaryView),
        _ => None,
    };
    let schema = Arc::new(retype(plain.schema(), &viewed));
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(plain.metadata().clone(), options).or(Ok(plain))
}

/// The columns of a file.
pub(crate) fn schema(whole: &Whole) -> Result<Schema, Error> {
    let metadata = load(&whole.file).map_err(|error| Whole::damaged(&whole.name, "Parquet", error))?;
    Ok(metadata.schema().as_ref().clone())
}

/// How many row groups a file has.
pub(crate) fn groups(whole: &Whole) -> Result<usize, Error> {
    let metadata = ArrowReaderMetadata::load(&whole.file, ArrowReaderOptions::new());
    Ok(metadata.map_err(|error| Whole::damaged(&whole.name, "Parquet", error))?.metadata().num_row_groups())
}

/// Reads `part` of a file.
pub(crate) fn open(whole: Whole, wanted: SchemaRef, part: &Part) -> Result<Box<dyn Blocks>, Error> {
    let damaged = |error| Whole::damaged(&whole.name, "Parquet", error);
    let metadata = load(&whole.file).map_err(damaged)?;
    let matched = Match::new(wanted, metadata.schema(), &whole.name)?;
    let mask = ProjectionMask::roots(metadata.parquet_schema(), matched.read.iter().copied());
    let file = whole.file.try_clone()?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let builder = builder.with_projection(mask).with_batch_size(part.rows);
    let builder = match &part.groups {
        Some(groups) => builder.with_row_groups(groups.clone()),
        None => builder,
    };
    let reader = builder.build().map_err(damaged)?;
    Ok(Box::new(Reader { reader, matched, name: whole.name }))
}

struct Reader {
    reader: ParquetRecordBatchReader,
    matched: Match,
    name: String,
}

impl Blocks for Reader {
    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| Whole::damaged(&self.name, "Parquet", error))?;
        self.matched.bring(&batch, &self.name).map(Some)
    }
}

/// Encodes rows as one file.
pub(crate) struct Encoder {
    writer: ArrowWriter<Spill>,
    spill: Spill,
    block: usize,
}

impl Encode for Encoder {
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.write(rows)?;
        if self.writer.in_progress_size() >= self.block {
            self.writer.flush()?;
        }
        self.spill.empty(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.finish()?;
        self.spill.empty(out);
        Ok(())
    }

    fn kept(&self) -> usize {
        self.writer.in_progress_size()
    }
}
