//! This project, through SQL: the Nexmark queries over the same records, as columns that lie in memory.
//!
//! Checksums are those of the other engines: rows that come add to them, rows that go are taken off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ::updraft::Job;
use ::updraft::connectors::collect::Collect;
use ::updraft::connectors::table::registry;
use ::updraft::dataflow::connector::{AnySink, AnySource, Column, Connector, OptionSpec, Scan, Table};
use ::updraft::dataflow::{Batch, Bundle, Error, Partition, RowKind, Rows, Source};
use ::updraft::sql::Session;
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};

use super::nexmark::queries::{Session as Visit, digest_bid, digest_new_seller, digest_session, digest_statistics};
use super::updraft::execute;
use crate::Workload;
use crate::data::nexmark::Event;
use crate::data::{Bid, Data, digest_hot};

/// Rows of a batch.
const BATCH: usize = 8192;

/// The columns of bids.
const BIDS: [&str; 3] = ["auction", "bidder", "price"];
/// The columns of people and auctions: what kind it is (0: a person, 1: an auction), its number, and who sells.
const SELLERS: [&str; 3] = ["kind", "id", "seller"];

/// What a query's rows add to the checksum: of their columns, times in microseconds, and of what rows do.
type Digest = fn(&[&[i64]], Option<&[RowKind]>) -> u64;

/// The checksum of the result; `None` where there is no such query.
pub(super) fn run(workload: Workload, data: &Data, threads: usize) -> Option<u64> {
    let (delay, query, digest) = query(workload)?;
    let job = Job::new("sql");
    let session = Session::new(registry().with(Prepared(columns(workload, data)?)));
    let mut sql = session.embed(&job);
    let columns = if let Data::Sellers(_) = data { SELLERS } else { BIDS };
    let columns = columns.map(|column| format!("{column} BIGINT, ")).concat();
    let tables = format!(
        "CREATE TABLE events ({columns} ts TIMESTAMP(6), WATERMARK FOR ts AS ts - INTERVAL '{delay}' SECOND)
             WITH ('connector' = 'prepared');
         CREATE VIEW arrivals AS SELECT *, PROCTIME() AS p_time FROM events;
         CREATE VIEW person AS SELECT id, ts FROM events WHERE kind = 0;
         CREATE VIEW auction AS SELECT seller, ts FROM events WHERE kind = 1;"
    );
    let tables =
        if let Data::Sellers(_) = data { tables.as_str() } else { tables.split("CREATE VIEW person").next()? };
    sql.execute(tables).expect("the tables are right");
    let (sink, total) = Collect::new();
    let add = |total: &mut u64, other: u64| *total = total.wrapping_add(other);
    let rows = sql.query(query).expect("the query is right");
    rows.fold(0_u64, move |total, rows: Rows| add(total, checksum(&rows, digest)), add).sink("total", sink);
    Some(execute(job, total, threads))
}

/// By how many seconds events are late at most, a query, and what its rows add to the checksum.
fn query(workload: Workload) -> Option<(&'static str, &'static str, Digest)> {
    Some(match workload {
        Workload::Q1 => ("0", "SELECT auction, bidder, price * 908 / 1000, ts FROM events", |columns, kinds| {
            sum(columns, kinds, |[auction, _, price, _]| price as u64 ^ auction as u64)
        }),
        Workload::Q2 => ("0", "SELECT auction, price FROM events WHERE MOD(auction, 123) = 0", |columns, kinds| {
            sum(columns, kinds, |[auction, price]| price as u64 ^ auction as u64)
        }),
        Workload::Q5 => ("0", include_str!("sql/q5.sql"), |columns, kinds| {
            sum(columns, kinds, |[end, auction, count]| digest_hot(end, auction as u64, count as u64))
        }),
        Workload::Q7 => ("0.1", include_str!("sql/q7.sql"), |columns, kinds| {
            sum(columns, kinds, |[time, auction, bidder, price]| {
                digest_bid(Bid { time, auction: auction as u64, bidder: bidder as u64, price: price as u64 })
            })
        }),
        Workload::Q8 => ("0.1", include_str!("sql/q8.sql"), |columns, kinds| {
            sum(columns, kinds, |[id, window]| digest_new_seller((window, id as u64)))
        }),
        Workload::Q11 => ("0.1", include_str!("sql/q11.sql"), |columns, kinds| {
            sum(columns, kinds, |[bidder, count, first, last]| {
                digest_session(Visit { bidder: bidder as u64, first, last, count: count as u64 })
            })
        }),
        Workload::Q12 => {
            ("0.1", include_str!("sql/q12.sql"), |columns, kinds| sum(columns, kinds, |[_, count, _, _]| count as u64))
        }
        Workload::Q17 => ("0.1", include_str!("sql/q17.sql"), |columns, kinds| {
            sum(columns, kinds, |row: [i64; 8]| digest_statistics(&row))
        }),
        _ => return None,
    })
}

