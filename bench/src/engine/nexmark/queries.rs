//! What the queries do, one key or window at a time: the loops written by hand call it for each record, and so do the operators
//! inside timely. Updraft and renoir have state, timers and windows of their own, and take but the rules from here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::data::nexmark::{Auction, Event, Person};
use crate::data::{Bid, SECOND, mix};

/// Microseconds of the windows of queries 7 and 8.
pub(super) const WINDOW: i64 = 10 * SECOND;
/// Microseconds without a bid that end a session of query 11. People bid for five seconds.
pub(super) const GAP: i64 = SECOND;
/// Processing time of the windows of query 12: short, for there to be several in a run.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// What query 3 looks for.
const CATEGORY: u64 = 10;
const STATES: [[u8; 2]; 3] = [*b"OR", *b"ID", *b"CA"];

/// A worker's part of a query, on the keys that it owns.
pub(super) trait Query: Default + 'static {
    type Record: Copy + Send + Sync + Serialize + for<'a> Deserialize<'a> + 'static;
    type Row: Copy + Send + Serialize + for<'a> Deserialize<'a> + 'static;

    /// The key of a record; `None` if the query does not look at it.
    fn key(record: &Self::Record) -> Option<u64>;
    /// A record has come.
    fn take(&mut self, record: Self::Record, give: &mut impl FnMut(Self::Row));
    /// No record before `watermark` is to come.
    fn advance(&mut self, watermark: i64, give: &mut impl FnMut(Self::Row)) {
        let _ = (watermark, give);
    }
}

type Map<V> = HashMap<u64, V, BuildHasherDefault<Mix>>;

/// Hashes the one number that it is given.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }
    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.0 = mix(n);
    }
}

/// When keys have to be looked at.
type Due = BinaryHeap<Reverse<(i64, u64)>>;

/// The next key that has to be looked at by `watermark`.
fn pop(due: &mut Due, watermark: i64) -> Option<u64> {
    let is_due = due.peek().is_some_and(|Reverse((at, _))| *at <= watermark);
    if is_due { due.pop().map(|Reverse((_, key))| key) } else { None }
}

/// Windows that are open, few of them: the last is that of the last record.
struct Open<T>(Vec<(i64, T)>);

impl<T> Default for Open<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Open<T> {
    #[inline]
    fn of(&mut self, time: i64) -> &mut T {
        if self.0.last().is_none_or(|(start, _)| time < *start || time >= start + WINDOW) {
            self.find(time);
        }
        let last = self.0.len() - 1;
        &mut self.0[last].1
    }

    #[cold]
    fn find(&mut self, time: i64) {
        let start = time.div_euclid(WINDOW) * WINDOW;
        let at = self.0.iter().position(|open| open.0 == start);
        let window = at.map_or_else(|| (start, T::default()), |at| self.0.remove(at));
        self.0.push(window);
    }

    fn over(&mut self, watermark: i64) -> impl Iterator<Item = (i64, T)> {
        self.0.extract_if(.., move |(start, _)| *start + WINDOW <= watermark)
    }
}

/// Query 3: people, and what waits for them.
#[derive(Default)]
pub(super) struct Suggest(Map<Seller>);

/// Who may sell. Each registers once, so that no auction has to be kept beyond that.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Seller {
    Known(Person),
    /// The auctions that wait.
    Unknown(Vec<u64>),
}

/// A person's number and state, and an auction.
pub(super) type Suggestion = (u64, [u8; 2], u64);

