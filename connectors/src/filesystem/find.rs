//! Finds the files of a table, on disk or in a store, and opens them.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use glob::MatchOptions;
use serde::{Deserialize, Serialize};
use updraft_dataflow::Error;

use super::settings::Settings;
use crate::columns::blocks::Whole;
use crate::files::{cannot_read, path};
use crate::store::list::is_hidden;
use crate::store::object::{Handle, Object};
use crate::store::{Store, runtime};

/// A file that was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Found {
    /// Where `path` is; on disk if it is `None`.
    #[serde(skip)]
    pub(super) store: Option<Store>,
    #[serde(with = "path")]
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
}

impl Found {
    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = since.map_or(0, |since| since.as_millis() as i64);
        Self { store: None, path, size: metadata.len(), modified }
    }

    /// Its path, for people.
    pub(super) fn name(&self) -> String {
        match &self.store {
            Some(store) => store.name(&self.path.to_string_lossy()),
            None => self.path.display().to_string(),
        }
    }

    pub(super) fn cannot_read(&self, error: &io::Error) -> Error {
        cannot_read(Path::new(&self.name()), error)
    }

    /// Opens it for whoever may wait.
    pub(super) fn open(&self) -> Result<Handle, Error> {
        match &self.store {
            Some(store) => Ok(Handle::Store(Object::new(store.clone(), &self.path.to_string_lossy(), self.size))),
            None => Ok(File::open(&self.path).map_err(|error| cannot_read(&self.path, &error))?.into()),
        }
    }

    pub(super) fn whole(&self) -> Result<Whole, Error> {
        Ok(Whole { file: self.open()?, name: self.name() })
    }

    /// Its first bytes, `most` at most. To be called where one may wait.
    pub(super) fn head(&self, most: usize) -> Result<Vec<u8>, Error> {
        // In large pieces: each may be a request.
        let (mut file, mut head, mut length) = (self.open()?, vec![0; most], 0);
        while length < most {
            match file.read(&mut head[length..]).map_err(|error| self.cannot_read(&error))? {
                0 => break,
                read => length += read,
            }
        }
        head.truncate(length);
        Ok(head)
    }
}

/// The files that are there now, in the order of their names; perhaps none. It waits for the disk or the store.
pub(super) fn find(settings: &Settings) -> Result<Vec<Found>, Error> {
    match &settings.store {
        Some(store) => runtime::wait(find_in(store.clone(), settings.clone()))?,
        None => Ok(in_order(settings, on_disk(settings)?)),
    }
}

/// The same, for who must not wait.
pub(super) async fn look(settings: &Settings) -> Result<Vec<Found>, Error> {
    match &settings.store {
        Some(store) => runtime::run(find_in(store.clone(), settings.clone())).await?,
        None => find(settings),
    }
}

async fn find_in(store: Store, settings: Settings) -> Result<Vec<Found>, Error> {
    let objects = store.clone().find(settings.path.clone()).await?;
    let found = objects.into_iter().map(|object| Found {
        store: Some(store.clone()),
        path: PathBuf::from(object.location.as_ref()),
        size: object.size,
        modified: object.last_modified.timestamp_millis(),
    });
    Ok(in_order(&settings, found.collect()))
}

fn on_disk(settings: &Settings) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for path in roots(&settings.path)? {
        walk(&path, true, &mut found).map_err(|error| cannot_read(&path, &error))?;
    }
    Ok(found)
}

fn in_order(settings: &Settings, mut found: Vec<Found>) -> Vec<Found> {
    if let Some(pattern) = &settings.pattern {
        found.retain(|file| pattern.is_match(&file.name()));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    found
}

/// The same; none is an error.
pub(super) fn required(settings: &Settings) -> Result<Vec<Found>, Error> {
    let found = find(settings)?;
    if found.is_empty() {
        let path = settings.name();
        let from =
            if settings.store.is_none() { format!("; it was looked for from {}", here()) } else { String::new() };
        return Err(format!("'path' = '{path}': no file is there{from}").into());
    }
    Ok(found)
}

fn here() -> String {
    std::env::current_dir().map_or_else(|_| "the current folder".to_owned(), |path| path.display().to_string())
}

/// The path itself, if it is there; or what matches it.
fn roots(path: &str) -> Result<Vec<PathBuf>, Error> {
    if Path::new(path).exists() {
        return Ok(vec![path.into()]);
    }
    if !path.contains(['*', '?', '[']) {
        return Ok(Vec::new());
    }
    // A `*` stands for no hidden name.
    let visible = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let paths = glob::glob_with(path, visible).map_err(|error| {
        format!(
            "'path' = '{path}': not a pattern, at character {}: {}; put `[` in brackets: `[[]`",
            error.pos + 1,
            error.msg
        )
    })?;
    let shown = |path: &PathBuf| !hidden(path);
    paths
        .collect::<Result<Vec<_>, _>>()
        .map(|paths| paths.into_iter().filter(shown).collect())
        .map_err(|error| cannot_read(error.path(), error.error()))
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| is_hidden(&name.to_string_lossy()))
}

/// All files at and below `path`. One that goes meanwhile is not there.
fn walk(path: &Path, root: bool, found: &mut Vec<Found>) -> io::Result<()> {
    let metadata = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !root => return Ok(()),
        other => other?,
    };
    if !metadata.is_dir() {
        found.push(Found::new(path.to_owned(), &metadata));
        return Ok(());
    }
    for entry in path.read_dir()? {
        let path = entry?.path();
        if !hidden(&path) {
            walk(&path, false, found)?;
        }
    }
    Ok(())
}
