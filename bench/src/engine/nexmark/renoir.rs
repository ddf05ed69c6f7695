//! renoir, as far as its operators go. Event time windows start with the first record of each key, so on queries 7 and 8 they are
//! other windows; sessions go by the clock of the machine, so there is no query 11.

use renoir::operator::window::TransactionOp;
use renoir::prelude::*;

use super::queries::{
    Averages, Lot, TICK, WINDOW, Winner, auction, digest_bid, digest_new_seller, digest_suggestion, higher, is_local,
    is_wanted,
};
use crate::Workload;
use crate::data::nexmark::{DELAY, Event};
use crate::data::{Bid, Data, SECOND};
use crate::engine::renoir::{share, total};

pub(super) fn run(workload: Workload, data: &Data, threads: usize) -> Option<u64> {
    let context = StreamContext::new(RuntimeConfig::local(threads as u64).ok()?);
    macro_rules! source {
        ($records:expr) => {{
            let records = $records.clone();
            context.stream_par_iter(move |index, peers| share(records, index, peers))
        }};
    }
    /// Watermarks each so often.
    macro_rules! timed {
        ($records:expr, $time:expr, $step:expr) => {
            source!($records).add_timestamps($time, watermarks($step))
        };
    }
    /// Winning bids: a transaction of each auction is committed when it is over.
    macro_rules! winners {
        ($offers:expr) => {
            timed!($offers, Event::time, SECOND)
                .group_by(|event| auction(event).unwrap_or_default())
                .window(TransactionWindow::new(|event: &Event| match event {
                    Event::Auction(auction) => TransactionOp::CommitAfter(auction.expires),
                    _ => TransactionOp::Continue,
                }))
                .fold(Lot::default(), |lot, event| {
                    lot.take(event);
                })
                .drop_key()
                .filter_map(|lot: Lot| lot.winner())
        };
    }
    Some(match (workload, data) {
        (Workload::Q3, Data::Sellers(sellers)) => {
            let people = source!(sellers.people).filter(is_local);
            let auctions = source!(sellers.auctions).filter(is_wanted);
            let pairs = people.join(auctions, |person| person.id, |auction| auction.seller).drop_key();
            total!(context, pairs.map(|(person, auction)| digest_suggestion((person.id, person.state, auction.id))))
        }
        (Workload::Q4, Data::Offers(offers)) => {
            let averages = winners!(offers)
                .group_by(|winner: &Winner| winner.category)
                .rich_map({
                    let (mut count, mut sum) = (0, 0);
                    move |(category, winner)| {
                        count += 1;
                        sum += winner.bid.price;
                        (*category, count, sum)
                    }
                })
                .drop_key()
                .fold_assoc(Averages::default(), Averages::keep, |all, other| {
                    other.rows().for_each(|average| all.keep(average));
                })
                .collect_vec();
            context.execute_blocking();
            averages.get().and_then(|averages| averages.into_iter().next()).unwrap_or_default().checksum()
        }
        (Workload::Q7, Data::Bids(bids)) => {
            // Those of each worker first.
            let windows = EventTimeWindow::tumbling(WINDOW);
            let highest = timed!(bids, |bid: &Bid| bid.time, SECOND)
                .key_by(|_| ())
                .window(windows.clone())
                .fold_first(|best, bid| *best = higher(*best, *bid))
                .drop_key()
                .window_all(windows)
                .fold_first(|best, bid| *best = higher(*best, *bid))
                .drop_key();
            total!(context, highest.map(digest_bid))
        }
        (Workload::Q8, Data::Sellers(sellers)) => {
            let people = timed!(sellers.people, |person| person.time, 10 * SECOND).group_by(|person| person.id);
            let auctions =
                timed!(sellers.auctions, |auction| auction.time, 10 * SECOND).group_by(|auction| auction.seller);
            let pairs = people.window_join(EventTimeWindow::tumbling(WINDOW), auctions).drop_key();
            total!(context, pairs.map(|(person, _)| digest_new_seller((person.time, person.id))))
        }
        (Workload::Q9, Data::Offers(offers)) => {
            total!(context, winners!(offers).map(|winner: Winner| digest_bid(winner.bid)))
        }
        (Workload::Q12, Data::Bids(bids)) => {
            let counts = source!(bids)
                .map(|bid| bid.bidder)
                .group_by(|bidder| *bidder)
                .window(ProcessingTimeWindow::tumbling(TICK))
                .count();
            total!(context, counts.drop_key().map(|count| count as u64))
        }
        _ => return None,
    })
}

/// A watermark each `step` of event time, as late as records may be.
fn watermarks<T>(step: i64) -> impl FnMut(&T, &i64) -> Option<i64> + Clone {
    let (mut newest, mut last) = (0, 0);
    move |_, time| {
        newest = newest.max(*time);
        let reached = newest - DELAY;
        (reached >= last + step).then(|| {
            last = reached;
            // What is at the watermark is late here.
            reached - 1
        })
    }
}