impl Default for Seller {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

impl Seller {
    #[inline]
    pub(super) fn take(&mut self, event: &Event, give: &mut impl FnMut(Suggestion)) {
        match (event, &mut *self) {
            (Event::Person(person), Self::Unknown(auctions)) => {
                auctions.iter().for_each(|auction| give((person.id, person.state, *auction)));
                *self = Self::Known(*person);
            }
            (Event::Auction(auction), Self::Known(person)) => give((person.id, person.state, auction.id)),
            (Event::Auction(auction), Self::Unknown(auctions)) => auctions.push(auction.id),
            _ => {}
        }
    }
}

#[inline]
pub(super) fn is_local(person: &Person) -> bool {
    STATES.contains(&person.state)
}

#[inline]
pub(super) fn is_wanted(auction: &Auction) -> bool {
    auction.category == CATEGORY
}

/// The key of query 3.
#[inline]
pub(super) fn seller(event: &Event) -> Option<u64> {
    match event {
        Event::Person(person) => is_local(person).then_some(person.id),
        Event::Auction(auction) => is_wanted(auction).then_some(auction.seller),
        Event::Bid(_) => None,
    }
}

impl Query for Suggest {
    type Record = Event;
    type Row = Suggestion;
    #[inline]
    fn key(event: &Event) -> Option<u64> {
        seller(event)
    }
    #[inline]
    fn take(&mut self, event: Event, give: &mut impl FnMut(Suggestion)) {
        if let Some(key) = seller(&event) {
            self.0.entry(key).or_default().take(&event, give);
        }
    }
}

/// Query 7: the highest bids; the windows' own of bids, or the overall ones of each worker's.
#[derive(Default)]
pub(super) struct Highest(Open<Option<Bid>>);

/// The higher bid; of equal ones the earlier.
#[inline]
pub(super) fn higher(a: Bid, b: Bid) -> Bid {
    if beats(&b, &a) { b } else { a }
}

#[inline]
fn beats(bid: &Bid, other: &Bid) -> bool {
    bid.price > other.price || bid.price == other.price && bid.time < other.time
}

impl Query for Highest {
    type Record = Bid;
    type Row = Bid;
    #[inline]
    fn key(bid: &Bid) -> Option<u64> {
        Some(bid.time.div_euclid(WINDOW) as u64)
    }
    #[inline]
    fn take(&mut self, bid: Bid, _: &mut impl FnMut(Bid)) {
        let best = self.0.of(bid.time);
        if best.is_none_or(|best| beats(&bid, &best)) {
            *best = Some(bid);
        }
    }
    fn advance(&mut self, watermark: i64, give: &mut impl FnMut(Bid)) {
        self.0.over(watermark).filter_map(|(_, best)| best).for_each(give);
    }
}

/// Query 8: by window and person, whether they have come, and whether they sell.
#[derive(Default)]
pub(super) struct NewSellers(Open<Map<[bool; 2]>>);

impl Query for NewSellers {
    type Record = Event;
    /// The window, and the person.
    type Row = (i64, u64);
    #[inline]
    fn key(event: &Event) -> Option<u64> {
        match event {
            Event::Person(person) => Some(person.id),
            Event::Auction(auction) => Some(auction.seller),
            Event::Bid(_) => None,
        }
    }
    #[inline]
    fn take(&mut self, event: Event, _: &mut impl FnMut(Self::Row)) {
        if let Some(key) = Self::key(&event) {
            let is_sale = matches!(event, Event::Auction(_));
            self.0.of(event.time()).entry(key).or_default()[usize::from(is_sale)] = true;
        }
    }
    fn advance(&mut self, watermark: i64, give: &mut impl FnMut(Self::Row)) {
        for (start, people) in self.0.over(watermark) {
            people.into_iter().filter(|(_, is)| *is == [true, true]).for_each(|(id, _)| give((start, id)));
        }
    }
}

/// Query 9: the auctions that are open.
#[derive(Default)]
pub(super) struct Lots {
    lots: Map<Lot>,
    due: Due,
}

/// An auction: bids that have come before it, or what it has come to.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Lot {
    Unknown(Vec<Bid>),
    Open { opens: i64, expires: i64, category: u64, best: Option<Bid> },
}

impl Default for Lot {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

/// A bid that has won, and for what.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Winner {
    pub(super) category: u64,
    pub(super) bid: Bid,
}

impl Lot {
    /// When it has to be looked at, if that is new.
    #[inline]
    pub(super) fn take(&mut self, event: &Event) -> Option<i64> {
        match (event, &mut *self) {
            (Event::Bid(bid), Self::Open { opens, expires, best, .. }) => {
                // Few are better than the best so far: it is not written for nothing.
                if *opens <= bid.time && bid.time < *expires && best.is_none_or(|best| beats(bid, &best)) {
                    *best = Some(*bid);
                }
                None
            }
            (Event::Bid(bid), Self::Unknown(early)) => {
                early.push(*bid);
                (early.len() == 1).then_some(bid.time + 1)
            }
            (Event::Auction(auction), Self::Unknown(early)) => {
                let Auction { time: opens, expires, category, .. } = *auction;
                let valid = early.iter().copied().filter(|bid| opens <= bid.time && bid.time < expires);
                *self = Self::Open { opens, expires, category, best: valid.reduce(higher) };
                Some(expires)
            }
            _ => None,
        }
    }

