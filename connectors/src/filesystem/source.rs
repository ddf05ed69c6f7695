//! Reads the files of a table: dealt out to partitions once, or one after the other as they appear.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use updraft_dataflow::connector::{Scan, Table};
use updraft_dataflow::source::seek_all;
use updraft_dataflow::{Batch, Error, Partition, Place, Progress, Rows, Source};

use super::monitor::Monitor;
use super::open::{At, Open, Unit};
use super::plan::Plan;
use super::share::units;
use crate::files::path::Named;

/// A source of the rows of files.
///
/// Files are dealt out round robin in the order of their names; where there are fewer than partitions, those of Parquet
/// are shared out by row groups, and large ones of lines by bytes. How many partitions there are depends on the files and on `source.partitions` alone.
///
/// It can go on from a place: each partition with what is left of the files that it was dealt, whatever has come
/// meanwhile; of text that is not compressed from where the next record begins, of Parquet from the row group that the
/// next row is in. Else it reads what it has given again, and drops it.
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
        if plan.settings.monitor.is_some() {
            return Ok(vec![FilesPartition::new(plan, VecDeque::new())]);
        }
        let hands = deal(units(&plan)?, plan.settings.partitions);
        Ok(hands.into_iter().map(|hand| FilesPartition::new(plan.clone(), hand)).collect())
    }

    fn resume(self, places: Vec<Option<Place>>) -> Result<Vec<FilesPartition>, Error> {
        let plan = Arc::new(self.plan);
        // What was dealt out stays so, whatever is there now.
        let partitions = if places.iter().all(Option::is_some) {
            places.iter().map(|_| FilesPartition::new(plan.clone(), VecDeque::new())).collect()
        } else {
            Self { plan: plan.as_ref().clone() }.open()?
        };
        seek_all(partitions, places)
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
    /// How far the first of the queue is, where that was begun by another process.
    at: Option<At>,
    current: Option<Open>,
    /// Bytes of all that is read, and of what was read before the current file; `None` where more may come.
    sizes: Option<Progress>,
    monitor: Option<Monitor>,
}

/// A place of a partition.
#[derive(Serialize, Deserialize)]
struct Left {
    /// What is not read to its end.
    units: VecDeque<Unit>,
    /// How far the first of them is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<At>,
    /// Bytes of those that are read to their end, and of all.
    bytes: (u64, u64),
    /// All files that have been found, where more may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Vec<Named>>,
}

impl FilesPartition {
    fn new(plan: Arc<Plan>, queue: VecDeque<Unit>) -> Self {
        let monitor = plan.settings.monitor.map(Monitor::new);
        let whole = queue.iter().map(|unit| unit.size).sum();
        let sizes = monitor.is_none().then_some(Progress { read: 0, whole });
        Self { plan, queue, at: None, current: None, sizes, monitor }
    }

    /// Waits for files; whether any can come.
    async fn look(&mut self) -> Result<bool, Error> {
        let Some(monitor) = &mut self.monitor else { return Ok(false) };
        self.queue.extend(monitor.wait(&self.plan).await?);
        Ok(true)
    }

    fn left(&self) -> Left {
        let current = self.current.iter().map(|open| open.unit());
        let units = current.chain(&self.queue).cloned().collect();
        let at = self.current.as_ref().map_or_else(|| self.at.clone(), Open::at);
        let bytes = self.sizes.map_or((0, 0), |sizes| (sizes.read, sizes.whole));
        Left { units, at, bytes, seen: self.monitor.as_ref().map(Monitor::seen) }
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
                Some(unit) => self.current = Some(Open::new(unit, self.at.take(), &self.plan).await?),
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

    fn place(&self) -> Option<Place> {
        serde_json::to_value(self.left()).ok()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        let Left { mut units, at, bytes: (read, whole), seen } = serde_json::from_value(place)?;
        match (&mut self.monitor, seen) {
            (Some(monitor), Some(seen)) => monitor.go_on(seen),
            (None, None) => {}
            (monitor, _) => {
                let (name, was) = (self.plan.settings.name(), if monitor.is_some() { "not " } else { "" });
                let remedy = "set 'source.monitor-interval' as it was, or start the job anew";
                return Err(format!("{name}: was {was}looked at for new files: {remedy}").into());
            }
        }
        units.iter_mut().for_each(|unit| unit.file.store.clone_from(&self.plan.settings.store));
        self.sizes = self.sizes.map(|_| Progress { read, whole });
        (self.queue, self.at) = (units, at);
        Ok(())
    }
}

impl fmt::Debug for FilesPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesPartition").field("at", &self.position()).finish_non_exhaustive()
    }
}
