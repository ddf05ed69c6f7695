//! [`Store`]: what slices are kept in. Windows are the same whatever it is.
//!
//! Records are kept in tables of rows ([`Tables`](super::Tables)), columns in whatever their grouping says
//! ([`Columns`](super::Columns)). A slice's life: each driver writes to a partial of its own; when the watermark has passed, the
//! partials of all drivers are dealt out by ranges of the key's hash; a range of a tumbling window is told as it is, that of
//! a slice which several windows need becomes a sum first. Next: [`super::slices`], which leads that life.

use super::Window;
use super::saved::SliceWriter;
use super::slices::Held;
use crate::bundle::{Bundle, Record};
use crate::pipe::Pipe;
use crate::snapshot::Rest;
use crate::source::Error;
use crate::stage::{Emit, KeyGroup};

/// See the module's page.
pub trait Store: Sized + Send + Sync + 'static {
    /// What is taken in.
    type Record: Record;
    /// What is told of a window.
    type Out: Record;
    /// Reads records: a driver's own copy.
    type Reader: Clone + Send + Sync;
    /// A driver's share of a slice.
    type Partial: Send;
    /// A range of hashes of a slice: the shares of all drivers.
    type Range: Send;
    /// What some of the keys have come to in some slices; by default, no keys.
    type Sum: Default + Send;

    /// An empty share; `large` tells that those of the slices before grew large.
    fn create(&self, large: bool) -> Self::Partial;
    /// Whether the next slice should be made for so much, too.
    fn is_large(&self, partial: &Self::Partial) -> bool;
    /// Keys held, or more where some are in it several times.
    fn len(&self, partial: &Self::Partial) -> usize;
    /// Bytes held.
    fn bytes(&self, partial: &Self::Partial) -> usize;
    /// Bytes held.
    fn sum_bytes(&self, sum: &Self::Sum) -> usize;
    /// Bytes that wait to be used again.
    fn spare_bytes(&self) -> usize {
        0
    }
    /// No slice will follow: lets go of what waits to be used again.
    fn close(&self) {}

    /// Writes what comes out of `pipe` to the slices of its time.
    fn take_in<In, P>(&self, reader: &Self::Reader, held: &mut Held<'_, Self>, pipe: &P, bundle: Bundle<In>)
    where
        In: Record,
        P: Pipe<In, Out = Self::Record>;

    /// The shares of all drivers, by ranges of the hash: always `pieces` of them, a power of two.
    fn deal(&self, partials: Vec<Self::Partial>, pieces: usize) -> Vec<Self::Range>;
    /// What is told of a stream without records by a window that ends with it; nothing at all, most often.
    fn nothing(&self) -> Option<Self::Range> {
        None
    }
    /// Tells of a window that is one slice.
    fn tell(&self, window: Window, range: Self::Range, emit: Emit<'_, Self::Out>);

    /// The shares of all drivers as one.
    fn whole(&self, range: Self::Range) -> Self::Sum;
    /// Takes `other` into `sum`.
    fn merge(&self, sum: &mut Self::Sum, other: &Self::Sum);
    /// All of them as one.
    fn gather(&self, sums: Vec<Self::Sum>) -> Self::Sum;
    /// Tells of a window that is the sum of these two.
    fn tell_sum(&self, window: Window, older: &Self::Sum, newer: &Self::Sum, emit: Emit<'_, Self::Out>);

    /// Stores a sum by key groups.
    fn save(&self, sum: &Self::Sum, writer: &mut SliceWriter<'_>) -> Result<(), Error>;
    /// In how many parts a share is stored.
    fn saved_parts(&self, partial: &Self::Partial) -> usize;
    /// Stores a part, of so many, of a share that nothing is added to any more, by key groups: each once, in their order.
    fn save_part(
        &self,
        partial: &mut Self::Partial,
        part: usize,
        of: usize,
        writer: &mut SliceWriter<'_>,
    ) -> Result<(), Error>;
    /// What was stored of a key group.
    fn load(&self, group: KeyGroup, saved: Rest<'_>) -> Result<Self::Sum, Error>;
    /// Takes `sum` into a driver's share.
    fn add(&self, partial: &mut Self::Partial, sum: Self::Sum);
}

/// Pieces of the hash space that are merged apart from each other: `parallelism`, rounded up to what can be dealt out.
pub(super) fn pieces_of(parallelism: usize) -> usize {
    parallelism.clamp(1, crate::partial::DEEP).next_power_of_two()
}

/// Which of `pieces`, a power of two up to 256, a key with this hash is in: its top bits tell.
pub fn piece_of(hash: u64, pieces: usize) -> usize {
    piece_of_group(KeyGroup::of(hash), pieces)
}

/// Which of `pieces` a key group is in.
pub(super) fn piece_of_group(group: KeyGroup, pieces: usize) -> usize {
    usize::from(group.0) * pieces / crate::partial::DEEP
}
