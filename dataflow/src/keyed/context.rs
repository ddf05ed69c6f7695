//! What a [`Process`](super::Process) may ask and do.

use super::timers::{Pending, TimerQueue};
use super::{Clock, Timer};
use crate::bundle::{Bundle, Times};
use crate::stage::Emit;
use crate::time::Time;

/// Records of a bundle of results, at most.
const ROWS: usize = 2048;

/// The key, the times, and the ways out.
pub struct Context<'a, K, Out> {
    pub(super) key: &'a K,
    pub(super) time: Time,
    pub(super) moment: Moment,
    pub(super) pending: Option<&'a mut Pending>,
    pub(super) queues: &'a mut Queues<K>,
    pub(super) output: &'a mut Output<Out>,
    pub(super) emit: Emit<'a, Out>,
    pub(super) cleared: bool,
}

/// Where the clocks stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) watermark: Time,
    pub(super) now: Time,
}

impl Moment {
    /// What timers of `clock` are due up to.
    pub(super) fn of(self, clock: Clock) -> Time {
        match clock {
            Clock::Event => self.watermark,
            Clock::Processing => self.now,
        }
    }
}

/// Timers of all keys of a driver, by clock.
pub(super) struct Queues<K> {
    pub(super) event: TimerQueue<K>,
    pub(super) processing: TimerQueue<K>,
}

impl<K> Default for Queues<K> {
    fn default() -> Self {
        Self { event: TimerQueue::default(), processing: TimerQueue::default() }
    }
}

impl<K> Queues<K> {
    pub(super) fn of(&mut self, clock: Clock) -> &mut TimerQueue<K> {
        match clock {
            Clock::Event => &mut self.event,
            Clock::Processing => &mut self.processing,
        }
    }

    pub(super) fn by(&self, clock: Clock) -> &TimerQueue<K> {
        match clock {
            Clock::Event => &self.event,
            Clock::Processing => &self.processing,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.event.bytes() + self.processing.bytes()
    }
}

/// Results on their way into a bundle.
pub(super) struct Output<T> {
    records: Vec<T>,
    times: Vec<Time>,
}

impl<T> Default for Output<T> {
    fn default() -> Self {
        Self { records: Vec::new(), times: Vec::new() }
    }
}

impl<T: 'static> Output<T> {
    fn push(&mut self, time: Time, record: T, emit: Emit<'_, T>) {
        self.records.push(record);
        self.times.push(time);
        if self.records.len() == ROWS {
            self.flush(emit);
        }
    }

    /// Gives what there is as a bundle.
    pub(super) fn flush(&mut self, emit: Emit<'_, T>) {
        if !self.records.is_empty() {
            let (records, times) = (std::mem::take(&mut self.records), std::mem::take(&mut self.times));
            emit(Bundle::from(records).with_times(Times::Each(times)));
        }
    }
}

impl<K: Clone, Out: 'static> Context<'_, K, Out> {
    /// The key.
    pub fn key(&self) -> &K {
        self.key
    }

    /// The event time of the record, or when the timer was due.
    pub fn time(&self) -> Time {
        self.time
    }

    /// No record before this is to come, other than late ones; [`Time::MAX`] once the stream has ended. A timer that sets
    /// itself anew should ask for that, or it never ends.
    pub fn watermark(&self) -> Time {
        self.moment.watermark
    }

    /// Processing time: the calendar time when the epoch was begun; for a timer, when it was closed.
    pub fn now(&self) -> Time {
        self.moment.now
    }

    /// Gives `record`, with the event time of what is being processed.
    pub fn emit(&mut self, record: Out) {
        self.emit_at(self.time, record);
    }

    /// Gives `record`, with an event time of its own. It should not be below the watermark: what comes after would have to
    /// take it as late.
    pub fn emit_at(&mut self, time: Time, record: Out) {
        self.output.push(time, record, &mut *self.emit);
    }

    /// Has [`timer`](super::Process::timer) called for this key when the watermark has come to `at`; once, however often
    /// it is set.
    pub fn set_timer(&mut self, at: Time) {
        self.set(Timer { at, clock: Clock::Event });
    }

    /// The same by processing time. Where epochs are closed by event time alone, see
    /// [`Shuffled::tick`](crate::operator::Shuffled::tick). Once the stream has ended it does nothing.
    pub fn set_processing_timer(&mut self, at: Time) {
        if self.moment.watermark < Time::MAX {
            self.set(Timer { at, clock: Clock::Processing });
        }
    }

    fn set(&mut self, timer: Timer) {
        let pending =
            self.pending.as_mut().expect("who sets timers must not say that there are none: `Process::TIMERS`");
        if pending.add(timer) {
            self.queues.of(timer.clock).push(timer.at, self.key.clone());
        }
    }

    /// Takes a timer back, if it was set and has not fired.
    pub fn delete_timer(&mut self, at: Time) {
        self.unset(Timer { at, clock: Clock::Event });
    }

    /// Takes a timer of processing time back, if it was set and has not fired.
    pub fn delete_processing_timer(&mut self, at: Time) {
        self.unset(Timer { at, clock: Clock::Processing });
    }

    fn unset(&mut self, timer: Timer) {
        self.pending.iter_mut().for_each(|pending| {
            pending.remove(timer);
        });
    }

    /// Forgets the key's state, when the call is over. Its timers stay.
    pub fn clear(&mut self) {
        self.cleared = true;
    }
}
