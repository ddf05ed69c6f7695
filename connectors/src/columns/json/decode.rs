//! One line of JSON: an object whose members are read as the columns of their names.

use std::collections::HashMap;

use super::Json;
use super::cursor::{Cursor, Token};
use crate::columns::cells::{Cells, Columns, Shape};
use crate::columns::records::{Record, Text, quoted, utf8};
use crate::columns::types::sql_name;
use crate::format::Framing;

/// Decodes the records of one stream.
#[derive(Clone)]
pub(crate) struct Decoder {
    json: Json,
    names: Names,
}

impl Decoder {
    pub(crate) fn new<'a>(json: Json, names: impl Iterator<Item = &'a str>) -> Self {
        Self { json, names: Names::new(names) }
    }
}

impl Text for Decoder {
    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn decode(&mut self, record: &[u8], columns: &mut Columns) -> Result<Record, String> {
        if record.trim_ascii().is_empty() {
            return Ok(Record::Nothing);
        }
        match self.object(record, columns) {
            Ok(()) => Ok(Record::Row),
            Err(_) if self.json.ignore_errors => Ok(Record::Ignored),
            Err(reason) => Err(reason),
        }
    }

    fn ignores(&self) -> bool {
        self.json.ignore_errors
    }
}

impl Decoder {
    fn object(&mut self, record: &[u8], columns: &mut Columns) -> Result<(), String> {
        let mut cursor = Cursor::new(utf8(record)?);
        if cursor.token()? != Token::Object {
            return cursor.fault("an object: {\"column\": value, …}");
        }
        let mut values = Values { ignore_errors: self.json.ignore_errors, fault: None };
        let row = columns.row();
        self.names.next = 0;
        values.members(&mut cursor, 0, row, &mut columns.cells, Some(&mut self.names))?;
        if cursor.peek().is_some() {
            return cursor.fault("nothing after the object");
        }
        values.fault.map_or(Ok(()), Err)?;
        columns.cells.iter_mut().try_for_each(|cells| self.missing(cells, row))
    }

    fn missing(&self, cells: &mut Cells, row: usize) -> Result<(), String> {
        if cells.len() > row {
            return Ok(());
        }
        let nullable = cells.push_null();
        let name = cells.field().name();
        match nullable {
            false => Err(format!("field `{name}` is missing, and the column is NOT NULL")),
            true if self.json.fail_on_missing => Err(format!("field `{name}` is missing")),
            true => Ok(()),
        }
    }
}

/// The columns by name. Most often an object has the members of the one before it, in the same order: then their names are known
/// by their bytes, and need not be read.
#[derive(Clone)]
struct Names {
    columns: HashMap<String, usize>,
    /// Names with their colons, as they stood in objects before, and the columns of those that are wanted.
    seen: Vec<(String, Option<usize>)>,
    next: usize,
}

/// More names, and longer ones, are not remembered.
const SEEN: usize = 256;

impl Names {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let columns = names.enumerate().map(|(index, name)| (name.to_owned(), index)).collect();
        Self { columns, seen: Vec::new(), next: 0 }
    }

    /// Passes a name and its colon: the column that is called so.
    #[inline]
    fn find(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<usize>, String> {
        let place = self.next;
        self.next += 1;
        match self.seen.get(place) {
            Some((name, column)) if cursor.pass(name) => Ok(*column),
            _ => self.read(cursor, place),
        }
    }

    fn read(&mut self, cursor: &mut Cursor<'_>, place: usize) -> Result<Option<usize>, String> {
        cursor.peek();
        let start = cursor.at();
        let name = cursor.name()?;
        let column = self.columns.get(name.as_ref()).copied();
        let written = cursor.since(start);
        if place < SEEN && written.len() < SEEN {
            self.seen.resize_with(self.seen.len().max(place + 1), Default::default);
            let seen = &mut self.seen[place];
            seen.0.clear();
            seen.0.push_str(written);
            seen.1 = column;
        }
        Ok(column)
    }
}

