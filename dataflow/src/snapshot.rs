//! [`Snapshot`]: what the state of a stage is made of when a generation is over.
//!
//! State is kept as *objects*: pieces of it that are not written any more, each under a number. A snapshot says which there
//! are; the records of those that no snapshot had before are added to it. So what is stored grows with what has changed, not
//! with what there is. Whoever drives the stage stores the records, and lets go of objects that no snapshot that it
//! still needs is made of.
//!
//! When a stage goes on from a snapshot it gets the records of all of its objects, in order of their numbers; the number of
//! its drivers may be another then. Next: [`crate::checkpoint`], which stores them.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keyed::{groups_of, owner_of};
use crate::source::Error;
use crate::stage::KeyGroup;

/// What the key groups of a record without keys are: whoever owns any of them gets it.
pub const ALL_GROUPS: RangeInclusive<KeyGroup> = KeyGroup(0)..=KeyGroup(u8::MAX);

/// A piece of state that is not written any more, as its stage counts them: later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub u64);

/// A record of an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// What it is part of.
    pub object: Object,
    /// The key groups that it holds keys of: the first and the last.
    pub groups: RangeInclusive<KeyGroup>,
    /// What the stage has made of it.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl Saved {
    /// Whether driver `driver` of `drivers` owns some of its key groups.
    pub fn is_for(&self, driver: usize, drivers: usize) -> bool {
        (owner_of(*self.groups.start(), drivers)..=owner_of(*self.groups.end(), drivers)).contains(&driver)
    }

    /// Whether its key groups are all that driver `driver` of `drivers` owns, or more.
    pub fn has_all_of(&self, driver: usize, drivers: usize) -> bool {
        let own = groups_of(driver, drivers);
        self.groups.contains(own.start()) && self.groups.contains(own.end())
    }

    /// What was [added](Snapshot::add).
    ///
    /// # Errors
    /// When it is something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.begin().map(|(value, _)| value)
    }

    /// What it begins with, and the rest.
    ///
    /// # Errors
    /// When it begins with something else.
    pub(crate) fn begin<T: DeserializeOwned>(&self) -> Result<(T, Rest<'_>), Error> {
        let mut rest = Rest { saved: self, bytes: &self.bytes };
        rest.next().map(|value| (value, rest))
    }
}

/// What is left to be read of a record.
#[derive(Debug)]
pub struct Rest<'a> {
    saved: &'a Saved,
    bytes: &'a [u8],
}

impl<'a> Rest<'a> {
    /// As it was stored.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// All values that are left.
    pub(crate) fn values<T: DeserializeOwned>(mut self) -> impl Iterator<Item = Result<T, Error>> {
        std::iter::from_fn(move || (!self.bytes.is_empty()).then(|| self.next()))
    }

    /// The next value.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let (value, rest) = postcard::take_from_bytes(self.bytes)
            .map_err(|error| format!("the snapshot of {:?} cannot be read: {error}", self.saved.groups))?;
        self.bytes = rest;
        Ok(value)
    }
}

/// Writes a value to the end of `bytes`.
///
/// # Errors
/// When it cannot be serialised; then some of it may be there.
#[inline(always)]
pub(crate) fn append(value: &(impl Serialize + ?Sized), bytes: &mut Vec<u8>) -> Result<(), Error> {
    Ok(postcard::serialize_with_flavor(value, Append(bytes))?)
}

/// Postcard's own takes the vector away for each value, and fills it byte by byte.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline(always)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// A driver's share of a snapshot, as its stage fills it.
#[derive(Debug)]
pub struct Snapshot {
    /// The numbers of the stage's objects.
    next: Arc<AtomicU64>,
    /// What the state is made of.
    pub objects: Vec<Object>,
    /// The records of those that no snapshot had before.
    pub saved: Vec<Saved>,
}

impl Snapshot {
    /// Without objects; `next` is the number of the next one, of all drivers of the stage.
    pub fn new(next: Arc<AtomicU64>) -> Self {
        Self { next, objects: Vec::new(), saved: Vec::new() }
    }

    /// An object that is new.
    pub fn create(&mut self) -> Object {
        let object = Object(self.next.fetch_add(1, Ordering::Relaxed));
        self.objects.push(object);
        object
    }

    /// An object that a snapshot before had: it is part of the state still.
    pub fn keep(&mut self, object: Object) {
        self.objects.push(object);
    }

    /// A record of an object that is new: `value`, of keys in `groups`.
    ///
    /// # Errors
    /// When it cannot be serialised.
    pub fn add(
        &mut self,
        object: Object,
        groups: RangeInclusive<KeyGroup>,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        self.saved.push(Saved { object, groups, bytes: postcard::to_allocvec(value)? });
        Ok(())
    }

    /// An object of which this is all.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_whole(
        &mut self,
        groups: RangeInclusive<KeyGroup>,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Object, Error> {
        let object = self.create();
        self.add(object, groups, value).map(|()| object)
    }
}

/// The records of all objects of a snapshot, in order of the objects.
pub type Records<'a> = &'a mut dyn Iterator<Item = Result<Saved, Error>>;
