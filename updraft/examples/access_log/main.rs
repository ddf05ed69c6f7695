//! Traffic by path and minute, from a web server's access log: see the README beside this file.

mod access;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;
use updraft::connectors::files::Begin;
use updraft::connectors::stdout::Closed;
use updraft::kernel::signals;
use updraft::prelude::*;

use access::Access;

/// Requests, errors and bytes per path and minute, from access logs in the "combined" format of nginx and Apache.
#[derive(Parser)]
struct Args {
    /// Which files, for example '/var/log/nginx/access.log*'.
    files: String,
    /// Go on reading as the files grow and are rotated, like `tail -F`.
    #[arg(long)]
    follow: bool,
    /// What is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The length of a window, in seconds.
    #[arg(long, default_value_t = 60)]
    window: u64,
    /// How many seconds lines may be out of order.
    #[arg(long, default_value_t = 5)]
    disorder: u64,
    /// Set lines that cannot be read aside into this file, instead of ending with an error.
    #[arg(long)]
    dead_letters: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Table,
    Csv,
    Json,
}

/// What is printed of a path and window.
#[derive(Clone, Serialize)]
struct Traffic {
    /// Seconds since the Unix epoch.
    from: i64,
    path: String,
    requests: u64,
    errors: u64,
    bytes: u64,
}

fn main() -> ExitCode {
    match analyse(Args::parse()) {
        Err(error) if !Closed::is_in(&*error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn analyse(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::new()?;
    // First, so that there is no moment in which a signal would kill the job.
    let shutdown = signals::install(runtime.handle());
    let running = job(args).start(runtime.handle())?;
    let drains = running.clone();
    let signal = runtime.handle().group("shutdown", Class::Stream);
    signal.spawn(updraft::kernel::KernelId(0), "drain", || async move {
        shutdown.requested().await;
        drains.drain();
    });
    runtime.block_on(running.join())?;
    Ok(())
}

fn job(args: Args) -> Job {
    let mut files = Files::glob(args.files);
    if args.follow {
        files = files.follow(Begin::Start);
    }
    let job = Job::new("access_log");
    let mut input = job
        .source("log", files.decode(Access::parse))
        .timestamps(|access: &Access| access.time, Watermarks::bounded(Duration::from_secs(args.disorder)))
        // The log of a live server: a minute ends by the clock, though no request comes after it.
        .idle(Idle { after: Some(Duration::from_secs(2)), follow_clock: args.follow });
    if let Some(path) = args.dead_letters {
        input.dead_letters().sink("dead letters", DeadLetters::append(path));
    }
    let traffic = input
        .stream()
        .key_by(|access| access.path.clone())
        .window(Tumbling::of(Duration::from_secs(args.window.max(1))))
        .aggregate((count(), sum(|a: &Access| u64::from(a.status >= 400)), sum(|a: &Access| a.bytes)))
        .map(|row| {
            let (requests, errors, bytes) = row.value;
            Traffic { from: row.window.start.as_millis() / 1000, path: row.key.into(), requests, errors, bytes }
        });
    let stdout = match args.format {
        Format::Table => Stdout::table(),
        Format::Csv => Stdout::csv(),
        Format::Json => Stdout::json(),
    };
    traffic.sink("traffic", stdout);
    job
}
