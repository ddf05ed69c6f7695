//! A [`Partial`]: one kernel's share of one slice of a windowed aggregate.
//!
//! It is cut into partitions by the top bits of the key's hash, so that the shares of all kernels are
//! merged partition by partition, in parallel, without moving an entry that no other kernel has.
//!
//! Two depths, chosen by size:
//! * *shallow*: few partitions; updates come in batches of 64, for all of which the memory is asked at once.
//! * *deep*, once the tables outgrow the cache: 256 partitions, in front of each a long queue of updates, so
//!   that a partition's table is brought into the cache once for thousands of them (radix partitioning).
//!   A queue that is short at the end was never in a table at all: merging reads it as it is.

use updraft_kernel::prefetch;

use crate::aggregate::Accumulate;
use crate::stage::KeyGroup;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};
use crate::table::{Key, Table, hash_of};

/// Updates that wait for their cache lines together. The memory of a core answers some tens of fetches at a time.
pub(crate) const BATCH: usize = 64;
/// Bytes of tables beyond which a partial goes deep: about what the level 2 and a share of the level 3
/// cache hold of one kernel.
const SHALLOW_BYTES: usize = 8 << 20;
/// Bytes of entries beyond which a partial goes deep if most updates bring a new key: it would outgrow the cache anyway,
/// and a large table is dear to grow.
const SPREAD_BYTES: usize = 512 << 10;
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
pub struct Part<K, I, V> {
    pub(crate) table: Table<K, V>,
    queue: Vec<(K, I)>,
}

impl<K, I, V> Default for Part<K, I, V> {
    fn default() -> Self {
        Self { table: Table::default(), queue: Vec::new() }
    }
}

impl<K: Key, I, V> Part<K, I, V> {
    /// Takes all of `other` in, of which the memory is left.
    fn absorb(&mut self, other: &mut Self, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        // Into the larger one; but a table that has room already is not left for one that would have to grow.
        if other.table.len() > self.table.len() && other.table.bytes() >= self.table.bytes() {
            std::mem::swap(&mut self.table, &mut other.table);
        }
        merge_into(&mut self.table, other.table.drain(), aggregate);
        drain_into(&mut self.table, &mut other.queue, aggregate);
    }

    /// Keys held, or more where some of the queue's are the same.
    pub(crate) fn len(&self) -> usize {
        self.table.len() + self.queue.len()
    }
}

/// Brings `queue` into `table`, a batch at a time.
fn drain_into<K: Key, A: Accumulate>(table: &mut Table<K, A::Acc>, queue: &mut Vec<(K, A::Item)>, aggregate: &A) {
    let (mut hashes, mut rest) = ([0; BATCH], queue.drain(..));
    if size_of::<K>() == 0
        && let Some((key, item)) = rest.next()
    {
        // There is but one key.
        let acc = table.entry(hash_of(&key), key, || aggregate.create());
        aggregate.update(acc, item);
        update_all(acc, rest.map(|(_, item)| item), aggregate);
        return;
    }
    while rest.len() > 0 {
        table.reserve(rest.len().min(BATCH));
        for (hash, (key, _)) in hashes.iter_mut().zip(rest.as_slice()) {
            *hash = hash_of(key);
            table.prefetch(*hash);
        }
        for (hash, (key, item)) in hashes.into_iter().zip(&mut rest) {
            aggregate.update(table.entry_with_room(hash, key, || aggregate.create()), item);
        }
    }
}

