//! Records handed over bundle by bundle, from or to another task or thread of the same program: the way between a dataflow and
//! plain tasks, or between two jobs.

use tokio::sync::mpsc;
use updraft_dataflow::{Batch, Bundle, Error, Partition, Record, Sink, Source};

/// A sink that sends its bundles to a receiver and waits while that has no room: a slow reader holds the job
/// back rather than fill memory.
///
/// What was written since a job's last checkpoint is written again if its process is killed: each record comes at least
/// once.
#[derive(Debug)]
pub struct Channel<T> {
    sender: mpsc::Sender<Bundle<T>>,
}

impl<T> Channel<T> {
    /// The sink, and the receiver: await `recv` in a task, call `blocking_recv` on a plain thread. `bundles` is
    /// how many may wait in between (at least one). Dropping the receiver ends the job with an error.
    pub fn bounded(bundles: usize) -> (Self, mpsc::Receiver<Bundle<T>>) {
        let (sender, receiver) = mpsc::channel(bundles.max(1));
        (Self { sender }, receiver)
    }

    /// A sender, and a source of what it sends: await `send` in a task, call `blocking_send` on a plain thread. It waits while
    /// `bundles` of them (at least one) have not been taken. The source ends when all clones of the sender are dropped.
    pub fn source(bundles: usize) -> (mpsc::Sender<Bundle<T>>, Received<T>) {
        let (sender, receiver) = mpsc::channel(bundles.max(1));
        (sender, Received { receiver, taken: 0 })
    }
}

impl<T: Record> Sink<T> for Channel<T> {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        let sent = self.sender.send(bundle).await;
        sent.map_err(|_| "channel sink: the receiver was dropped; keep it until the job has ended".into())
    }
}

/// A source of what others send: see [`Channel::source`].
///
/// It cannot be read again: what has come since a job's last checkpoint is lost if its process is killed.
#[derive(Debug)]
pub struct Received<T> {
    receiver: mpsc::Receiver<Bundle<T>>,
    taken: usize,
}

impl<T: Record> Source for Received<T> {
    type Item = T;
    type Partition = Self;

    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl<T: Record> Partition for Received<T> {
    type Item = T;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<T>>, Error> {
        let bundle = self.receiver.recv().await;
        self.taken += bundle.as_ref().map_or(0, Bundle::len);
        Ok(bundle.map(Batch::from))
    }

    fn position(&self) -> String {
        format!("channel: record {}", self.taken + 1)
    }
}
