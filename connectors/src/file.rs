//! One file of JSON lines or CSV, compressed by its extension, that appears when it is whole, or not at all.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use updraft_dataflow::{Bundle, Error, Prepared, Record, Sink};

use crate::compression::{Compression, Target};
use crate::growing::{Growing, Grown};
use crate::rows::{Begun, Layout, Rows};

/// How much is gathered before it is written, in bytes.
const BUFFER: usize = 256 << 10;

/// A sink that writes records, of any type that serde can serialise, to a file.
///
/// `out.csv.gz` is written as `out.csv.gz.part`, and takes its name (and the place of a file that had it) when the job has
/// ended well and the bytes are on the disk: who sees it sees all of it. A job that fails or is cancelled removes the `.part`;
/// only a process that is killed leaves it behind, and the next run writes it anew. `.gz`, `.zst`, `.bz2` and `.xz` are compressed.
///
/// In a job that takes checkpoints it goes on over all of them, as `.out.csv.gz.ATTEMPT.part`, and takes its name at
/// the job's end: each record is in it exactly once.
pub struct FileSink {
    path: PathBuf,
    rows: Rows,
    buffer: Vec<u8>,
    open: Option<Open>,
    /// In a job that takes checkpoints.
    growing: Option<Growing>,
}

/// What has been prepared: so much of the file, of which the next record is written so.
#[derive(Serialize, Deserialize)]
struct Ready {
    #[serde(flatten)]
    grown: Grown,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<Begun>,
}

/// The file that is being written.
struct Open {
    target: Target,
    /// A second handle: the bytes go through `target`, which cannot be asked to sync.
    file: File,
}

impl FileSink {
    /// A JSON value a line.
    pub fn json(path: impl Into<PathBuf>) -> Self {
        Self::new(path, Layout::Json)
    }

    /// Comma-separated values with a header; see [`Layout::Csv`].
    pub fn csv(path: impl Into<PathBuf>) -> Self {
        Self::new(path, Layout::Csv)
    }

    /// A table for people; see [`Layout::Table`].
    pub fn table(path: impl Into<PathBuf>) -> Self {
        Self::new(path, Layout::Table)
    }

    /// In the layout given.
    pub fn new(path: impl Into<PathBuf>, layout: Layout) -> Self {
        Self { path: path.into(), rows: Rows::new(layout), buffer: Vec::new(), open: None, growing: None }
    }

    /// Where the bytes go until the file is whole.
    fn part(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".part");
        name.into()
    }

    async fn target(&mut self) -> io::Result<&mut Target> {
        let part = self.part();
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(open(&part, Compression::of_path(&self.path))?),
        };
        Ok(&mut open.target)
    }

    async fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.target().await?.write_all(&buffer).await?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    async fn grow(growing: &mut Growing, buffer: &mut Vec<u8>) -> Result<(), Error> {
        growing.write(buffer).await?;
        buffer.clear();
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.rows.flush(&mut self.buffer);
        self.flush().await?;
        if let Some(open) = &mut self.open {
            open.target.shutdown().await?;
            open.file.sync_all().await?;
        }
        // No wait between this and the end: the job either fails before the file has its name, or it does not.
        fs::rename(self.part(), &self.path)?;
        self.open = None;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Error {
        let remedy = "check that its folder is there, may be written to and is not full";
        format!("{}: cannot be written: {error}; {remedy}", self.path.display()).into()
    }
}

/// At once, not on another thread, where it could come after the sink was told to give up.
fn open(part: &Path, compression: Compression) -> io::Result<Open> {
    let file = fs::File::create(part)?;
    let target = compression.writer(File::from_std(file.try_clone()?));
    Ok(Open { target, file: File::from_std(file) })
}

impl<T: Record + Serialize> Sink<T> for FileSink {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        self.rows.encode(bundle.as_slice(), &mut self.buffer)?;
        match &mut self.growing {
            _ if self.buffer.len() < BUFFER => Ok(()),
            Some(growing) => Self::grow(growing, &mut self.buffer).await,
            None => self.flush().await.map_err(|error| self.failed(&error)),
        }
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        let prepared = prepared.into_iter().rfind(|prepared| !prepared.is_null());
        let ready: Option<Ready> = prepared.map(serde_json::from_value).transpose()?;
        let (grown, begun) = ready.map(|ready| (ready.grown, ready.begun)).unzip();
        if let Some(begun) = begun.flatten() {
            self.rows.go_on(begun);
        }
        let compression = Compression::of_path(&self.path);
        self.growing = Some(Growing::begin(&self.path, compression, attempt, grown).await?);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        let Some(growing) = &mut self.growing else { return Ok(Prepared::Null) };
        self.rows.flush(&mut self.buffer);
        Self::grow(growing, &mut self.buffer).await?;
        Ok(serde_json::to_value(Ready { grown: growing.prepare().await?, begun: self.rows.begun() })?)
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        if let Some(growing) = &self.growing {
            growing.commit(serde_json::from_value::<Ready>(prepared)?.grown);
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        if let Some(growing) = &mut self.growing {
            self.rows.flush(&mut self.buffer);
            Self::grow(growing, &mut self.buffer).await?;
            return growing.publish().await;
        }
        self.finish().await.map_err(|error| self.failed(&error))
    }

    fn abort(&mut self) {
        if let Some(growing) = &mut self.growing {
            growing.abort();
        }
        if self.open.take().is_some() {
            // Where it cannot be removed, it is still not taken for the file.
            let _ = fs::remove_file(self.part());
        }
    }
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink").field("path", &self.path).finish_non_exhaustive()
    }
}
