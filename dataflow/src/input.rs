//! An [`Input`]: a source as a job reads it, until it becomes a [`Stream`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use updraft_kernel::clock;

use crate::alignment::Alignment;
use crate::control::Seen;
use crate::epoch::Epochs;
use crate::exchange::Outlet;
use crate::job::{Assembly, At, Job};
use crate::lateness::{ByCount, RowWatermarks, Stamp, Stamping, Watermarks, row_stamp};
use crate::pipe::{Identity, Stamped};
use crate::rows::{self, Rows};
use crate::source::{self, BadRecords, DeadLetter, Feed, FeedOptions, Idle, Partition as _, Reporting, Source};
use crate::stream::Stream;
use crate::time::{Epoch, Time};

/// Bytes of records in a bundle: what stays in the level 2 cache of one kernel between a source and its first stage.
const BUNDLE_BYTES: usize = 128 << 10;
/// Records of a bundle, at most; or rows, where they come in columns.
const BUNDLE_RECORDS: usize = 8192;

/// As [`Input::bundle`] says.
fn bundle_of<T: 'static>() -> usize {
    if rows::are_rows::<T>() {
        return BUNDLE_RECORDS;
    }
    (BUNDLE_BYTES / size_of::<T>().max(1)).clamp(256, BUNDLE_RECORDS)
}

/// A source that is being described. [`stream`](Self::stream) ends the description.
pub struct Input<S: Source> {
    job: Job,
    name: Arc<str>,
    source: S,
    options: FeedOptions,
    alignment: Option<Alignment>,
    late: Arc<Outlet<S::Item>>,
    dead: Arc<Outlet<DeadLetter>>,
}

impl<S: Source> Input<S> {
    pub(crate) fn new(job: Job, name: Arc<str>, source: S) -> Self {
        let options = FeedOptions {
            bundle: bundle_of::<S::Item>(),
            epochs: Epochs::WallClock(Duration::from_millis(100)),
            idle: Idle::default(),
            bad: BadRecords::Stop,
            by_arrival: false,
        };
        Self { job, name, source, options, alignment: None, late: Arc::default(), dead: Arc::default() }
    }

    /// Records in a bundle, at most. By default as many as make 128 KiB, between 256 and 8192; of
    /// [`Rows`], 8192 rows.
    #[must_use]
    pub fn bundle(mut self, records: usize) -> Self {
        self.options.bundle = records.max(1);
        self
    }

    /// When epochs are closed. By default each 100 ms by the clock; with event time, by the watermark.
    #[must_use]
    pub fn epochs(mut self, epochs: Epochs) -> Self {
        self.options.epochs = epochs;
        self
    }

    /// When a partition that gives nothing stops holding the others back; after 5 s by default.
    #[must_use]
    pub fn idle(mut self, idle: Idle) -> Self {
        self.options.idle = idle;
        self
    }

    /// Sets records aside that cannot be decoded, instead of ending the job: they are this stream.
    pub fn dead_letters(&mut self) -> Stream<DeadLetter> {
        self.options.bad = BadRecords::SetAside;
        Stream::new(self.job.clone(), self.dead.clone(), Identity, format!("{} dead letters", self.name).into(), false)
    }

    /// Says what becomes of records that cannot be decoded.
    #[must_use]
    pub fn bad_records(mut self, bad: BadRecords) -> Self {
        self.options.bad = bad;
        self
    }

    /// Records have an event time, which `time` reads, and are out of order as `watermarks` says. Unless said otherwise
    /// after this, an epoch is closed each 100 ms of event time.
    #[must_use]
    pub fn timestamps<F>(mut self, time: F, watermarks: Watermarks<S::Item>) -> TimedInput<S, F>
    where
        F: Fn(&S::Item) -> Time + Clone + Send + Sync + 'static,
    {
        self.options.epochs = Epochs::WatermarkStep(Duration::from_millis(100));
        TimedInput { input: self, time, watermarks }
    }

    /// The records, without event time.
    pub fn stream(self) -> Stream<S::Item> {
        let (job, name) = (self.job.clone(), self.name.clone());
        let outlet = self.read(ByCount::new);
        Stream::new(job, outlet, Identity, name, false)
    }

