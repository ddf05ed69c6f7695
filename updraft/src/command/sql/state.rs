//! Where `updraft run --state` keeps what jobs go on from, and what becomes of it when they have been changed.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use updraft::connectors::state_store;
use updraft::dataflow::checkpoint::{Archive, Changes, Checkpoints, Plan};
use updraft::kernel::clock;
use updraft::{Job, Runtime};
use updraft_sql::parse;
use updraft_sql::{Session, Settings};

use super::folders::Folders;
use crate::command::state::{existing, tables_of};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The folder of all jobs of a run; each has a folder there, by a number.
#[derive(Default)]
pub(super) struct State {
    folder: Option<String>,
    fresh: bool,
    from: Option<String>,
    /// Whether whoever runs it has agreed to whatever comes of changes.
    agreed: bool,
    /// What the INSERTs fill that are to come, in order.
    expected: Vec<Vec<String>>,
    /// The folders of jobs, and of those which have come or will come, in order.
    folders: Option<(Folders, Vec<usize>)>,
    jobs: usize,
}

impl State {
    pub(super) fn new(folder: Option<String>) -> Self {
        Self { folder, ..Self::default() }
    }

    /// Whether jobs start anew.
    pub(super) fn fresh(self, fresh: bool) -> Self {
        Self { fresh, ..self }
    }

    /// The savepoint that jobs go on from.
    pub(super) fn from(self, from: Option<String>) -> Self {
        Self { from, ..self }
    }

    /// Whether nobody has to be asked.
    pub(super) fn agreed(self, agreed: bool) -> Self {
        Self { agreed, ..self }
    }

    /// The statements that are to come. What is wrong with them is told when they run.
    pub(super) fn expecting<'a>(self, texts: impl Iterator<Item = &'a str>) -> Self {
        let pieces = texts.flat_map(parse::split);
        let fills = pieces.filter_map(|piece| piece.parse().ok().flatten()).map(|statement| statement.value.fills());
        Self { expected: fills.filter(|tables| !tables.is_empty()).collect(), ..self }
    }

    /// Has a job that fills some tables take checkpoints, and go on from the last one, if its state is to be kept.
    pub(super) fn keep(&mut self, job: Job, tables: &[String], session: &Session, runtime: &Runtime) -> Result<Job> {
        let settings = session.settings();
        let folder = self.folder.clone().or_else(|| settings.get("state.checkpoints.dir").map(str::to_owned));
        let Some(folder) = folder else { return Ok(job) };
        let (store, root) = state_store(&folder)?;
        let number = self.number(&folder, tables, runtime)?;
        let root = root.join(format!("job-{number}"));
        let folder = format!("{}/job-{number}", folder.trim_end_matches('/'));
        let opened = runtime.block_on(Checkpoints::open(store, &root));
        let mut checkpoints = opened.map_err(|error| format!("{folder}: {error}"))?;
        if self.fresh {
            checkpoints = checkpoints.fresh();
        }
        tell(&folder, &checkpoints);
        if let Some(plan) = planned(&job, &checkpoints, session)? {
            self.agree(&folder, &plan, checkpoints.is_finished())?;
            checkpoints = checkpoints.changes(Changes::Allow);
        }
        Ok(job.checkpoints(with_settings(checkpoints, settings)?))
    }

    /// The number of the folder of the next job.
    fn number(&mut self, folder: &str, tables: &[String], runtime: &Runtime) -> Result<usize> {
        let at = self.jobs;
        self.jobs += 1;
        if self.folders.is_none() {
            if let Some(from) = &self.from {
                start_from(folder, from, runtime)?;
            }
            let mut folders = runtime.block_on(known(folder))?;
            let numbers = folders.give(&self.expected);
            for left in folders.left() {
                eprintln!("updraft: {folder}/job-{left} is of no statement any more; it is left as it is");
            }
            self.folders = Some((folders, numbers));
        }
        let Some((folders, numbers)) = &mut self.folders else { return Ok(at + 1) };
        // Statements that were typed in are not expected.
        if at >= numbers.len() {
            numbers.extend(folders.give(&[tables.to_vec()]));
        }
        Ok(numbers[at])
    }

    /// Asks whether a job goes on as planned, if that is not just what it did before.
    fn agree(&self, folder: &str, plan: &Plan, is_finished: bool) -> Result<()> {
        let told = format!("{folder}: the job is not the one that checkpoint {} is of:\n{plan}", plan.checkpoint);
        if is_finished && plan.has_changes() {
            return Err(format!(
                "{told}that one had come to its end, and there is nothing to go on from: run it with --fresh"
            )
            .into());
        }
        if let Some(sink) = plan.of_those(&updraft::dataflow::checkpoint::Becomes::Lost).next() {
            let table = sink.trim_start_matches("sink ");
            return Err(format!("{told}keep `CREATE TABLE {table}` for one more run, so that nothing is lost; or start anew with --fresh").into());
        }
        if !plan.has_changes() || self.agreed {
            if !plan.is_plain() {
                eprint!("{told}");
            }
            return Ok(());
        }
        let remedy = "to go on like this: --yes; to start anew: --fresh";
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(format!("{told}{remedy}").into());
        }
        eprint!("{told}Go on like this? [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(format!("{folder}: nothing was changed; {remedy}").into()),
        }
    }
}

