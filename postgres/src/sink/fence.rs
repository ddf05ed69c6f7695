//! [`Fence`]: who of several processes that run the same job may write.
//!
//! A sink has a row in the table of commits, with the number of the process that writes now, and what was committed last. Each transaction
//! of a process reads it first, and locks it: so one that has been replaced finds another number there, and one that was stopped within a
//! transaction is thrown out by its successor.

use std::time::Duration;

use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;
use updraft_dataflow::Error;
use updraft_kernel::clock;

use super::Settings;
use super::link::{Failure, Link};
use crate::name::TableName;

/// How often whoever holds the row is thrown out.
const TRIES: u32 = 20;

/// See the module's page.
pub(super) struct Fence {
    pub(super) sink: String,
    pub(super) attempt: i64,
    pub(super) commits: TableName,
}

/// The number of a transaction of a sink: that of the process which prepared it, and its own.
pub(super) type Number = (i64, i64);

impl Fence {
    /// From now on no process before this one can write.
    pub(super) async fn raise(link: &mut Link, settings: &Settings, sink: String, attempt: u64) -> Result<Self, Error> {
        let attempt = i64::try_from(attempt)?;
        let mut commits = settings.commits.clone();
        if commits.schema.is_none() {
            commits.schema.clone_from(&link.plan.name.schema);
        }
        let fence = Self { sink, attempt, commits };
        fence.create(link).await?;
        for _ in 0..TRIES {
            let taken = link.transact(async |_, transaction| fence.take(transaction).await);
            match taken.await? {
                Taken::Yes => return Ok(fence),
                Taken::Replaced => return Err(replaced()),
                Taken::Held => {}
            }
            clock::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("table {}: another process holds the row of sink {}", fence.commits, fence.sink).into())
    }

    async fn create(&self, link: &mut Link) -> Result<(), Error> {
        let has = "sink text PRIMARY KEY, target text NOT NULL, attempt bigint NOT NULL, \
                   committed_attempt bigint NOT NULL, committed bigint NOT NULL, at timestamptz NOT NULL DEFAULT now()";
        let create = format!("CREATE TABLE IF NOT EXISTS {} ({has})", self.commits);
        link.transact(async |_, transaction| match transaction.batch_execute(&create).await {
            // Another one makes it at the same time.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                Err(Failure::Passing("the table of commits is being made".into()))
            }
            done => Ok(done?),
        })
        .await
    }

    async fn take(&self, transaction: &Transaction<'_>) -> Result<Taken, Failure> {
        // Whoever was here before, even if it is in the middle of something.
        let throw_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE application_name = $1 AND pid <> pg_backend_pid() AND usename = current_user";
        transaction.query(throw_out, &[&format!("updraft {}", self.sink)]).await?;
        transaction.batch_execute("SET LOCAL lock_timeout = '500ms'").await?;
        let commits = &self.commits;
        let take = format!(
            "INSERT INTO {commits} AS c (sink, target, attempt, committed_attempt, committed) \
             SELECT $1, $3, $2, 0, 0 ON CONFLICT (sink) DO UPDATE SET attempt = $2, at = now() WHERE c.attempt < $2"
        );
        let target = commits.to_string();
        let taken = transaction.execute(&take, &[&self.sink, &self.attempt, &target]).await;
        match taken {
            Ok(0) => Ok(Taken::Replaced),
            Ok(_) => Ok(Taken::Yes),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(Taken::Held),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure that no other process has taken over, nor does before the transaction ends; what was committed last.
    pub(super) async fn check(&self, transaction: &Transaction<'_>) -> Result<Number, Failure> {
        let commits = &self.commits;
        let check =
            format!("SELECT committed_attempt, committed FROM {commits} WHERE sink = $1 AND attempt = $2 FOR UPDATE");
        let found = transaction.query_opt(&check, &[&self.sink, &self.attempt]).await?;
        found.map(|row| (row.get(0), row.get(1))).ok_or_else(|| Failure::Lasting(replaced()))
    }

    /// Notes what is committed with the transaction.
    pub(super) async fn note(&self, transaction: &Transaction<'_>, number: Number) -> Result<(), Failure> {
        let commits = &self.commits;
        let note = format!("UPDATE {commits} SET committed_attempt = $2, committed = $3, at = now() WHERE sink = $1");
        transaction.execute(&note, &[&self.sink, &number.0, &number.1]).await?;
        Ok(())
    }
}

/// Whether a process may write.
enum Taken {
    Yes,
    /// A later one does already.
    Replaced,
    /// An earlier one is still at it.
    Held,
}

fn replaced() -> Error {
    "another process has taken over the job: its sink writes to the table now".into()
}
