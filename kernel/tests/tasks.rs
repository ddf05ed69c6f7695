//! Tasks as a user has them: order, suspension, panics, cancelling, waking across kernels.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use updraft_kernel::channel::{Receiver, Sender, spsc};
use updraft_kernel::{
    Account, Class, GroupError, KernelId, Nanos, Runtime, Signal, TaskError, block_on, clock, context, yield_now,
    yield_point,
};

const HERE: KernelId = KernelId(0);

fn runtime(kernels: usize) -> Runtime {
    Runtime::builder().kernels(kernels).pin(false).build().unwrap()
}

#[test]
fn values_come_back_from_every_kernel() {
    let runtime = runtime(3);
    let group = runtime.handle().group("values", Class::Stream);
    for kernel in 0..3 {
        let task = group.spawn(KernelId(kernel), "id", || async { context::current().unwrap().kernel() });
        assert_eq!(runtime.block_on(task), Ok(KernelId(kernel)));
    }
    runtime.block_on(group.join()).unwrap();
}

#[test]
fn the_earliest_deadline_goes_first_and_batch_last() {
    let runtime = runtime(1);
    let stream = runtime.handle().group("stream", Class::Stream);
    let batch = runtime.handle().group("batch", Class::Batch);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (begun, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    // Holds the kernel until all the others are in its inbox.
    let (b, g) = (begun.clone(), go.clone());
    stream.spawn(HERE, "hold", move || async move {
        b.store(true, Ordering::SeqCst);
        while !g.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    });
    while !begun.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let say = |group: &updraft_kernel::Group, name: &'static str, deadline: u64| {
        let order = order.clone();
        group.spawn(HERE, name, move || async move {
            // Far away, so that all have set theirs before the first is due. It counts from the next scheduling on.
            context::set_deadline(Nanos(u64::MAX / 2 + deadline));
            yield_now().await;
            order.lock().unwrap().push(name);
        })
    };
    let tasks =
        [say(&batch, "batch", 1), say(&stream, "late", 300), say(&stream, "early", 100), say(&stream, "middle", 200)];
    go.store(true, Ordering::SeqCst);
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["early", "middle", "late", "batch"]);
}

#[test]
fn what_is_ready_is_told_so_however_much_was_before_it() {
    let runtime = runtime(1);
    let group = runtime.handle().group("busy", Class::Stream);
    let task = group.spawn(HERE, "receiver", || async {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        (0..1_000).for_each(|i| sender.send(i).unwrap());
        poll_fn(|cx| Poll::Ready((0..1_000).all(|i| receiver.poll_recv(cx) == Poll::Ready(Some(i))))).await
    });
    assert_eq!(runtime.block_on(task), Ok(true));
}

#[test]
fn synchronous_batch_code_gives_way_to_a_stream_task() {
    let runtime = runtime(1);
    let batch = runtime.handle().group("batch", Class::Batch);
    let stream = runtime.handle().group("stream", Class::Stream);
    let (running, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (r, s) = (running.clone(), stop.clone());
    // Ends only once the stream task has run, on the same kernel.
    let endless = batch.spawn_stackful(HERE, "endless", move || {
        r.store(true, Ordering::SeqCst);
        while !s.load(Ordering::SeqCst) {
            yield_point();
        }
    });
    while !running.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    runtime.block_on(stream.spawn(HERE, "stop", move || async move { stop.store(true, Ordering::SeqCst) })).unwrap();
    runtime.block_on(endless).unwrap();
    assert!(runtime.handle().metrics().next().unwrap().suspensions() > 0);
}

/// How often tasks take turns that never wait depends on how long they may run at a time, which changes while there are some.
#[test]
fn a_quantum_that_is_changed_holds() {
    let runtime = runtime(1);
    let group = runtime.handle().group("loops", Class::Stream);
    let turns = |quantum: Duration| {
        runtime.handle().set_quantum(quantum);
        assert_eq!(runtime.handle().quantum(), quantum);
        let (last, turns) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let loops: Vec<_> = (1..=2)
            .map(|task| {
                let (last, turns) = (last.clone(), turns.clone());
                group.spawn_stackful(HERE, "loop", move || {
                    let begun = clock::now();
                    while clock::now().since(begun) < Duration::from_millis(200) {
                        turns.fetch_add(usize::from(last.swap(task, Ordering::Relaxed) != task), Ordering::Relaxed);
                        yield_point();
                    }
                })
            })
            .collect();
        loops.into_iter().for_each(|one| runtime.block_on(one).unwrap());
        turns.load(Ordering::Relaxed)
    };
    let [long, short] = [Duration::from_millis(50), Duration::from_micros(200)].map(turns);
    assert!(5 * long < short, "{long} turns, and {short}");
}

#[test]
fn synchronous_code_waits_without_holding_the_kernel() {
    let runtime = runtime(1);
    let group = runtime.handle().group("wait", Class::Stream);
    let signal = Arc::new(Signal::new());
    let waits = {
        let signal = signal.clone();
        group.spawn_stackful(HERE, "waits", move || block_on(signal.wait()))
    };
    let sets = group.spawn(HERE, "sets", move || async move { signal.set() });
    runtime.block_on(sets).unwrap();
    runtime.block_on(waits).unwrap();
}

#[test]
fn a_panic_fails_its_group_alone_and_tells_where() {
    let runtime = runtime(2);
    let bad = runtime.handle().group("bad", Class::Stream);
    let good = runtime.handle().group("good", Class::Stream);
    let waiting = bad.spawn(KernelId(1), "waiting", std::future::pending::<()>);
    let fine = good.spawn(HERE, "fine", || async {
        clock::sleep(Duration::from_millis(5)).await;
        7
    });
    let panics = bad.spawn_stackful(HERE, "panics", || -> () {
        context::set_place(&Arc::from("parse"), 41);
        panic!("no such {}", "field");
    });
    assert_eq!(runtime.block_on(panics), Err(TaskError::Panicked));
    assert_eq!(runtime.block_on(waiting), Err(TaskError::Cancelled));
    let error = runtime.block_on(bad.join()).unwrap_err();
    assert_eq!(error.to_string(), "task `panics` of `bad` panicked in `parse`, at record 41: no such field");
    assert_eq!(runtime.block_on(fine), Ok(7));
    runtime.block_on(good.join()).unwrap();
}

#[test]
fn cancelling_drops_what_tasks_hold() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let runtime = runtime(2);
    let dropped = Arc::new(AtomicUsize::new(0));
    let group = runtime.handle().group("cancel", Class::Batch);
    let held = || Held(dropped.clone());
    let (a, b, c) = (held(), held(), held());
    group.spawn(HERE, "future", move || async move {
        let _a = a;
        std::future::pending::<()>().await;
    });
    group.spawn_stackful(KernelId(1), "stack", move || {
        let _b = b;
        block_on(std::future::pending::<()>());
    });
    let alone = group.spawn(HERE, "alone", move || async move {
        let _c = c;
        std::future::pending::<()>().await;
    });
    // The first one is cancelled by itself, the others with the group.
    alone.cancel();
    assert_eq!(runtime.block_on(alone), Err(TaskError::Cancelled));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    group.cancel();
    assert!(matches!(runtime.block_on(group.join()), Err(GroupError::Cancelled)));
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
}

