//! [`Parameter`]: a value that operators use, and that can be set while the job runs.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::swap::Named;
use super::versions::Versions;
use crate::source::Error;
use crate::sync::{Mutex, lock};
use crate::time::Epoch;

/// A value that operators use, and that can be [set](super::Set) while the job runs: a threshold, say.
///
/// It changes between two epochs, everywhere the same: who works on a bundle gets the value of that bundle's epoch, also where later
/// epochs are worked on before it.
///
/// ```
/// # use updraft_dataflow::{Job, testing::{Scripted, gather}};
/// let job = Job::new("alerts");
/// let threshold = job.parameter("threshold", 10);
/// let (sink, _) = gather();
/// job.source("numbers", Scripted(vec![vec![vec![3, 12]]])).stream().filter(move |n| *n > threshold.get()).sink("rows", sink);
/// ```
pub struct Parameter<T>(Arc<Inner<T>>);

struct Inner<T> {
    name: Arc<str>,
    values: ArcSwap<Versions<T>>,
}

impl<T> Clone for Parameter<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Parameter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameter").field("name", &self.0.name).field("values", &self.0.values.load()).finish()
    }
}

impl<T: Clone> Parameter<T> {
    /// Its value: in an operator that of the epoch that it works on, anywhere else the newest.
    pub fn get(&self) -> T {
        self.0.values.load().here().clone()
    }
}

/// A parameter, whatever its type.
pub(super) trait Settable: Send + Sync {
    /// Whether it can have this value.
    fn fits(&self, value: &Value) -> Result<(), Error>;
    /// Has it for the epochs after `epoch`.
    fn set_after(&self, epoch: Option<Epoch>, value: &Value);
    fn forget(&self, epoch: Epoch);
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<T: Clone + Send + Sync + DeserializeOwned + 'static> Settable for Inner<T> {
    fn fits(&self, value: &Value) -> Result<(), Error> {
        let read = T::deserialize(value);
        read.map(drop).map_err(|error| format!("parameter `{}` cannot be {value}: {error}", self.name).into())
    }

    fn set_after(&self, epoch: Option<Epoch>, value: &Value) {
        let Ok(value) = T::deserialize(value) else { return };
        Versions::change(&self.values, epoch, value);
    }

    fn forget(&self, epoch: Epoch) {
        Versions::forget_in(&self.values, epoch);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The parameters of a job, by name.
#[derive(Default)]
pub(crate) struct Parameters(Mutex<BTreeMap<Arc<str>, Arc<dyn Settable>>>);

impl Parameters {
    /// The parameter of that name: the same one, if there is one of that type.
    ///
    /// # Panics
    /// If there is one of another type.
    pub(crate) fn add<T>(&self, name: Arc<str>, value: T) -> Parameter<T>
    where
        T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let values = ArcSwap::from_pointee(Versions::new(value));
        Parameter(self.add_any(name.clone(), Inner { name, values }))
    }

    /// The same of anything that can be set.
    pub(super) fn add_any<P: Settable + 'static>(&self, name: Arc<str>, parameter: P) -> Arc<P> {
        let parameters = &mut *lock(&self.0);
        let parameter = parameters.entry(name.clone()).or_insert_with(|| Arc::new(parameter));
        let of_type = parameter.clone().as_any().downcast::<P>();
        of_type.unwrap_or_else(|_| panic!("the job has a parameter `{name}` of another type"))
    }

    /// The function of that name, with one more version, which is at work if it is the first.
    ///
    /// # Panics
    /// If there is something else of that name.
    pub(crate) fn named<V>(&self, name: Arc<str>, version: String, value: V) -> Arc<Named<V>>
    where
        V: Clone + Send + Sync + 'static,
    {
        let named = self.add_any(name.clone(), Named::new(name, value.clone()));
        named.add(version, value);
        named
    }

    /// Whether a parameter can have a value.
    pub(crate) fn fits(&self, name: &str, value: &Value) -> Result<(), Error> {
        let parameters = lock(&self.0);
        let Some(parameter) = parameters.get(name) else {
            let names: Vec<_> = parameters.keys().map(|name| format!("`{name}`")).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(format!("the job has no parameter `{name}`; it has {has}").into());
        };
        parameter.fits(value)
    }

    /// Gives a parameter a value for the epochs after `epoch`; for all, if it is none.
    pub(crate) fn set_after(&self, epoch: Option<Epoch>, name: &str, value: &Value) {
        lock(&self.0).get(name).into_iter().for_each(|parameter| parameter.set_after(epoch, value));
    }

    /// All epochs up to `epoch` are complete.
    pub(crate) fn forget(&self, epoch: Epoch) {
        lock(&self.0).values().for_each(|parameter| parameter.forget(epoch));
    }
}
