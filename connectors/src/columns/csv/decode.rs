//! One record of CSV: split into fields, each read as its column's type.

use std::ops::Range;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_dataflow::Error;

use super::{Csv, Header};
use crate::columns::cells::{Cells, Columns, Shape};
use crate::columns::records::{Record, Text, quoted, utf8};
use crate::columns::types::sql_name;
use crate::format::Framing;

/// Decodes the records of one stream.
#[derive(Clone)]
pub(crate) struct Decoder {
    csv: Csv,
    names: Vec<String>,
    /// The columns that are read, and the field of each.
    wanted: Vec<usize>,
    places: Vec<usize>,
    order: Order,
    fields: Fields,
    /// Whether no record has come.
    fresh: bool,
}

/// Which fields records have.
#[derive(Clone, Serialize, Deserialize)]
struct Order {
    /// The field of each column of the table; they are in order where there is no header that says otherwise.
    places: Option<Vec<usize>>,
    /// How many fields a record has.
    width: usize,
}

impl Decoder {
    pub(crate) fn new(csv: Csv, schema: &SchemaRef, wanted: &[usize]) -> Self {
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let order = Order { places: None, width: names.len() };
        let (wanted, places) = (wanted.to_vec(), wanted.to_vec());
        Self { csv, names, wanted, places, order, fields: Fields::default(), fresh: true }
    }

    /// Whether the first record is a header. One that names all columns says where they are.
    fn header(&mut self, record: &str) -> bool {
        let fields: Vec<&str> = (0..self.fields.len()).map(|field| self.fields.get(record, field).trim()).collect();
        let place = |name: &String| {
            let exact = fields.iter().position(|field| field == name);
            exact.or_else(|| fields.iter().position(|field| field.eq_ignore_ascii_case(name)))
        };
        let places: Option<Vec<usize>> = self.names.iter().map(place).collect();
        match (self.csv.header, places) {
            (Header::No, _) | (Header::Auto, None) => return false,
            (_, Some(places)) => {
                let width = fields.len();
                self.order(Order { places: Some(places), width });
            }
            (Header::Yes, None) => {}
        }
        true
    }

    fn order(&mut self, order: Order) {
        if let Some(places) = &order.places {
            self.places = self.wanted.iter().map(|column| places[*column]).collect();
        }
        self.order = order;
    }

    /// Looks for a header in the beginning of a stream, and goes on somewhere after it.
    pub(crate) fn pass_header(&mut self, head: &[u8], mut columns: Columns) {
        let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
        for line in head.split(|byte| *byte == b'\n') {
            if !self.fresh {
                return;
            }
            // What is wrong with it is told where it is read.
            let _ = self.decode(line.strip_suffix(b"\r").unwrap_or(line), &mut columns);
        }
        self.fresh = false;
    }

