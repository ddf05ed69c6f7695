//! From a field and its options to what makes its columns.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, Field as ArrowField};
use updraft_dataflow::Error;

use super::field::{Field, Knobs};
use super::random::Seed;
use super::{nested, scalar};

/// Values that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The number of the first.
    pub(super) start: u64,
    pub(super) len: usize,
    /// How many values a row has: more than one within arrays and maps.
    per_row: u64,
    /// The time of the first row, and nanoseconds to the next.
    times: (i64, f64),
}

impl Span {
    /// `len` rows from row `start` on.
    pub(super) fn new(start: u64, len: usize, times: (i64, f64)) -> Self {
        Self { start, len, per_row: 1, times }
    }

    /// The values within these: `each` in each.
    pub(super) fn within(&self, each: usize) -> Self {
        let n = each as u64;
        Self { start: self.start.wrapping_mul(n), len: self.len * each, per_row: self.per_row * n, times: self.times }
    }

    /// The numbers of the values.
    pub(super) fn numbers(&self) -> impl ExactSizeIterator<Item = u64> + use<> {
        let start = self.start;
        (0..self.len).map(move |i| start.wrapping_add(i as u64))
    }

    /// Nanoseconds since 1970 of value `number`.
    pub(super) fn time(&self, number: u64) -> i64 {
        let rows = number.wrapping_sub(self.start) / self.per_row.max(1);
        self.times.0.saturating_add((rows as f64 * self.times.1) as i64)
    }

    /// Which values there are: all but that share of them.
    pub(super) fn nulls(&self, seed: Seed, rate: f64) -> Option<NullBuffer> {
        let is_there = |i| !seed.happens(self.start.wrapping_add(i as u64), rate);
        (rate > 0.0).then(|| BooleanBuffer::collect_bool(self.len, is_there).into())
    }
}

/// Makes the values of a column.
pub(super) type Make = Arc<dyn Fn(&Span) -> ArrayRef + Send + Sync>;

/// What is known of a field while it is planned.
pub(super) struct Plan<'a> {
    pub(super) field: &'a Field<'a>,
    pub(super) data_type: &'a DataType,
    pub(super) seed: Seed,
    pub(super) null_rate: f64,
    /// How many such values a row has.
    per_row: usize,
    /// The seed of the table, for what is within.
    table_seed: u64,
}

/// Values, letters or bytes of a field in a row at most: batches of more would not fit.
const MOST: usize = 1 << 16;

impl Plan<'_> {
    /// Makes the nulls of a span.
    pub(super) fn nulls(&self) -> impl Fn(&Span) -> Option<NullBuffer> + Send + Sync + 'static {
        let (seed, rate) = (self.seed.other(), self.null_rate);
        move |span| span.nulls(seed, rate)
    }

    /// How long values are: their option, or so long.
    pub(super) fn length(&self, default: usize) -> Result<usize, Error> {
        let length: usize = self.field.parse("length", "a length")?.unwrap_or(default);
        if length.saturating_mul(self.per_row) > MOST {
            return Err(self.field.wrong(&format!("more than {MOST} in a row: give it a smaller 'length'")));
        }
        Ok(length)
    }

    /// What makes `field`, of which there are `each` in each value.
    pub(super) fn within(&self, name: &str, field: &ArrowField, each: usize) -> Result<Make, Error> {
        random_of(&self.field.inner(name), field, self.per_row * each, self.table_seed)
    }

    pub(super) fn unsupported(&self) -> Error {
        self.field.wrong(&format!("'datagen' makes no {}", self.data_type))
    }
}

/// What makes the column `field`, and how many rows its sequence has if it is one.
pub(super) fn column(knobs: &Knobs<'_>, field: &ArrowField, seed: u64) -> Result<(Make, Option<u64>), Error> {
    let knob = knobs.field(field.name());
    if !knob.is_sequence()? {
        return Ok((random_of(&knob, field, 1, seed)?, None));
    }
    let (start, end) = (knob.required("start")?, knob.required("end")?);
    let rows = u64::try_from(i128::from(end) - i128::from(start) + 1).unwrap_or(u64::MAX);
    if end < start {
        return Err(knob.wrong("'start' is more than 'end'"));
    }
    Ok((scalar::sequence(&knob, field.data_type(), start, end)?, Some(rows)))
}

fn random_of(knob: &Field<'_>, field: &ArrowField, per_row: usize, table_seed: u64) -> Result<Make, Error> {
    let null_rate = knob.share("null-rate")?;
    if null_rate > 0.0 && !field.is_nullable() {
        return Err(knob.wrong("it is NOT NULL, so its 'null-rate' must be 0"));
    }
    let seed = Seed::new(table_seed, &knob.path);
    let plan = Plan { field: knob, data_type: field.data_type(), seed, null_rate, per_row, table_seed };
    match field.data_type() {
        DataType::List(_) | DataType::Map(..) | DataType::Struct(_) => nested::random(&plan),
        _ => scalar::random(&plan),
    }
}
