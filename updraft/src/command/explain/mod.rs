//! `updraft explain`: what jobs are made of, and what one that gives nothing waits for.

mod live;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::sql::{Engine, Mode, Options, read};
use super::{Outcome, bench, demo};

/// Show what a job is made of: sources, stages, exchanges, sinks.
///
/// A job is a file of SQL statements, of which the last query or INSERT is meant, or one of the built-in ones: `demo`, or one of
/// those that `updraft bench` measures. Or one that runs, as `updraft ps` shows it: then with what each part has done.
///
/// Operators that are joined by arrows are one stage: a single loop, fused by the compiler. `any kernel`: bundles lie down where they
/// were made, and whichever kernel is idle takes them. `by key group`: each goes to the kernel that owns its keys.
///
/// For a drawing: `updraft explain demo --format dot | dot -Tsvg > demo.svg`
#[derive(Args)]
pub(crate) struct Explain {
    #[arg(required = true, value_name = "JOB", help = which())]
    jobs: Vec<String>,
    /// As what.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Run a query for a while, and tell why it gives no rows: which input gives nothing, or holds the watermark. Of a job that runs, what it has come to
    /// so far.
    #[arg(long)]
    why_no_output: bool,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 5.0, requires = "why_no_output")]
    seconds: f64,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For Graphviz.
    Dot,
}

const DEMO: &str = "demo";

fn which() -> String {
    let benchmarks: Vec<_> = bench::names().collect();
    format!(
        "Which job: files of SQL, of which the first ones may be those of its tables; or one that runs; or {DEMO}, {}",
        benchmarks.join(", ")
    )
}

impl Explain {
    pub(crate) fn run(self) -> Outcome {
        let explained = match &self.jobs[..] {
            [job] if job == DEMO => demo::job().explain(),
            [job] if bench::names().any(|name| &name == job) => {
                bench::job(job).ok_or("there is no such job")?.explain()
            }
            [job] if let Some(plan) = live::plan(job)? => {
                print!("{}", if self.why_no_output { plan.why } else { live::shown(&plan) });
                return Ok(());
            }
            files => return self.sql(files),
        };
        match self.format {
            Format::Text => print!("{explained}"),
            Format::Dot => print!("{}", explained.dot()),
        }
        Ok(())
    }

    fn sql(&self, files: &[String]) -> Outcome {
        let mut engine = Engine::new(&self.options, Mode::Streaming)?;
        let mut last = None;
        for file in files {
            let path = PathBuf::from(file);
            if !path.exists() {
                let known: Vec<_> = bench::names().collect();
                return Err(
                    format!("{file}: there is no such file, and no such job: {DEMO}, {}", known.join(", ")).into()
                );
            }
            last = engine.last_query(file, &read(&path)?)?.or(last);
        }
        let query = last.ok_or("there is no query and no INSERT in it")?;
        if self.why_no_output {
            let ran = Duration::from_secs_f64(self.seconds);
            let metrics = engine.run_for(query, ran)?;
            print!("{}", updraft::control::why(&metrics, ran));
            return Ok(());
        }
        if self.format == Format::Text {
            println!("{query:?}");
        }
        let explained = query
            .job("query", updraft::dataflow::connector::AnySink::new(updraft::connectors::Blackhole::new().0))?
            .explain();
        match self.format {
            Format::Text => print!("{explained}"),
            Format::Dot => print!("{}", explained.dot()),
        }
        Ok(())
    }
}
