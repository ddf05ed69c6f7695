//! Asking for an operation: [`Ask`] says how, [`Asked`] is what comes of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use updraft_kernel::{Class, Group, Handle, KernelId, clock};

use super::ride::Ride;
use super::{Controller, Round, View};
use crate::metrics::JobMetrics;
use crate::source::Error;
use crate::worker::Shared;

/// How long an operation may take, unless it is said.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why an operation has come to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It cannot be done, and nothing has been.
    #[error("{operation}: {error}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// Why.
        #[source]
        error: Error,
    },
    /// It has failed, and the job is as it was.
    #[error("{operation} has failed: {error}")]
    Failed {
        /// The operation.
        operation: &'static str,
        /// Why.
        #[source]
        error: Error,
    },
    /// It has taken too long. It is still on its way.
    #[error("{operation} is not done after {after:?}: it waits for {}", .late.join(", "))]
    Late {
        /// The operation.
        operation: &'static str,
        /// How long was waited.
        after: Duration,
        /// Who has not answered; or that it is not its turn.
        late: Vec<String>,
    },
    /// It was done before, perhaps by a process that has crashed since.
    #[error("{operation} `{id}` was done before")]
    Done {
        /// The operation.
        operation: &'static str,
        /// Its id.
        id: String,
    },
    /// The job has ended before that.
    #[error("{operation}: the job has ended")]
    Ended {
        /// The operation.
        operation: &'static str,
    },
}

/// An operation, and how it is asked for.
#[derive(Clone, Debug)]
pub struct Ask<C> {
    controller: C,
    within: Duration,
    id: Option<String>,
}

impl<C: Controller> Ask<C> {
    /// To be done within a minute.
    pub fn new(controller: C) -> Self {
        Self { controller, within: PATIENCE, id: None }
    }

    /// After how long nobody waits any more. It goes on all the same.
    #[must_use]
    pub fn within(mut self, span: Duration) -> Self {
        self.within = span;
        self
    }

    /// A name of this operation that no other has: who does not know whether it was done, after a crash say, may ask for it again, and it is done
    /// once. What is known of that is kept with the checkpoints.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }
}

impl<C: Controller> From<C> for Ask<C> {
    fn from(controller: C) -> Self {
        Self::new(controller)
    }
}

/// What comes of an operation, which is under way whether anybody waits or not.
#[derive(Debug)]
pub struct Asked<T> {
    operation: &'static str,
    outcome: oneshot::Receiver<Result<T, ControlError>>,
}

impl<T> Future for Asked<T> {
    type Output = Result<T, ControlError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ControlError::Ended { operation: self.operation };
        Pin::new(&mut self.outcome).poll(context).map(|outcome| outcome.unwrap_or(Err(ended)))
    }
}

/// Begins an operation.
pub(crate) fn ask<C: Controller>(
    handle: &Handle,
    job: &Group,
    shared: &Arc<Shared>,
    metrics: &Arc<JobMetrics>,
    ask: Ask<C>,
) -> Asked<C::Outcome> {
    let (told, outcome) = oneshot::channel();
    let (shared, metrics, job) = (shared.clone(), metrics.clone(), job.clone());
    let handle = handle.clone();
    // Not one of the job's own tasks, for those it waits for before it ends.
    let group = handle.group(format!("{} of {}", C::NAME, job.name()), Class::Stream);
    group.spawn(KernelId(0), C::NAME, move || async move {
        let mut operation = Operation { ask, handle, shared, metrics, told: Some(told) };
        let outcome = tokio::select! {
            biased;
            outcome = operation.run() => outcome,
            _ = job.join() => Err(ControlError::Ended { operation: C::NAME }),
        };
        operation.ask.controller.on_dispose();
        operation.tell(outcome);
    });
    Asked { operation: C::NAME, outcome }
}

struct Operation<C: Controller> {
    ask: Ask<C>,
    handle: Handle,
    shared: Arc<Shared>,
    metrics: Arc<JobMetrics>,
    told: Option<oneshot::Sender<Result<C::Outcome, ControlError>>>,
}

impl<C: Controller> Operation<C> {
    fn tell(&mut self, outcome: Result<C::Outcome, ControlError>) {
        // Who asked may not wait any more.
        if let Some(told) = self.told.take() {
            drop(told.send(outcome.inspect_err(|error| tracing::info!("{error}"))));
        }
    }

    async fn run(&mut self) -> Result<C::Outcome, ControlError> {
        let operation = C::NAME;
        let parts = self.shared.control.parts();
        let changes = parts.iter().filter(|part| self.ask.controller.changes(part)).map(|part| part.number);
        let changes: BTreeSet<_> = changes.collect();
        let due = clock::now() + self.ask.within;
        let turn = self.shared.control.queue(changes);
        self.in_time(due, turn.comes(), || vec!["others that change the same".to_owned()]).await;
        if let Some(id) = self.ask.id.clone()
            && self.shared.control.settings.is_done(&id)
        {
            return Err(ControlError::Done { operation, id });
        }
        let view = View { shared: &self.shared, handle: &self.handle, metrics: &self.metrics, parts: &parts };
        let refused = |error| ControlError::Refused { operation, error };
        let mut message = self.ask.controller.on_init(&view).map_err(refused)?;
        loop {
            let ride = Arc::new(Ride::new(message, &parts));
            let (control, shared) = (self.shared.control.clone(), self.shared.clone());
            let (controller, id) = (&mut self.ask.controller, self.ask.id.take());
            let riding = shared.clock.carry(clock::now(), |epoch| {
                control.put(epoch, ride.clone());
                controller.on_begin(epoch);
                id.into_iter().for_each(|id| control.settings.done(epoch, id));
            });
            let epoch = riding.map_err(|_| ControlError::Ended { operation })?;
            loop {
                let (ride, late) = (ride.clone(), ride.clone());
                self.in_time(due, ride.answered.wait(|| ride.has_news()), move || late.late()).await;
                let (answers, is_last) = ride.take();
                answers.into_iter().for_each(|answer| self.ask.controller.on_next(answer));
                if is_last {
                    break;
                }
            }
            control.take(epoch);
            match self.ask.controller.on_complete() {
                Ok(Round::Again(next)) => message = next,
                Ok(Round::Done(outcome)) => return Ok(outcome),
                Err(error) => return Err(ControlError::Failed { operation, error }),
            }
        }
    }

    /// Waits for something, and tells who asked when that takes too long.
    async fn in_time(&mut self, due: clock::Nanos, done: impl Future<Output = ()>, late: impl Fn() -> Vec<String>) {
        let mut done = std::pin::pin!(done);
        if self.told.is_some() {
            tokio::select! {
                biased;
                () = &mut done => return,
                () = clock::sleep_until(due) => {}
            }
            let (operation, after) = (C::NAME, self.ask.within);
            self.tell(Err(ControlError::Late { operation, after, late: late() }));
        }
        done.await;
    }
}
