//! Loops written by hand, without any engine: the limit that the others are compared with.
//!
//! Windows are closed when the watermark passes, not at the end. Tables are open-addressed with entries inline; keys are
//! hashed once, and the slots of 32 records are fetched together. W2 is radix-partitioned instead: values are dealt out to 256
//! queues, and each queue is aggregated in the cache when its window closes. (One large table with prefetching was tried: it
//! is slower, for each record is a miss in it.) With two threads each takes every other chunk of the input;
//! the one that closes a window second merges both shares.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use regex::Regex;
use updraft::kernel::prefetch;

use super::twenty_steps;
use super::updraft::in_euros;
use crate::Workload;
use crate::data::{
    Bid, DISORDER, Data, HOT, PATTERN, Reading, SECOND, Word, digest_hot, digest_reading, digest_word, mix,
};

/// Records that a thread takes at a time.
const CHUNK: usize = 16_384;
/// Records whose slots are fetched together.
pub(super) const BATCH: usize = 32;

pub(super) fn run(workload: Workload, data: &Data, threads: usize) -> u64 {
    match (workload, data) {
        (_, Data::Words(words, _)) => windowed::<Counts>(words, threads, SECOND, DISORDER, &Sum::default()),
        (_, Data::Readings(readings, _)) => windowed::<Queues>(readings, threads, SECOND, DISORDER, &Sum::default()),
        (_, Data::Sides(_) | Data::Sellers(_) | Data::Offers(_)) => unreachable!("joins and auctions are elsewhere"),
        (_, Data::Lines(lines)) => {
            let pattern = Regex::new(PATTERN).expect("the pattern is right");
            parallel(lines, threads, |lines| {
                // Each thread has its own, or they would contend for its scratch memory.
                let pattern = pattern.clone();
                lines.iter().filter(|line| pattern.is_match(line)).map(|line| line.len() as u64).sum()
            })
        }
        (_, Data::Numbers(numbers)) => {
            parallel(numbers, threads, |numbers| twenty_steps!(numbers.iter().copied()).fold(0_u64, u64::wrapping_add))
        }
        (Workload::Q1, Data::Bids(bids)) => parallel(bids, threads, |bids| {
            bids.iter().map(|bid| in_euros(*bid)).fold(0_u64, |sum, bid| sum.wrapping_add(bid.price ^ bid.auction))
        }),
        (Workload::Q2, Data::Bids(bids)) => parallel(bids, threads, |bids| {
            let some = bids.iter().filter(|bid| bid.auction.is_multiple_of(123));
            some.fold(0_u64, |sum, bid| sum.wrapping_add(bid.price ^ bid.auction))
        }),
        (_, Data::Bids(bids)) => windowed::<Auctions>(bids, threads, HOT.1, 0, &Hottest::default()),
    }
}

/// Runs `work` over equal shares of the records.
fn parallel<T: Sync>(records: &[T], threads: usize, work: impl Fn(&[T]) -> u64 + Sync) -> u64 {
    std::thread::scope(|scope| {
        let shares = records.chunks(records.len().div_ceil(threads));
        let running: Vec<_> = shares.map(|share| scope.spawn(|| work(share))).collect();
        running.into_iter().fold(0_u64, |sum, thread| sum.wrapping_add(thread.join().expect("it does not panic")))
    })
}

/// One thread's share of a window.
trait Share: Default + Send {
    type Record: Copy + Sync;
    fn time(record: &Self::Record) -> i64;
    /// Takes in records of one window, at most [`BATCH`].
    fn update(&mut self, records: &[Self::Record]);
}

/// Takes windows that are complete, each once, with the shares of all threads.
pub(super) trait Close<S>: Sync {
    fn close(&self, window: i64, shares: Vec<S>);
    fn checksum(&self) -> u64;
}

fn windowed<S: Share>(records: &[S::Record], threads: usize, size: i64, disorder: i64, close: &impl Close<S>) -> u64 {
    // Windows that some threads have closed.
    let half = Mutex::new(HashMap::<i64, Vec<S>>::new());
    let give = |window, share| {
        let shares = {
            let half = &mut *half.lock().unwrap_or_else(PoisonError::into_inner);
            let shares = half.entry(window).or_default();
            shares.push(share);
            if shares.len() < threads {
                return;
            }
            half.remove(&window).unwrap_or_default()
        };
        close.close(window, shares);
    };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let give = &give;
            scope.spawn(move || one_thread(records, thread, threads, size, disorder, give));
        }
    });
    close.checksum()
}

