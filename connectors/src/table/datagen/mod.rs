//! `'connector' = 'datagen'`: rows that are made up, with Flink's options.
//!
//! `field.rs` reads what is said of a field, `make.rs` turns it into something that makes columns, `scalar.rs` and
//! `nested.rs` have the kinds of values, `random.rs` what they are drawn from.

mod field;
mod make;
mod nested;
mod random;
mod scalar;

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use updraft_dataflow::connector::{AnySink, AnySource, Column, Connector, OptionSpec, Scan, Table};
use updraft_dataflow::{Batch, Error, Partition, Place, Progress, Rows, Source};
use updraft_kernel::clock;

use super::options;
use crate::pace::Pace;
use field::Knobs;
use make::{Make, Span};

/// Rows a second unless said otherwise, as in Flink.
const RATE: f64 = 10_000.0;

/// Rows that follow each other in a partition, where there are several.
const BLOCK: u64 = 1_024;

/// Rows of a batch at most.
const BATCH: usize = 8_192;

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;

/// The connector. A row depends on its number, the options and the `seed` alone, so runs are equal (Flink's are not); but
/// times are of the clock unless there is a `start-time`.
///
/// | option | |
/// |---|---|
/// | `rows-per-second` | 10000 unless said otherwise |
/// | `number-of-rows` | without end, unless said otherwise |
/// | `scan.parallelism` | partitions: 1 unless said otherwise. Rows are the same, in another order |
/// | `seed` | 0 unless said otherwise: another one gives other rows |
/// | `start-time` | `2020-01-01 00:00:00`: the time of the first row, instead of the clock; later ones follow at `rows-per-second` |
/// | `fields.NAME.kind` | `random`, or `sequence`, which ends the table |
/// | `fields.NAME.min`, `.max` | of random numbers, both included; by default the type's ends, but from 0 for floats and decimals |
/// | `fields.NAME.start`, `.end` | of a sequence, both included |
/// | `fields.NAME.length` | of text and bytes (100), of arrays and maps (3) |
/// | `fields.NAME.var-len` | `true`: text and bytes of 1 to `length` |
/// | `fields.NAME.max-past` | timestamps are before now by so much at most: `1 min`; 0 unless said otherwise |
/// | `fields.NAME.null-rate` | the share of nulls, from 0 to 1 |
///
/// What is within others has options, too: `fields.NAME.element.…` of arrays, `fields.NAME.key.…` and `.value.…` of maps,
/// `fields.NAME.FIELD.…` of rows. Equal keys of a map become one, so it may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Datagen;

impl Connector for Datagen {
    fn name(&self) -> &'static str {
        "datagen"
    }

    fn options(&self) -> Vec<OptionSpec> {
        vec![
            OptionSpec { name: "rows-per-second", about: "Rows a second; 10000 by default." },
            OptionSpec { name: "number-of-rows", about: "Rows in all; without end by default." },
            OptionSpec { name: "scan.parallelism", about: "Partitions; 1 by default." },
            OptionSpec { name: "seed", about: "Another one gives other rows; 0 by default." },
            OptionSpec { name: "start-time", about: "The time of the first row; by default times are of the clock." },
            OptionSpec {
                name: "fields.*",
                about: "Of a field: kind, min, max, max-past, length, var-len, start, end, null-rate.",
            },
        ]
    }

    fn is_bounded(&self, table: &Table) -> bool {
        table.options.get("number-of-rows").is_some()
            || table.options.iter().any(|(name, value)| {
                name.starts_with("fields.") && name.ends_with(".kind") && value.eq_ignore_ascii_case("sequence")
            })
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        Ok(AnySource::new(Plan::new(self, table, scan)?))
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        Err(super::not_writable(table, self.name()))
    }
}

/// A table that is going to be made up.
struct Plan {
    /// Of the rows that are given.
    schema: SchemaRef,
    columns: Arc<[Make]>,
    batch: usize,
    rate: f64,
    end: u64,
    partitions: u64,
    start: Option<i64>,
}

