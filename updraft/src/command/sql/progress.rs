//! How far a job has come, told on standard error while it runs, if that is a terminal and results are not.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use updraft::kernel::{Class, Group, KernelId, clock};
use updraft::{Running, Runtime};

/// How often it is told; jobs that end sooner than the first time tell nothing.
const TICK: Duration = Duration::from_millis(500);

/// Tells of a running job, until it is dropped.
pub(super) struct Progress(Option<Group>);

impl Progress {
    pub(super) fn of(running: &Running, runtime: &Runtime) -> Self {
        if !std::io::stderr().is_terminal() || std::io::stdout().is_terminal() {
            return Self(None);
        }
        let group = runtime.handle().group("progress", Class::Stream);
        let running = running.clone();
        group.spawn(KernelId(0), "progress", move || async move {
            let begun = clock::now();
            while !running.is_ended() {
                clock::sleep_until(clock::now() + TICK).await;
                show(&running, clock::now().since(begun));
            }
        });
        Self(Some(group))
    }
}

impl Drop for Progress {
    /// Takes the line away.
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            group.cancel();
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// One line, in place of the one before.
fn show(running: &Running, elapsed: Duration) {
    let rows: u64 = running.metrics().sources.iter().map(|source| source.records()).sum();
    let seconds = elapsed.as_secs_f64();
    let rate = rows as f64 / seconds;
    let _ = write!(std::io::stderr(), "\r\x1b[K{rows} rows, {rate:.0}/s, {seconds:.0} s");
}
