//! [`Pause`] and [`Resume`]: sources that are not read for a while. What has been read is worked on to its end, and checkpoints go on.

use super::set::{Changing, Set, SourceChange};

/// Has sources read nothing until they are [resumed](Resume): each stops between two batches, at the end of an epoch that is the same for all. It is
/// done when all records of that epoch, which is its outcome, and of those before are with the sinks.
///
/// A job that goes on from a checkpoint reads all of its sources.
#[derive(Debug)]
pub struct Pause(Set);

/// Has sources that were [paused](Pause) go on.
#[derive(Debug)]
pub struct Resume(Set);

impl Pause {
    /// All sources.
    pub fn all() -> Self {
        Self(Set::new().change(None, switch(true)))
    }

    /// One of them.
    pub fn source(name: impl Into<String>) -> Self {
        Self(Set::new().change(Some(name.into()), switch(true)))
    }
}

impl Resume {
    /// All sources.
    pub fn all() -> Self {
        Self(Set::new().change(None, switch(false)))
    }

    /// One of them.
    pub fn source(name: impl Into<String>) -> Self {
        Self(Set::new().change(Some(name.into()), switch(false)))
    }
}

fn switch(pause: bool) -> SourceChange {
    SourceChange { pause: Some(pause), ..SourceChange::default() }
}

impl Changing for Pause {
    const NAME: &'static str = "pause";
    fn set(&mut self) -> &mut Set {
        &mut self.0
    }
}

impl Changing for Resume {
    const NAME: &'static str = "resume";
    fn set(&mut self) -> &mut Set {
        &mut self.0
    }
}
