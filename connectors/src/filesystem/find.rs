//! Finds the files of a table.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use glob::MatchOptions;
use updraft_dataflow::Error;

use super::settings::Settings;
use crate::files::cannot_read;

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
}

impl Found {
    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = since.map_or(0, |since| since.as_millis() as i64);
        Self { path, size: metadata.len(), modified }
    }

    /// Its path, for people.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// The files that are there now, in the order of their names; perhaps none.
pub(super) fn find(settings: &Settings) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for path in roots(&settings.path)? {
        walk(&path, true, &mut found).map_err(|error| cannot_read(&path, &error))?;
    }
    if let Some(pattern) = &settings.pattern {
        found.retain(|file| pattern.is_match(&file.path.to_string_lossy()));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// The same; none is an error.
pub(super) fn required(settings: &Settings) -> Result<Vec<Found>, Error> {
    let found = find(settings)?;
    if found.is_empty() {
        let path = &settings.path;
        return Err(format!("'path' = '{path}': no file is there; it was looked for from {}", here()).into());
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

/// Names of files that are being written, of markers and of checksums.
fn hidden(path: &Path) -> bool {
    path.file_name()
        .map(|name| name.to_string_lossy())
        .is_some_and(|name| name.starts_with(['.', '_']) || name.ends_with(".part"))
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
