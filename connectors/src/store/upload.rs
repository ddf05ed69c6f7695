//! Writes an object. It is there when it has been [published](Upload::publish) and not before, whatever has been sent; one that is
//! dropped before it is [kept](Upload::keep) is taken back. A task of the stores' thread does the work, so that nothing is lost
//! with whoever waits for it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use updraft_dataflow::Error;

use super::{Store, key, runtime};

/// How much is sent in one request, in bytes: what is no larger is sent in one go.
const PART: usize = 8 << 20;
/// How many parts are on their way at the same time.
const PARTS: usize = 4;
/// How long taking uploads back may hold up the end of a job that has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// An object on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    orders: Sender<Order>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    /// More of it; how it went so far.
    Write(Bytes, oneshot::Sender<Result<(), Error>>),
    /// That was all.
    Publish(oneshot::Sender<Result<(), Error>>),
    /// It is not to be taken back.
    Keep,
}

impl Upload {
    pub(crate) fn begin(store: &Store, path: &str) -> Result<Self, Error> {
        let (orders, taken) = channel(1);
        let (store, name, key) = (store.clone(), path.to_owned(), key(path)?);
        let task = Task { store, name, key, rest: BytesMut::new(), state: State::Small };
        Ok(Self { orders, task: runtime::spawn(task.run(taken))? })
    }

    /// Sends more. Waits while too much is on its way.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.order(|answer| Order::Write(bytes.into(), answer)).await
    }

    /// Makes it an object, as a whole.
    pub(crate) async fn publish(&mut self) -> Result<(), Error> {
        self.order(Order::Publish).await
    }

    /// It stays.
    pub(crate) fn keep(self) {
        // There is room: what was ordered before has been answered.
        let _ = self.orders.try_send(Order::Keep);
    }

    async fn order(&mut self, order: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Order) -> Result<(), Error> {
        const GONE: &str = "an upload has ended already";
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| GONE)?;
        answered.await.map_err(|_| GONE)?
    }

    /// Takes them back, whatever has become of them. It waits, but not for long.
    pub(crate) fn discard(uploads: Vec<Self>) {
        if uploads.is_empty() {
            return;
        }
        let tasks: Vec<_> = uploads.into_iter().map(|upload| upload.task).collect();
        runtime::wait_at_most(PATIENCE, async move {
            join_all(tasks).await;
        });
    }
}

struct Task {
    store: Store,
    name: String,
    key: Path,
    /// What has not been sent.
    rest: BytesMut,
    state: State,
}

enum State {
    /// Nothing has been sent: it may all be sent in one go.
    Small,
    Large(Parts),
    Published,
}

/// An upload in parts.
struct Parts {
    upload: Box<dyn MultipartUpload>,
    sent: JoinSet<object_store::Result<()>>,
}

impl Task {
    async fn run(mut self, mut orders: Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            let (done, answer) = match order {
                Order::Write(bytes, answer) => (self.write(&bytes).await, answer),
                Order::Publish(answer) => (self.publish().await, answer),
                Order::Keep => return,
            };
            let _ = answer.send(done.map_err(|error| self.store.failed(&self.name, "written", &error)));
        }
        self.take_back().await;
    }

    async fn write(&mut self, bytes: &[u8]) -> object_store::Result<()> {
        self.rest.extend_from_slice(bytes);
        // The last part is left for the end: it may be smaller.
        while self.rest.len() > PART {
            let part = self.rest.split_to(PART).freeze();
            if let State::Small = self.state {
                let upload = self.store.objects.put_multipart(&self.key).await?;
                self.state = State::Large(Parts { upload, sent: JoinSet::new() });
            }
            if let State::Large(parts) = &mut self.state {
                parts.send(part).await?;
            }
        }
        Ok(())
    }

    async fn publish(&mut self) -> object_store::Result<()> {
        let rest = self.rest.split().freeze();
        match &mut self.state {
            State::Small => self.store.objects.put(&self.key, rest.into()).await.map(drop)?,
            State::Large(parts) => parts.complete(rest).await?,
            State::Published => {}
        }
        self.state = State::Published;
        Ok(())
    }

    /// Where it cannot be taken back, there is nobody left to tell.
    async fn take_back(self) {
        let taken = match self.state {
            State::Small => Ok(()),
            State::Large(mut parts) => {
                parts.sent.shutdown().await;
                parts.upload.abort().await
            }
            State::Published => self.store.objects.delete(&self.key).await,
        };
        if let Err(error) = taken {
            tracing::warn!(name = self.store.name(&self.name), %error, "an upload could not be taken back");
        }
    }
}

impl Parts {
    async fn send(&mut self, part: Bytes) -> object_store::Result<()> {
        self.sent.spawn(self.upload.put_part(part.into()));
        self.wait(PARTS).await
    }

    /// Waits until fewer than `most` parts are on their way.
    async fn wait(&mut self, most: usize) -> object_store::Result<()> {
        while self.sent.len() >= most
            && let Some(sent) = self.sent.join_next().await
        {
            sent.map_err(|source| object_store::Error::JoinError { source })??;
        }
        Ok(())
    }

    async fn complete(&mut self, rest: Bytes) -> object_store::Result<()> {
        self.send(rest).await?;
        self.wait(1).await?;
        self.upload.complete().await.map(drop)
    }
}
