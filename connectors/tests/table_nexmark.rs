//! Nexmark as a table: the same events as the records, the benchmark's options, and only what is asked for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Schema};
use support::{read, read_parts};
use tables::{all, batches, error, lines, scan, table};
use updraft_connectors::nexmark::{Auction, Bid, Event, Person};
use updraft_connectors::table::Nexmark;
use updraft_dataflow::Time;
use updraft_dataflow::connector::{Column, Connector, Scan, Table};

/// The table without declared columns.
fn events(options: &[(&str, &str)]) -> Table {
    let undeclared = table(Arc::new(Schema::empty()), options);
    Table { schema: Nexmark.infer(&undeclared).unwrap(), ..undeclared }
}

fn long(row: &StructArray, field: &str, at: usize) -> u64 {
    row.column_by_name(field).unwrap().as_primitive::<Int64Type>().value(at) as u64
}

fn text(row: &StructArray, field: &str, at: usize) -> String {
    row.column_by_name(field).unwrap().as_string_view().value(at).to_owned()
}

fn time(row: &StructArray, field: &str, at: usize) -> Time {
    Time::from_millis(row.column_by_name(field).unwrap().as_primitive::<TimestampMillisecondType>().value(at))
}

fn person(row: &StructArray, at: usize) -> Event {
    Event::Person(Person {
        id: long(row, "id", at),
        name: text(row, "name", at),
        email_address: text(row, "emailAddress", at),
        credit_card: text(row, "creditCard", at),
        city: text(row, "city", at),
        state: text(row, "state", at),
        date_time: time(row, "dateTime", at),
        extra: text(row, "extra", at),
    })
}

fn auction(row: &StructArray, at: usize) -> Event {
    Event::Auction(Auction {
        id: long(row, "id", at),
        item_name: text(row, "itemName", at),
        description: text(row, "description", at),
        initial_bid: long(row, "initialBid", at),
        reserve: long(row, "reserve", at),
        date_time: time(row, "dateTime", at),
        expires: time(row, "expires", at),
        seller: long(row, "seller", at),
        category: long(row, "category", at),
        extra: text(row, "extra", at),
    })
}

fn bid(row: &StructArray, at: usize) -> Event {
    Event::Bid(Bid {
        auction: long(row, "auction", at),
        bidder: long(row, "bidder", at),
        price: long(row, "price", at),
        channel: text(row, "channel", at),
        url: text(row, "url", at),
        date_time: time(row, "dateTime", at),
        extra: text(row, "extra", at),
    })
}

/// The events of a table of all columns; where there is one, the other kinds' columns are null, and so are their fields.
fn of_columns(batch: &RecordBatch) -> Vec<Event> {
    let kinds = batch.column(0).as_primitive::<Int32Type>();
    let [people, auctions, bids] = [1, 2, 3].map(|column| batch.column(column).as_struct());
    let event = |at: usize| {
        for (kind, row) in [people, auctions, bids].into_iter().enumerate() {
            let is_other = kinds.value(at) != kind as i32;
            assert_eq!(row.is_null(at), is_other);
            assert!(row.columns().iter().all(|field| field.is_null(at) == is_other));
        }
        match kinds.value(at) {
            0 => person(people, at),
            1 => auction(auctions, at),
            _ => bid(bids, at),
        }
    };
    (0..batch.num_rows()).map(event).collect()
}

/// Times as columns have them.
fn in_millis(event: Event) -> Event {
    let cut = |time: Time| Time::from_millis(time.as_millis());
    match event {
        Event::Person(person) => Event::Person(Person { date_time: cut(person.date_time), ..person }),
        Event::Auction(auction) => {
            let (date_time, expires) = (cut(auction.date_time), cut(auction.expires));
            Event::Auction(Auction { date_time, expires, ..auction })
        }
        Event::Bid(bid) => Event::Bid(Bid { date_time: cut(bid.date_time), ..bid }),
    }
}

