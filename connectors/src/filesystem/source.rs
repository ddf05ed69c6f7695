//! Reads the files of a table: dealt out to partitions once, or one after the other as they appear.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use updraft_dataflow::connector::{Scan, Table};
use updraft_dataflow::{Batch, Error, Partition, Progress, Rows, Source};
use updraft_kernel::clock;

use super::find::look;
use super::open::{Open, Share, Unit};
use super::plan::Plan;
use super::share::units;

/// A source of the rows of files.
///
/// Files are dealt out round robin in the order of their names; where there are fewer than partitions, those of Parquet
/// are shared out by row groups, and large ones of lines by bytes. How many partitions there are depends on the files and on `source.partitions` alone.
#[derive(Debug)]
pub struct FilesSource {
    plan: Plan,
}

impl FilesSource {
    /// Of a table's files, what a scan asks for.
    ///
    /// # Errors
    /// When an option's value is wrong.
    pub fn new(table: &Table, scan: &Scan) -> Result<Self, Error> {
        let plan = Plan::new(table, scan)?;
        if !plan.settings.format.is_block() {
            // What the format cannot hold is told now, not when the first file is opened.
            plan.settings.format.decoder(&plan.stored, &plan.wanted, &table.name)?;
        }
        Ok(Self { plan })
    }
}

impl Source for FilesSource {
    type Item = Rows;
    type Partition = FilesPartition;

    fn open(self) -> Result<Vec<FilesPartition>, Error> {
        let plan = Arc::new(self.plan);
        if let Some(every) = plan.settings.monitor {
            let monitor = Monitor { every, seen: HashSet::new() };
            return Ok(vec![FilesPartition::new(plan, VecDeque::new(), Some(monitor))]);
        }
        let hands = deal(units(&plan)?, plan.settings.partitions);
        Ok(hands.into_iter().map(|hand| FilesPartition::new(plan.clone(), hand, None)).collect())
    }
}

/// Round robin; no hand is empty, unless there is nothing.
fn deal(units: Vec<Unit>, most: usize) -> Vec<VecDeque<Unit>> {
    let hands = units.len().clamp(1, most);
    let mut dealt = vec![VecDeque::new(); hands];
    for (index, unit) in units.into_iter().enumerate() {
        dealt[index % hands].push_back(unit);
    }
    dealt
}

/// Some of the files.
pub struct FilesPartition {
    plan: Arc<Plan>,
    queue: VecDeque<Unit>,
    current: Option<Open>,
    /// Bytes of all that is read, and of what was read before the current file; `None` where more may come.
    sizes: Option<Progress>,
    monitor: Option<Monitor>,
}

/// Looks for new files.
#[derive(Debug)]
struct Monitor {
    every: Duration,
    seen: HashSet<PathBuf>,
}

impl FilesPartition {
    fn new(plan: Arc<Plan>, queue: VecDeque<Unit>, monitor: Option<Monitor>) -> Self {
        let whole = queue.iter().map(|unit| unit.size).sum();
        let sizes = monitor.is_none().then_some(Progress { read: 0, whole });
        Self { plan, queue, current: None, sizes, monitor }
    }

    /// Waits for files; whether any can come.
    async fn look(&mut self) -> Result<bool, Error> {
        let Some(monitor) = &mut self.monitor else { return Ok(false) };
        while !monitor.look(&self.plan, &mut self.queue).await? {
            clock::sleep(monitor.every).await;
        }
        Ok(true)
    }
}

impl Monitor {
    /// Puts the files that are new into the queue, oldest first; whether there are any.
    async fn look(&mut self, plan: &Plan, queue: &mut VecDeque<Unit>) -> Result<bool, Error> {
        let mut new = look(&plan.settings).await?;
        new.retain(|file| !self.seen.contains(&file.path));
        new.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        let any = !new.is_empty();
        for file in new {
            self.seen.insert(file.path.clone());
            queue.push_back(Unit { size: file.size, file, share: Share::All });
        }
        Ok(any)
    }
}

impl Partition for FilesPartition {
    type Item = Rows;

    fn progress(&self) -> Option<Progress> {
        let current = self.current.as_ref().map_or(0, |open| open.progress().read);
        self.sizes.map(|sizes| Progress { read: sizes.read + current, ..sizes })
    }

    async fn next(&mut self, _: usize) -> Result<Option<Batch<Rows>>, Error> {
        loop {
            if let Some(open) = &mut self.current {
                if let Some(batch) = open.next(&self.plan).await? {
                    return Ok(Some(batch));
                }
                if let Some(sizes) = &mut self.sizes {
                    sizes.read += open.progress().whole;
                }
                self.current = None;
            }
            match self.queue.pop_front() {
                Some(unit) => self.current = Some(Open::new(unit, &self.plan).await?),
                None if self.look().await? => {}
                None => return Ok(None),
            }
        }
    }

    fn position(&self) -> String {
        match (&self.current, self.queue.front()) {
            (Some(open), _) => open.position(),
            (None, Some(unit)) => format!("{}:1", unit.file.name()),
            (None, None) => format!("the end of {}", self.plan.settings.name()),
        }
    }
}

impl fmt::Debug for FilesPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesPartition").field("at", &self.position()).finish_non_exhaustive()
    }
}
