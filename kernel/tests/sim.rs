//! The simulator itself: the same seed is the same run, other seeds are other schedules, and it finds what it is for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use updraft_kernel::channel::{Receiver, Sender, spsc};
use updraft_kernel::sim::{Faults, Fingerprint, Sim};
use updraft_kernel::{Class, GroupError, KernelId, Signal, clock, random, yield_now, yield_point};

/// What happened, in order.
type Log = Arc<Mutex<Vec<String>>>;

fn note(log: &Log, what: impl Into<String>) {
    let kernel = updraft_kernel::kernel_id().unwrap();
    log.lock().unwrap().push(format!("{} {kernel} {}", clock::now().0, what.into()));
}

/// Producers and consumers on several kernels, naps, synchronous loops, of both classes.
fn program(sim: &Sim, tasks: usize) -> (Result<(), GroupError>, Vec<String>) {
    let log = Log::default();
    let group = sim.handle().group("program", Class::Stream);
    let batch = sim.handle().group("background", Class::Batch);
    for n in 0..tasks {
        let (mut sender, mut receiver) = spsc(2);
        group.spawn(KernelId(n), format!("producer {n}"), move || async move {
            for i in 0..10_u64 {
                clock::sleep(Duration::from_micros(random::u64() % 50)).await;
                sender.send(i).await.unwrap();
            }
        });
        let consumed = log.clone();
        group.spawn(KernelId(n + 1), format!("consumer {n}"), move || async move {
            while let Some(i) = receiver.recv().await {
                note(&consumed, format!("task {n} item {i}"));
            }
        });
        let looped = log.clone();
        batch.spawn_stackful(KernelId(n), format!("loop {n}"), move || {
            (0..500).for_each(|_| yield_point());
            note(&looped, format!("loop {n}"));
        });
    }
    let ended = sim.block_on(group.join());
    sim.block_on(batch.join()).unwrap();
    let log = std::mem::take(&mut *log.lock().unwrap());
    (ended, log)
}

fn run(seed: u64, kernels: usize, faults: Faults) -> (Fingerprint, String, Vec<String>) {
    let sim = Sim::builder(seed).kernels(kernels).faults(faults).build();
    let (ended, log) = program(&sim, 4);
    (sim.fingerprint(), format!("{ended:?}"), log)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn the_same_seed_is_the_same_run(seed: u64, kernels in 1_usize..5, stall in 0.0..0.3, panic in 0.0..0.01) {
        let faults = Faults::none().stalls(stall, Duration::from_millis(3)).panics(panic);
        // The background job may be the one that panics.
        let twice = [(); 2].map(|()| catch_unwind(|| run(seed, kernels, faults)).map_err(|_| "panicked"));
        prop_assert_eq!(&twice[0], &twice[1]);
    }
}

#[test]
fn other_seeds_are_other_schedules() {
    let orders: BTreeSet<_> = (0..50).map(|seed| run(seed, 3, Faults::none()).2).collect();
    assert!(orders.len() > 45, "{} orders of 50 runs", orders.len());
}

#[test]
fn every_item_arrives_in_order_whatever_stands_still() {
    for seed in 0..100 {
        let (_, ended, log) = run(seed, 3, Faults::none().stalls(0.3, Duration::from_millis(1)));
        assert_eq!(ended, "Ok(())");
        for task in 0..4 {
            let items = log.iter().filter(|line| line.contains(&format!("task {task} ")));
            let items: Vec<_> = items.map(|line| line.rsplit(' ').next().unwrap()).collect();
            assert_eq!(items, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        }
    }
}

#[test]
fn years_pass_in_no_time_and_in_order() {
    let sim = Sim::new(1);
    let group = sim.handle().group("sleepers", Class::Stream);
    let woken = Arc::new(Mutex::new(Vec::new()));
    for days in [300_u64, 20, 1000, 1] {
        let woken = woken.clone();
        group.spawn(KernelId(days as usize % 2), "sleeper", move || async move {
            clock::sleep(Duration::from_hours(24 * days)).await;
            woken.lock().unwrap().push(days);
        });
    }
    let wall = sim.block_on(async { clock::wall() });
    sim.block_on(group.join()).unwrap();
    assert_eq!(*woken.lock().unwrap(), [1, 20, 300, 1000]);
    assert!(sim.block_on(async { clock::wall() }) - wall >= Duration::from_hours(24_000));
    assert_eq!(sim.block_on(clock::timeout(Duration::from_secs(5), std::future::pending::<()>())), None);
    assert_eq!(sim.block_on(clock::timeout(Duration::from_secs(5), async { 3 })), Some(3));
}

#[test]
fn who_waits_for_ever_is_named() {
    let stuck = catch_unwind(|| {
        let sim = Sim::new(11);
        let group = sim.handle().group("lovers", Class::Stream);
        let (one, other) = (Arc::new(Signal::new()), Arc::new(Signal::new()));
        let (first, second) = (one.clone(), other.clone());
        group.spawn(KernelId(0), "romeo", move || async move {
            first.wait().await;
            second.set();
        });
        group.spawn(KernelId(1), "juliet", move || async move {
            other.wait().await;
            one.set();
        });
        let _ = sim.block_on(group.join());
    });
    let message = *stuck.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("seed 11: "), "{message}");
    assert!(message.ends_with("nobody can go on; waiting are `romeo` of `lovers`, `juliet` of `lovers`"), "{message}");
    // The thread can simulate again.
    Sim::new(12).block_on(yield_now());
}

