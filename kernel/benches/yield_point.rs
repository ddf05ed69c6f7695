//! What a yield point costs that does not suspend: nanoseconds a call, beside the same loop without it.

use std::hint::black_box;

use updraft_kernel::{Class, KernelId, Runtime, clock, yield_point};

const CALLS: u64 = 200_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::builder().kernels(1).build()?;
    let group = runtime.handle().group("bench", Class::Batch);
    let times = group.spawn_stackful(KernelId(0), "loop", || {
        let without = measure(|| ());
        let with = measure(yield_point);
        (without, with)
    });
    let (without, with) = runtime.block_on(times)?;
    println!("loop alone {without:.2} ns, with a yield point {with:.2} ns, the yield point {:.2} ns", with - without);
    Ok(())
}

fn measure(body: impl Fn()) -> f64 {
    let begin = clock::now();
    for i in 0..CALLS {
        black_box(i);
        body();
    }
    clock::now().since(begin).as_nanos() as f64 / CALLS as f64
}
