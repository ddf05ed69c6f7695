//! `map_async`: a function that waits (for a service, a database, a file), with many calls under way at a time.
//!
//! Stages are pure and do not wait, so this is none: like a source or a sink it is a task on each kernel. It counts what it has
//! under way in containers as a stage does, so that an epoch is complete when all of its calls are.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use updraft_kernel::{Bell, clock};

use crate::bundle::{Bundle, Record, Times};
use crate::container::{Container, Containers, EpochOrder, Service};
use crate::control::{Instance, Part};
use crate::exchange::{Outlet, Port};
use crate::explain::{Exchange, NodeKind};
use crate::job::At;
use crate::metrics::StageMetrics;
use crate::ordered::Ordered;
use crate::pipe::{Identity, Pipe};
use crate::source::Error;
use crate::stream::Stream;
use crate::time::{Epoch, Punctuation, Time};
use crate::worker::Shared;

/// How the calls of [`Stream::map_async`] are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calls {
    limit: usize,
    timeout: Option<Duration>,
    ordered: bool,
}

impl Calls {
    /// Results in the order of the records, as far as that has one; up to `limit` calls under way on each kernel.
    pub const fn ordered(limit: usize) -> Self {
        Self { limit: if limit == 0 { 1 } else { limit }, timeout: None, ordered: true }
    }

    /// Results of an epoch as they come; up to `limit` calls under way on each kernel.
    pub const fn unordered(limit: usize) -> Self {
        Self { ordered: false, ..Self::ordered(limit) }
    }

    /// A call that takes longer ends the job with an error. For another way out, use [`clock::timeout`] in the call.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// Each record becomes what the future that `call` makes of it gives, at the record's event time. An error ends the job.
    ///
    /// Futures run on the kernel that their record is on, in a tokio runtime: any async library works in them.
    pub fn map_async<U, F, Fut>(self, calls: Calls, call: F) -> Stream<U>
    where
        U: Record,
        F: Fn(P::Out) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<U, Error>> + 'static,
    {
        let stream = self.materialize();
        let Stream { job, upstream, timed, .. } = stream;
        let outlet = Arc::new(Outlet::new(upstream.in_order && calls.ordered));
        let feeds = outlet.clone();
        let place = job.draw(|graph| {
            let about = if calls.ordered { "calls under way, results in order" } else { "calls under way" };
            let place = graph.reads(NodeKind::Stage, "map_async".into(), about, &upstream, Exchange::Any);
            graph.gives(&outlet, "");
            place
        });
        job.step(move |assembly| {
            let metrics = assembly.stage_metrics("map_async".into());
            let shared = assembly.shared.clone();
            shared.unfinished.fetch_add(1, Ordering::AcqRel);
            let own = shared.control.add_part(NodeKind::Stage, metrics.name.clone(), 1, false);
            let order = if upstream.in_order { EpochOrder::In } else { shared.service.order };
            let node = Arc::new(Node {
                calls,
                containers: Containers::new(shared.kernels, Service { order, ..shared.service }),
                ordered: Ordered::default(),
                // Rung when somebody has consumed something, too: there may be room for results then.
                bells: (0..shared.kernels).map(|_| shared.clock.sources.hang()).collect(),
                outlet: feeds,
                shared,
                metrics,
                in_hand: AtomicUsize::new(0),
                own,
            });
            assembly.connect(place, &upstream, node.clone());
            let outlet = node.outlet.clone();
            assembly.wire(move || outlet.add_input());
            for kernel in 0..node.shared.kernels {
                let (node, call) = (node.clone(), call.clone());
                assembly.task_on(kernel, move |group, kernel, _| {
                    let fails = group.clone();
                    group.spawn(kernel, "map_async", move || async move {
                        if let Err(error) = drive(&node, kernel.0, call).await {
                            fails.fail(At::new("`map_async`".into(), error));
                        }
                    });
                });
            }
            Ok(())
        });
        Stream::new(job, outlet, Identity, "map_async".into(), timed)
    }
}

/// What the tasks of all kernels share.
struct Node<T, U> {
    calls: Calls,
    containers: Containers<(Bundle<T>, u64)>,
    ordered: Ordered<U>,
    bells: Vec<Arc<Bell>>,
    outlet: Arc<Outlet<U>>,
    shared: Arc<Shared>,
    metrics: Arc<StageMetrics>,
    /// Bytes of the bundles that calls are being made for.
    in_hand: AtomicUsize,
    /// What it is to control operations.
    own: Arc<Part>,
}

impl<T: Record, U: Record> Node<T, U> {
    /// Whether there is something to take up on `kernel`, and room for what comes of it.
    fn has_work(&self, kernel: usize) -> bool {
        self.containers.oldest(kernel, true).is_some_and(|epoch| !self.outlet.is_full(epoch))
    }

    fn is_over(&self) -> bool {
        self.shared.clock.last().is_some_and(|last| self.metrics.epochs() > last.0)
    }

    /// Nothing is pending in `container` any more: completes its epoch, and those after it that waited for that alone.
    fn settle(&self, kernel: usize, container: Arc<Container>) {
        let mut settled = Some(container);
        while let Some(container) = settled {
            let punctuation = container.punctuation();
            self.ordered.complete(punctuation.epoch);
            container.count().into_iter().for_each(|records| self.metrics.count(records));
            let message = self.shared.control.riding_on(punctuation.epoch);
            message.iter().for_each(|message| {
                message.completes(&self.own, &mut Instance::new(&self.own, 0, punctuation, self.metrics.seen(0)))
            });
            self.outlet.close(kernel, punctuation);
            self.metrics.complete(punctuation);
            message.iter().for_each(|message| message.goes_on(&self.own));
            if self.shared.clock.last() == Some(punctuation.epoch) {
                self.shared.finished();
                self.ring_all();
                return;
            }
            settled = self.containers.retire(&container);
            if self.containers.in_order() {
                self.ring_all();
            }
        }
    }

