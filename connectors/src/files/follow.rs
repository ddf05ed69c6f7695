//! Files followed as they grow, as `tail -F` does.
//!
//! * A record counts once its newline is there: a writer may take its time over a line.
//! * A file is known by its inode, not by its name. When it is renamed and a new one takes its place, the old one
//!   is read on until nothing has come for some time (its writer may not have noticed yet), and the new
//!   one from its start. A renamed file that still matches the pattern is not read again.
//! * A file that has become shorter than what was read of it (logrotate's `copytruncate`) is read again from its start.
//!   The copy is a new file: choose a pattern that it does not match. If the file has grown beyond the old length
//!   before the next look, what lies between is lost; renaming has no such gap.
//! * Files that appear later are read from their start. Compressed ones are read at the beginning, if reading starts there;
//!   those that appear later are rotated copies of what has been read.
//!
//! Lines are numbered from where reading began.
//!
//! Another process can go on from where one stood: files are found again by their inodes and what they hold, under
//! whatever name in their folder. One that was renamed meanwhile is read to its end before the new one. One that is
//! gone, or was compressed, is told in the log and left out; one that has become shorter is read from its start.

use std::collections::VecDeque;
use std::fmt;
use std::fs::Metadata;
use std::io::{self, ErrorKind, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use updraft_dataflow::{Batch, Error};
use updraft_kernel::clock;

use crate::compression::Compression;
use crate::files::mark::{Entry, Followed, Mark};
use crate::files::path::Named;
use crate::files::{Pattern, Read, cannot_read};
use crate::format::frames::Spot;
use crate::format::{Decoder, Format, Output, Stand};

/// Where reading begins in a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At its first record.
    Start,
    /// After its last complete line.
    End,
}

/// How files are followed.
#[derive(Clone, Debug)]
pub struct Follow {
    from: Begin,
    every: Duration,
}

/// Looks at the open files between two looks at the folder.
const LOOKS: u32 = 10;

/// Looks at the folder for which a file may be gone and silent before it is closed: 10 s by default.
const LINGER: u32 = 10;

/// How far back the last newline is looked for, in bytes.
const LOOK_BACK: u64 = 64 << 10;

impl Follow {
    pub(crate) fn new(from: Begin) -> Self {
        Self { from, every: Duration::from_millis(100) }
    }

    pub(crate) fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }

    /// Opens what is there. Something must be: a misspelt name should not wait for ever.
    pub(crate) fn open<F: Format>(self, pattern: Pattern, format: F, max_line: usize) -> Result<Tails<F>, Error> {
        let (packed, plain): (Vec<_>, Vec<_>) = pattern.required()?.into_iter().partition(|path| is_packed(path));
        let history = if self.from == Begin::Start { packed } else { Vec::new() };
        let history = Read::new(history.into(), format.clone(), max_line);
        let mut tails = Tails { history, ..self.tails(pattern, format, max_line) };
        for path in plain {
            tails.attach(&path, self.from)?;
        }
        Ok(tails)
    }

    /// None yet.
    pub(crate) fn tails<F: Format>(&self, pattern: Pattern, format: F, max_line: usize) -> Tails<F> {
        let history = Read::new(VecDeque::new(), format.clone(), max_line);
        Tails { pattern, format, max_line, every: self.every, history, tails: Vec::new(), turn: 0, looks: 0 }
    }
}

fn is_packed(path: &Path) -> bool {
    Compression::of_path(path) != Compression::Plain
}

/// What stays the same when a file is renamed. No other file can get it while this one is open.
pub(super) type Inode = (u64, u64);

pub(super) fn inode(metadata: &Metadata) -> Inode {
    (metadata.dev(), metadata.ino())
}

/// All files that are followed, taken in turn.
pub struct Tails<F: Format> {
    pattern: Pattern,
    format: F,
    max_line: usize,
    every: Duration,
    /// Compressed files: read first, once.
    history: Read<F>,
    tails: Vec<Tail<F>>,
    turn: usize,
    looks: u32,
}

