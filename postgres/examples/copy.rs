//! Copies a table into one without a key, each row once, however often the job is killed: then run it again with the same arguments. With
//! a slot it goes on with the rows that are added.
//!
//! `cargo run --example copy -- postgresql://ann@localhost/shop orders copies state [slot]`

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::{Epochs, Error, Job};
use updraft_kernel::Runtime;
use updraft_postgres::{ChangeSource, Server, TableName, TableSink, TableSource};

fn main() -> Result<(), Error> {
    copy(&std::env::args().skip(1).collect::<Vec<_>>())
}

/// Runs the job, until all is copied.
pub(crate) fn copy(arguments: &[String]) -> Result<(), Error> {
    let [url, from, to, state, slot @ ..] = arguments else { return Err("copy URL FROM TO STATE [SLOT]".into()) };
    let (server, from) = (Server::parse(url)?, TableName::parse(from)?);
    let columns = [("id", DataType::Int64), ("note", DataType::Utf8View)];
    let schema = Arc::new(Schema::new(columns.map(|(name, kind)| Field::new(name, kind, true)).to_vec()));
    let sink = TableSink::new(server.clone(), TableName::parse(to)?, schema.clone());
    std::fs::create_dir_all(state)?;
    let store = Arc::new(LocalFileSystem::new_with_prefix(state)?);
    let runtime = Runtime::builder().kernels(2).pin(false).build()?;
    let checkpoints = runtime.block_on(Checkpoints::open(store, &Path::default()))?.every(Duration::from_millis(20));
    let job = Job::new("copy").checkpoints(checkpoints);
    let epochs = Epochs::WallClock(Duration::from_millis(5));
    match slot.first() {
        None => job.source("from", TableSource::new(server, from, schema)).epochs(epochs).stream().sink("to", sink),
        Some(slot) => {
            let changes = ChangeSource::new(server, from, schema, slot);
            job.source("from", changes).epochs(epochs).stream().sink("to", sink);
        }
    }
    runtime.block_on(job.start(runtime.handle())?.join())?;
    Ok(())
}
