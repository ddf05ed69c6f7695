//! The low level: tasks and channels on kernels, and no dataflow; and how a job hands over to them and takes up again.
//!
//! `cargo run --release --example 04_tasks`

use std::error::Error;

use updraft::kernel::channel::{Receiver, Sender, spsc};
use updraft::kernel::{Class, KernelId, Runtime, clock};
use updraft::prelude::{Bundle, Channel, Collect, Generator, Job};

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::builder().kernels(2).build()?;
    let group = runtime.handle().group("by hand", Class::Stream);

    // Two tasks on two kernels, and a channel that holds four numbers: who is faster waits.
    let (mut sender, mut receiver) = spsc(4);
    group.spawn(KernelId(0), "squares", move || async move {
        for n in 1..=10_u64 {
            if sender.send(n * n).await.is_err() {
                return;
            }
        }
    });
    let sum = group.spawn(KernelId(1), "sum", move || async move {
        let mut sum = 0;
        while let Some(square) = receiver.recv().await {
            sum += square;
        }
        sum
    });
    println!("the squares of 1 to 10 are {} together", runtime.block_on(sum)?);

    // A job, then a task between its end and the beginning of another one, on the same kernels.
    let (to_task, mut from_job) = Channel::bounded(4);
    let (to_job, from_task) = Channel::source(4);
    let (sink, results) = Collect::new();
    let first = Job::new("first");
    first.source("numbers", Generator::new(|n| n).count(1_000)).stream().filter(|n| n % 7 == 0).sink("task", to_task);
    let second = Job::new("second");
    second.source("task", from_task).stream().map(|n: u64| n / 7).sink("results", sink);
    let begun = clock::now();
    group.spawn(KernelId(1), "in between", move || async move {
        let mut bundles = 0;
        while let Some(bundle) = from_job.recv().await {
            bundles += 1;
            let odd: Vec<u64> = bundle.into_vec().into_iter().filter(|n| n % 2 == 1).collect();
            if to_job.send(Bundle::from(odd)).await.is_err() {
                break;
            }
        }
        bundles
    });
    let (first, second) = (first.start(runtime.handle())?, second.start(runtime.handle())?);
    runtime.block_on(first.join())?;
    runtime.block_on(second.join())?;
    runtime.block_on(group.join())?;
    let results = results.take();
    println!(
        "{} odd multiples of 7 below 1000; the sum of their sevenths is {}",
        results.len(),
        results.iter().sum::<u64>()
    );
    eprintln!("it took {:?}", clock::now().since(begun));
    Ok(())
}
