//! [`Over`]: OVER aggregates: each row with what the rows of its partition up to it amount to.
//!
//! Rows are ordered by event time, and wait until the watermark has passed them; or they are taken as they come. For frames that
//! reach ahead, and functions that do, there is [`OverAll`]: at the end of the input, by DataFusion's own window functions.

mod all;
mod arguments;
mod saved;
mod sliding;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_physical_expr::PhysicalExpr;
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, Rows, Saved, Snapshot, Time};

pub use self::all::OverAll;
use self::arguments::{Arguments, arguments};
use self::sliding::Sliding;
use super::aggregate::Aggregate;
use super::codec::columns_of;
use super::held::{Held, Released};
use super::keys::{Id, Keys};
use super::layout::{self, Described};
use super::own::{Own, settled};
use super::saved::{Share, load, save};

/// The rows that a row's aggregates are of: up to itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// ROWS BETWEEN so many (all, where it is `None`) PRECEDING AND CURRENT ROW.
    Rows(Option<u64>),
    /// RANGE BETWEEN so much time (all, where it is `None`) PRECEDING AND CURRENT ROW: with all rows of the same time.
    Range(Option<Duration>),
}

/// What is computed for each row.
#[derive(Clone, Debug)]
pub enum Call {
    /// An aggregate of the frame; FIRST_VALUE and LAST_VALUE are such.
    Aggregate(Aggregate),
    /// ROW_NUMBER().
    RowNumber,
    /// RANK(): of the time.
    Rank,
    /// DENSE_RANK(): of the time.
    DenseRank,
    /// LAG(value, back, default).
    Lag {
        /// Over the input's columns.
        value: Arc<dyn PhysicalExpr>,
        /// How many rows before.
        back: usize,
        /// Where there are not as many; NULL, if it is `None`. Of the type of the value.
        default: Option<Arc<dyn PhysicalExpr>>,
    },
}

/// What an [`Over`] is made of.
#[derive(Clone, Debug)]
pub struct OverPlan {
    /// What comes in: rows that are only inserted.
    pub input: SchemaRef,
    /// The columns of PARTITION BY. Where there are none, the rows' hashes must be 0.
    pub partition: Vec<usize>,
    /// The column of event time; where it is `None`, rows are ordered as they come.
    pub time: Option<usize>,
    /// The frame, the same for all aggregates.
    pub frame: Frame,
    /// What is computed.
    pub calls: Vec<Call>,
    /// What comes out: the columns of the input, then what is computed.
    pub output: SchemaRef,
}

impl OverPlan {
    /// Whether frames begin with their partitions.
    fn grows(&self) -> bool {
        matches!(self.frame, Frame::Rows(None) | Frame::Range(None))
    }
}

/// OVER aggregates.
#[derive(Clone)]
pub struct Over {
    plan: Arc<OverPlan>,
    share: Share,
    state: Own<State>,
}

struct State {
    plan: Arc<OverPlan>,
    keys: Keys,
    partitions: Vec<Option<Partition>>,
    held: Option<Held>,
    /// Rows that wait for the end of the epoch, where they are ordered as they come.
    waiting: Vec<Hashed>,
    waiting_bytes: usize,
    bytes: usize,
}

struct Partition {
    calls: Vec<Computed>,
    /// Rows so far.
    rows: u64,
    /// Times of the rows that a frame may begin at, from row `start` on.
    times: VecDeque<i64>,
    start: u64,
    /// The first row of the last time, and how many times there were.
    peers: u64,
    dense: u64,
    last: Option<i64>,
    bytes: usize,
}

enum Computed {
    Aggregate(Sliding),
    Number,
    Lag(VecDeque<ScalarValue>),
}

impl Over {
    /// An operator that computes these.
    pub fn new(plan: OverPlan) -> Self {
        Self { plan: Arc::new(plan), share: Share::default(), state: Own::default() }
    }