impl<F: Format> Tails<F> {
    /// Waits for the next records.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Batch<F::Item>, Error> {
        if let Some(batch) = self.history.next(limit).await? {
            return Ok(batch);
        }
        loop {
            if let Some(batch) = self.look(limit).await? {
                return Ok(batch);
            }
            clock::sleep(self.every).await;
            self.looks += 1;
            if self.looks == LOOKS {
                self.looks = 0;
                self.look_around()?;
            }
        }
    }

    /// What has come in the first file that has something, beginning after the one whose turn it was last.
    async fn look(&mut self, limit: usize) -> Result<Option<Batch<F::Item>>, Error> {
        for _ in 0..self.tails.len() {
            self.turn = (self.turn + 1) % self.tails.len();
            let mut out = Output::new(limit);
            let tail = &mut self.tails[self.turn];
            tail.next(&mut out).await.map_err(|error| cannot_read(&tail.path, &error))?;
            if !out.is_empty() {
                return Ok(Some(out.into_batch()));
            }
        }
        self.tails.retain(|tail| !tail.is_over);
        Ok(None)
    }

    /// Looks for files that have come and gone.
    fn look_around(&mut self) -> Result<(), Error> {
        for tail in &mut self.tails {
            tail.missing += 1;
        }
        let paths = self.pattern.matches()?;
        for path in paths.into_iter().filter(|path| !is_packed(path)) {
            self.attach(&path, Begin::Start)?;
        }
        Ok(())
    }

    /// Follows the file at `path`, unless it is followed already or gone.
    fn attach(&mut self, path: &Path, from: Begin) -> Result<(), Error> {
        match self.try_attach(path, from) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot_read(path, &error)),
            _ => Ok(()),
        }
    }

    fn try_attach(&mut self, path: &Path, from: Begin) -> io::Result<()> {
        if self.find(inode(&path.metadata()?)) {
            return Ok(());
        }
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        // Between the two looks another file may have taken the name.
        if !self.find(inode(&metadata)) {
            let begin = if from == Begin::End { Entry::Before(metadata.len()) } else { Entry::Start };
            self.tails.push(Tail::new(path, file, inode(&metadata), begin, self.format.clone(), self.max_line));
        }
        Ok(())
    }

    /// Whether a file is followed; it is there, then.
    fn find(&mut self, inode: Inode) -> bool {
        let found = self.tails.iter_mut().find(|tail| tail.inode == inode);
        found.map(|tail| tail.missing = 0).is_some()
    }

    pub(crate) fn left(&self) -> Followed {
        Followed { history: self.history.left(), tails: self.tails.iter().map(Tail::mark).collect() }
    }

    /// Goes on where another one had this left. What has been renamed since is read to its end before files that are
    /// new.
    pub(crate) fn go_on(&mut self, followed: Followed) -> Result<(), Error> {
        self.history.go_on(followed.history);
        self.tails.clear();
        self.looks = LOOKS - 1;
        let paths = self.pattern.matches()?;
        for mark in followed.tails {
            match mark.find(&paths) {
                Some((file, begin)) => {
                    let (path, format) = (&mark.path.0, self.format.clone());
                    self.tails.push(Tail::new(path, file, mark.inode, begin, format, self.max_line));
                }
                None => {
                    tracing::warn!(path = %mark.path.0.display(), "a file is gone, and the rest of it is lost")
                }
            }
        }
        Ok(())
    }

    pub(crate) fn position(&self) -> String {
        self.tails.get(self.turn).map_or_else(|| self.history.position(), |tail| tail.decoder.position())
    }
}

impl<F: Format> fmt::Debug for Tails<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.tails.iter().map(|tail| &tail.path).collect();
        f.debug_struct("Tails").field("pattern", &self.pattern).field("paths", &paths).finish_non_exhaustive()
    }
}