    /// Who has won, if it is over; else when to look again. A bid of which the auction would have come by now is for one that
    /// is over, or not open yet.
    pub(super) fn settle(&mut self, watermark: i64) -> Result<Option<Winner>, i64> {
        match self {
            Self::Open { expires, .. } if *expires > watermark => Err(*expires),
            Self::Open { .. } => Ok(self.winner()),
            Self::Unknown(early) => {
                early.retain(|bid| bid.time >= watermark);
                early.iter().map(|bid| bid.time + 1).min().map_or(Ok(None), Err)
            }
        }
    }

    pub(super) fn winner(&self) -> Option<Winner> {
        match self {
            Self::Open { category, best: Some(bid), .. } => Some(Winner { category: *category, bid: *bid }),
            _ => None,
        }
    }
}

/// The key of query 9.
#[inline]
pub(super) fn auction(event: &Event) -> Option<u64> {
    match event {
        Event::Person(_) => None,
        Event::Auction(auction) => Some(auction.id),
        Event::Bid(bid) => Some(bid.auction),
    }
}

impl Query for Lots {
    type Record = Event;
    type Row = Winner;
    #[inline]
    fn key(event: &Event) -> Option<u64> {
        auction(event)
    }
    #[inline]
    fn take(&mut self, event: Event, _: &mut impl FnMut(Winner)) {
        let Some(key) = auction(&event) else { return };
        if let Some(at) = self.lots.entry(key).or_default().take(&event) {
            self.due.push(Reverse((at, key)));
        }
    }
    fn advance(&mut self, watermark: i64, give: &mut impl FnMut(Winner)) {
        while let Some(key) = pop(&mut self.due, watermark) {
            match self.lots.get_mut(&key).map(|lot| lot.settle(watermark)) {
                Some(Ok(winner)) => {
                    self.lots.remove(&key);
                    winner.into_iter().for_each(&mut *give);
                }
                Some(Err(at)) => self.due.push(Reverse((at, key))),
                None => {}
            }
        }
    }
}

/// Query 4: of each category how many were sold, and for how much in all.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Averages([(u64, u64); 5]);

/// A category, how many were sold, and for how much in all.
pub(super) type Average = (u64, u64, u64);

impl Averages {
    /// The last of each category counts.
    #[inline]
    pub(super) fn keep(&mut self, (category, count, sum): Average) {
        let last = &mut self.0[(category - 10) as usize];
        *last = (*last).max((count, sum));
    }

    pub(super) fn rows(self) -> impl Iterator<Item = Average> {
        self.0.into_iter().enumerate().map(|(at, (count, sum))| (at as u64 + 10, count, sum))
    }

    pub(super) fn checksum(self) -> u64 {
        let averages = self.rows().map(|(category, count, sum)| mix(category).wrapping_mul(sum / count.max(1)));
        averages.fold(0, u64::wrapping_add)
    }
}

impl Query for Averages {
    type Record = Winner;
    type Row = Average;
    fn key(winner: &Winner) -> Option<u64> {
        Some(winner.category)
    }
    fn take(&mut self, winner: Winner, give: &mut impl FnMut(Average)) {
        let (count, sum) = &mut self.0[(winner.category - 10) as usize];
        *count += 1;
        *sum += winner.bid.price;
        give((winner.category, *count, *sum));
    }
}

/// Query 11: the bidders whose sessions are open.
#[derive(Default)]
pub(super) struct Visits {
    open: Map<Visit>,
    due: Due,
}

/// A session, and others of the same key: with bids that are out of order there may be several.
#[derive(Default)]
struct Visit {
    last: Session,
    more: Vec<Session>,
}

