//! Signals, bells, channels and memory accounts under every interleaving that the memory model allows.
//!
//! `RUSTFLAGS="--cfg updraft_loom" cargo test -p updraft-kernel --release --test loom`
#![cfg(updraft_loom)]

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use updraft_kernel::channel::{Receiver, Sender, spsc};
use updraft_kernel::{Account, Bell, Bells, Signal};

/// Where there are more interleavings than can be tried: those with at most two preemptions.
fn check_some(test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(test);
}

#[test]
fn a_signal_is_not_lost_and_shows_what_came_before_it() {
    loom::model(|| {
        let shared = Arc::new((Signal::new(), AtomicUsize::new(0)));
        let setter = shared.clone();
        let thread = thread::spawn(move || {
            setter.1.store(1, Ordering::Relaxed);
            setter.0.set();
        });
        block_on(shared.0.wait());
        assert_eq!(shared.1.load(Ordering::Relaxed), 1);
        thread.join().unwrap();
    });
}

#[test]
fn of_two_setters_none_is_lost() {
    check_some(|| {
        let shared = Arc::new((Signal::new(), AtomicUsize::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    shared.0.set();
                })
            })
            .collect();
        // Each wait may see one or both; after the last there is nothing left to wait for.
        while shared.1.load(Ordering::Relaxed) < 2 {
            block_on(shared.0.wait());
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_bell_is_heard_by_who_is_about_to_wait() {
    loom::model(|| {
        let shared = Arc::new((Bell::default(), AtomicUsize::new(0)));
        let ringer = shared.clone();
        let thread = thread::spawn(move || {
            for _ in 0..2 {
                ringer.1.fetch_add(1, Ordering::Relaxed);
                ringer.0.ring();
            }
        });
        // With the last ring lost, this would wait for ever.
        block_on(shared.0.wait(|| shared.1.load(Ordering::Relaxed) == 2));
        thread.join().unwrap();
    });
}

#[test]
fn no_work_is_left_lying_though_one_bell_is_rung_for_each_piece() {
    check_some(|| {
        // Pieces that wait, and pieces that are still to be done.
        let shared = Arc::new((Bells::default(), AtomicUsize::new(0), AtomicUsize::new(2)));
        let workers = [shared.0.hang(), shared.0.hang()].map(|bell| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (bells, waiting, left) = &*shared;
                while left.load(Ordering::Acquire) > 0 {
                    let take = |n: usize| n.checked_sub(1);
                    if waiting.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take).is_err() {
                        let is_awaited = || waiting.load(Ordering::Relaxed) > 0 || left.load(Ordering::Relaxed) == 0;
                        block_on(bell.wait(is_awaited));
                    } else if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        bells.ring_all();
                    }
                }
            })
        });
        for first in 0..2 {
            shared.1.fetch_add(1, Ordering::AcqRel);
            shared.0.ring_from(first, |_| true);
        }
        workers.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_full_channel_makes_its_sender_wait_and_all_arrives_in_order() {
    check_some(|| {
        let (mut sender, mut receiver) = spsc::<u32>(1);
        let thread = thread::spawn(move || {
            block_on(async {
                for n in 0..3 {
                    sender.send(n).await.unwrap();
                }
            });
        });
        let received = block_on(async {
            let mut received = Vec::new();
            // The sender's end is found to be closed after the last value, not before.
            while let Some(n) = receiver.recv().await {
                received.push(n);
            }
            received
        });
        assert_eq!(received, [0, 1, 2]);
        thread.join().unwrap();
    });
}

#[test]
fn a_sender_that_waits_learns_that_the_receiver_has_gone() {
    check_some(|| {
        let (mut sender, mut receiver) = spsc::<u32>(1);
        let thread = thread::spawn(move || {
            let first = block_on(receiver.recv());
            drop(receiver);
            first
        });
        let refused = block_on(async {
            let mut n = 0;
            loop {
                if let Err(closed) = sender.send(n).await {
                    return closed.0;
                }
                n += 1;
            }
        });
        assert_eq!(thread.join().unwrap(), Some(0));
        assert!((1..=2).contains(&refused), "what was refused comes back: {refused}");
    });
}

#[test]
fn whichever_release_comes_under_budget_wakes_who_waits() {
    check_some(|| {
        let parent = Account::new(1);
        let (own, other) = (Account::child(&parent, 1), Account::child(&parent, usize::MAX));
        own.charge(2);
        other.charge(1);
        let threads = [own.clone(), other].map(|account| thread::spawn(move || account.release(1)));
        block_on(own.wait_within());
        assert!(!own.over_budget());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_release_and_a_new_budget_together_wake_who_waits() {
    check_some(|| {
        let account = Account::new(0);
        account.charge(2);
        let (releases, allows) = (account.clone(), account.clone());
        // Neither is enough alone.
        let threads = [thread::spawn(move || releases.release(1)), thread::spawn(move || allows.set_budget(1))];
        block_on(account.wait_within());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn one_release_wakes_all_who_wait() {
    check_some(|| {
        let account = Account::new(0);
        account.charge(1);
        let waiters = [account.clone(), account.clone()];
        let waiters = waiters.map(|account| thread::spawn(move || block_on(account.wait_within())));
        account.release(1);
        waiters.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
