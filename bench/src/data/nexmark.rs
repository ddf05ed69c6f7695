//! The records of the Nexmark queries that look at people, auctions, or the times of bids: of the public generator, without their
//! text.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde::{Deserialize, Serialize};
use updraft::connectors::Nexmark;
use updraft::connectors::nexmark::event;
use updraft::dataflow::{Partition, Record, Source};

use super::{Bid, Random, mix};

/// Somebody registered.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) time: i64,
    pub(crate) id: u64,
    pub(crate) state: [u8; 2],
}

/// Something was put up for auction.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Auction {
    pub(crate) time: i64,
    pub(crate) id: u64,
    pub(crate) seller: u64,
    pub(crate) expires: i64,
    /// From 10 to 14.
    pub(crate) category: u64,
}

/// One thing that happened.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

impl Event {
    #[inline]
    pub(crate) fn time(&self) -> i64 {
        match self {
            Self::Person(person) => person.time,
            Self::Auction(auction) => auction.time,
            Self::Bid(bid) => bid.time,
        }
    }
}

/// People and auctions, together and apart.
pub(crate) struct Sellers {
    pub(crate) all: Arc<[Event]>,
    pub(crate) people: Arc<[Person]>,
    pub(crate) auctions: Arc<[Auction]>,
}

/// Microseconds that an event is late at most. From one to the next there are a hundred.
pub(crate) const DELAY: i64 = 100_000;

/// Events of all kinds in a cycle: a person, three auctions, and bids.
const CYCLE: [usize; 3] = [1, 3, 46];
const STATES: [[u8; 2]; 6] = [*b"AZ", *b"CA", *b"ID", *b"OR", *b"WA", *b"WY"];

pub(super) fn sellers(random: &mut Random, records: usize, disorder: u64) -> Sellers {
    let nexmark = world(records, CYCLE[0] + CYCLE[1]);
    let mut all = made(nexmark.clone().people(), person);
    all.extend(made(nexmark.auctions(), auction));
    let all = shuffled(random, all, disorder, Event::time);
    let people = all.iter().filter_map(|event| if let Event::Person(person) = event { Some(*person) } else { None });
    let auctions =
        all.iter().filter_map(|event| if let Event::Auction(auction) = event { Some(*auction) } else { None });
    Sellers { people: people.collect(), auctions: auctions.collect(), all: all.into() }
}

pub(super) fn offers(random: &mut Random, records: usize, disorder: u64) -> Arc<[Event]> {
    let nexmark = world(records, CYCLE[1] + CYCLE[2]);
    let mut all = made(nexmark.clone().auctions(), auction);
    all.extend(made(nexmark.bids(), |record| Event::Bid(bid(record))));
    shuffled(random, all, disorder, Event::time).into()
}

pub(super) fn late_bids(random: &mut Random, records: usize, disorder: u64) -> Arc<[Bid]> {
    shuffled(random, made(world(records, CYCLE[2]).bids(), bid), disorder, |bid| bid.time).into()
}

/// So many events that about `records` of them are of the kinds which are `share` of a cycle.
fn world(records: usize, share: usize) -> Nexmark {
    let events = records * CYCLE.iter().sum::<usize>() / share;
    Nexmark::new().start(updraft::dataflow::Time(0)).without_text().count(events as u64)
}

fn person(person: event::Person) -> Event {
    let state = STATES[(mix(person.id) % 6) as usize];
    Event::Person(Person { time: person.date_time.0, id: person.id, state })
}

fn auction(made: event::Auction) -> Event {
    let event::Auction { id, seller, category, .. } = made;
    Event::Auction(Auction { time: made.date_time.0, id, seller, expires: made.expires.0, category })
}

fn bid(bid: event::Bid) -> Bid {
    Bid { time: bid.date_time.0, auction: bid.auction, bidder: bid.bidder, price: bid.price }
}

/// All that a source makes. It never waits, as it has no rate.
fn made<S: Source, T>(source: S, record: impl Fn(S::Item) -> T) -> Vec<T>
where
    S::Item: Record,
{
    let (mut made, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    for mut partition in source.open().expect("the settings are right") {
        while let Poll::Ready(Ok(Some(batch))) = pin!(partition.next(1024)).poll(&mut cx) {
            made.extend(batch.records.into_vec().into_iter().map(&record));
        }
    }
    made
}

/// By time; but `disorder` percent come up to [`DELAY`] late.
fn shuffled<T>(random: &mut Random, records: Vec<T>, disorder: u64, time: impl Fn(&T) -> i64) -> Vec<T> {
    let mut comes = |record: &T| {
        let late = if random.below(100) < disorder { random.below(DELAY as u64) } else { 0 };
        time(record) + late as i64
    };
    let mut timed: Vec<_> = records.into_iter().map(|record| (comes(&record), record)).collect();
    timed.sort_by_key(|(comes, _)| *comes);
    timed.into_iter().map(|(_, record)| record).collect()
}
