//! [`TableSource`]: all rows that a table has, as of one moment.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use updraft_dataflow::{Batch, Error, Partition, Place, Rows, Source};

use crate::catalog::Described;
use crate::key::{Key, KeyValue};
use crate::name::{TableName, quoted};
use crate::read::{Reader, Wanted, at};
use crate::server::Server;
use crate::session::{Lost, Session, lost};

/// Reads the rows of a table, and ends. All of them, of all partitions, are as of one moment.
///
/// Rows come in the order of the primary key (of all columns, where there is none), so that a job that is killed goes on after the
/// last one that counts: then the rest is as of the moment at which it goes on.
#[derive(Clone, Debug)]
pub struct TableSource {
    server: Server,
    table: TableName,
    schema: SchemaRef,
    only: Vec<String>,
}

impl TableSource {
    /// Reads these columns of a table.
    pub fn new(server: Server, table: TableName, schema: SchemaRef) -> Self {
        Self { server, table, schema, only: Vec::new() }
    }

    /// Reads it in `parts` at the same time, cut by a column of whole numbers: evenly from `least` to `most`. Rows beyond those are in the first and in
    /// the last part.
    #[must_use]
    pub fn cut(mut self, column: &str, parts: u32, least: i64, most: i64) -> Self {
        let (parts, column) = (i128::from(parts.max(1)), quoted(column));
        let (least, span) = (i128::from(least), (i128::from(most) - i128::from(least)).max(0) + 1);
        let bound = |part: i128| least + span * part / parts;
        let only = |part: i128| match (part == 0, part + 1 == parts) {
            (true, true) => "true".to_owned(),
            (true, false) => format!("({column} < {} OR {column} IS NULL)", bound(1)),
            (false, true) => format!("{column} >= {}", bound(part)),
            (false, false) => format!("({column} >= {} AND {column} < {})", bound(part), bound(part + 1)),
        };
        self.only = (0..parts).map(only).collect();
        self
    }
}

impl Source for TableSource {
    type Item = Rows;
    type Partition = TablePartition;

    fn open(self) -> Result<Vec<TablePartition>, Error> {
        let only: Vec<_> =
            if self.only.is_empty() { vec![None] } else { self.only.iter().cloned().map(Some).collect() };
        let (source, moment) = (Arc::new(self), Arc::new(OnceCell::new()));
        let partition = |only| TablePartition {
            source: source.clone(),
            only,
            moment: Some(moment.clone()),
            reader: None,
            stood: Stood::default(),
        };
        Ok(only.into_iter().map(partition).collect())
    }
}

/// A moment that several transactions see: held by the first one until all have begun.
struct Moment {
    snapshot: String,
    _session: Session,
}

/// A part of a table that is read.
pub struct TablePartition {
    source: Arc<TableSource>,
    only: Option<String>,
    moment: Option<Arc<OnceCell<Moment>>>,
    reader: Option<Reader>,
    stood: Stood,
}

/// Where it stands.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Stood {
    /// After the row with this key.
    after: Option<KeyValue>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
}

async fn moment(server: &Server) -> Result<Moment, Lost> {
    let session = Session::open(server, "updraft").await?;
    let export = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let wrong = |error| lost("reading all rows as of one moment", &error);
    session.client.batch_execute(export).await.map_err(wrong)?;
    let row = session.client.query_one("SELECT pg_export_snapshot()", &[]).await.map_err(wrong)?;
    Ok(Moment { snapshot: row.get(0), _session: session })
}

impl TablePartition {
    async fn open(&self) -> Result<Reader, Lost> {
        let TableSource { server, table, schema, .. } = &*self.source;
        let session = Session::open(server, "updraft").await?;
        if let Some(shared) = &self.moment {
            let moment = shared.get_or_try_init(|| moment(server)).await?;
            at(&session, &moment.snapshot).await?;
        }
        let described = Described::of(&session.client, table).await?;
        let key = Key::of(&described);
        let (only, after) = (self.only.as_deref(), self.stood.after.as_ref());
        Reader::open(session, &Wanted { table: &described, schema, key: &key, only, after }).await
    }
}

impl Partition for TablePartition {
    type Item = Rows;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Rows>>, Error> {
        if self.stood.ended {
            return Ok(None);
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let opened = self.open().await?;
                self.moment = None;
                self.reader.insert(opened)
            }
        };
        let Some((batch, last)) = reader.next(limit).await? else {
            (self.reader, self.stood.ended) = (None, true);
            return Ok(None);
        };
        self.stood.after = Some(last);
        Ok(Some(vec![Rows::from(batch)].into()))
    }

    fn position(&self) -> String {
        let after = self.stood.after.as_ref().map_or_else(|| "the beginning".to_owned(), |key| key.join(", "));
        format!("{}:{after}", self.source.table)
    }

    fn place(&self) -> Option<Place> {
        serde_json::to_value(&self.stood).ok()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.stood = serde_json::from_value(place).map_err(|error| format!("that is no place in a table: {error}"))?;
        Ok(())
    }
}
