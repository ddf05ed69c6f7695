//! Runs statements one after the other, as a session on a runtime.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use updraft::connectors::Blackhole;
use updraft::connectors::console::{Console, ConsoleLayout};
use updraft::connectors::stdout::Closed;
use updraft::control::{self, Jobs, Serving};
use updraft::dataflow::connector::AnySink;
use updraft::dataflow::metrics::JobMetrics;
use updraft::kernel::signals::{self, Shutdown};
use updraft::kernel::{Class, GroupError, KernelId, clock};
use updraft::{Job, JobError, Running, Runtime, registry};
use updraft_sql::parse::{self, Diagnostic, Piece};
use updraft_sql::session::Error;
use updraft_sql::{Inserts, Outcome, Query, Session, Shown};

use super::progress::Progress;
use super::state::State;
use super::{Mode, Options, functions};
use crate::command::Outcome as Ended;

/// A session, and the runtime that its jobs run on.
pub(in crate::command) struct Engine {
    session: Session,
    kernels: Option<usize>,
    layout: ConsoleLayout,
    /// Made when the first job starts.
    runtime: Option<(Runtime, Shutdown)>,
    /// Jobs that fill tables.
    running: Vec<Running>,
    /// Where the state of jobs is kept.
    state: State,
    /// All jobs, for who asks at the control socket.
    jobs: Jobs,
    /// That socket, from the first job on.
    serving: Option<Serving>,
}

/// What a statement was about when it went wrong: the statement itself, or the job.
pub(super) type Wrong = Vec<Diagnostic>;

impl Engine {
    pub(in crate::command) fn new(
        options: &Options,
        mode: Mode,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut session = Session::new(registry());
        functions::register(&mut session);
        let mode = options.mode.unwrap_or(mode);
        let mode = ("execution.runtime-mode".to_owned(), mode.name().to_owned());
        for (key, value) in std::iter::once(&mode).chain(&options.settings) {
            session.set(key, value).map_err(|error| format!("--set {key}: {}", error.message()))?;
        }
        let default = if std::io::stdout().is_terminal() { ConsoleLayout::Table } else { ConsoleLayout::Csv };
        let layout = options.output.map_or(default, ConsoleLayout::from);
        Ok(Self {
            session,
            kernels: options.kernels,
            layout,
            runtime: None,
            running: Vec::new(),
            state: State::default(),
            jobs: Jobs::default(),
            serving: None,
        })
    }

    /// Keeps the state of jobs that fill tables.
    #[must_use]
    pub(super) fn keeping(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    fn shutdown(&self) -> Option<&Shutdown> {
        self.runtime.as_ref().map(|(_, shutdown)| shutdown)
    }

    /// Whether what ran last was interrupted; what comes next is not.
    pub(super) fn was_interrupted(&self) -> bool {
        self.shutdown().is_some_and(Shutdown::take)
    }

    /// Runs all statements of a text called `name`, up to the first that is wrong, or that is interrupted.
    pub(super) fn script(&mut self, name: &str, text: &str) -> Ended {
        for piece in parse::split(text) {
            if self.shutdown().is_some_and(Shutdown::is_requested) {
                break;
            }
            if let Some(outcome) = self.plan(&piece).map_err(|wrong| rendered(&wrong, name, text))? {
                self.finish(outcome)?;
            }
        }
        Ok(())
    }

    /// Does what a statement says, or plans it.
    pub(super) fn plan(&mut self, piece: &Piece<'_>) -> Result<Option<Outcome>, Wrong> {
        let Some(statement) = piece.parse().map_err(|wrong| vec![wrong])? else { return Ok(None) };
        if self.wants_stdin(piece.text()) {
            let create = "CREATE TEMPORARY TABLE stdin WITH ('connector' = 'stdin')";
            let create =
                parse::parse(create).into_iter().collect::<Result<Vec<_>, _>>().map_err(|wrong| vec![wrong])?;
            for create in create {
                self.session.execute(&create.value, "").map_err(|error| explained(piece, &error))?;
            }
        }
        let outcome = self.session.execute(&statement.value, piece.text().trim());
        outcome.map(Some).map_err(|error| explained(piece, &error))
    }

    /// Whether a statement speaks of the table `stdin`, which is not there yet.
    fn wants_stdin(&self, text: &str) -> bool {
        let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word == "stdin") && !self.session.tables().iter().any(|table| table == "stdin")
    }

    /// The last query of a text, which is not run; INSERTs count as the queries that they are of.
    pub(in crate::command) fn last_query(&mut self, name: &str, text: &str) -> Result<Option<Query>, String> {
        let mut last = None;
        for piece in parse::split(text) {
            match self.plan(&piece).map_err(|wrong| rendered(&wrong, name, text))? {
                Some(Outcome::Query(query)) => last = Some(*query),
                Some(Outcome::Inserts(inserts)) => last = inserts.into_queries().pop().or(last),
                _ => {}
            }
        }
        Ok(last)
    }

    /// Runs a query for a while, throws its rows away, and gives what it has done.
    pub(in crate::command) fn run_for(
        &mut self,
        query: Query,
        span: Duration,
    ) -> Result<Arc<JobMetrics>, Box<dyn std::error::Error + Send + Sync>> {
        let running = self.start(query.job("query", AnySink::new(Blackhole::new().0))?, None)?;
        let (runtime, _) = self.runtime.as_ref().ok_or("there is no runtime")?;
        let group = runtime.handle().group("wait", Class::Stream);
        let watched = running.clone();
        let waits = group.spawn(KernelId(0), "wait", move || async move {
            let until = clock::now() + span;
            while clock::now() < until && !watched.is_ended() {
                clock::sleep_until(clock::now() + Duration::from_millis(20)).await;
            }
        });
        runtime.block_on(waits)?;
        let metrics = running.metrics().clone();
        running.cancel();
        Ok(metrics)
    }