/// Looks, and then waits, without looking again: a wake-up in between is lost.
#[test]
fn a_lost_wake_up_is_found() {
    let lost = |seed| {
        catch_unwind(AssertUnwindSafe(|| {
            let sim = Sim::new(seed);
            let group = sim.handle().group("race", Class::Stream);
            let flag = Arc::new((AtomicBool::new(false), tokio::sync::Notify::new()));
            let setter = flag.clone();
            group.spawn(KernelId(0), "waits", move || async move {
                if !flag.0.load(Ordering::SeqCst) {
                    yield_now().await;
                    flag.1.notified().await;
                }
            });
            group.spawn(KernelId(1), "sets", move || async move {
                setter.0.store(true, Ordering::SeqCst);
                setter.1.notify_waiters();
            });
            sim.block_on(group.join()).unwrap();
        }))
        .is_err()
    };
    let lost = (0..100).filter(|seed| lost(*seed)).count();
    assert!((5..95).contains(&lost), "lost in {lost} of 100 runs");
}

#[test]
fn synchronous_code_is_suspended_at_its_yield_points() {
    let sim = Sim::new(3);
    let group = sim.handle().group("loops", Class::Stream);
    let order = Arc::new(Mutex::new(Vec::new()));
    for task in 0..2 {
        let order = order.clone();
        group.spawn_stackful(KernelId(0), "loop", move || {
            for _ in 0..5_000 {
                order.lock().unwrap().push(task);
                yield_point();
            }
        });
    }
    sim.block_on(group.join()).unwrap();
    let order = order.lock().unwrap();
    let switches = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(switches > 3, "{switches}");
}

#[test]
fn injected_panics_fail_their_group_alone() {
    let (mut failed, mut ended) = (0, 0);
    for seed in 0..100 {
        let sim = Sim::builder(seed).faults(Faults::none().panics(0.02)).build();
        let groups: Vec<_> = (0..3).map(|n| sim.handle().group(format!("group {n}"), Class::Stream)).collect();
        let turns = Arc::new(AtomicU64::new(0));
        for group in &groups {
            let turns = turns.clone();
            group.spawn(KernelId(0), "task", move || async move {
                for _ in 0..20 {
                    turns.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            });
        }
        for group in groups {
            match sim.block_on(group.join()) {
                Ok(()) => ended += 1,
                Err(GroupError::Panicked { message, .. }) if message == "a panic by the simulator" => failed += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(failed > 50 && ended > 50, "{failed} failed, {ended} ended");
}

#[test]
fn checks_are_made_at_each_step() {
    let sim = Sim::new(5);
    let (steps, highest) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(0)));
    let account = sim.handle().account().clone();
    let (counted, seen) = (steps.clone(), highest.clone());
    let watched = account.clone();
    sim.at_each_step(move || {
        counted.set(counted.get() + 1);
        let most = &mut *seen.borrow_mut();
        *most = watched.used().max(*most);
    });
    let group = sim.handle().group("charges", Class::Stream);
    group.spawn(KernelId(1), "charges", move || async move {
        account.charge(100);
        yield_now().await;
        account.release(100);
    });
    sim.block_on(group.join()).unwrap();
    assert!(steps.get() >= 2);
    assert_eq!(*highest.borrow(), 100);
}
