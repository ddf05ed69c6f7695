//! A [`Partial`]: one kernel's share of one slice of a windowed aggregate.
//!
//! It is cut into partitions by the top bits of the key's hash, so that the shares of all kernels are
//! merged partition by partition, in parallel, without moving an entry that no other kernel has.
//!
//! Two depths, chosen by size:
//! * *shallow*: few partitions; updates wait in a batch of 64, for all of which the memory is asked at once.
//! * *deep*, once the tables outgrow the cache: 256 partitions, in front of each a long queue of updates, so
//!   that a partition's table is brought into the cache once for thousands of them (radix partitioning).
//!   A queue that is short at the end was never in a table at all: merging reads it as it is.

use crate::aggregate::Accumulate;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};
use crate::table::{Key, Table, hash_of};

/// Updates that wait for their cache lines together. The memory of a core answers some tens of fetches at a time.
const BATCH: usize = 64;
/// Bytes of tables beyond which a partial goes deep: about what the level 2 and a share of the level 3
/// cache hold of one kernel.
const SHALLOW_BYTES: usize = 8 << 20;
/// Partitions of a deep partial: a power of two; 8 bits of hash, which are also the key group.
pub(crate) const DEEP: usize = 256;
/// Bytes of updates that queue before a deep partition's table.
const QUEUE_BYTES: usize = 96 << 10;

/// The partition of `hash` among `1 << bits`.
#[inline]
fn partition(hash: u64, bits: u32) -> usize {
    // In two steps, for a shift by 64 is none.
    (hash >> 1 >> (63 - bits)) as usize
}

/// A partition: a table, and updates that are not in it yet.
pub(crate) struct Part<K, I, V> {
    pub(crate) table: Table<K, V>,
    queue: Vec<(K, I)>,
}

impl<K, I, V> Default for Part<K, I, V> {
    fn default() -> Self {
        Self { table: Table::default(), queue: Vec::new() }
    }
}

impl<K: Key, I, V> Part<K, I, V> {
    /// Brings the queue into the table.
    pub(crate) fn settle(&mut self, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        drain_into(&mut self.table, &mut self.queue, aggregate);
    }

    /// Takes all of `other` in, of which the memory is left.
    fn absorb(&mut self, other: &mut Self, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        if other.table.len() > self.table.len() {
            std::mem::swap(&mut self.table, &mut other.table);
        }
        merge_into(&mut self.table, other.table.drain(), aggregate);
        drain_into(&mut self.table, &mut other.queue, aggregate);
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.queue.capacity() * size_of::<(K, I)>()
    }

    /// Keys held, or more where some of the queue's are the same.
    pub(crate) fn len(&self) -> usize {
        self.table.len() + self.queue.len()
    }
}

/// Brings `queue` into `table`, a batch at a time.
fn drain_into<K: Key, A: Accumulate>(table: &mut Table<K, A::Acc>, queue: &mut Vec<(K, A::Item)>, aggregate: &A) {
    let mut hashes = [0; BATCH];
    while !queue.is_empty() {
        // From the end: updates may come in any order.
        let rest = queue.len().saturating_sub(BATCH);
        table.reserve(queue.len() - rest);
        for (hash, (key, _)) in hashes.iter_mut().zip(&queue[rest..]) {
            *hash = hash_of(key);
            table.prefetch(*hash);
        }
        for (hash, (key, item)) in hashes.into_iter().zip(queue.drain(rest..)) {
            aggregate.update(table.entry_with_room(hash, key, || aggregate.create()), item);
        }
    }
}

/// Merges `entries` into `table`.
pub(crate) fn merge_into<K: Key, A: Accumulate>(
    table: &mut Table<K, A::Acc>,
    entries: impl IntoIterator<Item = (K, A::Acc)>,
    aggregate: &A,
) {
    for (key, other) in entries {
        let acc = table.entry(hash_of(&key), key, || aggregate.create());
        aggregate.merge(acc, other);
    }
}

