//! In which order events come: which one is at each place of the stream.

use std::time::Duration;

use updraft_dataflow::Error;

use super::random::Random;

/// Events out of order are shuffled by steps of this many, which is prime.
const SHUFFLE: u64 = 953;

/// How many events one may come after those that it should come before, at most.
const FARTHEST: u64 = 1 << 20;

/// What tells the random numbers of delays from those of events.
const DELAYS: u64 = 0xDE1A << 48;

/// What events are out of order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disorder {
    /// All, within each group of so many. 1: none.
    Groups(u64),
    /// A share of them, by so much at most.
    Share(f64, Duration),
}

impl Disorder {
    /// The order, where there are `interval` nanoseconds from one event to the next.
    pub(crate) fn order(self, interval: f64) -> Result<Order, Error> {
        match self {
            Self::Groups(group) if group.is_multiple_of(SHUFFLE) => {
                Err(format!("out_of_order({group}) is a multiple of {SHUFFLE}: take one more").into())
            }
            Self::Groups(group) => Ok(Order::Groups(group)),
            Self::Share(share, _) if !(0.0..=1.0).contains(&share) => {
                Err(format!("disorder({share}, …) is no share: give one from 0 to 1").into())
            }
            Self::Share(share, most) => match (most.as_nanos() as f64 / interval) as u64 {
                most @ 1..=FARTHEST => Ok(Order::Late(Late::new(share, most))),
                0 => Err("disorder is by less than it takes to the next event: allow for more of it".into()),
                more => Err(format!("disorder is by {more} events, {FARTHEST} at most: allow for less of it").into()),
            },
        }
    }
}

/// Which event is at each place.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Groups(u64),
    Late(Late),
}

impl Order {
    /// Which event is at `place`, in a stream of `end`.
    pub(crate) fn number(&mut self, place: u64, end: u64) -> u64 {
        match self {
            Self::Groups(group) => shuffled(place, *group, end),
            Self::Late(late) => late.number(place, end),
        }
    }
}

/// The last group is in order if it is not whole: part of a shuffle would miss some events and make up others.
fn shuffled(place: u64, group: u64, end: u64) -> u64 {
    let (start, at) = (place - place % group, place % group);
    if end - start < group { place } else { start + at * (SHUFFLE % group) % group }
}

/// Some events come after others that follow them.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    share: f64,
    /// By how many places, at most.
    most: u64,
    /// The block that was asked for last, and the events at its places: none is delayed out of it.
    start: u64,
    block: Vec<u64>,
}

impl Late {
    fn new(share: f64, most: u64) -> Self {
        Self { share, most, start: 0, block: Vec::new() }
    }

    fn number(&mut self, place: u64, end: u64) -> u64 {
        let length = (4 * self.most).max(1_024);
        let start = place - place % length;
        if self.block.is_empty() || self.start != start {
            self.start = start;
            self.fill(length.min(end - start));
        }
        self.block[(place - start) as usize]
    }

    /// Puts each event at the place that it is delayed to, after the one that is there in time.
    fn fill(&mut self, length: u64) {
        let place = |at: u64| {
            let mut random = Random::of((self.start + at) ^ DELAYS);
            let is_late = random.fraction() < self.share;
            let delay = if is_late { 1 + random.below(self.most) } else { 0 };
            ((at + delay).min(length - 1), is_late)
        };
        let mut places: Vec<_> = (0..length).map(|at| (place(at), self.start + at)).collect();
        places.sort_by_key(|(place, _)| *place);
        self.block = places.into_iter().map(|(_, number)| number).collect();
    }
}
