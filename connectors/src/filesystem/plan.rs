//! What a source reads: where each column of its rows comes from.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray, UInt32Array};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take;
use updraft_dataflow::connector::{Column, Scan, Table};
use updraft_dataflow::{Error, Rows};

use super::find::Found;
use super::hive;
use super::settings::Settings;
use super::stored;
use crate::columns::cells::batch_of;

/// Where a column comes from.
#[derive(Clone, Debug)]
enum Place {
    /// What is decoded, its column of that index.
    File(usize),
    /// The names of the folders.
    Folder(Arc<arrow_schema::Field>),
    /// What is known of the file.
    Metadata(String),
}

/// What is read of files.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    /// The columns that are in the files.
    pub(super) stored: SchemaRef,
    /// Those of them that are read.
    pub(super) wanted: Vec<usize>,
    places: Vec<Place>,
    schema: SchemaRef,
    /// Rows of a batch.
    pub(super) rows: usize,
}

impl Plan {
    pub(super) fn new(table: &Table, scan: &Scan) -> Result<Self, Error> {
        let (stored, columns) = stored(table);
        let mut wanted = Vec::new();
        let mut place = |column: &Column| match column {
            Column::Metadata(key) => Place::Metadata(key.clone()),
            Column::Physical(column) => match columns.iter().position(|stored| stored == column) {
                None => Place::Folder(table.schema.fields()[*column].clone()),
                Some(stored) => {
                    let known = wanted.iter().position(|wanted| *wanted == stored);
                    Place::File(known.unwrap_or_else(|| {
                        wanted.push(stored);
                        wanted.len() - 1
                    }))
                }
            },
        };
        let places = scan.columns.iter().map(&mut place).collect();
        let (schema, rows) = (scan.schema.clone(), scan.batch.max(1));
        Ok(Self { settings: Settings::of(table)?, stored, wanted, places, schema, rows })
    }

    /// The columns that are decoded.
    pub(super) fn decoded(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.wanted.iter().map(|column| self.stored.fields()[*column].clone()).collect::<Vec<_>>(),
        ))
    }

    /// What is the same for all rows of a file: for each column that is not in it, an array of one.
    pub(super) fn constants(&self, file: &Found) -> Result<Vec<Option<ArrayRef>>, Error> {
        let constant = |place: &Place| match place {
            Place::File(_) => Ok(None),
            Place::Folder(field) => hive::value(&file.path, field, &self.settings.default_name).map(Some),
            Place::Metadata(key) => metadata(file, key).map(Some),
        };
        self.places.iter().map(constant).collect()
    }

    /// Rows as they are asked for, of those that were decoded.
    pub(super) fn rows(&self, decoded: &RecordBatch, constants: &[Option<ArrayRef>]) -> Result<Rows, Error> {
        let rows = decoded.num_rows();
        let first = UInt32Array::from(if constants.iter().any(Option::is_some) { vec![0; rows] } else { Vec::new() });
        let column = |(place, constant): (&Place, &Option<ArrayRef>)| match (place, constant) {
            (Place::File(column), _) => Ok(decoded.column(*column).clone()),
            (_, Some(constant)) => Ok(take(constant, &first, None)?),
            (_, None) => Err(Error::from("a column that is neither in the file nor known")),
        };
        let columns = self.places.iter().zip(constants).map(column).collect::<Result<_, _>>()?;
        Ok(batch_of(&self.schema, columns, rows)?.into())
    }
}

/// What is known of a file, as an array of one.
fn metadata(file: &Found, key: &str) -> Result<ArrayRef, Error> {
    let text = |text: String| -> ArrayRef { Arc::new(StringViewArray::from(vec![text])) };
    let array: ArrayRef = match key {
        "file.path" => text(file.name()),
        "file.name" => text(file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()),
        "file.size" => Arc::new(Int64Array::from(vec![file.size as i64])),
        "file.modification-time" => Arc::new(TimestampMillisecondArray::from(vec![file.modified]).with_timezone("UTC")),
        _ => return Err(format!("files have no metadata column '{key}'").into()),
    };
    debug_assert_eq!(array.len(), 1);
    Ok(array)
}
