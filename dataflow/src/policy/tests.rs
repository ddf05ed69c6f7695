//! Policies, by cuts that are made up.

use proptest::prelude::*;

use super::skew::{Shard, by_kernel, leveled};
use super::*;
use crate::control::{Load, Part, PartCut, Seen};
use crate::explain::NodeKind;
use crate::keyed::HotKey;
use crate::time::Time;

/// A part, after so many seconds.
fn part(kind: NodeKind, seen: Seen, loads: Vec<Load>) -> PartCut {
    let name = kind.to_string().into();
    let (instances, is_keyed) = (loads.len().max(1), !loads.is_empty());
    let part = Part { number: kind as usize, kind, name, instances, is_keyed, is_splittable: false };
    PartCut { part: Arc::new(part), seen, loads, hot: Vec::new(), watermark: Time::MIN, is_attached: true }
}

fn cut(seconds: u64, parts: Vec<PartCut>) -> Cut {
    Cut {
        epoch: Epoch(seconds),
        took: Duration::ZERO,
        at: clock::Nanos(seconds * 1_000_000_000),
        parts,
        epochs_in_flight: 0,
        memory: 0,
        watermark_lag: Duration::ZERO,
        epochs: 0,
        latencies: Vec::new(),
        kernels: 4,
    }
}

fn why(decisions: &[Decision]) -> Vec<&str> {
    decisions.iter().map(|decision| &*decision.why).collect()
}

fn shards(of: &[(usize, u64)]) -> Vec<Shard> {
    of.iter().map(|(kernel, records)| Shard { kernel: *kernel, records: *records }).collect()
}

proptest! {
    /// It never gets worse, each kernel keeps something, and no single move would make it much better.
    #[test]
    fn what_is_leveled_is_level(
        loads in proptest::collection::vec((0usize..4, 0u64..1_000), 1..24), hot in proptest::option::of(0u64..100_000),
    ) {
        let mut loads = loads;
        hot.into_iter().for_each(|hot| loads[0].1 = hot);
        let before = shards(&loads);
        let (moves, after) = leveled(&before, 0.0);
        let most = |shards: &[Shard]| by_kernel(shards).into_values().max().unwrap();
        prop_assert!(most(&after) <= most(&before));
        prop_assert_eq!(by_kernel(&after).len(), by_kernel(&before).len());
        prop_assert_eq!(by_kernel(&after).values().sum::<u64>(), by_kernel(&before).values().sum::<u64>());
        for (at, (was, is)) in before.iter().zip(&after).enumerate() {
            let moved = moves.iter().find(|(shard, _)| *shard == at).map_or(was.kernel, |(_, kernel)| *kernel);
            prop_assert_eq!((moved, was.records), (is.kernel, is.records));
        }
        let sums = by_kernel(&after);
        let (hot, most) = sums.iter().max_by_key(|(_, sum)| **sum).unwrap();
        let least = sums.values().min().unwrap();
        let own: Vec<_> = after.iter().filter(|shard| shard.kernel == *hot).collect();
        if own.len() > 1 {
            prop_assert!(own.iter().all(|shard| shard.records == 0 || least + shard.records >= *most));
        }
    }
}

#[test]
fn a_hot_shard_has_little_beside_it() {
    // Five shards on a kernel, one of which has half of all, and three on the other.
    let before = shards(&[(0, 50), (0, 10), (0, 10), (0, 10), (0, 5), (1, 5), (1, 5), (1, 5)]);
    let (_, after) = leveled(&before, 0.1);
    assert_eq!(*by_kernel(&after).values().max().unwrap(), 55);
    let (_, after) = leveled(&before, 0.0);
    assert_eq!(by_kernel(&after).into_values().collect::<Vec<_>>(), [50, 50]);
}

#[test]
fn skew_is_told_with_its_figures() {
    let loads = |of: [(usize, u64); 4]| of.map(|(kernel, records)| Load { kernel, records }).to_vec();
    let stage = |of| part(NodeKind::Stage, Seen::default(), loads(of));
    let before = cut(1, vec![stage([(0, 0), (0, 0), (1, 0), (1, 0)])]);
    let mut skew = Skew::default();
    let uneven = cut(2, vec![stage([(0, 4_000), (0, 2_000), (1, 1_000), (1, 1_000)])]);
    let decided = skew.decide(&before, &uneven);
    let told = "the busiest kernel has 75 % of the records of stage `stage`: shard 1 to kernel 1 would make that 50 %";
    assert_eq!(why(&decided), [told]);
    assert!(matches!(decided[0].change, Change::Rehash(_)));
    let even = cut(2, vec![stage([(0, 2_000), (0, 2_000), (1, 2_000), (1, 2_000)])]);
    assert!(skew.decide(&before, &even).is_empty());
    // So few are noise.
    assert!(skew.decide(&before, &cut(2, vec![stage([(0, 900), (0, 0), (1, 0), (1, 0)])])).is_empty());
    // A shard that is hot, with a kernel to itself: told once.
    let before = cut(1, vec![stage([(0, 0), (1, 0), (1, 0), (1, 0)])]);
    let mut hot = cut(2, vec![stage([(0, 8_000), (1, 1_000), (1, 500), (1, 500)])]);
    hot.parts[0].hot.push(HotKey { key: "17".into(), shard: 0, share: 0.9 });
    let decided = skew.decide(&before, &hot);
    assert!(matches!(decided[0].change, Change::Nothing), "{decided:?}");
    let told = "80 % of the records of stage `stage` are of shard 0, more than a kernel's share: key 17 alone is 90 % of them, and the \
                stage does not say how its records could be combined";
    assert_eq!(why(&decided), [told]);
    assert!(skew.decide(&before, &hot).is_empty());
}

