//! The queries as Updraft runs them: the benchmark's files as they are, but for options of the events, where files are, and
//! who takes the rows.

use std::path::{Path, PathBuf};

use updraft::Runtime;
use updraft::connectors::Collect;
use updraft::connectors::table::registry;
use updraft::dataflow::connector::AnySink;
use updraft::dataflow::{Job, Rows};
use updraft::sql::{Inserts, Outcome, Session, native, parse};

use crate::events;

/// How a query is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) mode: &'static str,
    pub(crate) kernels: usize,
    /// The share of the events that are not in order.
    pub(crate) disorder: &'static str,
}

/// What makes no difference to the results.
pub(crate) const RUNS: [Run; 6] = [
    Run { mode: "streaming", kernels: 1, disorder: "0" },
    Run { mode: "streaming", kernels: 3, disorder: "0" },
    Run { mode: "streaming", kernels: 2, disorder: "0.2" },
    Run { mode: "streaming", kernels: 3, disorder: "0.2" },
    Run { mode: "batch", kernels: 1, disorder: "0" },
    Run { mode: "batch", kernels: 3, disorder: "0.2" },
];

impl Run {
    /// The rows that the INSERT of a query would write, and how they change; files are in `folder`.
    pub(crate) fn changes(self, query: &str, folder: &Path) -> Vec<Rows> {
        let (sink, rows) = Collect::new();
        let query = self.inserts(query, folder).into_queries().pop().unwrap();
        self.run(query.job("query", AnySink::new(sink)).unwrap());
        rows.take()
    }

    /// Runs the INSERT of a query itself.
    pub(crate) fn write(self, query: &str, folder: &Path) {
        self.run(self.inserts(query, folder).job("insert").unwrap());
    }

    fn run(self, job: Job) {
        let runtime = Runtime::builder().kernels(self.kernels).build().unwrap();
        let running = job.start(runtime.handle()).unwrap();
        runtime.block_on(running.join()).unwrap_or_else(|error| panic!("{self:?}: {error}"));
    }

    fn inserts(self, query: &str, folder: &Path) -> Inserts {
        let mut session = Session::new(registry());
        session.register_function("com.github.nexmark.flink.udf.CountChar", native::count_char());
        session.set("execution.runtime-mode", self.mode).unwrap();
        let tables = file("ddl").replace("'events.num' = '1000000'", &events::options(self.disorder));
        assert!(tables.contains(self.disorder), "the tables have other options");
        let none = execute(&mut session, &tables);
        assert!(none.is_none());
        let folder = folder.display().to_string();
        execute(&mut session, &file(query).replace("target/nexmark", &folder)).expect("an INSERT")
    }
}

/// Runs all statements of a text; the last INSERT is left to do.
fn execute(session: &mut Session, text: &str) -> Option<Inserts> {
    let mut last = None;
    for piece in parse::split(text) {
        let Some(statement) = piece.parse().unwrap_or_else(|wrong| panic!("{}", wrong.render("file", text))) else {
            continue;
        };
        match session
            .execute(&statement.value, piece.text())
            .unwrap_or_else(|error| panic!("{}: {error}", piece.text()))
        {
            Outcome::Inserts(inserts) => last = Some(inserts),
            Outcome::Done(_) => {}
            other => panic!("{other:?}"),
        }
    }
    last
}

fn file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/nexmark").join(name).with_extension("sql");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
