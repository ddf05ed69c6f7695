//! The auction of the public Nexmark benchmark: people register, put items up and bid for them.
//!
//! [`Nexmark`] is the source, [`event`] has its records. As a table of SQL it is [`crate::table::nexmark`], which makes
//! columns (`columns.rs`) without making records first.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use updraft_dataflow::{Batch, Bundle, Error, Partition, Place, Record, Source, Time};
use updraft_kernel::clock;

use crate::pace::Pace;

pub(crate) mod columns;
pub mod event;
mod order;
pub(crate) mod random;
pub(crate) mod world;

pub use event::{Auction, Bid, Event, Person};

use order::{Disorder, Order};
use world::{CYCLE, Sizes, World};

/// Event time starts here unless said otherwise: 2015-07-15T00:00:00Z.
const START: Time = Time::from_secs(1_436_918_400);

/// What is accounted for the text of an event, in bytes.
const TEXT: usize = 160;

/// The events of an auction: 1 person, 3 auctions and 46 bids in each 50. As a source it yields all of them;
/// [`bids`](Self::bids) and its like yield one kind.
///
/// Each event depends on its number and the settings alone: runs are equal, whatever the number of partitions. Defaults
/// are those of the benchmark: 10 000 events a second of event time, all in order, for ever.
///
/// ```
/// use updraft_connectors::Nexmark;
/// let replay = Nexmark::new().count(1_000_000).out_of_order(1_000);
/// let live = Nexmark::new().rate(50_000.0).bids();
/// ```
#[derive(Clone, Debug)]
pub struct Nexmark {
    count: u64,
    partitions: u64,
    rate: Option<f64>,
    start: Option<Time>,
    interval: Option<Duration>,
    disorder: Disorder,
    pub(crate) world: World,
}

impl Default for Nexmark {
    fn default() -> Self {
        Self::new()
    }
}

impl Nexmark {
    /// The benchmark's defaults.
    pub fn new() -> Self {
        let world = World {
            start: START,
            interval: 1e5,
            hot_auctions: 2,
            hot_bidders: 4,
            hot_sellers: 4,
            auctions_in_flight: 100,
            active_people: 1_000,
            has_text: true,
            mix: None,
            sizes: Sizes::default(),
        };
        Self {
            count: u64::MAX,
            partitions: 1,
            rate: None,
            start: None,
            interval: None,
            disorder: Disorder::Groups(1),
            world,
        }
    }

    /// Ends after `events`, of all kinds, those included that are not yielded.
    #[must_use]
    pub fn count(mut self, events: u64) -> Self {
        self.count = events;
        self
    }

    /// Deals the events out to `partitions`, 50 by 50, so that all cover the same stretch of event time. At least one.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions.max(1) as u64;
        self
    }

    /// Makes `events_per_second`, of all kinds and over all partitions, as the kernel's clock goes. Event time follows
    /// the calendar then, unless [`start`](Self::start) or [`interval`](Self::interval) are given. After a
    /// pause it makes up for one second at most.
    #[must_use]
    pub fn rate(mut self, events_per_second: f64) -> Self {
        self.rate = Some(events_per_second);
        self
    }

    /// The event time of the first event.
    #[must_use]
    pub fn start(mut self, start: Time) -> Self {
        self.start = Some(start);
        self
    }

    /// Event time from one event to the next.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Shuffles each `group` of events that follow each other, always in the same way. 1: all are in order. No
    /// event is more than `group` intervals late.
    #[must_use]
    pub fn out_of_order(mut self, group: u64) -> Self {
        self.disorder = Disorder::Groups(group.clamp(1, u64::from(u32::MAX)));
        self
    }

    /// Delays a `share` of the events, by `most` of event time at most: that many come after some that they should come
    /// before, the others are in order. Instead of [`out_of_order`](Self::out_of_order).
    #[must_use]
    pub fn disorder(mut self, share: f64, most: Duration) -> Self {
        self.disorder = Disorder::Share(share, most);
        self
    }

    /// All but one in `ratio` bids are for a hot auction. 2 unless said otherwise, 1: none is.
    #[must_use]
    pub fn hot_auctions(mut self, ratio: u64) -> Self {
        self.world.hot_auctions = ratio.max(1);
        self
    }

    /// All but one in `ratio` bids are by a hot bidder. 4 unless said otherwise, 1: none is.
    #[must_use]
    pub fn hot_bidders(mut self, ratio: u64) -> Self {
        self.world.hot_bidders = ratio.max(1);
        self
    }

    /// All but one in `ratio` auctions are by a hot seller. 4 unless said otherwise, 1: none is.
    #[must_use]
    pub fn hot_sellers(mut self, ratio: u64) -> Self {
        self.world.hot_sellers = ratio.max(1);
        self
    }

    /// How many auctions take bids at a time; 100 unless said otherwise.
    #[must_use]
    pub fn auctions_in_flight(mut self, auctions: u64) -> Self {
        self.world.auctions_in_flight = auctions;
        self
    }

    /// How many of the people who came last sell and bid; 1000 unless said otherwise.
    #[must_use]
    pub fn active_people(mut self, people: u64) -> Self {
        self.world.active_people = people;
        self
    }

    /// Leaves all text empty: events are made several times faster, for jobs that look at numbers alone.
    #[must_use]
    pub fn without_text(mut self) -> Self {
        self.world.has_text = false;
        self
    }

    /// Only the people.
    pub fn people(self) -> NexmarkSource<Person> {
        NexmarkSource { nexmark: self, make: World::person }
    }

    /// Only the auctions.
    pub fn auctions(self) -> NexmarkSource<Auction> {
        NexmarkSource { nexmark: self, make: World::auction }
    }

    /// Only the bids.
    pub fn bids(self) -> NexmarkSource<Bid> {
        NexmarkSource { nexmark: self, make: World::bid }
    }

    /// The settings that event time depends on, worked out.
    fn world(&self) -> World {
        let mut world = self.world.clone();
        if let Some(rate) = self.rate {
            world.interval = 1e9 / rate;
        }
        if let Some(interval) = self.interval {
            world.interval = interval.as_nanos() as f64;
        }
        world.start = self.start.unwrap_or(START);
        if self.is_live() {
            world.start = Time(0) + clock::wall();
        }
        world
    }

    /// Whether event time follows the calendar.
    fn is_live(&self) -> bool {
        self.rate.is_some() && self.start.is_none() && self.interval.is_none()
    }

    /// The numbers of the events of each partition.
    fn numbers(&self, world: &World) -> Result<Vec<Numbers>, Error> {
        Pace::check(self.rate)?;
        let order = self.disorder.order(world.interval)?;
        let share = self.rate.map(|rate| rate / self.partitions as f64);
        let open = |index| Numbers {
            is_live: self.is_live(),
            pace: share.map(Pace::new),
            next: index * CYCLE,
            end: self.count,
            partitions: self.partitions,
            order: order.clone(),
        };
        Ok((0..self.partitions).map(open).collect())
    }
}

