//! Work on a kernel, for tests of sources and sinks; those of other crates use it, too.

use std::future::Future;

use updraft_kernel::{Class, KernelId, Runtime};

/// What `future` gives, on a kernel of its own.
pub(crate) fn run<T, Fut>(future: impl FnOnce() -> Fut + Send + 'static) -> T
where
    T: Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let runtime = Runtime::builder().kernels(1).pin(false).build().unwrap();
    let group = runtime.handle().group("test", Class::Stream);
    let task = group.spawn(KernelId(0), "test", future);
    runtime.block_on(task).unwrap()
}
