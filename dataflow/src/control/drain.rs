//! [`Drain`]: a job that reads nothing more, and comes to its end.

use super::set::{Changing, Set, SourceChange};

/// Has all sources stop reading at the end of an epoch that is the same for all; then windows fire, and the job ends well. Its outcome is that epoch.
#[derive(Debug)]
pub struct Drain(Set);

impl Default for Drain {
    fn default() -> Self {
        Self(Set::new().change(None, SourceChange { drain: true, ..SourceChange::default() }))
    }
}

impl Changing for Drain {
    const NAME: &'static str = "drain";
    fn set(&mut self) -> &mut Set {
        &mut self.0
    }
}
