//! This project, through its high-level API alone.

use std::time::Duration;

use updraft::dataflow::keyed::{Context, Timer};
use updraft::dataflow::{Pipe, Record};
use updraft::prelude::*;

use super::queries::{
    Average, Averages, GAP, Lot, Seller, Suggestion, TICK, WINDOW, Winner, auction, digest_bid, digest_new_seller,
    digest_session, digest_statistics, digest_suggestion, seller,
};
use crate::Workload;
use crate::data::nexmark::{DELAY, Event};
use crate::data::{Bid, Data, SECOND};
use crate::engine::updraft::{checksum, execute};

/// Microseconds between two watermarks: ten thousand events, of all kinds.
const STEP: i64 = SECOND;
/// The same where there are people and auctions only.
const LONG_STEP: i64 = 10 * SECOND;
/// Microseconds of a day.
const DAY: i64 = 86_400 * SECOND;

pub(super) fn run(workload: Workload, data: &Data, threads: usize) -> Option<u64> {
    let job = Job::new("nexmark");
    let (total, job) = match (workload, data) {
        (Workload::Q3, Data::Sellers(sellers)) => {
            let events = timed(&job, Memory::new(sellers.all.clone()), Event::time, LONG_STEP);
            let wanted = events.filter(|event| seller(event).is_some());
            let suggestions = wanted.key_by(|event| seller(event).unwrap_or_default()).process(Suggest);
            checksum!(job, suggestions, digest_suggestion)
        }
        (Workload::Q4, Data::Offers(offers)) => {
            let winners = timed(&job, Memory::new(offers.clone()), Event::time, STEP)
                .key_by(|event| auction(event).unwrap_or_default())
                .process(Auctions);
            let averages = winners.key_by(|winner| winner.category).process(Mean);
            let (sink, last) = Collect::new();
            let merge = |all: &mut Averages, other: Averages| other.rows().for_each(|average| all.keep(average));
            averages.fold(Averages::default(), Averages::keep, merge).map(Averages::checksum).sink("last", sink);
            (last, job)
        }
        (Workload::Q7, Data::Bids(bids)) => {
            // Of equal prices the earlier bid.
            let rank = |bid: &Bid| (bid.price, -bid.time, bid.auction, bid.bidder);
            let highest = timed(&job, Memory::new(bids.clone()), |bid| bid.time, STEP)
                .window_all(Tumbling::of(micros(WINDOW)))
                .aggregate(max(rank));
            checksum!(job, highest, |row: Windowed<(), (u64, i64, u64, u64)>| {
                let (price, time, auction, bidder) = row.value;
                digest_bid(Bid { time: -time, auction, bidder, price })
            })
        }
        (Workload::Q8, Data::Sellers(sellers)) => {
            // A join in which a person counts once is an aggregate of both streams.
            let new = timed(&job, Memory::new(sellers.all.clone()), Event::time, LONG_STEP)
                .flat_map(newcomer)
                .key_by(|(id, _)| *id)
                .window(Tumbling::of(micros(WINDOW)))
                .aggregate(project(|(_, bit): &(u64, u8)| *bit, reduce(|bits: u8, bit: u8| bits | bit)))
                .filter(|row| row.value == COME | SELLS)
                .map(|row| (row.window.start.0, row.key));
            checksum!(job, new, digest_new_seller)
        }
        (Workload::Q9, Data::Offers(offers)) => {
            let winners = timed(&job, Memory::new(offers.clone()), Event::time, STEP)
                .key_by(|event| auction(event).unwrap_or_default())
                .process(Auctions);
            checksum!(job, winners, |winner: Winner| digest_bid(winner.bid))
        }
        (Workload::Q11, Data::Bids(bids)) => {
            let sessions = timed(&job, Memory::new(bids.clone()), |bid| bid.time, STEP)
                .key_by(|bid| bid.bidder)
                .window(Session::with_gap(micros(GAP)))
                .aggregate(count());
            checksum!(job, sessions, |row: Windowed<u64, u64>| {
                let (first, last) = (row.window.start.0, row.window.end.0 - GAP);
                digest_session(super::queries::Session { bidder: row.key, first, last, count: row.value })
            })
        }
        (Workload::Q12, Data::Bids(bids)) => {
            let counts = job
                .source("bids", Memory::new(bids.clone()))
                .epochs(Epochs::WallClock(TICK / 2))
                .stream_by_arrival()
                .key_by(|bid| bid.bidder)
                .window(Tumbling::of(TICK))
                .aggregate(count());
            checksum!(job, counts, |row: Windowed<u64, u64>| row.value)
        }
        (Workload::Q17, Data::Bids(bids)) => {
            let reports = timed(&job, Memory::new(bids.clone()), |bid| bid.time, STEP)
                .key_by(|bid| (bid.auction, bid.time.div_euclid(DAY)))
                .process(Report);
            checksum!(job, reports, |(before, after): (u64, u64)| after.wrapping_sub(before))
        }
        _ => return None,
    };
    Some(execute(job, total, threads))
}

