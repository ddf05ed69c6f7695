//! Makes the streams of a job of its nodes.
//!
//! Sources come first: [`Builder::new`] looks at all queries of the job, so that a table that several of them read is
//! read once, with all the columns that any of them wants, and knows whether somebody goes by its event time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion_common::{DataFusionError, Result, not_impl_err, plan_datafusion_err, plan_err};
use updraft_dataflow::connector::AnySink;
use updraft_dataflow::lateness::RowWatermarks;
use updraft_dataflow::{Alignment, BadRecords, DeadLetter, Epochs, Idle, Job, Rows, Stream};

use super::expr::Projection;
use super::flow::Flow;
use super::scan::{Disorder, Scanned, dead_letters, disorder, micros, watermarks};
use super::{Clock, Node, ids};
use crate::catalog::{Aligned, BadRows, Side, dead_letter_schema};
use crate::gate::Gate;

/// How often epochs are closed where no time is gone by.
const TICK: Duration = Duration::from_millis(100);

/// A job that is being built.
pub(crate) struct Builder {
    job: Job,
    mode: Mode,
    wants: BTreeMap<Reading, Want>,
    sources: BTreeMap<Reading, Source>,
    /// Tables that are streams of the job already.
    streams: BTreeMap<Arc<str>, Stream<Rows>>,
    /// Parts of the query that is being built which it has more than once: by number, and whether event time and processing
    /// time are gone by above.
    common: BTreeMap<(usize, bool, bool), Stream<Rows>>,
    /// Groups of tables that are aligned.
    alignments: BTreeMap<String, Alignment>,
    /// The sink of the query that is being built.
    sink: String,
    /// What operators with state are called.
    ids: BTreeSet<String>,
}

/// How a job runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mode {
    /// Whether sources have an end, and nothing is asked for before it.
    pub(crate) batch: bool,
    /// After how long without a row a source stops holding others back, unless its table says so.
    pub(crate) idle: Option<Duration>,
}

/// A table, and whether it is read by processing time.
type Reading = (Arc<str>, bool);

/// The clocks that those go by who read from an operator.
#[derive(Clone, Copy, Default)]
struct Clocks {
    /// Event time, and its steps.
    event: Option<i64>,
    processing: bool,
}

impl Clocks {
    fn and(self, clock: Option<Clock>) -> Self {
        match clock {
            None => self,
            Some(Clock::Processing) => Self { processing: true, ..self },
            Some(Clock::Event(step)) => Self { event: Some(self.event.map_or(step, |other| gcd(step, other))), ..self },
        }
    }

    /// How a table is read for them.
    fn reading(self, table: &Arc<str>) -> Reading {
        (table.clone(), self.processing)
    }
}

/// What the queries of a job want of a table.
struct Want {
    scanned: Scanned,
    /// Whether some of them go by its event time, and at which multiples the watermark has to stand.
    step: Option<i64>,
    /// Whether some of them don't.
    untimed: bool,
    /// Whether some of them read what was set aside.
    sides: Vec<Side>,
    /// How often it is read, and what those who read it wait for.
    readers: usize,
    gates: Vec<Gate>,
}

/// A table that is read, for whoever wants it.
struct Source {
    scanned: Scanned,
    /// In time, where somebody goes by that; else all.
    rows: Stream<Rows>,
    late: Option<Stream<Rows>>,
    dead: Option<Stream<Rows>>,
}

impl Source {
    /// The rows that came in time and those that were late.
    fn all(&self) -> Stream<Rows> {
        match &self.late {
            Some(late) => self.rows.share().union(late.share()),
            None => self.rows.share(),
        }
    }

    fn late(&self) -> Result<Stream<Rows>> {
        let late = self.late.as_ref().map(Stream::share);
        late.ok_or_else(|| plan_datafusion_err!("nobody goes by the time of '{}'", self.scanned.table.table.name))
    }

    fn dead(&self) -> Result<Stream<Rows>> {
        let dead = self.dead.as_ref().map(Stream::share);
        dead.ok_or_else(|| plan_datafusion_err!("nobody asks what '{}' has rejected", self.scanned.table.table.name))
    }
}

fn dead_letter(letter: DeadLetter) -> Rows {
    dead_letters(&[letter])
}

