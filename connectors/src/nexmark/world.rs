//! Makes events: each is a function of its number, so that any part of the stream can be made anywhere.
//!
//! The proportions and constants are those of the public generators (Apache Beam, and `nexmark` for Flink);
//! the random numbers are our own, so single events differ from theirs and distributions do not.

use std::sync::LazyLock;

use updraft_dataflow::Time;

use super::event::{Auction, Bid, Event, Person};
use super::random::{Price, Random};

/// Events of each kind in a cycle: first people, then auctions, then bids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mix {
    pub(crate) people: u64,
    pub(crate) auctions: u64,
    pub(crate) bids: u64,
}

/// That of the benchmark.
pub(crate) const STANDARD: Mix = Mix { people: 1, auctions: 3, bids: 46 };

/// Events in a cycle of the benchmark.
pub(crate) const CYCLE: u64 = STANDARD.cycle();

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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) person: usize,
    pub(crate) auction: usize,
    pub(crate) bid: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { person: 200, auction: 500, bid: 100 }
    }
}

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
    /// `None`: [`STANDARD`], whose divisors the compiler knows.
    pub(crate) mix: Option<Mix>,
    pub(crate) sizes: Sizes,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Person,
    Auction,
    Bid,
}

impl Mix {
    pub(crate) const fn cycle(self) -> u64 {
        self.people + self.auctions + self.bids
    }

    fn kind(self, number: u64) -> Kind {
        match number % self.cycle() {
            n if n < self.people => Kind::Person,
            n if n < self.people + self.auctions => Kind::Auction,
            _ => Kind::Bid,
        }
    }

    /// The last person up to event `number`, from 0.
    fn last_person(self, number: u64) -> u64 {
        let last = self.people.max(1) - 1;
        number / self.cycle() * self.people + (number % self.cycle()).min(last)
    }

    /// The last auction up to event `number`, from 0. Not to be asked before the first.
    fn last_auction(self, number: u64) -> u64 {
        let after_people = (number % self.cycle() + 1).saturating_sub(self.people);
        let opened = after_people.max(1).min(self.auctions.max(1));
        number / self.cycle() * self.auctions + opened - 1
    }
}

/// The numbers of a bid, and what its text is drawn from.
#[derive(Clone, Debug)]
pub(crate) struct BidDraw {
    pub(crate) auction: u64,
    pub(crate) bidder: u64,
    pub(crate) price: Price,
    pub(crate) random: Random,
}

impl World {
    /// Event `number`.
    pub(crate) fn event(&self, number: u64) -> Option<Event> {
        Some(match self.kind(number) {
            Kind::Person => Event::Person(self.make_person(number)),
            Kind::Auction => Event::Auction(self.make_auction(number)),
            Kind::Bid => Event::Bid(self.make_bid(number)),
        })
    }

    /// Event `number`, if it is a person.
    pub(crate) fn person(&self, number: u64) -> Option<Person> {
        (self.kind(number) == Kind::Person).then(|| self.make_person(number))
    }

    /// Event `number`, if it is an auction.
    pub(crate) fn auction(&self, number: u64) -> Option<Auction> {
        (self.kind(number) == Kind::Auction).then(|| self.make_auction(number))
    }

    /// Event `number`, if it is a bid.
    pub(crate) fn bid(&self, number: u64) -> Option<Bid> {
        (self.kind(number) == Kind::Bid).then(|| self.make_bid(number))
    }

    /// What `mix` says of the kinds of events.
    fn of_mix<T>(&self, say: impl Fn(Mix) -> T) -> T {
        match self.mix {
            None => say(STANDARD),
            Some(mix) => say(mix),
        }
    }

    pub(crate) fn kind(&self, number: u64) -> Kind {
        self.of_mix(|mix| mix.kind(number))
    }

    fn last_person(&self, number: u64) -> u64 {
        self.of_mix(|mix| mix.last_person(number))
    }

    fn last_auction(&self, number: u64) -> u64 {
        self.of_mix(|mix| mix.last_auction(number))
    }

    /// When event `number` happens.
    pub(crate) fn time(&self, number: u64) -> Time {
        Time(self.start.0.saturating_add((number as f64 * self.interval / 1e3) as i64))
    }

    pub(crate) fn make_person(&self, number: u64) -> Person {
        let mut random = Random::of(number);
        let mut person = Person {
            id: FIRST_ID + self.last_person(number),
            name: String::new(),
            email_address: String::new(),
            credit_card: String::new(),
            city: String::new(),
            state: String::new(),
            date_time: self.time(number),
            extra: String::new(),
        };
        if self.has_text {
            describe_person(&mut person, &mut random, self.sizes.person);
        }
        person
    }

