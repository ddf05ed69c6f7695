//! The stage of a [`Process`]: tables of state by key, one for each driver, and timers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use updraft_kernel::{give_up, yield_point};

use super::context::{Context, Moment, Output, Queues};
use super::hot::{HotKey, HotKeys};
use super::keys::Keys;
use super::saved;
use super::spill::Spill;
use super::timers::{Pending, TimerQueue};
use super::{Clock, Process, TimeToLive};
use crate::aggregate::State;
use crate::bundle::{Bundle, Record};
use crate::partial::BATCH;
use crate::snapshot::{Records, Saved, Snapshot};
use crate::source::Error;
use crate::stage::{Emit, Keeps, Stage};
use crate::sync::{Mutex, lock};
use crate::table::{Key, hash_of};
use crate::time::{Generation, Punctuation, Time};

/// Timers between one that fires and one of which the key is asked for from memory; the index twice as many.
const AHEAD: usize = 8;
/// Records or timers of which the keys are fetched together, if some are spilled.
const FETCHED: usize = 256;

/// See the module's page. `X` is what is kept of a key beside its state.
pub struct KeyedStage<K, T, P: Process<K, T>, X = Watched> {
    process: P,
    time_to_live: Option<TimeToLive>,
    drivers: usize,
    /// As of the last epoch that is complete.
    watermark: AtomicI64,
    now: AtomicI64,
    bytes: AtomicUsize,
    spill: Option<Arc<Spill>>,
    of: std::marker::PhantomData<fn(K, T, X)>,
}

/// What a driver owns. Taken out while the driver works: no lock is held over the user's code.
pub struct Local<K, S, P, X = Watched> {
    driver: usize,
    owned: Mutex<Option<Box<Owned<K, S, P, X>>>>,
}

/// The keys of a driver.
pub(super) struct Owned<K, S, P, X> {
    pub(super) process: P,
    keys: Keys<K, Entry<S, X>>,
    queues: Queues<K>,
    /// When keys may have to be dropped.
    expiries: TimerQueue<K>,
    hot: HotKeys<K>,
    opened: bool,
    /// Bytes that states own elsewhere.
    heap: usize,
    /// As last accounted.
    bytes: usize,
}

/// What is kept of a key.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Entry<S, X> {
    state: S,
    aside: X,
}

/// What is kept of a key beside its state.
pub trait Aside: State + Default {
    /// Its timers, and when its time to live is over; `None` where it has neither.
    fn watched(&mut self) -> Option<&mut Watched>;
}

/// Timers, and a time to live.
#[derive(Clone, Serialize, Deserialize)]
pub struct Watched {
    pending: Pending,
    /// When its time to live is over.
    expires: Time,
}

impl Default for Watched {
    fn default() -> Self {
        Self { pending: Pending::default(), expires: Time::MAX }
    }
}

impl Aside for Watched {
    #[inline(always)]
    fn watched(&mut self) -> Option<&mut Watched> {
        Some(self)
    }
}

/// Neither timers nor a time to live.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Nothing;

impl Aside for Nothing {
    #[inline(always)]
    fn watched(&mut self) -> Option<&mut Watched> {
        None
    }
}

/// A driver's timers that are due.
pub struct Due {
    driver: usize,
    moment: Moment,
}