fn one_thread<S: Share>(
    records: &[S::Record],
    thread: usize,
    threads: usize,
    size: i64,
    disorder: i64,
    give: &impl Fn(i64, S),
) {
    let mut open = BTreeMap::<i64, (S, Vec<S::Record>)>::new();
    let (mut next, mut newest) = (0, 0);
    for chunk in records.chunks(CHUNK).skip(thread).step_by(threads) {
        // The window of the last record, taken out of the map.
        let mut window = S::time(&chunk[0]).div_euclid(size);
        let mut current = open.remove(&window).unwrap_or_default();
        for record in chunk {
            let time = S::time(record);
            newest = newest.max(time);
            if time < window * size || time >= (window + 1) * size {
                open.insert(window, current);
                window = time.div_euclid(size);
                current = open.remove(&window).unwrap_or_default();
            }
            current.1.push(*record);
            if current.1.len() == BATCH {
                current.0.update(&current.1);
                current.1.clear();
            }
        }
        open.insert(window, current);
        while (next + 1) * size <= newest - disorder {
            close(&mut open, next, give);
            next += 1;
        }
    }
    let last = S::time(&records[records.len() - 1]).div_euclid(size).max(newest.div_euclid(size));
    (next..=last).for_each(|window| close(&mut open, window, give));
}

fn close<S: Share>(open: &mut BTreeMap<i64, (S, Vec<S::Record>)>, window: i64, give: &impl Fn(i64, S)) {
    let (mut share, rest) = open.remove(&window).unwrap_or_default();
    share.update(&rest);
    give(window, share);
}

/// An entry of a table; empty where its count is zero.
pub(super) trait Slot: Copy + Default {
    type Record;
    fn hash(record: &Self::Record) -> u64;
    fn own_hash(&self) -> u64;
    fn is_empty(&self) -> bool;
    fn is_of(&self, record: &Self::Record) -> bool;
    fn is_same(&self, other: &Self) -> bool;
    fn update(&mut self, record: &Self::Record);
    fn merge(&mut self, other: &Self);
}

/// Open addressing, entries inline.
pub(super) struct Flat<S> {
    slots: Vec<S>,
    len: usize,
}

impl<S: Slot> Default for Flat<S> {
    fn default() -> Self {
        Self { slots: vec![S::default(); 1024], len: 0 }
    }
}

impl<S: Slot> Flat<S> {
    #[inline]
    fn slot(&mut self, hash: u64, is_it: impl Fn(&S) -> bool) -> &mut S {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while !self.slots[at].is_empty() && !is_it(&self.slots[at]) {
            at = (at + 1) & mask;
        }
        self.len += usize::from(self.slots[at].is_empty());
        &mut self.slots[at]
    }

    pub(super) fn update(&mut self, records: &[S::Record]) {
        self.change_each(records, S::update);
    }

    /// Updates the entry of each record, and has `then` look at it.
    pub(super) fn update_each(&mut self, records: &[S::Record], mut then: impl FnMut(&S)) {
        self.change_each(records, |slot, record| {
            slot.update(record);
            then(slot);
        });
    }

    /// Has `change` change the entry of each record, which must not be empty then.
    pub(super) fn change_each(&mut self, records: &[S::Record], mut change: impl FnMut(&mut S, &S::Record)) {
        self.reserve(records.len());
        let mut hashes = [0; BATCH];
        let mask = self.slots.len() - 1;
        for (hash, record) in hashes.iter_mut().zip(records) {
            *hash = S::hash(record);
            prefetch(&self.slots, *hash as usize & mask);
        }
        for (hash, record) in hashes.iter().zip(records) {
            change(self.slot(*hash, |slot| slot.is_of(record)), record);
        }
    }

    pub(super) fn reserve(&mut self, more: usize) {
        while (self.len + more) * 2 > self.slots.len() {
            let doubled = Self { slots: vec![S::default(); self.slots.len() * 2], len: 0 };
            let old = std::mem::replace(self, doubled);
            old.entries().for_each(|entry| self.merge(entry));
        }
    }

