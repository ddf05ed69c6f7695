//! What is in a store: an object, all objects of a folder, or those that a glob names. The rules are those of files on disk.

use futures_util::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use updraft_dataflow::Error;

use super::{Store, key};

/// What is looked for.
struct Sought {
    path: String,
    glob: Option<Pattern>,
}

impl Store {
    /// The objects that `path` names, those of hidden names left out; in no order.
    pub(crate) async fn find(self, path: String) -> Result<Vec<ObjectMeta>, Error> {
        let sought = Sought::new(&self, path.trim_end_matches('/'))?;
        if sought.glob.is_none()
            && !sought.path.is_empty()
            && let Some(object) = self.head(&sought.path).await?
        {
            return Ok(vec![object]);
        }
        let folder = sought.folder();
        let prefix = if folder.is_empty() { None } else { Some(key(folder)?) };
        let listed: Result<Vec<_>, _> = self.objects.list(prefix.as_ref()).try_collect().await;
        let mut objects = listed.map_err(|error| self.failed(folder, "listed", &error))?;
        objects.retain(|object| sought.is(object.location.as_ref()));
        Ok(objects)
    }

    /// The object, if there is one of that name.
    pub(super) async fn head(&self, path: &str) -> Result<Option<ObjectMeta>, Error> {
        match self.objects.head(&key(path)?).await {
            Ok(object) => Ok(Some(object)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(path, "read", &error)),
        }
    }
}

impl Sought {
    fn new(store: &Store, path: &str) -> Result<Self, Error> {
        let glob = path.contains(['*', '?', '[']).then(|| Pattern::new(path)).transpose();
        let glob = glob.map_err(|error| -> Error {
            let (name, at, what) = (store.name(path), error.pos + 1, error.msg);
            format!("{name}: not a pattern, at character {at}: {what}; put `[` in brackets: `[[]`").into()
        })?;
        Ok(Self { path: path.to_owned(), glob })
    }

    /// The folder that holds all that can be meant.
    fn folder(&self) -> &str {
        match (&self.glob, self.path.find(['*', '?', '['])) {
            (Some(_), Some(wild)) => self.path[..wild].rsplit_once('/').map_or("", |(folder, _)| folder),
            _ => &self.path,
        }
    }

    /// Whether an object is meant: it, or a folder that it is in.
    fn is(&self, name: &str) -> bool {
        let ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
        (self.path.is_empty() && !any_hidden(name))
            || ends.into_iter().any(|end| self.is_root(&name[..end]) && !any_hidden(&name[end..]))
    }

    fn is_root(&self, name: &str) -> bool {
        let options =
            MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, ..MatchOptions::new() };
        match &self.glob {
            Some(glob) => glob.matches_with(name, options) && !is_hidden(name.rsplit('/').next().unwrap_or(name)),
            None => name == self.path,
        }
    }
}

fn any_hidden(names: &str) -> bool {
    names.split('/').any(is_hidden)
}

/// Names of what is being written, of markers and of checksums.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_']) || name.ends_with(".part")
}
