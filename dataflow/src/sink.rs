//! Where results go: the last of the five files of the data path.
//!
//! One task drives a [`Sink`]: it writes bundles as they come, of whatever epoch, and tells the sink when an epoch is
//! complete, and at the end whether it is a good one. While it waits for the sink its queue fills; then the stages before it
//! hold still, and then the sources.

use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use updraft_kernel::{Bell, clock};

use crate::bundle::{Bundle, Record};
use crate::checkpoint::{Report, Taking};
use crate::container::{Container, Containers, EpochOrder, Service};
use crate::control::{Instance, Part};
use crate::exchange::Port;
use crate::explain::NodeKind;
use crate::metrics::{JobMetrics, StageMetrics};
use crate::source::Error;
use crate::time::{Epoch, Punctuation};
use crate::worker::Shared;

/// Where records go. One task drives it, on one kernel.
///
/// # Exactly once
/// A job that takes checkpoints tells its sinks with [`begin`](Self::begin). Then each checkpoint is a transaction: what was written is
/// [prepared](Self::prepare), the checkpoint is stored, and what was prepared is [committed](Self::commit). If the process dies
/// before the checkpoint is stored, what it has written since the one before does not count, and will be written again; if it dies after
/// that, the next process commits what was prepared. A sink that does none of this writes such records twice.
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

    /// The job takes checkpoints. Called before all else. `attempt` is greater than that of any process that has
    /// run the job before, which may still be there, stopped: it must not be able to disturb this one. `prepared` is what was prepared
    /// up to the checkpoint that the job goes on from, oldest first, and perhaps not committed: commit it. What else such processes have written does not
    /// count.
    fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> impl Future<Output = Result<(), Error>> {
        let _ = (attempt, prepared);
        async { Ok(()) }
    }

    /// A checkpoint is taken: all that was written, and [completed](Self::complete), is to be kept, though nobody may see it yet. What is written
    /// from now on is of the next one.
    fn prepare(&mut self) -> impl Future<Output = Result<Prepared, Error>> {
        async { Ok(Prepared::Null) }
    }

    /// The checkpoint for which this was prepared is stored: from now on it counts. In order of checkpoints; more may have been
    /// written meanwhile.
    fn commit(&mut self, prepared: Prepared) -> impl Future<Output = Result<(), Error>> {
        let _ = prepared;
        async { Ok(()) }
    }

    /// All records have been written, here and at the job's other sinks (and, in a job that takes checkpoints, committed): flush, and close what is open.
    fn close(&mut self) -> impl Future<Output = Result<(), Error>> {
        async { Ok(()) }
    }

    /// The job ends before this sink was closed: something failed or panicked (perhaps this sink's own last call), or the
    /// job was cancelled. Take back what nobody should take for a whole: remove a file that is half written, say. Called
    /// once at most, instead of the end of [`close`](Self::close), before anybody hears that the job has ended. A call that was
    /// waiting has been dropped where it waited, so what it began must be visible in `self`. No call follows.
    ///
    /// It cannot wait, so it must be quick; it must not panic. Once all sinks have all records, each is closed by itself: one
    /// that was closed is not told when another fails to. A process that is killed calls nothing. What was prepared is not taken back: a
    /// process to come may have to commit it.
    fn abort(&mut self) {}
}

/// What a sink has prepared: what it needs to commit it, in this process or in one to come.
pub type Prepared = serde_json::Value;

/// A sink that has not been closed yet: dropped as such, it is told to give up.
pub(crate) struct Unclosed<T, S: Sink<T>> {
    sink: S,
    is_closed: bool,
    takes: PhantomData<fn(T)>,
}

impl<T, S: Sink<T>> Unclosed<T, S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink, is_closed: false, takes: PhantomData }
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.sink.close().await?;
        self.is_closed = true;
        Ok(())
    }
}

impl<T, S: Sink<T>> Drop for Unclosed<T, S> {
    fn drop(&mut self) {
        if !self.is_closed {
            self.sink.abort();
        }
    }
}

/// The entry of a sink.
pub(crate) struct SinkPort<T> {
    containers: Containers<Taken<T>>,
    bell: Arc<Bell>,
    /// Rung when all sinks have completed the job's last epoch.
    last: Arc<Bell>,
    shared: Arc<Shared>,
    metrics: Arc<StageMetrics>,
    /// Bytes of the bundle that is being written.
    in_hand: AtomicUsize,
    /// Which part of checkpoints it is, if the job takes any, and what was prepared for the one that it goes on from.
    part: Option<(usize, Vec<Prepared>)>,
    /// What it is to control operations.
    own: Arc<Part>,
}

/// What a sink is given.
enum Taken<T> {
    Bundle(Bundle<T>),
    Complete(Punctuation),
}

/// The lane of a sink, which has one.
const LANE: usize = 0;