    pub(super) fn merge(&mut self, other: &S) {
        self.slot(other.own_hash(), |slot| slot.is_same(other)).merge(other);
    }

    fn merge_all(&mut self, other: &Self) {
        for entries in other.slots.chunks(1024) {
            self.reserve(entries.len());
            entries.iter().filter(|entry| !entry.is_empty()).for_each(|entry| self.merge(entry));
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &S> {
        self.slots.iter().filter(|slot| !slot.is_empty())
    }

    fn clear(&mut self) {
        self.slots.fill(S::default());
        self.len = 0;
    }
}

/// The larger table, with the others merged into it.
fn joined<S: Slot>(mut tables: Vec<Flat<S>>) -> Flat<S> {
    tables.sort_by_key(|table| table.len);
    let mut whole = tables.pop().unwrap_or_default();
    tables.iter().for_each(|table| whole.merge_all(table));
    whole
}

/// The words of a window.
#[derive(Default)]
struct Counts(Flat<WordCount>);

#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct WordCount {
    pub(super) word: [u8; 10],
    pub(super) count: u32,
}

impl Slot for WordCount {
    type Record = Word;
    #[inline]
    fn hash(record: &Word) -> u64 {
        hash_word(&record.word)
    }
    fn own_hash(&self) -> u64 {
        hash_word(&self.word)
    }
    #[inline]
    fn is_empty(&self) -> bool {
        self.count == 0
    }
    #[inline]
    fn is_of(&self, record: &Word) -> bool {
        self.word == record.word
    }
    fn is_same(&self, other: &Self) -> bool {
        self.word == other.word
    }
    #[inline]
    fn update(&mut self, record: &Word) {
        self.word = record.word;
        self.count += 1;
    }
    fn merge(&mut self, other: &Self) {
        self.word = other.word;
        self.count += other.count;
    }
}

#[inline]
fn hash_word(word: &[u8; 10]) -> u64 {
    let head = u64::from_le_bytes(std::array::from_fn(|i| word[i]));
    let tail = u64::from(u16::from_le_bytes([word[8], word[9]]));
    let product = u128::from(head ^ 0x2D35_8DCC_AA6C_78A5) * u128::from(tail ^ 0x8BB8_4B93_962E_ACC9);
    (product as u64) ^ (product >> 64) as u64
}

impl Share for Counts {
    type Record = Word;
    #[inline]
    fn time(record: &Word) -> i64 {
        record.time
    }
    fn update(&mut self, records: &[Word]) {
        self.0.update(records);
    }
}

/// Adds up what windows come to.
#[derive(Default)]
struct Sum(Mutex<u64>);

impl Sum {
    fn add(&self, other: u64) {
        let sum = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = sum.wrapping_add(other);
    }

    fn get(&self) -> u64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Close<Counts> for Sum {
    fn close(&self, window: i64, shares: Vec<Counts>) {
        let table = joined(shares.into_iter().map(|share| share.0).collect());
        let digests = table.entries().map(|e| digest_word(window * SECOND, &e.word, u64::from(e.count)));
        self.add(digests.fold(0, u64::wrapping_add));
    }
    fn checksum(&self) -> u64 {
        self.get()
    }
}

/// The readings of a window, dealt out by key.
struct Queues(Vec<Vec<(u64, u64)>>);

const QUEUES: usize = 256;

impl Default for Queues {
    fn default() -> Self {
        Self(vec![Vec::new(); QUEUES])
    }
}

impl Share for Queues {
    type Record = Reading;
    #[inline]
    fn time(record: &Reading) -> i64 {
        record.time
    }
    #[inline]
    fn update(&mut self, records: &[Reading]) {
        for record in records {
            self.0[(mix(record.key) >> 56) as usize].push((record.key, record.value));
        }
    }
}

#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Stats {
    pub(super) key: u64,
    pub(super) sum: u64,
    pub(super) count: u64,
    pub(super) max: u64,
}

impl Slot for Stats {
    type Record = (u64, u64);
    #[inline]
    fn hash(record: &(u64, u64)) -> u64 {
        mix(record.0)
    }
    fn own_hash(&self) -> u64 {
        mix(self.key)
    }
    #[inline]
    fn is_empty(&self) -> bool {
        self.count == 0
    }
    #[inline]
    fn is_of(&self, record: &(u64, u64)) -> bool {
        self.key == record.0
    }
    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }
    #[inline]
    fn update(&mut self, (key, value): &(u64, u64)) {
        self.key = *key;
        self.sum += value;
        self.count += 1;
        self.max = self.max.max(*value);
    }
    fn merge(&mut self, other: &Self) {
        self.key = other.key;
        self.sum += other.sum;
        self.count += other.count;
        self.max = self.max.max(other.max);
    }
}