impl<K, T, P, X> KeyedStage<K, T, P, X>
where
    K: Key,
    T: Record,
    P: Process<K, T>,
    X: Aside,
{
    /// So many drivers, of a job that begins at `now` of calendar time.
    pub fn new(process: P, time_to_live: Option<TimeToLive>, drivers: usize, now: Time) -> Self {
        Self {
            process,
            time_to_live,
            drivers,
            watermark: AtomicI64::new(Time::MIN.0),
            now: AtomicI64::new(now.0),
            bytes: AtomicUsize::new(0),
            spill: None,
            of: std::marker::PhantomData,
        }
    }

    /// What memory has no room for is spilled. Before the drivers' shares are made.
    #[must_use]
    pub fn spilling(self, spill: Option<Arc<Spill>>) -> Self {
        Self { spill, ..self }
    }

    fn moment(&self) -> Moment {
        let time = |time: &AtomicI64| Time(time.load(Ordering::Acquire));
        Moment { watermark: time(&self.watermark), now: time(&self.now) }
    }

    /// Has `work` done with what a driver owns.
    pub(super) fn with(&self, local: &Local<K, P::State, P, X>, work: impl FnOnce(&mut Owned<K, P::State, P, X>)) {
        let taken = lock(&local.owned).take();
        let mut owned = taken.unwrap_or_else(|| unreachable!("a driver does one thing at a time"));
        if !std::mem::replace(&mut owned.opened, true) {
            owned.process.open(local.driver, self.drivers);
        }
        work(&mut owned);
        self.account(&mut owned);
        *lock(&local.owned) = Some(owned);
    }

    fn account(&self, owned: &mut Owned<K, P::State, P, X>) {
        let bytes = owned.bytes_now();
        self.bytes.fetch_add(bytes.wrapping_sub(owned.bytes), Ordering::Relaxed);
        owned.bytes = bytes;
    }

    /// Spills some of what a driver owns, if memory is short: between two batches, of which each finds what it has fetched.
    #[inline(always)]
    fn relieve(&self, owned: &mut Owned<K, P::State, P, X>) {
        if let Some(spill) = &self.spill {
            let more = owned.bytes_now().wrapping_sub(owned.bytes) as isize;
            let bytes = spill.to_free(owned.keys.entries.bytes_in_memory() + owned.heap, more);
            if bytes > 0 {
                let Owned { process, keys, heap, .. } = owned;
                let spilled = keys.entries.spill(spill, bytes, |entry| process.heap_bytes(&entry.state));
                *heap -= spilled.unwrap_or_else(|error| give_up(error));
            }
        }
    }

    /// Brings what is spilled of keys of these hashes into memory.
    fn fetch(&self, owned: &mut Owned<K, P::State, P, X>, hashes: impl Iterator<Item = u64>) {
        let Owned { process, keys, heap, .. } = owned;
        let fetched = keys.fetch(hashes, |entry| process.heap_bytes(&entry.state));
        *heap += fetched.unwrap_or_else(|error| give_up(error));
    }

    /// The same of the keys of the records that are next: of how many.
    fn fetch_next(&self, owned: &mut Owned<K, P::State, P, X>, records: &[(K, T)]) -> usize {
        let window = owned.keys.entries.window().min(FETCHED);
        if owned.keys.entries.has_spilled() {
            self.fetch(owned, records.iter().take(window).map(|(key, _)| hash_of(key)));
        }
        window
    }

    /// The same of the key of a timer, and, of some at a time, of those that are next. `left` is how many of these are to come.
    fn fetch_due(
        &self,
        owned: &mut Owned<K, P::State, P, X>,
        key: &K,
        left: &mut usize,
        queue: impl Fn(&Owned<K, P::State, P, X>) -> &TimerQueue<K>,
    ) {
        if !owned.keys.entries.has_spilled() {
            return;
        }
        if *left == 0 {
            self.relieve(owned);
            *left = FETCHED.min(owned.keys.entries.window());
            let next: Vec<_> = queue(owned).next(*left).map(hash_of).collect();
            self.fetch(owned, next.into_iter());
        }
        *left -= 1;
        // It may be another than the one that was to be next.
        self.fetch(owned, std::iter::once(hash_of(key)));
    }

    fn fire(&self, owned: &mut Owned<K, P::State, P, X>, moment: Moment, way: &mut Way<'_, P::Out>) {
        let mut fetched = 0;
        for clock in [Clock::Event, Clock::Processing] {
            let through = moment.of(clock);
            // In any order of keys, but of a key the soonest first.
            while let Some(key) = owned.queues.of(clock).pop_any(through) {
                self.fetch_due(owned, &key, &mut fetched, |owned| owned.queues.by(clock));
                if let Some(key) = owned.queues.of(clock).ahead(2 * AHEAD) {
                    owned.keys.prefetch(hash_of(key));
                }
                if let Some(key) = owned.queues.of(clock).ahead(AHEAD) {
                    owned.keys.prefetch_entry(hash_of(key));
                }
                if let Some(slot) = owned.keys.position(hash_of(&key), &key)
                    && let Some(watched) = owned.keys.at(slot).1.aside.watched()
                    && let Some(timer) = watched.pending.take_due(clock, through)
                {
                    self.call(owned, slot, timer.at, moment, way, |process, state, cx| process.timer(timer, state, cx));
                }
                yield_point();
            }
        }
        if let Some(live) = self.time_to_live {
            self.expire(owned, live, moment.of(live.clock));
        }
        self.relieve(owned);
        way.output.flush(way.emit);
    }

    /// Calls the process for the key at `slot`, and forgets the key if nothing of it is left.
    #[inline(always)]
    fn call(
        &self,
        owned: &mut Owned<K, P::State, P, X>,
        slot: usize,
        time: Time,
        moment: Moment,
        way: &mut Way<'_, P::Out>,
        call: impl FnOnce(&mut P, &mut P::State, &mut Context<'_, K, P::Out>),
    ) {
        let (key, Entry { state, aside }) = owned.keys.at(slot);
        let before = owned.process.heap_bytes(state);
        let (queues, output, emit) = (&mut owned.queues, &mut way.output, &mut *way.emit);
        let pending = aside.watched().map(|watched| &mut watched.pending);
        let mut cx = Context { key, time, moment, pending, queues, output, emit, cleared: false };
        call(&mut owned.process, state, &mut cx);
        let cleared = cx.cleared;
        if cleared {
            *state = P::State::default();
        }
        owned.heap = owned.heap.wrapping_add(owned.process.heap_bytes(state)).wrapping_sub(before);
        let is_watched = |watched: &mut Watched| !watched.pending.is_empty() || watched.expires < Time::MAX;
        if cleared && !aside.watched().is_some_and(is_watched) {
            owned.keys.remove(slot);
        }
    }

    /// The key at `slot` is touched: its time to live begins anew. What is over already is over.
    fn touch(&self, owned: &mut Owned<K, P::State, P, X>, slot: usize, time: Time, moment: Moment) {
        let Some(live) = self.time_to_live else { return };
        let from = match live.clock {
            Clock::Event => time.max(moment.watermark),
            Clock::Processing => moment.now,
        };
        let (key, Entry { state, aside }) = owned.keys.at(slot);
        let Some(watched) = aside.watched() else { return };
        let until = from + live.span;
        if watched.expires == Time::MAX {
            owned.expiries.push(until, key.clone());
            watched.expires = until;
        } else if watched.expires <= from && watched.pending.is_empty() {
            owned.heap -= owned.process.heap_bytes(state);
            *state = P::State::default();
        }
        watched.expires = watched.expires.max(until);
    }

    /// Drops the keys of which the time to live is over.
    fn expire(&self, owned: &mut Owned<K, P::State, P, X>, live: TimeToLive, through: Time) {
        let mut fetched = 0;
        while let Some(key) = owned.expiries.pop_any(through) {
            self.fetch_due(owned, &key, &mut fetched, |owned| &owned.expiries);
            let Some(slot) = owned.keys.position(hash_of(&key), &key) else { continue };
            let Entry { state, aside } = owned.keys.at(slot).1;
            let Some(watched) = aside.watched() else { continue };
            if watched.expires <= through && watched.pending.is_empty() {
                owned.heap -= owned.process.heap_bytes(state);
                owned.keys.remove(slot);
            } else if through < Time::MAX {
                // It was touched since, or timers keep it.
                watched.expires = watched.expires.max(through + live.span.min(std::time::Duration::from_micros(1)));
                owned.expiries.push(watched.expires, key);
            }
        }
    }
}

/// Where results go.
struct Way<'a, T> {
    output: Output<T>,
    emit: Emit<'a, T>,
}

