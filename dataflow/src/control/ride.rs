//! How messages travel: [`Control`] is what the tasks of a job look at when they close or complete an epoch, [`Ride`] is one message on its
//! way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;
use updraft_kernel::Bell;

use super::parameter::Parameters;
use super::placement::Placement;
use super::rewire::Attachment;
use super::settings::{Kept, Settings};
use super::{Answer, Instance, Message, Part};
use crate::checkpoint::{Schedule, Taking};
use crate::explain::NodeKind;
use crate::keyed::Splits;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::time::Epoch;

/// The operations of a job.
#[derive(Default)]
pub(crate) struct Control {
    parts: Mutex<Vec<Arc<Part>>>,
    riding: Mutex<BTreeMap<Epoch, Arc<dyn Carriage>>>,
    /// How many there are: most often nobody has to look further.
    count: AtomicU64,
    turns: Mutex<Turns>,
    /// Told when an operation is over.
    over: Notify,
    /// Where stages are worked for, by the numbers of their parts.
    placements: Mutex<BTreeMap<usize, Arc<Placement>>>,
    /// Whether sinks get what comes, by name.
    attachments: Mutex<BTreeMap<Arc<str>, Arc<Attachment>>>,
    /// The keys that are split, by the names of their stages.
    splits: Mutex<BTreeMap<Arc<str>, Arc<Splits>>>,
    pub(crate) parameters: Arc<Parameters>,
    pub(crate) settings: Settings,
    /// How often checkpoints are taken, in a job that takes any.
    taking: Option<Arc<Taking>>,
}

#[derive(Default)]
struct Turns {
    next: u64,
    /// What those change that are not over, by their number.
    waiting: BTreeMap<u64, BTreeSet<usize>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("parts", &self.parts()).finish_non_exhaustive()
    }
}

impl Control {
    /// Of a job that begins with what was set in a run before.
    pub(crate) fn new(parameters: Arc<Parameters>, kept: Kept, taking: Option<Arc<Taking>>) -> Self {
        for (name, value) in &kept.parameters {
            match parameters.fits(name, value) {
                Ok(()) => parameters.set_after(None, name, value),
                Err(error) => tracing::warn!("what was set before is not any more: {error}"),
            }
        }
        Self { parameters, settings: Settings::new(kept), taking, ..Self::default() }
    }

    /// How often the job takes checkpoints, if it takes any.
    pub(crate) fn schedule(&self) -> Option<Schedule> {
        self.taking.clone().map(Schedule)
    }

    /// One more part of the job.
    pub(crate) fn add_part(&self, kind: NodeKind, name: Arc<str>, instances: usize, is_keyed: bool) -> Arc<Part> {
        let is_splittable = is_keyed && self.splits_of(&name).is_some();
        let parts = &mut *lock(&self.parts);
        let part = Arc::new(Part { number: parts.len(), kind, name, instances, is_keyed, is_splittable });
        parts.push(part.clone());
        part
    }

    /// Where a stage is worked for: as was set in a run before, if there were as many drivers and kernels.
    pub(crate) fn place(&self, stage: &Part, kernels: usize) -> Arc<Placement> {
        let kept = self.settings.now().placements.remove(&*stage.name);
        let fits = |kept: &Vec<usize>| kept.len() == stage.instances && kept.iter().all(|kernel| *kernel < kernels);
        let placement = match kept.filter(fits) {
            Some(kept) => Placement::new(kept.into()),
            None => Placement::even(stage.instances, kernels),
        };
        let placement = Arc::new(placement);
        lock(&self.placements).insert(stage.number, placement.clone());
        placement
    }

    /// Where a stage is worked for; none of what works where it is called.
    pub(super) fn placement(&self, stage: &Part) -> Option<Arc<Placement>> {
        lock(&self.placements).get(&stage.number).cloned()
    }

    /// Whether a sink gets what comes.
    pub(crate) fn attachment(&self, sink: &str) -> Arc<Attachment> {
        self.attached_at_first(sink.into(), true)
    }

