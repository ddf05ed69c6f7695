//! [`Swap`]: another version of a function or of a process takes over while the job runs.
//!
//! What can be swapped is declared with its versions, by name: [`Function`], [`Swappable`]. Which one is at work changes between two epochs, as
//! [parameters](super::Parameter) do; a job that goes on from a checkpoint has the version that was at work there. What a process keeps is the stage's, not its
//! own: a version that takes over finds the state and the timers of each key as the one before has left them.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;

use super::parameter::Settable;
use super::set::{Changing, Set};
use super::versions::Versions;
use crate::aggregate::State;
use crate::bundle::Record;
use crate::keyed::{Context, Process, Timer};
use crate::source::Error;
use crate::sync::{Mutex, lock};
use crate::time::Epoch;

/// Has another version of something take over, by their names, between two epochs: its outcome is the last epoch with the version before.
#[derive(Debug)]
pub struct Swap(Set);

impl Swap {
    /// Of a [`Function`] or a [`Swappable`] of that name.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self(Set::new().parameter(name, version.into()))
    }
}

impl Changing for Swap {
    const NAME: &'static str = "swap";
    fn set(&mut self) -> &mut Set {
        &mut self.0
    }
}

/// Versions by name, one of which is at work in each epoch.
pub(crate) struct Named<V> {
    name: Arc<str>,
    all: Mutex<BTreeMap<String, V>>,
    at_work: ArcSwap<Versions<V>>,
}

impl<V: Clone + Send + Sync + 'static> Named<V> {
    /// Without a name for any yet; `value` is at work.
    pub(super) fn new(name: Arc<str>, value: V) -> Self {
        Self { name, all: Mutex::default(), at_work: ArcSwap::from_pointee(Versions::new(value)) }
    }

    /// One more.
    pub(super) fn add(&self, version: String, value: V) {
        lock(&self.all).insert(version, value);
    }

    /// Has `f` called with what is at work: in an operator in the epoch that it works on, anywhere else now.
    #[inline]
    fn with<T>(&self, f: impl FnOnce(&V) -> T) -> T {
        f(self.at_work.load().here())
    }
}

impl<V: Clone + Send + Sync + 'static> Settable for Named<V> {
    fn fits(&self, value: &Value) -> Result<(), Error> {
        let all = lock(&self.all);
        if value.as_str().is_some_and(|version| all.contains_key(version)) {
            return Ok(());
        }
        let names: Vec<_> = all.keys().map(|version| format!("`{version}`")).collect();
        Err(format!("`{}` has no version {value}; it has {}", self.name, names.join(", ")).into())
    }

    fn set_after(&self, epoch: Option<Epoch>, value: &Value) {
        let version = value.as_str().and_then(|version| lock(&self.all).get(version).cloned());
        if let Some(version) = version {
            Versions::change(&self.at_work, epoch, version);
        }
    }

    fn forget(&self, epoch: Epoch) {
        Versions::forget_in(&self.at_work, epoch);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// A function that operators call, of which another version can take over while the job runs: see [`Job::function`](crate::Job::function).
///
/// ```
/// # use updraft_dataflow::{Job, testing::{Scripted, gather}};
/// let job = Job::new("scores");
/// let score = job.function("score", "linear", |n: &i64| 2 * n).or("square", |n| n * n);
/// let (sink, _) = gather();
/// job.source("numbers", Scripted(vec![vec![vec![3, 12]]])).stream().map(move |n| score.call(&n)).sink("rows", sink);
/// // While it runs: running.control(Swap::new("score", "square"))
/// ```
pub struct Function<A: ?Sized, B>(pub(crate) Arc<Named<Called<A, B>>>);

/// A version of a function.
pub(crate) type Called<A, B> = Arc<dyn Fn(&A) -> B + Send + Sync>;

impl<A: ?Sized, B> Clone for Function<A, B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: ?Sized, B> fmt::Debug for Function<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.0.name).finish()
    }
}

impl<A: ?Sized + 'static, B: 'static> Function<A, B> {
    /// It has another version, also while the job runs.
    #[must_use]
    pub fn or(self, version: impl Into<String>, f: impl Fn(&A) -> B + Send + Sync + 'static) -> Self {
        self.0.add(version.into(), Arc::new(f));
        self
    }

    /// What the version that is at work makes of `argument`.
    #[inline]
    pub fn call(&self, argument: &A) -> B {
        self.0.with(|f| f(argument))
    }
}

