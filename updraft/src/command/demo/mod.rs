//! `updraft demo`: an auction site's hottest items, live.
//!
//! [`board`] is the sink, [`screen`] shows it in a terminal, [`plain`] where there is none.

mod board;
mod plain;
mod screen;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Parser;
use updraft::kernel::signals;
use updraft::prelude::*;

use super::Outcome;
use board::Board;

/// Watch the hottest items of an auction site: Nexmark bids, counted in sliding windows, live.
///
/// In a terminal it draws a table until `q` is pressed; elsewhere it prints a line for each window and ends by itself.
#[derive(Parser)]
pub(crate) struct Demo {
    /// Bids a second.
    #[arg(long, default_value_t = 200_000.0)]
    rate: f64,
    /// The length of a window, in seconds of event time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    window: u64,
    /// How often a window ends, in seconds of event time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    slide: u64,
    /// How many items to show.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    top: u64,
    /// How many kernels; all cores by default.
    #[arg(long)]
    kernels: Option<usize>,
    /// End after so many seconds; without a terminal, 10 by default.
    #[arg(long)]
    seconds: Option<u64>,
}

/// What is run by default.
pub(super) fn job() -> Job {
    Demo::parse_from(["demo"]).job(&Board::default())
}

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        if self.slide > self.window {
            return Err("--slide must not be longer than --window: records in between would be lost".into());
        }
        let mut builder = Runtime::builder();
        if let Some(kernels) = self.kernels {
            builder = builder.kernels(kernels);
        }
        let runtime = builder.build()?;
        let board = Board::default();
        // First, so that there is no moment in which a signal would kill the job.
        let shutdown = signals::install(runtime.handle());
        let running = self.job(&board).start(runtime.handle())?;
        let live = Live { running, board, runtime: &runtime, shutdown };
        if std::io::stdout().is_terminal() {
            screen::show(&live, self.seconds.map(Duration::from_secs))?;
        } else {
            plain::show(&live, Duration::from_secs(self.seconds.unwrap_or(10)))?;
        }
        live.running.drain();
        runtime.block_on(live.running.join())?;
        Ok(())
    }

    /// Bids (46 of 50 events) → bids per item and window → the items of the most bids.
    fn job(&self, board: &Board) -> Job {
        let (window, slide) = (Duration::from_secs(self.window), Duration::from_secs(self.slide));
        let job = Job::new("demo");
        job.source("bids", Nexmark::new().rate(self.rate * 50.0 / 46.0).bids())
            .timestamps(|bid| bid.date_time, Watermarks::bounded(Duration::from_millis(100)))
            .stream()
            .key_by(|bid| bid.auction)
            .window(Sliding::of(window, slide))
            .aggregate(count())
            .window_all(Tumbling::of(slide))
            .top_k(self.top as usize, |item| item.value)
            .sink("board", board.clone());
        job
    }
}

/// The job while it runs.
struct Live<'a> {
    running: Running,
    board: Board,
    runtime: &'a Runtime,
    shutdown: signals::Shutdown,
}

impl Live<'_> {
    /// Why to stop showing, if there is a reason.
    fn is_over(&self) -> bool {
        self.shutdown.is_requested() || self.running.is_ended()
    }
}
