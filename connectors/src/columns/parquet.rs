//! Parquet files: read by row groups, only the columns that are wanted.

use std::collections::VecDeque;
use std::ops::Range;
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
use crate::store::object::Handle;

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
fn load(file: &Handle) -> Result<ArrowReaderMetadata, parquet::errors::ParquetError> {
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
    let metadata = load(&whole.file).map_err(|error| Whole::damaged(&whole.name, "Parquet", error))?;
    let matched = Match::new(wanted, metadata.schema(), &whole.name)?;
    let mask = ProjectionMask::roots(metadata.parquet_schema(), matched.read.iter().copied());
    let mut groups = part.groups.clone().unwrap_or_else(|| (0..metadata.metadata().num_row_groups()).collect());
    let rows = |group: &usize| metadata.metadata().row_group(*group).num_rows().max(0) as u64;
    let all = groups.iter().map(rows).sum();
    // Row groups that are left out as a whole are not read.
    let mut skip = part.skip;
    while skip > 0
        && let Some(first) = groups.first().map(rows).filter(|rows| *rows <= skip)
    {
        skip -= first;
        groups.remove(0);
    }
    // What is not on disk is fetched by whole row groups.
    let at_once = if let Handle::Disk(_) = whole.file { groups.len() } else { 1 };
    let turns = groups.chunks(at_once.max(1)).map(<[usize]>::to_vec).collect();
    Ok(Box::new(Reader { whole, metadata, mask, matched, turns, skip, rows: part.rows, all, reader: None }))
}

struct Reader {
    whole: Whole,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    matched: Match,
    /// The row groups that are read next, together.
    turns: VecDeque<Vec<usize>>,
    /// Rows that are left out of the first of them.
    skip: u64,
    /// Rows of a batch.
    rows: usize,
    /// Rows in whole.
    all: u64,
    reader: Option<ParquetRecordBatchReader>,
}

impl Reader {
    fn turn(&mut self, groups: Vec<usize>) -> Result<ParquetRecordBatchReader, Error> {
        let file = self.whole.file.fetched(self.ranges(&groups))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let builder = builder.with_projection(self.mask.clone()).with_batch_size(self.rows).with_row_groups(groups);
        let skip = usize::try_from(std::mem::take(&mut self.skip))?;
        let builder = if skip > 0 { builder.with_offset(skip) } else { builder };
        builder.build().map_err(|error| Whole::damaged(&self.whole.name, "Parquet", error))
    }

    /// Where the columns that are wanted are.
    fn ranges(&self, groups: &[usize]) -> Vec<Range<u64>> {
        let columns =
            groups.iter().flat_map(|group| self.metadata.metadata().row_group(*group).columns().iter().enumerate());
        let wanted = columns.filter(|(leaf, _)| self.mask.leaf_included(*leaf));
        wanted.map(|(_, column)| column.byte_range()).map(|(start, length)| start..start + length).collect()
    }
}

impl Blocks for Reader {
    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if let Some(batch) = self.reader.as_mut().and_then(Iterator::next) {
                let batch = batch.map_err(|error| Whole::damaged(&self.whole.name, "Parquet", error))?;
                return self.matched.bring(&batch, &self.whole.name).map(Some);
            }
            let Some(groups) = self.turns.pop_front() else { return Ok(None) };
            self.reader = Some(self.turn(groups)?);
        }
    }

    fn rows(&self) -> Option<u64> {
        Some(self.all)
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
