//! The program `updraft`. Each command is a file in [`command`].

mod command;

use std::process::ExitCode;

use clap::Parser;

// Records come and go by the million: the allocator is on the data path.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let log = tracing_subscriber::EnvFilter::try_from_env("UPDRAFT_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(log).with_writer(std::io::stderr).init();
    match command::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("updraft: {error}");
            ExitCode::FAILURE
        }
    }
}
