//! Makes events: each is a function of its number, so that any part of the stream can be made anywhere.
//!
//! The proportions and constants are those of the public generators (Apache Beam, and `nexmark` for Flink);
//! the random numbers are our own, so single events differ from theirs and distributions do not.

use std::sync::LazyLock;

use updraft_dataflow::Time;

use super::event::{Auction, Bid, Event, Person};
use super::random::Random;

/// Events of each kind in a cycle: first a person, then the auctions, then the bids.
const PEOPLE: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS: u64 = 46;

/// Events in a cycle.
pub(crate) const CYCLE: u64 = PEOPLE + AUCTIONS + BIDS;

/// Ids do not start at 0, so that none is mistaken for a count.
const FIRST_ID: u64 = 1_000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;

/// How many ids that do not exist yet may be referred to: bids may come before what they are for.
const LEAD: u64 = 10;

/// One person or auction in so many is hot.
const HOT_ONE_IN: u64 = 100;

const CHANNELS: u64 = 10_000;
const HOT_CHANNELS: &[&str] = &["Google", "Facebook", "Baidu", "Apple"];
const STATES: &[&str] = &["AZ", "CA", "ID", "OR", "WA", "WY"];
#[rustfmt::skip]
const CITIES: &[&str] = &["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
#[rustfmt::skip]
const FIRST_NAMES: &[&str] = &["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: &[&str] = &["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// Bytes of a record on the average, text and numbers.
const PERSON_SIZE: usize = 200;
const AUCTION_SIZE: usize = 500;
const BID_SIZE: usize = 100;

/// What events depend on besides their number. Ratios are `n` in "all but one in `n` concern a hot one".
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) start: Time,
    /// Nanoseconds of event time from one event to the next.
    pub(crate) interval: f64,
    pub(crate) hot_auctions: u64,
    pub(crate) hot_bidders: u64,
    pub(crate) hot_sellers: u64,
    pub(crate) auctions_in_flight: u64,
    pub(crate) active_people: u64,
    pub(crate) has_text: bool,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Person,
    Auction,
    Bid,
}

fn kind(number: u64) -> Kind {
    match number % CYCLE {
        n if n < PEOPLE => Kind::Person,
        n if n < PEOPLE + AUCTIONS => Kind::Auction,
        _ => Kind::Bid,
    }
}

impl World {
    /// Event `number`.
    pub(crate) fn event(&self, number: u64) -> Option<Event> {
        Some(match kind(number) {
            Kind::Person => Event::Person(self.make_person(number)),
            Kind::Auction => Event::Auction(self.make_auction(number)),
            Kind::Bid => Event::Bid(self.make_bid(number)),
        })
    }

    /// Event `number`, if it is a person.
    pub(crate) fn person(&self, number: u64) -> Option<Person> {
        (kind(number) == Kind::Person).then(|| self.make_person(number))
    }

    /// Event `number`, if it is an auction.
    pub(crate) fn auction(&self, number: u64) -> Option<Auction> {
        (kind(number) == Kind::Auction).then(|| self.make_auction(number))
    }

    /// Event `number`, if it is a bid.
    pub(crate) fn bid(&self, number: u64) -> Option<Bid> {
        (kind(number) == Kind::Bid).then(|| self.make_bid(number))
    }

    /// When event `number` happens.
    fn time(&self, number: u64) -> Time {
        Time(self.start.0.saturating_add((number as f64 * self.interval / 1e3) as i64))
    }

    fn make_person(&self, number: u64) -> Person {
        let mut random = Random::of(number);
        let mut person = Person {
            id: FIRST_ID + last_person(number),
            name: String::new(),
            email_address: String::new(),
            credit_card: String::new(),
            city: String::new(),
            state: String::new(),
            date_time: self.time(number),
            extra: String::new(),
        };
        if self.has_text {
            describe_person(&mut person, &mut random);
        }
        person
    }

    fn make_auction(&self, number: u64) -> Auction {
        let mut random = Random::of(number);
        let date_time = self.time(number);
        let initial_bid = random.price();
        let mut auction = Auction {
            id: FIRST_ID + last_auction(number),
            item_name: String::new(),
            description: String::new(),
            initial_bid,
            reserve: initial_bid + random.price(),
            date_time,
            expires: Time(date_time.0.saturating_add(self.duration(&mut random))),
            seller: FIRST_ID + self.seller(number, &mut random),
            category: FIRST_CATEGORY + random.below(CATEGORIES),
            extra: String::new(),
        };
        if self.has_text {
            describe_auction(&mut auction, &mut random);
        }
        auction
    }