impl Close<Queues> for Sum {
    fn close(&self, window: i64, shares: Vec<Queues>) {
        let (mut table, mut total) = (Flat::<Stats>::default(), 0_u64);
        for queue in 0..QUEUES {
            for share in &shares {
                share.0[queue].chunks(BATCH).for_each(|records| table.update(records));
            }
            for e in table.entries() {
                total = total.wrapping_add(digest_reading(window * SECOND, e.key, e.sum, e.count, e.max));
            }
            table.clear();
        }
        self.add(total);
    }
    fn checksum(&self) -> u64 {
        self.get()
    }
}

/// The bids of a slide, by auction.
#[derive(Default)]
pub(super) struct Auctions(pub(super) Flat<BidCount>);

#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct BidCount {
    pub(super) auction: u64,
    pub(super) count: u64,
}

impl Slot for BidCount {
    type Record = Bid;
    #[inline]
    fn hash(record: &Bid) -> u64 {
        mix(record.auction)
    }
    fn own_hash(&self) -> u64 {
        mix(self.auction)
    }
    #[inline]
    fn is_empty(&self) -> bool {
        self.count == 0
    }
    #[inline]
    fn is_of(&self, record: &Bid) -> bool {
        self.auction == record.auction
    }
    fn is_same(&self, other: &Self) -> bool {
        self.auction == other.auction
    }
    #[inline]
    fn update(&mut self, record: &Bid) {
        self.auction = record.auction;
        self.count += 1;
    }
    fn merge(&mut self, other: &Self) {
        self.auction = other.auction;
        self.count += other.count;
    }
}

impl Share for Auctions {
    type Record = Bid;
    #[inline]
    fn time(record: &Bid) -> i64 {
        record.time
    }
    fn update(&mut self, records: &[Bid]) {
        self.0.update(records);
    }
}

/// Windows of query 5 from its slides: those of one window are kept, and summed when it ends.
#[derive(Default)]
pub(super) struct Hottest(Mutex<Slides>);

#[derive(Default)]
struct Slides {
    slides: BTreeMap<i64, Flat<BidCount>>,
    checksum: u64,
    next: i64,
}

impl Slides {
    /// The window that ends with slide `last`: its hottest auction; of several the least.
    fn window(&mut self, last: i64) {
        let of_window = (last - HOT.0 / HOT.1 + 1)..=last;
        let mut whole = Flat::<BidCount>::default();
        self.slides.range(of_window).for_each(|(_, slide)| whole.merge_all(slide));
        if let Some(best) = whole.entries().max_by_key(|e| (e.count, std::cmp::Reverse(e.auction))) {
            let digest = digest_hot((last + 1) * HOT.1, best.auction, best.count);
            self.checksum = self.checksum.wrapping_add(digest);
        }
        self.slides.remove(&(last - HOT.0 / HOT.1 + 1));
    }
}

impl Close<Auctions> for Hottest {
    fn close(&self, slide: i64, shares: Vec<Auctions>) {
        let table = joined(shares.into_iter().map(|share| share.0).collect());
        let slides = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slides.slides.insert(slide, table);
        // Two threads may close slides out of order.
        while slides.slides.contains_key(&slides.next) {
            slides.window(slides.next);
            slides.next += 1;
        }
    }
    fn checksum(&self) -> u64 {
        let slides = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = slides.next + HOT.0 / HOT.1 - 1;
        while slides.next < end {
            slides.window(slides.next);
            slides.next += 1;
        }
        slides.checksum
    }
}
