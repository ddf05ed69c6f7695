//! [`TableSink`]: rows into a table.
//!
//! Rows are gathered, and written together: `COPY` brings them into a table of the session, and one statement from there to where they go, so
//! that what they become is the server's own business, whatever a column's type is. All of it is one transaction, which is repeated when
//! the connection is lost.
//!
//! With a primary key that is the end of it: of several changes of a key the last one counts, and written again they make no difference. For
//! *exactly once* rows go to a table of their own first, the *stage* (`stage.rs`), and from there into the table when their checkpoint is
//! stored. Why not `PREPARE TRANSACTION`: that must be allowed by the server's settings (it is not by default), it does not go through
//! connection poolers, and what is prepared holds its locks, and keeps the server from cleaning up, until somebody comes back; a stage harms
//! nobody, and costs that rows are written twice.
//!
//! In a job that takes checkpoints each transaction makes sure first that no other process has taken over (`fence.rs`).

mod blame;
mod fence;
mod link;
mod plan;
mod stage;

use std::fmt;
use std::time::Duration;

use arrow_schema::SchemaRef;
use updraft_dataflow::{Bundle, Error, Prepared, Punctuation, RowKind, Rows, Sink};
use updraft_kernel::clock::{self, Nanos};

use crate::name::TableName;
use crate::server::Server;
use fence::Fence;
use link::Link;
use stage::{Staged, Staging};

/// Bytes that are gathered, at most, about.
const BYTES: usize = 16 << 20;

/// Writes rows to a table that is there.
///
/// With [a primary key](Self::primary_key) it takes updates and deletions, and a row is there once because it has one key. Without, it takes
/// insertions, and in jobs that take checkpoints each row is there exactly once: it appears when its checkpoint is stored. See the module's page.
pub struct TableSink {
    server: Server,
    settings: Settings,
    link: Option<Link>,
    buffer: Buffer,
    fence: Option<Fence>,
    staging: Option<Staging>,
}

/// How it writes.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) table: TableName,
    pub(crate) schema: SchemaRef,
    pub(crate) key: Vec<usize>,
    /// Rows that are gathered, at most.
    pub(crate) rows: usize,
    /// How long they are, at most.
    pub(crate) interval: Duration,
    pub(crate) retries: u32,
    /// Whether rows appear with their checkpoints; by default if there is no key.
    pub(crate) exactly_once: Option<bool>,
    /// What has been committed: in the table's schema, unless it says another.
    pub(crate) commits: TableName,
}

/// What has been gathered.
#[derive(Default)]
pub(crate) struct Buffer {
    pub(crate) rows: Vec<Rows>,
    count: usize,
    bytes: usize,
    since: Option<Nanos>,
}

impl Buffer {
    fn push(&mut self, rows: &Rows) {
        self.since.get_or_insert_with(clock::now);
        self.count += rows.len();
        self.bytes += rows.bytes();
        self.rows.push(rows.clone());
    }

    /// Whether some of them are not insertions.
    pub(crate) fn has_deletions(&self) -> bool {
        self.rows.iter().filter_map(Rows::kinds).flatten().any(|kind| !kind.is_addition())
    }
}

impl TableSink {
    /// Into a table, of which these are columns.
    pub fn new(server: Server, table: TableName, schema: SchemaRef) -> Self {
        let settings = Settings {
            table,
            schema,
            key: Vec::new(),
            rows: 10_000,
            interval: Duration::from_secs(1),
            retries: 3,
            exactly_once: None,
            commits: TableName { schema: None, name: "updraft_commits".to_owned() },
        };
        Self { server, settings, link: None, buffer: Buffer::default(), fence: None, staging: None }
    }

    /// Rows are overwritten and deleted by these columns, by their numbers. The table must have a unique index of just these.
    #[must_use]
    pub fn primary_key(mut self, columns: Vec<usize>) -> Self {
        self.settings.key = columns;
        self
    }

    /// How many rows are written together, at most; 10,000 by default.
    #[must_use]
    pub fn rows(mut self, rows: usize) -> Self {
        self.settings.rows = rows.max(1);
        self
    }

