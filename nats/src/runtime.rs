//! Where clients of NATS live: on a thread of their own. A client leaves a task on the runtime that it was made on, which has to answer
//! the server's pings whatever the kernels are busy with.

use std::future::Future;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use updraft_dataflow::Error;

static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).thread_name("nats").enable_all().build());

/// A task that ends when nobody awaits it any more.
pub(crate) struct Awaited<T>(JoinHandle<T>);

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts `work` on the thread of NATS.
pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<Awaited<T>, Error> {
    match &*RUNTIME {
        Ok(runtime) => Ok(Awaited(runtime.spawn(work))),
        Err(error) => Err(format!("no thread for NATS could be started: {error}").into()),
    }
}

/// Awaits `work`, which is done on the thread of NATS.
pub(crate) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
    let mut task = spawn(work)?;
    Ok((&mut task.0).await?)
}

/// Waits, on the thread of NATS.
#[expect(clippy::disallowed_methods, reason = "the thread of NATS is no kernel's")]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
