//! Which row is it that the server refuses? It does not say, for it was given many; so they are tried, half of them at a time.

use tokio_postgres::{Client, Transaction};
use updraft_dataflow::Error;

use super::Buffer;
use super::link::{Failure, fill};
use super::plan::{Plan, To};
use crate::session::{failed, said};

/// Rows that are written together.
pub(super) async fn rows(
    client: &mut Client,
    plan: &Plan,
    buffer: &Buffer,
    to: Option<&To>,
    error: tokio_postgres::Error,
) -> Error {
    let found = async {
        let mut transaction = client.transaction().await?;
        match fill(plan, &transaction, buffer).await {
            Ok(()) => {}
            Err(Failure::Refused(error)) => return Err(error),
            Err(_) => return Ok(None),
        }
        find(&mut transaction, plan, None, |rows| plan.apply(to, true, Some(rows))).await
    };
    finish(plan, found.await, error)
}

/// Rows of a stage.
pub(super) async fn stage(client: &mut Client, plan: &Plan, stage: &str, error: tokio_postgres::Error) -> Error {
    let found = async {
        let mut transaction = client.transaction().await?;
        find(&mut transaction, plan, Some(stage), |rows| plan.bring_stage(stage, Some(rows))).await
    };
    finish(plan, found.await, error)
}

type Found = Result<Option<(i64, Option<String>, String)>, tokio_postgres::Error>;

fn finish(plan: &Plan, found: Found, error: tokio_postgres::Error) -> Error {
    let name = &plan.name;
    let Ok(Some((row, column, shown))) = found else { return failed(&format!("table {name}"), &error) };
    let named = error.as_db_error().and_then(|error| error.column()).map(str::to_owned);
    let column = named.or(column).map(|column| format!(", column `{column}`")).unwrap_or_default();
    let shown: String = shown.chars().take(300).collect();
    format!("table {name}, row {} of those written together ({shown}){column}: {}", row + 1, said(&error)).into()
}

/// The row that is refused by `statements`, which are for so many rows.
async fn find(
    transaction: &mut Transaction<'_>,
    plan: &Plan,
    stage: Option<&str>,
    statements: impl Fn(i64) -> Vec<String>,
) -> Found {
    match first(transaction, plan, stage, statements).await? {
        Some(row) => Ok(Some(told(transaction, plan, stage, row).await?)),
        None => Ok(None),
    }
}

/// The number of the first row with which those up to it are refused.
async fn first(
    transaction: &mut Transaction<'_>,
    plan: &Plan,
    stage: Option<&str>,
    statements: impl Fn(i64) -> Vec<String>,
) -> Result<Option<i64>, tokio_postgres::Error> {
    let count: i64 = transaction.query_one(&plan.count(stage), &[]).await?.get(0);
    // So many are fine, and so many are not.
    let (mut fine, mut wrong) = (0, count + 1);
    while fine + 1 < wrong {
        let rows = fine + (wrong - fine) / 2;
        let nested = transaction.transaction().await?;
        let mut refused = false;
        for statement in statements(rows) {
            refused = refused || nested.batch_execute(&statement).await.is_err();
        }
        nested.rollback().await?;
        *(if refused { &mut wrong } else { &mut fine }) = rows;
    }
    Ok((wrong <= count).then_some(wrong - 1))
}

/// A row, and which of its columns does not fit, if one by itself does not.
async fn told(
    transaction: &mut Transaction<'_>,
    plan: &Plan,
    stage: Option<&str>,
    row: i64,
) -> Result<(i64, Option<String>, String), tokio_postgres::Error> {
    let shown: String = transaction.query_one(&plan.show(stage, row), &[]).await?.get(0);
    // What is in a stage has fitted already.
    let columns = if stage.is_some() { 0 } else { plan.columns.len() };
    for at in 0..columns {
        let nested = transaction.transaction().await?;
        let fits = match nested.query_one(&plan.fits(at, row), &[]).await {
            Ok(fits) => fits.get::<_, Option<bool>>(0) != Some(false),
            Err(_) => false,
        };
        nested.rollback().await?;
        if !fits {
            return Ok((row, Some(plan.columns[at].name.clone()), shown));
        }
    }
    Ok((row, None, shown))
}
