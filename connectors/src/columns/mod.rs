//! How bytes become [`Rows`] and rows bytes: the formats of tables, chosen by `'format' = '…'`.
//!
//! A [`Format`] is read from a table's options. It makes
//!
//! * a [`Decode`] for streams of bytes, whatever they come from: CSV, JSON lines, raw lines, Arrow's stream;
//! * for whole files a reader of blocks (`blocks.rs`): Parquet, Arrow's file, Avro;
//! * an [`Encode`] for sinks.
//!
//! What text looks like is in `cells/` (reading) and `text.rs` (writing); how bytes are cut into records in `records.rs`.
//! To add a format: a file here, a line in [`Kind`] and in the functions that match on it.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_schema::{DataType, Field, Schema};
//! use updraft_connectors::columns::Format;
//! use updraft_dataflow::connector::Options;
//!
//! let schema = Arc::new(Schema::new(vec![
//!     Field::new("name", DataType::Utf8View, true),
//!     Field::new("price", DataType::Decimal128(10, 2), true),
//! ]));
//! let options: Options = [("format".to_owned(), "json".to_owned())].into_iter().collect();
//! let mut decoder = Format::of(&options)?.decoder(&schema, &[1], "orders")?;
//! decoder.buffer(64).extend_from_slice(b"{\"name\":\"a\",\"price\":1.5}\n{\"price\":\"x\"}\n");
//! let batch = decoder.next(1_000)?.expect("a row and a dead letter");
//! assert_eq!(batch.records.as_slice()[0].len(), 1);
//! assert_eq!(batch.rejected[0].to_string(), "orders:2: field `price`: \"x\" is not a DECIMAL(10, 2)");
//! # Ok::<(), updraft_dataflow::Error>(())
//! ```

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_dataflow::connector::{Column, OptionSpec, Options, Scan};
use updraft_dataflow::{Batch, Error, Rows};

pub(crate) mod arrow;
pub mod avro;
pub(crate) mod blocks;
pub(crate) mod cells;
pub(crate) mod conform;
pub mod csv;
pub(crate) mod infer;
pub mod json;
pub mod parquet;
pub mod raw;
pub(crate) mod records;
pub(crate) mod spill;
pub(crate) mod text;
pub(crate) mod types;

use blocks::{Blocks, Part, Rest, Whole};

use crate::format::Framing;
use crate::format::frames::Spot;

/// The longest record that is taken unless told otherwise, in bytes: 16 MiB.
pub const MAX_RECORD: usize = 16 << 20;

/// Decodes one stream of bytes: a file, a connection.
///
/// Fill [`buffer`](Self::buffer), then take what is there by [`next`](Self::next); after [`end`](Self::end) until there is nothing.
pub trait Decode: Send {
    /// Where the next bytes go: to be extended, never cut. There is room for `more`.
    fn buffer(&mut self, more: usize) -> &mut Vec<u8>;

    /// No bytes will follow.
    fn end(&mut self);

    /// Decodes what is in the buffer, to `rows` rows at most (dead letters count as rows); whether there are as many.
    ///
    /// # Errors
    /// When what follows cannot be understood, either.
    fn decode(&mut self, rows: usize) -> Result<bool, Error>;

    /// What has been decoded since the last time, if anything.
    ///
    /// # Errors
    /// When the columns don't fit together.
    fn take(&mut self) -> Result<Option<Batch<Rows>>, Error>;

    /// The next rows that are in the buffer, `rows` at most; `None` where there is not a whole one.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn next(&mut self, rows: usize) -> Result<Option<Batch<Rows>>, Error> {
        self.decode(rows)?;
        self.take()
    }

    /// Whether what follows can be decoded elsewhere: see [`detach`](Self::detach).
    fn can_detach(&self) -> bool {
        false
    }

    /// Sets the next records of the buffer aside, `rows` of them, to be decoded on any thread; fewer at the end, or where they are
    /// long. `None` where as many have not come, and where none are left.
    fn detach(&mut self, rows: usize) -> Option<Detached> {
        let _ = rows;
        None
    }

    /// Where the stream stands after all records that were taken or set aside. Formats that are not text don't tell.
    fn stand(&self) -> Stand {
        Stand::default()
    }

    /// Goes on from where a stream of the same bytes stood: those after come next. To be told before the first of them.
    ///
    /// # Errors
    /// When such a stream cannot be read from its middle on.
    fn go_on(&mut self, stand: Stand) -> Result<(), Error> {
        let _ = stand;
        Err("streams of this format can be read from their beginning only".into())
    }

    /// The lines that the rows taken last begin in; none where there are no lines.
    fn lines(&self) -> Vec<u64> {
        Vec::new()
    }

    /// `origin:line` of the next record.
    fn position(&self) -> String;
}

