//! The messages of the plugin `pgoutput`, in version 1 of its protocol, with values as text.
//!
//! ```
//! use updraft_postgres::pgoutput::{Message, parse};
//!
//! let begin = [&b"B"[..], &7_u64.to_be_bytes(), &0_i64.to_be_bytes(), &9_u32.to_be_bytes()].concat();
//! assert_eq!(parse(&begin)?, Message::Begin { commit: 7, time: 0, transaction: 9 });
//! assert!(parse(b"I\0\0\0\x01N").is_err());
//! # Ok::<(), updraft_postgres::pgoutput::Malformed>(())
//! ```

use std::fmt;

/// What is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// The changes of a transaction follow: of one that has been committed.
    Begin {
        /// Where in the log it was committed.
        commit: u64,
        /// When, in microseconds from 2000 on.
        time: i64,
        /// Its number.
        transaction: u32,
    },
    /// That were all of its changes.
    Commit {
        /// Where in the log it was committed.
        commit: u64,
        /// Where the log goes on after that.
        end: u64,
    },
    /// What a table looks like from now on: told before its first change.
    Relation(Relation<'a>),
    /// A new row.
    Insert {
        /// Of which table.
        relation: u32,
        /// What it is.
        new: Vec<Value<'a>>,
    },
    /// A row that has been changed.
    Update {
        /// Of which table.
        relation: u32,
        /// What it was, as far as that is told.
        old: Option<Old<'a>>,
        /// What it is.
        new: Vec<Value<'a>>,
    },
    /// A row that is no more.
    Delete {
        /// Of which table.
        relation: u32,
        /// What it was.
        old: Old<'a>,
    },
    /// Tables that have been emptied.
    Truncate(Vec<u32>),
    /// What is not about rows: types, origins, messages of an application.
    Other(u8),
}

/// A table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relation<'a> {
    /// Its number.
    pub id: u32,
    /// Its schema. Empty for `pg_catalog`.
    pub schema: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What is told of old rows: `d` (their key), `f` (all), `i` (an index), `n` (nothing).
    pub identity: u8,
    /// Its columns.
    pub columns: Vec<Column<'a>>,
}

/// A column of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column<'a> {
    /// Whether it is told of old rows.
    pub is_key: bool,
    /// Its name.
    pub name: &'a str,
    /// The number of its type.
    pub data_type: u32,
    /// The type's modifier.
    pub modifier: i32,
}

/// What a row was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Old<'a> {
    /// Its key; other columns are null.
    Key(Vec<Value<'a>>),
    /// All of it.
    Row(Vec<Value<'a>>),
}

/// A value of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// It is not there.
    Null,
    /// It is large and has not been changed, and so it is not told.
    Unchanged,
    /// As text.
    Text(&'a str),
}

/// Bytes that are no message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no message of pgoutput: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

fn wrong<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}

/// Reads a message.
///
/// # Errors
/// When the bytes are none, or go on after it.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut bytes = Bytes(bytes);
    let message = match bytes.u8()? {
        b'B' => Message::Begin { commit: bytes.u64()?, time: bytes.u64()? as i64, transaction: bytes.u32()? },
        b'C' => {
            bytes.u8()?;
            let (commit, end, _time) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
            Message::Commit { commit, end }
        }
        b'R' => Message::Relation(relation(&mut bytes)?),
        b'I' => {
            let relation = bytes.u32()?;
            bytes.expect(b'N')?;
            Message::Insert { relation, new: values(&mut bytes)? }
        }
        b'U' => {
            let (relation, mut kind, mut old) = (bytes.u32()?, bytes.u8()?, None);
            if kind != b'N' {
                old = Some(read_old(kind, &mut bytes)?);
                kind = bytes.u8()?;
            }
            if kind != b'N' {
                return wrong(format!("an update has a part {kind:#x}"));
            }
            Message::Update { relation, old, new: values(&mut bytes)? }
        }
        b'D' => {
            let (relation, kind) = (bytes.u32()?, bytes.u8()?);
            Message::Delete { relation, old: read_old(kind, &mut bytes)? }
        }
        b'T' => {
            let count = bytes.u32()?;
            bytes.u8()?;
            Message::Truncate((0..count).map(|_| bytes.u32()).collect::<Result<_, _>>()?)
        }
        kind @ (b'Y' | b'O' | b'M') => return Ok(Message::Other(kind)),
        kind => return wrong(format!("there is no kind {kind:#x}")),
    };
    if bytes.0.is_empty() { Ok(message) } else { wrong(format!("{} bytes too many", bytes.0.len())) }
}

fn relation<'a>(bytes: &mut Bytes<'a>) -> Result<Relation<'a>, Malformed> {
    let (id, schema, name, identity) = (bytes.u32()?, bytes.text()?, bytes.text()?, bytes.u8()?);
    let count = bytes.u16()?;
    let column = |_| {
        let (flags, name) = (bytes.u8()?, bytes.text()?);
        Ok(Column { is_key: flags & 1 == 1, name, data_type: bytes.u32()?, modifier: bytes.u32()? as i32 })
    };
    let columns = (0..count).map(column).collect::<Result<_, _>>()?;
    Ok(Relation { id, schema, name, identity, columns })
}

fn read_old<'a>(kind: u8, bytes: &mut Bytes<'a>) -> Result<Old<'a>, Malformed> {
    match kind {
        b'K' => Ok(Old::Key(values(bytes)?)),
        b'O' => Ok(Old::Row(values(bytes)?)),
        other => wrong(format!("an old row is of kind {other:#x}")),
    }
}

fn values<'a>(bytes: &mut Bytes<'a>) -> Result<Vec<Value<'a>>, Malformed> {
    let count = bytes.u16()?;
    let value = |_| match bytes.u8()? {
        b'n' => Ok(Value::Null),
        b'u' => Ok(Value::Unchanged),
        b't' => {
            let len = bytes.u32()? as usize;
            match std::str::from_utf8(bytes.take(len)?) {
                Ok(text) => Ok(Value::Text(text)),
                Err(error) => wrong(format!("a text is not UTF-8: {error}")),
            }
        }
        other => wrong(format!("a value is of kind {other:#x}")),
    };
    (0..count).map(value).collect()
}

/// What has not been read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.0.split_at_checked(len) else {
            return wrong(format!("{len} bytes are missing, and {} are left", self.0.len()));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    fn expect(&mut self, kind: u8) -> Result<(), Malformed> {
        let found = self.u8()?;
        if found == kind { Ok(()) } else { wrong(format!("a part {found:#x} where {kind:#x} is to be")) }
    }

    /// Up to a zero byte.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        let Some(end) = self.0.iter().position(|byte| *byte == 0) else { return wrong("a name without an end") };
        let name = std::str::from_utf8(self.take(end)?).map_err(|error| Malformed(format!("a name: {error}")))?;
        self.u8()?;
        Ok(name)
    }
}
