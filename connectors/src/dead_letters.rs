//! Rejected records, kept as JSON lines: each can be looked at, mended and given again.

use std::path::PathBuf;

use serde::Serialize;
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use updraft_dataflow::{Bundle, DeadLetter, Error, Sink};

use crate::rows::{Layout, Rows};

/// A sink that appends dead letters to a file, each bundle at once: they are wanted most when the job has crashed.
///
/// A line has `origin`, `line` and `reason`, and the record itself: as `text` where it is UTF-8, else as `escaped`,
/// with `\xNN` for the bytes that are not ASCII and `\\` for a backslash.
///
/// What was written since a job's last checkpoint is written again if its process is killed: each record comes at least
/// once.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    file: Option<File>,
}

/// What is written of a dead letter.
#[derive(Serialize)]
struct Line<'a> {
    origin: &'a str,
    line: u64,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    escaped: Option<String>,
}

impl DeadLetters {
    /// Appends to the file at `path`; it is made if need be.
    pub fn append(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None }
    }

    async fn append_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(OpenOptions::new().create(true).append(true).open(&self.path).await?),
        };
        file.write_all(bytes).await?;
        file.flush().await
    }
}

impl<'a> From<&'a DeadLetter> for Line<'a> {
    fn from(letter: &'a DeadLetter) -> Self {
        let text = std::str::from_utf8(&letter.bytes).ok();
        let escaped = text.is_none().then(|| letter.bytes.escape_ascii().to_string());
        Self { origin: &letter.origin, line: letter.line, reason: &letter.reason, text, escaped }
    }
}

impl Sink<DeadLetter> for DeadLetters {
    async fn write(&mut self, bundle: Bundle<DeadLetter>) -> Result<(), Error> {
        let lines: Vec<Line<'_>> = bundle.as_slice().iter().map(Line::from).collect();
        let mut bytes = Vec::new();
        Rows::new(Layout::Json).encode(&lines, &mut bytes)?;
        self.append_bytes(&bytes).await.map_err(|error| {
            let remedy = "check that its folder is there, may be written to and is not full";
            format!("{}: dead letters cannot be written: {error}; {remedy}", self.path.display()).into()
        })
    }
}
