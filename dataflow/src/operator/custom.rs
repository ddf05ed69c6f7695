//! The middle level: an [`Operator`] of one's own, that sees what flows as it flows: bundles and punctuations.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use crate::bundle::{Bundle, Record, Times};
use crate::checkpoint::{Column, Layout};
use crate::keyed::{TimerQueue, groups_of};
use crate::operator::Shuffled;
use crate::pipe::Pipe;
use crate::snapshot::{Records, Saved, Snapshot};
use crate::source::Error;
use crate::stage::{Emit, Keeps, Stage};
use crate::stream::Stream;
use crate::sync::{Mutex, lock};
use crate::table::Key;
use crate::time::{Generation, Punctuation, Time};

/// An operator with handlers for what flows.
///
/// There is an instance on each kernel, a clone of the one that was given, or, after a [shuffle](crate::operator::KeyedStream::shuffle), for each
/// [shard](crate::Job::shards). It gets the bundles that were made on its kernel (those of the keys that it owns), epoch after epoch: the bundles of an
/// epoch, then timers that its watermark makes due, then its punctuation.
///
/// ```
/// use updraft_dataflow::operator::{Operator, Outbox};
/// use updraft_dataflow::{Bundle, Punctuation};
///
/// /// Tells how many records each epoch had, on each kernel.
/// #[derive(Clone, Default)]
/// struct PerEpoch(usize);
///
/// impl Operator<String> for PerEpoch {
///     type Out = (u64, usize);
///
///     fn bundle(&mut self, bundle: Bundle<String>, _: &mut Outbox<'_, Self::Out>) {
///         self.0 += bundle.len();
///     }
///
///     fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Self::Out>) {
///         out.emit(vec![(punctuation.epoch.0, std::mem::take(&mut self.0))]);
///     }
/// }
/// ```
pub trait Operator<T>: Clone + Send + Sync + 'static {
    /// What comes out.
    type Out: Record;

    /// An instance begins, `instance` of `instances`: before all else.
    fn open(&mut self, instance: usize, instances: usize) {
        let _ = (instance, instances);
    }

    /// Records of the epoch that is open have come.
    fn bundle(&mut self, bundle: Bundle<T>, out: &mut Outbox<'_, Self::Out>);

    /// A timer is due: the watermark has come to `at`.
    fn timer(&mut self, at: Time, out: &mut Outbox<'_, Self::Out>) {
        let _ = (at, out);
    }

    /// The epoch is over: no more of it will come.
    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Self::Out>) {
        let _ = (punctuation, out);
    }

    /// The stream has ended.
    fn close(&mut self) {}

    /// By how much the event time of what it gives may be behind the watermark.
    fn lag(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    /// Bytes that the instance holds as state, for the memory account.
    fn bytes(&self) -> usize {
        0
    }

    /// What an instance keeps from one bundle to the next. Unless it is said, a job with the operator cannot take checkpoints:
    /// [`Keeps::Nothing`], or [`Keeps::State`] where [`save`](Self::save) and [`load`](Self::load) are written.
    const KEEPS: Keeps = Keeps::More;

    /// Adds all that the instance keeps, its timers aside, to a snapshot. Called between two epochs. What is not written any
    /// more is best an object of its own, which the next snapshot [keeps](Snapshot::keep).
    ///
    /// # Errors
    /// When something cannot be serialised.
    fn save(&mut self, snapshot: &mut Snapshot) -> Result<(), Error> {
        let _ = snapshot;
        Ok(())
    }

    /// Takes back what was saved: called after [`open`](Self::open), before the first bundle, with each record of which this
    /// instance owns some key groups, in order of the objects. The number of instances may be another then; of keys that it
    /// does not own (see [`owner_of_key`](crate::keyed::owner_of_key)) it leaves out what there is.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&mut self, saved: Saved) -> Result<(), Error> {
        let _ = saved;
        Ok(())
    }
}

