//! The Nexmark source: proportions, shares of the hot ones, order, and that it is always the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{read, read_parts, run};
use updraft_connectors::Nexmark;
use updraft_connectors::nexmark::Event;
use updraft_dataflow::{Partition, Source, Time};
use updraft_kernel::clock;

const COUNT: u64 = 100_000;

fn share(part: usize, all: usize) -> f64 {
    part as f64 / all as f64
}

#[test]
fn one_person_three_auctions_forty_six_bids() {
    let events = read(Nexmark::new().count(COUNT).without_text(), 1_000).unwrap().records;
    let count = |kind: fn(&Event) -> bool| events.iter().filter(|event| kind(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Person(_))), 2_000);
    assert_eq!(count(|event| matches!(event, Event::Auction(_))), 6_000);
    assert_eq!(count(|event| matches!(event, Event::Bid(_))), 92_000);
    let times: Vec<_> = events.iter().map(|event| event.time().0 - events[0].time().0).collect();
    assert_eq!(times, (0..COUNT as i64).map(|i| i * 100).collect::<Vec<_>>());
}

#[test]
fn one_kind_is_what_all_kinds_have_of_it() {
    let all = read(Nexmark::new().count(5_000), 1_000).unwrap().records;
    let bids: Vec<_> =
        all.iter().filter_map(|e| if let Event::Bid(bid) = e { Some(bid.clone()) } else { None }).collect();
    let auctions: Vec<_> =
        all.iter().filter_map(|e| if let Event::Auction(a) = e { Some(a.clone()) } else { None }).collect();
    let people: Vec<_> =
        all.iter().filter_map(|e| if let Event::Person(p) = e { Some(p.clone()) } else { None }).collect();
    assert_eq!(read(Nexmark::new().count(5_000).bids(), 7).unwrap().records, bids);
    assert_eq!(read(Nexmark::new().count(5_000).auctions(), 7).unwrap().records, auctions);
    assert_eq!(read(Nexmark::new().count(5_000).people(), 7).unwrap().records, people);
}

#[test]
fn events_are_always_these() {
    let events = read(Nexmark::new().count(5_000), 1_000).unwrap().records;
    let text: String = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    assert_eq!(text.bytes().fold(0xCBF2_9CE4_8422_2325, hash), 10_970_657_543_626_276_930);
}

#[test]
fn the_hot_ones_get_their_share() {
    let bids = read(Nexmark::new().count(COUNT).without_text().bids(), 1_000).unwrap().records;
    let auctions = bids.iter().filter(|bid| bid.auction % 100 == 0).count();
    let bidders = bids.iter().filter(|bid| bid.bidder % 100 == 1).count();
    // Those that are not meant to be hot hit a hot one now and then.
    assert!((0.50..0.52).contains(&share(auctions, bids.len())), "{auctions}");
    assert!((0.75..0.77).contains(&share(bidders, bids.len())), "{bidders}");
    let auctions = read(Nexmark::new().count(COUNT).without_text().auctions(), 1_000).unwrap().records;
    let sellers = auctions.iter().filter(|auction| auction.seller % 100 == 0).count();
    assert!((0.73..0.78).contains(&share(sellers, auctions.len())), "{sellers}");
}

#[test]
fn what_is_referred_to_exists_or_is_about_to() {
    let events = read(Nexmark::new().count(COUNT).without_text(), 1_000).unwrap().records;
    let (mut people, mut auctions) = (1_000, 1_000);
    for event in events {
        match event {
            Event::Person(person) => people = person.id,
            Event::Auction(auction) => {
                auctions = auction.id;
                assert!(auction.seller <= people + 10 && auction.expires > auction.date_time);
                assert!(auction.reserve > auction.initial_bid && (10..15).contains(&auction.category));
            }
            Event::Bid(bid) => {
                assert!(bid.auction <= auctions + 10 && bid.bidder <= people + 10);
                assert!(bid.auction + 200 >= auctions && (100..=100_000_000).contains(&bid.price));
            }
        }
    }
}

#[test]
fn records_have_the_sizes_of_the_benchmark() {
    let bids = read(Nexmark::new().count(10_000).bids(), 1_000).unwrap().records;
    let filler = bids.iter().map(|bid| bid.extra.len()).sum::<usize>() / bids.len();
    assert!((66..70).contains(&filler), "{filler}");
    assert!(bids.iter().any(|bid| bid.channel == "Apple") && bids.iter().any(|bid| bid.url.contains("&channel_id=")));
}

#[test]
fn partitions_and_disorder_change_the_order_and_nothing_else() {
    let key = |event: &Event| serde_json::to_string(event).unwrap();
    let base: BTreeSet<_> = read(Nexmark::new().count(5_030), 64).unwrap().records.iter().map(key).collect();
    for (partitions, group) in [(1, 1_000), (3, 1), (4, 20), (7, 954)] {
        let source = Nexmark::new().count(5_030).partitions(partitions).out_of_order(group);
        let events: Vec<_> = read_parts(source, 64).unwrap().into_iter().flat_map(|part| part.records).collect();
        assert_eq!(events.len(), 5_030);
        assert_eq!(events.iter().map(key).collect::<BTreeSet<_>>(), base);
    }
}

#[test]
fn disorder_is_bounded() {
    let bids = read(Nexmark::new().count(20_000).out_of_order(100).bids(), 1_000).unwrap().records;
    let (mut high, mut late) = (Time::MIN, 0);
    for bid in &bids {
        high = high.max(bid.date_time);
        late += usize::from(bid.date_time < high);
        assert!(bid.date_time + Duration::from_millis(10) > high);
    }
    assert!(share(late, bids.len()) > 0.5, "{late}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let error = Nexmark::new().out_of_order(1_906).open().unwrap_err().to_string();
    assert!(error.contains("take one more"), "{error}");
    let error = Nexmark::new().rate(0.0).open().unwrap_err().to_string();
    assert!(error.contains("more than 0"), "{error}");
}

#[test]
fn live_event_time_follows_the_calendar() {
    run(|| async {
        let mut partition = Nexmark::new().rate(5_000.0).open().unwrap().remove(0);
        for _ in 0..20 {
            let batch = partition.next(10).await.unwrap().unwrap();
            let now = Time(0) + clock::wall();
            for event in batch.records.as_slice() {
                let lag = now.0 - event.time().0;
                assert!((-1_000..500_000).contains(&lag), "{lag} µs behind");
            }
        }
    });
}