impl<K, T, P, X> Stage for KeyedStage<K, T, P, X>
where
    K: Key,
    T: Record,
    P: Process<K, T>,
    X: Aside,
{
    type In = (K, T);
    type Out = P::Out;
    type Local = Local<K, P::State, P, X>;
    type Part = Due;

    const ABOUT: &'static str = "state and timers of 256 key groups, each owned by one kernel";
    const KEYED: bool = true;
    const KEEPS: Keeps = Keeps::State;

    fn drivers(&self) -> Option<usize> {
        Some(self.drivers)
    }

    fn local(&self, driver: usize) -> Self::Local {
        let owned = Owned {
            process: self.process.clone(),
            keys: Keys::spilling(self.spill.as_ref()),
            queues: Queues::default(),
            expiries: TimerQueue::default(),
            hot: HotKeys::default(),
            opened: false,
            heap: 0,
            bytes: 0,
        };
        Local { driver, owned: Mutex::new(Some(Box::new(owned))) }
    }

    fn bundle(&self, local: &Self::Local, _: Generation, bundle: Bundle<(K, T)>, emit: Emit<'_, P::Out>) {
        let moment = self.moment();
        self.with(local, |owned| {
            let mut way = Way { output: Output::default(), emit };
            let (records, times) = bundle.into_parts();
            // The hashes of a batch of keys, and where they most likely stand.
            let (mut records, mut times, mut batch) = (records.into_iter(), times.iter(), [(0, 0); BATCH]);
            // Records of which the keys are in memory, where some are spilled.
            let mut fetched = 0;
            while !records.as_slice().is_empty() {
                if fetched == 0 {
                    self.relieve(owned);
                    fetched = self.fetch_next(owned, records.as_slice());
                }
                for ((hash, _), (key, _)) in batch.iter_mut().zip(records.as_slice()) {
                    *hash = hash_of(key);
                    owned.keys.prefetch(*hash);
                }
                let count = records.len().min(BATCH).min(fetched);
                fetched -= count;
                let sampled = owned.hot.choose(count);
                owned.hot.sample(batch[sampled].0, &records.as_slice()[sampled].0);
                batch[..count].iter_mut().for_each(|(hash, hint)| *hint = owned.keys.prefetch_entry(*hash));
                let some = batch.into_iter().take(count);
                for (((hash, hint), (key, record)), time) in some.zip(records.by_ref()).zip(times.by_ref()) {
                    let slot = owned.keys.locate(hash, key, hint, Entry::default);
                    self.touch(owned, slot, time, moment);
                    self.call(owned, slot, time, moment, &mut way, |process, state, cx| {
                        process.record(record, state, cx)
                    });
                }
                yield_point();
            }
            self.relieve(owned);
            way.output.flush(way.emit);
        });
    }

    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<Due> {
        self.watermark.store(punctuation.watermark.0, Ordering::Release);
        self.now.store(punctuation.now.0, Ordering::Release);
        let ends = punctuation.watermark == Time::MAX;
        // At the end, what goes by the calendar is due too.
        let now = if ends { Time::MAX } else { punctuation.now };
        let moment = Moment { watermark: punctuation.watermark, now };
        let is_due = |local: &Self::Local| {
            // One that is saving has it in hand, and looks when it comes to it.
            lock(&local.owned).as_mut().is_none_or(|owned| ends || owned.is_due(self.time_to_live, moment))
        };
        let due = locals.iter().enumerate().filter(|(_, local)| is_due(local));
        due.map(|(driver, _)| Due { driver, moment }).collect()
    }

    fn watermark(&self, punctuation: Punctuation) -> Time {
        match punctuation.watermark {
            Time::MAX => Time::MAX,
            watermark => watermark - self.process.lag(),
        }
    }

    fn owner(&self, due: &Due) -> Option<usize> {
        Some(due.driver)
    }

    fn part(&self, local: &Self::Local, due: Due, emit: Emit<'_, P::Out>) {
        self.with(local, |owned| {
            self.fire(owned, due.moment, &mut Way { output: Output::default(), emit });
            if due.moment.watermark == Time::MAX {
                owned.process.close();
                owned.keys.clear();
                owned.heap = 0;
            }
        });
    }

    fn state_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn hot_keys(&self, local: &Self::Local) -> Vec<HotKey> {
        // One that is saving has it in hand.
        lock(&local.owned).as_ref().map(|owned| owned.hot.tell(local.driver)).unwrap_or_default()
    }

    fn snapshot(
        &self,
        locals: &[Self::Local],
        driver: usize,
        _: Generation,
        snapshot: &mut Snapshot,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        self.with(&locals[driver], |owned| result = saved::freeze(&mut owned.keys, driver, self.drivers, snapshot));
        result
    }

    fn save_more(&self, local: &Self::Local, snapshot: &mut Snapshot) -> Result<bool, Error> {
        let mut result = Ok(false);
        self.with(local, |owned| result = saved::save_more(&mut owned.keys, snapshot));
        result
    }

    fn restore(&self, locals: &[Self::Local], at: Punctuation, saved: Records<'_>) -> Result<(), Error> {
        self.resume(at);
        for saved in saved {
            self.load(locals, &saved?)?;
        }
        Ok(())
    }
}

