//! Signals under every interleaving that the memory model allows.
//!
//! `RUSTFLAGS="--cfg updraft_loom" cargo test -p updraft-kernel --release --test loom`
#![cfg(updraft_loom)]

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use updraft_kernel::Signal;

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
    // All interleavings of three threads are too many: those with at most two preemptions.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
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
