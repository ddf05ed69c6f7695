//! [`Link`]: transactions that are repeated when the connection is lost, and are not when they have come through.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Transaction;
use updraft_dataflow::{Error, Rows};
use updraft_kernel::clock;

use super::fence::Fence;
use super::plan::{Plan, To};
use super::{Buffer, Settings, blame};
use crate::catalog::Described;
use crate::encode::{Encoder, HEADER, TRAILER};
use crate::server::Server;
use crate::session::{Lost, Session, failed, lost};

/// How long is waited before the first repetition, and at most: in all long enough for a server that is started again.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// Bytes that are sent together, about.
const CHUNK: usize = 64 << 10;

/// A connection to the database of a table.
pub(super) struct Link {
    pub(super) server: Server,
    application: String,
    retries: u32,
    pub(super) plan: Plan,
    session: Option<Session>,
}

/// Why a transaction has failed.
pub(super) enum Failure {
    /// It may succeed when it is repeated.
    Passing(Error),
    /// It will not.
    Lasting(Error),
    /// The server has refused a row.
    Refused(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        // Classes of errors: data that do not fit, and constraints that are violated.
        match error.code().map(|code| code.code().get(..2)) {
            Some(Some("22" | "23")) => Self::Refused(error),
            _ => lost("PostgreSQL", &error).into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Connection(error) => Self::Passing(error),
            Lost::Job(error) => Self::Lasting(error),
        }
    }
}

/// Waits before something is tried once more, that was so often.
async fn pause(tries: u32) {
    clock::sleep(LONGEST.min(PAUSE * 5_u32.saturating_pow(tries))).await;
}

impl Link {
    /// Connects, and looks whether the table is as it is said to be.
    pub(super) async fn open(server: &Server, settings: &Settings, application: &str) -> Result<Self, Error> {
        let mut tries = 0;
        loop {
            match Self::connect(server, settings, application).await {
                Err(Lost::Connection(error)) if tries < settings.retries => {
                    tracing::warn!("{error}; it is tried again");
                }
                opened => return Ok(opened?),
            }
            pause(tries).await;
            tries += 1;
        }
    }

    async fn connect(server: &Server, settings: &Settings, application: &str) -> Result<Self, Lost> {
        let session = Session::open(server, application).await?;
        let described = Described::of(&session.client, &settings.table).await?;
        let plan = Plan::new(settings, &described)?;
        let (server, application, retries) = (server.clone(), application.to_owned(), settings.retries);
        Ok(Self { server, application, retries, plan, session: Some(session) })
    }

    async fn session(&mut self) -> Result<&mut Session, Lost> {
        if self.session.as_ref().is_none_or(|session| session.client.is_closed()) {
            self.session = Some(Session::open(&self.server, &self.application).await?);
        }
        self.session.as_mut().ok_or_else(|| Lost::Connection("there is no connection".into()))
    }

