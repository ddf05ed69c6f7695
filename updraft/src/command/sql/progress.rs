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
    let (metrics, state) = (running.metrics(), running.metrics().checkpoints.restored());
    let line = if state.read < state.whole && metrics.records() == 0 {
        let share = state.read as f64 / state.whole as f64;
        format!("state: {} of {} MB, {} left", state.read / 1_000_000, state.whole / 1_000_000, left(elapsed, share))
    } else {
        line(metrics.records(), elapsed, metrics.share())
    };
    let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
}

/// Rows and their rate; which part of the input has been read and how long the rest will take, where there is an end in sight.
fn line(rows: u64, elapsed: Duration, share: Option<f64>) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = rows as f64 / seconds;
    match share.filter(|share| *share > 0.0) {
        Some(share) => format!("{rows} rows, {rate:.0}/s, {:.0} %, {} left", share * 100.0, left(elapsed, share)),
        None => format!("{rows} rows, {rate:.0}/s, {seconds:.0} s"),
    }
}

/// How long the rest takes, where so long was needed for a share: `0:02:45`.
fn left(elapsed: Duration, share: f64) -> String {
    let left = (elapsed.as_secs_f64() * (1.0 / share.max(1e-9) - 1.0)).round() as u64;
    format!("{}:{:02}:{:02}", left / 3600, left / 60 % 60, left % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_was_read() {
        let line = |share| line(1_000, Duration::from_secs(100), share);
        assert_eq!(line(Some(0.25)), "1000 rows, 10/s, 25 %, 0:05:00 left");
        assert_eq!(line(Some(0.01)), "1000 rows, 10/s, 1 %, 2:45:00 left");
        assert_eq!(line(Some(1.0)), "1000 rows, 10/s, 100 %, 0:00:00 left");
        assert_eq!(line(None), "1000 rows, 10/s, 100 s");
    }
}
