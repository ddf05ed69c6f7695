//! Writes the files of a table.
//!
//! A file is written as `.NAME.part`, which no reader of tables takes for one, and takes its name when it is whole and on the
//! disk; in a store of objects it is nowhere until then. Where the job has an end, all files take their names at that end: who sees one sees a job that has ended well. Where it
//! has none, a file that is large or old enough takes its name with the next epoch that is complete. A job that fails or is
//! cancelled removes what has no name yet; only a process that is killed leaves it behind.
//!
//! In a job that takes checkpoints each ends all files of a folder, and they take their names when it is stored, in
//! jobs that have an end, too (`transaction.rs`): each row is in one file of them, once, whatever is killed when. One
//! file goes on over all checkpoints, and takes its name at the end (`single.rs`). What a process that is killed before
//! its first checkpoint was stored leaves behind stays there, hidden.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take_record_batch;
use updraft_dataflow::connector::Table;
use updraft_dataflow::{Bundle, Error, Prepared, Punctuation, Rows, Sink};
use updraft_kernel::clock::{self, Nanos};

use super::commit::Commits;
use super::draft::{Draft, failed, mark};
use super::hive;
use super::settings::Settings;
use super::single::Single;
use super::stored;
use super::transaction::Ended;
use crate::columns::Encode;
use crate::compression::Compression;
use crate::durable::sync_names;

/// How much is gathered before it is written, in bytes.
pub(super) const BUFFER: usize = 1 << 20;

/// A sink that writes rows to a file, or to files in a folder.
///
/// A folder's files are those of `part-RUN-NUMBER.FORMAT`, so that what another run has written stays. Where the table is
/// partitioned, each row goes to the folder that its columns name.
///
/// With checkpoints each row is written exactly once: see the module's page.
pub struct FolderSink {
    settings: Settings,
    stored: SchemaRef,
    /// Which of the table's columns are in the files, and which in the names of folders.
    columns: Vec<usize>,
    keys: Vec<usize>,
    layout: Layout,
    open: BTreeMap<String, Open>,
    /// Files that are whole, and have no name yet.
    whole: Vec<Draft>,
    /// Those that have one, and may still be taken back.
    published: Vec<Draft>,
    commits: Option<Commits>,
    bounded: bool,
    checkpoints: Checkpoints,
}

/// What checkpoints are for the sink.
enum Checkpoints {
    /// The job takes none.
    None,
    /// Of one file.
    File(Box<Single>),
    /// Of files in a folder: the next one ends them.
    Folder {
        /// The partitions that it completes.
        complete: Vec<String>,
        /// What has been prepared here and not committed. It is prepared with the next one again, which may be the one
        /// to go on from.
        hidden: BTreeSet<String>,
    },
}

/// What files are called.
enum Layout {
    /// The path is the file.
    File,
    /// There is one after the other in it.
    Folder { run: String, attempt: Option<u64>, next: u64 },
}

/// A file that is being written.
struct Open {
    draft: Draft,
    encoder: Box<dyn Encode>,
    buffer: Vec<u8>,
    written: u64,
    begun: Nanos,
    /// When the last row came.
    active: Nanos,
}

/// Sinks that this process has made.
static SINKS: AtomicU64 = AtomicU64::new(0);

/// A name that no other run, and no other sink of this one, has.
fn run() -> String {
    let sink = SINKS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{sink}", clock::wall().as_micros(), std::process::id())
}