impl<K, T, P, X> KeyedStage<K, T, P, X>
where
    K: Key,
    T: Record,
    P: Process<K, T>,
    X: Aside,
{
    /// Goes on at the end of an epoch.
    pub(super) fn resume(&self, at: Punctuation) {
        self.watermark.store(at.watermark.0, Ordering::Release);
        self.now.fetch_max(at.now.0, Ordering::AcqRel);
    }

    /// Takes a record of a snapshot back.
    pub(super) fn load(&self, locals: &[Local<K, P::State, P, X>], saved: &Saved) -> Result<(), Error> {
        for local in locals.iter().filter(|local| saved.is_for(local.driver, self.drivers)) {
            let mut result = Ok(());
            self.with(local, |owned| {
                let Owned { process, keys, queues, expiries, heap, .. } = owned;
                let heap = std::cell::Cell::from_mut(heap);
                let change = |state: &P::State, sign: usize| {
                    heap.set(heap.get().wrapping_add(process.heap_bytes(state).wrapping_mul(sign)));
                };
                let insert = |keys: &mut Keys<K, Entry<P::State, X>>, hash, key: K, mut entry: Entry<P::State, X>| {
                    change(&entry.state, 1);
                    if let Some(watched) = entry.aside.watched() {
                        watched.pending.iter().for_each(|timer| queues.of(timer.clock).push(timer.at, key.clone()));
                        if watched.expires < Time::MAX {
                            expiries.push(watched.expires, key.clone());
                        }
                    }
                    keys.locate_without(hash, key, || entry);
                };
                let forget = |entry: &Entry<P::State, X>| change(&entry.state, usize::MAX);
                let fetch = |keys: &mut Keys<K, Entry<P::State, X>>, hashes: &mut dyn Iterator<Item = u64>| {
                    let weight = keys.fetch(hashes, |entry| process.heap_bytes(&entry.state))?;
                    heap.set(heap.get() + weight);
                    Ok(())
                };
                result = saved::load(keys, (local.driver, self.drivers), saved, insert, forget, fetch);
                self.relieve(owned);
            });
            result?;
        }
        Ok(())
    }
}

impl<K: Key, S: State, P, X: Aside> Owned<K, S, P, X> {
    /// Bytes that it holds.
    fn bytes_now(&self) -> usize {
        self.keys.bytes() + self.queues.bytes() + self.expiries.bytes() + self.heap
    }

    /// Whether something is to be done at a punctuation.
    fn is_due(&mut self, live: Option<TimeToLive>, moment: Moment) -> bool {
        self.queues.event.is_due(moment.watermark)
            || self.queues.processing.is_due(moment.now)
            || live.is_some_and(|live| self.expiries.is_due(moment.of(live.clock)))
    }
}