    fn row(&self, record: &str, columns: &mut Columns) -> Result<(), String> {
        let mut fault = None;
        for (cells, field) in columns.cells.iter_mut().zip(&self.places) {
            let text = self.fields.get(record, *field);
            if !self.value(text, cells) && fault.is_none() && !self.lenient(cells) {
                fault = Some(wrong(cells, text));
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// Whether a value that cannot be read is NULL.
    fn lenient(&self, cells: &Cells) -> bool {
        self.csv.ignore_errors && cells.field().is_nullable()
    }

    fn value(&self, text: &str, cells: &mut Cells) -> bool {
        if self.is_null(text, cells) {
            return cells.push_null();
        }
        match &mut cells.shape {
            Shape::Leaf(_) => cells.push(text),
            Shape::List(list) => {
                let valid = text.is_empty() || self.elements(text).all(|text| self.value(text, &mut list.item));
                list.end(true);
                valid
            }
            Shape::Row(row) => {
                let mut elements = self.elements(text);
                let valid =
                    row.cells.iter_mut().all(|cells| elements.next().is_some_and(|text| self.value(text, cells)));
                row.end(true);
                valid && elements.next().is_none()
            }
            Shape::Map(_) => cells.push(text),
        }
    }

    fn is_null(&self, text: &str, cells: &Cells) -> bool {
        match &self.csv.null {
            Some(null) if null == text => true,
            Some(_) => text.is_empty() && matches!(&cells.shape, Shape::Leaf(_)) && !cells.takes_empty(),
            None => text.is_empty() && !cells.takes_empty(),
        }
    }

    fn elements<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(self.csv.element_delimiter.as_str())
    }
}

/// What is wrong with the value of a field.
fn wrong(cells: &Cells, text: &str) -> String {
    let (name, kind) = (cells.field().name(), sql_name(cells.field().data_type()));
    match text {
        "" if !cells.field().is_nullable() => format!("field `{name}` is empty, and the column is NOT NULL"),
        _ => format!("field `{name}`: {} is not a {kind}", quoted(text)),
    }
}

impl Text for Decoder {
    fn framing(&self) -> Framing {
        self.csv.framing()
    }

    fn decode(&mut self, record: &[u8], columns: &mut Columns) -> Result<Record, String> {
        // A line with nothing but blanks is none, unless it is a value.
        if record.is_empty() || self.order.width > 1 && record.trim_ascii().is_empty() {
            return Ok(Record::Nothing);
        }
        if self.csv.comments && record.starts_with(b"#") {
            return Ok(Record::Nothing);
        }
        let decoded = self.record(record, columns);
        if decoded.is_err() && self.csv.ignore_errors { Ok(Record::Ignored) } else { decoded }
    }

    fn ignores(&self) -> bool {
        self.csv.ignore_errors
    }

    /// After the first record, which may be a header.
    fn is_settled(&self) -> bool {
        !self.fresh
    }

    fn learnt(&self) -> Value {
        if self.fresh { Value::Null } else { json!(self.order) }
    }

    fn go_on(&mut self, learnt: Value) -> Result<(), Error> {
        if let Some(order) = serde_json::from_value::<Option<Order>>(learnt)? {
            if order.places.as_ref().is_some_and(|places| places.len() != self.names.len()) {
                return Err(
                    "the table had other columns when the checkpoint was taken: give it those, or start anew".into()
                );
            }
            self.fresh = false;
            self.order(order);
        }
        Ok(())
    }
}

impl Decoder {
    fn record(&mut self, record: &[u8], columns: &mut Columns) -> Result<Record, String> {
        let record = utf8(record)?;
        self.fields.split(record, &self.csv);
        if std::mem::take(&mut self.fresh) && self.header(record) {
            return Ok(Record::Nothing);
        }
        let width = self.order.width;
        if self.fields.len() != width {
            let (found, names) = (self.fields.len(), self.names.join(", "));
            return Err(format!("{found} fields, where there should be {width}: {names}"));
        }
        self.row(record, columns).map(|()| Record::Row)
    }
}

/// The fields of a record.
#[derive(Clone, Default)]
pub(crate) struct Fields {
    /// The record without the marks that are not data, if it has any.
    text: String,
    ranges: Vec<Range<usize>>,
    /// Whether the fields are in `text`.
    is_marked: bool,
}

impl Fields {
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// A field of the `record` that was split.
    #[inline]
    pub(crate) fn get<'a>(&'a self, record: &'a str, field: usize) -> &'a str {
        let text = if self.is_marked { &self.text } else { record };
        &text[self.ranges[field].clone()]
    }

    pub(crate) fn split(&mut self, record: &str, csv: &Csv) {
        self.ranges.clear();
        let marked = |mark: Option<u8>| mark.is_some_and(|mark| memchr::memchr(mark, record.as_bytes()).is_some());
        self.is_marked = marked(csv.quote) || marked(csv.escape);
        if self.is_marked {
            self.text.clear();
            self.unquote(record, csv);
        } else {
            self.plain(record, csv.delimiter);
        }
    }

    /// There are neither quotes nor escapes.
    fn plain(&mut self, record: &str, delimiter: u8) {
        let mut start = 0;
        each_place(delimiter, record.as_bytes(), |end| {
            self.ranges.push(start..end);
            start = end + 1;
        });
        self.ranges.push(start..record.len());
    }

    fn unquote(&mut self, record: &str, csv: &Csv) {
        let mut rest = record;
        loop {
            let start = self.text.len();
            let after = self.field(rest, csv);
            self.ranges.push(start..self.text.len());
            match after {
                Some(after) => rest = after,
                None => return,
            }
        }
    }

    /// Takes one field; what is after the delimiter that ends it. Marks are ASCII, so all cuts are between characters.
    fn field<'a>(&mut self, text: &'a str, csv: &Csv) -> Option<&'a str> {
        let (mut at, mut copied) = (0, 0);
        let bytes = text.as_bytes();
        let mut quoted = csv.quote.is_some() && bytes.first().copied() == csv.quote;
        if quoted {
            (at, copied) = (1, 1);
        }
        while at < bytes.len() {
            let byte = bytes[at];
            if Some(byte) == csv.escape && Some(byte) != csv.quote && at + 1 < bytes.len() {
                self.text.push_str(&text[copied..at]);
                // What follows is data, whatever it is: it is copied with what comes after it.
                (copied, at) = (at + 1, at + 2);
                continue;
            }
            if quoted && Some(byte) == csv.quote {
                self.text.push_str(&text[copied..at]);
                quoted = bytes.get(at + 1).copied() == csv.quote;
                // Of two quotes the second is data; one alone ends what is quoted.
                copied = at + 1;
                at += 1 + usize::from(quoted);
                continue;
            }
            if !quoted && byte == csv.delimiter {
                self.text.push_str(&text[copied..at]);
                return Some(&text[at + 1..]);
            }
            at += 1;
        }
        self.text.push_str(&text[copied..]);
        None
    }
}

/// Tells where a byte is, from left to right. Fields are short: eight bytes at a time are quicker than a search for each.
#[inline]
fn each_place(byte: u8, bytes: &[u8], mut each: impl FnMut(usize)) {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const LOW_BITS: u64 = ONES * 0x7F;
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let differs = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
        // The high bit of each byte that is nought; none carries over into the next.
        let mut found = !(((differs & LOW_BITS) + LOW_BITS) | differs | LOW_BITS);
        while found != 0 {
            each(place * 8 + found.trailing_zeros() as usize / 8);
            found &= found - 1;
        }
    }
    let begin = bytes.len() - rest.len();
    rest.iter().enumerate().filter(|(_, other)| **other == byte).for_each(|(place, _)| each(begin + place));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        let mut state = 1_u64;
        for length in 0..200 {
            // Few different bytes, and their neighbours.
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    [b',', b'-', b'+', 0, 0xAC, 0xFF][(state >> 33) as usize % 6]
                })
                .collect();
            for byte in [b',', 0, 0xFF, b'x'] {
                let mut found = Vec::new();
                each_place(byte, &bytes, |place| found.push(place));
                assert_eq!(found, memchr::memchr_iter(byte, &bytes).collect::<Vec<_>>());
            }
        }
    }
}
