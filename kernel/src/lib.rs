//! The kernel of Updraft: one thread per core, cooperative tasks, and nothing of dataflow.
//!
//! A [`Runtime`] owns kernels. Each is a thread, pinned to a core, that drives a tokio current-thread
//! runtime (so that any async crate works inside a task) beside run queues of its own: tasks of class
//! [`Class::Stream`] first, earliest deadline first; tasks of class [`Class::Batch`] with what is left. A
//! task is a future, or synchronous code on a stack of its own that [`yield_point`] suspends where it stands.
//!
//! ```
//! use updraft_kernel::{Class, KernelId, Runtime, yield_now};
//!
//! let runtime = Runtime::builder().kernels(2).pin(false).build()?;
//! let group = runtime.handle().group("sums", Class::Stream);
//! let sum = group.spawn(KernelId(1), "add", || async {
//!     yield_now().await;
//!     (1..=10).sum::<u64>()
//! });
//! assert_eq!(runtime.block_on(sum)?, 55);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to go next: [`runtime`] (threads and their loop), [`sim`] (kernels that are simulated), [`scheduler`](mod@scheduler) (who runs next), [`group`] (tasks that live
//! and fail together), [`stackful`] (suspending synchronous code), [`channel`], [`bell`](mod@bell), [`account`], [`context`].

pub mod account;
pub mod bell;
pub mod channel;
pub mod clock;
pub mod context;
pub mod group;
pub mod metrics;
mod prefetch;
pub mod random;
pub mod runtime;
pub mod scheduler;
pub mod signal;
pub mod signals;
pub mod stackful;
mod sync;

pub use account::Account;
pub use bell::{Bell, Bells};
pub use clock::Nanos;
pub use context::{Context, KernelId, kernel_id};
pub use group::{Failure, Group, GroupError, JoinHandle, TaskError, give_up};
pub use prefetch::prefetch;
pub use runtime::{Builder, Handle, Runtime, sim};
pub use scheduler::{Class, yield_now};
pub use signal::Signal;
pub use stackful::{block_on, yield_point};
