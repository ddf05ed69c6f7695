//! The stage that sends each record to the driver that owns its key.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};

use super::split::Combiner;
use crate::bundle::{Bundle, Record, Times};
use crate::join::Side;
use crate::pipe::Pipe;
use crate::stage::{Emit, KeyGroup, Stage};
use crate::table::{Key, hash_of};
use crate::time::{Generation, Punctuation, Time};

/// Which of `drivers` owns a key group: each has about as many, next to each other.
pub fn owner_of(group: KeyGroup, drivers: usize) -> usize {
    usize::from(group.0) * drivers / 256
}

/// Which of `drivers` owns a key.
pub fn owner_of_key(key: &impl Key, drivers: usize) -> usize {
    owner_of_hash(hash_of(key), drivers)
}

/// The key groups that `driver` of `drivers` owns: the first and the last.
pub fn groups_of(driver: usize, drivers: usize) -> RangeInclusive<KeyGroup> {
    let first = |driver: usize| (driver * 256).div_ceil(drivers).min(256);
    let start = first(driver).min(255);
    KeyGroup(start as u8)..=KeyGroup((first(driver + 1) - 1).max(start) as u8)
}

/// Which of `drivers` owns the keys of a hash.
#[inline(always)]
pub fn owner_of_hash(hash: u64, drivers: usize) -> usize {
    // One that is alone owns all.
    if drivers == 1 { 0 } else { owner_of(KeyGroup::of(hash), drivers) }
}

/// What can be dealt out.
pub trait Dealt: Record {
    /// Calls `give` with each part of it and the driver that this is for, of so many.
    fn deal(self, drivers: usize, give: &mut impl FnMut(usize, Self));
}

/// A record with its key.
impl<K: Key, T: Record> Dealt for (K, T) {
    #[inline(always)]
    fn deal(self, drivers: usize, give: &mut impl FnMut(usize, Self)) {
        give(if drivers == 1 { 0 } else { owner_of_hash(hash_of(&self.0), drivers) }, self);
    }
}

/// A record with its key, or one for all.
impl<K: Key, T: Record, B: Record> Dealt for Side<(K, T), B> {
    fn deal(self, drivers: usize, give: &mut impl FnMut(usize, Self)) {
        match self {
            Self::Left(record) => record.deal(drivers, &mut |owner, record| give(owner, Self::Left(record))),
            Self::Right(_) => (0..drivers).for_each(|owner| give(owner, self.clone())),
        }
    }
}

/// Deals records out to the drivers of the stage after it.
pub struct ShuffleStage<In, P: Pipe<In>> {
    pipe: P,
    drivers: usize,
    /// How records of a key become one, where it is split.
    combiner: Option<Combiner<P::Out>>,
    /// What all drivers hear when the input has ended.
    end: Option<P::Out>,
    ended: AtomicBool,
    input: PhantomData<fn(In)>,
}

impl<In, P: Pipe<In>> ShuffleStage<In, P> {
    /// What comes out of `pipe`, to so many drivers.
    pub fn new(pipe: P, drivers: usize) -> Self {
        Self { pipe, drivers, combiner: None, end: None, ended: AtomicBool::new(false), input: PhantomData }
    }

    /// Has records of split keys put together.
    #[must_use]
    pub(crate) fn combining(self, combiner: Option<Combiner<P::Out>>) -> Self {
        Self { combiner, ..self }
    }

    /// Has all drivers hear of the end of the input, where there are others that have not ended.
    #[must_use]
    pub fn telling(self, end: Option<P::Out>) -> Self {
        Self { end, ..self }
    }
}

impl<In, P> Stage for ShuffleStage<In, P>
where
    In: Record,
    P: Pipe<In>,
    P::Out: Dealt,
{
    type In = In;
    type Out = P::Out;
    type Local = P;
    type Part = ();

    /// So that the records of a key stay in order.
    const ORDERED: bool = true;

    fn local(&self, _: usize) -> P {
        self.pipe.clone()
    }

    fn bundle(&self, pipe: &P, _: Generation, bundle: Bundle<In>, emit: Emit<'_, Self::Out>) {
        if self.drivers == 1 {
            return to_one(pipe, bundle, emit);
        }
        // Twice its share, as keys are seldom dealt out evenly; a lane that outgrows its room is copied.
        let share = (bundle.len() / self.drivers * 2).min(bundle.len());
        let room = || (Vec::with_capacity(share), Vec::with_capacity(share));
        let mut lanes: Vec<(Vec<P::Out>, Vec<Time>)> = std::iter::repeat_with(room).take(self.drivers).collect();
        let mut deal = |time, record: P::Out| {
            record.deal(self.drivers, &mut |owner, record| {
                let (records, times) = &mut lanes[owner];
                records.push(record);
                times.push(time);
            });
        };
        match self.combiner.as_ref().and_then(Combiner::partials) {
            None => bundle.for_each(|time, record| pipe.push(time, record, &mut deal)),
            Some(mut partials) => {
                bundle.for_each(|time, record| {
                    pipe.push(time, record, &mut |time, record| {
                        partials.take(time, record).into_iter().for_each(|record| deal(time, record));
                    });
                });
                partials.into_records().for_each(|(time, record)| deal(time, record));
            }
        }
        for (owner, (records, times)) in lanes.into_iter().enumerate() {
            if !records.is_empty() {
                emit(Bundle::from(records).with_times(Times::Each(times)).owned_by(owner));
            }
        }
    }

    /// The end of the input is something to be done: once, in the first epoch that it closes.
    fn seal(&self, _: &[P], punctuation: Punctuation) -> Vec<()> {
        let ends = punctuation.watermark == Time::MAX && self.end.is_some();
        if ends && !self.ended.swap(true, Ordering::AcqRel) { vec![()] } else { Vec::new() }
    }

    fn part(&self, _: &P, (): (), emit: Emit<'_, Self::Out>) {
        if let Some(end) = &self.end {
            (0..self.drivers).for_each(|owner| emit(Bundle::from(vec![end.clone()]).owned_by(owner)));
        }
    }
}

/// The same where there is nothing to choose.
fn to_one<In: Record, P: Pipe<In>>(pipe: &P, bundle: Bundle<In>, emit: Emit<'_, P::Out>)
where
    P::Out: Dealt,
{
    let (mut records, mut times) = (Vec::with_capacity(bundle.len()), Vec::with_capacity(bundle.len()));
    bundle.for_each(|time, record| {
        pipe.push(time, record, &mut |time, record| {
            records.push(record);
            times.push(time);
        });
    });
    if !records.is_empty() {
        emit(Bundle::from(records).with_times(Times::Each(times)).owned_by(0));
    }
}