impl<T> SinkPort<T> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        metrics: Arc<StageMetrics>,
        part: Option<(usize, Vec<Prepared>)>,
        in_order: bool,
    ) -> Self {
        shared.unfinished.fetch_add(1, Ordering::AcqRel);
        let service = Service { order: EpochOrder::of(in_order), stealing: false, priority: true };
        let last = shared.complete.hang();
        let own = shared.control.add_part(NodeKind::Sink, metrics.name.clone(), 1, false);
        Self {
            // A transaction of a sink is of the epochs up to a marked one, and of no other.
            containers: Containers::new(1, service).stopping_at(shared.clock.marks.clone()),
            bell: shared.taking.as_ref().map_or_else(Arc::default, |taking| taking.sinks.hang()),
            last,
            shared,
            metrics,
            in_hand: AtomicUsize::new(0),
            part,
            own,
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
        if let Some(message) = self.shared.control.riding_on(punctuation.epoch) {
            message.comes(&self.own);
        }
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
    mut open: Unclosed<T, S>,
    port: Arc<SinkPort<T>>,
    job: Arc<JobMetrics>,
) -> Result<(), Error> {
    let shared = &port.shared;
    let mut transactions = Transactions { taking: shared.taking.as_deref(), prepared: VecDeque::new() };
    if let Some((taking, (_, prepared))) = transactions.taking.zip(port.part.as_ref()) {
        open.sink.begin(taking.attempt, prepared.clone()).await?;
        if shared.is_finished() {
            return open.close().await;
        }
    }
    loop {
        port.bell.wait(|| transactions.are_due() || port.containers.oldest(LANE, true).is_some()).await;
        transactions.commit(&mut open.sink).await?;
        let Some((container, taken)) = port.containers.claim(LANE, true) else { continue };
        match taken {
            Taken::Bundle(bundle) => {
                let (bytes, len) = (bundle.bytes(), bundle.count());
                port.in_hand.store(bytes, Ordering::Relaxed);
                let begun = clock::now();
                open.sink.write(bundle).await?;
                port.metrics.work(clock::now().since(begun));
                port.in_hand.store(0, Ordering::Relaxed);
                port.metrics.add_in(len);
                container.took(len);
                shared.account.release(bytes);
            }
            Taken::Complete(punctuation) => {
                open.sink.complete(punctuation).await?;
                if shared.clock.marks.is_marked(punctuation.epoch)
                    && let Some((part, _)) = port.part
                {
                    transactions.prepare(&mut open.sink, punctuation.epoch, part).await?;
                }
                port.metrics.complete(punctuation);
                container.count().into_iter().for_each(|records| port.metrics.count(records));
                if let Some(message) = shared.control.riding_on(punctuation.epoch) {
                    message.completes(&port.own, &mut Instance::new(&port.own, 0, punctuation, port.metrics.seen(0)));
                    message.goes_on(&port.own);
                }
                if let Some(closed) = shared.clock.complete(punctuation.epoch) {
                    job.complete(clock::now().since(closed));
                }
                if shared.clock.last() == Some(punctuation.epoch) {
                    shared.finished();
                    port.last.wait(|| shared.is_finished()).await;
                    while !transactions.prepared.is_empty() {
                        port.bell.wait(|| transactions.are_due()).await;
                        transactions.commit(&mut open.sink).await?;
                    }
                    return open.close().await;
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

/// Has a sink commit what one before it has prepared, and nothing else.
pub(crate) async fn commit_only<T>(sink: impl Sink<T>, taking: &Taking, prepared: Vec<Prepared>) -> Result<(), Error> {
    let mut open = Unclosed::new(sink);
    open.sink.begin(taking.attempt, prepared).await?;
    open.close().await
}

/// What a sink has prepared and not committed.
struct Transactions<'a> {
    taking: Option<&'a Taking>,
    prepared: VecDeque<(Epoch, Prepared)>,
}

impl Transactions<'_> {
    /// Whether a checkpoint was stored for which something was prepared.
    fn are_due(&self) -> bool {
        self.prepared.front().zip(self.taking).is_some_and(|((epoch, _), taking)| taking.committed() > epoch.0)
    }

    async fn commit<T>(&mut self, sink: &mut impl Sink<T>) -> Result<(), Error> {
        while self.are_due()
            && let Some((_, prepared)) = self.prepared.pop_front()
        {
            sink.commit(prepared).await?;
            self.taking.into_iter().for_each(Taking::is_committed);
        }
        Ok(())
    }

    /// Prepares what was written up to a marked epoch, and reports all that whoever goes on from there has to commit.
    async fn prepare<T>(&mut self, sink: &mut impl Sink<T>, epoch: Epoch, part: usize) -> Result<(), Error> {
        let prepared = sink.prepare().await?;
        self.prepared.push_back((epoch, prepared));
        let note = self.prepared.iter().map(|(_, prepared)| prepared.clone()).collect();
        if let Some(taking) = self.taking {
            taking.prepared();
            taking.report(epoch, part, 0, Report { note, ..Report::default() });
        }
        Ok(())
    }
}
