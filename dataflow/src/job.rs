//! A [`Job`]: a dataflow graph that is described first and started then.
//!
//! Describing it collects steps; starting it runs them on a runtime's kernels: every stage gets its
//! containers, then all are wired, then the workers, sinks and sources begin.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use updraft_kernel::{Bell, Bells, Class, Failure, Group, GroupError, Handle, KernelId, Runtime, clock};

use crate::bundle::Record;
use crate::checkpoint::ids::{self, Id};
use crate::checkpoint::{self, Checkpoints, Stages, Taking, read_note};
use crate::container::{EpochOrder, Service};
use crate::control::parameter::Parameters;
use crate::control::rewire::Needed;
use crate::control::swap::{AnyProcess, Called};
use crate::control::{self, Ask, Asked, Control, Controller, Function, Parameter, Part, Swappable};
use crate::epoch::EpochClock;
use crate::exchange::{Outlet, Port};
use crate::explain::{Exchange, Explanation, Graph, NodeKind};
use crate::input::Input;
use crate::keyed::{Process, Spill};
use crate::metrics::{JobMetrics, SourceMetrics, StageMetrics};
use crate::policy::{self, Following, Pace, Policy};
use crate::sink::{self, Prepared, Sink};
use crate::source::{Error, FeedOptions, PartitionNote, Source};
use crate::stage::{Keeps, Stage};
use crate::worker::{self, Runner, Shared, StageRunner};

/// Why a job has ended before its work was done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("job `{job}`: {error}")]
pub struct JobError {
    /// The job.
    pub job: Arc<str>,
    /// What went wrong.
    #[source]
    pub error: GroupError,
}

/// An error, and the source or sink that it comes from.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {error}")]
pub(crate) struct At {
    place: String,
    #[source]
    error: Error,
}

impl At {
    pub(crate) fn new(place: String, error: Error) -> Self {
        Self { place, error }
    }
}

/// A dataflow graph to be started.
#[derive(Clone)]
pub struct Job {
    pub(crate) plan: Rc<RefCell<Plan>>,
}

pub(crate) struct Plan {
    name: Arc<str>,
    class: Class,
    order: EpochOrder,
    stealing: bool,
    priority: bool,
    boundaries: bool,
    /// None for a few on each kernel.
    shards: Option<usize>,
    memory_budget: Option<usize>,
    spills: bool,
    /// Where to; the system's folder for what is temporary if it is not said.
    spill_to: Option<PathBuf>,
    checkpoints: Option<Checkpoints>,
    /// Sinks that are gone, of which others commit what they have prepared.
    committed: Vec<Arc<str>>,
    parameters: Arc<Parameters>,
    /// Sinks that get nothing at first.
    detached: BTreeSet<Arc<str>>,
    steps: Vec<Step>,
    graph: Graph,
}

type StartTask = Box<dyn FnOnce(&Group, KernelId, &Arc<JobMetrics>)>;

type Step = Box<dyn FnOnce(&mut Assembly) -> Result<(), Error>>;

/// A graph that is being put together on a runtime.
pub(crate) struct Assembly {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: JobMetrics,
    checkpoints: Option<Checkpoints>,
    /// What nodes are called in checkpoints.
    ids: Vec<Option<Id>>,
    /// The sinks that what nodes are given comes to.
    leads_to: Vec<BTreeSet<Arc<str>>>,
    stages: Vec<Arc<dyn Runner>>,
    /// Those with state, by the part of checkpoints that they are.
    parts: Stages,
    /// What each port has charged.
    audit: Vec<Box<dyn Fn() -> usize + Send + Sync>>,
    wiring: Vec<Box<dyn FnOnce()>>,
    /// Starts the task of a source's partition, on the kernel whose turn it is.
    tasks: Vec<StartTask>,
    /// The same of sinks.
    sinks: Vec<StartTask>,
}

