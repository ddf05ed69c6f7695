//! What happens in an auction: the records of the benchmark.

use serde::{Deserialize, Serialize};
use updraft_dataflow::Time;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody registered.
    Person(Person),
    /// Something was put up for auction.
    Auction(Auction),
    /// Somebody made an offer.
    Bid(Bid),
}

impl Event {
    /// When it happened.
    pub fn time(&self) -> Time {
        match self {
            Self::Person(person) => person.date_time,
            Self::Auction(auction) => auction.date_time,
            Self::Bid(bid) => bid.date_time,
        }
    }
}

/// A person who sells or bids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// From 1000, one more each.
    pub id: u64,
    /// First and last name.
    pub name: String,
    /// Made up.
    pub email_address: String,
    /// Four groups of four digits.
    pub credit_card: String,
    /// In the west of the United States.
    pub city: String,
    /// Two letters.
    pub state: String,
    /// When the person registered.
    pub date_time: Time,
    /// Filler: brings the record to 200 bytes on the average.
    pub extra: String,
}

/// An item that is for sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auction {
    /// From 1000, one more each.
    pub id: u64,
    /// Random text.
    pub item_name: String,
    /// Random text.
    pub description: String,
    /// Cents.
    pub initial_bid: u64,
    /// Cents; below it the item is not sold.
    pub reserve: u64,
    /// When it was put up.
    pub date_time: Time,
    /// When bidding ends.
    pub expires: Time,
    /// The [`Person`] who sells.
    pub seller: u64,
    /// From 10 to 14.
    pub category: u64,
    /// Filler: brings the record to 500 bytes on the average.
    pub extra: String,
}

/// An offer for an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bid {
    /// The [`Auction`] it is for.
    pub auction: u64,
    /// The [`Person`] who makes it.
    pub bidder: u64,
    /// Cents.
    pub price: u64,
    /// Where it came from: one of four large ones, or one of ten thousand small ones.
    pub channel: String,
    /// The page it was made on.
    pub url: String,
    /// When it was made.
    pub date_time: Time,
    /// Filler: brings the record to 100 bytes on the average.
    pub extra: String,
}
