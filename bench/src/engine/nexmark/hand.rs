//! The loops: with two threads each reads all records, and works on those of its own keys.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::queries::{
    Averages, Highest, Lots, NewSellers, Query, Recent, Suggest, Visits, WINDOW, digest_bid, digest_new_seller,
    digest_session, digest_suggestion, higher,
};
use crate::Workload;
use crate::data::nexmark::{DELAY, Event};
use crate::data::{Bid, Data, mix};

/// Records that a thread takes at a time.
const CHUNK: usize = 8_192;

pub(super) fn run(workload: Workload, data: &Data, threads: usize) -> Option<u64> {
    let time = Event::time;
    Some(match (workload, data) {
        (Workload::Q3, Data::Sellers(sellers)) => summed::<Suggest>(&sellers.all, threads, time, digest_suggestion),
        (Workload::Q8, Data::Sellers(sellers)) => summed::<NewSellers>(&sellers.all, threads, time, digest_new_seller),
        (Workload::Q9, Data::Offers(offers)) => summed::<Lots>(offers, threads, time, |winner| digest_bid(winner.bid)),
        (Workload::Q4, Data::Offers(offers)) => {
            let averages = Mutex::new((Averages::default(), Averages::default()));
            owned::<Lots>(offers, threads, time, |winner| {
                let (averages, last) = &mut *averages.lock().unwrap_or_else(PoisonError::into_inner);
                averages.take(winner, &mut |average| last.keep(average));
            });
            averages.into_inner().unwrap_or_else(PoisonError::into_inner).1.checksum()
        }
        (Workload::Q7, Data::Bids(bids)) => highest(bids, threads),
        (Workload::Q11, Data::Bids(bids)) => summed::<Visits>(bids, threads, |bid| bid.time, digest_session),
        (Workload::Q12, Data::Bids(bids)) => summed::<Recent>(bids, threads, |bid| bid.time, |(_, count)| count),
        _ => return None,
    })
}

fn summed<Q: Query>(
    records: &[Q::Record],
    threads: usize,
    time: impl Fn(&Q::Record) -> i64 + Sync,
    digest: fn(Q::Row) -> u64,
) -> u64 {
    owned_with::<Q, u64>(records, threads, time, |sum, row| *sum = sum.wrapping_add(digest(row)))
        .into_iter()
        .fold(0, u64::wrapping_add)
}

fn owned<Q: Query>(
    records: &[Q::Record],
    threads: usize,
    time: impl Fn(&Q::Record) -> i64 + Sync,
    give: impl Fn(Q::Row) + Sync,
) {
    owned_with::<Q, ()>(records, threads, time, |(), row| give(row));
}

/// What each thread makes of its rows.
fn owned_with<Q: Query, A: Default + Send>(
    records: &[Q::Record],
    threads: usize,
    time: impl Fn(&Q::Record) -> i64 + Sync,
    add: impl Fn(&mut A, Q::Row) + Sync,
) -> Vec<A> {
    let one = |thread: usize| {
        let (mut query, mut made, mut newest) = (Q::default(), A::default(), 0);
        let mut give = |row| add(&mut made, row);
        for chunk in records.chunks(CHUNK) {
            for record in chunk {
                newest = newest.max(time(record));
                let is_own = |key: u64| (mix(key) >> 40) as usize % threads == thread;
                if threads == 1 || Q::key(record).is_some_and(is_own) {
                    query.take(*record, &mut give);
                }
            }
            query.advance(newest - DELAY, &mut give);
        }
        query.advance(i64::MAX, &mut give);
        made
    };
    parallel(threads, one)
}

fn parallel<A: Send>(threads: usize, one: impl Fn(usize) -> A + Sync) -> Vec<A> {
    if threads == 1 {
        return vec![one(0)];
    }
    std::thread::scope(|scope| {
        let one = &one;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    })
}

/// Query 7 has no keys: each thread takes every other chunk, and who closes a window last tells it.
fn highest(bids: &[Bid], threads: usize) -> u64 {
    let half = Mutex::new(BTreeMap::<i64, (Bid, usize)>::new());
    let one = |thread: usize| {
        let (mut query, mut sum, mut newest) = (Highest::default(), 0_u64, 0);
        let mut give = |bid: Bid| {
            let half = &mut *half.lock().unwrap_or_else(PoisonError::into_inner);
            let window = bid.time.div_euclid(WINDOW);
            let (best, shares) = half.remove(&window).map_or((bid, 1), |(other, n)| (higher(other, bid), n + 1));
            if shares == threads {
                sum = sum.wrapping_add(digest_bid(best));
            } else {
                half.insert(window, (best, shares));
            }
        };
        for chunk in bids.chunks(CHUNK).skip(thread).step_by(threads) {
            for bid in chunk {
                newest = newest.max(bid.time);
                query.take(*bid, &mut |_| {});
            }
            query.advance(newest - DELAY, &mut give);
        }
        query.advance(i64::MAX, &mut give);
        sum
    };
    let sums = parallel(threads, one).into_iter().fold(0, u64::wrapping_add);
    // A window of which one thread had no bid.
    let rest = half.into_inner().unwrap_or_else(PoisonError::into_inner);
    rest.into_values().fold(sums, |sum, (best, _)| sum.wrapping_add(digest_bid(best)))
}