impl Assembly {
    /// Adds a stage that reads from `upstream`.
    fn stage<S: Stage>(
        &mut self,
        node: usize,
        name: Arc<str>,
        upstream: &Outlet<S::In>,
        stage: S,
        outlet: Arc<Outlet<S::Out>>,
    ) -> Result<(), Error> {
        let metrics = self.stage_metrics(name.clone());
        let part = self.stage_part(node, &name, S::KEEPS)?;
        let shared = self.shared.clone();
        let runner = Arc::new(StageRunner::new(name, stage, outlet, shared, metrics, part, upstream.in_order));
        self.connect(node, upstream, runner.clone());
        part.into_iter().for_each(|part| drop(self.parts.insert(part, runner.clone())));
        self.stages.push(runner);
        Ok(())
    }

    /// Which part of checkpoints a stage is, if it is one.
    fn stage_part(&self, node: usize, name: &str, keeps: Keeps) -> Result<Option<usize>, Error> {
        match (&self.shared.taking, keeps) {
            (None, _) | (_, Keeps::Nothing) => Ok(None),
            (Some(taking), Keeps::State) => Ok(self.ids[node].as_ref().map(|id| taking.add_part(id, 1))),
            (Some(_), Keeps::More) => Err(format!(
                "stage `{name}` keeps something that checkpoints cannot hold (an operator without `save` and `load`, or a fold): \
                 write these, or take no checkpoints"
            )
            .into()),
        }
    }

    /// How a source is read, after what was set of it in a run before; and what it is to control operations.
    pub(crate) fn source_control(
        &self,
        name: &Arc<str>,
        mut options: FeedOptions,
        partitions: usize,
    ) -> (FeedOptions, Arc<Part>) {
        let control = &self.shared.control;
        if let Some(set) = control.settings.now().sources.get(&**name) {
            options.set(*set);
        }
        (options, control.add_part(NodeKind::Source, name.clone(), partitions, false))
    }

    /// Which part of checkpoints a source is, if the job takes any.
    pub(crate) fn source_part(&self, node: usize, partitions: usize) -> Option<usize> {
        let (taking, id) = self.shared.taking.as_ref().zip(self.ids[node].as_ref())?;
        Some(taking.add_part(id, partitions))
    }

    /// What was noted of the partitions of a source, if the job goes on from a checkpoint.
    pub(crate) fn source_notes(&self, node: usize) -> Result<Option<Vec<PartitionNote>>, Error> {
        let Some((id, checkpoints)) = self.ids[node].as_ref().zip(self.checkpoints.as_ref()) else { return Ok(None) };
        checkpoints.note(&id.id).map(|note| read_note(&id.id, note)).transpose()
    }

    /// Which part of checkpoints a sink is, and what it has prepared, if the job takes any.
    pub(crate) fn sink_part(&self, node: usize) -> Result<Option<(usize, Vec<Prepared>)>, Error> {
        let Some((taking, id)) = self.shared.taking.as_ref().zip(self.ids[node].as_ref()) else { return Ok(None) };
        Ok(Some((taking.add_part(id, 1), self.prepared(&id.id)?.unwrap_or_default())))
    }

    /// What a sink has prepared, if the job goes on from a checkpoint that it is part of.
    fn prepared(&self, id: &str) -> Result<Option<Vec<Prepared>>, Error> {
        let note = self.checkpoints.as_ref().and_then(|checkpoints| checkpoints.note(id));
        note.map(|note| read_note(id, note)).transpose()
    }

    /// Has the port of a node read from `upstream`.
    pub(crate) fn connect<T: Record>(&mut self, node: usize, upstream: &Outlet<T>, port: Arc<dyn Port<T>>) {
        let audited = port.clone();
        self.audit.push(Box::new(move || audited.bytes()));
        let sinks = self.leads_to[node].iter().map(|sink| self.shared.control.attachment(sink));
        upstream.connect(Needed::by(sinks), port);
    }

    pub(crate) fn stage_metrics(&mut self, name: Arc<str>) -> Arc<StageMetrics> {
        let metrics = Arc::new(StageMetrics::new(name));
        self.metrics.stages.push(metrics.clone());
        metrics
    }

    pub(crate) fn sink_metrics(&mut self, name: Arc<str>) -> Arc<StageMetrics> {
        let metrics = Arc::new(StageMetrics::new(name));
        self.metrics.sinks.push(metrics.clone());
        metrics
    }

    pub(crate) fn source_metrics(&mut self, name: Arc<str>) -> Arc<SourceMetrics> {
        let metrics = Arc::new(SourceMetrics::new(name));
        self.metrics.sources.push(metrics.clone());
        metrics
    }

