//! When a partition is complete, for those who read it: `'sink.partition-commit.…'`.

use std::collections::BTreeMap;
use std::time::Duration;

use updraft_dataflow::connector::{Options, Table};
use updraft_dataflow::{Error, Time};
use updraft_kernel::clock::Nanos;

use super::moment::Moments;
use super::settings::duration;

/// The partitions that rows have come for since they were last complete.
#[derive(Debug)]
pub(super) struct Commits {
    trigger: Trigger,
    delay: Duration,
    /// The name of the file that says so.
    pub(super) file: String,
    pending: BTreeMap<String, Pending>,
}

#[derive(Debug)]
enum Trigger {
    /// By the clock, counted from the first row.
    ProcessTime,
    /// By the watermark, counted from the partition's time.
    PartitionTime(Moments),
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    since: Nanos,
    /// `None` where it is not known: then it is complete at the end.
    time: Option<Time>,
}

impl Commits {
    /// As a table's options say; `None` where nobody is told.
    pub(super) fn of(table: &Table, default_name: &str) -> Result<Option<Self>, Error> {
        let (trigger, delay) = (trigger(table, default_name)?, delay(&table.options)?);
        let Some(file) = file(&table.options)? else { return Ok(None) };
        Ok(Some(Self { trigger, delay, file, pending: BTreeMap::new() }))
    }

    /// A row has come for the partition of this folder.
    pub(super) fn note(&mut self, folder: &str, now: Nanos) -> Result<(), Error> {
        if self.pending.contains_key(folder) {
            return Ok(());
        }
        let time = match &self.trigger {
            Trigger::ProcessTime => None,
            Trigger::PartitionTime(moments) => moments.of_folder(folder)?,
        };
        self.pending.insert(folder.to_owned(), Pending { since: now, time });
        Ok(())
    }

    /// The partitions that are complete; by the clock and without a delay, those that no file is open in.
    pub(super) fn due(&self, watermark: Time, now: Nanos, is_open: impl Fn(&str) -> bool) -> Vec<String> {
        let micros = i64::try_from(self.delay.as_micros()).unwrap_or(i64::MAX);
        let is_due = |folder: &str, pending: &Pending| match self.trigger {
            Trigger::ProcessTime if self.delay.is_zero() => !is_open(folder),
            Trigger::ProcessTime => now.since(pending.since) >= self.delay,
            Trigger::PartitionTime(_) => pending.time.is_some_and(|time| watermark.0 >= time.0.saturating_add(micros)),
        };
        let due = self.pending.iter().filter(|(folder, pending)| is_due(folder, pending));
        due.map(|(folder, _)| folder.clone()).collect()
    }

    /// All that are not complete.
    pub(super) fn all(&self) -> Vec<String> {
        self.pending.keys().cloned().collect()
    }

    /// It has been told: more rows make it incomplete anew.
    pub(super) fn told(&mut self, folder: &str) {
        self.pending.remove(folder);
    }
}

fn trigger(table: &Table, default_name: &str) -> Result<Trigger, Error> {
    const NAME: &str = "sink.partition-commit.trigger";
    let moments = Moments::of(&table.options, default_name)?;
    match table.options.get(NAME) {
        None | Some("process-time") => Ok(Trigger::ProcessTime),
        Some("partition-time") if table.partition_keys.is_empty() => {
            let remedy = "add PARTITIONED BY, or take 'process-time'";
            Err(format!("'{NAME}' = 'partition-time': table `{}` is not partitioned; {remedy}", table.name).into())
        }
        Some("partition-time") => Ok(Trigger::PartitionTime(moments)),
        Some(other) => Err(format!("'{NAME}' = '{other}': 'process-time' or 'partition-time'").into()),
    }
}

/// Unlike other times it may be zero.
fn delay(options: &Options) -> Result<Duration, Error> {
    const NAME: &str = "sink.partition-commit.delay";
    let Some(text) = options.get(NAME) else { return Ok(Duration::ZERO) };
    let unit = text.trim_start_matches('0').trim_start();
    let is_zero = text.starts_with('0') && unit.chars().all(char::is_alphabetic);
    if is_zero { Ok(Duration::ZERO) } else { duration(NAME, text) }
}

/// The file that says that a partition is complete, where one is asked for.
fn file(options: &Options) -> Result<Option<String>, Error> {
    const CLASS: &str = "sink.partition-commit.policy.class";
    const KIND: &str = "sink.partition-commit.policy.kind";
    const FILE: &str = "sink.partition-commit.success-file.name";
    if options.get(CLASS).is_some() {
        return Err(format!("'{CLASS}': no classes can be loaded; take '{KIND}' = 'success-file'").into());
    }
    let Some(kinds) = options.get(KIND) else { return Ok(None) };
    if let Some(other) = kinds.split(',').map(str::trim).find(|kind| *kind != "success-file") {
        return Err(format!("'{KIND}' = '{other}': there is 'success-file' only").into());
    }
    match options.get(FILE).unwrap_or("_SUCCESS") {
        file if file.is_empty() || file.contains('/') => {
            Err(format!("'{FILE}' = '{file}': not the name of a file").into())
        }
        file => Ok(Some(file.to_owned())),
    }
}
