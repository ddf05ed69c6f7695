//! The formats of a key or a value by itself: what [`Read`]s and [`Write`]s them.

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use updraft_dataflow::connector::{OptionSpec, Options};
use updraft_dataflow::{Error, RowKind};

use super::raw::Raw;
use super::text;
use crate::columns::csv::Csv;
use crate::columns::json::Json;
use crate::columns::{csv, json, raw};

/// Reads keys, or values.
pub(super) trait Read: Send {
    /// Adds the rows that `bytes` say, and to `kinds` what each of them does. The error says what is wrong; then there are none.
    fn read(&mut self, bytes: &[u8], kinds: &mut Vec<RowKind>) -> Result<(), String>;

    /// The same where there are none: most formats have no row for that.
    fn read_nothing(&mut self, kinds: &mut Vec<RowKind>) -> Result<(), String> {
        let _ = kinds;
        Ok(())
    }

    /// The columns of the rows that were added; none are left.
    fn take(&mut self) -> Result<RecordBatch, Error>;
}

/// Appends the bytes of a row; false where there are none.
pub(super) type WriteRow = Box<dyn Fn(usize, RowKind, &mut Vec<u8>) -> Result<bool, Error> + Send>;

/// Writes keys, or values.
pub(super) trait Write: Send {
    /// How to write the rows of a batch.
    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error>;
}

/// A format with its options.
#[derive(Clone, Debug)]
pub(super) enum Format {
    Json(Json),
    Csv(Csv),
    Raw(Raw),
}

/// What a format may be.
const NAMES: [&str; 3] = ["json", "csv", "raw"];

/// The options of all formats.
pub(super) fn options() -> Vec<OptionSpec> {
    [&json::OPTIONS[..], &csv::OPTIONS, &raw::OPTIONS].concat()
}

/// The metadata that some of them tell.
pub(super) fn metadata() -> Vec<(&'static str, DataType)> {
    Vec::new()
}

impl Format {
    /// The format `name`, as the option `option` calls it.
    ///
    /// # Errors
    /// When there is none of that name, or an option of it has a value that it cannot have.
    pub(super) fn of(option: &str, name: &str, options: &Options) -> Result<Self, Error> {
        if option != "format" {
            let known = self::options();
            let prefix = format!("{name}.");
            options.check(
                &format!("'{option}' = '{name}'"),
                known.iter().filter(|known| known.name.starts_with(&prefix)),
            )?;
        }
        Ok(match name {
            "json" => Self::Json(Json::of(options)?),
            "csv" => Self::Csv(Csv::of(options)?.headless()),
            "raw" => Self::Raw(Raw::of(options)?),
            other => return Err(format!("'{option}' = '{other}': of messages there are {}", NAMES.join(", ")).into()),
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Raw(_) => "raw",
        }
    }

    /// Whether a value tells what becomes of rows.
    pub(super) fn is_changelog(&self) -> bool {
        false
    }

    /// What it tells beside the columns.
    pub(super) fn metadata(&self) -> Vec<(&'static str, DataType)> {
        Vec::new()
    }

    /// That it can hold such columns.
    pub(super) fn check(&self, schema: &SchemaRef) -> Result<(), Error> {
        match self {
            Self::Json(_) => Ok(()),
            Self::Csv(csv) => csv.decoder(schema, &[]).map(drop),
            Self::Raw(_) => Raw::check(schema),
        }
    }

    /// Reads columns `wanted` of `schema`, and after those what is `told` beside them.
    pub(super) fn reader(&self, schema: &SchemaRef, wanted: &[usize], told: &[String]) -> Result<Box<dyn Read>, Error> {
        let _ = told;
        Ok(match self {
            Self::Json(json) => text::reader(json.decoder(schema, wanted), schema, wanted)?,
            Self::Csv(csv) => text::reader(csv.decoder(schema, wanted)?, schema, wanted)?,
            Self::Raw(raw) => Box::new(raw.reader(schema, wanted)?),
        })
    }

    /// Writes columns `schema`.
    pub(super) fn writer(&self, schema: &SchemaRef) -> Result<Box<dyn Write>, Error> {
        Ok(match self {
            Self::Json(json) => Box::new(json.clone()),
            Self::Csv(csv) => Box::new(csv.encoder(schema)?),
            Self::Raw(raw) => Box::new(raw.clone()),
        })
    }
}
