//! A [`Stream`]: the high-level API. Its operators are in [`crate::operator`], one file each.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::bundle::Record;
use crate::checkpoint::Layout;
use crate::exchange::Outlet;
use crate::explain::Change;
use crate::job::Job;
use crate::pipe::{Identity, Pipe};
use crate::stage::Stage;
use crate::window::Slicing;

/// Records on their way: what some outlet gives, after a chain `P` of stateless operators that will be fused with
/// whatever comes next.
///
/// A function that takes any stream of `T` is written `fn f<I: Record>(stream: Stream<I, impl Pipe<I, Out = T>>)`;
/// [`materialize`](Self::materialize) makes it a plain `Stream<T>`.
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct Stream<I, P = Identity> {
    pub(crate) job: Job,
    pub(crate) upstream: Arc<Outlet<I>>,
    pub(crate) pipe: P,
    /// The operators of the chain, for people.
    pub(crate) names: Vec<Arc<str>>,
    /// Whether records have an event time.
    pub(crate) timed: bool,
    /// What the source has set aside as late, to go through the same chain.
    pub(crate) late: Option<Arc<Outlet<I>>>,
    input: PhantomData<fn(I)>,
}

impl<I: Record, P: Pipe<I>> Stream<I, P> {
    pub(crate) fn new(job: Job, upstream: Arc<Outlet<I>>, pipe: P, name: Arc<str>, timed: bool) -> Self {
        Self { job, upstream, pipe, names: vec![name], timed, late: None, input: PhantomData }
    }

    /// # Panics
    /// When records have no event time: for what would never end without it.
    pub(crate) fn must_be_timed(&self) {
        assert!(self.timed, "a window needs event time: describe it at the source with `.timestamps(…)`");
    }

    /// # Panics
    /// When records have no event time, and windows end before the stream does.
    pub(crate) fn must_be_timed_for(&self, slicing: &Slicing) {
        if !slicing.is_whole() {
            self.must_be_timed();
        }
    }

    /// The same with a longer chain.
    pub(crate) fn chain<Q: Pipe<I>>(self, name: &str, longer: impl FnOnce(P) -> Q) -> Stream<I, Q> {
        let Self { job, upstream, pipe, mut names, timed, late, input } = self;
        names.push(name.into());
        Stream { job, upstream, pipe: longer(pipe), names, timed, late, input }
    }

    /// Gives the source or the operator with state that the stream comes from an id for checkpoints, by which a job that was changed
    /// finds its state again. By default that is made of its name and of what it reads. (As Flink's `uid`.)
    ///
    /// # Panics
    /// When stateless operators have come since, or there is no state.
    pub fn uid(self, uid: impl Into<Arc<str>>) -> Self {
        let uid = uid.into();
        let is_set =
            self.names.len() == 1 && self.job.draw(|graph| graph.part(&self.upstream, Change::Uid(uid.clone())));
        assert!(is_set, "uid `{uid}`: say it right after the source, or the operator with state, that it is of");
        self
    }

    /// Says what the operator with state keeps that the stream comes from.
    pub fn keeps(self, layout: Layout) -> Self {
        self.job.draw(|graph| graph.part(&self.upstream, Change::Layout(layout)));
        self
    }

    /// Ends the chain in a stage, which `make` makes of it for a number of kernels.
    pub(crate) fn stage<S: Stage<In = I>>(
        self,
        name: &str,
        make: impl FnOnce(P, usize) -> S + 'static,
    ) -> Stream<S::Out> {
        let Self { job, upstream, pipe, mut names, timed, .. } = self;
        names.push(name.into());
        let outlet = Arc::new(Outlet::new(S::KEYED || S::ORDERED && upstream.in_order));
        job.stage(&names, upstream, outlet.clone(), |shared| make(pipe, shared.kernels));
        Stream::new(job, outlet, Identity, name.into(), timed)
    }
}