    /// Shows or runs what has come of a statement.
    pub(super) fn finish(&mut self, outcome: Outcome) -> Ended {
        match outcome {
            Outcome::Done(message) => {
                if std::io::stderr().is_terminal() {
                    eprintln!("{message}");
                }
                Ok(())
            }
            Outcome::Shown(shown) => show(&shown, self.layout),
            Outcome::Query(query) => self.query(*query),
            Outcome::Inserts(inserts) => self.inserts(inserts),
        }
    }

    fn query(&mut self, query: Query) -> Ended {
        let sink = AnySink::new(Console::new(query.schema(), self.layout, query.has_changes()));
        let job = query.job(self.session.settings().job_name().unwrap_or("query"), sink)?;
        let running = self.start(job, None)?;
        self.join(&running)
    }

    fn inserts(&mut self, inserts: Inserts) -> Ended {
        let tables: Vec<_> = inserts.tables().map(str::to_owned).collect();
        let name = format!("insert into {}", tables.join(", "));
        let in_order = inserts.is_batch() || self.session.settings().get("table.dml-sync") == Some("true");
        let job = inserts.job(self.session.settings().job_name().unwrap_or(&name))?;
        let running = self.start(job, Some(&tables))?;
        if in_order {
            return self.join(&running);
        }
        self.running.push(running);
        Ok(())
    }

    /// Waits for all jobs that were started.
    pub(super) fn wait(&mut self) -> Ended {
        let running = std::mem::take(&mut self.running);
        running.iter().try_for_each(|running| self.join(running))
    }

    /// Starts a job, of which the state is kept if it fills tables.
    fn start(
        &mut self,
        mut job: Job,
        fills: Option<&[String]>,
    ) -> Result<Running, Box<dyn std::error::Error + Send + Sync>> {
        if self.runtime.is_none() {
            let mut builder = Runtime::builder();
            if let Some(kernels) = self.kernels.or(self.session.settings().parallelism()) {
                builder = builder.kernels(kernels);
            }
            let runtime = builder.build()?;
            let shutdown = signals::install(runtime.handle());
            self.runtime = Some((runtime, shutdown));
        }
        let (runtime, _) = self.runtime.as_ref().ok_or("there is no runtime")?;
        if let Some(tables) = fills {
            job = self.state.keep(job, tables, &self.session, runtime)?;
        }
        let running = job.start(runtime.handle())?;
        self.jobs.add(&running);
        if self.serving.is_none() {
            // A job runs without a socket, too.
            let served = control::serve(&self.jobs, control::place::own()?);
            self.serving = served.map_err(|error| tracing::warn!("jobs cannot be watched: {error}")).ok();
        }
        Ok(running)
    }

    /// Waits for a job; when the process is asked to end, the job's sources stop, and it ends well.
    fn join(&self, running: &Running) -> Ended {
        let (runtime, shutdown) = self.runtime.as_ref().ok_or("there is no runtime")?;
        let _progress = Progress::of(running, runtime);
        let ended = runtime.block_on(async {
            tokio::select! {
                biased;
                ended = running.join() => return ended,
                () = shutdown.requested() => match running.suspend() {
                    // What has state goes on from there with the next run.
                    Some(suspended) => suspended.await,
                    None => running.drain(),
                },
            }
            running.join().await
        });
        match ended {
            Err(error) if !reader_has_gone(&error) && !was_suspended(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Whether a job has ended because nobody reads standard output any more, as after `| head`.
fn reader_has_gone(error: &JobError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Closed>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether a job was stopped to go on another time.
fn was_suspended(error: &JobError) -> bool {
    matches!(error.error, GroupError::Cancelled)
}

/// What is wrong with a statement; where nobody knows the place, it is the statement as a whole.
fn explained(piece: &Piece<'_>, error: &Error) -> Wrong {
    let whole = |wrong: Diagnostic| match (wrong.span, piece.span()) {
        (None, Some(span)) => wrong.at(span),
        _ => wrong,
    };
    piece.explain(error).into_iter().map(whole).collect()
}

/// What is wrong, as text.
pub(super) fn rendered(wrong: &Wrong, name: &str, text: &str) -> String {
    let colours = std::io::stderr().is_terminal();
    let told: Vec<_> = wrong.iter().map(|wrong| wrong.render(name, text).colours(colours).to_string()).collect();
    told.join("\n")
}

/// Prints what a statement shows.
fn show(shown: &Shown, layout: ConsoleLayout) -> Ended {
    use std::io::Write;
    let mut out = String::new();
    if shown.is_verbatim() && layout != ConsoleLayout::Json {
        shown.rows().iter().flatten().flatten().for_each(|cell| out.extend([cell.as_str(), "\n"]));
    } else {
        let mut encoder = updraft::connectors::console::Encoder::new(shown.schema(), layout, false);
        encoder.encode(&shown.to_rows(), &mut out)?;
        encoder.finish(&mut out);
    }
    match std::io::stdout().write_all(out.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