impl FolderSink {
    /// Into a table's files.
    ///
    /// # Errors
    /// When an option's value is wrong, or the format cannot hold the table's columns.
    pub fn new(table: &Table) -> Result<Self, Error> {
        let settings = Settings::of(table)?;
        let (stored, columns) = stored(table);
        if columns.is_empty() {
            return Err(format!(
                "table `{}` is partitioned by all of its columns: nothing is left to write",
                table.name
            )
            .into());
        }
        settings.format.file_encoder(&stored)?;
        let path = settings.path();
        let is_file = table.partition_keys.is_empty()
            && path.extension().is_some()
            && (settings.store.is_some() || !path.is_dir())
            && !settings.path.ends_with('/');
        if settings.path.contains('*') {
            return Err(
                format!("'path' = '{}': a glob can be read only; name a folder or a file", settings.name()).into()
            );
        }
        let layout = if is_file { Layout::File } else { Layout::Folder { run: run(), attempt: None, next: 0 } };
        let commits = Commits::of(table, &settings.default_name)?;
        if is_file && commits.is_some() {
            return Err(format!(
                "'sink.partition-commit.policy.kind': '{}' is one file; name a folder",
                settings.name()
            )
            .into());
        }
        let (open, whole, published) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (keys, bounded) = (table.partition_keys.clone(), table.bounded);
        let checkpoints = Checkpoints::None;
        Ok(Self { settings, stored, columns, keys, layout, open, whole, published, commits, bounded, checkpoints })
    }

