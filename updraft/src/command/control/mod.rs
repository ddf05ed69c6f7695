//! Commands that watch and change jobs of other processes, at their control sockets. One file each for what is watched; what is changed is in
//! [`change`].

pub(super) mod change;
pub(super) mod moves;
pub(super) mod ps;
pub(super) mod top;

use std::future::Future;

use updraft::control::{Client, JobView, Place, place};

use super::Outcome;

pub(super) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A job of a process.
pub(super) struct Found {
    /// The number of its process, where that is known.
    process: Option<u32>,
    job: JobView,
    place: Place,
}

impl Found {
    /// What it is called on the command line.
    fn id(&self) -> String {
        self.process.map_or(String::new(), |process| format!("{process}.")) + &self.job.number.to_string()
    }

    /// A connection to its process.
    pub(super) async fn connect(&self) -> Result<Client> {
        Ok(Client::connect(&self.place).await?)
    }

    /// The path of what is asked of it.
    pub(super) fn path(&self, what: &str) -> String {
        format!("/v1/jobs/{}{what}", self.job.number)
    }
}

/// Does something that waits for sockets.
pub(super) fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(work)
}

/// All jobs of this user.
async fn all() -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let places = place::all().map_err(|error| format!("where processes answer cannot be told: {error}"))?;
    for (process, place) in places {
        let mut client = match (Client::connect(&place).await, &place) {
            (Ok(client), _) => client,
            (Err(_), Place::Socket(path)) => {
                // A process that was killed has left its socket.
                let _ = std::fs::remove_file(path);
                continue;
            }
            (Err(error), Place::Tcp { address, .. }) => return Err(format!("{address}: {error}").into()),
        };
        let jobs: Vec<JobView> = client.get("/v1/jobs").await.map_err(|error| match (process, &place) {
            (Some(process), _) => format!("process {process}: {error}"),
            (None, Place::Tcp { address, .. }) => format!("{address}: {error}"),
            (None, Place::Socket(path)) => format!("{}: {error}", path.display()),
        })?;
        for job in jobs {
            found.push(Found { process, job, place: place.clone() });
        }
    }
    Ok(found)
}

/// The job that is meant: by process and number, by process if that has one, by name, or none if there is but one.
pub(super) async fn one(wanted: Option<&str>) -> Result<Found> {
    let all = all().await?;
    let names = names(&all);
    meant(all, wanted)?.ok_or_else(|| match wanted {
        Some(wanted) if !names.is_empty() => format!("there is no job `{wanted}`; there are {names}").into(),
        _ => "no job runs: `updraft run` starts one".into(),
    })
}

/// The job that is called so, if one runs.
pub(super) async fn called(wanted: &str) -> Result<Option<Found>> {
    meant(all().await?, Some(wanted))
}

fn meant(all: Vec<Found>, wanted: Option<&str>) -> Result<Option<Found>> {
    let names = names(&all);
    let is_meant = |found: &Found| {
        wanted.is_none_or(|wanted| {
            found.id() == wanted
                || found.process.is_some_and(|process| process.to_string() == wanted)
                || found.job.name == wanted
        })
    };
    let mut meant: Vec<_> = all.into_iter().filter(is_meant).collect();
    match meant.len() {
        0 | 1 => Ok(meant.pop()),
        _ => Err(format!("several jobs are meant: name one of {names}").into()),
    }
}

/// What jobs are called, for people.
fn names(jobs: &[Found]) -> String {
    let name = |found: &Found| format!("{} ({})", found.id(), found.job.name);
    jobs.iter().map(name).collect::<Vec<_>>().join(", ")
}
