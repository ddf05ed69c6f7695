//! [`SliceWriter`]: a slice becomes an object of a snapshot: records by key group, of bounded size.

use serde::Serialize;
use updraft_kernel::yield_point;

use crate::partial::DEEP;
use crate::snapshot::{Object, Saved, Snapshot, append};
use crate::source::Error;
use crate::stage::KeyGroup;

/// Bytes of a record, about.
const BYTES: usize = 64 << 10;
/// Entries after which others may have the kernel.
const ENTRIES: usize = 1024;

/// See the module's page.
pub struct SliceWriter<'a> {
    snapshot: &'a mut Snapshot,
    object: Object,
    /// What each record begins with.
    head: Vec<u8>,
    /// The record that is being written of each key group.
    records: Vec<Vec<u8>>,
    entries: usize,
}

impl<'a> SliceWriter<'a> {
    /// Of an object that is new, of which each record begins with `head`.
    pub(super) fn new(snapshot: &'a mut Snapshot, object: Object, head: &impl Serialize) -> Result<Self, Error> {
        let head = postcard::to_allocvec(head)?;
        Ok(Self { snapshot, object, head, records: vec![Vec::new(); DEEP], entries: 0 })
    }

    /// Adds an entry of a key group; all of them follow each other in its records.
    #[inline]
    pub(super) fn add(&mut self, group: KeyGroup, entry: &impl Serialize) -> Result<(), Error> {
        let record = &mut self.records[usize::from(group.0)];
        if record.is_empty() {
            record.extend_from_slice(&self.head);
        }
        append(entry, record)?;
        if record.len() >= BYTES {
            self.finish(group);
        }
        self.entries += 1;
        if self.entries.is_multiple_of(ENTRIES) {
            yield_point();
        }
        Ok(())
    }

    /// Adds a record of a key group.
    pub(super) fn add_whole(&mut self, group: KeyGroup, bytes: &[u8]) {
        self.records[usize::from(group.0)] = [&self.head, bytes].concat();
        self.finish(group);
        yield_point();
    }

    fn finish(&mut self, group: KeyGroup) {
        let bytes = std::mem::take(&mut self.records[usize::from(group.0)]);
        self.snapshot.saved.push(Saved { object: self.object, groups: group.alone(), bytes });
    }

    /// All has been added.
    pub(super) fn end(mut self) {
        for group in (0..=u8::MAX).map(KeyGroup) {
            if !self.records[usize::from(group.0)].is_empty() {
                self.finish(group);
            }
        }
    }
}