#[test]
fn columns_are_the_events_of_the_records() {
    let records = updraft_connectors::Nexmark::new().count(20_000).hot_auctions(5).hot_bidders(2).hot_sellers(9);
    let want: Vec<_> = read(records, 1_000).unwrap().records.into_iter().map(in_millis).collect();
    let ratios = [("bid.hot-ratio.auctions", "5"), ("bid.hot-ratio.bidders", "2"), ("auction.hot-ratio.sellers", "9")];
    let options = [&[("events.num", "20000"), ("first-event.rate", "10000")][..], &ratios].concat();
    let found = of_columns(&all(&Nexmark, &events(&options)));
    assert_eq!(found.len(), want.len());
    for (at, (found, want)) in found.iter().zip(&want).enumerate() {
        assert_eq!(found, want, "event {at}");
    }
}

#[test]
fn partitions_and_disorder_are_those_of_the_records() {
    let records =
        updraft_connectors::Nexmark::new().count(10_000).partitions(3).disorder(0.2, Duration::from_millis(50));
    let want = read_parts(records, 1_000).unwrap();
    let options = [("events.num", "10000"), ("scan.parallelism", "3"), ("disorder", "0.2"), ("disorder.max", "50 ms")];
    let table = events(&options);
    let parts = read_parts(Nexmark.source(&table, &scan(&table)).unwrap(), 10).unwrap();
    assert_eq!(parts.len(), 3);
    for (part, want) in parts.iter().zip(want) {
        let found: Vec<_> = part.records.iter().flat_map(|rows| of_columns(rows.batch())).collect();
        assert_eq!(found, want.records.into_iter().map(in_millis).collect::<Vec<_>>());
    }
}

#[test]
fn that_share_of_events_is_late_and_not_by_more() {
    let source = updraft_connectors::Nexmark::new().count(100_000).disorder(0.2, Duration::from_secs(1));
    let events = read(source.without_text(), 1_000).unwrap().records;
    let (mut high, mut late) = (Time::MIN, 0);
    for event in &events {
        high = high.max(event.time());
        late += usize::from(event.time() < high);
        assert!(event.time() + Duration::from_secs(1) >= high);
    }
    let share = late as f64 / events.len() as f64;
    assert!((0.18..0.21).contains(&share), "{share}");
    let mut times: Vec<_> = events.iter().map(Event::time).collect();
    times.sort();
    let in_order = read(updraft_connectors::Nexmark::new().count(100_000).without_text(), 1_000).unwrap().records;
    assert_eq!(times, in_order.iter().map(Event::time).collect::<Vec<_>>());
}

#[test]
fn proportions_and_sizes_are_as_said() {
    let shares = [("person.proportion", "4"), ("auction.proportion", "0"), ("bid.proportion", "6")];
    let sizes = [("bid.avg-size", "1 kb"), ("person.avg-size", "0b")];
    let events = of_columns(&all(&Nexmark, &events(&[&[("events.num", "10000")][..], &shares, &sizes].concat())));
    let (mut people, mut letters) = (0, Vec::new());
    for event in events {
        match event {
            Event::Person(person) => {
                assert_eq!((person.id, person.extra.len()), (1_000 + people, 0));
                people += 1;
            }
            Event::Bid(bid) => letters.push(bid.extra.len()),
            Event::Auction(_) => panic!("no auction was asked for"),
        }
    }
    assert_eq!((people, letters.len()), (4_000, 6_000));
    let mean = letters.iter().sum::<usize>() / letters.len();
    assert!((970..1_010).contains(&mean), "{mean}");
}

#[test]
fn every_person_and_auction_has_an_id_of_its_own() {
    let shares = [("person.proportion", "3"), ("auction.proportion", "5"), ("bid.proportion", "7")];
    let events = of_columns(&all(&Nexmark, &events(&[&[("events.num", "15000")][..], &shares].concat())));
    let (mut people, mut auctions) = (1_000, 1_000);
    for event in events {
        match event {
            Event::Person(person) => {
                assert_eq!(person.id, people);
                people += 1;
            }
            Event::Auction(auction) => {
                assert_eq!(auction.id, auctions);
                assert!(auction.seller < people + 10);
                auctions += 1;
            }
            Event::Bid(bid) => assert!(bid.auction < auctions + 10 && bid.bidder < people + 11),
        }
    }
}