#[test]
fn a_task_cancelled_before_its_first_turn_holds_nothing_once_that_is_known() {
    struct Slow(Arc<AtomicUsize>);
    impl Drop for Slow {
        fn drop(&mut self) {
            // Long enough for who hears of the end too early to look.
            std::thread::sleep(std::time::Duration::from_millis(50));
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let runtime = runtime(1);
    let group = runtime.handle().group("early", Class::Stream);
    let (go, waits) = std::sync::mpsc::channel();
    let busy = group.spawn(HERE, "busy", move || async move { waits.recv().is_ok() });
    let dropped = Arc::new(AtomicUsize::new(0));
    let slow = Slow(dropped.clone());
    let never = group.spawn(HERE, "never", move || async move { drop(slow) });
    never.cancel();
    go.send(()).unwrap();
    assert_eq!(runtime.block_on(busy), Ok(true));
    assert_eq!(runtime.block_on(never), Err(TaskError::Cancelled));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn dropping_the_runtime_ends_tasks_that_wait() {
    let runtime = runtime(2);
    let group = runtime.handle().group("orphans", Class::Stream);
    let tasks: Vec<_> = (0..4).map(|i| group.spawn(KernelId(i), "orphan", std::future::pending::<()>)).collect();
    drop(runtime);
    for task in tasks {
        assert_eq!(futures_now(task), Err(TaskError::Cancelled));
    }
}

/// The value of a future that is ready.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut cx) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("not ready"),
    }
}

#[test]
fn wake_ups_across_kernels_are_not_lost() {
    let runtime = runtime(2);
    let group = runtime.handle().group("ping", Class::Stream);
    let (mut ping, mut pinged) = spsc::<u32>(1);
    let (mut pong, mut ponged) = spsc::<u32>(1);
    let left = group.spawn(HERE, "left", move || async move {
        for i in 0..20_000 {
            ping.send(i).await.unwrap();
            assert_eq!(ponged.recv().await, Some(i));
        }
    });
    let right = group.spawn(KernelId(1), "right", move || async move {
        while let Some(i) = pinged.recv().await {
            pong.send(i).await.unwrap();
        }
    });
    runtime.block_on(left).unwrap();
    runtime.block_on(right).unwrap();
}

#[test]
fn any_tokio_crate_works_inside_a_task() {
    let runtime = runtime(2);
    let group = runtime.handle().group("tcp", Class::Stream);
    let (mut tell, mut told) = spsc(1);
    let server = group.spawn(HERE, "server", move || async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell.send(listener.local_addr().unwrap()).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        text
    });
    let client = group.spawn(KernelId(1), "client", move || async move {
        let mut socket = tokio::net::TcpStream::connect(told.recv().await.unwrap()).await.unwrap();
        socket.write_all(b"hello").await.unwrap();
    });
    runtime.block_on(client).unwrap();
    assert_eq!(runtime.block_on(server).unwrap(), "hello");
}

/// Whichever account has less left tells by how much there is too much.
#[test]
fn the_excess_is_that_of_the_tightest_account() {
    let above = Account::new(100);
    let (one, other) = (Account::child(&above, 50), Account::child(&above, usize::MAX));
    one.charge(30);
    other.charge(60);
    let half = |budget| budget / 2;
    assert_eq!((one.limit(), other.limit()), (50, 100));
    assert_eq!((one.excess(0, half), other.excess(0, half)), (40, 40));
    other.release(60);
    assert_eq!((one.excess(0, half), other.excess(0, half)), (5, 0));
    assert_eq!((one.excess(-6, half), one.excess(4, half)), (0, 9));
}

#[test]
fn over_budget_waits_until_released() {
    let runtime = Runtime::builder().kernels(1).pin(false).memory_budget(100).build().unwrap();
    let group = runtime.handle().group("memory", Class::Stream);
    group.account().charge(150);
    assert!(group.account().over_budget());
    let waits = group.spawn(HERE, "waits", || async {
        let context = context::current().unwrap();
        context.account().wait_within().await;
        context.account().used()
    });
    group.account().release(60);
    assert_eq!(runtime.block_on(waits), Ok(90));
    assert_eq!((runtime.handle().account().used(), group.account().peak()), (90, 150));
}
