//! [`Set`]: settings that change while the job runs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use updraft_kernel::Handle;

use super::settings::{Kept, SourceSettings};
use super::{Control, Controller, Instance, Message, Part, Round, View};
use crate::epoch::Epochs;
use crate::explain::NodeKind;
use crate::source::Error;
use crate::time::Epoch;

/// How long tasks may run at a time.
const QUANTA: RangeInclusive<Duration> = Duration::from_micros(1)..=Duration::from_secs(1);

/// Changes settings, all of them between the same two epochs. Its outcome is the last epoch with the old ones. A job that goes on from a later checkpoint has
/// the new ones.
#[derive(Debug, Default)]
pub struct Set {
    /// By source; none for all of them.
    sources: Vec<(Option<String>, SourceChange)>,
    parameters: BTreeMap<String, Value>,
    checkpoints: Option<Duration>,
    quantum: Option<Duration>,
    begun: Option<Begun>,
}

/// What is needed of the job from when it is its turn.
#[derive(Debug)]
struct Begun {
    control: Arc<Control>,
    handle: Handle,
    /// The sources that change, by name.
    sources: Vec<(Arc<str>, SourceChange)>,
    epoch: Epoch,
}

/// What changes of a source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SourceChange {
    pub(crate) settings: SourceSettings,
    pub(crate) pause: Option<bool>,
    pub(crate) drain: bool,
}

impl SourceChange {
    fn settings(settings: SourceSettings) -> Self {
        Self { settings, ..Self::default() }
    }
}

impl Set {
    /// Nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records in a bundle of a source, as [`Input::bundle`](crate::input::Input::bundle).
    #[must_use]
    pub fn bundle(self, source: impl Into<String>, records: usize) -> Self {
        let settings = SourceSettings { bundle: Some(records.max(1)), ..SourceSettings::default() };
        self.change(Some(source.into()), SourceChange::settings(settings))
    }

    /// When a source closes epochs, as [`Input::epochs`](crate::input::Input::epochs). Which records are late may change with it.
    #[must_use]
    pub fn epochs(self, source: impl Into<String>, epochs: Epochs) -> Self {
        let settings = SourceSettings { epochs: Some(epochs), ..SourceSettings::default() };
        self.change(Some(source.into()), SourceChange::settings(settings))
    }

    /// The value of a [parameter](crate::Job::parameter).
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        // What is no JSON fits no parameter, and is told when it is its turn.
        self.parameters.insert(name.into(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// How often checkpoints are taken.
    #[must_use]
    pub fn checkpoints(mut self, every: Duration) -> Self {
        self.checkpoints = Some(every);
        self
    }

    /// How long a task of the job's runtime runs before others have their turn, as [`Builder::quantum`](updraft_kernel::Builder::quantum): of other jobs there, too,
    /// and at once.
    #[must_use]
    pub fn quantum(mut self, quantum: Duration) -> Self {
        self.quantum = Some(quantum);
        self
    }

    pub(super) fn change(mut self, source: Option<String>, change: SourceChange) -> Self {
        self.sources.push((source, change));
        self
    }
}

/// What rides to the sources.
#[derive(Debug)]
pub struct SetSources(Vec<(usize, SourceChange)>);

impl Message for SetSources {
    type Visit = ();
    type Answer = ();

    fn on_init(&self, _: &Part, _: usize) {}

    fn on_complete(&self, (): &mut (), instance: &mut Instance<'_>) {
        let number = instance.part.number;
        let Some(all) = instance.change.as_deref_mut() else { return };
        for (_, change) in self.0.iter().filter(|(source, _)| *source == number) {
            all.settings = all.settings.with(change.settings);
            all.pause = change.pause.or(all.pause);
            all.drain |= change.drain;
        }
    }
}

impl Set {
    fn begin(&mut self, job: &View<'_>) -> Result<SetSources, Error> {
        for (name, value) in &self.parameters {
            job.shared.control.parameters.fits(name, value)?;
        }
        if self.checkpoints.is_some() && job.shared.control.schedule().is_none() {
            return Err("the job takes no checkpoints".into());
        }
        if self.quantum.is_some_and(|quantum| !QUANTA.contains(&quantum)) {
            return Err("a task runs between a microsecond and a second at a time".into());
        }
        let mut sources = Vec::new();
        for (name, change) in &self.sources {
            match name {
                Some(name) => sources.push((job.part(NodeKind::Source, name)?, *change)),
                None => {
                    sources.extend(
                        job.parts.iter().filter(|part| part.kind == NodeKind::Source).map(|part| (part, *change)),
                    );
                }
            }
        }
        let named = sources.iter().map(|(part, change)| (part.name.clone(), *change)).collect();
        let (control, handle) = (job.shared.control.clone(), job.handle.clone());
        self.begun = Some(Begun { control, handle, sources: named, epoch: Epoch::default() });
        Ok(SetSources(sources.into_iter().map(|(part, change)| (part.number, change)).collect()))
    }

    fn hold_after(&mut self, epoch: Epoch) {
        let Some(begun) = &mut self.begun else { return };
        begun.epoch = epoch;
        for (name, value) in &self.parameters {
            begun.control.parameters.set_after(Some(epoch), name, value);
        }
        if let Some((every, schedule)) = self.checkpoints.zip(begun.control.schedule()) {
            schedule.every(every);
        }
        self.quantum.into_iter().for_each(|quantum| begun.handle.set_quantum(quantum));
        begun.control.settings.change(epoch, |kept| {
            keep(kept, &begun.sources, &self.parameters);
            kept.checkpoints = self.checkpoints.or(kept.checkpoints);
            kept.quantum = self.quantum.or(kept.quantum);
        });
    }
}

/// An operation that changes settings, whatever it is called.
pub(super) trait Changing: Send + 'static {
    const NAME: &'static str;
    fn set(&mut self) -> &mut Set;
}

impl Changing for Set {
    const NAME: &'static str = "set";
    fn set(&mut self) -> &mut Set {
        self
    }
}

impl<C: Changing> Controller for C {
    type Message = SetSources;
    type Outcome = Epoch;
    const NAME: &'static str = C::NAME;

    fn changes(&self, part: &Part) -> bool {
        // Sources are where settings begin to hold, also those of parameters.
        part.kind == NodeKind::Source
    }

    fn on_init(&mut self, job: &View<'_>) -> Result<SetSources, Error> {
        self.set().begin(job)
    }

    fn on_begin(&mut self, epoch: Epoch) {
        self.set().hold_after(epoch);
    }

    fn on_complete(&mut self) -> Result<Round<SetSources, Epoch>, Error> {
        Ok(Round::Done(self.set().begun.as_ref().map(|begun| begun.epoch).unwrap_or_default()))
    }
}

/// Notes what a job that goes on from a checkpoint is to have.
fn keep(kept: &mut Kept, sources: &[(Arc<str>, SourceChange)], parameters: &BTreeMap<String, Value>) {
    for (name, SourceChange { settings, .. }) in sources {
        if *settings != SourceSettings::default() {
            let source = kept.sources.entry(name.to_string()).or_default();
            *source = source.with(*settings);
        }
    }
    kept.parameters.extend(parameters.clone());
}