    fn state(&mut self) -> Result<&mut State> {
        let plan = &self.plan;
        self.state.get(|| State::new(plan))
    }

    fn take(&mut self, hashed: &Hashed) -> Result<()> {
        if hashed.rows.kinds().is_some() {
            return internal_err!("OVER aggregates are of rows that are only inserted");
        }
        let state = self.state()?;
        match &mut state.held {
            Some(held) => held.add(hashed),
            None => {
                state.waiting_bytes += hashed.rows.bytes();
                state.waiting.push(hashed.clone());
                Ok(())
            }
        }
    }

    fn end(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let plan = self.plan.clone();
        let state = self.state()?;
        let released = match &mut state.held {
            Some(held) => held.release(punctuation.watermark)?,
            None => state.arrived(&plan, punctuation.now)?,
        };
        if released.rows.num_rows() > 0 {
            out.emit(vec![state.compute(&plan, released)?.into()]);
        }
        Ok(())
    }
}

/// The parts of what is saved.
const PARTITIONS: u8 = 0;
const HELD: u8 = 1;

impl Described for Over {
    fn layout(&self) -> Layout {
        let OverPlan { input, partition, time, output, .. } = &*self.plan;
        let results = Vec::from_iter(input.fields().len()..output.fields().len());
        Layout::of("over")
            .table("keys", layout::keys(input, partition))
            .table("rows", layout::all(input))
            .table("time", layout::keys(input, &Vec::from_iter(*time)))
            .table("results", layout::keys(output, &results))
    }
}

impl Operator<Hashed> for Over {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Hashed>, _: &mut Outbox<'_, Rows>) {
        bundle.as_slice().iter().for_each(|hashed| settled(self.take(hashed)));
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        settled(self.end(punctuation, out));
    }

    fn bytes(&self) -> usize {
        let held = |state: &State| state.held.as_ref().map_or(0, Held::bytes);
        let of = |state: &State| state.keys.bytes() + state.bytes + state.waiting_bytes + held(state);
        self.state.peek().map_or(0, of)
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> std::result::Result<(), Error> {
        let share = self.share;
        let state = self.state()?;
        state.held.as_mut().map_or(Ok(()), |held| held.save(HELD, share, snapshot))?;
        save(state, PARTITIONS, share, snapshot)
    }

    fn load(&mut self, saved: Saved) -> std::result::Result<(), Error> {
        let share = self.share;
        let state = self.state()?;
        match &mut state.held {
            Some(held) if saved.read::<u8>()? == HELD => held.load(share, &saved),
            _ => load(state, share, &saved),
        }
    }
}

impl State {
    fn new(plan: &Arc<OverPlan>) -> Result<Self> {
        let held = plan.time.map(|time| Held::new(plan.input.clone(), time, &[])).transpose()?;
        let keys = Keys::of(&plan.input, &plan.partition)?;
        let (plan, partitions, waiting) = (plan.clone(), Vec::new(), Vec::new());
        Ok(Self { plan, keys, partitions, held, waiting, waiting_bytes: 0, bytes: 0 })
    }