/// Rows that come add to the sum, rows that go are taken off.
fn sum<const N: usize>(columns: &[&[i64]], kinds: Option<&[RowKind]>, digest: impl Fn([i64; N]) -> u64) -> u64 {
    let columns: [&[i64]; N] = columns.try_into().expect("as many columns as the digest wants");
    let digest = |row: usize| digest(std::array::from_fn(|column| columns[column][row]));
    let rows = 0..columns[0].len();
    match kinds {
        None => rows.fold(0, |total, row| total.wrapping_add(digest(row))),
        Some(kinds) => {
            rows.fold(0, |total, row| total.wrapping_add(digest(row).wrapping_mul(kinds[row].weight() as u64)))
        }
    }
}

fn checksum(rows: &Rows, digest: Digest) -> u64 {
    let columns: Vec<ArrayRef> = rows.batch().columns().iter().map(numbers).collect();
    let columns: Vec<&[i64]> = columns.iter().map(|column| &**column.as_primitive::<Int64Type>().values()).collect();
    digest(&columns, rows.kinds())
}

/// A column as numbers; of times, microseconds.
fn numbers(column: &ArrayRef) -> ArrayRef {
    let cast = |column: &ArrayRef, to: &DataType| cast(column, to).expect("a number or a time");
    match column.data_type() {
        DataType::Timestamp(..) => {
            cast(&cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None)), &DataType::Int64)
        }
        _ => cast(column, &DataType::Int64),
    }
}

/// The records as columns: made once for a workload.
fn columns(workload: Workload, data: &Data) -> Option<Arc<[Rows]>> {
    static MADE: OnceLock<Mutex<HashMap<String, Arc<[Rows]>>>> = OnceLock::new();
    let made = &mut *MADE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let name = format!("{workload:?}");
    if !made.contains_key(&name) {
        made.clear();
        let batches = match data {
            Data::Bids(bids) => bids.chunks(BATCH).map(bids_as_rows).collect(),
            Data::Sellers(sellers) => sellers.all.chunks(BATCH).map(sellers_as_rows).collect(),
            _ => return None,
        };
        made.insert(name.clone(), batches);
    }
    made.get(&name).cloned()
}

fn bids_as_rows(bids: &[Bid]) -> Rows {
    let numbers = [|bid: &Bid| bid.auction, |bid: &Bid| bid.bidder, |bid: &Bid| bid.price];
    let numbers = numbers.map(|number| bids.iter().map(|bid| number(bid) as i64).collect::<Vec<_>>());
    as_rows(&BIDS, numbers, bids.iter().map(|bid| bid.time).collect())
}

fn sellers_as_rows(events: &[Event]) -> Rows {
    let parts = events.iter().map(|event| match event {
        Event::Person(person) => (0, (person.id as i64, 0)),
        Event::Auction(auction) => (1, (auction.id as i64, auction.seller as i64)),
        Event::Bid(_) => unreachable!("there are no bids"),
    });
    let (kinds, (ids, sellers)): (Vec<_>, (Vec<_>, Vec<_>)) = parts.unzip();
    as_rows(&SELLERS, [kinds, ids, sellers], events.iter().map(Event::time).collect())
}

fn as_rows(names: &[&str], numbers: [Vec<i64>; 3], times: Vec<i64>) -> Rows {
    let time = Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true);
    let fields = names.iter().map(|name| Field::new(*name, DataType::Int64, true)).chain([time]);
    let mut columns: Vec<ArrayRef> = Vec::new();
    columns.extend(numbers.map(|numbers| Arc::new(Int64Array::from(numbers)) as ArrayRef));
    columns.push(Arc::new(TimestampMicrosecondArray::from(times)));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns).expect("as many rows in each column").into()
}

/// The connector of rows that lie in memory.
#[derive(Debug)]
struct Prepared(Arc<[Rows]>);

impl Connector for Prepared {
    fn name(&self) -> &'static str {
        "prepared"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn source(&self, _: &Table, scan: &Scan) -> Result<AnySource, Error> {
        let column = |column: &Column| if let Column::Physical(index) = column { Some(*index) } else { None };
        let columns = scan.columns.iter().filter_map(column).collect();
        Ok(AnySource::new(Reading { rows: self.0.clone(), columns, at: 0 }))
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        Err(format!("table {} cannot be written", table.name).into())
    }
}

/// Some columns of rows in memory.
struct Reading {
    rows: Arc<[Rows]>,
    columns: Vec<usize>,
    at: usize,
}

impl Source for Reading {
    type Item = Rows;
    type Partition = Self;

    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl Partition for Reading {
    type Item = Rows;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<Rows>>, Error> {
        let Some(rows) = self.rows.get(self.at) else { return Ok(None) };
        self.at += 1;
        let rows = Rows::from(rows.batch().project(&self.columns)?);
        Ok(Some(Bundle::from(vec![rows]).into()))
    }

    fn position(&self) -> String {
        format!("batch {}", self.at)
    }
}