impl Source for Nexmark {
    type Item = Event;
    type Partition = NexmarkPartition<Event>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        NexmarkSource { nexmark: self, make: World::event }.open()
    }
}

/// Event `number`, if it is of the kind that is wanted.
type Make<T> = fn(&World, u64) -> Option<T>;

/// The events of one kind of a [`Nexmark`].
#[derive(Clone)]
pub struct NexmarkSource<T> {
    nexmark: Nexmark,
    make: Make<T>,
}

impl<T: Record> Source for NexmarkSource<T> {
    type Item = T;
    type Partition = NexmarkPartition<T>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        let Self { nexmark, make } = self;
        let world = nexmark.world();
        let open = |numbers| NexmarkPartition { world: world.clone(), make, numbers };
        Ok(nexmark.numbers(&world)?.into_iter().map(open).collect())
    }
}

impl<T> fmt::Debug for NexmarkSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nexmark.fmt(f)
    }
}

/// Which events a partition gives, and when: every so manieth cycle.
#[derive(Debug)]
pub(crate) struct Numbers {
    is_live: bool,
    pace: Option<Pace>,
    /// The place of the next event in the stream.
    next: u64,
    end: u64,
    partitions: u64,
    order: Order,
}

impl Numbers {
    /// The number of the next event, and goes on to the place after; `None` at the end.
    fn step(&mut self) -> Option<u64> {
        let place = self.next;
        if place >= self.end {
            return None;
        }
        self.next += 1;
        if self.next.is_multiple_of(CYCLE) {
            self.next = self.next.saturating_add((self.partitions - 1) * CYCLE);
        }
        Some(self.order.number(place, self.end))
    }

    /// How many events to make now, once they are due: at most `limit`.
    async fn due(&mut self, world: &mut World, limit: usize) -> usize {
        let Some(pace) = &mut self.pace else {
            return limit;
        };
        let due = pace.take(limit).await;
        if self.is_live {
            world.start = world.start + pace.take_forgiven();
        }
        due
    }

    /// Where the next event stands. Event time that follows the calendar does so in the next process, too.
    fn place(&self, world: &World) -> Place {
        json!({ "next": self.next, "start": world.start.0 })
    }

    fn seek(&mut self, place: Place, world: &mut World) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Spot {
            next: u64,
            start: i64,
        }
        let Spot { next, start } = serde_json::from_value(place)?;
        self.next = next;
        if self.is_live {
            // What is due now is now, as after any other pause.
            let passed = Duration::from_nanos((next as f64 * world.interval) as u64);
            let now = world.start.0.saturating_sub(i64::try_from(passed.as_micros()).unwrap_or(i64::MAX));
            world.start = Time(now.max(start));
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.next >= self.end
    }
}

/// The events of one partition of a [`Nexmark`].
pub struct NexmarkPartition<T> {
    world: World,
    make: Make<T>,
    numbers: Numbers,
}

impl<T: Record> Partition for NexmarkPartition<T> {
    type Item = T;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<T>>, Error> {
        let mut records = Vec::new();
        while records.is_empty() && !self.numbers.is_over() {
            for _ in 0..self.numbers.due(&mut self.world, limit.max(1)).await {
                let Some(number) = self.numbers.step() else { break };
                records.extend((self.make)(&self.world, number));
            }
        }
        let bytes = records.len() * (size_of::<T>() + if self.world.has_text { TEXT } else { 0 });
        let bundle = Bundle::from(records).with_bytes(bytes);
        Ok((!bundle.is_empty()).then(|| bundle.into()))
    }

    fn position(&self) -> String {
        format!("nexmark:{}", self.numbers.next)
    }

    fn place(&self) -> Option<Place> {
        Some(self.numbers.place(&self.world))
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.numbers.seek(place, &mut self.world)
    }
}

impl<T> fmt::Debug for NexmarkPartition<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NexmarkPartition(at {} of {})", self.numbers.next, self.numbers.end)
    }
}