    /// All that has come in the epoch, at the time of its end.
    fn arrived(&mut self, plan: &OverPlan, now: Time) -> Result<Released> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let rows = concat_batches(&plan.input, waiting.iter().map(|hashed| hashed.rows.batch()))?;
        let hashes = waiting.iter().flat_map(|hashed| hashed.hashes.iter().copied()).collect();
        Ok(Released { times: vec![now.0; rows.num_rows()], rows, hashes })
    }

    /// The rows, in order of time, each with what is computed of it.
    fn compute(&mut self, plan: &OverPlan, released: Released) -> Result<RecordBatch> {
        let Released { rows, hashes, times } = released;
        let ids = self.keys.intern(&columns_of(&rows, &plan.partition), &hashes)?;
        self.partitions.resize_with(self.keys.bound(), || None);
        let mut order: Vec<_> = (0..rows.num_rows() as u32).collect();
        order.sort_by_key(|row| ids[*row as usize]);
        let sorted = take_record_batch(&rows, &UInt32Array::from(order.clone()))?;
        let arguments = plan.calls.iter().map(|call| arguments(call, &sorted)).collect::<Result<Vec<_>>>()?;
        let mut results = vec![Vec::with_capacity(order.len()); plan.calls.len()];
        let mut from = 0;
        for run in order.chunk_by(|a, b| ids[*a as usize] == ids[*b as usize]) {
            let times: Vec<_> = run.iter().map(|row| times[*row as usize]).collect();
            let at = from..from + run.len();
            self.partition(plan, ids[run[0] as usize], &times, (&arguments, at.clone()), &mut results)?;
            from = at.end;
        }
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, row)| back[*row as usize] = at as u32);
        self.output(plan, &rows, results, &UInt32Array::from(back))
    }

    fn partition(
        &mut self,
        plan: &OverPlan,
        id: Id,
        times: &[i64],
        arguments: (&[Arguments], Range<usize>),
        results: &mut [Vec<ScalarValue>],
    ) -> Result<()> {
        let place = &mut self.partitions[id as usize];
        let partition = match place {
            Some(partition) => partition,
            none => none.insert(Partition::new(plan)?),
        };
        partition.compute(plan, times, arguments, results)?;
        let bytes = partition.size();
        self.bytes = self.bytes + bytes - std::mem::replace(&mut partition.bytes, bytes);
        Ok(())
    }

    fn output(
        &self,
        plan: &OverPlan,
        rows: &RecordBatch,
        results: Vec<Vec<ScalarValue>>,
        back: &UInt32Array,
    ) -> Result<RecordBatch> {
        let width = rows.num_columns();
        let results = results.into_iter().enumerate().map(|(at, values)| {
            let column = take(&ScalarValue::iter_to_array(values)?, back, None)?;
            Ok(cast(&column, plan.output.field(width + at).data_type())?)
        });
        let results = results.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(plan.output.clone(), rows.columns().iter().cloned().chain(results).collect())?)
    }
}

impl Partition {
    fn new(plan: &OverPlan) -> Result<Self> {
        let grows = plan.grows();
        let calls = plan.calls.iter().map(|call| {
            Ok(match call {
                Call::Aggregate(aggregate) => Computed::Aggregate(Sliding::new(aggregate, grows)?),
                Call::RowNumber | Call::Rank | Call::DenseRank => Computed::Number,
                Call::Lag { .. } => Computed::Lag(VecDeque::new()),
            })
        });
        let calls = calls.collect::<Result<_>>()?;
        Ok(Self { calls, rows: 0, times: VecDeque::new(), start: 0, peers: 0, dense: 0, last: None, bytes: 0 })
    }

    /// The rows that follow, at these times, of which the arguments are at `at`.
    fn compute(
        &mut self,
        plan: &OverPlan,
        times: &[i64],
        (arguments, at): (&[Arguments], Range<usize>),
        results: &mut [Vec<ScalarValue>],
    ) -> Result<()> {
        let grows = plan.grows();
        for (computed, arguments) in self.calls.iter_mut().zip(arguments) {
            if let Computed::Aggregate(sliding) = computed {
                sliding.push(arguments.slice(at.clone(), !grows)?, self.rows);
            }
        }
        let mut from = 0;
        for peers in times.chunk_by(|a, b| a == b) {
            self.peers(plan, peers, (arguments, at.start + from), results)?;
            from += peers.len();
        }
        // A frame that only grows has taken in what it will not look at again.
        if grows {
            let all = self.rows;
            self.calls.iter_mut().for_each(|computed| match computed {
                Computed::Aggregate(sliding) => sliding.forget(all),
                Computed::Number | Computed::Lag(_) => {}
            });
        }
        Ok(())
    }

