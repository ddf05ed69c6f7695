//! [`Encoder`]: rows become messages.

use std::ops::Range;

use arrow_array::RecordBatch;
use bytes::Bytes;
use updraft_dataflow::{Error, RowKind, Rows};

use super::part::{Write, WriteRow};
use super::{Formats, Part};
use crate::columns::cells::batch_of;

/// A row, as the bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Its number among the rows.
    pub row: usize,
    /// The key, where keys have a format.
    pub key: Option<Bytes>,
    /// The value; `None` is what is called a tombstone.
    pub value: Option<Bytes>,
}

/// Makes messages of rows.
pub struct Encoder {
    key: Option<Side>,
    value: Side,
    upserting: bool,
    changelog: bool,
    format: &'static str,
}

/// Writes keys, or values.
struct Side {
    part: Part,
    write: Box<dyn Write>,
}

impl Side {
    fn new(part: &Part) -> Result<Self, Error> {
        Ok(Self { part: part.clone(), write: part.format.writer(&part.schema)? })
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error> {
        let columns = self.part.columns.iter().map(|column| batch.column(*column).clone()).collect();
        self.write.rows(&batch_of(&self.part.schema, columns, batch.num_rows())?)
    }
}

impl Encoder {
    pub(super) fn new(formats: &Formats) -> Result<Self, Error> {
        Ok(Self {
            key: formats.key.as_ref().map(Side::new).transpose()?,
            value: Side::new(&formats.value)?,
            upserting: formats.upserting,
            changelog: formats.value.format.is_changelog(),
            format: formats.value.format.name(),
        })
    }

    /// The messages that rows of the table's columns are, in order. Waits where the format has to make known what it writes.
    ///
    /// # Errors
    /// A value that a format cannot hold, a change that it cannot tell.
    pub async fn encode(&mut self, rows: &Rows) -> Result<Vec<Encoded>, Error> {
        for side in self.key.iter_mut().chain([&mut self.value]) {
            if let Some(wait) = side.write.prepare() {
                wait.await?;
            }
        }
        let batch = rows.batch();
        let keys = self.key.as_mut().map(|key| key.rows(batch)).transpose()?;
        let values = self.value.rows(batch)?;
        let (mut bytes, mut ranges) = (Vec::new(), Vec::with_capacity(rows.len()));
        for row in 0..rows.len() {
            let kind = rows.kind(row);
            if self.upserting && kind == RowKind::UpdateBefore {
                continue;
            }
            if kind != RowKind::Insert && !self.upserting && !self.changelog {
                let (kind, format) = (kind.short(), self.format);
                return Err(
                    format!("a row of {kind} cannot be written as '{format}', which holds insertions alone").into()
                );
            }
            let key = match &keys {
                Some(keys) => append(keys, row, kind, &mut bytes)?,
                None => None,
            };
            let gone = self.upserting && kind == RowKind::Delete;
            let value = if gone { None } else { append(&values, row, kind, &mut bytes)? };
            ranges.push((row, key, value));
        }
        let bytes = Bytes::from(bytes);
        let slice = |range: Option<Range<usize>>| range.map(|range| bytes.slice(range));
        Ok(ranges.into_iter().map(|(row, key, value)| Encoded { row, key: slice(key), value: slice(value) }).collect())
    }
}

fn append(write: &WriteRow, row: usize, kind: RowKind, bytes: &mut Vec<u8>) -> Result<Option<Range<usize>>, Error> {
    let start = bytes.len();
    Ok(write(row, kind, bytes)?.then_some(start..bytes.len()))
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("format", &self.format).finish_non_exhaustive()
    }
}
