//! Files in stores of objects: `s3://`, `gs://`, `az://` and `abfs://`, `http(s)://`, and `memory://` for tests.
//!
//! [`Store`] is one bucket (or the like), which `scheme.rs` makes of a URL. `list.rs` finds what is in it, `object.rs` reads it
//! by ranges and `stream.rs` from one end to the other; `upload.rs` writes. All requests are made on the thread of
//! `runtime.rs`. [`crate::filesystem`] uses all of them.

use std::fmt;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use updraft_dataflow::Error;

mod hidden;
pub(crate) mod list;
pub(crate) mod object;
pub(crate) mod runtime;
mod scheme;
mod state;
pub(crate) mod stream;
pub(crate) mod upload;

pub use state::state_store;

/// The store that tables at `memory://NAME/…` are in, for tests: it lives as long as the process.
pub fn memory_store(name: &str) -> Arc<InMemory> {
    scheme::memory(name)
}

/// A bucket, or what else holds objects by name.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    /// What names of objects begin with, for people: `s3://bucket/`.
    root: Arc<str>,
}

impl Store {
    /// The store that a URL is in, and what the URL names there: an object, a folder or a glob. `None` where it is no URL of a
    /// store.
    ///
    /// # Errors
    /// When this build does not reach such stores, or the environment does not say how.
    pub(crate) fn of_url(url: &str) -> Result<Option<(Self, String)>, Error> {
        let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| *scheme != "file") else {
            return Ok(None);
        };
        let opened = scheme::open(url, scheme, rest);
        let (objects, root, path) = opened.map_err(|error| Error::from(format!("'path' = '{url}': {error}")))?;
        Ok(Some((Self { objects, root: root.into() }, path)))
    }

    /// An object's name, for people.
    pub(crate) fn name(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// The error with the object's name.
    pub(crate) fn failed(&self, path: &str, what: &str, error: &object_store::Error) -> Error {
        let remedy = match error {
            object_store::Error::NotFound { .. } => "check its name",
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                "check the credentials in the environment"
            }
            _ => "check that the store can be reached",
        };
        format!("{}: cannot be {what}: {error}; {remedy}", self.name(path)).into()
    }

    /// Writes a small object, at once.
    pub(crate) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let (store, path) = (self.clone(), path.to_owned());
        let put = async move {
            let put = store.objects.put(&key(&path)?, PutPayload::from(bytes)).await;
            put.map(drop).map_err(|error| store.failed(&path, "written", &error))
        };
        runtime::run(put).await?
    }
}

/// The name of an object, as stores have it.
fn key(path: &str) -> Result<Path, Error> {
    Path::parse(path).map_err(|error| format!("'{path}' cannot name an object: {error}").into())
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)
    }
}