/// A process of which another version can take over while the job runs: see [`Job::swappable`](crate::Job::swappable).
///
/// All versions keep the same state and give the same records. When another one takes over, on each shard with the first thing that it has to do there, the one
/// before is [closed](Process::close). How far its results may be behind the watermark is what the slowest version needs that is there when the job
/// starts; what states own elsewhere is told by the first version.
pub struct Swappable<K, T, S, O> {
    versions: Arc<Named<Arc<dyn AnyProcess<K, T, S, O>>>>,
    first: Arc<dyn AnyProcess<K, T, S, O>>,
    /// Which one is at work here, and its instance.
    at_work: Option<(Arc<dyn AnyProcess<K, T, S, O>>, Box<dyn AnyProcess<K, T, S, O>>)>,
    /// Which driver this is, of how many.
    driver: (usize, usize),
}

impl<K, T, S, O> Clone for Swappable<K, T, S, O> {
    fn clone(&self) -> Self {
        Self { versions: self.versions.clone(), first: self.first.clone(), at_work: None, driver: self.driver }
    }
}

impl<K, T, S, O> fmt::Debug for Swappable<K, T, S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Swappable").field(&self.versions.name).finish()
    }
}

impl<K: 'static, T: 'static, S: 'static, O: 'static> Swappable<K, T, S, O> {
    pub(crate) fn new(versions: Arc<Named<Arc<dyn AnyProcess<K, T, S, O>>>>) -> Self {
        let first = versions.with(Arc::clone);
        Self { versions, first, at_work: None, driver: (0, 1) }
    }

    /// It has another version, also while the job runs.
    #[must_use]
    pub fn or<P: Process<K, T, State = S, Out = O>>(self, version: impl Into<String>, process: P) -> Self {
        self.versions.add(version.into(), Arc::new(process));
        self
    }

    /// The instance of the version that is at work.
    fn at_work(&mut self) -> &mut dyn AnyProcess<K, T, S, O> {
        let is_so = |version: &_| self.at_work.as_ref().is_some_and(|(is, _)| Arc::ptr_eq(is, version));
        if !self.versions.with(is_so) {
            self.close_it();
        }
        let (driver, drivers) = self.driver;
        let (_, instance) = self.at_work.get_or_insert_with(|| {
            let version = self.versions.with(Arc::clone);
            let mut instance = version.instance();
            instance.open(driver, drivers);
            (version, instance)
        });
        &mut **instance
    }

    fn close_it(&mut self) {
        self.at_work.take().into_iter().for_each(|(_, mut instance)| instance.close());
    }
}

impl<K: 'static, T: 'static, S: State + Default, O: Record> Process<K, T> for Swappable<K, T, S, O> {
    type State = S;
    type Out = O;

    fn open(&mut self, driver: usize, drivers: usize) {
        self.driver = (driver, drivers);
    }

    fn record(&mut self, record: T, state: &mut S, cx: &mut Context<'_, K, O>) {
        self.at_work().record(record, state, cx);
    }

    fn timer(&mut self, timer: Timer, state: &mut S, cx: &mut Context<'_, K, O>) {
        self.at_work().timer(timer, state, cx);
    }

    fn close(&mut self) {
        self.close_it();
    }

    fn lag(&self) -> Duration {
        lock(&self.versions.all).values().map(|version| version.lag()).max().unwrap_or_default()
    }

    fn heap_bytes(&self, state: &S) -> usize {
        self.first.heap_bytes(state)
    }
}

/// A [`Process`], whatever its type.
pub(crate) trait AnyProcess<K, T, S, O>: Send + Sync {
    fn instance(&self) -> Box<dyn AnyProcess<K, T, S, O>>;
    fn open(&mut self, driver: usize, drivers: usize);
    fn record(&mut self, record: T, state: &mut S, cx: &mut Context<'_, K, O>);
    fn timer(&mut self, timer: Timer, state: &mut S, cx: &mut Context<'_, K, O>);
    fn close(&mut self);
    fn lag(&self) -> Duration;
    fn heap_bytes(&self, state: &S) -> usize;
}

impl<K, T, P: Process<K, T>> AnyProcess<K, T, P::State, P::Out> for P {
    fn instance(&self) -> Box<dyn AnyProcess<K, T, P::State, P::Out>> {
        Box::new(self.clone())
    }

    fn open(&mut self, driver: usize, drivers: usize) {
        Process::open(self, driver, drivers);
    }

    fn record(&mut self, record: T, state: &mut P::State, cx: &mut Context<'_, K, P::Out>) {
        Process::record(self, record, state, cx);
    }

    fn timer(&mut self, timer: Timer, state: &mut P::State, cx: &mut Context<'_, K, P::Out>) {
        Process::timer(self, timer, state, cx);
    }

    fn close(&mut self) {
        Process::close(self);
    }

    fn lag(&self) -> Duration {
        Process::lag(self)
    }

    fn heap_bytes(&self, state: &P::State) -> usize {
        Process::heap_bytes(self, state)
    }
}
