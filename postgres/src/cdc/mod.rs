//! [`ChangeSource`]: what a table has, and then what becomes of it.
//!
//! # How it goes on
//! A replication slot keeps the server's log from the place on that the newest checkpoint stands at. Its changes come as transactions, in the order
//! in which they were committed; the source's place is the end of the last one, and how many changes of the next have been given.
//!
//! What the table has is read as of a moment that a temporary slot tells: it exports a snapshot, together with the place in the log at
//! which it was taken. Rows are read in the order of their key (`key.rs`), and the source's place is the last one. Who goes on from there reads the
//! rows after it as of another moment. So the table falls into parts by key, each read as of a place in the log of its own, and a change from
//! before that place is passed over: the part has it already ([`Parts`]). That is exact, and it is the same for a first snapshot as for one that was interrupted.

mod parts;
mod rows;
mod setup;
mod streaming;

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use updraft_dataflow::connector::Column;
use updraft_dataflow::{Batch, Bundle, Error, Partition, Place, Rows, Source};
use updraft_kernel::clock;

use crate::catalog::Described;
use crate::key::Key;
use crate::name::TableName;
use crate::read::Reader;
use crate::replication::Lsn;
use crate::server::Server;
use crate::session::{Lost, Session};
pub(crate) use rows::{METADATA, metadata_type};

use parts::Parts;
use streaming::Streaming;

/// What is read first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Startup {
    /// What the table has, then changes.
    #[default]
    Initial,
    /// What the table has, and no more.
    Snapshot,
    /// Changes from now on.
    Latest,
    /// Changes from where the slot stands, which must be there.
    Committed,
}

/// How often it is tried to go on when a connection is lost, by default.
const RETRIES: u32 = 10;
/// How long is waited before the first time, and at most.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Reads a table, and follows it by logical replication. See the module's page.
///
/// The server must have `wal_level = logical`, the table `REPLICA IDENTITY FULL`, so that old rows are told. A publication and a slot are
/// made if they are not there; the slot stays, and keeps the server's log, until somebody drops it.
#[derive(Clone, Debug)]
pub struct ChangeSource(Arc<Settings>);

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) table: TableName,
    /// What is given, and where it comes from: a column of the table, or what is known beside it.
    pub(crate) schema: SchemaRef,
    pub(crate) columns: Vec<Column>,
    /// The names of the table's columns, which [`Column::Physical`] counts.
    pub(crate) names: Vec<String>,
    pub(crate) slot: String,
    pub(crate) publication: String,
    pub(crate) startup: Startup,
    pub(crate) retries: u32,
    /// Whether the table may be emptied by `TRUNCATE`, which is not told row by row.
    pub(crate) ignores_truncate: bool,
}

impl ChangeSource {
    /// Reads these columns of a table, through a slot and a publication of that name.
    pub fn new(server: Server, table: TableName, schema: SchemaRef, slot: &str) -> Self {
        let columns = (0..schema.fields().len()).map(Column::Physical).collect();
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        let (slot, publication) = (slot.to_owned(), slot.to_owned());
        let (startup, retries, ignores_truncate) = (Startup::default(), RETRIES, false);
        Self::of(Settings {
            server,
            table,
            schema,
            columns,
            names,
            slot,
            publication,
            startup,
            retries,
            ignores_truncate,
        })
    }

    pub(crate) fn of(settings: Settings) -> Self {
        Self(Arc::new(settings))
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Arc::unwrap_or_clone(self.0);
        change(&mut settings);
        Self::of(settings)
    }

    /// What is read first.
    #[must_use]
    pub fn startup(self, startup: Startup) -> Self {
        self.with(|settings| settings.startup = startup)
    }

    /// The publication; by default it is called as the slot.
    #[must_use]
    pub fn publication(self, name: &str) -> Self {
        self.with(|settings| name.clone_into(&mut settings.publication))
    }

    /// How often it is tried to go on, one after the other, when the connection is lost; 10 times by default, in about half a minute.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        self.with(|settings| settings.retries = retries)
    }

    /// Goes on when the table is emptied by `TRUNCATE`, although its rows are not told. By default the job ends with an error.
    #[must_use]
    pub fn ignore_truncate(self) -> Self {
        self.with(|settings| settings.ignores_truncate = true)
    }
}

