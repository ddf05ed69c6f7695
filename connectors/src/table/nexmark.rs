//! `'connector' = 'nexmark'`: the auction of the public Nexmark benchmark, with the options of its connector for Flink.
//!
//! The events are those of [`crate::nexmark`], made straight into columns.

use arrow_schema::SchemaRef;
use updraft_dataflow::connector::{AnySink, AnySource, Column, Connector, OptionSpec, Options, Scan, Table};
use updraft_dataflow::{Error, Time};

use super::options;
use crate::nexmark::Nexmark as Events;
use crate::nexmark::columns::{self, NexmarkColumns};
use crate::nexmark::world::{Mix, STANDARD};

/// Events a second of event time unless said otherwise.
const RATE: f64 = 10_000.0;

/// The connector. Its table may be declared without columns; those that are declared must be among `event_type INT`,
/// `person ROW<…>`, `auction ROW<…>` and `bid ROW<…>` of the benchmark, with some of their fields.
///
/// | option | |
/// |---|---|
/// | `events.num` | events in all; 0, the default: without end |
/// | `stop-at` | ends after so many, as if there were no more |
/// | `keep-alive` | `true`: does not end with its events |
/// | `first-event.rate` | events a second of event time; 10000 unless said otherwise |
/// | `next-event.rate` | the same again: rates do not change |
/// | `rate.limited` | `true`: no faster than that by the clock, too, and event time is the calendar's. So does `max-emit-speed` = `false` |
/// | `rate.shape`, `rate.period` | of no effect, as in the benchmark where the rates are the same |
/// | `person.proportion`, `auction.proportion`, `bid.proportion` | 1, 3 and 46 unless said otherwise |
/// | `person.avg-size`, `auction.avg-size`, `bid.avg-size` | bytes of a record: `200b`, `500b` and `100b` unless said otherwise |
/// | `bid.hot-ratio.auctions`, `bid.hot-ratio.bidders`, `auction.hot-ratio.sellers` | all but one in so many concern a hot one; 2, 4 and 4 unless said otherwise |
///
/// Ours are:
///
/// | option | |
/// |---|---|
/// | `start-time` | of the first event; `2015-07-15 00:00:00` unless said otherwise, so that runs are equal |
/// | `disorder` | the share of events that come after some that they should come before; 0 unless said otherwise |
/// | `disorder.max` | by how much event time at most; `1 s` unless said otherwise |
/// | `scan.parallelism` | partitions; 1 unless said otherwise, which keeps events in order |
///
/// Not all of the stream need be of one kind to be fast: a column, or a field of one, that no query asks for is not made.
#[derive(Clone, Copy, Debug)]
pub struct Nexmark;

const OPTIONS: &[(&str, &str)] = &[
    ("events.num", "Events in all; 0, the default: without end."),
    ("stop-at", "Ends after so many events; -1, the default: does not."),
    ("keep-alive", "Whether to go on without events at the end; false by default."),
    ("first-event.rate", "Events a second of event time; 10000 by default."),
    ("next-event.rate", "The same as first-event.rate: rates do not change."),
    ("rate.limited", "Whether to keep to the rate by the clock, too; false by default."),
    ("max-emit-speed", "false: keeps to the rate by the clock; true by default."),
    ("rate.shape", "SQUARE or SINE; of no effect where the rates are the same."),
    ("rate.period", "The period of the shape; of no effect where the rates are the same."),
    ("person.proportion", "People in a cycle of events; 1 by default."),
    ("auction.proportion", "Auctions in a cycle of events; 3 by default."),
    ("bid.proportion", "Bids in a cycle of events; 46 by default."),
    ("person.avg-size", "Bytes of a person; 200b by default."),
    ("auction.avg-size", "Bytes of an auction; 500b by default."),
    ("bid.avg-size", "Bytes of a bid; 100b by default."),
    ("bid.hot-ratio.auctions", "All but one in so many bids are for a hot auction; 2 by default."),
    ("bid.hot-ratio.bidders", "All but one in so many bids are by a hot bidder; 4 by default."),
    ("auction.hot-ratio.sellers", "All but one in so many auctions are by a hot seller; 4 by default."),
    ("start-time", "The time of the first event; 2015-07-15 00:00:00 by default."),
    ("disorder", "The share of events that come too late; 0 by default."),
    ("disorder.max", "By how much event time they do at most; 1 s by default."),
    ("scan.parallelism", "Partitions; 1 by default."),
];