impl Builder {
    /// A job for `queries`.
    ///
    /// # Errors
    /// When a query goes by both event and processing time of a table.
    pub(crate) fn new<'a>(job: Job, mode: Mode, queries: impl IntoIterator<Item = &'a Node>) -> Result<Self> {
        let mut builder = Self {
            job,
            mode,
            wants: BTreeMap::new(),
            sources: BTreeMap::new(),
            streams: BTreeMap::new(),
            common: BTreeMap::new(),
            alignments: BTreeMap::new(),
            sink: String::new(),
            ids: BTreeSet::new(),
        };
        queries.into_iter().try_for_each(|query| builder.look(query, Clocks::default(), &[]))?;
        Ok(builder)
    }

    /// The same, with tables that are streams of the job.
    pub(crate) fn with_streams(mut self, streams: BTreeMap<Arc<str>, Stream<Rows>>) -> Self {
        self.streams = streams;
        self
    }

    /// Notes what `node` wants of tables; `clocks` are those of the operators that read from it, who wait for `gates`.
    fn look(&mut self, node: &Node, clocks: Clocks, gates: &[Gate]) -> Result<()> {
        if let Some((scanned, side)) = node.operation.scans() {
            self.want(scanned, side, clocks, gates)?;
        }
        let clocks = self.clocks(node, clocks);
        for (place, input) in node.inputs.iter().enumerate() {
            let waits = node.operation.waits().filter(|(which, _)| *which as usize == place);
            let gates: Vec<_> = gates.iter().chain(waits.map(|(_, gate)| gate)).cloned().collect();
            self.look(input, clocks, &gates)?;
        }
        Ok(())
    }

    /// Those of a node and of all that read from it. Where only final rows are asked for, nobody goes by any.
    fn clocks(&self, node: &Node, clocks: Clocks) -> Clocks {
        if self.mode.batch { clocks } else { clocks.and(node.operation.clock()) }
    }

    fn want(&mut self, scanned: &Scanned, side: Option<Side>, clocks: Clocks, gates: &[Gate]) -> Result<()> {
        let table = &scanned.table.table.name;
        if clocks.processing && clocks.event.is_some() {
            return not_impl_err!("a query that goes by both event time and processing time of '{table}'");
        }
        let new = || Want {
            scanned: scanned.least(),
            step: None,
            untimed: false,
            sides: Vec::new(),
            readers: 0,
            gates: Vec::new(),
        };
        let want = self.wants.entry(clocks.reading(table)).or_insert_with(new);
        want.sides.extend(side);
        want.readers += 1;
        want.gates.extend_from_slice(gates);
        if side == Some(Side::DeadLetters) {
            return Ok(());
        }
        let (step, is_late) = (clocks.event, side == Some(Side::Late));
        let rowtime = scanned.table.rowtime.as_ref().map(|rowtime| rowtime.column);
        for column in scanned.columns.iter().copied().chain(rowtime.filter(|_| step.is_some() || is_late)) {
            if !want.scanned.columns.contains(&column) {
                want.scanned.columns.push(column);
            }
        }
        match (step, want.step) {
            (Some(one), Some(other)) => want.step = Some(gcd(one, other)),
            (Some(one), None) => want.step = Some(one),
            (None, _) => want.untimed |= side.is_none(),
        }
        Ok(())
    }

    /// The job.
    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// The rows of a table for somebody who goes by its event time or not, or those that were set aside.
    fn scan(&mut self, scanned: &Scanned, side: Option<Side>, clocks: Clocks) -> Result<Flow> {
        let reading = clocks.reading(&scanned.table.table.name);
        if !self.sources.contains_key(&reading) {
            let source = self.open(&reading)?;
            self.sources.insert(reading.clone(), source);
        }
        let source = &self.sources[&reading];
        let stream = match (side, clocks.event.is_some()) {
            (Some(Side::DeadLetters), _) => {
                let projection = Projection::of_columns(&scanned.columns, &dead_letter_schema());
                return Ok(Flow::from(source.dead()?).step(move |rows| Some(projection.apply(rows))));
            }
            // Whoever waits for all rows has none that is late; of a stream of the job, those were left out there.
            (Some(Side::Late), _) if self.mode.batch || self.streams.contains_key(&reading.0) => {
                return Ok(Flow::from(source.all()).step(|_| None));
            }
            (Some(Side::Late), _) => source.late()?,
            (None, true) => source.rows.share(),
            (None, false) => source.all(),
        };
        let columns: Vec<_> = scanned.columns.iter().filter_map(|column| source.scanned.position(*column)).collect();
        let flow = Flow::from(stream);
        if columns.iter().copied().eq(0..source.scanned.columns.len()) {
            return Ok(flow);
        }
        let projection = Projection::of_columns(&columns, &source.scanned.schema());
        Ok(flow.step(move |rows| Some(projection.apply(rows))))
    }

    /// Adds a table's source to the job.
    fn open(&mut self, reading: &Reading) -> Result<Source> {
        let ((name, by_arrival), want) = (reading, &self.wants[reading]);
        let scanned = want.scanned.clone();
        if let Some(rows) = self.streams.get(name) {
            let all = Scanned { columns: (0..scanned.table.columns.len()).collect(), ..scanned };
            return Ok(Source { rows: rows.share(), scanned: all, late: None, dead: None });
        }
        // Who reads a table for several would have those wait who open the gate.
        let gates = if want.readers == 1 { want.gates.clone() } else { Vec::new() };
        let reader = scanned.open(self.mode.batch, gates).map_err(DataFusionError::External)?;
        let bad = if scanned.table.bad == BadRows::Fail { BadRecords::Stop } else { BadRecords::SetAside };
        let mut input = self.job.source(name.clone(), reader).bad_records(bad).epochs(Epochs::WallClock(TICK));
        if let Some(after) = scanned.table.idle.or(self.mode.idle) {
            input = input.idle(Idle { after: Some(after), ..Idle::default() });
        }
        let dead = want.sides.contains(&Side::DeadLetters).then(|| input.dead_letters().map(dead_letter).materialize());
        if *by_arrival {
            let idle = Idle { after: Some(TICK), follow_clock: true };
            return Ok(Source {
                rows: input.idle(idle).stream_by_arrival().uid(format!("{name} by arrival")),
                scanned,
                late: None,
                dead,
            });
        }
        // Who asks what was late must not make more rows late than those that go by the time do.
        let asks = want.sides.contains(&Side::Late) && !self.mode.batch;
        let Some(step) = want.step.or(asks.then_some(TICK.as_micros() as i64)) else {
            return Ok(Source { rows: input.stream(), scanned, late: None, dead });
        };
        let time = scanned.rowtime()?;
        let watermarks = match disorder(&scanned)? {
            Disorder::Bounded(bound) => RowWatermarks::Bounded(bound),
            Disorder::Each(expr) => RowWatermarks::each(move |rows| watermarks(&expr, rows)),
        };
        let mut input = input
            .row_timestamps(move |rows| micros(rows.batch().column(time)), watermarks)
            .epochs(Epochs::WatermarkStep(Duration::from_micros(step as u64)));
        let late = (want.untimed || asks).then(|| input.late());
        if let Some(aligned) = scanned.table.aligned.as_ref().filter(|_| !self.mode.batch) {
            input = input.align(&alignment(&mut self.alignments, aligned)?);
        }
        Ok(Source { rows: input.stream(), scanned, late, dead })
    }

    /// Builds a node and all below it, for operators that go by `clocks`.
    fn node(&mut self, node: Node, clocks: Clocks) -> Result<Flow> {
        if let Some((scanned, side)) = node.operation.scans() {
            return self.scan(scanned, side, clocks);
        }
        let Some(number) = node.common else { return self.operator(node, clocks) };
        let key = (number, clocks.event.is_some(), clocks.processing);
        if !self.common.contains_key(&key) {
            let stream = self.operator(node, clocks)?.stream().materialize();
            self.common.insert(key, stream);
        }
        Ok(self.common[&key].share().into())
    }

    fn operator(&mut self, node: Node, clocks: Clocks) -> Result<Flow> {
        let clocks = self.clocks(&node, clocks);
        let kept = ids::of(&node, &self.sink);
        let inputs = node.inputs.into_iter().map(|input| self.node(input, clocks)).collect::<Result<Vec<_>>>()?;
        let Some((id, layout)) = kept else { return node.operation.build(inputs, self) };
        Ok(node.operation.build(inputs, self)?.kept(self.free(&id), layout))
    }

    /// An id, or that with a number where the same is computed once more.
    fn free(&mut self, id: &str) -> String {
        let names = (1..).map(|n| if n == 1 { id.to_owned() } else { format!("{id} ({n})") });
        let free = names.into_iter().find(|name| !self.ids.contains(name)).unwrap_or_default();
        self.ids.insert(free.clone());
        free
    }

    /// What comes out of a query.
    pub(crate) fn stream(&mut self, query: Node) -> Result<Stream<Rows>> {
        self.common.clear();
        self.sink.clear();
        Ok(self.node(query, Clocks::default())?.stream().materialize())
    }

    /// Gives what comes out of a query to a sink.
    pub(crate) fn sink(&mut self, name: &str, query: Node, sink: AnySink) -> Result<()> {
        self.common.clear();
        name.clone_into(&mut self.sink);
        self.node(query, Clocks::default())?.stream().sink(name, sink);
        Ok(())
    }
}

/// That of the group, or one of the table alone.
fn alignment(groups: &mut BTreeMap<String, Alignment>, aligned: &Aligned) -> Result<Alignment> {
    let alignment = Alignment::within(aligned.drift);
    let Some(group) = &aligned.group else { return Ok(alignment) };
    let of_group = groups.entry(group.clone()).or_insert(alignment);
    if of_group.drift() != aligned.drift {
        return plan_err!(
            "tables of the alignment group '{group}' differ in how far ahead one may be: {:?} and {:?}",
            of_group.drift(),
            aligned.drift
        );
    }
    Ok(of_group.clone())
}

/// The greatest common divisor.
fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
