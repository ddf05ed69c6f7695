//! In timely: the same as the loops, inside operators to which records are exchanged by key. Logical time is the watermark.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::operator::Operator as _;
use timely::dataflow::operators::vec::Filter as _;
use timely::dataflow::operators::{Input as _, Inspect as _, Probe as _};

use super::queries::{
    Averages, Highest, Lots, NewSellers, Query, Recent, Suggest, Visits, Winner, digest_bid, digest_new_seller,
    digest_session, digest_suggestion,
};
use crate::Workload;
use crate::data::nexmark::{DELAY, Event};
use crate::data::{Data, mix};

/// Records fed at a time.
const BATCH: usize = 1024;
/// Records between two watermarks.
const EPOCH: usize = 10_000;
/// Epochs that may be in flight.
const AHEAD: usize = 4;
/// For how long a worker that waits for the other sleeps, so as not to take its processor from it.
const PATIENCE: Option<Duration> = Some(Duration::from_micros(50));

type Rows<'scope, T> = Stream<'scope, u64, Vec<T>>;

/// Feeds every worker its chunks of the records into what `$flow` makes of them: a stream, and what to return at the end.
macro_rules! dataflow {
    ($records:expr, $time:expr, $threads:expr, |$stream:ident| $flow:expr) => {{
        let (records, threads): (_, usize) = ($records.clone(), $threads);
        let guards = timely::execute(timely::Config::process(threads), move |worker| {
            let (mut input, probe, result) = worker.dataflow::<u64, _, _>(|scope| {
                let (input, $stream) = scope.new_input::<Vec<_>>();
                let (stream, result) = $flow;
                let (probe, _) = stream.probe();
                (input, probe, result)
            });
            let mut reached = std::collections::VecDeque::from([0; AHEAD]);
            let mut newest = 0;
            for epoch in records.chunks(EPOCH) {
                for chunk in epoch.chunks(BATCH).skip(worker.index()).step_by(threads) {
                    input.send_batch(&mut chunk.to_vec());
                    worker.step();
                }
                newest = epoch.iter().map($time).fold(newest, i64::max);
                let watermark = (newest - DELAY).max(0) as u64;
                input.advance_to(watermark);
                reached.push_back(watermark);
                let through = reached.pop_front().unwrap_or_default();
                while probe.less_than(&through) {
                    worker.step_or_park(PATIENCE);
                }
            }
            drop(input);
            while !probe.done() {
                worker.step_or_park(PATIENCE);
            }
            result.get()
        });
        guards.expect("timely starts").join().into_iter().map(|result| result.expect("no worker panics"))
    }};
}

/// A dataflow that ends in the sum of what `$digest` makes of its rows.
macro_rules! summed {
    ($records:expr, $time:expr, $threads:expr, |$stream:ident| $flow:expr, $digest:expr) => {
        dataflow!($records, $time, $threads, |$stream| {
            let sum = Rc::new(Cell::new(0_u64));
            let adds = sum.clone();
            let rows = $flow.inspect(move |row| adds.set(adds.get().wrapping_add($digest(*row))));
            (rows, sum)
        })
        .fold(0, u64::wrapping_add)
    };
}

pub(super) fn run(workload: Workload, data: &Data, threads: usize) -> Option<u64> {
    let time = Event::time;
    Some(match (workload, data) {
        (Workload::Q3, Data::Sellers(sellers)) => {
            summed!(sellers.all, time, threads, |events| keyed::<Suggest>(events), digest_suggestion)
        }
        (Workload::Q8, Data::Sellers(sellers)) => {
            summed!(sellers.all, time, threads, |events| keyed::<NewSellers>(events), digest_new_seller)
        }
        (Workload::Q9, Data::Offers(offers)) => {
            summed!(offers, time, threads, |events| keyed::<Lots>(events), |winner: Winner| digest_bid(winner.bid))
        }
        (Workload::Q4, Data::Offers(offers)) => {
            let last = dataflow!(offers, time, threads, |events| {
                let last = Rc::new(Cell::new(Averages::default()));
                let keeps = last.clone();
                let averages = keyed::<Averages>(keyed::<Lots>(events)).inspect(move |average| {
                    let mut last = keeps.get();
                    last.keep(*average);
                    keeps.set(last);
                });
                (averages, last)
            });
            let mut all = Averages::default();
            last.flat_map(Averages::rows).for_each(|average| all.keep(average));
            all.checksum()
        }
        // Each worker's own highest bids first.
        (Workload::Q7, Data::Bids(bids)) => {
            summed!(
                bids,
                |bid| bid.time,
                threads,
                |bids| keyed::<Highest>(stage::<Highest, _>(bids, Pipeline)),
                digest_bid
            )
        }
        (Workload::Q11, Data::Bids(bids)) => {
            summed!(bids, |bid| bid.time, threads, |bids| keyed::<Visits>(bids), digest_session)
        }
        (Workload::Q12, Data::Bids(bids)) => {
            summed!(bids, |bid| bid.time, threads, |bids| keyed::<Recent>(bids), |(_, count)| count)
        }
        _ => return None,
    })
}

/// A query on the workers that own the keys.
fn keyed<Q: Query>(records: Rows<'_, Q::Record>) -> Rows<'_, Q::Row> {
    let by_key = Exchange::new(|record: &Q::Record| mix(Q::key(record).unwrap_or_default()) >> 40);
    stage::<Q, _>(records.filter(|record| Q::key(record).is_some()), by_key)
}

/// A query as an operator. It holds on to the time that its input has reached, to give rows at.
fn stage<Q: Query, P>(records: Rows<'_, Q::Record>, pact: P) -> Rows<'_, Q::Row>
where
    P: ParallelizationContract<u64, Vec<Q::Record>>,
{
    records.unary_frontier::<CapacityContainerBuilder<Vec<Q::Row>>, _, _, _>(pact, "query", |capability, _| {
        let (mut query, mut held) = (Q::default(), Some(capability));
        move |(input, frontier), output| {
            let Some(capability) = &mut held else { return };
            let reached = frontier.frontier().first().copied();
            {
                let mut session = output.session(&*capability);
                let mut give = |row| session.give(row);
                input.for_each_time(|_, batches| {
                    for batch in batches {
                        batch.drain(..).for_each(|record| query.take(record, &mut give));
                    }
                });
                if reached.is_none_or(|reached| reached > *capability.time()) {
                    query.advance(reached.map_or(i64::MAX, |reached| reached as i64), &mut give);
                }
            }
            match reached {
                Some(reached) if reached > *capability.time() => capability.downgrade(&reached),
                Some(_) => {}
                None => held = None,
            }
        }
    })
}
