//! Work on a kernel, for tests of sources and sinks; those of other crates use it, too.

use std::future::Future;
use std::time::Duration;

use updraft_kernel::{Class, KernelId, Runtime, clock};

/// Much longer than anything takes here, so that what waits for ever is named.
const HANGS: Duration = Duration::from_secs(600);

/// What `future` gives, on a kernel of its own.
///
/// # Panics
/// When it hangs.
pub(crate) fn run<T, Fut>(future: impl FnOnce() -> Fut + Send + 'static) -> T
where
    T: Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let runtime = Runtime::builder().kernels(1).pin(false).build().unwrap();
    let group = runtime.handle().group("test", Class::Stream);
    let task = group.spawn(KernelId(0), "test", || clock::timeout(HANGS, future()));
    runtime.block_on(task).unwrap().unwrap_or_else(|| panic!("it hangs"))
}