    /// The records, each with the calendar time of its arrival as event time: windows go by processing time then. What they
    /// hold depends on when records come, and is another for each run.
    pub fn stream_by_arrival(mut self) -> Stream<S::Item> {
        self.options.by_arrival = true;
        let mut stream = self.stream();
        stream.timed = true;
        stream
    }

    /// Adds the tasks that read it.
    fn read<E: Stamping<S::Item>>(self, stamp: impl Fn(Epochs) -> E + 'static) -> Arc<Outlet<S::Item>> {
        let outlet = Arc::new(Outlet::default());
        let Self { job, name, source, options, alignment, late, dead } = self;
        let feeds = outlet.clone();
        let timed = match (options.by_arrival, E::TIMED) {
            (true, _) => "event time is when a record comes",
            (false, true) => "event time",
            (false, false) => "no event time",
        };
        let node = job.draw(|graph| {
            let mut about = format!("{timed}, {}", options.epochs);
            if let Some(alignment) = &alignment {
                about += &format!(", partitions within {:?}", alignment.drift());
            }
            let node = graph.source(&name, about);
            graph.gives(&outlet, "");
            graph.gives(&late, "late");
            graph.gives(&dead, "dead letters");
            node
        });
        job.step(move |assembly| {
            let notes = assembly.source_notes(node)?;
            let places = notes.as_ref().map(|notes| notes.iter().map(|note| note.place.clone()).collect());
            let partitions = if let Some(places) = places { source.resume(places) } else { source.open() };
            let partitions = partitions.map_err(|error| At::new(format!("source `{name}`"), error))?;
            if partitions.is_empty() {
                let error = "it was opened without a partition, and a source has at least one".into();
                return Err(At::new(format!("source `{name}`"), error).into());
            }
            let part = assembly.source_part(node, partitions.len());
            let mut notes = notes.into_iter().flatten();
            let metrics = assembly.source_metrics(name.clone());
            let (options, own) = assembly.source_control(&name, options, partitions.len());
            let open = Arc::new(AtomicUsize::new(partitions.len()));
            for partition in partitions {
                let bell = assembly.shared.clock.sources.hang();
                let mut feed = Feed {
                    options,
                    stamp: stamp(options.epochs),
                    outlet: feeds.clone(),
                    late: late.clone(),
                    dead: dead.clone(),
                    shared: assembly.shared.clone(),
                    metrics: metrics.clone(),
                    partition: metrics.add_partition(),
                    open: open.clone(),
                    aligned: alignment.as_ref().map(|alignment| alignment.join(bell.clone())),
                    bell,
                    epoch: Epoch(0),
                    declared: Time::MIN,
                    closed: Time::MIN,
                    begun: clock::now(),
                    active: clock::now(),
                    is_idle: false,
                    position: 0,
                    place: partition.place(),
                    has_ended: false,
                    reported: VecDeque::new(),
                    own: own.clone(),
                    is_paused: false,
                    is_drained: false,
                    seen: Seen::default(),
                    reporting: assembly.shared.taking.clone().zip(part).map(|(taking, part)| Reporting {
                        gate: taking.gate(),
                        taking,
                        part,
                    }),
                };
                if feed.reporting.is_some() && feed.place.is_none() {
                    tracing::warn!(
                        "source `{name}` cannot be read again: what comes between a checkpoint and a crash is lost"
                    );
                }
                notes.next().into_iter().for_each(|note| feed.restore(note));
                start(assembly, name.clone(), partition, feed);
            }
            Ok(())
        });
        outlet
    }
}

fn start<P, E>(assembly: &mut Assembly, name: Arc<str>, partition: P, feed: Feed<P::Item, E>)
where
    P: source::Partition,
    P::Item: crate::bundle::Record,
    E: Stamping<P::Item>,
{
    assembly.shared.clock.add_partition();
    let (outlet, late, dead) = (feed.outlet.clone(), feed.late.clone(), feed.dead.clone());
    assembly.wire(move || {
        outlet.add_input();
        late.add_input();
        dead.add_input();
    });
    assembly.task(move |group, kernel, _| {
        let fails = group.clone();
        group.spawn(kernel, name.clone(), move || async move {
            if let Err(error) = source::drive(partition, feed).await {
                fails.fail(At::new(format!("source `{name}`"), error));
            }
        });
    });
}

