//! The queries as Updraft runs them: the benchmark's files as they are, but for options of the events, where files are, and
//! who takes the rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use updraft::Runtime;
use updraft::connectors::table::{Blackhole, registry};
use updraft::connectors::{Collect, Filesystem};
use updraft::dataflow::checkpoint::Checkpoints;
use updraft::dataflow::connector::{AnySink, Registry};
use updraft::dataflow::testing::Ledger;
use updraft::dataflow::{Job, Rows};
use updraft::sql::{Inserts, Outcome, Session, native, parse};

use crate::events;
use crate::small::Small;

/// How a query is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) mode: &'static str,
    pub(crate) kernels: usize,
    /// The share of the events that are not in order.
    pub(crate) disorder: &'static str,
    /// How often the job is ended where it stands, to go on from its last checkpoint with another number of kernels.
    pub(crate) crashes: u64,
}

const fn run(mode: &'static str, kernels: usize, disorder: &'static str, crashes: u64) -> Run {
    Run { mode, kernels, disorder, crashes }
}

/// What makes no difference to the results.
pub(crate) const RUNS: [Run; 8] = [
    run("streaming", 1, "0", 0),
    run("streaming", 3, "0", 0),
    run("streaming", 2, "0.2", 0),
    run("streaming", 3, "0.2", 0),
    run("batch", 1, "0", 0),
    run("batch", 3, "0.2", 0),
    run("streaming", 1, "0.2", 6),
    run("batch", 2, "0", 3),
];

impl Run {
    /// The rows that the INSERT of a query would write, and how they change; files are in `folder`.
    pub(crate) fn changes(self, query: &str, folder: &Path) -> Vec<Rows> {
        if self.crashes > 0 {
            return self.changes_with_crashes(query, folder);
        }
        let (sink, rows) = Collect::new();
        let query = self.inserts(query, folder).into_queries().pop().unwrap();
        self.run(query.job("query", AnySink::new(sink)).unwrap());
        rows.take()
    }

    fn changes_with_crashes(self, query: &str, folder: &Path) -> Vec<Rows> {
        let (store, ledger) = (Arc::new(InMemory::new()), Ledger::default());
        for life in 0.. {
            let kernels = 1 + (self.kernels + life as usize) % 3;
            let runtime = Runtime::builder().kernels(kernels).pin(false).build().unwrap();
            let opened = runtime.block_on(Checkpoints::open(store.clone(), &"query".into())).unwrap();
            let planned = self.inserts(query, folder).into_queries().pop().unwrap();
            let job = planned.job("query", AnySink::new(ledger.sink())).unwrap();
            let job = job.checkpoints(opened.every(Duration::from_millis(5)));
            let running = job.start(runtime.handle()).unwrap();
            if life < self.crashes {
                // After some checkpoints, another number for each query: most have state, and some is not of a checkpoint.
                let some = 2 + query.bytes().fold(life, |sum, byte| sum * 31 + u64::from(byte)) % 4;
                while !running.is_ended() && running.metrics().checkpoints.count() < some {
                    std::thread::sleep(Duration::from_micros(500));
                }
                running.cancel();
            }
            match runtime.block_on(running.join()) {
                Ok(_) => break,
                Err(error) => assert!(life < self.crashes, "{query}, {self:?}: {error}"),
            }
        }
        ledger.committed()
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
        let small = || Registry::default().with(Small).with(Filesystem).with(Blackhole);
        let mut session = Session::new(if self.crashes > 0 { small() } else { registry() });
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
