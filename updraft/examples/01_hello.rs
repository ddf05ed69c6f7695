//! The least there is: records in memory, counted by key and second, printed as a table.
//!
//! `cargo run --release --example 01_hello`

use std::time::Duration;

use updraft::prelude::*;

fn main() -> Result<(), updraft::JobError> {
    let clicks = vec![(100, "home"), (250, "cart"), (900, "home"), (1_300, "home"), (700, "cart"), (1_900, "pay")];
    let job = Job::new("clicks");
    job.source("clicks", Memory::new(clicks))
        .timestamps(|click| Time::from_millis(click.0), Watermarks::bounded(Duration::from_secs(1)))
        .stream()
        .key_by(|click| click.1.to_string())
        .window(Tumbling::of(Duration::from_secs(1)))
        .aggregate(count())
        .sink("table", Stdout::table());
    job.run()?;
    Ok(())
}
