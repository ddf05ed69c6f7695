//! A [`Bundle`]: a batch of records of one epoch, the unit of scheduling and of stealing.
//!
//! Records are owned, or shared with a prepared buffer that they are cloned from one by one as the
//! stage's loop reaches them, so that replaying memory copies nothing in between. Next:
//! [`crate::source`], where bundles come from.

use std::ops::Range;
use std::sync::Arc;

use crate::rows;
use crate::time::Time;

/// What may flow: any value that can be cloned and handed from kernel to kernel.
pub trait Record: Clone + Send + Sync + 'static {}
impl<T: Clone + Send + Sync + 'static> Record for T {}

/// A batch of records.
#[derive(Clone, Debug)]
pub struct Bundle<T> {
    records: Records<T>,
    times: Times,
    bytes: usize,
    position: u64,
    owner: Option<usize>,
}

#[derive(Clone, Debug)]
enum Records<T> {
    Owned(Vec<T>),
    Shared(Arc<[T]>, Range<usize>),
}

/// The event times of a bundle's records.
#[derive(Clone, Debug)]
pub(crate) enum Times {
    /// All records have this one.
    Same(Time),
    /// One for each record, in order.
    Each(Vec<Time>),
}

impl Times {
    /// One after the other; without end where all are the same.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Time> {
        let (same, each) = match self {
            Self::Same(time) => (Some(*time), &[][..]),
            Self::Each(times) => (None, &times[..]),
        };
        each.iter().copied().chain(same.into_iter().cycle())
    }
}

impl<T: 'static> From<Vec<T>> for Bundle<T> {
    /// Accounted as the vector's own elements, or as the columns of [`Rows`](crate::Rows); say more with
    /// [`Bundle::with_bytes`] where records own memory elsewhere.
    fn from(records: Vec<T>) -> Self {
        let bytes = rows::bytes_of(&records);
        Self { records: Records::Owned(records), times: Times::Same(Time::MIN), bytes, position: 0, owner: None }
    }
}

impl<T> Bundle<T> {
    /// The records at `range` of a shared buffer. The buffer itself is not accounted: it is there
    /// whether or not the bundle is.
    ///
    /// # Panics
    /// When `range` does not lie within `records`.
    pub fn shared(records: Arc<[T]>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= records.len(), "range outside the buffer");
        let records = Records::Shared(records, range);
        Self { records, times: Times::Same(Time::MIN), bytes: 0, position: 0, owner: None }
    }

    /// The same bundle, accounted as `bytes`: for records that own memory elsewhere (text).
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    pub(crate) fn with_times(mut self, times: Times) -> Self {
        debug_assert!(!matches!(&times, Times::Each(each) if each.len() != self.len()));
        self.times = times;
        self
    }

    /// The same bundle, of which the first record was the source's `position`-th.
    pub(crate) fn at(mut self, position: u64) -> Self {
        self.position = position;
        self
    }

    /// The same bundle, of keys that only driver `owner` may consume.
    pub(crate) fn owned_by(mut self, owner: usize) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Which driver of a keyed stage has to consume it; `None` where any may.
    pub fn owner(&self) -> Option<usize> {
        self.owner
    }

    /// Which of its source's records the first one is, from 0; 0 too for what was made from records.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that the memory account is charged while the bundle is queued.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The records, in order.
    pub fn as_slice(&self) -> &[T] {
        match &self.records {
            Records::Owned(records) => records,
            Records::Shared(records, range) => &records[range.clone()],
        }
    }

    /// The records, in order, each with its event time ([`Time::MIN`] where they have none).
    pub fn timed(&self) -> impl Iterator<Item = (Time, &T)> {
        self.times.iter().zip(self.as_slice())
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// How many records, or rows of them, for people: where the records are [`Rows`](crate::Rows), their rows are counted.
    pub fn count(&self) -> usize
    where
        T: 'static,
    {
        rows::count_of(self.as_slice())
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<T: Clone> Bundle<T> {
    /// The records as a vector: cloned only where they are shared.
    pub fn into_vec(self) -> Vec<T> {
        match self.records {
            Records::Owned(records) => records,
            Records::Shared(records, range) => records[range].to_vec(),
        }
    }

    /// The same records, each turned into another, at the same event times.
    pub fn map<U: 'static>(self, f: impl FnMut(T) -> U) -> Bundle<U> {
        let (position, owner) = (self.position, self.owner);
        let (records, times) = self.into_parts();
        let records: Vec<U> = records.into_iter().map(f).collect();
        Bundle { position, owner, ..Bundle::from(records).with_times(times) }
    }

    /// The records as a vector, and their times.
    pub(crate) fn into_parts(self) -> (Vec<T>, Times) {
        let times = self.times.clone();
        (self.into_vec(), times)
    }

    /// Calls `f` with each record and its time.
    #[inline]
    pub(crate) fn for_each(self, mut f: impl FnMut(Time, T)) {
        match (self.records, self.times) {
            (Records::Owned(records), Times::Same(t)) => records.into_iter().for_each(|r| f(t, r)),
            (Records::Shared(records, range), Times::Same(t)) => {
                records[range].iter().for_each(|r| f(t, r.clone()));
            }
            (Records::Owned(records), Times::Each(times)) => {
                times.into_iter().zip(records).for_each(|(t, r)| f(t, r));
            }
            (Records::Shared(records, range), Times::Each(times)) => {
                times.into_iter().zip(&records[range]).for_each(|(t, r)| f(t, r.clone()));
            }
        }
    }

    /// Takes it apart, from the front.
    pub(crate) fn into_pieces(self) -> Pieces<T> {
        let share = self.bytes.checked_div(self.len()).unwrap_or(0);
        let rest = match self.records {
            Records::Owned(records) => Rest::Owned(records.into_iter()),
            Records::Shared(records, range) => Rest::Shared(records, range),
        };
        Pieces { rest, share, position: self.position }
    }
}

/// A bundle that is being taken apart.
pub(crate) struct Pieces<T> {
    rest: Rest<T>,
    /// Bytes a record.
    share: usize,
    position: u64,
}

enum Rest<T> {
    Owned(std::vec::IntoIter<T>),
    Shared(Arc<[T]>, Range<usize>),
}

impl<T: Clone> Pieces<T> {
    /// The next `n` records, of which there are so many.
    pub(crate) fn take(&mut self, n: usize) -> Bundle<T> {
        let position = self.position;
        self.position += n as u64;
        let records = match &mut self.rest {
            Rest::Owned(records) if n == records.len() => Records::Owned(std::mem::take(records).collect()),
            Rest::Owned(records) => Records::Owned(records.take(n).collect()),
            Rest::Shared(records, range) => {
                let taken = range.start..range.start + n;
                range.start = taken.end;
                Records::Shared(records.clone(), taken)
            }
        };
        Bundle { records, times: Times::Same(Time::MIN), bytes: n * self.share, position, owner: None }
    }
}
