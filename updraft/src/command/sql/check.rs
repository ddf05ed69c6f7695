//! `updraft check job.sql`: what is wrong with files of statements, without running them.

use std::path::PathBuf;

use clap::Args;
use updraft_sql::parse;

use super::engine::{Engine, rendered};
use super::run::read;
use super::{Mode, Options};
use crate::command::Outcome;

/// Check files of SQL statements without running them: syntax, names, types, and whether each query can be run.
///
/// All statements are looked at, and all that is wrong is told.
#[derive(Args)]
pub(crate) struct Check {
    /// The files, for example `job.sql`; later ones may use the tables of those before.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    options: Options,
}

impl Check {
    pub(crate) fn run(self) -> Outcome {
        let mut engine = Engine::new(&self.options, Mode::Streaming)?;
        let mut wrong = 0;
        for file in &self.files {
            let (name, text) = (file.display().to_string(), read(file)?);
            let mut statements = 0;
            for piece in parse::split(&text) {
                match engine.plan(&piece) {
                    Ok(planned) => statements += usize::from(planned.is_some()),
                    Err(found) => {
                        wrong += 1;
                        eprintln!("{}", rendered(&found, &name, &text));
                    }
                }
            }
            println!("{name}: {} right", statements_are(statements));
        }
        if wrong > 0 { Err(format!("{} wrong", statements_are(wrong)).into()) } else { Ok(()) }
    }
}

fn statements_are(count: usize) -> String {
    if count == 1 { "1 statement is".into() } else { format!("{count} statements are") }
}
