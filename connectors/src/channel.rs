//! Results handed over bundle by bundle, to another task or thread of the same program.

use tokio::sync::mpsc;
use updraft_dataflow::{Bundle, Error, Record, Sink};

/// A sink that sends its bundles to a receiver and waits while that has no room: a slow reader holds the job
/// back rather than fill memory.
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
}

impl<T: Record> Sink<T> for Channel<T> {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        let sent = self.sender.send(bundle).await;
        sent.map_err(|_| "channel sink: the receiver was dropped; keep it until the job has ended".into())
    }
}