impl Plan {
    fn new(connector: &Datagen, table: &Table, scan: &Scan) -> Result<Self, Error> {
        let options = &table.options;
        let knobs = Knobs::new(options);
        let seed = options.parse("seed", "a whole number")?.unwrap_or(0);
        let made: Vec<_> =
            table.schema.fields().iter().map(|field| make::column(&knobs, field, seed)).collect::<Result<_, _>>()?;
        knobs.check(&table.name)?;
        let sequences = made.iter().filter_map(|(_, rows)| *rows).min().unwrap_or(u64::MAX);
        let rows = options.parse("number-of-rows", "a number of rows")?.unwrap_or(u64::MAX);
        if table.bounded && !connector.is_bounded(table) {
            let remedy = "give its 'number-of-rows', or a field whose 'kind' is 'sequence'";
            return Err(format!("table `{}` has no end, but the job is to end: {remedy}", table.name).into());
        }
        let wanted = |column: &Column| match column {
            Column::Physical(index) => Ok(made[*index].0.clone()),
            Column::Metadata(key) => Err(format!("'datagen' has no metadata '{key}'")),
        };
        Ok(Self {
            schema: scan.schema.clone(),
            columns: scan.columns.iter().map(wanted).collect::<Result<_, _>>()?,
            batch: scan.batch.clamp(1, BATCH),
            rate: options.parse("rows-per-second", "a number of rows")?.unwrap_or(RATE),
            end: rows.min(sequences),
            partitions: options::at_least_one(options, "scan.parallelism")?.unwrap_or(1),
            start: options::time(options, "start-time")?,
        })
    }
}

impl Source for Plan {
    type Item = Rows;
    type Partition = Rowmaker;

    fn open(self) -> Result<Vec<Rowmaker>, Error> {
        Pace::check(Some(self.rate))?;
        let plan = Arc::new(self);
        let share = plan.rate / plan.partitions as f64;
        let open = |index| Rowmaker { plan: plan.clone(), pace: Pace::new(share), next: index * BLOCK };
        Ok((0..plan.partitions).map(open).collect())
    }
}

/// Every so manieth block of rows.
struct Rowmaker {
    plan: Arc<Plan>,
    pace: Pace,
    next: u64,
}

impl Rowmaker {
    /// How many rows follow each other here.
    fn run(&self) -> usize {
        let left = self.plan.end.saturating_sub(self.next);
        let block = if self.plan.partitions == 1 { left } else { BLOCK - self.next % BLOCK };
        usize::try_from(left.min(block)).unwrap_or(usize::MAX).min(self.plan.batch)
    }

    fn make(&self, rows: usize) -> Result<RecordBatch, Error> {
        let interval = SECOND / self.plan.rate;
        let times = match self.plan.start {
            Some(start) => (start.saturating_add((self.next as f64 * interval) as i64), interval),
            None => (i64::try_from(clock::wall().as_nanos()).unwrap_or(i64::MAX), 0.0),
        };
        let span = Span::new(self.next, rows, times);
        let columns = self.plan.columns.iter().map(|make| make(&span)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.plan.schema.clone(), columns, &options)?)
    }
}

impl Partition for Rowmaker {
    type Item = Rows;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<Rows>>, Error> {
        let run = self.run();
        if run == 0 {
            return Ok(None);
        }
        let rows = self.pace.take(run).await;
        let batch = self.make(rows)?;
        self.next += rows as u64;
        if self.next.is_multiple_of(BLOCK) {
            self.next = self.next.saturating_add((self.plan.partitions - 1) * BLOCK);
        }
        Ok(Some(vec![batch.into()].into()))
    }

    fn position(&self) -> String {
        format!("datagen:{}", self.next)
    }

    fn place(&self) -> Option<Place> {
        Some(self.next.into())
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.next = serde_json::from_value(place)?;
        Ok(())
    }

    fn progress(&self) -> Option<Progress> {
        let whole = self.plan.end;
        (whole < u64::MAX).then(|| Progress { read: self.next.min(whole), whole })
    }
}