/// Where an [`Operator`] gives records, and sets timers.
pub struct Outbox<'a, T> {
    emit: Emit<'a, T>,
    timers: &'a mut TimerQueue<()>,
    time: Time,
}

impl<T: 'static> Outbox<'_, T> {
    /// Gives records; their event time is that of the timer, or the end of the bundle or epoch.
    pub fn emit(&mut self, records: Vec<T>) {
        self.emit_at(self.time, records);
    }

    /// Gives records that all have this event time.
    pub fn emit_at(&mut self, time: Time, records: Vec<T>) {
        if !records.is_empty() {
            (self.emit)(Bundle::from(records).with_times(Times::Same(time)));
        }
    }

    /// Has [`timer`](Operator::timer) called when the watermark has come to `at`. After a job has gone on from a checkpoint with another
    /// number of kernels, other instances may be called, too.
    pub fn set_timer(&mut self, at: Time) {
        self.timers.push(at, ());
    }
}

/// The stage of an [`Operator`].
pub struct OperatorStage<T, O> {
    operator: O,
    drivers: usize,
    /// Of the last epoch that is complete, but for the very last.
    watermark: AtomicI64,
    bytes: AtomicUsize,
    of: std::marker::PhantomData<fn(T)>,
}

impl<T, O> OperatorStage<T, O> {
    /// An instance for each of so many drivers.
    pub fn new(operator: O, drivers: usize) -> Self {
        let watermark = AtomicI64::new(Time::MIN.0);
        Self { operator, drivers, watermark, bytes: AtomicUsize::new(0), of: std::marker::PhantomData }
    }
}

/// An instance, and its timers. Taken out while it works: no lock is held over the user's code.
pub struct Instance<O> {
    driver: usize,
    operator: Mutex<Option<(O, TimerQueue<()>)>>,
}

impl<T: Record, O: Operator<T>> OperatorStage<T, O> {
    fn with(&self, instance: &Instance<O>, work: impl FnOnce(&mut O, &mut TimerQueue<()>)) {
        let taken = lock(&instance.operator).take();
        let opened = taken.is_some();
        let (mut operator, mut timers) = taken.unwrap_or_else(|| {
            let mut operator = self.operator.clone();
            operator.open(instance.driver, self.drivers);
            (operator, TimerQueue::default())
        });
        let bytes = |operator: &O, timers: &TimerQueue<()>| operator.bytes() + timers.bytes();
        let before = if opened { bytes(&operator, &timers) } else { 0 };
        work(&mut operator, &mut timers);
        self.bytes.fetch_add(bytes(&operator, &timers).wrapping_sub(before), Ordering::Relaxed);
        *lock(&instance.operator) = Some((operator, timers));
    }
}

/// The end of an epoch, for a driver.
pub struct End {
    driver: usize,
    punctuation: Punctuation,
    /// The event time of what is given at it.
    time: Time,
}

impl<T: Record, O: Operator<T>> Stage for OperatorStage<T, O> {
    type In = T;
    type Out = O::Out;
    type Local = Instance<O>;
    type Part = End;

    const ABOUT: &'static str = "instances of an operator, epochs in order";
    const KEYED: bool = true;
    const KEEPS: Keeps = O::KEEPS;

    fn drivers(&self) -> Option<usize> {
        Some(self.drivers)
    }

    fn local(&self, driver: usize) -> Instance<O> {
        Instance { driver, operator: Mutex::new(None) }
    }

    fn bundle(&self, instance: &Instance<O>, _: Generation, bundle: Bundle<T>, emit: Emit<'_, O::Out>) {
        let time = bundle.timed().map(|(time, _)| time).max().unwrap_or(Time::MIN);
        self.with(instance, |operator, timers| operator.bundle(bundle, &mut Outbox { emit, timers, time }));
    }