/// Where a stream stands: what one who goes on from there has to know.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stand {
    #[serde(flatten)]
    pub(crate) spot: Spot,
    /// What the records before say about those that follow: where a header puts the columns.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    learnt: Value,
}

/// Records that were set aside: decodes them.
pub type Detached = Box<dyn FnOnce() -> Result<Option<Batch<Rows>>, Error> + Send>;

/// Encodes rows as one stream of bytes.
pub trait Encode: Send {
    /// Appends `rows`, or keeps them until there are enough. All are taken for insertions.
    ///
    /// # Errors
    /// A value that the format cannot hold.
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Appends what was kept, and what ends the stream.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let _ = out;
        Ok(())
    }

    /// Bytes that are kept in memory.
    fn kept(&self) -> usize {
        0
    }
}

/// A format with its options.
#[derive(Clone, Debug)]
pub struct Format {
    kind: Kind,
    max_record: usize,
}

/// The formats.
#[derive(Clone, Debug)]
enum Kind {
    Csv(csv::Csv),
    Json(json::Json),
    Raw(raw::Raw),
    Arrow,
    Parquet(parquet::Parquet),
    Avro(avro::Avro),
}

/// What `'format'` may be.
const NAMES: [&str; 6] = ["csv", "json", "raw", "parquet", "arrow", "avro"];

const OPTIONS: [OptionSpec; 2] = [
    OptionSpec {
        name: "format",
        about: "What bytes look like: csv, json, raw or arrow; in files also parquet and avro.",
    },
    OptionSpec {
        name: "max-record",
        about: "The longest record of a text format, in bytes; longer ones are bad records (16777216).",
    },
];

impl Format {
    /// All options of all formats.
    pub fn options() -> Vec<OptionSpec> {
        [&OPTIONS[..], &csv::OPTIONS, &json::OPTIONS, &raw::OPTIONS, &parquet::OPTIONS, &avro::OPTIONS].concat()
    }

    /// The format that a table's options say.
    ///
    /// # Errors
    /// When there is none, or an option of it has a value that it cannot have.
    pub fn of(options: &Options) -> Result<Self, Error> {
        let kind = match options.required("format")? {
            "csv" => Kind::Csv(csv::Csv::of(options)?),
            "json" => Kind::Json(json::Json::of(options)?),
            "raw" => Kind::Raw(raw::Raw::of(options)?),
            "parquet" => Kind::Parquet(parquet::Parquet::of(options)?),
            "arrow" => Kind::Arrow,
            "avro" => Kind::Avro(avro::Avro::of(options)?),
            other => return Err(format!("'format' = '{other}': there are {}", NAMES.join(", ")).into()),
        };
        let max_record = options.parse("max-record", "a number of bytes")?.unwrap_or(MAX_RECORD);
        Ok(Self { kind, max_record })
    }

