//! The demo without a terminal: a line for each window.

use std::io::Write;
use std::thread;
use std::time::Duration;

use updraft::kernel::clock;

use super::Live;

/// Prints windows as they come, for `span`.
pub(super) fn show(live: &Live<'_>, span: Duration) -> std::io::Result<()> {
    let begin = clock::now();
    let mut seen = 0;
    let mut out = std::io::stdout().lock();
    while clock::now().since(begin) < span && !live.is_over() {
        let (items, windows) = live.board.latest();
        if windows > seen {
            seen = windows;
            let records = live.running.metrics().records();
            let end = items.first().map(|item| item.window.end.to_string()).unwrap_or_default();
            let hottest: Vec<_> = items.iter().take(3).map(|item| format!("{}×{}", item.key, item.value)).collect();
            writeln!(out, "window to {end}: hottest items {} ({records} bids so far)", hottest.join(", "))?;
            out.flush()?;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
