//! [`Monitor`]: looks for new files again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use updraft_dataflow::Error;
use updraft_kernel::clock;

use super::find::look;
use super::open::{Share, Unit};
use super::plan::Plan;
use crate::files::path::Named;

/// Looks for new files. Each counts once, by its name.
#[derive(Debug)]
pub(super) struct Monitor {
    every: Duration,
    seen: BTreeSet<Named>,
}

impl Monitor {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, seen: BTreeSet::new() }
    }

    /// Waits for files that are new: oldest first.
    pub(super) async fn wait(&mut self, plan: &Plan) -> Result<Vec<Unit>, Error> {
        loop {
            let new = self.look(plan).await?;
            if !new.is_empty() {
                return Ok(new);
            }
            clock::sleep(self.every).await;
        }
    }

    async fn look(&mut self, plan: &Plan) -> Result<Vec<Unit>, Error> {
        let mut new = look(&plan.settings).await?;
        new.retain(|file| self.seen.insert(Named(file.path.clone())));
        new.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        Ok(new.into_iter().map(|file| Unit { size: file.size, file, share: Share::All }).collect())
    }

    /// The files that there have been.
    pub(super) fn seen(&self) -> Vec<Named> {
        self.seen.iter().cloned().collect()
    }

    /// Goes on where another one had seen these.
    pub(super) fn go_on(&mut self, seen: Vec<Named>) {
        self.seen = seen.into_iter().collect();
    }
}