    pub(crate) fn wire(&mut self, wire: impl FnOnce() + 'static) {
        self.wiring.push(Box::new(wire));
    }

    pub(crate) fn task(&mut self, start: impl FnOnce(&Group, KernelId, &Arc<JobMetrics>) + 'static) {
        self.tasks.push(Box::new(start));
    }

    pub(crate) fn sink_task(&mut self, start: impl FnOnce(&Group, KernelId, &Arc<JobMetrics>) + 'static) {
        self.sinks.push(Box::new(start));
    }

    /// The same on a kernel that is named.
    pub(crate) fn task_on(&mut self, kernel: usize, start: impl FnOnce(&Group, KernelId, &Arc<JobMetrics>) + 'static) {
        self.task(move |group, _, metrics| start(group, KernelId(kernel), metrics));
    }
}

impl Job {
    /// A graph without anything in it, of class `stream`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let plan = Plan {
            name: name.into(),
            class: Class::Stream,
            order: EpochOrder::Out,
            stealing: true,
            priority: true,
            boundaries: true,
            shards: None,
            memory_budget: None,
            spills: true,
            spill_to: None,
            checkpoints: None,
            committed: Vec::new(),
            parameters: Arc::default(),
            detached: BTreeSet::new(),
            steps: Vec::new(),
            graph: Graph::default(),
        };
        Self { plan: Rc::new(RefCell::new(plan)) }
    }

    /// What its tasks are owed; `stream` by default.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        self.plan.borrow_mut().class = class;
        self
    }

    /// Bytes that it may hold in queues and as state before its sources wait; without it, as much as the runtime may. From three
    /// quarters of them on keyed state is spilled to disk: see [`spill_to`](Self::spill_to).
    #[must_use]
    pub fn memory_budget(self, bytes: usize) -> Self {
        self.plan.borrow_mut().memory_budget = Some(bytes);
        self
    }

    /// Where the state of [processes](crate::keyed::Process) by key goes that memory has no room for: a folder on a disk of this machine.
    /// The job makes one of its own in there, and deletes it when it ends. By default in the system's folder for what is temporary,
    /// which on some systems is in memory.
    ///
    /// What stays in memory of a key is what finds it, 14 to 23 bytes, and its timers.
    #[must_use]
    pub fn spill_to(self, folder: impl Into<PathBuf>) -> Self {
        {
            let plan = &mut *self.plan.borrow_mut();
            (plan.spills, plan.spill_to) = (true, Some(folder.into()));
        }
        self
    }

    /// Has it keep all state in memory. Over budget its sources wait then until there is less.
    #[must_use]
    pub fn never_spill(self) -> Self {
        self.plan.borrow_mut().spills = false;
        self
    }

    /// Has it take checkpoints, and go on from the one that was found.
    ///
    /// Sources that can be read again, and sinks that commit with checkpoints, are then exactly once: see [`Partition::place`](crate::Partition::place)
    /// and [`Sink`](crate::Sink).
    #[must_use]
    pub fn checkpoints(self, checkpoints: Checkpoints) -> Self {
        self.plan.borrow_mut().checkpoints = Some(checkpoints);
        self
    }

    /// Whether epochs are worked on out of order, as they are by default. For comparison.
    #[must_use]
    pub fn epoch_order(self, order: EpochOrder) -> Self {
        self.plan.borrow_mut().order = order;
        self
    }

    /// Into how many shards keys are dealt out, where state is kept by key: at least 1, and at most 256. A shard is what
    /// [moves](crate::control::Rehash) from one kernel to another. More of them can be spread more evenly, and make bundles smaller. By default two on
    /// each kernel, and one where there is but one kernel.
    #[must_use]
    pub fn shards(self, shards: usize) -> Self {
        self.plan.borrow_mut().shards = Some(shards.clamp(1, GROUPS));
        self
    }

    /// Whether idle kernels take work that others have made, as they do by default. For comparison.
    #[must_use]
    pub fn stealing(self, stealing: bool) -> Self {
        self.plan.borrow_mut().stealing = stealing;
        self
    }

    /// Whether kernels take the oldest work first and, of one epoch, that nearest to the exit, as they do by default;
    /// else it is the newest, nearest to the source. For comparison.
    #[must_use]
    pub fn priority(self, priority: bool) -> Self {
        self.plan.borrow_mut().priority = priority;
        self
    }

    /// What stages give goes to the newest open epoch instead of its own, so that **results are late and may be wrong**, and a
    /// debug build fails in a window after a window. For `updraft bench` alone, to tell what the second invariant is worth.
    #[doc(hidden)]
    #[must_use]
    pub fn ignore_boundaries(self) -> Self {
        self.plan.borrow_mut().boundaries = false;
        self
    }

    /// A value that operators use, and that can be [set](crate::control::Set) while the job runs.
    ///
    /// # Panics
    /// If it has one of that name, of another type.
    pub fn parameter<T>(&self, name: impl Into<Arc<str>>, value: T) -> Parameter<T>
    where
        T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.plan.borrow().parameters.add(name.into(), value)
    }

    /// A function that operators call, of which [another version](crate::control::Swap) can take over while the job runs: with its first version.
    ///
    /// # Panics
    /// If it has something else of that name.
    pub fn function<A: ?Sized + 'static, B: 'static>(
        &self,
        name: impl Into<Arc<str>>,
        version: impl Into<String>,
        f: impl Fn(&A) -> B + Send + Sync + 'static,
    ) -> Function<A, B> {
        let f: Called<A, B> = Arc::new(f);
        Function(self.plan.borrow().parameters.named(name.into(), version.into(), f))
    }

    /// A process of which [another version](crate::control::Swap) can take over while the job runs, and find the state of each key as it is: with its first
    /// version. It is a process itself, for [`process`](crate::operator::KeyedStream::process).
    ///
    /// # Panics
    /// If it has something else of that name.
    pub fn swappable<K, T, P>(
        &self,
        name: impl Into<Arc<str>>,
        version: impl Into<String>,
        process: P,
    ) -> Swappable<K, T, P::State, P::Out>
    where
        K: 'static,
        T: 'static,
        P: Process<K, T>,
    {
        let process: Arc<dyn AnyProcess<K, T, P::State, P::Out>> = Arc::new(process);
        Swappable::new(self.plan.borrow().parameters.named(name.into(), version.into(), process))
    }

    /// The branch that ends in the sink of that name is not there at first: it gets no records before a [`Rewire`](crate::control::Rewire) adds it.
    #[must_use]
    pub fn without(self, sink: impl Into<Arc<str>>) -> Self {
        self.plan.borrow_mut().detached.insert(sink.into());
        self
    }

    /// Reads a source.
    pub fn source<S: Source>(&self, name: impl Into<Arc<str>>, source: S) -> Input<S> {
        Input::new(self.clone(), name.into(), source)
    }

    /// What it is made of, as described so far. A job that was started has handed its graph over.
    pub fn explain(&self) -> Explanation {
        let plan = self.plan.borrow();
        let class = match plan.class {
            Class::Stream => "stream",
            Class::Batch => "batch",
        };
        let order = match plan.order {
            EpochOrder::Out => "out of order",
            EpochOrder::In => "in order",
        };
        let mut about = format!("class {class}, epochs {order}");
        if let Some(bytes) = plan.memory_budget {
            about += &format!(", {bytes} bytes at most");
        }
        Explanation { job: plan.name.clone(), about, nodes: plan.graph.nodes() }
    }

    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Graph) -> T) -> T {
        draw(&mut self.plan.borrow_mut().graph)
    }

    /// What its parts are called, by node; and the sinks that are gone and commit all the same.
    pub(crate) fn ids(&self) -> Result<(Vec<Option<Id>>, Vec<Arc<str>>), Error> {
        let plan = self.plan.borrow();
        Ok((ids::ids(&plan.graph.named())?, plan.committed.clone()))
    }

    /// Has `sink` commit what the part `id` of the checkpoint has prepared (`sink orders`, say), which the job does not have any
    /// more: before another checkpoint is stored. It gets no records.
    pub fn commits<T: Record>(&self, id: impl Into<Arc<str>>, sink: impl Sink<T>) {
        let id = id.into();
        self.plan.borrow_mut().committed.push(id.clone());
        self.step(move |assembly| {
            let Some((taking, prepared)) = assembly.shared.taking.clone().zip(assembly.prepared(&id)?) else {
                return Ok(());
            };
            taking.add_gone();
            assembly.sink_task(move |group, kernel, _| {
                let fails = group.clone();
                group.spawn(kernel, id.clone(), move || async move {
                    match sink::commit_only(sink, &taking, prepared).await {
                        Ok(()) => taking.gone_has_committed(),
                        Err(error) => fails.fail(At::new(id.to_string(), error)),
                    }
                });
            });
            Ok(())
        });
    }

    /// Adds a stage that reads from `upstream` and gives to `outlet`: to the graph now, and made by `make` when the job starts.
    pub(crate) fn stage<S: Stage>(
        &self,
        names: &[Arc<str>],
        upstream: Arc<Outlet<S::In>>,
        outlet: Arc<Outlet<S::Out>>,
        make: impl FnOnce(&Shared) -> S + 'static,
    ) {
        let name: Arc<str> = names.join(" → ").into();
        let exchange = if S::KEYED { Exchange::KeyGroups } else { Exchange::Any };
        let node = self.draw(|graph| {
            let node = graph.reads(NodeKind::Stage, name.to_string(), S::ABOUT, &upstream, exchange);
            graph.gives(&outlet, "");
            if S::KEEPS != Keeps::Nothing {
                graph.keeps();
            }
            node
        });
        self.step(move |assembly| {
            let stage = make(&assembly.shared);
            assembly.stage(node, name, &upstream, stage, outlet)
        });
    }

    pub(crate) fn step(&self, step: impl FnOnce(&mut Assembly) -> Result<(), Error> + 'static) {
        self.plan.borrow_mut().steps.push(Box::new(step));
    }

    /// Runs it on a runtime of its own, with a kernel on each core, until its sources have ended.
    ///
    /// # Errors
    /// When a source cannot be opened, a record cannot be decoded (unless those are set aside), a sink fails or an
    /// operator panics; the error names the place.
    pub fn run(self) -> Result<Arc<JobMetrics>, JobError> {
        let name = self.plan.borrow().name.clone();
        let runtime = Runtime::new().map_err(|error| JobError {
            job: name,
            error: GroupError::Failed(Failure::new(format!("the kernels cannot be started: {error}"))),
        })?;
        let running = self.start(runtime.handle())?;
        runtime.block_on(running.join())
    }

    /// Starts it on the kernels of a runtime.
    ///
    /// # Errors
    /// When a source cannot be opened.
    pub fn start(self, handle: &Handle) -> Result<Running, JobError> {
        let (ids, explained) = (self.ids(), Arc::new(self.explain()));
        let plan = &mut *self.plan.borrow_mut();
        let failed = |error| JobError { job: plan.name.clone(), error: GroupError::Failed(Failure::new(error)) };
        let (ids, committed) = ids.map_err(failed)?;
        let group = handle.group(plan.name.clone(), plan.class);
        if let Some(bytes) = plan.memory_budget {
            group.account().set_budget(bytes);
        }
        let kernels = handle.kernels();
        let mut checkpoints = plan.checkpoints.take();
        if let Some(checkpoints) = &mut checkpoints {
            let parts: Vec<_> = ids.iter().flatten().cloned().collect();
            checkpoints.fit(&parts, &committed).map_err(failed)?;
        }
        let clock = EpochClock::new(checkpoints.is_some());
        let taking =
            checkpoints.as_ref().map(|checkpoints| Arc::new(Taking::new(checkpoints.attempt(), clock.ended.clone())));
        let metrics = JobMetrics::default();
        let (account, spilled) = (group.account().clone(), metrics.spilled.clone());
        let kept = checkpoints.as_ref().map(Checkpoints::control).transpose().map_err(failed)?.unwrap_or_default();
        kept.quantum.into_iter().for_each(|quantum| handle.set_quantum(quantum));
        let control = Arc::new(Control::new(plan.parameters.clone(), kept, taking.clone()));
        let leads_to = plan.graph.leads_to();
        for sink in &plan.detached {
            if !leads_to.iter().any(|sinks| sinks.contains(sink)) {
                return Err(failed(
                    format!("it is to begin without the sink `{sink}`, and has none of that name").into(),
                ));
            }
            control.begins_without(sink.clone());
        }
        let shards = plan.shards.unwrap_or(if kernels == 1 { 1 } else { (SHARDS * kernels).min(GROUPS) });
        let spill = plan.spills.then(|| Arc::new(Spill::new(account, shards, plan.spill_to.take(), spilled)));
        let shared = Arc::new(Shared {
            kernels,
            shards,
            service: Service { order: plan.order, stealing: plan.stealing, priority: plan.priority },
            boundaries: plan.boundaries,
            capacity: worker::CAPACITY * (1 + kernels),
            account: group.account().clone(),
            clock,
            work: Bells::default(),
            unfinished: AtomicUsize::new(0),
            complete: Bells::default(),
            draining: AtomicBool::new(false),
            taking,
            spill,
            control,
        });
        let mut assembly = Assembly {
            shared: shared.clone(),
            metrics,
            checkpoints,
            ids,
            leads_to,
            parts: Stages::new(),
            stages: Vec::new(),
            audit: Vec::new(),
            wiring: Vec::new(),
            tasks: Vec::new(),
            sinks: Vec::new(),
        };
        for step in plan.steps.drain(..) {
            step(&mut assembly).map_err(failed)?;
        }
        assembly.stages.iter().for_each(|stage| stage.wire());
        assembly.wiring.into_iter().for_each(|wire| wire());
        if let Some(taking) = shared.taking.clone() {
            assembly.audit.push(Box::new(move || taking.bytes()));
        }
        if let Some(spill) = shared.spill.clone() {
            assembly.audit.push(Box::new(move || spill.bytes()));
        }
        let (metrics, audit) = (Arc::new(assembly.metrics), assembly.audit.into());
        if let Some((taking, checkpoints)) = shared.taking.as_ref().zip(assembly.checkpoints) {
            if checkpoints.is_finished() {
                // All that is left to be done is what sinks do when they begin.
                shared.unfinished.store(0, Ordering::Release);
                assembly.tasks.clear();
            } else {
                checkpoint::start(&group, &shared, taking, assembly.parts, checkpoints, &metrics);
            }
        }
        start_workers(&group, &shared, &assembly.stages);
        for (index, task) in assembly.sinks.into_iter().chain(assembly.tasks).enumerate() {
            task(&group, KernelId(index % kernels), &metrics);
        }
        Ok(Running { name: plan.name.clone(), handle: handle.clone(), group, shared, metrics, audit, explained })
    }
}

