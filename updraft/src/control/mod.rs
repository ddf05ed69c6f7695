//! The control socket: jobs of this process, watched and changed from outside, by HTTP with JSON.
//!
//! [`serve`] opens a Unix socket that only its owner can use, or a TCP port with a token, and answers there; [`place`] says where that is; [`Client`] asks. What can be asked is
//! in [`server`], which is what the document that it gives at `/v1/openapi.json` says. What comes of it is a
//! [control operation](updraft_dataflow::control) each.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use updraft_dataflow::Running;
use updraft_kernel::clock::{self, Nanos};

mod client;
pub mod place;
mod server;
mod why;

pub use client::{Client, ClientError};
pub use place::{Place, Token};
pub use server::{
    Branches, CutView, Done, EdgeView, Failed, HasMoved, Keys, NodeView, PartView, PlanView, Scale, Set, Shards,
    Sources, Version, openapi,
};

pub use why::why;

/// A time of so many milliseconds since 1970, as people read it.
pub fn at(millis: i64) -> String {
    why::at(updraft_dataflow::Time::from_millis(millis))
}

/// The jobs of a process that can be watched and changed. Those that have ended are forgotten.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<Started>>);

#[derive(Default)]
struct Started {
    /// How many there ever were: none is called as another was.
    count: u64,
    jobs: BTreeMap<u64, Job>,
}

#[derive(Clone)]
struct Job {
    running: Running,
    begun: Nanos,
}

/// A job, in a list of them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobView {
    /// Its number in its process.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// For how long it has run, in seconds.
    pub seconds: f64,
    /// Records that its sources have given.
    pub records: u64,
    /// Records that its sinks have taken.
    pub results: u64,
    /// Bytes in its queues and held as state.
    pub memory: usize,
    /// The number of its last checkpoint, if it takes any.
    pub checkpoint: Option<u64>,
}

impl Jobs {
    /// Has a job be watched and changed.
    pub fn add(&self, running: &Running) {
        let started = &mut *self.lock();
        started.jobs.retain(|_, job| !job.running.is_ended());
        started.count += 1;
        started.jobs.insert(started.count, Job { running: running.clone(), begun: clock::now() });
    }

    fn lock(&self) -> MutexGuard<'_, Started> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job, and when it began.
    fn get(&self, number: u64) -> Option<(Running, Nanos)> {
        self.lock().jobs.get(&number).map(|job| (job.running.clone(), job.begun)).filter(|(job, _)| !job.is_ended())
    }

    fn list(&self) -> Vec<JobView> {
        let jobs = self.lock().jobs.clone();
        let view = |(number, Job { running, begun }): (u64, Job)| {
            let metrics = running.metrics();
            JobView {
                number,
                name: running.name().to_owned(),
                seconds: clock::now().since(begun).as_secs_f64(),
                records: metrics.records(),
                results: metrics.results(),
                memory: running.memory(),
                checkpoint: metrics.checkpoints.last().map(|(number, ..)| number),
            }
        };
        jobs.into_iter().filter(|(_, job)| !job.running.is_ended()).map(view).collect()
    }
}

/// Somewhere that is answered at, until this is dropped.
#[derive(Debug)]
pub struct Serving {
    place: Place,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Serving {
    /// Where that is. A TCP port that was not said is one that was free.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Place::Socket(path) = &self.place {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Answers for these jobs, on a thread of its own.
///
/// # Errors
/// When the socket cannot be made: its folder must be this user's alone, the address free.
pub fn serve(jobs: &Jobs, place: Place) -> std::io::Result<Serving> {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let router = server::router(jobs.clone());
    let (place, served): (_, Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>) = match place {
        Place::Socket(path) => {
            let listener = place::listen(&path)?;
            let served = async {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                axum::serve(listener, router).await
            };
            (Place::Socket(path), Box::pin(served))
        }
        Place::Tcp { address, token } => {
            let listener = std::net::TcpListener::bind(&address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?.to_string();
            let router = server::with_token(router, token.clone());
            let served = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router).await
            };
            (Place::Tcp { address, token }, Box::pin(served))
        }
    };
    std::thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                served = served => served.unwrap_or_else(|error| tracing::warn!("control: {error}")),
                _ = stopped => {}
            }
        });
    })?;
    Ok(Serving { place, stop: Some(stop) })
}