    /// What `'format'` calls it.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Csv(_) => "csv",
            Kind::Json(_) => "json",
            Kind::Raw(_) => "raw",
            Kind::Arrow => "arrow",
            Kind::Parquet(_) => "parquet",
            Kind::Avro(_) => "avro",
        }
    }

    /// Decodes streams of rows of the columns `schema`: of those only `wanted`, in that order. `origin` is what
    /// dead letters name.
    ///
    /// # Errors
    /// When the format cannot hold such columns, or is one of whole files.
    pub fn decoder(&self, schema: &SchemaRef, wanted: &[usize], origin: &str) -> Result<Box<dyn Decode>, Error> {
        let max = self.max_record;
        let projected = project(schema, wanted);
        let columns = || cells::Columns::new(projected.clone());
        Ok(match &self.kind {
            Kind::Csv(csv) => records::boxed(csv.decoder(schema, wanted)?, columns()?, origin, max),
            Kind::Json(json) => records::boxed(json.decoder(schema, wanted), columns()?, origin, max),
            Kind::Raw(raw) => records::boxed(raw.decoder(schema)?, columns()?, origin, max),
            Kind::Arrow => Box::new(arrow::Decoder::new(projected, origin)),
            Kind::Parquet(_) | Kind::Avro(_) => return Err(self.only_files()),
        })
    }

    /// The same for the middle of a stream, which begins with `head`: a header there says where the columns are.
    pub(crate) fn decoder_within(
        &self,
        schema: &SchemaRef,
        wanted: &[usize],
        origin: &str,
        head: &[u8],
    ) -> Result<Box<dyn Decode>, Error> {
        let Kind::Csv(csv) = &self.kind else { return self.decoder(schema, wanted, origin) };
        let columns = || cells::Columns::new(project(schema, wanted));
        let mut decoder = csv.decoder(schema, wanted)?;
        decoder.pass_header(head, columns()?);
        Ok(records::boxed(decoder, columns()?, origin, self.max_record))
    }

    /// Whether each line is a record: then streams can be cut after any of them.
    pub(crate) fn is_of_lines(&self) -> bool {
        match &self.kind {
            Kind::Csv(csv) => csv.framing() == Framing::Lines,
            Kind::Json(_) | Kind::Raw(_) => true,
            Kind::Arrow | Kind::Parquet(_) | Kind::Avro(_) => false,
        }
    }

    /// Encodes streams of rows of the columns `schema`.
    ///
    /// # Errors
    /// When the format cannot hold such columns, or is one of whole files.
    pub fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
        match &self.kind {
            Kind::Arrow => Ok(Box::new(arrow::Encoder::stream(schema)?)),
            Kind::Parquet(_) | Kind::Avro(_) => Err(self.only_files()),
            _ => self.file_encoder(schema),
        }
    }

    /// Encodes rows of the columns `schema` as one file.
    ///
    /// # Errors
    /// When the format cannot hold such columns.
    pub fn file_encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
        Ok(match &self.kind {
            Kind::Csv(csv) => Box::new(csv.encoder(schema)?),
            Kind::Json(json) => Box::new(json.encoder()),
            Kind::Raw(raw) => Box::new(raw.encoder(schema)?),
            Kind::Arrow => Box::new(arrow::Encoder::file(schema)?),
            Kind::Parquet(parquet) => Box::new(parquet.encoder(schema)?),
            Kind::Avro(avro) => Box::new(avro.encoder(schema)?),
        })
    }

    fn only_files(&self) -> Error {
        format!("'{self}' is a format of whole files: read and write it with 'connector' = 'filesystem'").into()
    }

    /// Whether files are read whole, and not as streams of bytes.
    pub(crate) fn is_block(&self) -> bool {
        matches!(self.kind, Kind::Arrow | Kind::Parquet(_) | Kind::Avro(_))
    }

    /// Reads a file of blocks.
    pub(crate) fn blocks(&self, whole: Whole, wanted: SchemaRef, part: &Part) -> Result<Box<dyn Blocks>, Error> {
        let blocks = match &self.kind {
            Kind::Parquet(_) => return parquet::open(whole, wanted, part),
            Kind::Avro(_) => avro::open(whole, wanted, part)?,
            _ => arrow::open(whole, wanted, part)?,
        };
        Ok(if part.skip > 0 { Box::new(Rest { blocks, skip: part.skip }) } else { blocks })
    }

    /// In how many parts a file can be read.
    pub(crate) fn groups(&self, whole: &Whole) -> Result<usize, Error> {
        if let Kind::Parquet(_) = self.kind { parquet::groups(whole) } else { Ok(1) }
    }

    /// The columns of a file of blocks.
    pub(crate) fn block_schema(&self, whole: &Whole) -> Result<Schema, Error> {
        let schema = match &self.kind {
            Kind::Parquet(_) => parquet::schema(whole)?,
            Kind::Avro(_) => avro::schema(whole)?,
            _ => arrow::schema(whole)?,
        };
        Ok(infer::declared(&schema))
    }

    /// The columns of text that begins with `sample`, which ends at the end of a record.
    pub(crate) fn text_schema(&self, sample: &[u8]) -> Result<Schema, Error> {
        match &self.kind {
            Kind::Csv(csv) => infer::csv(csv, sample),
            Kind::Json(_) => infer::json(sample),
            _ => Ok(infer::line()),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The columns `wanted` of `schema`.
pub(crate) fn project(schema: &Schema, wanted: &[usize]) -> SchemaRef {
    Arc::new(Schema::new(wanted.iter().map(|column| schema.fields()[*column].clone()).collect::<Vec<_>>()))
}

/// The stored columns that a scan wants, for connectors that have no metadata.
///
/// # Errors
/// When it wants metadata.
pub fn physical(scan: &Scan) -> Result<Vec<usize>, Error> {
    let column = |column: &Column| match column {
        Column::Physical(column) => Ok(*column),
        Column::Metadata(key) => Err(format!("there is no metadata column '{key}' here").into()),
    };
    scan.columns.iter().map(column).collect()
}

/// `'true'` or `'false'`.
pub(crate) fn flag(options: &Options, name: &str) -> Result<bool, Error> {
    Ok(options.parse(name, "'true' or 'false'")?.unwrap_or(false))
}