/// Shards on a kernel, unless it is said.
const SHARDS: usize = 2;
/// Key groups, of which a shard has one at least.
const GROUPS: usize = 256;

/// How often is looked whether a job has come so far.
const POLL: Duration = Duration::from_millis(5);

fn start_workers(group: &Group, shared: &Arc<Shared>, stages: &[Arc<dyn Runner>]) {
    let stages: Arc<[_]> = stages.into();
    let bells: Vec<Arc<Bell>> = (0..shared.kernels).map(|_| shared.work.hang()).collect();
    for (kernel, bell) in bells.into_iter().enumerate() {
        let (shared, stages) = (shared.clone(), stages.clone());
        group.spawn_stackful(KernelId(kernel), "worker", move || worker::work(&shared, &stages, kernel, &bell));
    }
}

/// A job that was started. It goes on when this is dropped.
#[derive(Clone)]
pub struct Running {
    name: Arc<str>,
    handle: Handle,
    group: Group,
    shared: Arc<Shared>,
    metrics: Arc<JobMetrics>,
    audit: Arc<[Box<dyn Fn() -> usize + Send + Sync>]>,
    explained: Arc<Explanation>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Running {
    /// Waits until its sources have ended and all results are with the sinks.
    ///
    /// # Errors
    /// As for [`Job::run`], or when it was cancelled.
    pub async fn join(&self) -> Result<Arc<JobMetrics>, JobError> {
        self.group.join().await.map_err(|error| JobError { job: self.name.clone(), error })?;
        Ok(self.metrics.clone())
    }

    /// Has the sources stop reading; all windows fire, and the job ends well.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
        self.shared.clock.sources.ring_all();
    }