    /// Does `work` in a transaction.
    pub(super) async fn transact<T>(
        &mut self,
        work: impl AsyncFn(&Plan, &Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        match self.attempt(&work).await {
            Err(Failure::Refused(error)) => Err(failed(&format!("table {}", self.plan.name), &error)),
            Err(Failure::Passing(error) | Failure::Lasting(error)) => Err(error),
            Ok(done) => Ok(done),
        }
    }

    /// The same; a row that is refused is told as such.
    async fn attempt<T>(
        &mut self,
        work: &impl AsyncFn(&Plan, &Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (mut tries, mut doubtful) = (0, None);
        loop {
            let error = match self.once(work, &mut doubtful).await {
                Err(Failure::Passing(error)) => error,
                done => return done,
            };
            // Whatever it was, the session is not to be trusted.
            self.session = None;
            if tries == self.retries {
                return Err(Failure::Passing(error));
            }
            tracing::warn!("a transaction is tried again: {error}");
            pause(tries).await;
            tries += 1;
        }
    }

    /// Tries it. `doubtful` is the transaction of which it is not known whether it has been committed, and what it gave.
    async fn once<T>(
        &mut self,
        work: &impl AsyncFn(&Plan, &Transaction<'_>) -> Result<T, Failure>,
        doubtful: &mut Option<(i64, T)>,
    ) -> Result<T, Failure> {
        self.session().await?;
        let Some(session) = &mut self.session else { return Err(Failure::Lasting("there is no connection".into())) };
        while let Some((number, _)) = doubtful {
            let row = session.client.query_one("SELECT txid_status($1)", &[number]).await?;
            match (row.get::<_, Option<&str>>(0), doubtful.take()) {
                (Some("committed"), Some((_, done))) => return Ok(done),
                (Some("in progress"), before) => {
                    *doubtful = before;
                    clock::sleep(PAUSE).await;
                }
                _ => {}
            }
        }
        let transaction = session.client.transaction().await?;
        let number: i64 = transaction.query_one("SELECT txid_current()", &[]).await?.get(0);
        let done = work(&self.plan, &transaction).await?;
        match transaction.commit().await {
            Ok(()) => Ok(done),
            Err(error) => {
                *doubtful = Some((number, done));
                Err(error.into())
            }
        }
    }

    /// Writes rows to the table, or to a stage.
    pub(super) async fn write(&mut self, fence: Option<&Fence>, buffer: &Buffer, to: Option<&To>) -> Result<(), Error> {
        let work = async |plan: &Plan, transaction: &Transaction<'_>| {
            if let Some(fence) = fence {
                fence.check(transaction).await?;
            }
            fill(plan, transaction, buffer).await?;
            for statement in plan.apply(to, buffer.has_deletions(), None) {
                transaction.batch_execute(&statement).await?;
            }
            Ok(())
        };
        let error = match self.attempt(&work).await {
            Ok(()) => return Ok(()),
            Err(Failure::Passing(error) | Failure::Lasting(error)) => return Err(error),
            Err(Failure::Refused(error)) => error,
        };
        self.session().await?;
        let Some(session) = &mut self.session else { return Err("there is no connection".into()) };
        Err(blame::rows(&mut session.client, &self.plan, buffer, to, error).await)
    }

    /// What the server says to `statements` that bring a stage into the table.
    pub(super) async fn blame_stage(&mut self, stage: &str, error: tokio_postgres::Error) -> Error {
        match (self.session().await.map(|_| ()), &mut self.session) {
            (Ok(()), Some(session)) => blame::stage(&mut session.client, &self.plan, stage, error).await,
            (Err(lost), _) => lost.into(),
            _ => "there is no connection".into(),
        }
    }

    /// [`transact`](Self::transact), where a row that is refused is one of a stage.
    pub(super) async fn bring<T>(
        &mut self,
        stage: &str,
        work: impl AsyncFn(&Plan, &Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        match self.attempt(&work).await {
            Err(Failure::Refused(error)) => Err(self.blame_stage(stage, error).await),
            Err(Failure::Passing(error) | Failure::Lasting(error)) => Err(error),
            Ok(done) => Ok(done),
        }
    }
}

/// Brings rows into the session's own table.
pub(super) async fn fill(plan: &Plan, transaction: &Transaction<'_>, buffer: &Buffer) -> Result<(), Failure> {
    transaction.batch_execute(&plan.create_own()).await?;
    let mut copy = Box::pin(transaction.copy_in::<_, Bytes>(&plan.copy_own()).await?);
    let (mut chunk, mut number) = (BytesMut::with_capacity(CHUNK * 2), 0_i64);
    chunk.extend_from_slice(HEADER);
    for rows in &buffer.rows {
        let mut encoder = Encoder::new(rows.batch())?;
        for row in 0..rows.len() {
            let before = [number, i64::from(!rows.kind(row).is_addition())];
            encoder.row(row, &before, &mut chunk).map_err(|why| cannot(plan, rows, row, number, &why))?;
            number += 1;
            if chunk.len() >= CHUNK {
                copy.send(chunk.split().freeze()).await?;
            }
        }
    }
    chunk.extend_from_slice(TRAILER);
    copy.send(chunk.freeze()).await?;
    copy.as_mut().finish().await?;
    Ok(())
}

/// A row that cannot be sent.
fn cannot(plan: &Plan, rows: &Rows, row: usize, number: i64, why: &str) -> Error {
    let shown = format!("{:?}", rows.slice(row..row + 1).batch().columns()).replace('\n', " ");
    let shown: String = shown.chars().take(200).collect();
    format!("table {}, row {} of those written together, {why}: {shown}", plan.name, number + 1).into()
}