/// Bids in a row.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(in crate::engine) struct Session {
    pub(in crate::engine) bidder: u64,
    pub(in crate::engine) first: i64,
    pub(in crate::engine) last: i64,
    pub(in crate::engine) count: u64,
}

impl Session {
    fn over(&self) -> i64 {
        self.last + GAP + 1
    }

    fn merge(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count += other.count;
    }
}

impl Visit {
    #[cold]
    fn fit_in(&mut self, mut session: Session) {
        let last = (self.last.count > 0).then_some(self.last);
        self.more.extend(last);
        let near = |other: &mut Session| other.first <= session.last + GAP && session.first <= other.last + GAP;
        let near: Vec<_> = self.more.extract_if(.., near).collect();
        near.iter().for_each(|other| session.merge(other));
        self.last = session;
    }
}

impl Query for Visits {
    type Record = Bid;
    type Row = Session;
    #[inline]
    fn key(bid: &Bid) -> Option<u64> {
        Some(bid.bidder)
    }
    #[inline]
    fn take(&mut self, bid: Bid, _: &mut impl FnMut(Session)) {
        let visit = self.open.entry(bid.bidder).or_default();
        let last = &mut visit.last;
        if last.count > 0 && visit.more.is_empty() && bid.time >= last.first && bid.time <= last.last + GAP {
            last.last = last.last.max(bid.time);
            last.count += 1;
            return;
        }
        let session = Session { bidder: bid.bidder, first: bid.time, last: bid.time, count: 1 };
        visit.fit_in(session);
        self.due.push(Reverse((session.over(), bid.bidder)));
    }
    fn advance(&mut self, watermark: i64, give: &mut impl FnMut(Session)) {
        while let Some(key) = pop(&mut self.due, watermark) {
            let Some(visit) = self.open.get_mut(&key) else { continue };
            visit.more.extend((visit.last.count > 0).then_some(visit.last));
            visit.more.extract_if(.., |session| session.over() <= watermark).for_each(&mut *give);
            match visit.more.pop() {
                Some(session) => {
                    visit.last = session;
                    self.due.push(Reverse((session.over(), key)));
                }
                None => drop(self.open.remove(&key)),
            }
        }
    }
}

/// Query 12: bids of the window that it is now.
pub(super) struct Recent {
    ends: Instant,
    counts: Map<u64>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { ends: Instant::now() + TICK, counts: Map::default() }
    }
}

impl Query for Recent {
    type Record = Bid;
    /// The bidder, and how many.
    type Row = (u64, u64);
    #[inline]
    fn key(bid: &Bid) -> Option<u64> {
        Some(bid.bidder)
    }
    #[inline]
    fn take(&mut self, bid: Bid, _: &mut impl FnMut(Self::Row)) {
        *self.counts.entry(bid.bidder).or_default() += 1;
    }
    fn advance(&mut self, watermark: i64, give: &mut impl FnMut(Self::Row)) {
        if watermark == i64::MAX || Instant::now() >= self.ends {
            self.ends = Instant::now() + TICK;
            self.counts.drain().for_each(give);
        }
    }
}

/// What rows add to the checksum.
#[inline]
pub(super) fn digest_suggestion((id, state, auction): Suggestion) -> u64 {
    mix(id ^ auction << 32).wrapping_mul(u64::from(u16::from_le_bytes(state)))
}

#[inline]
pub(in crate::engine) fn digest_bid(bid: Bid) -> u64 {
    mix(bid.auction ^ bid.bidder << 32).wrapping_mul(bid.price ^ (bid.time as u64) << 20)
}

#[inline]
pub(in crate::engine) fn digest_new_seller((window, id): (i64, u64)) -> u64 {
    mix(id ^ window as u64)
}

#[inline]
pub(in crate::engine) fn digest_session(session: Session) -> u64 {
    let Session { bidder, first, last, count } = session;
    mix(bidder ^ first as u64).wrapping_mul(count ^ (last as u64) << 20)
}

/// What a row of query 17 adds to the checksum: an auction, how many bids (all, and of three ranges of prices), the least price,
/// the greatest, and the sum.
#[inline]
pub(in crate::engine) fn digest_statistics(row: &[i64]) -> u64 {
    row.iter().fold(0, |digest, value| mix(digest ^ *value as u64))
}