    pub(crate) fn make_auction(&self, number: u64) -> Auction {
        let mut random = Random::of(number);
        let date_time = self.time(number);
        let initial_bid = random.price();
        let mut auction = Auction {
            id: FIRST_ID + self.last_auction(number),
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
            describe_auction(&mut auction, &mut random, self.sizes.auction);
        }
        auction
    }

    /// The numbers of bid `number`.
    pub(crate) fn draw_bid(&self, number: u64) -> BidDraw {
        let mut random = Random::of(number);
        let auction = FIRST_ID + self.item(number, &mut random);
        let bidder = FIRST_ID + self.bidder(number, &mut random);
        let price = random.drawn_price();
        BidDraw { auction, bidder, price, random }
    }

    fn make_bid(&self, number: u64) -> Bid {
        let BidDraw { auction, bidder, price, mut random } = self.draw_bid(number);
        let (price, date_time) = (price.cents(), self.time(number));
        let (mut channel, mut url, mut extra) = Default::default();
        if self.has_text {
            (channel, url) = PAGES[page(&mut random)].clone();
            extra = random.filler(BID_NUMBERS, self.sizes.bid);
        }
        Bid { auction, bidder, price, channel, url, date_time, extra }
    }

    /// Microseconds of an auction: on the average, as long as it takes to open all that are in flight.
    fn duration(&self, random: &mut Random) -> i64 {
        let each = |mix: Mix| self.auctions_in_flight.saturating_mul(mix.cycle()) / mix.auctions.max(1);
        let events = self.of_mix(each);
        let millis = (events as f64 * self.interval / 1e6) as u64;
        let millis = 1 + random.below(millis.saturating_mul(2).max(1));
        i64::try_from(millis.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    fn item(&self, number: u64, random: &mut Random) -> u64 {
        if random.once_in(self.hot_auctions) {
            self.any_auction(number, random)
        } else {
            hot(self.last_auction(number))
        }
    }

    fn seller(&self, number: u64, random: &mut Random) -> u64 {
        if random.once_in(self.hot_sellers) { self.any_person(number, random) } else { hot(self.last_person(number)) }
    }

    /// A hot bidder is the one after the hot seller, so that hot people do not bid for what they sell.
    fn bidder(&self, number: u64, random: &mut Random) -> u64 {
        if random.once_in(self.hot_bidders) {
            self.any_person(number, random)
        } else {
            hot(self.last_person(number)) + 1
        }
    }

    /// One of the auctions in flight, or of the next ones.
    fn any_auction(&self, number: u64, random: &mut Random) -> u64 {
        let last = self.last_auction(number);
        let first = last.saturating_sub(self.auctions_in_flight);
        first + random.below(last - first + 1 + LEAD)
    }

    /// One of the active people, or of the next ones.
    fn any_person(&self, number: u64, random: &mut Random) -> u64 {
        let people = self.last_person(number) + 1;
        let active = people.min(self.active_people);
        people - active + random.below(active + LEAD)
    }
}

/// The hot one at the time when `last` is the last.
fn hot(last: u64) -> u64 {
    last / HOT_ONE_IN * HOT_ONE_IN
}

fn describe_person(person: &mut Person, random: &mut Random, average: usize) {
    person.name = format!("{} {}", random.pick(FIRST_NAMES), random.pick(LAST_NAMES));
    person.email_address = format!("{}@{}.com", random.text(7, ' '), random.text(5, ' '));
    let mut group = || random.below(10_000);
    person.credit_card = format!("{:04} {:04} {:04} {:04}", group(), group(), group(), group());
    person.city = random.pick(CITIES).into();
    person.state = random.pick(STATES).into();
    let texts = [&person.name, &person.email_address, &person.credit_card, &person.city, &person.state];
    let size = 8 + texts.iter().map(|text| text.len()).sum::<usize>();
    person.extra = random.filler(size, average);
}

fn describe_auction(auction: &mut Auction, random: &mut Random, average: usize) {
    auction.item_name = random.text(20, ' ');
    auction.description = random.text(100, ' ');
    let size = 6 * 8 + auction.item_name.len() + auction.description.len();
    auction.extra = random.filler(size, average);
}

/// Bytes of the numbers of a bid; its text but for the filler is not counted.
pub(crate) const BID_NUMBERS: usize = 4 * 8;

/// Which of the [`PAGES`] a bid is made on. Half of the bids come from a hot channel.
pub(crate) fn page(random: &mut Random) -> usize {
    if random.once_in(2) {
        random.below(CHANNELS) as usize
    } else {
        (CHANNELS + random.below(HOT_CHANNELS.len() as u64)) as usize
    }
}

/// The channels and their pages, the hot ones last.
pub(crate) static PAGES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let others = (0..CHANNELS).map(|channel| (format!("channel-{channel}"), channel_url(channel)));
    let hot = (CHANNELS..).zip(HOT_CHANNELS).map(|(channel, name)| ((*name).into(), url(&mut Random::of(channel))));
    others.chain(hot).collect()
});

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