    /// Begins a [control operation](crate::control), and gives what comes of it.
    pub fn control<C: Controller>(&self, operation: impl Into<Ask<C>>) -> Asked<C::Outcome> {
        control::ask::ask(&self.handle, &self.group, &self.shared, &self.metrics, operation.into())
    }

    /// Has a [policy](crate::policy) watch it and change it, until it has ended or what is given back is dropped.
    pub fn follow<P: Policy>(&self, policy: P, pace: Pace) -> Following {
        let group = self.handle.group(format!("{} of {}", P::NAME, self.name), Class::Stream);
        policy::follow(self, group, policy, pace)
    }

    /// Has a checkpoint taken now, if it takes any.
    pub fn checkpoint(&self) {
        self.shared.taking.iter().for_each(|taking| taking.want());
    }

    /// How often it takes checkpoints, if it takes any.
    pub fn schedule(&self) -> Option<checkpoint::Schedule> {
        self.shared.taking.clone().map(checkpoint::Schedule)
    }

    /// What it is made of.
    pub fn explain(&self) -> &Explanation {
        &self.explained
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has a checkpoint taken now; `None` if it takes none. What comes of it is its number, of all that was read by now, or none if the job has ended
    /// before it was stored.
    pub fn checkpointed(&self) -> Option<impl Future<Output = Option<u64>> + use<>> {
        let (running, taking) = (self.clone(), self.shared.taking.clone()?);
        Some(self.wait("checkpoint", async move || {
            running.stored_anew(&taking).await;
            let is_stored = !running.is_ended();
            running.metrics.checkpoints.last().filter(|_| is_stored).map(|(number, ..)| number)
        }))
    }

    /// Has it take a checkpoint and end then, to go on from there another time; `None` if it takes none. Its windows do not fire. Who waits
    /// for it hears that it was cancelled, unless it has come to its end meanwhile.
    pub fn suspend(&self) -> Option<impl Future<Output = ()> + use<>> {
        let (running, taking) = (self.clone(), self.shared.taking.clone()?);
        Some(self.wait("suspend", async move || {
            running.stored_anew(&taking).await;
            while taking.has_uncommitted() && !running.is_ended() {
                clock::sleep(POLL).await;
            }
            running.cancel();
        }))
    }

    /// Has a checkpoint taken, and waits until one is stored that was begun after that, or the job has ended.
    async fn stored_anew(&self, taking: &Taking) {
        let begun = taking.begun_so_far();
        taking.want();
        while taking.newest_stored() <= begun && !self.is_ended() {
            clock::sleep(POLL).await;
        }
    }

    /// Waits for something by the clock, which kernels have; and not as part of the job, which would not come to its end then. Should the
    /// runtime go meanwhile, the job has gone with it.
    fn wait<T, W>(&self, name: &'static str, wait: W) -> impl Future<Output = T> + use<T, W>
    where
        T: Default + Send + 'static,
        W: AsyncFnOnce() -> T + Send + 'static,
    {
        let group = self.handle.group(name, Class::Stream);
        let waits = group.spawn(KernelId(0), name, move || async move { wait().await });
        async move {
            let _group = group;
            waits.await.unwrap_or_default()
        }
    }

    /// Ends it where it stands.
    pub fn cancel(&self) {
        self.group.cancel();
    }

    /// Whether nothing of it is left running.
    pub fn is_ended(&self) -> bool {
        self.group.is_ended()
    }

    /// What it has done so far.
    pub fn metrics(&self) -> &Arc<JobMetrics> {
        &self.metrics
    }

    /// Epochs that are closed at a source and not complete at a sink.
    pub fn epochs_in_flight(&self) -> usize {
        self.shared.clock.in_flight()
    }

    /// Bytes in its queues and held as state.
    pub fn memory(&self) -> usize {
        self.group.account().used()
    }

    /// The same, counted anew from what is there: exact when none of its tasks is running, as between two steps of a simulated
    /// run.
    pub fn audit_memory(&self) -> usize {
        self.audit.iter().map(|bytes| bytes()).sum()
    }

    /// The most bytes that it has held.
    pub fn peak_memory(&self) -> usize {
        self.group.account().peak()
    }
}
