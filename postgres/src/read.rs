//! [`Reader`]: rows of a table in the order of its [`Key`], all as of one moment.

use std::pin::Pin;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures_util::StreamExt;
use tokio_postgres::CopyOutStream;
use updraft_dataflow::Error;

use crate::catalog::Described;
use crate::copy::Lines;
use crate::decode::Columns;
use crate::key::{Key, KeyValue};
use crate::name::{list, literal};
use crate::session::{Lost, Session, lost};

/// Bytes of a batch, at most, about.
const BYTES: usize = 4 << 20;

/// Reads rows, and holds the transaction that they are of.
pub(crate) struct Reader {
    table: String,
    stream: Pin<Box<CopyOutStream>>,
    lines: Lines,
    columns: Columns,
    /// How many columns are asked for; those of the key follow.
    width: usize,
    is_unique: bool,
    last: Option<KeyValue>,
    /// The first row of the next batch, and its key.
    next: Option<(Vec<Option<String>>, KeyValue)>,
    has_ended: bool,
    _session: Session,
}

/// What is read.
pub(crate) struct Wanted<'a> {
    pub(crate) table: &'a Described,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) key: &'a Key,
    /// Of these rows only.
    pub(crate) only: Option<&'a str>,
    /// Of those after this one.
    pub(crate) after: Option<&'a KeyValue>,
}

/// Begins a transaction that reads what was there when `snapshot` was exported.
pub(crate) async fn at(session: &Session, snapshot: &str) -> Result<(), Lost> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT";
    let begun = session.client.batch_execute(&format!("{begin} {}", literal(snapshot))).await;
    begun.map_err(|error| lost("reading all rows as of one moment", &error))
}

impl Reader {
    /// Reads within the session's transaction.
    pub(crate) async fn open(session: Session, wanted: &Wanted<'_>) -> Result<Self, Lost> {
        let Wanted { table, schema, key, only, after } = wanted;
        for field in schema.fields() {
            table.column(field.name())?;
        }
        let (exprs, name) = (key.exprs(), table.name.to_string());
        let names = list(schema.fields().iter().map(|field| &**field.name()));
        let comma = if names.is_empty() { "" } else { ", " };
        let conditions: Vec<_> = only.map(str::to_owned).into_iter().chain(after.map(|last| key.after(last))).collect();
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let keys = exprs.join(", ");
        let query = format!("COPY (SELECT {names}{comma}{keys} FROM {name}{filter} ORDER BY {keys}) TO STDOUT");
        let stream = session.client.copy_out(&query).await.map_err(|error| lost(&format!("table {name}"), &error))?;
        Ok(Self {
            table: name,
            stream: Box::pin(stream),
            lines: Lines::default(),
            columns: Columns::new((*schema).clone())?,
            width: schema.fields().len(),
            is_unique: key.is_unique,
            last: None,
            next: None,
            has_ended: false,
            _session: session,
        })
    }

    /// The next rows, `limit` or a few more, and the key of the last one: whoever goes on after it has all that follow. Rows that are equal come
    /// together.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Option<(RecordBatch, KeyValue)>, Lost> {
        if let Some((row, key)) = self.next.take() {
            self.push(&row, key);
        }
        while !self.has_ended {
            while let Some(row) = self.lines.next()? {
                if row.len() < self.width {
                    return Err(Lost::Job(
                        format!("table {}: a row has {} columns only", self.table, row.len()).into(),
                    ));
                }
                let key = row[self.width..].iter().map(|value| value.clone().unwrap_or_default()).collect::<KeyValue>();
                let row = row[..self.width].to_vec();
                let is_full = self.columns.rows() >= limit.max(1) || self.columns.bytes() >= BYTES;
                if is_full && (self.is_unique || self.last.as_ref() != Some(&key)) {
                    self.next = Some((row, key));
                    return Ok(self.finish()?);
                }
                self.push(&row, key);
            }
            match self.stream.next().await {
                Some(bytes) => {
                    let bytes = bytes.map_err(|error| lost(&format!("table {}", self.table), &error))?;
                    self.lines.extend(&bytes);
                }
                None => self.has_ended = true,
            }
        }
        Ok(self.finish()?)
    }

    fn push(&mut self, row: &[Option<String>], key: KeyValue) {
        self.columns.push(row.iter().map(Option::as_deref));
        self.last = Some(key);
    }

    fn finish(&mut self) -> Result<Option<(RecordBatch, KeyValue)>, Error> {
        if self.columns.rows() == 0 {
            return Ok(None);
        }
        let batch = self.columns.finish().map_err(|error| format!("table {}: {error}", self.table))?;
        Ok(self.last.clone().map(|last| (batch, last)))
    }
}
