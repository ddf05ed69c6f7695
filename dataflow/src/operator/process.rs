//! `process`: keyed state and timers, by a function of the user's.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::bundle::Record;
use crate::checkpoint::{Column, Layout};
use crate::exchange::Outlet;
use crate::job::Job;
use crate::join::Side;
use crate::keyed::{
    BroadcastStage, Combiner, Dealt, KeyedStage, Listen, Nothing, Process, ShuffleStage, TimeToLive, Watched,
};
use crate::operator::custom::operator_layout;
use crate::operator::{KeyedStream, Operator, OperatorStage};
use crate::pipe::{Identity, Pipe};
use crate::rows::Hashed;
use crate::stage::Stage;
use crate::stream::Stream;
use crate::table::Key;
use crate::time::Epoch;
use crate::worker::Shared;

/// Records on their way to the kernels that own their keys: of one stream, or of several.
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct Shuffled<K, T> {
    dealt: Deal<(K, T)>,
    time_to_live: Option<TimeToLive>,
}

/// Records on their way to the kernels that own their keys, and others that are for all kernels.
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct Broadcast<K, T, B> {
    dealt: Deal<Side<(K, T), B>>,
    time_to_live: Option<TimeToLive>,
}

/// What is kept by key.
fn keyed<K: Key, S>(kind: &str, is_watched: bool) -> Layout {
    let timers = Column::new("timers", if is_watched { "some" } else { "none" });
    Layout::of(kind).table("keys", [Column::of::<K>("key"), Column::of::<S>("value"), timers])
}

/// What is dealt out to kernels.
struct Deal<D> {
    job: Job,
    outlet: Arc<Outlet<D>>,
    timed: bool,
    tick: Option<Duration>,
    /// How records of split keys are put together, once that is said.
    combiner: Arc<OnceLock<Combiner<D>>>,
}

impl<D: Dealt> Deal<D> {
    fn of<I: Record>(stream: Stream<I, impl Pipe<I, Out = D>>) -> Self {
        Self::to_come(&stream.job).and(stream)
    }

    /// Of no stream yet.
    fn to_come(job: &Job) -> Self {
        Self { job: job.clone(), outlet: Arc::default(), timed: true, tick: None, combiner: Arc::default() }
    }

    /// The same with the records of another stream.
    fn and<I: Record, P: Pipe<I, Out = D>>(self, stream: Stream<I, P>) -> Self {
        self.and_end(stream, None)
    }

    /// The same, at the end of which all kernels hear `end`.
    fn and_end<I: Record, P: Pipe<I, Out = D>>(self, stream: Stream<I, P>, end: Option<D>) -> Self {
        let Stream { job, upstream, pipe, mut names, timed, .. } = stream;
        names.push("shuffle".into());
        let combiner = self.combiner.clone();
        let shuffle = move |shared: &Shared| {
            ShuffleStage::new(pipe, shared.shards).telling(end).combining(combiner.get().cloned())
        };
        job.stage(&names, upstream, self.outlet.clone(), shuffle);
        Self { timed: self.timed && timed, ..self }
    }

    /// Ends in a stage of which each driver owns some of the keys.
    fn stage<S: Stage<In = D>>(self, name: &str, make: impl FnOnce(&Shared) -> S + 'static) -> Stream<S::Out> {
        let Self { job, outlet: upstream, timed, tick, combiner } = self;
        let outlet = Arc::new(Outlet::new(true));
        let name = Arc::<str>::from(name);
        let of = name.clone();
        job.stage(std::slice::from_ref(&name), upstream, outlet.clone(), move |shared| {
            tick.into_iter().for_each(|span| shared.clock.tick_every(span));
            if let Some(combiner) = combiner.get() {
                shared.control.splits(of, combiner.splits().clone());
            }
            make(shared)
        });
        Stream::new(job, outlet, Identity, name, timed)
    }
}