    /// Rows of the same time.
    fn peers(
        &mut self,
        plan: &OverPlan,
        times: &[i64],
        (arguments, at): (&[Arguments], usize),
        results: &mut [Vec<ScalarValue>],
    ) -> Result<()> {
        if self.last.replace(times[0]) != Some(times[0]) {
            (self.peers, self.dense) = (self.rows, self.dense + 1);
        }
        if matches!(plan.frame, Frame::Range(Some(_))) {
            self.times.extend(times);
        }
        // As they come, rows that have the same time by chance are no peers of each other, but for an interval.
        let together = match plan.frame {
            Frame::Rows(_) => false,
            Frame::Range(None) => plan.time.is_some(),
            Frame::Range(Some(_)) => true,
        };
        let step = if together { times.len() } else { 1 };
        for first in (0..times.len()).step_by(step) {
            let end = self.rows + (first + step) as u64;
            let frame = self.start(plan, end, times[0])..end;
            for (call, results) in results.iter_mut().enumerate() {
                let rows = first..first + step;
                self.call(&plan.calls[call], call, (rows, &frame), (&arguments[call], at), results)?;
            }
        }
        self.rows += times.len() as u64;
        Ok(())
    }

    /// Where the frame begins that ends before row `end`, which is at `time`. None will begin before it any more.
    fn start(&mut self, plan: &OverPlan, end: u64, time: i64) -> u64 {
        let start = match plan.frame {
            Frame::Rows(None) | Frame::Range(None) => 0,
            Frame::Rows(Some(preceding)) => (end - 1).saturating_sub(preceding),
            Frame::Range(Some(span)) => {
                let since = time.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
                self.start + self.times.partition_point(|other| *other < since) as u64
            }
        };
        if matches!(plan.frame, Frame::Range(Some(_))) {
            self.times.drain(..(start - self.start) as usize);
            self.start = start;
        }
        start
    }

    fn call(
        &mut self,
        call: &Call,
        number: usize,
        (rows, frame): (Range<usize>, &Range<u64>),
        (arguments, at): (&Arguments, usize),
        results: &mut Vec<ScalarValue>,
    ) -> Result<()> {
        match (call, &mut self.calls[number]) {
            (Call::Aggregate(aggregate), Computed::Aggregate(sliding)) => {
                let value = sliding.over(aggregate, frame.clone())?;
                sliding.forget(frame.start);
                results.extend(std::iter::repeat_n(value, rows.len()));
            }
            (Call::Lag { back, .. }, Computed::Lag(before)) => {
                for row in rows {
                    results.push(lag(before, *back, arguments, at + row)?);
                }
            }
            (Call::Rank, _) => results.extend(rows.map(|_| number_of(self.peers + 1))),
            (Call::DenseRank, _) => results.extend(rows.map(|_| number_of(self.dense))),
            _ => results.extend(rows.map(|row| number_of(self.rows + row as u64 + 1))),
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let of = |computed: &Computed| match computed {
            Computed::Aggregate(sliding) => sliding.bytes(),
            Computed::Number => 0,
            Computed::Lag(before) => before.iter().map(ScalarValue::size).sum(),
        };
        size_of::<Self>() + self.times.len() * size_of::<i64>() + self.calls.iter().map(of).sum::<usize>()
    }
}

/// The value so many rows before; and this row's is remembered.
fn lag(before: &mut VecDeque<ScalarValue>, back: usize, arguments: &Arguments, row: usize) -> Result<ScalarValue> {
    let value = ScalarValue::try_from_array(&arguments.columns[0], row)?;
    before.push_back(value);
    if before.len() > back {
        return before.pop_front().map_or_else(|| internal_err!("a row that was just put there"), Ok);
    }
    match arguments.columns.get(1) {
        Some(default) => ScalarValue::try_from_array(default, row),
        None => ScalarValue::try_from(arguments.columns[0].data_type()),
    }
}

fn number_of(number: u64) -> ScalarValue {
    ScalarValue::Int64(Some(number as i64))
}