/// See the module's page.
pub(crate) struct Partial<K, I, V> {
    parts: Vec<Part<K, I, V>>,
    bits: u32,
    deep: bool,
    /// Shallow only: updates that are not in a table yet.
    batch: Vec<(K, I)>,
}

impl<K: Key, I, V> Partial<K, I, V> {
    /// Shallow, with `1 << bits` partitions.
    pub(crate) fn shallow(bits: u32, spare: &Spare<K, I, V>) -> Self {
        Self { parts: spare.take(1 << bits), bits, deep: false, batch: Vec::with_capacity(BATCH) }
    }

    /// Deep from the start, because the slices before were.
    pub(crate) fn deep(spare: &Spare<K, I, V>) -> Self {
        Self { parts: spare.take(DEEP), bits: DEEP.ilog2(), deep: true, batch: Vec::new() }
    }

    /// Whether the next slice should start deep: with as many keys, or half of them.
    pub(crate) fn is_large(&self) -> bool {
        self.deep && self.len() * size_of::<(K, V)>() > SHALLOW_BYTES / 4
    }

    /// Takes one record's item in.
    #[inline(always)]
    pub(crate) fn update(&mut self, key: K, item: I, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        if self.deep {
            let part = &mut self.parts[partition(hash_of(&key), DEEP.ilog2())];
            part.queue.push((key, item));
            if part.queue.len() * size_of::<(K, I)>() >= QUEUE_BYTES {
                part.settle(aggregate);
            }
        } else {
            self.batch.push((key, item));
            if self.batch.len() == BATCH {
                self.flush(aggregate);
            }
        }
    }

    /// Takes in what was accumulated elsewhere.
    pub(crate) fn merge(&mut self, key: K, other: V, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        let hash = hash_of(&key);
        let table = &mut self.parts[partition(hash, self.bits)].table;
        aggregate.merge(table.entry(hash, key, || aggregate.create()), other);
    }

    /// Brings the batch into the tables. Afterwards only deep queues wait.
    #[inline(never)]
    pub(crate) fn flush(&mut self, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        if let [part] = &mut self.parts[..] {
            drain_into(&mut part.table, &mut self.batch, aggregate);
        } else {
            let mut hashes = [0; BATCH];
            for (hash, (key, _)) in hashes.iter_mut().zip(&self.batch) {
                *hash = hash_of(key);
                self.parts[partition(*hash, self.bits)].table.prefetch(*hash);
            }
            for (hash, (key, item)) in hashes.into_iter().zip(self.batch.drain(..)) {
                let table = &mut self.parts[partition(hash, self.bits)].table;
                aggregate.update(table.entry(hash, key, || aggregate.create()), item);
            }
        }
        if !self.deep && self.bytes() > SHALLOW_BYTES {
            self.go_deep(aggregate);
        }
    }

