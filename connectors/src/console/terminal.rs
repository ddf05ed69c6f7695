//! Text on its way to standard output or standard error.

use updraft_dataflow::Error;

use crate::stdout::{BUFFER, put};

/// One of the standard streams, and what is gathered for it.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    is_error: bool,
    /// What has not been written yet.
    pub(crate) text: String,
}

impl Terminal {
    /// Standard error, or standard output.
    pub(crate) fn new(is_error: bool) -> Self {
        Self { is_error, text: String::new() }
    }

    /// Writes what is there once that is much.
    pub(crate) async fn relieve(&mut self) -> Result<(), Error> {
        if self.text.len() >= BUFFER { self.flush().await } else { Ok(()) }
    }

    /// Writes all.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        if self.text.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.text);
        match self.is_error {
            true => put(tokio::io::stderr(), "standard error", text.as_bytes()).await,
            false => put(tokio::io::stdout(), "standard output", text.as_bytes()).await,
        }
    }
}
