//! Where results go: the last of the five files of the data path.

use std::future::Future;

use crate::bundle::Bundle;
use crate::source::Error;
use crate::time::Punctuation;

/// Where records go. One task drives it, on one kernel.
pub trait Sink<T>: Send + 'static {
    /// Takes a bundle. Bundles of several open epochs may come interleaved; while this future is
    /// pending the sink's queue fills, and then the sources wait.
    fn write(&mut self, bundle: Bundle<T>) -> impl Future<Output = Result<(), Error>>;

    /// Every record of the epochs up to `punctuation.epoch` has been written, and none will follow.
    /// Called in order of epochs. A sink that buffers makes its rows visible here.
    fn complete(&mut self, punctuation: Punctuation) -> impl Future<Output = Result<(), Error>> {
        let _ = punctuation;
        async { Ok(()) }
    }

    /// The job has ended well: flush, and close what is open.
    fn close(&mut self) -> impl Future<Output = Result<(), Error>> {
        async { Ok(()) }
    }
}
