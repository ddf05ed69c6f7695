//! Where requests to stores are made: on a thread of their own. Clients of HTTP leave tasks on the runtime that they are
//! used on, so it must outlive jobs; and who cannot await must be able to wait for it.

use std::future::Future;
use std::io;
use std::sync::LazyLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use updraft_dataflow::Error;

static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).thread_name("stores").enable_all().build());

fn handle() -> Result<&'static Handle, Error> {
    match &*RUNTIME {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(format!("no thread for requests to stores could be started: {error}").into()),
    }
}

/// Goes on whether somebody awaits it or not.
pub(super) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<JoinHandle<T>, Error> {
    Ok(handle()?.spawn(work))
}

/// A task that ends when nobody awaits it any more.
struct Awaited<T>(JoinHandle<T>);

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Awaits `work`, which is done on the stores' thread.
pub(crate) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
    let mut task = Awaited(spawn(work)?);
    Ok((&mut task.0).await?)
}

/// Blocks until `work` is done: to be called where that is allowed.
pub(crate) fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
    let (tell, told) = sync_channel(1);
    spawn(async move { tell.send(work.await) })?;
    told.recv().map_err(|_| "a request to a store ended without an answer".into())
}

/// Blocks until `work` is done, but not for longer than `most`; then it goes on alone.
pub(super) fn wait_at_most(most: Duration, work: impl Future<Output = ()> + Send + 'static) {
    let (tell, told) = sync_channel(1);
    let told_of = async move {
        work.await;
        tell.send(())
    };
    if spawn(told_of).is_ok() {
        let _ = told.recv_timeout(most);
    }
}
