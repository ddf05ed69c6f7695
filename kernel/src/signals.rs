//! SIGINT and SIGTERM: the first one asks jobs to drain, the second one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::context::{KernelId, kernel_id};
use crate::runtime::Handle;
use crate::scheduler::Class;

/// Tells when the process was asked to end.
#[derive(Clone, Default, Debug)]
pub struct Shutdown(Arc<(AtomicBool, Notify)>);

impl Shutdown {
    /// Whether the process was asked to end.
    pub fn is_requested(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Waits until the process is asked to end.
    pub async fn requested(&self) {
        loop {
            let changed = self.0.1.notified();
            if self.is_requested() {
                return;
            }
            changed.await;
        }
    }

    /// Forgets that it was asked: for a shell whose query has ended, and which goes on. The next signal asks anew.
    /// Whether it had been asked.
    pub fn take(&self) -> bool {
        self.0.0.swap(false, Ordering::AcqRel)
    }

    fn request(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.notify_waiters();
    }
}

/// The exit code of a process that a second signal has ended.
const INTERRUPTED: i32 = 130;

/// Listens for SIGINT and SIGTERM: after the first one, [`Shutdown::requested`]; with the second one the
/// process exits at once with code 130. From outside the kernels, it returns when it listens; on a kernel, which cannot
/// wait for itself, a little before.
pub fn install(handle: &Handle) -> Shutdown {
    let shutdown = Shutdown::default();
    let request = shutdown.clone();
    let (listening, listens) = std::sync::mpsc::sync_channel(1);
    handle.group("signals", Class::Stream).spawn(KernelId(0), "signals", || async move {
        let listen = || Ok::<_, std::io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?));
        let (mut interrupt, mut terminate) = match listen() {
            Ok(signals) => signals,
            Err(error) => return tracing::error!(%error, "signals cannot be listened for"),
        };
        let _ = listening.send(());
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if request.is_requested() {
                std::process::exit(INTERRUPTED);
            }
            request.request();
        }
    });
    if kernel_id().is_none() {
        // An error here is that of the task, which has told it.
        let _ = listens.recv();
    }
    shutdown
}
