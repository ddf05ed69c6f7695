//! `updraft explain`: what the built-in jobs are made of.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::{Outcome, bench, demo};

/// Show what a built-in job is made of: sources, stages, exchanges, sinks.
///
/// Operators that are joined by arrows are one stage: a single loop, fused by the compiler. `any kernel`: bundles lie down where they
/// were made, and whichever kernel is idle takes them. `by key group`: each goes to the kernel that owns its keys.
///
/// For a drawing: `updraft explain demo --format dot | dot -Tsvg > demo.svg`
#[derive(Args)]
pub(crate) struct Explain {
    /// Which job: `demo`, or one of those that `updraft bench` measures.
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    job: String,
    /// As what.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For Graphviz.
    Dot,
}

const DEMO: &str = "demo";

fn names() -> Vec<String> {
    std::iter::once(DEMO.into()).chain(bench::names()).collect()
}

impl Explain {
    pub(crate) fn run(self) -> Outcome {
        let job = match self.job.as_str() {
            DEMO => Some(demo::job()),
            name => bench::job(name),
        };
        let explained = job.ok_or("there is no such job")?.explain();
        match self.format {
            Format::Text => print!("{explained}"),
            Format::Dot => print!("{}", explained.dot()),
        }
        Ok(())
    }
}