impl<S: Source<Item = Rows>> Input<S> {
    /// Rows have an event time, which `times` reads, in microseconds: one for each row. They are out of order as
    /// `watermarks` says; what is late is decided for each row, and [`Rows`] are cut where an epoch ends. Unless said
    /// otherwise after this, an epoch is closed each 100 ms of event time.
    ///
    /// A function that cannot read a time ends the job with [`updraft_kernel::give_up`].
    #[must_use]
    pub fn row_timestamps<F>(mut self, times: F, watermarks: RowWatermarks) -> TimedInput<S, F, RowWatermarks>
    where
        F: Fn(&Rows) -> Vec<i64> + Clone + Send + Sync + 'static,
    {
        self.options.epochs = Epochs::WatermarkStep(Duration::from_millis(100));
        TimedInput { input: self, time: times, watermarks }
    }
}

/// A source with event time that is being described: by its records ([`Input::timestamps`]) or the rows of
/// them ([`Input::row_timestamps`]).
pub struct TimedInput<S: Source, F, W = Watermarks<<S as Source>::Item>> {
    input: Input<S>,
    time: F,
    watermarks: W,
}

impl<S: Source, F, W> TimedInput<S, F, W> {
    /// As [`Input::epochs`].
    #[must_use]
    pub fn epochs(mut self, epochs: Epochs) -> Self {
        self.input = self.input.epochs(epochs);
        self
    }

    /// As [`Input::bundle`].
    #[must_use]
    pub fn bundle(mut self, records: usize) -> Self {
        self.input = self.input.bundle(records);
        self
    }

    /// Partitions that are farther ahead of the slowest than that wait: of this source, and of all others that are given the same one.
    #[must_use]
    pub fn align(mut self, alignment: &Alignment) -> Self {
        self.input.alignment = Some(alignment.clone());
        self
    }

    /// As [`Input::idle`].
    #[must_use]
    pub fn idle(mut self, idle: Idle) -> Self {
        self.input = self.input.idle(idle);
        self
    }

    /// As [`Input::dead_letters`].
    pub fn dead_letters(&mut self) -> Stream<DeadLetter> {
        self.input.dead_letters()
    }

    /// As [`Input::bad_records`].
    #[must_use]
    pub fn bad_records(mut self, bad: BadRecords) -> Self {
        self.input = self.input.bad_records(bad);
        self
    }

    /// The records that came after the watermark had passed them. They are counted in any case.
    pub fn late(&mut self) -> Stream<S::Item> {
        let input = &self.input;
        Stream::new(input.job.clone(), input.late.clone(), Identity, format!("{} late", input.name).into(), false)
    }
}

impl<S, F> TimedInput<S, F>
where
    S: Source,
    F: Fn(&S::Item) -> Time + Clone + Send + Sync + 'static,
{
    /// The records, each with its event time.
    pub fn stream(self) -> Stream<S::Item, Stamped<F>> {
        let (job, name) = (self.input.job.clone(), self.input.name.clone());
        let (time, watermarks) = (self.time.clone(), self.watermarks);
        let late = self.input.late.clone();
        let outlet = self.input.read(move |epochs| Stamp::new(time.clone(), watermarks.clone(), epochs));
        let mut stream = Stream::new(job, outlet, Stamped(self.time), name, true);
        stream.late = Some(late);
        stream
    }
}

impl<S, F> TimedInput<S, F, RowWatermarks>
where
    S: Source<Item = Rows>,
    F: Fn(&Rows) -> Vec<i64> + Clone + Send + Sync + 'static,
{
    /// The rows. Their event times are not carried along: who needs them reads the column.
    pub fn stream(self) -> Stream<Rows> {
        let Self { input, time, watermarks } = self;
        let (job, name, late) = (input.job.clone(), input.name.clone(), input.late.clone());
        let outlet = input.read(move |epochs| row_stamp(time.clone(), watermarks.clone(), epochs));
        let mut stream = Stream::new(job, outlet, Identity, name, true);
        stream.late = Some(late);
        stream
    }
}
