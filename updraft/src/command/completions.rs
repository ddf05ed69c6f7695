//! `updraft completions`: what a shell completes commands with.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Outcome};

/// Print a completion script for your shell.
///
/// For bash: `updraft completions bash > ~/.local/share/bash-completion/completions/updraft`
#[derive(Args)]
pub(crate) struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Outcome {
        clap_complete::generate(self.shell, &mut Cli::command(), "updraft", &mut std::io::stdout());
        Ok(())
    }
}