impl<I: Record, P: Pipe<I>, F> KeyedStream<I, P, F>
where
    P::Out: Record,
{
    /// Sends each record to the kernel that owns its key.
    pub fn shuffle<K>(self) -> Shuffled<K, P::Out>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
    {
        Shuffled::of(self.with_keys())
    }

    /// What `process` makes of the records of each key: the shuffle of one stream, with neither a time to live nor ticks.
    pub fn process<K, Q>(self, process: Q) -> Stream<Q::Out>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        Q: Process<K, P::Out>,
    {
        self.shuffle().process(process)
    }

    /// The records, each with its key.
    fn with_keys<K>(self) -> Stream<I, impl Pipe<I, Out = (K, P::Out)>>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
    {
        let key = self.key;
        self.stream.map(move |record| (key(&record), record))
    }
}

impl<K: Key, T: Record> Shuffled<K, T> {
    /// Sends records that have a key to the kernels that own it.
    pub(crate) fn of<I: Record>(stream: Stream<I, impl Pipe<I, Out = (K, T)>>) -> Self {
        Self { dealt: Deal::of(stream), time_to_live: None }
    }

    /// The same with the records of another stream.
    pub(crate) fn and<I: Record>(self, stream: Stream<I, impl Pipe<I, Out = (K, T)>>) -> Self {
        Self { dealt: self.dealt.and(stream), ..self }
    }

    /// The records of both, each to the kernel that owns its key. The watermark is the lesser of the two. For inputs of
    /// different types, map each to the case of an `enum` first.
    pub fn union<I, P, F>(self, other: KeyedStream<I, P, F>) -> Self
    where
        I: Record,
        P: Pipe<I, Out = T>,
        F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    {
        self.and(other.with_keys())
    }

    /// Says how two records of a key become one: `combine` adds the second to the first. Where a key is [split](crate::control::SplitKey), the process gets
    /// several of its records as one, with the latest of their times. So it has to be all the same to the process whether it gets records one by one, in
    /// whatever order, or as one.
    ///
    /// ```
    /// # use updraft_dataflow::{Job, keyed::{Context, Process}, testing::{Scripted, gather}};
    /// #[derive(Clone)]
    /// struct Total;
    /// impl Process<String, u64> for Total {
    ///     type State = u64;
    ///     type Out = (String, u64);
    ///     fn record(&mut self, amount: u64, total: &mut u64, cx: &mut Context<'_, String, Self::Out>) {
    ///         *total += amount;
    ///         cx.emit((cx.key().clone(), *total));
    ///     }
    /// }
    /// let job = Job::new("totals");
    /// let (sink, _) = gather();
    /// let amounts = job.source("amounts", Scripted(vec![vec![vec![3_u64, 12]]])).stream();
    /// let by_size = amounts.key_by(|n| if *n < 10 { "small" } else { "large" }.to_owned()).shuffle();
    /// by_size.combine(|sum, amount| *sum += amount).process(Total).sink("totals", sink);
    /// // While it runs: running.control(SplitKey::stage("process").split("\"small\""))
    /// ```
    ///
    /// # Panics
    /// When it was said before.
    pub fn combine(self, combine: impl Fn(&mut T, T) + Send + Sync + 'static) -> Self {
        assert!(self.dealt.combiner.set(Combiner::new(combine)).is_ok(), "how records are combined is said once");
        self
    }

    /// Drops the state of keys that no record has come for in a while.
    pub fn time_to_live(mut self, time_to_live: TimeToLive) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// Has epochs closed at least so often, for timers by processing time to be as exact as that.
    pub fn tick(mut self, span: Duration) -> Self {
        self.dealt.tick = Some(span);
        self
    }

    /// What `process` makes of the records of each key.
    pub fn process<Q: Process<K, T>>(self, process: Q) -> Stream<Q::Out> {
        self.process_as("process", process)
    }