/// Reads values as columns want them.
struct Values {
    ignore_errors: bool,
    /// The first value that was not what its column holds; grammar errors end reading at once instead.
    fault: Option<String>,
}

impl Values {
    /// Reads an object's members into `cells`, of which each has `row` values.
    fn members(
        &mut self,
        cursor: &mut Cursor<'_>,
        depth: usize,
        row: usize,
        cells: &mut [Cells],
        mut names: Option<&mut Names>,
    ) -> Result<(), String> {
        cursor.members(depth, |cursor, depth| {
            let found = match &mut names {
                Some(names) => names.find(cursor)?,
                None => {
                    let name = cursor.name()?;
                    cells.iter().position(|cells| cells.field().name() == name.as_ref())
                }
            };
            match found {
                None => cursor.skip(depth),
                Some(index) if cells[index].len() > row => {
                    Err(format!("field `{}` is there twice", cells[index].field().name()))
                }
                Some(index) => self.value(cursor, depth, &mut cells[index]),
            }
        })
    }

    /// Reads a value as one of `cells`.
    #[inline]
    fn value(&mut self, cursor: &mut Cursor<'_>, depth: usize, cells: &mut Cells) -> Result<(), String> {
        let start = {
            cursor.peek();
            cursor.at()
        };
        let valid = match (cursor.token()?, &mut cells.shape) {
            (Token::Null, _) => {
                cursor.word("null")?;
                cells.push_null()
            }
            (Token::String, _) => cells.push(&cursor.string()?),
            (Token::Number, _) => number(cursor.number()?, cells),
            (Token::Array, Shape::List(list)) => {
                cursor.items(depth, |cursor, depth| self.value(cursor, depth, &mut list.item))?;
                list.end(true);
                true
            }
            (Token::Object, Shape::Row(row)) => {
                self.members(cursor, depth, row.len(), &mut row.cells, None)?;
                let complete = row.cells.iter().all(|cells| cells.len() > row.len() || cells.field().is_nullable());
                row.end(true);
                complete
            }
            (Token::Object, Shape::Map(map)) => {
                let [keys, values] = &mut map.pairs.cells[..] else { return cursor.fault("a map of pairs") };
                let mut valid = true;
                cursor.members(depth, |cursor, depth| {
                    valid &= keys.push(&cursor.name()?);
                    self.value(cursor, depth, values)
                })?;
                map.end(true);
                valid
            }
            (token, _) => {
                cursor.skip(depth)?;
                // Text takes what stands there, whatever it is.
                let text = if token == Token::True || token == Token::False || cells.is_text() {
                    cursor.since(start)
                } else {
                    ""
                };
                if text.is_empty() { cells.refuse() } else { cells.push(text) }
            }
        };
        if !valid {
            self.wrong(cells, cursor.since(start));
        }
        Ok(())
    }

    /// A value is not what its column holds.
    #[cold]
    fn wrong(&mut self, cells: &Cells, found: &str) {
        let field = cells.field();
        if self.fault.is_some() || self.ignore_errors && field.is_nullable() {
            return;
        }
        let (name, kind) = (field.name(), sql_name(field.data_type()));
        self.fault = Some(match found {
            "null" => format!("field `{name}` is null, and the column is NOT NULL"),
            _ if found.starts_with('"') => {
                format!("field `{name}`: {} is not a {kind}", quoted(found.trim_matches('"')))
            }
            _ => format!("field `{name}`: {} is not a {kind}", short(found)),
        });
    }
}

/// A number; one without a fraction is a whole one, however it is written.
#[inline]
fn number(text: &str, cells: &mut Cells) -> bool {
    let whole = || {
        let value: f64 = text.parse().ok()?;
        (value.fract() == 0.0 && value.abs() < 9e15).then(|| format!("{value:.0}"))
    };
    let Shape::Leaf(leaf) = &mut cells.shape else { return cells.refuse() };
    leaf.push(text) || cells.push(&whole().unwrap_or_default())
}

fn short(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
