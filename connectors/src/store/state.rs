//! Where a job keeps its state: a folder on disk, or in a store of objects.

use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use updraft_dataflow::Error;

use super::Store;

/// The store that a folder is in, and what it is called there. On disk the folder is made if it is not there.
///
/// # Errors
/// When the folder cannot be made, or its URL is wrong, or the environment does not say how to reach the store.
pub fn state_store(folder: &str) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    if let Some((store, path)) = Store::of_url(folder)? {
        return Ok((store.objects, Path::parse(path)?));
    }
    let path = folder.strip_prefix("file://").unwrap_or(folder);
    let failed = |error: &dyn std::fmt::Display| {
        Error::from(format!("{path}: state cannot be kept there: {error}; name a folder that may be written to"))
    };
    std::fs::create_dir_all(FilePath::new(path)).map_err(|error| failed(&error))?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| failed(&error))?;
    Ok((Arc::new(store), Path::default()))
}
