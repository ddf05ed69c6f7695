//! Objects under hidden names, until they have their own.

use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use updraft_dataflow::Error;

use super::{Store, key, runtime};

impl Store {
    /// Gives an object its name, unless it has it; whether it is there then.
    pub(crate) async fn name_hidden(&self, hidden: &str, name: &str) -> Result<bool, Error> {
        let (store, hidden, name) = (self.clone(), hidden.to_owned(), name.to_owned());
        let rename = async move {
            match store.objects.rename(&key(&hidden)?, &key(&name)?).await {
                Ok(()) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(store.head(&name).await?.is_some()),
                Err(error) => Err(store.failed(&name, "written", &error)),
            }
        };
        runtime::run(rename).await?
    }

    /// Removes the objects below `folder` whose names without folders are such.
    pub(crate) async fn remove_hidden(
        &self,
        folder: &str,
        is_such: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        let (store, folder) = (self.clone(), folder.trim_end_matches('/').to_owned());
        let remove = async move {
            let prefix = if folder.is_empty() { None } else { Some(key(&folder)?) };
            let listed: Result<Vec<_>, _> = store.objects.list(prefix.as_ref()).try_collect().await;
            let mut listed = listed.map_err(|error| store.failed(&folder, "listed", &error))?;
            listed.retain(|object| object.location.filename().is_some_and(&is_such));
            for object in listed {
                match store.objects.delete(&object.location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(store.failed(object.location.as_ref(), "removed", &error)),
                }
            }
            Ok(())
        };
        runtime::run(remove).await?
    }
}
