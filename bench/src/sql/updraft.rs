//! This project: a session with the tables, and a runtime for its jobs.

use datafusion::arrow::array::RecordBatch;
use updraft::Runtime;
use updraft::connectors::collect::Collect;
use updraft::connectors::table::registry;
use updraft::dataflow::connector::AnySink;
use updraft::sql::{Outcome, Session, parse};

use super::data::{Files, Table};

pub(super) struct Updraft {
    session: Session,
    runtime: Runtime,
}

impl Updraft {
    pub(super) fn new(files: &Files, kernels: usize) -> Self {
        let mut session = Session::new(registry());
        session.set("execution.runtime-mode", "batch").expect("there is such a mode");
        files.tables.iter().for_each(|table| drop(execute(&mut session, &declared(table))));
        let runtime = Runtime::builder().kernels(kernels).build().expect("the kernels can be started");
        Self { session, runtime }
    }

    pub(super) fn query(&self, query: &str) -> Vec<RecordBatch> {
        let mut session = self.session.clone();
        let Some(Outcome::Query(query)) = execute(&mut session, query) else { unreachable!("it is a query") };
        let (sink, rows) = Collect::new();
        let job = query.job("query", AnySink::new(sink)).expect("the files can be opened");
        let running = job.start(self.runtime.handle()).expect("the job can be started");
        self.runtime.block_on(running.join()).expect("the job ends well");
        rows.take().into_iter().map(|rows| rows.batch().clone()).collect()
    }
}

fn declared(table: &Table) -> String {
    let Table { name, format, path, columns, .. } = table;
    let path = path.display();
    // DataFusion takes for granted, unless it is told, that no field holds a newline.
    let lines = if *format == "csv" { ", 'csv.quoted-newlines' = 'false'" } else { "" };
    format!(
        "CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = '{format}'{lines})"
    )
}

fn execute(session: &mut Session, statement: &str) -> Option<Outcome> {
    let piece = parse::split(statement).into_iter().next()?;
    let parsed = piece.parse().expect("the statement is right")?;
    Some(session.execute(&parsed.value, statement).expect("the statement is right"))
}