    /// A sink gets nothing at first.
    pub(crate) fn begins_without(&self, sink: Arc<str>) {
        self.attached_at_first(sink, false);
    }

    fn attached_at_first(&self, sink: Arc<str>, is_attached: bool) -> Arc<Attachment> {
        let was_set = || self.settings.now().attached.get(&*sink).copied();
        let attachment = || Arc::new(Attachment::new(was_set().unwrap_or(is_attached)));
        lock(&self.attachments).entry(sink.clone()).or_insert_with(attachment).clone()
    }

    /// The keys of the stages of that name can be split.
    pub(crate) fn splits(&self, stage: Arc<str>, splits: Arc<Splits>) {
        splits.set_after(None, self.settings.now().split.get(&*stage).into_iter().flatten());
        lock(&self.splits).insert(stage, splits);
    }

    /// The keys that are split of the stages of that name, if any can be.
    pub(super) fn splits_of(&self, stage: &str) -> Option<Arc<Splits>> {
        lock(&self.splits).get(stage).cloned()
    }

    /// All parts: sources first, then stages in the order of the data, then sinks.
    pub(super) fn parts(&self) -> Vec<Arc<Part>> {
        let mut parts = lock(&self.parts).clone();
        parts.sort_by_key(|part| (part.kind, part.number));
        parts
    }

