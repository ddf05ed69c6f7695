//! How slices are stored: each as an object of a snapshot, of records by key group, of bounded size.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Layout;
use crate::partial::DEEP;
use crate::snapshot::{Object, Saved, append};
use crate::source::Error;
use crate::stage::KeyGroup;
use crate::time::Time;

/// Bytes of a record, about.
const BYTES: usize = 64 << 10;

/// How a record of a snapshot begins.
#[derive(Serialize, Deserialize)]
pub(super) enum Kept {
    /// Where the windows have come to.
    NextEnd(i64),
    /// What follows is some of the slice that starts there.
    Slice(Role, i64),
}

/// Some of a slice, as a checkpoint has it: for who looks at it from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedSlice {
    /// Where it begins; none where all time is one slice.
    pub start: Option<Time>,
    /// Where it ends.
    pub end: Option<Time>,
    /// `open` where rows may still come, `closed` where windows to come need it, `sum` of it and the closed ones after it.
    pub kind: &'static str,
    /// What is kept of some keys, as the window's store writes it.
    pub bytes: Vec<u8>,
}

impl SavedSlice {
    /// The one that is in a record of a window of this layout, if that is of a slice.
    ///
    /// # Errors
    /// When it is of no window.
    pub fn read(saved: &Saved, layout: &Layout) -> Result<Option<Self>, Error> {
        let (Kept::Slice(role, start), rest) = saved.begin()? else { return Ok(None) };
        let kind = match role {
            Role::Front => "sum",
            Role::Back => "closed",
            Role::Open => "open",
        };
        let slicing = layout.slicing().filter(|slicing| !slicing.is_whole());
        let end = slicing.map(|slicing| Time(slicing.slice(start).1));
        Ok(Some(Self { start: slicing.map(|_| Time(start)), end, kind, bytes: rest.bytes().to_vec() }))
    }
}

/// What a slice is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Role {
    /// A level of the older ones, as [`Panes`](super::panes::Panes) hold them.
    Front,
    /// One of the newer ones there.
    Back,
    /// Not sealed.
    Open,
}

/// Writes a slice, or some of it.
pub struct SliceWriter<'a> {
    /// Where finished records go.
    saved: &'a mut Vec<Saved>,
    object: Object,
    /// What each record begins with.
    head: Vec<u8>,
    /// The record that is being written of each key group.
    records: Vec<Vec<u8>>,
}

impl<'a> SliceWriter<'a> {
    /// Of an object that is the slice which begins at `start`.
    pub(super) fn new(saved: &'a mut Vec<Saved>, object: Object, role: Role, start: i64) -> Result<Self, Error> {
        let head = postcard::to_allocvec(&Kept::Slice(role, start))?;
        Ok(Self { saved, object, head, records: vec![Vec::new(); DEEP] })
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
        Ok(())
    }

    /// Adds a record of a key group.
    pub(super) fn add_whole(&mut self, group: KeyGroup, bytes: &[u8]) {
        self.records[usize::from(group.0)] = [&self.head, bytes].concat();
        self.finish(group);
    }

    fn finish(&mut self, group: KeyGroup) {
        let bytes = std::mem::take(&mut self.records[usize::from(group.0)]);
        self.saved.push(Saved { object: self.object, groups: group.alone(), bytes });
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