fn micros(span: i64) -> Duration {
    Duration::from_micros(span as u64)
}

fn timed<T: Record, F: Fn(&T) -> i64 + Clone + Send + Sync + 'static>(
    job: &Job,
    records: Memory<T>,
    time: F,
    step: i64,
) -> Stream<T, impl Pipe<T, Out = T> + use<T, F>> {
    job.source("events", records)
        .timestamps(move |record: &T| Time(time(record)), Watermarks::bounded(micros(DELAY)))
        .epochs(Epochs::WatermarkStep(micros(step)))
        .stream()
}

/// What a bit tells of a person, in query 8.
const COME: u8 = 1;
const SELLS: u8 = 2;

fn newcomer(event: Event) -> Option<(u64, u8)> {
    match event {
        Event::Person(person) => Some((person.id, COME)),
        Event::Auction(auction) => Some((auction.seller, SELLS)),
        Event::Bid(_) => None,
    }
}

/// Query 3: people, and the auctions that wait for them.
#[derive(Clone)]
struct Suggest;

impl Process<u64, Event> for Suggest {
    type State = Seller;
    type Out = Suggestion;
    const TIMERS: bool = false;

    #[inline]
    fn record(&mut self, event: Event, seller: &mut Seller, cx: &mut Context<'_, u64, Suggestion>) {
        seller.take(&event, &mut |suggestion| cx.emit(suggestion));
    }

    fn heap_bytes(&self, seller: &Seller) -> usize {
        if let Seller::Unknown(auctions) = seller { auctions.capacity() * size_of::<u64>() } else { 0 }
    }
}

/// Query 9: an auction tells its winner when it is over.
#[derive(Clone)]
struct Auctions;

impl Process<u64, Event> for Auctions {
    type State = Lot;
    type Out = Winner;

    #[inline]
    fn record(&mut self, event: Event, lot: &mut Lot, cx: &mut Context<'_, u64, Winner>) {
        if let Some(at) = lot.take(&event) {
            cx.set_timer(Time(at));
        }
    }

    fn timer(&mut self, _: Timer, lot: &mut Lot, cx: &mut Context<'_, u64, Winner>) {
        match lot.settle(cx.watermark().0) {
            Ok(winner) => {
                winner.into_iter().for_each(|winner| cx.emit(winner));
                cx.clear();
            }
            Err(at) => cx.set_timer(Time(at)),
        }
    }

    fn heap_bytes(&self, lot: &Lot) -> usize {
        if let Lot::Unknown(early) = lot { early.capacity() * size_of::<Bid>() } else { 0 }
    }
}

/// Query 4: the average of a category, told with each winner.
#[derive(Clone)]
struct Mean;

impl Process<u64, Winner> for Mean {
    type State = (u64, u64);
    type Out = Average;
    const TIMERS: bool = false;

    fn record(&mut self, winner: Winner, (count, sum): &mut (u64, u64), cx: &mut Context<'_, u64, Average>) {
        *count += 1;
        *sum += winner.bid.price;
        cx.emit((winner.category, *count, *sum));
    }
}

/// Query 17: what the bids of an auction and day have come to. Each bid changes the row: what it was adds to the checksum, and
/// what it is.
#[derive(Clone)]
struct Report;

impl Process<(u64, i64), Bid> for Report {
    /// The bids, in all and of three ranges; the least price, the greatest, and the sum.
    type State = [i64; 7];
    type Out = (u64, u64);
    const TIMERS: bool = false;

    fn record(&mut self, bid: Bid, state: &mut [i64; 7], cx: &mut Context<'_, (u64, i64), (u64, u64)>) {
        let digest = |[all, low, middle, high, least, greatest, sum]: [i64; 7]| {
            digest_statistics(&[bid.auction as i64, all, low, middle, high, least, greatest, sum])
        };
        let before = if state[0] == 0 { 0 } else { digest(*state) };
        let price = bid.price as i64;
        let [all, low, middle, high, least, greatest, sum] = state;
        *least = if *all == 0 { price } else { price.min(*least) };
        *all += 1;
        *match price {
            ..10_000 => low,
            10_000..1_000_000 => middle,
            _ => high,
        } += 1;
        (*greatest, *sum) = (price.max(*greatest), *sum + price);
        cx.emit((before, digest(*state)));
    }
}
