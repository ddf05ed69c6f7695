//! Where connections live: on a thread of their own. They go on while a kernel is busy, so that a server hears from them in time, and
//! who cannot await (a planner) can wait for what is done there.

use std::future::Future;
use std::io;
use std::sync::LazyLock;
use std::sync::mpsc::sync_channel;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use updraft_dataflow::Error;

static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).thread_name("postgres").enable_all().build());

fn handle() -> Result<&'static Handle, Error> {
    match &*RUNTIME {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(format!("no thread for PostgreSQL's connections could be started: {error}").into()),
    }
}

/// A task that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<Task<T>, Error> {
    Ok(Task(handle()?.spawn(work)))
}

/// Goes on when nobody waits for it any more.
pub(crate) fn detach(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(handle) = handle() {
        drop(handle.spawn(work));
    }
}

/// Awaits `work`, which is done on the connections' thread.
pub(crate) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
    let mut task = spawn(work)?;
    Ok((&mut task.0).await?)
}

/// Blocks until `work` is done: to be called where that is allowed.
pub(crate) fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
    let (tell, told) = sync_channel(1);
    drop(handle()?.spawn(async move { tell.send(work.await) }));
    told.recv().map_err(|_| "a request to PostgreSQL ended without an answer".into())
}
