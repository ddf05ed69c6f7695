//! A [`Stage`]: the work between two pipeline breakers, as a pure thing. The third of the five files of the data path.
//!
//! A stage takes bundles and punctuations and gives bundles. It does no I/O, starts no thread, reads no
//! clock and holds no channel, so that anything can drive it: a kernel's worker (see [`crate::worker`]),
//! a test ([`crate::testing`]), another engine's task, a browser. Next: [`crate::exchange`], how what it
//! gives reaches the stages after it.

use std::ops::RangeInclusive;

use crate::bundle::{Bundle, Record};
use crate::keyed::HotKey;
use crate::snapshot::{Records, Snapshot};
use crate::source::Error;
use crate::time::{Generation, Punctuation, Time};

/// The unit of placement of keyed state: one of 256 ranges of the key's hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct KeyGroup(pub u8);

impl KeyGroup {
    /// This one alone.
    pub fn alone(self) -> RangeInclusive<Self> {
        self..=self
    }

    /// The one that keys with this hash are in: its top eight bits.
    pub const fn of(hash: u64) -> Self {
        Self((hash >> 56) as u8)
    }
}

/// Takes what a stage gives.
pub type Emit<'a, T> = &'a mut dyn FnMut(Bundle<T>);

/// The work between two pipeline breakers.
///
/// # How to drive one
/// Make as many [`local`](Stage::local)s as there are drivers. Each driver gives bundles to
/// [`bundle`](Stage::bundle) with its own local, in any order of epochs. When all bundles of an epoch and of those before
/// it have been given, and all inputs have closed it, one driver calls [`seal`](Stage::seal), in order of
/// epochs, and any drivers give the parts that it returns to [`part`](Stage::part). The epoch is complete when
/// these are done. Only then is the next one sealed. Bundles of later epochs may be given all the while.
pub trait Stage: Send + Sync + 'static {
    /// What goes in.
    type In: Record;
    /// What comes out.
    type Out: Record;
    /// One driver's share of the state. Shared, so that whoever seals an epoch can take what is its from it while
    /// the driver is busy with later ones.
    type Local: Send + Sync;
    /// A piece of the work that completes an epoch, apart from the others.
    type Part: Send;

    /// What it keeps, for people who look at the job.
    const ABOUT: &'static str = "";
    /// Whether each driver owns some of the keys. Then bundles go to their [owner](Bundle::owner), in order of epochs: the
    /// driver does not get one before the epoch ahead of it is complete.
    const KEYED: bool = false;
    /// Whether what comes of a bundle is to stay in the order of the bundles.
    const ORDERED: bool = false;
    /// What it keeps from one bundle to the next.
    const KEEPS: Keeps = Keeps::Nothing;

    /// How many drivers it is made for, if that is not the number of kernels: of a [keyed](Self::KEYED) stage, its shards.
    fn drivers(&self) -> Option<usize> {
        None
    }

    /// The share of driver `driver`, from 0.
    fn local(&self, driver: usize) -> Self::Local;

    /// Consumes a bundle of an epoch of `generation`.
    fn bundle(&self, local: &Self::Local, generation: Generation, bundle: Bundle<Self::In>, emit: Emit<'_, Self::Out>);

    /// Consumes a punctuation: what is to be done before the epoch is complete.
    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<Self::Part>;

    /// Which driver has to do a part, if not any may.
    fn owner(&self, part: &Self::Part) -> Option<usize> {
        let _ = part;
        None
    }

    /// How far what the stage gives is complete, once it has consumed the punctuation: the watermark of the stages after it.
    fn watermark(&self, punctuation: Punctuation) -> Time {
        punctuation.watermark
    }

    /// What it keeps by time is kept from here on when it has consumed `watermark`; none if it keeps nothing so. Just when that has moved on it
    /// keeps the least.
    fn kept_from(&self, watermark: Time) -> Option<Time> {
        let _ = watermark;
        None
    }

    /// Does a piece of what [`seal`](Stage::seal) returned.
    fn part(&self, local: &Self::Local, part: Self::Part, emit: Emit<'_, Self::Out>);

    /// Bytes held as state, all shares together, without what keys and values own elsewhere.
    fn state_bytes(&self) -> usize {
        0
    }

    /// The keys that most records of a driver's share are of, about, where it knows.
    fn hot_keys(&self, local: &Self::Local) -> Vec<HotKey> {
        let _ = local;
        Vec::new()
    }

    /// A driver's share of the state that generations up to `through` have left. To be called for each driver, by
    /// any, when the last epoch of that generation is complete, and before the next one is sealed; writes of later generations do not show.
    ///
    /// # Errors
    /// When something cannot be serialised.
    fn snapshot(
        &self,
        locals: &[Self::Local],
        driver: usize,
        through: Generation,
        snapshot: &mut Snapshot,
    ) -> Result<(), Error> {
        let _ = (locals, driver, through, snapshot);
        Ok(())
    }

    /// Goes on with the last snapshot that was taken of a driver's share, where that had only to be begun: adds some of what is not
    /// saved yet, and tells whether something is left. The driver calls it until nothing is, between whatever else it does;
    /// what it writes meanwhile does not show.
    ///
    /// # Errors
    /// As [`snapshot`](Stage::snapshot).
    fn save_more(&self, local: &Self::Local, snapshot: &mut Snapshot) -> Result<bool, Error> {
        let _ = (local, snapshot);
        Ok(false)
    }

    /// Goes on from a snapshot, before the first bundle. `at` is what closed its last epoch; the number of locals may be another.
    /// Where each driver owns some of the [keys](Self::KEYED), they may be some of them: then it is called for the others too, at
    /// the same time perhaps, and the records are those that are [for](crate::Saved::is_for) these.
    ///
    /// # Errors
    /// When a record is not what was saved.
    fn restore(&self, locals: &[Self::Local], at: Punctuation, saved: Records<'_>) -> Result<(), Error> {
        let _ = (locals, at, saved);
        Ok(())
    }
}

/// What a stage keeps from one bundle to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps {
    /// Nothing.
    Nothing,
    /// What its snapshots hold.
    State,
    /// Something that its snapshots do not hold: its job cannot take checkpoints.
    More,
}
