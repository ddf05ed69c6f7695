//! Where results go: the last of the five files of the data path.
//!
//! One task drives a [`Sink`]: it writes bundles as they come, of whatever epoch, and tells the sink when an epoch is
//! complete. While it waits for the sink its queue fills; then the stages before it hold still, and then the sources.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use updraft_kernel::{Bell, clock};

use crate::bundle::{Bundle, Record};
use crate::container::{Container, Containers, EpochOrder, Service};
use crate::exchange::Port;
use crate::metrics::{JobMetrics, StageMetrics};
use crate::source::Error;
use crate::time::{Epoch, Punctuation};
use crate::worker::Shared;

/// Where records go. One task drives it, on one kernel.
pub trait Sink<T>: Send + 'static {
    /// Takes a bundle. Bundles of several open epochs may come interleaved (not those that come of a keyed stage); while this future is
    /// pending the sink's queue fills, and then the sources wait.
    fn write(&mut self, bundle: Bundle<T>) -> impl Future<Output = Result<(), Error>>;

    /// Every record of the epochs up to `punctuation.epoch` has been written, and none will follow.
    /// Called in order of epochs. A sink that buffers makes its rows visible here.
    fn complete(&mut self, punctuation: Punctuation) -> impl Future<Output = Result<(), Error>> {
        let _ = punctuation;
        async { Ok(()) }
    }

    /// The job has ended well: flush, and close what is open.
    fn close(&mut self) -> impl Future<Output = Result<(), Error>> {
        async { Ok(()) }
    }
}

/// The entry of a sink.
pub(crate) struct SinkPort<T> {
    containers: Containers<Taken<T>>,
    bell: Bell,
    shared: Arc<Shared>,
    metrics: Arc<StageMetrics>,
    /// Bytes of the bundle that is being written.
    in_hand: AtomicUsize,
}

/// What a sink is given.
enum Taken<T> {
    Bundle(Bundle<T>),
    Complete(Punctuation),
}

/// The lane of a sink, which has one.
const LANE: usize = 0;

impl<T> SinkPort<T> {
    pub(crate) fn new(shared: Arc<Shared>, metrics: Arc<StageMetrics>, in_order: bool) -> Self {
        shared.unfinished.fetch_add(1, Ordering::AcqRel);
        let service = Service { order: EpochOrder::of(in_order), stealing: false };
        Self {
            containers: Containers::new(1, service),
            bell: Bell::default(),
            shared,
            metrics,
            in_hand: AtomicUsize::new(0),
        }
    }

    /// Nothing is pending in `container` any more: the sink is told, or has been.
    fn settle(&self, container: Arc<Container>) {
        let container = if container.seal() { Some(container) } else { self.next(&container) };
        if let Some(container) = container {
            container.expect(1);
            let complete = Taken::Complete(container.punctuation());
            self.containers.push(LANE, container, complete);
            self.bell.ring();
        }
    }

    /// The epoch after, if nothing is pending there.
    fn next(&self, container: &Container) -> Option<Arc<Container>> {
        let next = self.containers.retire(container)?;
        next.seal();
        Some(next)
    }
}

impl<T: Record> Port<T> for SinkPort<T> {
    fn add_input(&self) {
        self.containers.add_input();
    }

    fn add(&self, _: usize, epoch: Epoch, bundle: Bundle<T>) {
        self.shared.account.charge(bundle.bytes());
        self.containers.add(LANE, epoch, |_| Taken::Bundle(bundle));
        self.bell.ring();
    }

    fn close(&self, _: usize, punctuation: Punctuation) {
        if let Some(container) = self.containers.close(punctuation) {
            self.settle(container);
        }
    }

    fn is_full(&self, epoch: Epoch) -> bool {
        self.containers.is_full(self.shared.capacity, epoch)
    }

    fn has_work(&self) -> bool {
        self.containers.has_work()
    }

    fn bytes(&self) -> usize {
        let queued = self.containers.sum(|taken| if let Taken::Bundle(bundle) = taken { bundle.bytes() } else { 0 });
        queued + self.in_hand.load(Ordering::Relaxed)
    }
}

/// Gives a sink all that comes, until the job's last epoch is complete: the task of a sink.
pub(crate) async fn drive<T: Record, S: Sink<T>>(
    mut sink: S,
    port: Arc<SinkPort<T>>,
    job: Arc<JobMetrics>,
) -> Result<(), Error> {
    let shared = &port.shared;
    loop {
        port.bell.wait(|| port.containers.oldest(LANE).is_some()).await;
        let Some((container, taken)) = port.containers.claim(LANE) else { continue };
        match taken {
            Taken::Bundle(bundle) => {
                let (bytes, len) = (bundle.bytes(), bundle.len());
                port.in_hand.store(bytes, Ordering::Relaxed);
                sink.write(bundle).await?;
                port.in_hand.store(0, Ordering::Relaxed);
                port.metrics.records_in.fetch_add(len as u64, Ordering::Relaxed);
                shared.account.release(bytes);
            }
            Taken::Complete(punctuation) => {
                sink.complete(punctuation).await?;
                port.metrics.complete(punctuation);
                if let Some(closed) = shared.clock.complete(punctuation.epoch) {
                    job.latency.record(clock::now().since(closed));
                }
                if shared.clock.last() == Some(punctuation.epoch) {
                    sink.close().await?;
                    shared.finished();
                    return Ok(());
                }
            }
        }
        if container.done() {
            port.settle(container);
        }
        shared.consumed();
        shared.work.ring_all();
    }
}