    fn ring_all(&self) {
        self.bells.iter().for_each(|bell| {
            bell.ring();
        });
    }

    fn give(&self, kernel: usize, container: &Container, bundle: Bundle<U>) {
        if !bundle.is_empty() {
            self.metrics.add_out(bundle.len());
            container.gave(bundle.len());
            self.outlet.add(kernel, container.epoch, bundle);
        }
    }

    /// Makes the calls for a bundle that is in hand; `permits` are those of the kernel. How many bundles are done with that.
    async fn make<Fut>(
        &self,
        kernel: usize,
        container: Arc<Container>,
        (records, number): (Bundle<T>, u64),
        call: impl Fn(T) -> Fut,
        permits: &Semaphore,
    ) -> Result<usize, Error>
    where
        Fut: Future<Output = Result<U, Error>>,
    {
        let bytes = records.bytes();
        let (records, times) = records.into_parts();
        let len = records.len();
        let calls = stream::iter(records.into_iter().zip(times.iter())).map(|(record, time)| {
            let call = &call;
            async move {
                let _permit = permits.acquire().await?;
                let result = match self.calls.timeout {
                    None => call(record).await,
                    Some(span) => match clock::timeout(span, call(record)).await {
                        Some(result) => result,
                        None => {
                            Err(format!("a call has taken longer than {span:?}; allow more time, or handle it there")
                                .into())
                        }
                    },
                };
                result.map(|result| (time, result))
            }
        });
        let mut done = 1;
        if self.calls.ordered {
            let results: Vec<Result<_, Error>> = calls.buffered(self.calls.limit).collect().await;
            let results = bundle(results.into_iter().collect::<Result<Vec<_>, _>>()?);
            let results = if results.is_empty() { Vec::new() } else { vec![results] };
            done = self.ordered.pass(container.epoch, number, results, &self.shared.account, |bundle| {
                self.give(kernel, &container, bundle);
            });
        } else {
            let mut results = calls.buffer_unordered(self.calls.limit).ready_chunks(self.calls.limit);
            while let Some(ready) = results.next().await {
                self.give(kernel, &container, bundle(ready.into_iter().collect::<Result<Vec<_>, _>>()?));
            }
        }
        self.metrics.add_in(len);
        container.took(len);
        self.in_hand.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.account.release(bytes);
        Ok(done)
    }
}

fn bundle<U: 'static>(results: Vec<(Time, U)>) -> Bundle<U> {
    let (times, records) = results.into_iter().unzip();
    let records: Vec<U> = records;
    Bundle::from(records).with_times(Times::Each(times))
}

impl<T: Record, U: Record> Port<T> for Node<T, U> {
    fn add_input(&self) {
        self.containers.add_input();
    }

    fn add(&self, kernel: usize, epoch: Epoch, bundle: Bundle<T>) {
        self.shared.account.charge(bundle.bytes());
        self.containers.add(kernel, epoch, |number| (bundle, number));
        self.ring_all();
    }

    fn close(&self, kernel: usize, punctuation: Punctuation) {
        if let Some(message) = self.shared.control.riding_on(punctuation.epoch) {
            message.comes(&self.own);
        }
        if let Some(container) = self.containers.close(punctuation) {
            self.settle(kernel, container);
        }
    }

    fn is_full(&self, epoch: Epoch) -> bool {
        self.containers.is_full(self.shared.capacity, epoch)
    }

    fn has_work(&self) -> bool {
        self.containers.has_work() || self.outlet.has_work()
    }

    fn bytes(&self) -> usize {
        let queued = self.containers.sum(|(bundle, _)| bundle.bytes());
        queued + self.ordered.bytes() + self.in_hand.load(Ordering::Relaxed)
    }
}

/// Makes calls on one kernel until the job is over: the task of a kernel.
async fn drive<T, U, F, Fut>(node: &Node<T, U>, kernel: usize, call: F) -> Result<(), Error>
where
    T: Record,
    U: Record,
    F: Fn(T) -> Fut,
    Fut: Future<Output = Result<U, Error>>,
{
    let permits = Semaphore::new(node.calls.limit);
    let mut bundles = FuturesUnordered::new();
    while !node.is_over() {
        // More bundles than calls are never under way.
        let takes_more = bundles.len() < node.calls.limit;
        let done = tokio::select! {
            biased;
            Some(done) = bundles.next() => Some(done),
            () = node.bells[kernel].wait(|| node.is_over() || takes_more && node.has_work(kernel)) => None,
        };
        if let Some(done) = done {
            let (container, done): (Arc<Container>, Result<usize, Error>) = done;
            for _ in 0..done? {
                if container.done() {
                    node.settle(kernel, container.clone());
                }
            }
        } else if takes_more
            && node.has_work(kernel)
            && let Some((container, work)) = node.containers.claim(kernel, true)
        {
            // Here, not where the calls are made: that may not be before the task's next turn.
            node.in_hand.fetch_add(work.0.bytes(), Ordering::Relaxed);
            let made = node.make(kernel, container.clone(), work, &call, &permits);
            bundles.push(made.map(|done| (container, done)));
            // Who waits for room here looks again.
            node.shared.consumed();
            node.shared.work.ring_all();
        }
    }
    Ok(())
}