    fn seal(&self, instances: &[Instance<O>], punctuation: Punctuation) -> Vec<End> {
        let before = Time(self.watermark.load(Ordering::Acquire));
        let time = if punctuation.watermark == Time::MAX { before } else { punctuation.watermark };
        self.watermark.store(time.0, Ordering::Release);
        (0..instances.len()).map(|driver| End { driver, punctuation, time }).collect()
    }

    fn watermark(&self, punctuation: Punctuation) -> Time {
        match punctuation.watermark {
            Time::MAX => Time::MAX,
            watermark => watermark - self.operator.lag(),
        }
    }

    fn owner(&self, end: &End) -> Option<usize> {
        Some(end.driver)
    }

    fn part(&self, instance: &Instance<O>, end: End, emit: Emit<'_, O::Out>) {
        let watermark = end.punctuation.watermark;
        self.with(instance, |operator, timers| {
            while let Some((at, ())) = timers.pop(watermark) {
                operator.timer(at, &mut Outbox { emit: &mut *emit, timers, time: at });
            }
            operator.punctuation(end.punctuation, &mut Outbox { emit: &mut *emit, timers, time: end.time });
            if watermark == Time::MAX {
                operator.close();
            }
        });
        if watermark == Time::MAX
            && let Some((operator, timers)) = lock(&instance.operator).take()
        {
            self.bytes.fetch_sub(operator.bytes() + timers.bytes(), Ordering::Relaxed);
        }
    }

    fn state_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn snapshot(
        &self,
        instances: &[Instance<O>],
        driver: usize,
        _: Generation,
        snapshot: &mut Snapshot,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        self.with(&instances[driver], |operator, timers| {
            result = operator.save(snapshot);
            snapshot.saved.iter_mut().for_each(|saved| saved.bytes.push(OF_OPERATOR));
            if O::KEEPS == Keeps::State && !timers.is_empty() {
                let times: Vec<Time> = timers.times().collect();
                let timers = snapshot.add_whole(groups_of(driver, self.drivers), &times);
                result = std::mem::replace(&mut result, Ok(())).and(timers.map(drop));
                snapshot.saved.last_mut().into_iter().for_each(|saved| saved.bytes.push(OF_TIMERS));
            }
        });
        result
    }

    fn restore(&self, instances: &[Instance<O>], at: Punctuation, saved: Records<'_>) -> Result<(), Error> {
        self.watermark.store(at.watermark.0, Ordering::Release);
        for saved in saved {
            let mut saved = saved?;
            let of = saved.bytes.pop();
            for instance in instances.iter().filter(|instance| saved.is_for(instance.driver, self.drivers)) {
                let mut result = Ok(());
                self.with(instance, |operator, timers| {
                    result = match of {
                        Some(OF_OPERATOR) => operator.load(saved.clone()),
                        _ => saved.read::<Vec<Time>>().map(|times| times.iter().for_each(|at| timers.push(*at, ()))),
                    };
                });
                result?;
            }
        }
        Ok(())
    }
}

/// What an operator keeps, as far as its type says.
pub(crate) fn operator_layout<O>(name: &str) -> Layout {
    Layout::of(name).table("records", [Column::of::<O>("operator")])
}

/// The last byte of a record: whose it is.
const OF_OPERATOR: u8 = 0;
const OF_TIMERS: u8 = 1;

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// What an operator of one's own makes of the stream.
    pub fn operator<O: Operator<P::Out>>(self, name: &str, operator: O) -> Stream<O::Out> {
        let kept = operator_layout::<O>(name);
        self.materialize().stage(name, |_, kernels| OperatorStage::new(operator, kernels)).keeps(kept)
    }
}

impl<K: Key, T: Record> Shuffled<K, T> {
    /// What an operator of one's own makes of records with their keys: each of its instances owns some of the keys.
    pub fn operator<O: Operator<(K, T)>>(self, name: &str, operator: O) -> Stream<O::Out> {
        let kept = operator_layout::<O>(name);
        self.keyed_stage(name, move |shared| OperatorStage::new(operator, shared.shards)).keeps(kept)
    }
}
