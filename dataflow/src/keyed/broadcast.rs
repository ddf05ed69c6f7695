//! Broadcast state: a second stream, of which every driver hears every record, beside the keyed one.

use crate::aggregate::State;
use crate::bundle::{Bundle, Record, Times};
use crate::join::Side;
use crate::snapshot::{ALL_GROUPS, Records, Snapshot};
use crate::source::Error;
use crate::stage::{Emit, Keeps, Stage};
use crate::table::Key;
use crate::time::{Generation, Punctuation, Time};

use super::hot::HotKey;
use super::stage::{Due, KeyedStage, Local};
use super::{Process, TimeToLive};

/// A [`Process`] that also hears what is broadcast: rules, thresholds, a small table.
///
/// What it has heard is the same on all kernels when an epoch is complete. Within an epoch records of the two streams come in no
/// particular order: what is to go by a rule from the first record on needs the rule to be an epoch earlier.
pub trait Listen<B>: Clone + Send + Sync + 'static {
    /// What it has heard so far, as it is kept in snapshots.
    type Heard: State;

    /// A record of the broadcast stream, and its event time.
    fn hear(&mut self, record: B, time: Time);

    /// What is to be kept.
    fn heard(&self) -> Self::Heard;

    /// Goes on with what was kept.
    fn remember(&mut self, heard: Self::Heard);
}

/// The stage of a process that listens.
pub struct BroadcastStage<K, T, B, P: Process<K, T>> {
    keyed: KeyedStage<K, T, P>,
    of: std::marker::PhantomData<fn(B)>,
}

impl<K, T, B, P> BroadcastStage<K, T, B, P>
where
    K: Key,
    T: Record,
    P: Process<K, T>,
{
    /// As [`KeyedStage::spilling`].
    #[must_use]
    pub fn spilling(self, spill: Option<std::sync::Arc<super::Spill>>) -> Self {
        Self { keyed: self.keyed.spilling(spill), ..self }
    }

    /// As [`KeyedStage::new`].
    pub fn new(process: P, time_to_live: Option<TimeToLive>, drivers: usize, now: Time) -> Self {
        Self { keyed: KeyedStage::new(process, time_to_live, drivers, now), of: std::marker::PhantomData }
    }
}

impl<K, T, B, P> Stage for BroadcastStage<K, T, B, P>
where
    K: Key,
    T: Record,
    B: Record,
    P: Process<K, T> + Listen<B>,
{
    type In = Side<(K, T), B>;
    type Out = P::Out;
    type Local = Local<K, P::State, P>;
    type Part = Due;

    const ABOUT: &'static str = KeyedStage::<K, T, P>::ABOUT;
    const KEYED: bool = true;
    const KEEPS: Keeps = Keeps::State;

    fn drivers(&self) -> Option<usize> {
        self.keyed.drivers()
    }

    fn local(&self, driver: usize) -> Self::Local {
        self.keyed.local(driver)
    }

    fn bundle(&self, local: &Self::Local, generation: Generation, bundle: Bundle<Self::In>, emit: Emit<'_, P::Out>) {
        // A bundle is of one stream or of the other.
        let (records, times) = bundle.into_parts();
        let (mut keyed, mut keyed_times) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        for (record, time) in records.into_iter().zip(times.iter()) {
            match record {
                Side::Left(record) => {
                    keyed.push(record);
                    keyed_times.push(time);
                }
                Side::Right(record) => self.keyed.with(local, |owned| owned.process.hear(record, time)),
            }
        }
        if !keyed.is_empty() {
            let bundle = Bundle::from(keyed).with_times(Times::Each(keyed_times));
            self.keyed.bundle(local, generation, bundle, emit);
        }
    }

    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<Due> {
        self.keyed.seal(locals, punctuation)
    }

    fn watermark(&self, punctuation: Punctuation) -> Time {
        self.keyed.watermark(punctuation)
    }

    fn owner(&self, due: &Due) -> Option<usize> {
        self.keyed.owner(due)
    }

    fn part(&self, local: &Self::Local, due: Due, emit: Emit<'_, P::Out>) {
        self.keyed.part(local, due, emit);
    }

    fn hot_keys(&self, local: &Self::Local) -> Vec<HotKey> {
        self.keyed.hot_keys(local)
    }

    fn state_bytes(&self) -> usize {
        self.keyed.state_bytes()
    }

    fn snapshot(
        &self,
        locals: &[Self::Local],
        driver: usize,
        through: Generation,
        snapshot: &mut Snapshot,
    ) -> Result<(), Error> {
        self.keyed.snapshot(locals, driver, through, snapshot)?;
        snapshot.saved.iter_mut().for_each(|saved| saved.bytes.push(OF_KEYS));
        if driver == 0 {
            // All drivers have heard the same.
            let mut heard = None;
            self.keyed.with(&locals[0], |owned| heard = Some(owned.process.heard()));
            snapshot.add_whole(ALL_GROUPS, &heard)?;
            snapshot.saved.last_mut().into_iter().for_each(|saved| saved.bytes.push(OF_HEARD));
        }
        Ok(())
    }

    fn save_more(&self, local: &Self::Local, snapshot: &mut Snapshot) -> Result<bool, Error> {
        let before = snapshot.saved.len();
        let is_left = self.keyed.save_more(local, snapshot);
        snapshot.saved[before..].iter_mut().for_each(|saved| saved.bytes.push(OF_KEYS));
        is_left
    }

    fn restore(&self, locals: &[Self::Local], at: Punctuation, saved: Records<'_>) -> Result<(), Error> {
        self.keyed.resume(at);
        for saved in saved {
            let mut saved = saved?;
            if saved.bytes.pop() == Some(OF_KEYS) {
                self.keyed.load(locals, &saved)?;
            } else if let Some(heard) = saved.read::<Option<P::Heard>>()? {
                locals.iter().for_each(|local| self.keyed.with(local, |owned| owned.process.remember(heard.clone())));
            }
        }
        Ok(())
    }
}

/// The last byte of a record: what it is of.
const OF_KEYS: u8 = 0;
const OF_HEARD: u8 = 1;
