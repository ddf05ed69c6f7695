//! `updraft pause`, `resume`, `drain`, `cancel`, `checkpoint`, `set`, `swap` and `rewire`.

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use updraft::control::{Branches, Done, Set, Sources, Version};

use super::{Outcome, Result, one, wait};

/// Which job.
#[derive(Args)]
pub(in crate::command) struct Which {
    /// The job, as `updraft ps` shows it: its id, its process or its name. It need not be said if there is but one.
    job: Option<String>,
}

impl Which {
    /// The one that is called so; none if there is but one.
    pub(in crate::command) fn job(job: Option<String>) -> Self {
        Self { job }
    }
}

/// Which job, and which of its sources.
#[derive(Args)]
pub(in crate::command) struct WhichSource {
    #[command(flatten)]
    which: Which,
    /// One source alone.
    #[arg(long)]
    source: Option<String>,
}

/// Have a job read nothing for a while.
///
/// It is done when all that was read is worked on to its end. `updraft resume` has it go on.
#[derive(Args)]
pub(in crate::command) struct PauseJob {
    #[command(flatten)]
    which: WhichSource,
}

/// Have a job that was paused go on.
#[derive(Args)]
pub(in crate::command) struct ResumeJob {
    #[command(flatten)]
    which: WhichSource,
}

/// Have a job read nothing more, fire its windows, and end.
#[derive(Args)]
pub(in crate::command) struct DrainJob {
    #[command(flatten)]
    which: Which,
}

/// End a job; one with state takes a checkpoint before, and goes on from there another time.
#[derive(Args)]
pub(in crate::command) struct CancelJob {
    #[command(flatten)]
    which: Which,
}

/// Have a job take a checkpoint now.
///
/// It is told when that is stored; `updraft savepoint` then copies it.
#[derive(Args)]
pub(in crate::command) struct CheckpointJob {
    #[command(flatten)]
    which: Which,
}

/// Change settings of a job while it runs, all of them between the same two epochs.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  updraft set --checkpoints 1000\n  updraft set alerts --parameter threshold=50\n  updraft set 4242 --bundle orders=1000 --id smaller-bundles"
)]
pub(in crate::command) struct SetJob {
    #[command(flatten)]
    which: Which,
    /// The value of a parameter, as JSON; what is none is text.
    #[arg(long, value_name = "NAME=VALUE")]
    parameter: Vec<String>,
    /// Records that a source gives at a time.
    #[arg(long, value_name = "SOURCE=RECORDS")]
    bundle: Vec<String>,
    /// Milliseconds between checkpoints.
    #[arg(long, value_name = "MILLISECONDS")]
    checkpoints: Option<u64>,
    /// Microseconds that a task runs before others have their turn, of all jobs of the process.
    #[arg(long, value_name = "MICROSECONDS")]
    quantum: Option<u64>,
    /// A name of this change that no other has: asked for again, it is done once.
    #[arg(long)]
    id: Option<String>,
}

/// Have another version of a function or a process take over, between two epochs; what is kept by key is kept.
#[derive(Args)]
#[command(after_help = "Example:\n  updraft swap alerts --version score=square")]
pub(in crate::command) struct SwapJob {
    #[command(flatten)]
    which: Which,
    /// The function or the process, as the job names it, and the version that is to be at work.
    #[arg(long, value_name = "NAME=VERSION")]
    version: String,
    /// A name of this change that no other has: asked for again, it is done once.
    #[arg(long)]
    id: Option<String>,
}

/// Add branches to a job while it runs, or remove some: sinks, with all that nothing else needs.
///
/// What is removed gets nothing more, commits what it has, and can be added again. `updraft explain JOB` shows the sinks.
#[derive(Args)]
#[command(after_help = "Example:\n  updraft rewire orders --remove audit --add alerts")]
pub(in crate::command) struct RewireJob {
    #[command(flatten)]
    which: Which,
    /// The sink of a branch that is to get what comes.
    #[arg(long, value_name = "SINK", required_unless_present = "remove")]
    add: Vec<String>,
    /// The sink of a branch that is to get nothing.
    #[arg(long, value_name = "SINK")]
    remove: Vec<String>,
    /// A name of this change that no other has: asked for again, it is done once.
    #[arg(long)]
    id: Option<String>,
}

/// Asks a job for something.
pub(super) fn ask<T: DeserializeOwned>(which: &Which, what: &str, body: impl Serialize) -> Result<T> {
    wait(async {
        let found = one(which.job.as_deref()).await?;
        Ok(found.connect().await?.post(&found.path(what), &body).await?)
    })
}

/// Asks it for something that is done at the end of an epoch.
pub(super) fn done(which: &Which, what: &str, body: impl Serialize) -> Outcome {
    let Done { epoch } = ask(which, what, body)?;
    eprintln!("done after epoch {epoch}");
    Ok(())
}

/// Has it take a checkpoint.
pub(in crate::command) fn checkpoint(which: &Which) -> Outcome {
    let taken: Value = ask(which, "/checkpoint", json!({}))?;
    eprintln!("checkpoint {} is stored", taken["checkpoint"]);
    Ok(())
}

impl PauseJob {
    pub(in crate::command) fn run(self) -> Outcome {
        let WhichSource { which, source } = self.which;
        done(&which, "/pause", Sources { source })
    }
}

impl ResumeJob {
    pub(in crate::command) fn run(self) -> Outcome {
        let WhichSource { which, source } = self.which;
        done(&which, "/resume", Sources { source })
    }
}

impl DrainJob {
    pub(in crate::command) fn run(self) -> Outcome {
        done(&self.which, "/drain", json!({}))
    }
}

impl CancelJob {
    pub(in crate::command) fn run(self) -> Outcome {
        ask::<Value>(&self.which, "/cancel", json!({}))?;
        eprintln!("ended");
        Ok(())
    }
}

impl CheckpointJob {
    pub(in crate::command) fn run(self) -> Outcome {
        checkpoint(&self.which)
    }
}

impl SetJob {
    pub(in crate::command) fn run(self) -> Outcome {
        let Self { which, parameter, bundle, checkpoints, quantum, id } = self;
        let parameters = parameter.iter().map(|text| {
            let (name, value) = pair(text)?;
            Ok((name, serde_json::from_str(value).unwrap_or_else(|_| value.into())))
        });
        let bundle = bundle.iter().map(|text| {
            let (source, records) = pair(text)?;
            Ok((source, records.parse().map_err(|_| format!("--bundle {text}: `{records}` is no number of records"))?))
        });
        let (parameters, bundle) = (
            parameters.collect::<std::result::Result<_, String>>()?,
            bundle.collect::<std::result::Result<_, String>>()?,
        );
        let set = Set { id, parameters, bundle, checkpoints, quantum };
        if set == (Set { id: set.id.clone(), ..Set::default() }) {
            return Err("there is nothing to be set: see `updraft set --help`".into());
        }
        done(&which, "/set", set)
    }
}

impl SwapJob {
    pub(in crate::command) fn run(self) -> Outcome {
        let Self { which, version, id } = self;
        let (name, version) = pair(&version)?;
        done(&which, "/swap", Version { id, name, version: version.to_owned() })
    }
}

impl RewireJob {
    pub(in crate::command) fn run(self) -> Outcome {
        let Self { which, add, remove, id } = self;
        done(&which, "/rewire", Branches { id, add, remove })
    }
}

/// `name=value`.
pub(super) fn pair(text: &str) -> std::result::Result<(String, &str), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), value))
}
