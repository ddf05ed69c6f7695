//! [`Held`]: rows that wait for the watermark, in the order in which they will go on.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use serde::{Deserialize, Serialize};
use updraft_dataflow::{Error, Hashed, Saved, Snapshot, Time};

use super::codec::Codec;
use super::order::{Order, SortColumn};
use super::saved::{Packed, Pieces, Share, hashes_of};
use super::times::micros;

/// Rows by time, then by what else they are ordered by, then by arrival.
pub(crate) struct Held {
    schema: SchemaRef,
    time: usize,
    order: Order,
    whole: Codec,
    rows: BTreeMap<(i64, Box<[u8]>, u64), (u64, Box<[u8]>)>,
    /// What of them is saved; arrivals are rows.
    pieces: Pieces,
    /// Those before it have gone on.
    watermark: i64,
    bytes: usize,
}

/// Rows of a record, at most.
const ROWS: usize = 4096;

/// A record.
#[derive(Serialize, Deserialize)]
enum Record {
    /// Rows in order of arrival: hashes, and columns.
    Rows(Packed),
    /// Those before this time have gone on.
    Watermark(i64),
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
        let pieces = Pieces::default();
        Ok(Self { schema, time, order, whole, rows: BTreeMap::new(), pieces, watermark: i64::MIN, bytes: 0 })
    }

    pub(crate) fn add(&mut self, hashed: &Hashed) -> Result<()> {
        self.add_rows(hashed.rows.batch(), &hashed.hashes)
    }

    fn add_rows(&mut self, batch: &RecordBatch, hashes: &[u64]) -> Result<()> {
        let times = micros(batch.column(self.time))?;
        let (order, whole) = (self.order.encode(batch)?, self.whole.encode(batch.columns())?);
        for (row, time) in times.into_iter().enumerate() {
            let key = (time, order.row(row).into(), self.pieces.arrive(1, time));
            self.bytes += bytes_of(order.row(row), whole.row(row));
            self.rows.insert(key, (hashes[row], whole.row(row).into()));
        }
        Ok(())
    }

    /// The rows before the watermark.
    pub(crate) fn release(&mut self, watermark: Time) -> Result<Released> {
        self.watermark = self.watermark.max(watermark.0);
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

    /// Adds the rows to a snapshot. They are compared in all, but only those are written that came since the last time.
    pub(crate) fn save(&mut self, part: u8, share: Share, snapshot: &mut Snapshot) -> std::result::Result<(), Error> {
        if let Some((from, object)) = self.pieces.save(self.watermark, snapshot) {
            let new = self.rows.iter().filter(|((.., arrived), _)| *arrived >= from);
            let mut new: Vec<_> = new.map(|((.., arrived), (hash, row))| (*arrived, *hash, &**row)).collect();
            new.sort_unstable_by_key(|(arrived, ..)| *arrived);
            for rows in new.chunks(ROWS) {
                let mut columns = vec![hashes_of(rows.iter().map(|(_, hash, _)| *hash))];
                columns.extend(self.whole.decode(rows.iter().map(|(.., row)| *row))?);
                let rows = Packed::new(columns, rows.len())?;
                snapshot.add(object, share.groups(), &(part, Record::Rows(rows)))?;
                updraft_kernel::yield_point();
            }
        }
        snapshot.add_whole(share.groups(), &(part, Record::Watermark(self.watermark))).map(drop)
    }

    /// Takes a record back. The watermark is the last one.
    pub(crate) fn load(&mut self, share: Share, saved: &Saved) -> std::result::Result<(), Error> {
        match saved.read::<(u8, Record)>()?.1 {
            Record::Rows(packed) => {
                let (rows, hashes) = packed.own_rows(&self.schema, share)?;
                self.add_rows(&rows, &hashes)?;
                self.pieces.read(saved.object);
            }
            Record::Watermark(watermark) => drop(self.release(Time(watermark))?),
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(order: &[u8], row: &[u8]) -> usize {
    order.len() + row.len() + size_of::<((i64, Box<[u8]>, u64), (u64, Box<[u8]>))>()
}