/// What becomes of a checkpoint in a job. Tables that it does not fill any more, and that are there still, commit what they
/// have prepared.
fn planned(job: &Job, checkpoints: &Checkpoints, session: &Session) -> Result<Option<Plan>> {
    let Some(plan) = checkpoints.plan(job)? else { return Ok(None) };
    for id in plan.gone_sinks() {
        let table = id.trim_start_matches("sink ").split(" #").next().unwrap_or_default();
        if let Some(sink) = session.sink(table) {
            job.commits(id, sink?);
        }
    }
    checkpoints.plan(job)
}

fn with_settings(mut checkpoints: Checkpoints, settings: &Settings) -> Result<Checkpoints> {
    let span = |key: &str| settings.span(key).map_err(|error| format!("'{key}': {error}"));
    if let Some(every) = span("execution.checkpointing.interval")? {
        checkpoints = checkpoints.every(every.max(Duration::from_millis(1)));
    }
    if let Some(pause) = span("execution.checkpointing.min-pause")? {
        checkpoints = checkpoints.pause(pause);
    }
    if let Some(timeout) = span("execution.checkpointing.timeout")? {
        checkpoints = checkpoints.timeout(timeout);
    }
    if let Some(keep) = settings.get("state.checkpoints.num-retained") {
        let keep = keep.parse().map_err(|_| format!("'state.checkpoints.num-retained' = '{keep}': not a number"))?;
        checkpoints = checkpoints.keep(keep);
    }
    Ok(checkpoints)
}

/// The folders of jobs that there are.
async fn known(folder: &str) -> Result<Folders> {
    let (store, root) = state_store(folder)?;
    let mut known = BTreeMap::new();
    for (name, archive) in Archive::all_in(&store, &root).await.map_err(|error| format!("{folder}: {error}"))? {
        let Some(number) = name.strip_prefix("job-").and_then(|number| number.parse().ok()) else { continue };
        let newest = archive.checkpoints().await.map_err(|error| format!("{folder}: {error}"))?.0.pop();
        known.insert(number, newest.map(|newest| tables_of(&newest.manifest)).unwrap_or_default());
    }
    Ok(Folders::new(known))
}

/// Copies all jobs of a savepoint to a folder without state.
fn start_from(folder: &str, from: &str, runtime: &Runtime) -> Result<()> {
    let (store, root) = state_store(folder)?;
    let copy = async {
        if !Archive::all_in(&store, &root).await?.is_empty() {
            let remedy = "without --from the job goes on from that; or name another folder";
            return Err(format!("{folder} has state already: {remedy}").into());
        }
        // Greater than the number of any process that has run the job, though that may have gone on after the savepoint.
        let number = |number: u64| (clock::wall().as_nanos() / 1_000_000).max(u128::from(number) as _) as u64;
        for (name, archive) in existing(from).await? {
            let to = Archive::new(store.clone(), &root.clone().join(if name.is_empty() { "job-1" } else { &*name }));
            archive.copy_newest(&to, number).await.map_err(|error| format!("{from}: {error}"))?;
        }
        Ok(())
    };
    runtime.block_on(copy)
}

/// Tells people where a job goes on; what is damaged is told in any case.
fn tell(folder: &str, checkpoints: &Checkpoints) {
    checkpoints
        .damaged()
        .iter()
        .for_each(|error| eprintln!("updraft: {folder}: {error}; the checkpoint before it is taken"));
    if !std::io::stderr().is_terminal() {
        return;
    }
    match checkpoints.goes_on_from() {
        Some((number, _)) if checkpoints.is_finished() => {
            eprintln!("{folder}: the job had come to its end (checkpoint {number}); to run it again: --fresh");
        }
        Some((number, manifest)) => eprintln!("{folder}: goes on from checkpoint {number}, {} bytes", manifest.bytes()),
        None => {}
    }
}