    #[cold]
    fn go_deep(&mut self, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        let shallow = std::mem::replace(self, Self::deep(&Spare::default()));
        for part in shallow.parts {
            scatter(part, &mut self.parts, aggregate);
        }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Keys held, or more.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// The partitions, with nothing left in a batch.
    pub(crate) fn into_parts(mut self, aggregate: &impl Accumulate<Item = I, Acc = V>) -> Vec<Part<K, I, V>> {
        self.flush(aggregate);
        self.parts
    }

    /// The partitions, each settled into its table.
    pub(crate) fn settled(
        &mut self,
        aggregate: &impl Accumulate<Item = I, Acc = V>,
    ) -> impl Iterator<Item = &Table<K, V>> {
        self.flush(aggregate);
        self.parts.iter_mut().for_each(|part| part.settle(aggregate));
        self.parts.iter().map(|part| &part.table)
    }
}

/// Deals the entries of `part` out to finer partitions, which cover all hashes (as many as 2^n of them by the
/// top n bits). The part's queue must be empty: a shallow one's is.
fn scatter<K: Key, A: Accumulate>(
    part: Part<K, A::Item, A::Acc>,
    finer: &mut [Part<K, A::Item, A::Acc>],
    aggregate: &A,
) {
    debug_assert!(part.queue.is_empty());
    let bits = finer.len().ilog2();
    for (key, other) in part.table.into_entries() {
        let hash = hash_of(&key);
        let acc = finer[partition(hash, bits)].table.entry(hash, key, || aggregate.create());
        aggregate.merge(acc, other);
    }
}

/// The shares of all kernels in one slice, cut into pieces of the hash space that are merged apart from each other.
///
/// Returns `pieces` lists; each holds, for consecutive ranges of the hash, one part from each kernel that has any.
pub(crate) fn align<K: Key, A: Accumulate>(
    partials: Vec<Partial<K, A::Item, A::Acc>>,
    pieces: usize,
    aggregate: &A,
) -> Vec<Vec<Shares<K, A::Item, A::Acc>>> {
    let finest = partials.iter().map(|p| p.parts.len()).max().unwrap_or(1).max(pieces);
    let mut ranges: Vec<Shares<K, A::Item, A::Acc>> = std::iter::repeat_with(Vec::new).take(finest).collect();
    for partial in partials {
        let mut parts = partial.into_parts(aggregate);
        if parts.len() < finest {
            let mut finer: Vec<_> = std::iter::repeat_with(Part::default).take(finest).collect();
            parts.into_iter().for_each(|part| scatter(part, &mut finer, aggregate));
            parts = finer;
        }
        for (range, part) in ranges.iter_mut().zip(parts) {
            if part.len() > 0 {
                range.push(part);
            }
        }
    }
    let per_piece = finest / pieces;
    let mut ranges = ranges.into_iter();
    (0..pieces).map(|_| ranges.by_ref().take(per_piece).collect()).collect()
}

/// The parts of all kernels for one range of hashes.
pub(crate) type Shares<K, I, V> = Vec<Part<K, I, V>>;

/// The shares of all kernels become one table. `table`, which is empty, lends its memory; what memory the shares leave
/// goes to `spare`.
pub(crate) fn join<K: Key, A: Accumulate>(
    shares: Shares<K, A::Item, A::Acc>,
    aggregate: &A,
    table: Table<K, A::Acc>,
    spare: &Spare<K, A::Item, A::Acc>,
) -> Table<K, A::Acc> {
    let mut whole = Part { table, queue: Vec::new() };
    for mut share in shares {
        whole.absorb(&mut share, aggregate);
        spare.give(share);
    }
    whole.table
}

/// The memory of closed slices, which the next ones need again: as empty parts.
pub(crate) struct Spare<K, I, V> {
    parts: Mutex<Vec<Part<K, I, V>>>,
    bytes: AtomicUsize,
}

impl<K, I, V> Default for Spare<K, I, V> {
    fn default() -> Self {
        Self { parts: Mutex::default(), bytes: AtomicUsize::new(0) }
    }
}

impl<K: Key, I, V> Spare<K, I, V> {
    /// Keeps the memory of an empty part, if there is some and not enough of it.
    fn give(&self, part: Part<K, I, V>) {
        debug_assert!(part.len() == 0);
        let parts = &mut *lock(&self.parts);
        if (part.queue.capacity() > 0 || part.table.is_grown()) && parts.len() < 2 * DEEP {
            self.bytes.fetch_add(part.bytes(), Ordering::Relaxed);
            parts.push(part);
        }
    }

    /// Keeps the memory of a table that is empty now, and held `used` keys.
    pub(crate) fn give_table(&self, table: Table<K, V>, used: usize) {
        if !table.is_sparse(used) {
            self.give(Part { table, queue: Vec::new() });
        }
    }

    /// So many empty parts, with memory as far as there is some.
    fn take(&self, n: usize) -> Vec<Part<K, I, V>> {
        let parts = &mut *lock(&self.parts);
        let mut taken = parts.split_off(parts.len() - parts.len().min(n));
        self.bytes.fetch_sub(taken.iter().map(Part::bytes).sum(), Ordering::Relaxed);
        taken.resize_with(n, Part::default);
        taken
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