#[test]
fn a_column_of_some_fields_has_the_same_values() {
    let options = [("events.num", "5000")];
    let whole = events(&options);
    let base = all(&Nexmark, &whole);
    let part = |column: usize, names: &[&str]| {
        let DataType::Struct(fields) = whole.schema.field(column).data_type() else { panic!("no row") };
        let fields = names.iter().map(|name| fields.find(name).unwrap().1.clone()).collect();
        Field::new(whole.schema.field(column).name(), DataType::Struct(fields), true)
    };
    for (column, names) in [
        (1, vec!["id"]),
        (2, vec!["seller", "extra"]),
        (3, vec!["price", "auction"]),
        (3, vec!["extra", "dateTime"]),
        (3, vec!["url"]),
    ] {
        let schema = Arc::new(Schema::new(vec![part(column, &names)]));
        let scan = Scan { schema, columns: vec![Column::Physical(column)], batch: 333 };
        let found = batches(Nexmark.source(&whole, &scan).unwrap());
        let found: Vec<_> = found.iter().flat_map(lines).collect();
        let columns = names.iter().map(|name| base.column(column).as_struct().column_by_name(name).unwrap().clone());
        let DataType::Struct(fields) = scan.schema.field(0).data_type() else { panic!("no row") };
        let want = StructArray::new(fields.clone(), columns.collect(), base.column(column).nulls().cloned());
        let want = RecordBatch::try_new(scan.schema.clone(), vec![Arc::new(want)]).unwrap();
        assert_eq!(found, lines(&want), "{names:?}");
    }
}

#[test]
fn wrong_tables_and_options_are_told() {
    let of = |options: &[(&str, &str)]| error(&Nexmark, &events(options));
    assert!(of(&[("next-event.rate", "5")]).contains("give it '10000' too"));
    assert!(of(&[("first-event.rate", "0")]).contains("not from 1 to a billion"));
    assert!(
        of(&[("person.proportion", "0"), ("auction.proportion", "0"), ("bid.proportion", "0")]).contains("are all 0")
    );
    assert!(of(&[("disorder", "0.1"), ("disorder.max", "1 ns")]).contains("less than it takes to the next event"));
    assert!(of(&[("disorder", "0.1"), ("disorder.max", "10 days")]).contains("allow for less of it"));
    assert!(of(&[("rate.shape", "ROUND")]).contains("neither SQUARE nor SINE"));
    assert!(error(&Nexmark, &tables::bounded(events(&[]))).contains("give 'events.num'"));
    assert!(!Nexmark.is_bounded(&events(&[("events.num", "5"), ("keep-alive", "true")])));
    let odd = Arc::new(Schema::new(vec![Field::new("bids", DataType::Int64, true)]));
    assert!(error(&Nexmark, &table(odd, &[])).contains("there is no column `bids`"));
    let odd = Field::new("bid", DataType::Struct(vec![Field::new("price", DataType::Utf8View, true)].into()), true);
    let odd = table(Arc::new(Schema::new(vec![odd])), &[]);
    assert_eq!(error(&Nexmark, &odd), "table `t`: column `bid.price` is Utf8View, but in 'nexmark' it is Int64");
}

/// Run by hand, with optimisation: how many events a second a core makes.
#[test]
#[ignore = "a measurement"]
fn events_a_second() {
    let whole = events(&[("events.num", "5000000")]);
    let begun = updraft_kernel::clock::now();
    let parts = read(Nexmark.source(&whole, &Scan { batch: 8_192, ..scan(&whole) }).unwrap(), 1).unwrap();
    let seconds = updraft_kernel::clock::now().since(begun).as_secs_f64();
    let rows: usize = parts.records.iter().map(updraft_dataflow::Rows::len).sum();
    println!("{:.2} M events/s", rows as f64 / seconds / 1e6);
}