    /// The same, by the name of an operator that is made of it.
    pub(crate) fn process_as<Q: Process<K, T>>(self, name: &str, process: Q) -> Stream<Q::Out> {
        let live = self.time_to_live;
        let begun = |shared: &Shared| shared.clock.begun(Epoch(0));
        let is_watched = Q::TIMERS || live.is_some();
        let kept = keyed::<K, Q::State>(name, is_watched);
        if is_watched {
            self.keyed_stage(name, move |shared| {
                KeyedStage::<K, T, Q, Watched>::new(process, live, shared.shards, begun(shared))
                    .spilling(shared.spill.clone())
            })
            .keeps(kept)
        } else {
            self.keyed_stage(name, move |shared| {
                KeyedStage::<K, T, Q, Nothing>::new(process, None, shared.shards, begun(shared))
                    .spilling(shared.spill.clone())
            })
            .keeps(kept)
        }
    }

    /// Ends in a stage of which each driver owns some of the keys.
    pub(crate) fn keyed_stage<S: Stage<In = (K, T)>>(
        self,
        name: &str,
        make: impl FnOnce(&Shared) -> S + 'static,
    ) -> Stream<S::Out> {
        self.dealt.stage(name, make)
    }
}

/// Rows on their way to the kernels that own their keys: of one stream, or of the two of a join.
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct DealtRows<D> {
    dealt: Deal<D>,
}

impl<I: Record, P: Pipe<I, Out = Hashed>> Stream<I, P> {
    /// Sends each row to the kernel that owns its key.
    pub fn deal(self) -> DealtRows<Hashed> {
        DealtRows { dealt: Deal::of(self) }
    }

    /// Sends each row of both to the kernel that owns its key. When one of them ends before the other, each kernel hears of it:
    /// see [`Hashed::end`].
    pub fn deal_with<J: Record>(self, right: Stream<J, impl Pipe<J, Out = Hashed>>) -> DealtRows<Side<Hashed, Hashed>> {
        let (left, right) = (self.map(Side::Left), right.map(Side::Right));
        let dealt = Deal::to_come(&left.job).and_end(left, Some(Side::Left(Hashed::end())));
        DealtRows { dealt: dealt.and_end(right, Some(Side::Right(Hashed::end()))) }
    }
}

impl<D: Dealt> DealtRows<D> {
    /// As [`Shuffled::tick`].
    pub fn tick(mut self, span: Duration) -> Self {
        self.dealt.tick = Some(span);
        self
    }

    /// What an operator makes of the rows: each of its instances owns some of the keys.
    pub fn operator<O: Operator<D>>(self, name: &str, operator: O) -> Stream<O::Out> {
        let kept = operator_layout::<O>(name);
        self.dealt.stage(name, move |shared| OperatorStage::new(operator, shared.shards)).keeps(kept)
    }
}

impl<I: Record, P: Pipe<I>, F> KeyedStream<I, P, F>
where
    P::Out: Record,
{
    /// Has every kernel hear every record of `other`: see [`Listen`].
    pub fn broadcast<K, J, Q>(self, other: Stream<J, Q>) -> Broadcast<K, P::Out, Q::Out>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        J: Record,
        Q: Pipe<J>,
        Q::Out: Record,
    {
        let dealt = Deal::of(self.with_keys().map(Side::Left)).and(other.map(Side::Right));
        Broadcast { dealt, time_to_live: None }
    }
}

impl<K: Key, T: Record, B: Record> Broadcast<K, T, B> {
    /// As [`Shuffled::time_to_live`].
    pub fn time_to_live(mut self, time_to_live: TimeToLive) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// As [`Shuffled::tick`].
    pub fn tick(mut self, span: Duration) -> Self {
        self.dealt.tick = Some(span);
        self
    }

    /// What `process` makes of the records of each key, by what it has heard.
    pub fn process<Q: Process<K, T> + Listen<B>>(self, process: Q) -> Stream<Q::Out> {
        let time_to_live = self.time_to_live;
        let stream = self.dealt.stage("process", move |shared| {
            BroadcastStage::new(process, time_to_live, shared.shards, shared.clock.begun(Epoch(0)))
                .spilling(shared.spill.clone())
        });
        stream.keeps(keyed::<K, Q::State>("process", true))
    }
}
