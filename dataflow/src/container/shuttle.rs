//! The containers under random schedules: threads add, claim and close in any order, and both invariants hold.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p updraft-dataflow --release --lib shuttle`

use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::thread;

use super::{Container, Containers, EpochOrder, Service};
use crate::time::{Epoch, Punctuation, Time};

const EPOCHS: u64 = 3;
const INPUTS: usize = 2;
const WORKERS: usize = 2;

struct Checked {
    containers: Containers<(u64, usize)>,
    /// Work that is done, and epochs that are complete, in the order in which they were.
    events: Mutex<Vec<Event>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Done(u64),
    Complete(u64, i64),
}

impl Checked {
    /// Completes the epoch and those after it that waited for that alone; each is sealed by one piece of work.
    fn settle(&self, container: Arc<Container>) {
        let mut settled = Some(container);
        while let Some(container) = settled {
            if container.seal() {
                container.expect(1);
                let epoch = container.epoch.0;
                self.containers.push(0, container, (epoch, usize::MAX));
                return;
            }
            let punctuation = container.punctuation();
            self.events.lock().unwrap().push(Event::Complete(punctuation.epoch.0, punctuation.watermark.0));
            settled = self.containers.retire(&container);
        }
    }

    fn work(&self, lane: usize) {
        while self.completed() < EPOCHS as usize {
            let Some((container, (epoch, _))) = self.containers.claim(lane, true) else {
                thread::yield_now();
                continue;
            };
            assert_eq!(container.epoch.0, epoch, "work stays in its epoch");
            self.events.lock().unwrap().push(Event::Done(epoch));
            if container.done() {
                self.settle(container);
            }
        }
    }

    fn feed(&self, input: usize) {
        for epoch in 0..EPOCHS {
            for piece in 0..2 {
                self.containers.add(input + piece, Epoch(epoch), |_| (epoch, input));
            }
            let watermark = Time((epoch as i64 + 1) * 10 + input as i64);
            if let Some(container) = self.containers.close(Punctuation { epoch: Epoch(epoch), watermark, now: Time(0) })
            {
                self.settle(container);
            }
        }
    }

    fn completed(&self) -> usize {
        self.events.lock().unwrap().iter().filter(|event| matches!(event, Event::Complete(..))).count()
    }
}

fn check(order: EpochOrder, stealing: bool) {
    let checked = Arc::new(Checked {
        containers: Containers::new(WORKERS, Service { order, stealing, priority: true }),
        events: Mutex::default(),
    });
    (0..INPUTS).for_each(|_| checked.containers.add_input());
    let feeders = (0..INPUTS).map(|input| {
        let checked = checked.clone();
        thread::spawn(move || checked.feed(input))
    });
    let workers = (0..WORKERS).map(|lane| {
        let checked = checked.clone();
        thread::spawn(move || checked.work(lane))
    });
    let threads: Vec<_> = feeders.chain(workers).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let events = checked.events.lock().unwrap();
    for epoch in 0..EPOCHS {
        // Two pieces from each input, and the one that seals it; all of this epoch and those before come before it is complete.
        let at = |wanted| events.iter().position(|event| *event == wanted).unwrap();
        // The lesser of the inputs' watermarks.
        let complete = at(Event::Complete(epoch, (epoch as i64 + 1) * 10));
        let done = |events: &[Event]| events.iter().filter(|event| **event == Event::Done(epoch)).count();
        assert_eq!((done(&events[..complete]), done(&events[complete..])), (2 * INPUTS + 1, 0));
        assert!(epoch == 0 || at(Event::Complete(epoch - 1, epoch as i64 * 10)) < complete);
    }
}

#[test]
fn invariants_hold_out_of_order() {
    shuttle::check_random(|| check(EpochOrder::Out, true), 3_000);
    shuttle::check_pct(|| check(EpochOrder::Out, true), 1_000, 3);
}

#[test]
fn invariants_hold_in_order_and_without_stealing() {
    shuttle::check_random(|| check(EpochOrder::In, true), 1_500);
    shuttle::check_random(|| check(EpochOrder::Out, false), 1_500);
}
