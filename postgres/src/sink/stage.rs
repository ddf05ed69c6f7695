//! Rows that wait for their checkpoint, in a table of their own: `updraft_stage_SINK_PROCESS_NUMBER`, beside the one that they go to.
//!
//! It is made with the first rows after a checkpoint, and goes when they are brought into the table, in the same transaction that notes
//! that they were. So a commit that is repeated finds that it has been done. What a process that died has left behind goes when the next one begins.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use updraft_dataflow::Error;
use updraft_kernel::clock;

use super::Buffer;
use super::fence::Fence;
use super::link::Link;
use super::plan::To;
use crate::name::{TableName, literal};
use crate::runtime;
use crate::session::{Session, failed};

const PREFIX: &str = "updraft_stage_";

/// What has been prepared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Staged {
    /// Drawn by the first process that has run the job, and told to all after it.
    pub(super) sink: String,
    attempt: i64,
    number: i64,
    /// Whether there is a stage: else there are no rows.
    is_there: bool,
}

/// Sinks that this process has made.
static SINKS: AtomicU64 = AtomicU64::new(0);

/// A name that no other sink has.
pub(super) fn draw() -> String {
    let sink = SINKS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}_{:x}_{sink:x}", clock::wall().as_micros(), std::process::id())
}

impl Staged {
    /// For a sink that does not stage: it is known by this to those who come after it.
    pub(super) fn nothing(fence: &Fence) -> Self {
        Self { sink: fence.sink.clone(), attempt: fence.attempt, number: 0, is_there: false }
    }

    fn table(&self, link: &Link) -> TableName {
        table(link, &self.sink, self.attempt, self.number)
    }

    /// Brings the stage into the table, unless that has been done.
    pub(super) async fn commit(&self, link: &mut Link, fence: &Fence) -> Result<(), Error> {
        if !self.is_there {
            return Ok(());
        }
        let (stage, number) = (self.table(link).to_string(), (self.attempt, self.number));
        link.bring(&stage, async |plan, transaction| {
            if fence.check(transaction).await? >= number {
                return Ok(());
            }
            let is_there = format!("SELECT to_regclass({}) IS NOT NULL", literal(&stage));
            if !transaction.query_one(&is_there, &[]).await?.get::<_, bool>(0) {
                let lost = "the rows of a checkpoint are gone: put it back, or start the job anew";
                return Err(Error::from(format!("table {stage}: {lost}")).into());
            }
            for statement in plan.bring_stage(&stage, None) {
                transaction.batch_execute(&statement).await?;
            }
            transaction.batch_execute(&format!("DROP TABLE {stage}")).await?;
            fence.note(transaction, number).await
        })
        .await
    }
}

fn table(link: &Link, sink: &str, attempt: i64, number: i64) -> TableName {
    TableName { schema: link.plan.name.schema.clone(), name: format!("{PREFIX}{sink}_{attempt}_{number}") }
}

/// What is being staged.
pub(super) struct Staging {
    number: i64,
    rows: i64,
}

impl Default for Staging {
    fn default() -> Self {
        Self { number: 1, rows: 0 }
    }
}

impl Staging {
    /// More rows.
    pub(super) async fn add(&mut self, link: &mut Link, fence: Option<&Fence>, buffer: &Buffer) -> Result<(), Error> {
        let Some(fence) = fence else { return Err("rows are staged in jobs that take checkpoints only".into()) };
        let stage = table(link, &fence.sink, fence.attempt, self.number).to_string();
        if self.rows == 0 {
            // By itself: that it is there is what the rows need, whether they come through at once or later.
            link.transact(async |plan, transaction| {
                fence.check(transaction).await?;
                transaction.batch_execute(&format!("DROP TABLE IF EXISTS {stage}")).await?;
                Ok(transaction.batch_execute(&plan.create_stage(&stage)).await?)
            })
            .await?;
        }
        let to = To { stage, first: self.rows };
        link.write(Some(fence), buffer, Some(&to)).await?;
        self.rows += buffer.count as i64;
        Ok(())
    }

    /// What has been staged, to be committed; what follows is of the next one.
    pub(super) fn end(&mut self, fence: &Fence) -> Staged {
        let (number, is_there) = (self.number, self.rows > 0);
        *self = Self { number: number + 1, rows: 0 };
        Staged { sink: fence.sink.clone(), attempt: fence.attempt, number, is_there }
    }

    /// Takes back what has not been prepared. Nobody waits for it: what is left is taken away by the process that goes on.
    pub(super) fn discard(self, link: &Link, fence: &Fence) {
        let stage = table(link, &fence.sink, fence.attempt, self.number);
        let server = link.server.clone();
        runtime::detach(async move {
            if let Ok(session) = Session::open(&server, "updraft").await {
                let _ = session.client.batch_execute(&format!("DROP TABLE IF EXISTS {stage}")).await;
            }
        });
    }
}

/// Takes away what processes before have left behind: all that counts has been committed.
pub(super) async fn sweep(link: &mut Link, fence: &Fence) -> Result<(), Error> {
    let like = format!("{PREFIX}{}_", fence.sink);
    link.transact(async |plan, transaction| {
        // Who has been replaced meanwhile must not take away what its successor writes.
        fence.check(transaction).await?;
        let find = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                    WHERE n.nspname = $1 AND starts_with(c.relname::text, $2) AND c.relkind = 'r'";
        let schema = plan.name.schema.clone();
        let found = transaction.query(find, &[&schema, &like]).await?;
        for row in found {
            let stage = TableName { schema: schema.clone(), name: row.get(0) };
            let dropped = transaction.batch_execute(&format!("DROP TABLE {stage}")).await;
            dropped.map_err(|error| failed(&format!("table {stage}"), &error))?;
        }
        Ok(())
    })
    .await
}