    /// The rows of each folder.
    fn split(&self, rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, Error> {
        let columns = rows.project(&self.columns)?;
        if self.keys.is_empty() {
            return Ok(vec![(String::new(), columns)]);
        }
        let folders = hive::folders(&rows.project(&self.keys)?, &self.settings.default_name)?;
        let mut of_folder = BTreeMap::<String, Vec<u32>>::new();
        for (row, folder) in folders.into_iter().enumerate() {
            of_folder.entry(folder).or_default().push(row as u32);
        }
        let take = |(folder, rows)| Ok((folder, take_record_batch(&columns, &UInt32Array::from(rows))?));
        of_folder.into_iter().map(take).collect()
    }

    /// The file of a folder that is being written, and a new one if there is none.
    fn file(&mut self, folder: &str) -> Result<&mut Open, Error> {
        if !self.open.contains_key(folder) {
            let path = self.file_path(folder);
            self.open.insert(folder.to_owned(), self.open_file(path)?);
        }
        self.open.get_mut(folder).ok_or_else(|| "a file that was opened is gone".into())
    }

    fn file_path(&mut self, folder: &str) -> PathBuf {
        match &mut self.layout {
            Layout::File => self.settings.path(),
            Layout::Folder { run, attempt, next } => {
                let packed = self.settings.compression.map_or("", Compression::extension);
                *next += 1;
                let attempt = attempt.map(|attempt| format!("{attempt}-")).unwrap_or_default();
                let name = format!("part-{run}-{attempt}{}.{}{packed}", *next - 1, self.settings.format);
                self.settings.path().join(folder).join(name)
            }
        }
    }

    fn open_file(&self, path: PathBuf) -> Result<Open, Error> {
        let encoder = self.settings.format.file_encoder(&self.stored)?;
        let compression = match self.settings.format.is_block() {
            true => Compression::Plain,
            false => self.settings.compression_of(&path),
        };
        let hidden = matches!(self.checkpoints, Checkpoints::Folder { .. });
        let draft = Draft::begin(self.settings.store.as_ref(), path, compression, hidden)?;
        let (buffer, written, now) = (Vec::new(), 0, clock::now());
        Ok(Open { draft, encoder, buffer, written, begun: now, active: now })
    }

    /// Ends the file of a folder.
    async fn end(&mut self, folder: &str) -> Result<(), Error> {
        let Some(open) = self.open.get_mut(folder) else { return Ok(()) };
        open.encoder.finish(&mut open.buffer)?;
        open.flush().await?;
        open.draft.finish().await?;
        self.whole.extend(self.open.remove(folder).map(|open| open.draft));
        Ok(())
    }

    /// Gives whole files their names. On disk there is no wait from here to the end: the job either fails before a file
    /// has its name, or it does not. In a store what has been given is taken back if the rest fails.
    async fn publish(&mut self) -> Result<(), Error> {
        while let Some(draft) = self.whole.last_mut() {
            draft.publish().await?;
            self.published.extend(self.whole.pop());
        }
        self.published.drain(..).for_each(Draft::keep);
        Ok(())
    }

    /// Tells that partitions are complete.
    async fn tell(&mut self, folders: Vec<String>) -> Result<(), Error> {
        let Some(commits) = &mut self.commits else { return Ok(()) };
        for folder in folders {
            let path = self.settings.path().join(&folder).join(&commits.file);
            mark(self.settings.store.as_ref(), &path).await?;
            commits.told(&folder);
        }
        Ok(())
    }

    /// What says that a partition is complete.
    fn marker(&self) -> Option<&str> {
        self.commits.as_ref().map(|commits| &*commits.file)
    }

    /// Keeps whole files under their hidden names.
    async fn hide(&mut self) -> Result<Ended, Error> {
        let root = self.settings.path();
        for draft in &mut self.whole {
            draft.prepare().await?;
        }
        let paths: Vec<_> = self.whole.iter().map(|draft| draft.path().to_owned()).collect();
        if self.settings.store.is_none() {
            sync_names(paths.iter().cloned(), &root).await.map_err(|error| failed(&root, &error))?;
        }
        self.whole.drain(..).for_each(Draft::keep);
        let (mut files, mut complete) = (Vec::new(), Vec::new());
        if let Checkpoints::Folder { complete: due, hidden } = &mut self.checkpoints {
            for path in paths {
                hidden.insert(path.strip_prefix(&root)?.to_string_lossy().into_owned());
            }
            (files, complete) = (hidden.iter().cloned().collect(), std::mem::take(due));
        }
        let run = if let Layout::Folder { run, .. } = &self.layout { run.clone() } else { String::new() };
        let pending = self.commits.as_ref().map(Commits::all).unwrap_or_default();
        Ok(Ended { run, files, complete, pending })
    }

    async fn end_all(&mut self, which: impl Fn(&Open) -> bool) -> Result<(), Error> {
        let folders: Vec<_> =
            self.open.iter().filter(|(_, open)| which(open)).map(|(folder, _)| folder.clone()).collect();
        for folder in folders {
            self.end(&folder).await?;
        }
        Ok(())
    }

    async fn rows(&mut self, rows: &Rows) -> Result<(), Error> {
        if rows.kinds().is_some() {
            return Err("files take insertions only, and a row was changed or deleted".into());
        }
        let size = self.settings.roll.size;
        let rolls = matches!(self.layout, Layout::Folder { .. });
        if let Checkpoints::File(single) = &mut self.checkpoints {
            return single.write(&rows.batch().project(&self.columns)?).await;
        }
        for (folder, rows) in self.split(rows.batch())? {
            let open = self.file(&folder)?;
            open.encoder.encode(&rows, &mut open.buffer)?;
            open.active = clock::now();
            if open.buffer.len() >= BUFFER {
                open.flush().await?;
            }
            let (now, is_large) = (open.active, open.bytes() >= size);
            if let Some(commits) = &mut self.commits {
                commits.note(&folder, now)?;
            }
            if rolls && is_large {
                self.end(&folder).await?;
            }
        }
        Ok(())
    }
}

impl Open {
    async fn flush(&mut self) -> Result<(), Error> {
        let buffer = std::mem::take(&mut self.buffer);
        self.draft.write(&buffer).await?;
        self.written += buffer.len() as u64;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    /// How large it is, with what has not been written yet.
    fn bytes(&self) -> u64 {
        self.written + (self.buffer.len() + self.encoder.kept()) as u64
    }
}

impl Sink<Rows> for FolderSink {
    async fn write(&mut self, bundle: Bundle<Rows>) -> Result<(), Error> {
        for rows in bundle.as_slice() {
            self.rows(rows).await?;
        }
        Ok(())
    }