#[test]
fn a_hot_key_is_split_once_where_that_is_possible() {
    let stage = |records: [u64; 4], hot: f64| {
        let loads = records.into_iter().enumerate().map(|(at, records)| Load { kernel: at / 2, records }).collect();
        let mut cut = part(NodeKind::Stage, Seen::default(), loads);
        let key = |key: &str, shard, share| HotKey { key: key.into(), shard, share };
        cut.hot = vec![key("\"cold\"", 0, 0.3), key("\"hot\"", 2, hot)];
        cut.part = Arc::new(Part { is_splittable: true, ..Part::clone(&cut.part) });
        cut
    };
    let before = cut(1, vec![stage([0; 4], 0.0)]);
    let mut skew = Skew::default();
    // Not so hot that it would be worth it: shards are moved.
    let decided = skew.decide(&before, &cut(2, vec![stage([1_000, 1_000, 4_000, 4_000], 0.5)]));
    assert!(matches!(decided[0].change, Change::Rehash(_)), "{decided:?}");
    // Hot, and level all the same.
    assert!(skew.decide(&before, &cut(2, vec![stage([4_000, 4_000, 7_000, 1_000], 0.9)])).is_empty());
    let hot = cut(2, vec![stage([1_000, 1_000, 7_000, 1_000], 0.8)]);
    let decided = skew.decide(&before, &hot);
    let told =
        "key \"hot\" alone is 56 % of the records of stage `stage`: they are combined before they come to shard 2";
    assert_eq!(why(&decided), [told]);
    assert!(matches!(decided[0].change, Change::Split(_)), "{decided:?}");
    let again = skew.decide(&before, &hot);
    assert!(matches!(again[0].change, Change::Rehash(_)), "{again:?}");
}

#[test]
fn as_many_kernels_work_as_are_busy() {
    let at = |seconds: u64, busy: f64, kernels: usize| {
        let seen = Seen { busy: Duration::from_secs_f64(busy), ..Seen::default() };
        cut(
            seconds,
            vec![part(NodeKind::Stage, seen, (0..4).map(|at| Load { kernel: at % kernels, records: 0 }).collect())],
        )
    };
    let mut policy = Autoscale::within(1..=3).patience(2);
    let mut decide = |busy: f64, kernels: usize| {
        policy.decide(&at(1, 0.0, kernels), &at(2, busy, kernels)).into_iter().map(|one| one.why).collect::<Vec<_>>()
    };
    assert_eq!(decide(0.9, 1), [""; 0]);
    assert_eq!(decide(0.9, 1), ["1 kernels are busy for 90 % of the time: 2 would be enough"]);
    assert_eq!(decide(1.0, 2), [""; 0], "in between");
    assert_eq!(decide(1.9, 2), [""; 0]);
    // There are four kernels, of which it may take three.
    assert_eq!(decide(1.9, 2), ["2 kernels are busy for 95 % of the time: 3 would be enough"]);
    assert_eq!(decide(0.1, 3), [""; 0]);
    assert_eq!(decide(2.0, 3), [""; 0], "it must be so twice in a row");
    assert_eq!(decide(0.1, 3), [""; 0]);
    assert_eq!(decide(0.1, 3), ["3 kernels are busy for 3 % of the time: 1 would be enough"]);
    assert_eq!([decide(0.0, 1), decide(0.0, 1)], [[""; 0]; 2], "one is the least");
}

#[test]
fn bundles_and_epochs_go_by_the_latency() {
    let ms = Duration::from_millis;
    let at = |epochs: u64, bundle: u64, latency: u64| Cut {
        epochs,
        latencies: vec![ms(latency); epochs as usize],
        ..cut(epochs, vec![part(NodeKind::Source, Seen { bundle, ..Seen::default() }, Vec::new())])
    };
    let mut policy = LatencyTarget::of(ms(10)).epochs("source", ms(20)..=ms(100));
    let (mut before, mut told) = (at(0, 256, 0), Vec::new());
    for (epochs, bundle, latency) in
        [(10, 256, 8), (20, 256, 50), (30, 128, 30), (40, 64, 20), (50, 64, 12), (60, 64, 12), (62, 64, 3), (80, 64, 3)]
    {
        let now = at(epochs, bundle, latency);
        told.extend(policy.decide(&before, &now).into_iter().map(|decision| decision.why));
        before = now;
    }
    assert_eq!(
        told,
        [
            "p99 is 50ms, to be 10ms: 128 records at a time of `source` instead of 256",
            "p99 is 30ms, to be 10ms: 64 records at a time of `source` instead of 128",
            "p99 is 20ms, to be 10ms: epochs of `source` of 50ms instead of 100ms",
            "p99 is 12ms, to be 10ms: epochs of `source` of 25ms instead of 50ms",
            "p99 is 12ms, to be 10ms: epochs of `source` of 20ms instead of 25ms",
            "p99 is 3ms, to be 10ms: 128 records at a time of `source` instead of 64",
        ]
    );
}
