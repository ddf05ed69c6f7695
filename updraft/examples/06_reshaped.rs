//! A job that is re-shaped while it runs, and goes on where it was after `kill -9`: the words of a text, each with how often it has come so far.
//!
//! `cargo run --release --example 06_reshaped -- README.md words`; and elsewhere meanwhile `updraft top`, `updraft scale --kernels 1`,
//! `updraft swap --version lower=ascii`, `updraft rewire --add long`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use updraft::connectors::state_store;
use updraft::control::{Jobs, place, serve};
use updraft::dataflow::checkpoint::Checkpoints;
use updraft::dataflow::keyed::Context;
use updraft::prelude::*;

/// Tells of each word how many there were so far, by a function that counts on.
#[derive(Clone)]
struct Nth(fn(u64) -> u64);

impl Process<String, String> for Nth {
    type State = u64;
    type Out = (String, u64);

    fn record(&mut self, word: String, count: &mut u64, cx: &mut Context<'_, String, Self::Out>) {
        *count = self.0(*count);
        cx.emit((word, *count));
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let (Some(text), Some(folder)) = (args.next(), args.next()) else {
        return Err(
            "say which text is to be read, and a folder for what comes of it: `06_reshaped README.md words`".into()
        );
    };
    let runtime = Runtime::builder().kernels(2).pin(false).build()?;
    let (store, root) = state_store(&folder.join("state").display().to_string())?;
    let checkpoints = runtime.block_on(Checkpoints::open(store, &root))?.every(Duration::from_millis(20));

    // `long` is a branch that is there when it is asked for.
    let job = Job::new("words").checkpoints(checkpoints).without("long");
    let lower = job.function("lower", "unicode", |word: &str| word.to_lowercase());
    let lower = lower.or("ascii", |word| word.to_ascii_lowercase());
    let nth = job.swappable("nth", "first", Nth(|n| n + 1)).or("second", Nth(|n| n.saturating_add(1)));
    let words = job.source("text", Files::path(text).lines()).stream().flat_map(|line: String| {
        let words = line.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<Vec<_>>()
    });
    let (words, long) = words.materialize().fork();
    let counted = words.map(move |word| lower.call(&*word)).key_by(|word: &String| word.clone()).process(nth);
    counted.sink("words", FileSink::csv(folder.join("words.csv")));
    long.filter(|word| word.len() > 12).sink("long", FileSink::csv(folder.join("long.csv")));

    let running = job.start(runtime.handle())?;
    // From here on commands of other processes reach it.
    let jobs = Jobs::default();
    jobs.add(&running);
    let _serving = serve(&jobs, place::own()?)?;
    runtime.block_on(running.join())?;
    Ok(())
}