/// One file that is followed.
struct Tail<F> {
    /// Its name when it was found.
    path: PathBuf,
    file: File,
    /// A second handle, for a look at what has been read.
    again: Option<std::fs::File>,
    inode: Inode,
    /// How much has been read, in bytes.
    offset: u64,
    /// Where to begin; taken by the first read.
    begin: Option<Entry>,
    pristine: F,
    decoder: Decoder<F>,
    max_line: usize,
    /// Looks at the folder that have not found it since it last had something new.
    missing: u32,
    /// Gone, and silent for long enough: nothing more is read.
    is_over: bool,
}

impl<F: Format> Tail<F> {
    fn new(path: &Path, file: std::fs::File, inode: Inode, begin: Entry, format: F, max_line: usize) -> Self {
        Self {
            path: path.to_owned(),
            again: file.try_clone().ok(),
            file: File::from_std(file),
            inode,
            offset: 0,
            begin: Some(begin),
            pristine: format.clone(),
            decoder: decoder(path, format, max_line),
            max_line,
            missing: 0,
            is_over: false,
        }
    }

    /// What is there and not given yet; nothing, if nothing is new.
    async fn next(&mut self, out: &mut Output<F::Item>) -> io::Result<()> {
        match self.begin.take() {
            None | Some(Entry::Start | Entry::Before(0)) => {}
            Some(Entry::Before(end)) => self.begin_at(end).await?,
            Some(Entry::At(stand)) => self.go_on(stand).await?,
        }
        self.decoder.decode(out);
        while out.is_empty() && !self.is_over {
            if self.fill().await? == 0 {
                return self.at_end(out).await;
            }
            self.decoder.decode(out);
        }
        if self.is_over {
            self.decoder.finish(out);
        }
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let read = self.decoder.fill(&mut self.file).await?;
        self.offset += read as u64;
        if read > 0 {
            self.missing = 0;
        }
        Ok(read)
    }

    /// Nothing more is there: for now, for good, or because the file has been emptied.
    async fn at_end(&mut self, out: &mut Output<F::Item>) -> io::Result<()> {
        self.is_over = self.missing >= LINGER;
        if self.is_over {
            self.decoder.finish(out);
        } else if self.file.metadata().await?.len() < self.offset {
            self.decoder.abandon("the file was truncated in the middle of this record", out);
            self.decoder = decoder(&self.path, self.pristine.clone(), self.max_line);
            self.offset = self.file.seek(SeekFrom::Start(0)).await?;
        }
        Ok(())
    }

    /// What is needed to find it again, and to go on.
    fn mark(&self) -> Mark {
        let entry = self.begin.unwrap_or_else(|| Entry::At(self.decoder.stand()));
        let path = Named(self.path.clone());
        Mark { path, inode: self.inode, before: entry.before(&self.again), entry }
    }

    async fn go_on(&mut self, stand: Stand) -> io::Result<()> {
        if stand.header {
            self.decoder.read_header(&mut self.file).await?;
        }
        self.decoder.go_on(stand.spot);
        self.offset = self.file.seek(SeekFrom::Start(stand.spot.byte)).await?;
        Ok(())
    }

    /// Begins after the last newline before `end`.
    async fn begin_at(&mut self, end: u64) -> io::Result<()> {
        self.decoder.read_header(&mut self.file).await?;
        let back = end.min(LOOK_BACK);
        self.file.seek(SeekFrom::Start(end - back)).await?;
        let mut before = Vec::new();
        (&mut self.file).take(back).read_to_end(&mut before).await?;
        let (start, skipping) = match memchr::memrchr(b'\n', &before) {
            Some(newline) => (end - back + newline as u64 + 1, false),
            None if back == end => (0, false),
            None => (end, true),
        };
        self.decoder.go_on(Spot { byte: start, line: 1, skipping });
        self.offset = self.file.seek(SeekFrom::Start(start)).await?;
        Ok(())
    }
}

fn decoder<F: Format>(path: &Path, format: F, max_line: usize) -> Decoder<F> {
    Decoder::new(&path.display().to_string(), format, max_line)
}
