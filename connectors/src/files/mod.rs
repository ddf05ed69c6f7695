//! Files of text, CSV or JSON lines: plain or compressed, read once or followed as they grow.
//!
//! [`Files`] names them and says how to read, a format makes it a source. [`read`] reads files from first to last
//! byte, [`follow`] waits for more. The formats are in [`crate::format`].

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use updraft_dataflow::source::seek_all;
use updraft_dataflow::{Batch, Error, Partition, Place, Record, Source};

use crate::format::{Csv, Decode, Format, Json, Lines, MAX_LINE};

pub mod follow;
mod mark;
pub(crate) mod path;
pub mod read;

pub use follow::{Begin, Follow};
pub use read::Read;

/// Which files to read, and how; a format, such as [`lines`](Self::lines), makes it a source.
///
/// * Files are read in the order of their names.
/// * `.gz`, `.zst`, `.bz2` and `.xz` are decompressed, and so is what starts like them under another name. Damaged or truncated
///   compressed data ends the job with an error that names the file and the line: what follows the damage
///   is unknown, so it must not pass for the end of the file. The records before it have been given by then.
/// * A job that takes checkpoints goes on after the last record that it has taken: what is not compressed is not read up
///   to there.
/// * A record that cannot be decoded, or is longer than [`max_line`](Self::max_line), becomes a dead letter.
///
/// ```
/// use updraft_connectors::Files;
/// let access_log = Files::glob("logs/access*.log*").partitions(2).lines();
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    pattern: Pattern,
    partitions: usize,
    max_line: usize,
    follow: Option<Follow>,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Glob(String),
    Path(PathBuf),
}

impl Files {
    /// All files whose path matches `pattern`: `*` within a name, `**` over folders, `?`, `[a-z]`.
    pub fn glob(pattern: impl Into<String>) -> Self {
        Self::new(Pattern::Glob(pattern.into()))
    }

    /// One file.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self::new(Pattern::Path(path.into()))
    }

    fn new(pattern: Pattern) -> Self {
        Self { pattern, partitions: 1, max_line: MAX_LINE, follow: None }
    }

    /// Deals the files out to `partitions`, round robin in the order of their names. At least one. Followed files
    /// are read by one partition whatever is said here, since a rotated file must not change hands.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions.max(1);
        self
    }

    /// The longest record that is taken, in bytes; 1 MiB unless said otherwise. Longer ones become dead letters
    /// that hold their first 64 KiB. Memory is bounded by a small multiple of this, whatever the input.
    #[must_use]
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }

    /// Waits for more at the end of the files, as `tail -F` does, and never ends: see [`follow`].
    #[must_use]
    pub fn follow(mut self, from: Begin) -> Self {
        self.follow = Some(Follow::new(from));
        self
    }

    /// How often followed files are looked at; 100 ms unless said otherwise.
    #[must_use]
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.follow = self.follow.map(|follow| follow.every(interval));
        self
    }

    /// Lines of UTF-8 text.
    pub fn lines(self) -> FileSource<Lines> {
        self.format(Lines)
    }

    /// CSV with a header, decoded as `T` by the names of its fields; for other kinds of CSV see [`Csv`].
    pub fn csv<T: Record + DeserializeOwned>(self) -> FileSource<Csv<T>> {
        self.format(Csv::new())
    }

    /// A JSON value a line, decoded as `T`.
    pub fn json<T: Record + DeserializeOwned>(self) -> FileSource<Json<T>> {
        self.format(Json::new())
    }

    /// Lines decoded by `decode`, as bytes and without a copy: see [`Decode`].
    pub fn decode<T, D>(self, decode: D) -> FileSource<Decode<D>>
    where
        T: Record,
        D: Fn(&[u8]) -> Result<T, String> + Clone + Send + 'static,
    {
        self.format(Decode::new(decode))
    }

    /// Any [`Format`].
    pub fn format<F: Format>(self, format: F) -> FileSource<F> {
        FileSource { files: self, format }
    }
}

/// [`Files`] in a format.
#[derive(Clone, Debug)]
pub struct FileSource<F> {
    files: Files,
    format: F,
}