    fn make_bid(&self, number: u64) -> Bid {
        let mut random = Random::of(number);
        let mut bid = Bid {
            auction: FIRST_ID + self.item(number, &mut random),
            bidder: FIRST_ID + self.bidder(number, &mut random),
            price: random.price(),
            channel: String::new(),
            url: String::new(),
            date_time: self.time(number),
            extra: String::new(),
        };
        if self.has_text {
            describe_bid(&mut bid, &mut random);
        }
        bid
    }

    /// Microseconds of an auction: on the average, as long as it takes to open all that are in flight.
    fn duration(&self, random: &mut Random) -> i64 {
        let events = self.auctions_in_flight.saturating_mul(CYCLE) / AUCTIONS;
        let millis = (events as f64 * self.interval / 1e6) as u64;
        let millis = 1 + random.below(millis.saturating_mul(2).max(1));
        i64::try_from(millis.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    fn item(&self, number: u64, random: &mut Random) -> u64 {
        if random.once_in(self.hot_auctions) { self.any_auction(number, random) } else { hot(last_auction(number)) }
    }

    fn seller(&self, number: u64, random: &mut Random) -> u64 {
        if random.once_in(self.hot_sellers) { self.any_person(number, random) } else { hot(last_person(number)) }
    }

    /// A hot bidder is the one after the hot seller, so that hot people do not bid for what they sell.
    fn bidder(&self, number: u64, random: &mut Random) -> u64 {
        if random.once_in(self.hot_bidders) { self.any_person(number, random) } else { hot(last_person(number)) + 1 }
    }

    /// One of the auctions in flight, or of the next ones.
    fn any_auction(&self, number: u64, random: &mut Random) -> u64 {
        let last = last_auction(number);
        let first = last.saturating_sub(self.auctions_in_flight);
        first + random.below(last - first + 1 + LEAD)
    }

    /// One of the active people, or of the next ones.
    fn any_person(&self, number: u64, random: &mut Random) -> u64 {
        let people = last_person(number) + 1;
        let active = people.min(self.active_people);
        people - active + random.below(active + LEAD)
    }
}

/// The last person up to event `number`, from 0.
fn last_person(number: u64) -> u64 {
    number / CYCLE
}

/// The last auction up to event `number`, from 0. Not to be asked before the first.
fn last_auction(number: u64) -> u64 {
    let opened = (number % CYCLE).clamp(PEOPLE, AUCTIONS);
    number / CYCLE * AUCTIONS + opened - 1
}

/// The hot one at the time when `last` is the last.
fn hot(last: u64) -> u64 {
    last / HOT_ONE_IN * HOT_ONE_IN
}

fn describe_person(person: &mut Person, random: &mut Random) {
    person.name = format!("{} {}", random.pick(FIRST_NAMES), random.pick(LAST_NAMES));
    person.email_address = format!("{}@{}.com", random.text(7, ' '), random.text(5, ' '));
    let mut group = || random.below(10_000);
    person.credit_card = format!("{:04} {:04} {:04} {:04}", group(), group(), group(), group());
    person.city = random.pick(CITIES).into();
    person.state = random.pick(STATES).into();
    let texts = [&person.name, &person.email_address, &person.credit_card, &person.city, &person.state];
    let size = 8 + texts.iter().map(|text| text.len()).sum::<usize>();
    person.extra = random.filler(size, PERSON_SIZE);
}

fn describe_auction(auction: &mut Auction, random: &mut Random) {
    auction.item_name = random.text(20, ' ');
    auction.description = random.text(100, ' ');
    let size = 6 * 8 + auction.item_name.len() + auction.description.len();
    auction.extra = random.filler(size, AUCTION_SIZE);
}

/// Half of the bids come from a hot channel.
fn describe_bid(bid: &mut Bid, random: &mut Random) {
    if random.once_in(2) {
        let channel = random.below(CHANNELS);
        bid.channel = format!("channel-{channel}");
        bid.url = channel_url(channel);
    } else {
        let channel = random.below(HOT_CHANNELS.len() as u64) as usize;
        bid.channel = HOT_CHANNELS[channel].into();
        bid.url = HOT_URLS[channel].clone();
    }
    bid.extra = random.filler(4 * 8, BID_SIZE);
}

/// The page of each hot channel.
static HOT_URLS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..HOT_CHANNELS.len() as u64).map(|channel| url(&mut Random::of(CHANNELS + channel))).collect());

/// The page of a channel that is not hot; always the same.
fn channel_url(channel: u64) -> String {
    let mut random = Random::of(channel);
    let url = url(&mut random);
    let id = (channel as i32).reverse_bits().unsigned_abs();
    if random.once_in(10) { url } else { format!("{url}&channel_id={id}") }
}

fn url(random: &mut Random) -> String {
    let mut folder = || random.text(5, '_');
    format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", folder(), folder(), folder())
}
