//! Messages of text: JSON and CSV, as they are in files and streams, but that a message is one record.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use updraft_dataflow::{Error, RowKind};

use super::part::{Read, Taken, Write, WriteRow};
use crate::columns::cells::Columns;
use crate::columns::csv::encode::Encoder;
use crate::columns::json::Json;
use crate::columns::json::encode::objects;
use crate::columns::project;
use crate::columns::records::{Ignored, Record, Text};
use crate::format::Framing;
use crate::format::frames::{Frames, Verdict};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Reads columns `wanted` of `schema`.
pub(super) fn reader(text: impl Text, schema: &SchemaRef, wanted: &[usize]) -> Result<Box<dyn Read>, Error> {
    let columns = Columns::new(project(schema, wanted))?;
    Ok(Box::new(Reader { text, columns, ignored: Ignored::new("messages") }))
}

struct Reader<T> {
    text: T,
    columns: Columns,
    ignored: Arc<Ignored>,
}

impl<T: Text> Reader<T> {
    fn decode(&mut self, bytes: &[u8]) -> Result<Record, String> {
        let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
        let decoded = match single(self.text.framing(), bytes) {
            Ok(record) => self.text.decode(record, &mut self.columns),
            Err(reason) => Err(reason),
        };
        match decoded {
            Ok(Record::Nothing) if bytes.trim_ascii().is_empty() => Err("the message is empty".to_owned()),
            other => other,
        }
        .or_else(|reason| if self.text.ignores() { Ok(Record::Ignored) } else { Err(reason) })
    }
}

impl<T: Text> Read for Reader<T> {
    fn read(&mut self, bytes: &[u8], kinds: &mut Vec<RowKind>) -> Result<(), String> {
        let decoded = self.decode(bytes);
        match decoded {
            Ok(Record::Row) => {
                self.columns.accept();
                kinds.push(RowKind::Insert);
            }
            Ok(Record::Nothing) => {}
            Ok(Record::Ignored) => {
                self.columns.reject();
                self.ignored.count();
            }
            Err(reason) => {
                self.columns.reject();
                return Err(reason);
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Taken, Error> {
        Ok(self.columns.take()?.into())
    }
}

/// The record that a message is. An object of JSON may have newlines; a record of CSV has them in quotes alone.
fn single(framing: Framing, bytes: &[u8]) -> Result<&[u8], String> {
    let Framing::Quoted(marks) = framing else { return Ok(bytes) };
    let special = |byte: &u8| *byte == b'\n' || *byte == marks.quote || Some(*byte) == marks.escape;
    if !bytes.iter().any(special) {
        return Ok(bytes);
    }
    let mut frames = Frames::new(framing, usize::MAX);
    frames.spare(bytes.len()).extend_from_slice(bytes);
    let Some(frame) = frames.next().or_else(|| frames.last()) else { return Ok(bytes) };
    match frame.verdict {
        _ if !frames.rest().is_empty() => Err("more than one record: a message is one".into()),
        Verdict::Whole => Ok(&bytes[frame.range]),
        _ => Err("quote never closed: close it, or double a quote that is data".into()),
    }
}

impl Write for Json {
    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error> {
        let write = objects(self, batch)?;
        Ok(Box::new(move |row, _, out| write(row, out).map(|()| true)))
    }
}

impl Write for Encoder {
    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error> {
        let write = self.records(batch)?;
        Ok(Box::new(move |row, _, out| write(row, out).map(|()| true)))
    }
}