    /// How long rows are gathered, at most; a second by default.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.settings.interval = interval;
        self
    }

    /// How often a transaction is tried again when the connection is lost; 3 times by default.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// Whether rows appear when their checkpoint is stored, all of them at once. If they do not, they are there early, and without
    /// a primary key perhaps twice. By default they do where there is no key.
    #[must_use]
    pub fn exactly_once(mut self, yes: bool) -> Self {
        self.settings.exactly_once = Some(yes);
        self
    }

    /// The table in which is noted what has been committed: `updraft_commits` in the table's schema by default. It is made if it is not there.
    #[must_use]
    pub fn commits(mut self, table: TableName) -> Self {
        self.settings.commits = table;
        self
    }

    async fn link(&mut self) -> Result<&mut Link, Error> {
        if self.link.is_none() {
            self.link = Some(Link::open(&self.server, &self.settings, "updraft").await?);
        }
        self.link.as_mut().ok_or_else(|| "there is no connection".into())
    }

    /// Writes what has been gathered.
    async fn flush(&mut self) -> Result<(), Error> {
        if self.buffer.count == 0 {
            return Ok(());
        }
        self.link().await?;
        let Some(link) = &mut self.link else { return Ok(()) };
        match &mut self.staging {
            Some(staging) => staging.add(link, self.fence.as_ref(), &self.buffer).await?,
            None => link.write(self.fence.as_ref(), &self.buffer, None).await?,
        }
        self.buffer = Buffer::default();
        Ok(())
    }
}

impl Sink<Rows> for TableSink {
    async fn write(&mut self, bundle: Bundle<Rows>) -> Result<(), Error> {
        for rows in bundle.as_slice().iter().filter(|rows| !rows.is_empty()) {
            let is_insertion = |kinds: &[RowKind]| kinds.iter().all(|kind| *kind == RowKind::Insert);
            if self.settings.key.is_empty() && !rows.kinds().is_none_or(is_insertion) {
                let table = &self.settings.table;
                return Err(format!("table {table}: a row was changed or deleted, and there is no primary key").into());
            }
            self.buffer.push(rows);
            if self.buffer.count >= self.settings.rows || self.buffer.bytes >= BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn complete(&mut self, _: Punctuation) -> Result<(), Error> {
        let is_due = |since: Nanos| clock::now().since(since) >= self.settings.interval;
        // What is staged is not seen, however early it is.
        if self.staging.is_none() && self.buffer.since.is_some_and(is_due) { self.flush().await } else { Ok(()) }
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        let prepared = prepared.into_iter().filter(|prepared| !prepared.is_null()).map(serde_json::from_value);
        let prepared = prepared.collect::<Result<Vec<Staged>, _>>()?;
        let id = prepared.first().map_or_else(stage::draw, |staged| staged.sink.clone());
        let mut link = Link::open(&self.server, &self.settings, &format!("updraft {id}")).await?;
        let fence = Fence::raise(&mut link, &self.settings, id, attempt).await?;
        for staged in &prepared {
            staged.commit(&mut link, &fence).await?;
        }
        stage::sweep(&mut link, &fence).await?;
        let is_staged = self.settings.exactly_once.unwrap_or(self.settings.key.is_empty());
        self.staging = is_staged.then(Staging::default);
        (self.link, self.fence) = (Some(link), Some(fence));
        Ok(())
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        self.flush().await?;
        let Some(fence) = &self.fence else { return Ok(Prepared::Null) };
        let staged = match &mut self.staging {
            Some(staging) => staging.end(fence),
            None => Staged::nothing(fence),
        };
        Ok(serde_json::to_value(staged)?)
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        let staged: Staged = serde_json::from_value(prepared)?;
        let (Some(link), Some(fence)) = (&mut self.link, &self.fence) else { return Ok(()) };
        staged.commit(link, fence).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.flush().await
    }

    fn abort(&mut self) {
        if let (Some(link), Some(fence), Some(staging)) = (&self.link, &self.fence, self.staging.take()) {
            staging.discard(link, fence);
        }
    }
}

impl fmt::Debug for TableSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, table) = (self.server.to_string(), self.settings.table.to_string());
        f.debug_struct("TableSink").field("at", &at).field("table", &table).finish_non_exhaustive()
    }
}
