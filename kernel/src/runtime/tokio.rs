//! Kernels on real threads: each drives a tokio current-thread runtime, for its timers and sockets.
//!
//! The kernel's scheduler is the one future that tokio runs. It runs ready tasks for a while, then returns to let tokio look
//! at its events; with nothing ready it returns until somebody wakes it.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use tokio::runtime;
use tokio::task::coop::unconstrained;

use super::cores::Cores;
use crate::clock;
use crate::random;
use crate::scheduler::{Kernel, Shared};

/// Starts the thread of a kernel.
pub(super) fn start(shared: Arc<Shared>, kernels: usize, cores: &Cores) -> io::Result<thread::JoinHandle<()>> {
    let blocking = cores.clone();
    let tokio =
        runtime::Builder::new_current_thread().enable_all().on_thread_start(move || blocking.share()).build()?;
    let cores = cores.clone();
    thread::Builder::new().name(format!("kernel-{}", shared.id.0)).spawn(move || {
        if !cores.pin(shared.id.0) {
            tracing::warn!(kernel = shared.id.0, "could not be pinned to a core");
        }
        random::seed(clock::wall().as_nanos() as u64 ^ (shared.id.0 as u64) << 48);
        let kernel = Kernel::install(shared, kernels);
        // Without tokio's budget, which would count all tasks of a turn as one: when it is spent, everything of tokio's says
        // that it is not ready until the turn ends.
        tokio.block_on(unconstrained(poll_fn(|cx| turn(&kernel, cx))));
        Kernel::uninstall();
        // A read of a terminal that nobody types at would hold an orderly end up for ever.
        tokio.shutdown_background();
    })
}

/// One turn of the kernel, between two looks of tokio at its events.
fn turn(kernel: &Rc<Kernel>, cx: &mut Context<'_>) -> Poll<()> {
    let idle = kernel.run(kernel.shared.quantum() * 2);
    if kernel.is_over() {
        return Poll::Ready(());
    }
    if !idle || !kernel.sleep(cx.waker()) {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}