impl Connector for Nexmark {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.iter().map(|(name, about)| OptionSpec { name, about }).collect()
    }

    fn infer(&self, _: &Table) -> Result<SchemaRef, Error> {
        Ok(columns::SCHEMA.clone())
    }

    fn is_bounded(&self, table: &Table) -> bool {
        let stays = options::flag(&table.options, "keep-alive").ok().flatten().unwrap_or(false);
        !stays && count(&table.options).is_ok_and(|count| count.is_some())
    }

    fn source(&self, table: &Table, scan: &Scan) -> Result<AnySource, Error> {
        columns::check(&table.schema).map_err(|error| format!("table `{}`: {error}", table.name))?;
        if let Some(Column::Metadata(key)) = scan.columns.iter().find(|column| matches!(column, Column::Metadata(_))) {
            return Err(format!("'nexmark' has no metadata '{key}'").into());
        }
        if table.bounded && !self.is_bounded(table) {
            let remedy = "give 'events.num', and no 'keep-alive'";
            return Err(format!("table `{}` has no end, but the job is to end: {remedy}", table.name).into());
        }
        let (nexmark, options) = (events(&table.options)?, &table.options);
        let stays = options::flag(options, "keep-alive")?.unwrap_or(false);
        let source = NexmarkColumns { nexmark, schema: scan.schema.clone(), batch: scan.batch, stays };
        Ok(AnySource::new(source))
    }

    fn sink(&self, table: &Table) -> Result<AnySink, Error> {
        Err(super::not_writable(table, self.name()))
    }
}

/// How many events there are; `None`: no end.
fn count(options: &Options) -> Result<Option<u64>, Error> {
    let events = options.parse("events.num", "a number of events")?.filter(|events: &u64| *events > 0);
    let stop: Option<i64> = options.parse("stop-at", "a number of events, or -1")?;
    let stop = stop.and_then(|stop| u64::try_from(stop).ok());
    Ok([events, stop].into_iter().flatten().min())
}

fn events(options: &Options) -> Result<Events, Error> {
    let mut events = Events::new().count(count(options)?.unwrap_or(u64::MAX));
    if let Some(partitions) = options::at_least_one(options, "scan.parallelism")? {
        events = events.partitions(partitions as usize);
    }
    if let Some(ratio) = options::at_least_one(options, "bid.hot-ratio.auctions")? {
        events = events.hot_auctions(ratio);
    }
    if let Some(ratio) = options::at_least_one(options, "bid.hot-ratio.bidders")? {
        events = events.hot_bidders(ratio);
    }
    if let Some(ratio) = options::at_least_one(options, "auction.hot-ratio.sellers")? {
        events = events.hot_sellers(ratio);
    }
    let share = options::share(options, "disorder")?.unwrap_or(0.0);
    let most = options::duration(options, "disorder.max")?;
    if share > 0.0 {
        events = events.disorder(share, most.unwrap_or(std::time::Duration::from_secs(1)));
    }
    events = at_rate(events, options)?;
    events.world.mix = mix(options)?;
    let sizes = &mut events.world.sizes;
    sizes.person = options::bytes(options, "person.avg-size")?.unwrap_or(sizes.person);
    sizes.auction = options::bytes(options, "auction.avg-size")?.unwrap_or(sizes.auction);
    sizes.bid = options::bytes(options, "bid.avg-size")?.unwrap_or(sizes.bid);
    Ok(events)
}

/// `events` as fast as they are to be, by event time and by the clock.
fn at_rate(mut events: Events, options: &Options) -> Result<Events, Error> {
    let rate = |name| options.parse::<f64>(name, "a number of events a second");
    let first = rate("first-event.rate")?.unwrap_or(RATE);
    if !(first > 0.0 && first <= 1e9) {
        return Err(format!("option 'first-event.rate' = '{first}': not from 1 to a billion events a second").into());
    }
    if rate("next-event.rate")?.is_some_and(|next| next != first) {
        return Err(format!("option 'next-event.rate': rates do not change here, give it '{first}' too").into());
    }
    if let Some(shape) = options.get("rate.shape")
        && !["square", "sine"].contains(&shape.to_lowercase().as_str())
    {
        return Err(format!("option 'rate.shape' = '{shape}': neither SQUARE nor SINE").into());
    }
    options::duration(options, "rate.period")?;
    events.world.interval = 1e9 / first;
    if let Some(start) = options::time(options, "start-time")? {
        events = events.start(Time(start.div_euclid(1_000)));
    }
    let limited = options::flag(options, "rate.limited")?.unwrap_or(false);
    let full_speed = options::flag(options, "max-emit-speed")?.unwrap_or(true);
    Ok(if limited || !full_speed { events.rate(first) } else { events })
}

/// Another mix of events than the standard one.
fn mix(options: &Options) -> Result<Option<Mix>, Error> {
    let part = |name, default| -> Result<u64, Error> {
        let part: u32 = options.parse(name, "a number of events")?.unwrap_or(default as u32);
        Ok(u64::from(part))
    };
    let people = part("person.proportion", STANDARD.people)?;
    let auctions = part("auction.proportion", STANDARD.auctions)?;
    let bids = part("bid.proportion", STANDARD.bids)?;
    let mix = Mix { people, auctions, bids };
    if mix.cycle() == 0 {
        return Err("'person.proportion', 'auction.proportion' and 'bid.proportion' are all 0: one must not be".into());
    }
    Ok((mix != STANDARD).then_some(mix))
}