impl Source for ChangeSource {
    type Item = Rows;
    type Partition = ChangePartition;

    fn open(self) -> Result<Vec<ChangePartition>, Error> {
        let (settings, stood, safe) = (self.0, None, Lsn::default());
        Ok(vec![ChangePartition { settings, stood, safe, lock: None, had_lock: false, state: State::Closed }])
    }
}

/// A table that is read, and followed.
pub struct ChangePartition {
    settings: Arc<Settings>,
    /// Where it stands; not before the server was asked.
    stood: Option<Stood>,
    /// What is before this is not asked for again.
    safe: Lsn,
    /// Holds the slot's lock: who has it may read the slot.
    lock: Option<Session>,
    /// Whether this process has had it before.
    had_lock: bool,
    state: State,
}

enum State {
    /// There is no connection.
    Closed,
    /// The table is read as of this place.
    Reading(Box<Reader>, Lsn),
    Streaming(Box<Streaming>),
    Ended,
}

/// Where it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stood {
    /// All transactions that were committed before this have been given.
    pub(crate) lsn: u64,
    /// Of the next one so many changes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) given: u64,
    #[serde(default, skip_serializing_if = "Parts::is_empty")]
    pub(crate) parts: Parts,
    /// Whether the table is still to be read, after the last of the parts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reading: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a connection has found out.
pub(crate) struct Found {
    pub(crate) table: Described,
    pub(crate) key: Key,
}

impl ChangePartition {
    /// What comes next, as long as the connection holds.
    async fn step(&mut self, limit: usize) -> Result<Option<Batch<Rows>>, Lost> {
        loop {
            match (&mut self.state, &mut self.stood) {
                (State::Ended, _) => return Ok(None),
                (State::Reading(reader, at), Some(stood)) => match reader.next(limit).await? {
                    Some((batch, last)) => {
                        stood.parts.read_up_to(last, *at);
                        let rows = rows::arrange(&self.settings, &batch)?;
                        return Ok(Some(vec![Rows::from(rows)].into()));
                    }
                    None => {
                        stood.parts.read_all(*at);
                        stood.reading = false;
                        self.state = State::Closed;
                        if self.settings.startup == Startup::Snapshot {
                            self.state = State::Ended;
                        }
                        // That it has been read is where it stands now.
                        return Ok(Some(Bundle::from(Vec::new()).into()));
                    }
                },
                (State::Streaming(streaming), Some(stood)) => {
                    let rows = streaming.next(&self.settings, stood, limit).await?;
                    return Ok(Some(Bundle::from(Vec::from_iter(rows)).into()));
                }
                _ => self.open().await?,
            }
        }
    }
}

impl Partition for ChangePartition {
    type Item = Rows;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Rows>>, Error> {
        let mut tries = 0;
        loop {
            let error = match self.step(limit).await {
                Ok(batch) => return Ok(batch),
                Err(Lost::Job(error)) => return Err(error),
                Err(Lost::Connection(error)) => error,
            };
            self.state = State::Closed;
            if tries == self.settings.retries {
                return Err(error);
            }
            tracing::warn!("{}: {error}; it is tried to go on", self.settings.table);
            clock::sleep(LONGEST.min(PAUSE * 2_u32.saturating_pow(tries.min(10)))).await;
            tries += 1;
        }
    }

    fn position(&self) -> String {
        let at = self.stood.as_ref().map_or_else(|| "the beginning".to_owned(), |stood| Lsn(stood.lsn).to_string());
        format!("{}:{at}", self.settings.table)
    }

    fn place(&self) -> Option<Place> {
        serde_json::to_value(self.stood.as_ref()?).ok()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        let stood: Stood =
            serde_json::from_value(place).map_err(|error| format!("that is no place in a log: {error}"))?;
        self.safe = Lsn(stood.lsn);
        self.stood = Some(stood);
        Ok(())
    }

    fn stored(&mut self, place: &Place) {
        let Some(lsn) = place.get("lsn").and_then(Place::as_u64) else { return };
        self.safe = self.safe.max(Lsn(lsn));
        if let State::Streaming(streaming) = &self.state {
            streaming.is_safe(self.safe);
        }
    }
}
