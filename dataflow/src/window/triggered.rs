//! Windows that fire more than once: with triggers, and with late records that are allowed.
//!
//! A [`Process`] over each key's windows, each with its accumulator. It needs the records of a key in one place and in order, so
//! it pays for a shuffle; windows that fire once, at their end, don't ([`WindowStage`](super::WindowStage)).

use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trigger::{Fired, Timing, Trigger};
use super::{Session, Sliced, Window, Windowed};
use crate::aggregate::Aggregate;
use crate::bundle::Record;
use crate::join::Side;
use crate::keyed::{Clock, Context, Process, Timer};
use crate::table::Key;
use crate::time::{Time, micros};

/// Which windows a record belongs to.
pub trait Assign: Clone + Send + Sync + 'static {
    /// Calls `each` with the windows of a record at `time`.
    fn assign(&self, time: Time, each: impl FnMut(Window));

    /// Whether windows that overlap or touch become one.
    const MERGES: bool = false;
    /// Whether records must have an event time.
    fn is_timed(&self) -> bool {
        true
    }
}

impl<W: Sliced> Assign for W {
    fn assign(&self, time: Time, mut each: impl FnMut(Window)) {
        let slicing = self.slicing();
        let ends = std::iter::successors(Some(slicing.first_end_after(time.0)), |end| slicing.end_after(*end));
        ends.map(|end| slicing.window(end)).take_while(|window| window.start <= time).for_each(&mut each);
    }

    fn is_timed(&self) -> bool {
        !self.slicing().is_whole()
    }
}

impl Assign for Session {
    fn assign(&self, time: Time, mut each: impl FnMut(Window)) {
        each(Window { start: time, end: Time(time.0.saturating_add(self.gap)) });
    }

    const MERGES: bool = true;
}

/// See the module's page.
pub struct TriggeredWindows<T, W, A> {
    windows: W,
    aggregate: A,
    trigger: Trigger,
    lateness: i64,
    of: PhantomData<fn(T)>,
}

impl<T, W, A> TriggeredWindows<T, W, A> {
    /// Keeps windows for `lateness` after their end.
    pub fn new(windows: W, aggregate: A, trigger: Trigger, lateness: Duration) -> Self {
        Self { windows, aggregate, trigger, lateness: micros(lateness), of: PhantomData }
    }
}

impl<T, W: Clone, A: Clone> Clone for TriggeredWindows<T, W, A> {
    fn clone(&self) -> Self {
        let (windows, aggregate) = (self.windows.clone(), self.aggregate.clone());
        Self { windows, aggregate, trigger: self.trigger, lateness: self.lateness, of: PhantomData }
    }
}

/// A window of a key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pane<V> {
    window: Window,
    acc: V,
    /// Records since it fired last.
    new: u64,
    fired: u32,
    /// Whether it has fired at its end.
    ended: bool,
    /// When it is to fire early.
    early: Option<Time>,
}

type Out<K, T, A> = Side<Fired<K, <A as Aggregate<T>>::Out>, T>;

impl<T: Record, W: Assign, A: Aggregate<T>> TriggeredWindows<T, W, A> {
    /// When the window is over: then no record of it is to come that is not late.
    fn over(&self, window: Window) -> Time {
        // A session also takes what comes at the very end of its gap.
        Time(window.end.0.saturating_add(i64::from(W::MERGES)))
    }

    /// When it is forgotten.
    fn forgotten(&self, window: Window) -> Time {
        Time(self.over(window).0.saturating_add(self.lateness))
    }