impl<F: Format> Source for FileSource<F> {
    type Item = F::Item;
    type Partition = FilePartition<F>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        let Files { pattern, partitions, max_line, follow } = self.files;
        if let Some(follow) = follow {
            let tails = follow.open(pattern, self.format, max_line)?;
            return Ok(vec![FilePartition::Follow(Box::new(tails))]);
        }
        let hands = deal(pattern.required()?, partitions);
        let open = |paths| FilePartition::Read(Box::new(Read::new(paths, self.format.clone(), max_line)));
        Ok(hands.into_iter().map(open).collect())
    }

    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<Self::Partition>, Error> {
        let new = || match &self.files.follow {
            Some(follow) => {
                let tails = follow.tails(self.files.pattern.clone(), self.format.clone(), self.files.max_line);
                FilePartition::Follow(Box::new(tails))
            }
            None => FilePartition::Read(Box::new(Read::new(VecDeque::new(), self.format.clone(), self.files.max_line))),
        };
        // What was dealt out stays so, whatever is there now.
        let partitions = match places.iter().all(Option::is_some) {
            true => places.iter().map(|_| new()).collect(),
            false => self.clone().open()?,
        };
        seek_all(partitions, places)
    }
}

/// `paths` round robin.
fn deal(paths: Vec<PathBuf>, hands: usize) -> Vec<VecDeque<PathBuf>> {
    let mut dealt = vec![VecDeque::new(); hands];
    for (i, path) in paths.into_iter().enumerate() {
        dealt[i % hands].push_back(path);
    }
    dealt
}

impl Pattern {
    /// The files that are there now, in the order of their names.
    pub(crate) fn matches(&self) -> Result<Vec<PathBuf>, Error> {
        let glob = match self {
            Self::Path(path) => return Ok(Vec::from_iter(path.exists().then(|| path.clone()))),
            Self::Glob(glob) => glob,
        };
        let paths = glob::glob(glob).map_err(|error| {
            format!("{glob}: not a pattern, at character {}: {}; put `[` in brackets: `[[]`", error.pos + 1, error.msg)
        })?;
        let mut paths =
            paths.collect::<Result<Vec<_>, _>>().map_err(|error| cannot_read(error.path(), error.error()))?;
        paths.retain(|path| !path.is_dir());
        paths.sort();
        Ok(paths)
    }

    /// The same; none is an error.
    fn required(&self) -> Result<Vec<PathBuf>, Error> {
        let paths = self.matches()?;
        match self {
            _ if !paths.is_empty() => Ok(paths),
            Self::Path(path) => Err(format!("{}: no such file{}", path.display(), from_here(path)).into()),
            Self::Glob(glob) => Err(format!("{glob}: no file matches{}", from_here(Path::new(glob))).into()),
        }
    }
}

/// What a relative path starts from, for whoever wonders why nothing is there.
fn from_here(path: &Path) -> String {
    match std::env::current_dir() {
        Ok(here) if path.is_relative() => {
            format!("; it was looked for in {}: start from another folder, or give the whole path", here.display())
        }
        _ => "; check the path".into(),
    }
}

pub(crate) fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    format!("{}: cannot be read: {error}; check that it is a file and that this user may read it", path.display())
        .into()
}

/// Some of the files of a [`FileSource`].
#[derive(Debug)]
pub enum FilePartition<F: Format> {
    /// Files that are read once.
    Read(Box<Read<F>>),
    /// Files that grow.
    Follow(Box<follow::Tails<F>>),
}

impl<F: Format> Partition for FilePartition<F> {
    type Item = F::Item;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<F::Item>>, Error> {
        match self {
            Self::Read(files) => files.next(limit).await,
            Self::Follow(tails) => tails.next(limit).await.map(Some),
        }
    }

    fn position(&self) -> String {
        match self {
            Self::Read(files) => files.position(),
            Self::Follow(tails) => tails.position(),
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            Self::Read(files) => serde_json::to_value(files.left()).ok(),
            Self::Follow(tails) => serde_json::to_value(tails.left()).ok(),
        }
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        match self {
            Self::Read(files) => files.go_on(serde_json::from_value(place)?),
            Self::Follow(tails) => tails.go_on(serde_json::from_value(place)?)?,
        }
        Ok(())
    }
}
