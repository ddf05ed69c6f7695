//! [`Sliding`]: an aggregate over a frame of a partition's rows that only ever moves forward.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::compute::filter;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Accumulator;

use super::super::aggregate::Aggregate;
use super::Arguments;

/// An aggregate, and the arguments of the rows that are in its frame or may still come into it.
pub(super) struct Sliding {
    accumulator: Box<dyn Accumulator>,
    /// Whether rows that leave the frame can be taken off. If not, each frame is computed anew.
    retracts: bool,
    chunks: VecDeque<Chunk>,
    /// The rows that are in the accumulator, from the partition's first on.
    frame: Range<u64>,
}

struct Chunk {
    first: u64,
    rows: usize,
    arguments: Arguments,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first + self.rows as u64
    }

    /// The arguments of some rows, as far as they are of this chunk and count.
    fn slice(&self, rows: &Range<u64>) -> Result<Option<Vec<ArrayRef>>> {
        let (from, to) = (rows.start.max(self.first), rows.end.min(self.end()));
        if from >= to {
            return Ok(None);
        }
        let (at, length) = ((from - self.first) as usize, (to - from) as usize);
        let slices = self.arguments.columns.iter().map(|argument| argument.slice(at, length));
        let Some(counted) = &self.arguments.counted else { return Ok(Some(slices.collect())) };
        let counted = counted.slice(at, length);
        Ok(Some(slices.map(|slice| filter(&slice, &counted)).collect::<Result<_, _>>()?))
    }
}

impl Sliding {
    /// Over frames that begin with the partition (`grows`), or move on.
    pub(super) fn new(aggregate: &Aggregate, grows: bool) -> Result<Self> {
        let sliding = if grows { None } else { aggregate.function.create_sliding_accumulator().ok() };
        let retracts = grows || sliding.is_some();
        let accumulator = match sliding {
            Some(accumulator) => accumulator,
            None => aggregate.function.create_accumulator()?,
        };
        Ok(Self { accumulator, retracts, chunks: VecDeque::new(), frame: 0..0 })
    }

    /// Rows follow, of which `first` is the number of the first.
    pub(super) fn push(&mut self, arguments: Arguments, first: u64) {
        let rows = arguments.columns.first().map_or(0, |argument| argument.len());
        self.chunks.push_back(Chunk { first, rows, arguments });
    }

    /// What these rows amount to: neither end is before that of the last time.
    pub(super) fn over(&mut self, aggregate: &Aggregate, rows: Range<u64>) -> Result<ScalarValue> {
        if !self.retracts {
            self.accumulator = aggregate.function.create_accumulator()?;
            self.update(&rows, false)?;
        } else {
            self.update(&(self.frame.end..rows.end), false)?;
            self.update(&(self.frame.start..rows.start), true)?;
        }
        self.frame = rows;
        self.accumulator.evaluate()
    }

    fn update(&mut self, rows: &Range<u64>, leave: bool) -> Result<()> {
        for chunk in &self.chunks {
            match chunk.slice(rows)? {
                Some(arguments) if leave => self.accumulator.retract_batch(&arguments)?,
                Some(arguments) => self.accumulator.update_batch(&arguments)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Forgets rows before this one, which no frame will have any more.
    pub(super) fn forget(&mut self, before: u64) {
        while self.chunks.pop_front_if(|chunk| chunk.end() <= before).is_some() {}
    }

    /// The state of an aggregate whose frame grows. It goes on from it, as who takes it back does.
    pub(super) fn state(&mut self, aggregate: &Aggregate) -> Result<Vec<ScalarValue>> {
        let states = self.accumulator.state()?;
        let columns = states.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
        // Who has told its state once may have lost it.
        self.accumulator = aggregate.function.create_accumulator()?;
        self.accumulator.merge_batch(&columns)?;
        Ok(states)
    }

    /// Goes on from a state, of so many rows.
    pub(super) fn restore(&mut self, state: &[ArrayRef], rows: u64) -> Result<()> {
        self.frame = 0..rows;
        self.accumulator.merge_batch(state)
    }

    /// The rows that are in the accumulator.
    pub(super) fn frame(&self) -> Range<u64> {
        self.frame.clone()
    }

    /// The arguments of the rows of the frame.
    pub(super) fn rows(&self) -> impl Iterator<Item = Arguments> {
        self.chunks.iter().filter_map(|chunk| {
            let (from, to) = (self.frame.start.max(chunk.first), self.frame.end.min(chunk.end()));
            let length = usize::try_from(to.checked_sub(from)?).ok()?;
            let at = (from - chunk.first) as usize;
            let columns = chunk.arguments.columns.iter().map(|column| column.slice(at, length)).collect();
            let counted = chunk.arguments.counted.as_ref().map(|counted| counted.slice(at, length));
            Some(Arguments { columns, counted })
        })
    }

    /// Goes on from a frame, of which these are the arguments.
    pub(super) fn refill(&mut self, arguments: Arguments, frame: Range<u64>) -> Result<()> {
        self.push(arguments, frame.start);
        if self.retracts {
            self.update(&frame, false)?;
        }
        self.frame = frame;
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        let of = |chunk: &Chunk| {
            chunk.arguments.columns.iter().map(|argument| argument.get_array_memory_size()).sum::<usize>()
        };
        self.accumulator.size() + self.chunks.iter().map(of).sum::<usize>()
    }
}