    /// The pane of `window`; where windows merge, of all that it touches.
    fn pane<'a>(&self, panes: &'a mut Vec<Pane<A::Acc>>, window: Window) -> &'a mut Pane<A::Acc> {
        let fresh = || Pane { window, acc: self.aggregate.create(), new: 0, fired: 0, ended: false, early: None };
        if !W::MERGES {
            let at = panes.iter().position(|pane| pane.window == window).unwrap_or(panes.len());
            if at == panes.len() {
                panes.push(fresh());
            }
            return &mut panes[at];
        }
        let mut merged = fresh();
        let touches = |pane: &Pane<_>, merged: &Pane<_>| {
            pane.window.start <= merged.window.end && merged.window.start <= pane.window.end
        };
        while let Some(at) = panes.iter().position(|pane| touches(pane, &merged)) {
            let pane = panes.swap_remove(at);
            merged.window.start = merged.window.start.min(pane.window.start);
            // What is told at the end of a longer session is told for the first time.
            merged.ended |= pane.ended && pane.window.end >= merged.window.end;
            merged.window.end = merged.window.end.max(pane.window.end);
            self.aggregate.merge(&mut merged.acc, pane.acc);
            merged.new = merged.new.saturating_add(pane.new);
            merged.fired = merged.fired.max(pane.fired);
            merged.early = merged.early.into_iter().chain(pane.early).min();
        }
        panes.push(merged);
        let last = panes.len() - 1;
        &mut panes[last]
    }

    fn fire<K: Key>(&self, pane: &mut Pane<A::Acc>, timing: Timing, cx: &mut Context<'_, K, Out<K, T, A>>) {
        let acc = if self.trigger.accumulates {
            pane.acc.clone()
        } else {
            std::mem::replace(&mut pane.acc, self.aggregate.create())
        };
        let row = Windowed { window: pane.window, key: cx.key().clone(), value: self.aggregate.finish(acc) };
        let last = Time(pane.window.end.0.saturating_sub(1));
        // Never behind the watermark, so that what follows can still take it in.
        let time = match timing {
            Timing::Early if pane.window.end == Time::MAX => cx.watermark(),
            Timing::Early | Timing::OnTime => last,
            Timing::Late => last.max(cx.watermark()),
        };
        cx.emit_at(time, Side::Left(Fired { row, timing, index: pane.fired }));
        (pane.new, pane.early) = (0, None);
        pane.fired = pane.fired.saturating_add(1);
    }
}

impl<K, T, W, A> Process<K, T> for TriggeredWindows<T, W, A>
where
    K: Key,
    T: Record,
    W: Assign,
    A: Aggregate<T>,
{
    type State = Vec<Pane<A::Acc>>;
    /// What fires, and records that came too late for all of their windows.
    type Out = Out<K, T, A>;

    fn record(&mut self, record: T, panes: &mut Self::State, cx: &mut Context<'_, K, Self::Out>) {
        let watermark = cx.watermark();
        let mut taken = false;
        self.windows.assign(cx.time(), |window| {
            if self.forgotten(window) <= watermark && !self.touches_open(panes, window) {
                return;
            }
            taken = true;
            let pane = self.pane(panes, window);
            self.aggregate.update(&mut pane.acc, self.aggregate.item(&record));
            pane.new = pane.new.saturating_add(1);
            cx.set_timer(self.over(pane.window));
            if self.lateness > 0 {
                cx.set_timer(self.forgotten(pane.window));
            }
            if self.over(pane.window) <= watermark {
                pane.ended = true;
                if pane.new >= self.trigger.late_records {
                    self.fire(pane, Timing::Late, cx);
                }
            } else if self.trigger.early_records.is_some_and(|records| pane.new >= records) {
                self.fire(pane, Timing::Early, cx);
            } else if let (Some((span, clock)), None) = (self.trigger.early_span, pane.early) {
                match clock {
                    Clock::Event => {
                        let at = cx.time().max(watermark) + span;
                        pane.early = Some(at);
                        cx.set_timer(at);
                    }
                    Clock::Processing => {
                        let at = cx.now() + span;
                        pane.early = Some(at);
                        cx.set_processing_timer(at);
                    }
                }
            }
        });
        if !taken {
            // An empty state is as good as none.
            if panes.is_empty() {
                cx.clear();
            }
            cx.emit_at(cx.time().max(watermark), Side::Right(record));
        }
    }

    fn timer(&mut self, timer: Timer, panes: &mut Self::State, cx: &mut Context<'_, K, Self::Out>) {
        let watermark = cx.watermark();
        panes.sort_by_key(|pane| pane.window);
        panes.retain_mut(|pane| {
            let over = self.over(pane.window) <= watermark;
            let early_clock = self.trigger.early_span.map(|(_, clock)| clock);
            if over && !pane.ended {
                pane.ended = true;
                self.fire(pane, Timing::OnTime, cx);
            } else if !over && early_clock == Some(timer.clock) && pane.early.is_some_and(|at| at <= timer.at) {
                self.fire(pane, Timing::Early, cx);
            }
            let forgotten = self.forgotten(pane.window) <= watermark;
            if forgotten && pane.new > 0 {
                self.fire(pane, Timing::Late, cx);
            }
            !forgotten
        });
        if panes.is_empty() {
            cx.clear();
        }
    }

    fn heap_bytes(&self, panes: &Self::State) -> usize {
        panes.capacity() * size_of::<Pane<A::Acc>>()
    }
}

impl<T: Record, W: Assign, A: Aggregate<T>> TriggeredWindows<T, W, A> {
    /// Whether a late record belongs to a session that goes on.
    fn touches_open(&self, panes: &[Pane<A::Acc>], window: Window) -> bool {
        W::MERGES && panes.iter().any(|pane| pane.window.start <= window.end && window.start <= pane.window.end)
    }
}
