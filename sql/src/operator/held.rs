//! [`Held`]: rows that wait for the watermark, in the order in which they will go on.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use updraft_dataflow::{Hashed, Time};

use super::codec::Codec;
use super::order::{Order, SortColumn};
use super::times::micros;

/// Rows by time, then by what else they are ordered by, then by arrival.
pub(crate) struct Held {
    schema: SchemaRef,
    time: usize,
    order: Order,
    whole: Codec,
    rows: BTreeMap<(i64, Box<[u8]>, u64), (u64, Box<[u8]>)>,
    arrived: u64,
    bytes: usize,
}

/// Rows that have waited long enough.
pub(crate) struct Released {
    pub(crate) rows: RecordBatch,
    pub(crate) hashes: Vec<u64>,
    /// Microseconds.
    pub(crate) times: Vec<i64>,
}

impl Held {
    pub(crate) fn new(schema: SchemaRef, time: usize, then: &[SortColumn]) -> Result<Self> {
        let (order, whole) = (Order::new(&schema, then)?, Codec::whole(&schema)?);
        Ok(Self { schema, time, order, whole, rows: BTreeMap::new(), arrived: 0, bytes: 0 })
    }

    pub(crate) fn add(&mut self, hashed: &Hashed) -> Result<()> {
        let batch = hashed.rows.batch();
        let times = micros(batch.column(self.time))?;
        let (order, whole) = (self.order.encode(batch)?, self.whole.encode(batch.columns())?);
        for (row, time) in times.into_iter().enumerate() {
            let key = (time, order.row(row).into(), self.arrived);
            self.arrived += 1;
            self.bytes += bytes_of(order.row(row), whole.row(row));
            self.rows.insert(key, (hashed.hashes[row], whole.row(row).into()));
        }
        Ok(())
    }

    /// The rows before the watermark.
    pub(crate) fn release(&mut self, watermark: Time) -> Result<Released> {
        let waiting = match watermark {
            Time::MAX => BTreeMap::new(),
            Time(watermark) => self.rows.split_off(&(watermark, Box::default(), 0)),
        };
        let rows = std::mem::replace(&mut self.rows, waiting);
        self.bytes -= rows.iter().map(|((_, order, _), (_, row))| bytes_of(order, row)).sum::<usize>();
        let columns = self.whole.decode(rows.values().map(|(_, row)| &**row))?;
        let (times, hashes) = rows.iter().map(|((time, ..), (hash, _))| (*time, *hash)).unzip();
        Ok(Released { rows: RecordBatch::try_new(self.schema.clone(), columns)?, hashes, times })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(order: &[u8], row: &[u8]) -> usize {
    order.len() + row.len() + size_of::<((i64, Box<[u8]>, u64), (u64, Box<[u8]>))>()
}
