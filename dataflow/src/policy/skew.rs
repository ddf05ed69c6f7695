//! [`Skew`]: keeps shards level over the kernels that work for their stage, and splits hot keys.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Decision, Policy, percent};
use crate::control::{Cut, PartCut, Rehash, SplitKey};
use crate::keyed::HotKey;

/// Moves shards from kernels that more records come for to those that fewer do. Before that, where one key alone has more than half of a kernel's share, that
/// one is [split](SplitKey), if the stage [says how](crate::operator::Shuffled::combine); it stays split then.
///
/// It is for stages that own their keys. Windows need nothing of the kind: each kernel has a share of each key there, and they are merged when a window fires.
/// Where a single shard has more than a kernel's share it gets a kernel to itself, and the log says so.
#[derive(Clone, Debug)]
pub struct Skew {
    tolerance: f64,
    records: u64,
    /// Stages and shards of which it was told that they cannot be spread.
    told: BTreeSet<(usize, usize)>,
    /// Stages and keys that it has split.
    split: BTreeSet<(usize, String)>,
}

impl Default for Skew {
    /// When a kernel has a tenth more than its share, of a thousand records or more.
    fn default() -> Self {
        Self { tolerance: 0.1, records: 1_000, told: BTreeSet::new(), split: BTreeSet::new() }
    }
}

impl Skew {
    /// By how much the busiest kernel may have more than its share: 0.1 for a tenth.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// How many records have to have come for a stage since the last look.
    #[must_use]
    pub fn records(self, records: u64) -> Self {
        Self { records, ..self }
    }
}

impl Policy for Skew {
    const NAME: &'static str = "skew";

    fn decide(&mut self, before: &Cut, now: &Cut) -> Vec<Decision> {
        let before: BTreeMap<_, _> = before.parts.iter().map(|cut| (cut.part.number, cut)).collect();
        let keyed = now.parts.iter().filter(|cut| cut.part.is_keyed);
        keyed.filter_map(|cut| self.level(before.get(&cut.part.number)?, cut)).collect()
    }
}

impl Skew {
    fn level(&mut self, before: &PartCut, now: &PartCut) -> Option<Decision> {
        let loads: Vec<Shard> = (now.loads.iter().zip(&before.loads))
            .map(|(now, before)| Shard { kernel: now.kernel, records: now.records.saturating_sub(before.records) })
            .collect();
        let all: u64 = loads.iter().map(|shard| shard.records).sum();
        if all < self.records.max(1) {
            return None;
        }
        if let Some(split) = self.split(now, &loads, all as f64) {
            return Some(split);
        }
        let (moves, after) = leveled(&loads, self.tolerance);
        let most = |loads: &[Shard]| by_kernel(loads).into_values().max().unwrap_or(0) as f64 / all as f64;
        let stage = &now.part;
        if moves.is_empty() {
            let (hot, shard) = loads.iter().enumerate().max_by_key(|(_, shard)| shard.records)?;
            let (share, fair) = (shard.records as f64 / all as f64, 1.0 / by_kernel(&loads).len() as f64);
            let is_hot = share > fair * (1.0 + self.tolerance) && self.told.insert((stage.number, hot));
            let hottest = now.hot.iter().find(|key| key.shard == hot);
            let of_keys = || match hottest {
                Some(key) => {
                    let remedy = "the stage does not say how its records could be combined";
                    format!("key {} alone is {} of them, and {remedy}", key.key, percent(key.share))
                }
                None => "they are of many keys, which more shards would spread".to_owned(),
            };
            return is_hot.then(|| Decision {
                change: Change::Nothing,
                why: format!(
                    "{} of the records of {stage} are of shard {hot}, more than a kernel's share: {}",
                    percent(share),
                    of_keys()
                ),
            });
        }
        let moved: Vec<_> = moves.iter().map(|(shard, kernel)| format!("{shard} to kernel {kernel}")).collect();
        let rehash = Rehash::stage(&*stage.name);
        Some(Decision {
            change: Change::Rehash(moves.iter().fold(rehash, |rehash, (shard, kernel)| rehash.shard(*shard, *kernel))),
            why: format!(
                "the busiest kernel has {} of the records of {stage}: shard {} would make that {}",
                percent(most(&loads)),
                moved.join(", "),
                percent(most(&after)),
            ),
        })
    }
}

impl Skew {
    /// Splits the hottest key, if that is what a kernel has too much of.
    fn split(&mut self, now: &PartCut, loads: &[Shard], all: f64) -> Option<Decision> {
        let sums = by_kernel(loads);
        let fair = all / sums.len() as f64;
        let is_skewed = sums.into_values().any(|sum| sum as f64 > fair * (1.0 + self.tolerance));
        let records = |key: &HotKey| loads.get(key.shard).map_or(0.0, |shard| key.share * shard.records as f64);
        let hottest = now.hot.iter().max_by(|one, other| records(one).total_cmp(&records(other)))?;
        let is_hot = is_skewed && now.part.is_splittable && records(hottest) > fair / 2.0;
        let HotKey { key, shard, .. } = hottest;
        let is_new = is_hot && self.split.insert((now.part.number, key.clone()));
        is_new.then(|| Decision {
            change: Change::Split(SplitKey::stage(&*now.part.name).split(key)),
            why: format!(
                "key {key} alone is {} of the records of {}: they are combined before they come to shard {shard}",
                percent(records(hottest) / all),
                now.part
            ),
        })
    }
}

/// A shard, and how much has come for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shard {
    pub(super) kernel: usize,
    pub(super) records: u64,
}

pub(super) fn by_kernel(shards: &[Shard]) -> BTreeMap<usize, u64> {
    let mut sums = BTreeMap::new();
    shards.iter().for_each(|shard| *sums.entry(shard.kernel).or_insert(0) += shard.records);
    sums
}

/// Which shards to move where, one after the other: from the kernel with the most to that with the least, the one that levels these two the most. And what there is
/// then.
pub(super) fn leveled(shards: &[Shard], tolerance: f64) -> (Vec<(usize, usize)>, Vec<Shard>) {
    let (mut shards, mut moves) = (shards.to_vec(), BTreeMap::new());
    for _ in 0..shards.len() {
        let sums = by_kernel(&shards);
        let fair = sums.values().sum::<u64>() as f64 / sums.len().max(1) as f64;
        let (Some((hot, most)), Some((cold, least))) =
            (sums.iter().max_by_key(|(_, sum)| **sum), sums.iter().min_by_key(|(_, sum)| **sum))
        else {
            break;
        };
        if *most as f64 <= fair * (1.0 + tolerance) {
            break;
        }
        let gap = most - least;
        // What the larger of the two would have then is the least for a shard of half the gap.
        let level = |at: &usize| shards[*at].records.min(gap.saturating_sub(shards[*at].records));
        // A kernel keeps one shard at least.
        let own: Vec<_> = (0..shards.len()).filter(|at| shards[*at].kernel == *hot).collect();
        let best = own.iter().copied().filter(|_| own.len() > 1).max_by_key(level);
        let Some(best) = best.filter(|best| level(best) > 0) else { break };
        shards[best].kernel = *cold;
        moves.insert(best, *cold);
    }
    (moves.into_iter().collect(), shards)
}
