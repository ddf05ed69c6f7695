//! Whole files of rows in blocks: Parquet, Arrow's file, Avro. What is in a file is brought into the table's columns.

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{Schema, SchemaRef};
use updraft_dataflow::Error;

use super::cells::batch_of;
use super::text::strict;
use super::types::sql_name;
use crate::store::object::Handle;

/// Reads a file, batch by batch. It waits for the disk: to be called where that is allowed.
pub(crate) trait Blocks: Send {
    /// The next rows: the file's columns that were asked for, in the file's types.
    fn next(&mut self) -> Result<Option<RecordBatch>, Error>;

    /// How many rows there are in whole, where the file says so at its beginning or end.
    fn rows(&self) -> Option<u64> {
        None
    }
}

/// What of a file is to be read.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The blocks (Parquet's row groups), or all.
    pub(crate) groups: Option<Vec<usize>>,
    /// How many of their rows are left out at the beginning.
    pub(crate) skip: u64,
    /// Rows of a batch.
    pub(crate) rows: usize,
}

/// Blocks without the first rows, which are read and dropped.
pub(crate) struct Rest {
    pub(crate) blocks: Box<dyn Blocks>,
    pub(crate) skip: u64,
}

impl Blocks for Rest {
    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            let Some(batch) = self.blocks.next()? else { return Ok(None) };
            let rows = batch.num_rows();
            let skipped = usize::try_from(self.skip).map_or(rows, |skip| skip.min(rows));
            self.skip -= skipped as u64;
            if skipped < rows {
                return Ok(Some(batch.slice(skipped, rows - skipped)));
            }
        }
    }

    fn rows(&self) -> Option<u64> {
        self.blocks.rows()
    }
}

/// A file that is open.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) file: Handle,
    pub(crate) name: String,
}

impl Whole {
    /// The error with the file's name.
    pub(crate) fn damaged(name: &str, format: &str, error: impl std::fmt::Display) -> Error {
        format!("{name}: cannot be read as {format}: {error}; check that it is such a file and whole").into()
    }
}

/// Where the table's columns are in the file: by name, then by name without regard to case.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    wanted: SchemaRef,
    /// For each column that is wanted, which of the columns read it is.
    places: Vec<Option<usize>>,
    /// The columns of the file that have to be read, ascending.
    pub(crate) read: Vec<usize>,
}

impl Match {
    /// Looks for the columns `wanted` in those of a `file`.
    pub(crate) fn new(wanted: SchemaRef, file: &Schema, name: &str) -> Result<Self, Error> {
        let find = |name: &str| {
            let exact = file.index_of(name).ok();
            exact.or_else(|| file.fields().iter().position(|field| field.name().eq_ignore_ascii_case(name)))
        };
        let found: Vec<Option<usize>> = wanted.fields().iter().map(|field| find(field.name())).collect();
        if let Some((field, _)) =
            wanted.fields().iter().zip(&found).find(|(field, at)| at.is_none() && !field.is_nullable())
        {
            let names: Vec<_> = file.fields().iter().map(|field| field.name().as_str()).collect();
            let (field, names) = (field.name(), names.join(", "));
            return Err(format!("{name}: there is no column `{field}`, which is NOT NULL; there are {names}").into());
        }
        let mut read: Vec<usize> = found.iter().flatten().copied().collect();
        read.sort_unstable();
        read.dedup();
        let place = |found: Option<usize>| read.binary_search(&found?).ok();
        let places = found.into_iter().map(place).collect();
        Ok(Self { wanted, places, read })
    }

    /// The columns that are wanted of a batch of those that were read.
    pub(crate) fn bring(&self, batch: &RecordBatch, name: &str) -> Result<RecordBatch, Error> {
        let rows = batch.num_rows();
        let column = |(field, place): (&arrow_schema::FieldRef, &Option<usize>)| -> Result<ArrayRef, Error> {
            let Some(place) = place else { return Ok(new_null_array(field.data_type(), rows)) };
            let array = batch.column(*place);
            let (column, to) = (field.name(), field.data_type());
            let from = array.data_type();
            let array = strict(array, to).map_err(|error| -> Error {
                format!("{name}: column `{column}` is {}, not {}: {error}", sql_name(from), sql_name(to)).into()
            })?;
            match array.null_count() > 0 && !field.is_nullable() {
                true => Err(format!("{name}: column `{column}` has NULLs, but is NOT NULL").into()),
                false => Ok(array),
            }
        };
        let columns = self.wanted.fields().iter().zip(&self.places).map(column).collect::<Result<_, _>>()?;
        batch_of(&self.wanted, columns, rows)
    }
}
