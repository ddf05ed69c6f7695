//! The database under test: a session and a runtime, as the program has them.

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use sqllogictest::{DB, DBOutput, DefaultColumnType};
use tempfile::TempDir;
use updraft::connectors::console::{ConsoleLayout, Encoder};
use updraft::connectors::table::registry;
use updraft::dataflow::connector::AnySink;
use updraft::dataflow::{Bundle, Error, Rows, Sink};
use updraft::{Job, Runtime};
use updraft_sql::parse::{Piece, split};
use updraft_sql::{Outcome, Query, Session};

/// How long a job may take: none of these has much to do.
const LIMIT: Duration = Duration::from_secs(30);

/// What `execution.runtime-mode` is at the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Streaming,
    Batch,
}

/// A session, a runtime and a folder.
pub(crate) struct Database {
    session: Session,
    runtime: Runtime,
    folder: TempDir,
    mode: Mode,
}

/// What was wrong, as it is told to people.
#[derive(Debug)]
pub(crate) struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// The rows that a query's changes add up to, as text.
type Table = Arc<Mutex<Vec<Vec<String>>>>;

impl DB for Database {
    type Error = Wrong;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Wrong> {
        let sql = sql.replace("$__TEST_DIR__", &self.folder.path().display().to_string());
        let mut output = DBOutput::StatementComplete(0);
        for piece in split(&sql) {
            if let Some(outcome) = self.plan(&piece)? {
                output = self.finish(outcome)?;
            }
        }
        Ok(output)
    }

    fn engine_name(&self) -> &str {
        match self.mode {
            Mode::Streaming => "streaming",
            Mode::Batch => "batch",
        }
    }
}

impl Database {
    pub(crate) fn new(mode: Mode, kernels: usize) -> Self {
        let runtime = Runtime::builder().kernels(kernels).pin(false).build().unwrap();
        let folder = TempDir::new().unwrap();
        let mut database = Self { session: Session::new(registry()), runtime, folder, mode };
        let mode = database.engine_name().to_string();
        database.session.set("execution.runtime-mode", &mode).unwrap();
        database
    }

    fn plan(&mut self, piece: &Piece<'_>) -> Result<Option<Outcome>, Wrong> {
        let told = |wrong: Vec<_>| Wrong(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        let Some(statement) = piece.parse().map_err(|wrong| told(vec![wrong]))? else { return Ok(None) };
        let outcome = self.session.execute(&statement.value, piece.text().trim());
        outcome.map(Some).map_err(|error| told(piece.explain(&error)))
    }

    fn finish(&self, outcome: Outcome) -> Result<DBOutput<DefaultColumnType>, Wrong> {
        match outcome {
            Outcome::Done(_) => Ok(DBOutput::StatementComplete(0)),
            Outcome::Inserts(inserts) => {
                self.wait(inserts.job("insert").map_err(|error| Wrong(error.to_string()))?)?;
                Ok(DBOutput::StatementComplete(0))
            }
            Outcome::Shown(shown) => {
                let mut table = Vec::new();
                apply(&shown.to_rows(), false, &mut table).map_err(|error| Wrong(error.to_string()))?;
                Ok(rows(shown.names().len(), table))
            }
            Outcome::Query(query) => self.query(*query),
        }
    }

    fn query(&self, query: Query) -> Result<DBOutput<DefaultColumnType>, Wrong> {
        let (columns, changes, table) = (query.schema().fields().len(), query.has_changes(), Table::default());
        let sink = AnySink::new(Applied { table: table.clone(), changes });
        let job = query.job("query", sink).map_err(|error| Wrong(error.to_string()))?;
        self.wait(job)?;
        let table = std::mem::take(&mut *table.lock().unwrap());
        Ok(rows(columns, table))
    }

    fn wait(&self, job: Job) -> Result<(), Wrong> {
        let running = job.start(self.runtime.handle()).map_err(wrong)?;
        let (done, wait) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let job = &running;
            let watchdog = scope.spawn(move || {
                let hangs = wait.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
                if hangs {
                    job.cancel();
                }
                hangs
            });
            let ended = self.runtime.block_on(running.join());
            drop(done);
            match watchdog.join().unwrap() {
                true => Err(Wrong(format!("the job hangs: it had not ended after {LIMIT:?}"))),
                false => ended.map(drop).map_err(wrong),
            }
        })
    }
}

/// An error and what it comes from.
fn wrong(error: impl std::error::Error) -> Wrong {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    Wrong(text)
}

fn rows(columns: usize, rows: Vec<Vec<String>>) -> DBOutput<DefaultColumnType> {
    DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows }
}

/// A sink that does what the changes say, and holds them to it.
struct Applied {
    table: Table,
    changes: bool,
}

impl Sink<Rows> for Applied {
    async fn write(&mut self, bundle: Bundle<Rows>) -> Result<(), Error> {
        let mut table = self.table.lock().unwrap();
        bundle.as_slice().iter().try_for_each(|rows| apply(rows, self.changes, &mut table))
    }
}

fn apply(rows: &Rows, changes: bool, table: &mut Vec<Vec<String>>) -> Result<(), Error> {
    let columns = (0..rows.batch().num_columns()).map(|column| cells(rows, column)).collect::<Result<Vec<_>, _>>()?;
    for row in 0..rows.len() {
        let cells: Vec<_> = columns.iter().map(|column| column[row].clone()).collect();
        if !changes && rows.kinds().is_some() {
            return Err(
                format!("{cells:?} is {}, and there were to be insertions alone", rows.kind(row).short()).into()
            );
        }
        if rows.kind(row).is_addition() {
            table.push(cells);
        } else if let Some(at) = table.iter().position(|row| *row == cells) {
            table.remove(at);
        } else {
            return Err(format!("{cells:?} is taken back, and was not there").into());
        }
    }
    Ok(())
}

/// The text of a column's cells.
fn cells(rows: &Rows, column: usize) -> Result<Vec<String>, Error> {
    let batch = rows.batch().project(&[column])?;
    let nulls = batch.column(0).logical_nulls();
    let (mut encoder, mut text) = (Encoder::new(batch.schema(), ConsoleLayout::Csv, false), String::new());
    encoder.encode(&batch.into(), &mut text)?;
    let cells = records(&text).into_iter().skip(1).enumerate().map(|(row, cell)| match () {
        () if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => "NULL".to_string(),
        () if cell.is_empty() => "(empty)".to_string(),
        () => cell,
    });
    Ok(cells.collect())
}

/// The records of CSV of one column.
fn records(text: &str) -> Vec<String> {
    let (mut records, mut record, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => record.extend(rest.next()),
            '"' => quoted = !quoted,
            '\n' if !quoted => records.push(std::mem::take(&mut record)),
            c => record.push(c),
        }
    }
    records
}
