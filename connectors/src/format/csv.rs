//! Comma-separated values.

use std::marker::PhantomData;

use csv::{ByteRecord, DeserializeError, ErrorKind};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use serde::de::DeserializeOwned;
use updraft_dataflow::Record;

use super::{Format, Framing};

/// Every record is decoded as `T`: by the names of the header into a struct, or by position into a tuple. Quoted
/// fields may hold newlines. Blank lines are left out.
#[derive(Debug)]
pub struct Csv<T> {
    delimiter: u8,
    header: Header,
    parser: Parser,
    item: PhantomData<fn() -> T>,
}

/// What is known of the first record.
#[derive(Clone, Debug)]
enum Header {
    /// There is none.
    Absent,
    /// It is the next record.
    Expected,
    Known(ByteRecord),
}

impl<T> Csv<T> {
    /// Comma between fields; the first record of each file is its header.
    pub fn new() -> Self {
        Self { delimiter: b',', header: Header::Expected, parser: Parser::new(b','), item: PhantomData }
    }

    /// Another byte between fields: `b';'`, `b'\t'`.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self.parser = Parser::new(delimiter);
        self
    }

    /// There is no header: the first record is data, and fields are taken by position.
    #[must_use]
    pub fn headerless(mut self) -> Self {
        self.header = Header::Absent;
        self
    }
}

impl<T> Default for Csv<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Csv<T> {
    fn clone(&self) -> Self {
        let parser = Parser::new(self.delimiter);
        Self { delimiter: self.delimiter, header: self.header.clone(), parser, item: PhantomData }
    }
}

impl<T: Record + DeserializeOwned> Format for Csv<T> {
    type Item = T;

    fn framing(&self) -> Framing {
        Framing::Csv { delimiter: self.delimiter }
    }

    fn decode(&mut self, record: &[u8]) -> Result<Option<T>, String> {
        if record.trim_ascii().is_empty() {
            return Ok(None);
        }
        let fields = self.parser.split(record);
        let names = match &self.header {
            Header::Absent => None,
            Header::Expected => {
                self.header = Header::Known(fields.clone());
                return Ok(None);
            }
            Header::Known(names) if names.len() != fields.len() => {
                return Err(miscounted(fields, names));
            }
            Header::Known(names) => Some(names),
        };
        fields.deserialize(names).map(Some).map_err(|error| reason(&error, names))
    }

    fn has_header(&self) -> bool {
        matches!(self.header, Header::Expected)
    }
}

fn miscounted(fields: &ByteRecord, names: &ByteRecord) -> String {
    let list: Vec<_> = names.iter().map(String::from_utf8_lossy).collect();
    format!("{} fields, where the header names {}: {}", fields.len(), names.len(), list.join(", "))
}

fn reason(error: &csv::Error, names: Option<&ByteRecord>) -> String {
    match error.kind() {
        ErrorKind::Deserialize { err, .. } => field_reason(err, names),
        _ => error.to_string(),
    }
}

/// The error with the name of its field, or its number where there are no names.
fn field_reason(error: &DeserializeError, names: Option<&ByteRecord>) -> String {
    let Some(field) = error.field() else {
        return error.kind().to_string();
    };
    match names.and_then(|names| names.get(field as usize)) {
        Some(name) => format!("field `{}`: {}", String::from_utf8_lossy(name), error.kind()),
        None => format!("field {}: {}", field + 1, error.kind()),
    }
}

/// Splits one record into fields.
struct Parser {
    core: Reader,
    unquoted: Vec<u8>,
    ends: Vec<usize>,
    fields: ByteRecord,
}

impl Parser {
    fn new(delimiter: u8) -> Self {
        // Framing has found the newline already; a carriage return that is not before it is data.
        let core = ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build();
        Self { core, unquoted: Vec::new(), ends: Vec::new(), fields: ByteRecord::new() }
    }

    fn split(&mut self, record: &[u8]) -> &ByteRecord {
        let count = self.parse(record);
        self.fields.clear();
        let mut start = 0;
        for &end in &self.ends[..count] {
            self.fields.push_field(&self.unquoted[start..end]);
            start = end;
        }
        &self.fields
    }

    /// Writes the fields to `unquoted` and where they end to `ends`; how many.
    fn parse(&mut self, record: &[u8]) -> usize {
        // Unquoting never adds a byte, and each field but the first takes one for its delimiter.
        let room = self.ends.len().max(record.len() + 1);
        self.unquoted.resize(room, 0);
        self.ends.resize(room, 0);
        self.core.reset();
        let (mut read, mut written, mut count) = (0, 0, 0);
        loop {
            let (output, ends) = (&mut self.unquoted[written..], &mut self.ends[count..]);
            let (result, r, w, n) = self.core.read_record(&record[read..], output, ends);
            (read, written, count) = (read + r, written + w, count + n);
            // An empty input tells the parser that the record is over.
            if result != ReadRecordResult::InputEmpty {
                return count;
            }
        }
    }
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}