/// A function of its own, for the compiler to know that nothing else is at `acc`: it can be kept in registers.
#[inline(never)]
fn update_all<A: Accumulate>(acc: &mut A::Acc, items: impl Iterator<Item = A::Item>, aggregate: &A) {
    items.for_each(|item| aggregate.update(acc, item));
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
pub struct Partial<K, I, V> {
    tables: Vec<Table<K, V>>,
    /// Deep only: what waits for each table. Apart from them, for the ends of all queues share the first level cache.
    queues: Vec<Vec<(K, I)>>,
    bits: u32,
    /// Shallow only: updates that are in a table.
    updates: usize,
}

impl<K: Key, I, V> Partial<K, I, V> {
    /// Shallow, with `1 << bits` partitions.
    pub(crate) fn shallow(bits: u32, spare: &Spare<K, I, V>) -> Self {
        let tables = std::iter::repeat_with(|| spare.table()).take(1 << bits).collect();
        Self { tables, queues: Vec::new(), bits, updates: 0 }
    }

    /// Deep from the start, because the slices before were.
    pub(crate) fn deep(spare: &Spare<K, I, V>) -> Self {
        let tables = std::iter::repeat_with(Table::default).take(DEEP).collect();
        Self { tables, queues: spare.queues(DEEP), bits: DEEP.ilog2(), updates: 0 }
    }

    fn is_deep(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Whether the next slice should start deep: with as many keys, or half of them.
    pub(crate) fn is_large(&self) -> bool {
        self.is_deep() && self.len() * size_of::<(K, V)>() > SHALLOW_BYTES / 4
    }

    /// Takes in a batch of records' keys and items, at most [`BATCH`].
    #[inline(never)]
    pub(crate) fn update(&mut self, batch: &mut Vec<(K, I)>, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        debug_assert!(batch.len() <= BATCH);
        if self.is_deep() {
            self.enqueue(batch, aggregate);
            return;
        }
        self.updates += batch.len();
        if let [table] = &mut self.tables[..] {
            drain_into(table, batch, aggregate);
        } else {
            let mut hashes = [0; BATCH];
            for (hash, (key, _)) in hashes.iter_mut().zip(&*batch) {
                *hash = hash_of(key);
                self.tables[partition(*hash, self.bits)].prefetch(*hash);
            }
            for (hash, (key, item)) in hashes.into_iter().zip(batch.drain(..)) {
                let table = &mut self.tables[partition(hash, self.bits)];
                aggregate.update(table.entry(hash, key, || aggregate.create()), item);
            }
        }
        if self.is_outgrown() {
            self.go_deep(aggregate);
        }
    }

    fn enqueue(&mut self, batch: &mut Vec<(K, I)>, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        for (key, item) in batch.drain(..) {
            let at = partition(hash_of(&key), DEEP.ilog2());
            let queue = &mut self.queues[at];
            queue.push((key, item));
            prefetch(queue.spare_capacity_mut(), 64 / size_of::<(K, I)>().max(1));
            if queue.len() * size_of::<(K, I)>() >= QUEUE_BYTES {
                drain_into(&mut self.tables[at], queue, aggregate);
            }
        }
    }

    /// Takes in what was accumulated elsewhere.
    pub(crate) fn merge(&mut self, key: K, other: V, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        let hash = hash_of(&key);
        let table = &mut self.tables[partition(hash, self.bits)];
        aggregate.merge(table.entry(hash, key, || aggregate.create()), other);
    }

    fn is_outgrown(&self) -> bool {
        let keys = self.len();
        self.bytes() > SHALLOW_BYTES || keys * size_of::<(K, V)>() > SPREAD_BYTES && keys > self.updates / 2
    }

    #[cold]
    fn go_deep(&mut self, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        self.refine(DEEP.ilog2(), aggregate);
        self.queues.resize_with(DEEP, Vec::new);
    }

    /// Deals the entries of a shallow partial out to `1 << bits` partitions.
    fn refine(&mut self, bits: u32, aggregate: &impl Accumulate<Item = I, Acc = V>) {
        let coarse =
            std::mem::replace(&mut self.tables, std::iter::repeat_with(Table::default).take(1 << bits).collect());
        self.bits = bits;
        for (key, other) in coarse.into_iter().flat_map(Table::into_entries) {
            self.merge(key, other, aggregate);
        }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.tables.iter().map(Table::bytes).chain(self.queues.iter().map(bytes_of)).sum()
    }

    /// Keys held, or more where some in the queues are the same.
    pub(crate) fn len(&self) -> usize {
        self.tables.iter().map(Table::len).chain(self.queues.iter().map(Vec::len)).sum()
    }

    /// `1 << bits` partitions; a deep partial has as many at most.
    fn into_parts(mut self, bits: u32, aggregate: &impl Accumulate<Item = I, Acc = V>) -> Vec<Part<K, I, V>> {
        if self.bits < bits {
            self.refine(bits, aggregate);
        }
        let queues = self.queues.into_iter().chain(std::iter::repeat_with(Vec::new));
        self.tables.into_iter().zip(queues).map(|(table, queue)| Part { table, queue }).collect()
    }

    /// In how many parts it can be [visited](Self::visit).
    pub(crate) fn parts(&self) -> usize {
        if self.is_deep() { DEEP } else { 1 }
    }

    /// Has `visit` called with each key of a part, what it has come to, and its key group. Keys that wait in a queue may come several
    /// times, each time with some of that.
    pub(crate) fn visit<E>(
        &mut self,
        part: usize,
        aggregate: &impl Accumulate<Item = I, Acc = V>,
        mut visit: impl FnMut(KeyGroup, &K, &V) -> Result<(), E>,
    ) -> Result<(), E>
    where
        I: Clone,
    {
        if !self.is_deep() {
            let mut entries = self.tables.iter().flat_map(Table::iter);
            return entries.try_for_each(|(key, acc)| visit(KeyGroup::of(hash_of(key)), key, acc));
        }
        let (table, queue, group) = (&mut self.tables[part], &mut self.queues[part], KeyGroup(part as u8));
        if table.len() > 0 {
            drain_into(table, queue, aggregate);
        }
        table.iter().try_for_each(|(key, acc)| visit(group, key, acc))?;
        queue.iter().try_for_each(|(key, item)| {
            let mut acc = aggregate.create();
            aggregate.update(&mut acc, item.clone());
            visit(group, key, &acc)
        })
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
    let finest = partials.iter().map(|partial| partial.bits).max().unwrap_or(0).max(pieces.ilog2());
    let mut ranges: Vec<Shares<K, A::Item, A::Acc>> = std::iter::repeat_with(Vec::new).take(1 << finest).collect();
    for partial in partials {
        let parts = partial.into_parts(finest, aggregate);
        for (range, part) in ranges.iter_mut().zip(parts) {
            if part.len() > 0 {
                range.push(part);
            }
        }
    }
    let per_piece = ranges.len() / pieces;
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

/// Tables that wait to be used again: a shallow slice of each of some kernels.
const SPARE_TABLES: usize = 64;

/// The memory of closed slices, which the next ones need again.
pub(crate) struct Spare<K, I, V> {
    /// None when no slice will follow.
    pool: Mutex<Option<Pool<K, I, V>>>,
    bytes: AtomicUsize,
}

/// Empty tables and queues.
struct Pool<K, I, V> {
    tables: Vec<Table<K, V>>,
    queues: Vec<Vec<(K, I)>>,
}

impl<K, I, V> Default for Spare<K, I, V> {
    fn default() -> Self {
        Self { pool: Mutex::new(Some(Pool { tables: Vec::new(), queues: Vec::new() })), bytes: AtomicUsize::new(0) }
    }
}

impl<K: Key, I, V> Spare<K, I, V> {
    /// Keeps the memory of an empty part, if there is not enough of it.
    fn give(&self, part: Part<K, I, V>) {
        debug_assert!(part.len() == 0);
        let Some(pool) = &mut *lock(&self.pool) else { return };
        if part.table.is_grown() && pool.tables.len() < SPARE_TABLES {
            self.bytes.fetch_add(part.table.bytes(), Ordering::Relaxed);
            pool.tables.push(part.table);
        }
        if part.queue.capacity() > 0 && pool.queues.len() < 2 * DEEP {
            self.bytes.fetch_add(bytes_of(&part.queue), Ordering::Relaxed);
            pool.queues.push(part.queue);
        }
    }

    /// Keeps the memory of a table that is empty now, and held `used` keys.
    pub(crate) fn give_table(&self, table: Table<K, V>, used: usize) {
        if !table.is_sparse(used) {
            self.give(Part { table, queue: Vec::new() });
        }
    }

    /// An empty table.
    pub(crate) fn table(&self) -> Table<K, V> {
        let table = lock(&self.pool).as_mut().and_then(|pool| pool.tables.pop());
        self.bytes.fetch_sub(table.as_ref().map_or(0, Table::bytes), Ordering::Relaxed);
        table.unwrap_or_default()
    }

    /// So many empty queues.
    fn queues(&self, n: usize) -> Vec<Vec<(K, I)>> {
        let mut queues = match &mut *lock(&self.pool) {
            Some(pool) => pool.queues.split_off(pool.queues.len() - pool.queues.len().min(n)),
            None => Vec::new(),
        };
        self.bytes.fetch_sub(queues.iter().map(bytes_of).sum(), Ordering::Relaxed);
        queues.resize_with(n, Vec::new);
        queues
    }

    /// No slice will follow: lets go of all memory, also of what is still to be given.
    pub(crate) fn close(&self) {
        lock(&self.pool).take();
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Bytes of memory that a queue holds.
fn bytes_of<T>(queue: &Vec<T>) -> usize {
    queue.capacity() * size_of::<T>()
}