    /// What rides on the punctuation that closes `epoch`.
    pub(crate) fn riding_on(&self, epoch: Epoch) -> Option<Arc<dyn Carriage>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        lock(&self.riding).get(&epoch).cloned()
    }

    /// Puts a message on an epoch that nobody has closed yet.
    pub(super) fn put(&self, epoch: Epoch, carriage: Arc<dyn Carriage>) {
        let before = lock(&self.riding).insert(epoch, carriage);
        debug_assert!(before.is_none(), "one message rides on {epoch}");
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// All have answered what rides on `epoch`.
    pub(super) fn take(&self, epoch: Epoch) {
        if lock(&self.riding).remove(&epoch).is_some() {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
        self.parameters.forget(epoch);
        lock(&self.placements).values().for_each(|placement| placement.forget(epoch));
        lock(&self.attachments).values().for_each(|attachment| attachment.forget(epoch));
        lock(&self.splits).values().for_each(|splits| splits.forget(epoch));
        if self.taking.is_none() {
            self.settings.forget_before(epoch);
        }
    }

    /// The place in line of an operation that changes these parts.
    pub(super) fn queue(self: &Arc<Self>, changes: BTreeSet<usize>) -> Turn {
        let turns = &mut *lock(&self.turns);
        let number = turns.next;
        turns.next += 1;
        turns.waiting.insert(number, changes);
        Turn { control: self.clone(), number }
    }

    /// Whether none that is before `number` changes what that one does.
    fn may_go(&self, number: u64) -> bool {
        let turns = lock(&self.turns);
        let own = turns.waiting.get(&number);
        turns.waiting.range(..number).all(|(_, other)| own.is_none_or(|own| own.is_disjoint(other)))
    }
}

/// A place in line, until it is dropped.
pub(super) struct Turn {
    control: Arc<Control>,
    number: u64,
}

impl Turn {
    pub(super) async fn comes(&self) {
        loop {
            let over = self.control.over.notified();
            if self.control.may_go(self.number) {
                return;
            }
            over.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.control.turns).waiting.remove(&self.number);
        self.control.over.notify_waiters();
    }
}

/// A message on its way, whatever it is.
pub(crate) trait Carriage: Send + Sync {
    /// Whether the punctuation waits for it at a stage.
    fn is_blocking(&self) -> bool;
    /// One of an instance's inputs has closed the epoch.
    fn comes_to(&self, part: &Part, number: usize);
    /// The epoch is over at an instance.
    fn completes(&self, part: &Arc<Part>, instance: &mut Instance<'_>);
    /// The punctuation has gone on from an instance.
    fn goes_on_from(&self, part: &Part, number: usize);
}

impl dyn Carriage + '_ {
    /// One of a part's inputs has closed the epoch.
    pub(crate) fn comes(&self, part: &Part) {
        (0..part.instances).for_each(|number| self.comes_to(part, number));
    }

    /// The punctuation has gone on from a part.
    pub(crate) fn goes_on(&self, part: &Part) {
        (0..part.instances).for_each(|number| self.goes_on_from(part, number));
    }
}

/// A message on its way through a job.
pub(super) struct Ride<M: Message> {
    message: M,
    state: Mutex<State<M>>,
    /// Rung at each answer.
    pub(super) answered: Arc<Bell>,
}

struct State<M: Message> {
    visits: BTreeMap<(usize, usize), M::Visit>,
    /// Answers that nobody has taken yet.
    answers: Vec<Answer<M::Answer>>,
    /// The instances that it has not gone on from. Those that it does not concern, too: when none is left all epochs up to its own are complete.
    left: BTreeMap<(usize, usize), Arc<Part>>,
}

impl<M: Message> Ride<M> {
    pub(super) fn new(message: M, parts: &[Arc<Part>]) -> Self {
        let of = |part: &Arc<Part>| {
            let part = part.clone();
            (0..part.instances).map(move |number| ((part.number, number), part.clone()))
        };
        let left = parts.iter().flat_map(of).collect();
        let state = State { visits: BTreeMap::new(), answers: Vec::new(), left };
        Self { message, state: Mutex::new(state), answered: Arc::default() }
    }

    /// The answers that have come since, and whether none is left to come.
    pub(super) fn take(&self) -> (Vec<Answer<M::Answer>>, bool) {
        let state = &mut *lock(&self.state);
        (std::mem::take(&mut state.answers), state.left.is_empty())
    }

    /// Whether there are answers to be taken, or none is left to come.
    pub(super) fn has_news(&self) -> bool {
        let state = lock(&self.state);
        !state.answers.is_empty() || state.left.is_empty()
    }

    /// Who has not answered.
    pub(super) fn late(&self) -> Vec<String> {
        let state = lock(&self.state);
        let told = |((_, number), part): (&(usize, usize), &Arc<Part>)| match (part.kind, part.instances) {
            (_, 1) => part.to_string(),
            (NodeKind::Source, _) => format!("partition {number} of {part}"),
            _ => format!("driver {number} of {part}"),
        };
        state.left.iter().map(told).collect()
    }
}

impl<M: Message> Carriage for Ride<M> {
    fn is_blocking(&self) -> bool {
        M::BLOCKING
    }

    fn comes_to(&self, part: &Part, number: usize) {
        if !self.message.concerns(part) {
            return;
        }
        let visits = &mut lock(&self.state).visits;
        let visit = visits.entry((part.number, number)).or_insert_with(|| {
            let mut visit = self.message.on_init(part, number);
            self.message.on_begin(&mut visit);
            visit
        });
        self.message.on_next(visit);
    }

    fn completes(&self, part: &Arc<Part>, instance: &mut Instance<'_>) {
        let (number, place) = (instance.number, (part.number, instance.number));
        // Taken out: no lock is held while the message is at work.
        let visit = lock(&self.state).visits.remove(&place);
        let visited = visit.map(|mut visit| (self.message.on_complete(&mut visit, instance), visit));
        let state = &mut *lock(&self.state);
        if let Some((said, visit)) = visited {
            state.visits.insert(place, visit);
            state.answers.push(Answer { part: part.clone(), number, said });
        }
        state.left.remove(&place);
        self.answered.ring();
    }

    fn goes_on_from(&self, part: &Part, number: usize) {
        let visit = lock(&self.state).visits.remove(&(part.number, number));
        visit.into_iter().for_each(|visit| self.message.on_dispose(visit));
    }
}