    async fn complete(&mut self, punctuation: Punctuation) -> Result<(), Error> {
        if self.bounded || matches!(self.layout, Layout::File) {
            return Ok(());
        }
        let (now, roll) = (clock::now(), self.settings.roll);
        self.end_all(|open| now.since(open.begun) >= roll.age || now.since(open.active) >= roll.silence).await?;
        let is_open = |folder: &str| self.open.contains_key(folder);
        let due =
            self.commits.as_ref().map(|commits| commits.due(punctuation.watermark, now, is_open)).unwrap_or_default();
        for folder in &due {
            self.end(folder).await?;
        }
        if let Checkpoints::Folder { complete, .. } = &mut self.checkpoints {
            // More rows make them incomplete anew.
            due.iter().for_each(|folder| self.commits.iter_mut().for_each(|commits| commits.told(folder)));
            complete.extend(due);
            return Ok(());
        }
        self.publish().await?;
        self.tell(due).await
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        let prepared: Vec<_> = prepared.into_iter().filter(|prepared| !prepared.is_null()).collect();
        if matches!(self.layout, Layout::File) {
            let single = Single::begin(&self.settings, &self.stored, attempt, prepared).await?;
            self.checkpoints = Checkpoints::File(Box::new(single));
            return Ok(());
        }
        self.checkpoints = Checkpoints::Folder { complete: Vec::new(), hidden: BTreeSet::new() };
        let ended = prepared.into_iter().map(serde_json::from_value).collect::<Result<Vec<Ended>, _>>()?;
        let run = ended.first().map_or_else(run, |ended| ended.run.clone());
        self.layout = Layout::Folder { run, attempt: Some(attempt), next: 0 };
        for ended in ended {
            ended.commit(&self.settings, self.marker(), |_| false).await?;
            ended.sweep(&self.settings, attempt).await?;
            if let Some(commits) = &mut self.commits {
                ended.pending.iter().try_for_each(|folder| commits.note(folder, clock::now()))?;
            }
        }
        Ok(())
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        if let Checkpoints::File(single) = &mut self.checkpoints {
            return single.prepare().await;
        }
        self.end_all(|_| true).await?;
        Ok(serde_json::to_value(self.hide().await?)?)
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        let hidden = match &self.checkpoints {
            Checkpoints::None => return Ok(()),
            Checkpoints::File(single) => return single.commit(prepared),
            Checkpoints::Folder { hidden, .. } => hidden,
        };
        let ended: Ended = serde_json::from_value(prepared)?;
        ended.commit(&self.settings, self.marker(), |file| hidden.contains(file)).await?;
        if let Checkpoints::Folder { hidden, .. } = &mut self.checkpoints {
            hidden.retain(|file| !ended.files.contains(file));
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        match &mut self.checkpoints {
            Checkpoints::None => {}
            Checkpoints::File(single) => return single.close().await,
            // All files have their names.
            Checkpoints::Folder { complete, .. } => {
                let rest = std::mem::take(complete).into_iter();
                let rest = rest.chain(self.commits.iter().flat_map(Commits::all)).collect();
                return self.tell(rest).await;
            }
        }
        if matches!(self.layout, Layout::File) && self.open.is_empty() {
            // A table without rows is a file without rows.
            self.file("")?;
        }
        self.end_all(|_| true).await?;
        self.publish().await?;
        let rest = self.commits.as_ref().map(Commits::all).unwrap_or_default();
        self.tell(rest).await
    }

    fn abort(&mut self) {
        if let Checkpoints::File(single) = &mut self.checkpoints {
            single.abort();
        }
        let open = std::mem::take(&mut self.open).into_values().map(|open| open.draft);
        Draft::discard(open.chain(self.whole.drain(..)).chain(self.published.drain(..)));
    }
}

impl fmt::Debug for FolderSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderSink").field("path", &self.settings.name()).finish_non_exhaustive()
    }
}
