//! Updraft's dataflow engine: epochs out of order, windows, aggregates, pure stages.
//!
//! A [`Job`] is a graph of [`Stream`]s from sources to sinks. What flows are [`Bundle`]s of records, each of an
//! [`Epoch`], and [`Punctuation`]s, each of which closes one. Epochs are worked on out of order, by all kernels, and
//! complete in order.
//!
//! The data path is five files, to be read in one sitting:
//! [`source`] → [`container`] → [`stage`] → `exchange` → [`sink`]. Above it are the operators ([`operator`]),
//! windows ([`window`]) and aggregates ([`aggregate`]); below it is the kernel ([`updraft_kernel`]).

pub mod aggregate;
pub mod alignment;
pub mod bundle;
pub mod checkpoint;
pub mod connector;
pub mod container;
pub mod control;
pub mod epoch;
mod exchange;
pub mod explain;
pub mod input;
pub mod job;
pub mod join;
pub mod journal;
pub mod keyed;
pub mod lateness;
pub mod metrics;
pub mod operator;
mod ordered;
pub(crate) mod partial;
pub mod pipe;
pub mod policy;
pub mod rows;
pub mod sim;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod stage;
pub mod stream;
mod sync;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod window;
mod worker;

pub use alignment::Alignment;
pub use bundle::{Bundle, Record};
pub use container::EpochOrder;
pub use epoch::Epochs;
pub use job::{Job, JobError, Running};
pub use lateness::{RowWatermarks, Watermarks};
pub use pipe::Pipe;
pub use rows::{Hashed, RowKind, Rows};
pub use sink::{Prepared, Sink};
pub use snapshot::{Object, Saved, Snapshot};
pub use source::{BadRecords, Batch, DeadLetter, Error, Idle, Partition, Place, Progress, Source};
pub use stage::{Keeps, KeyGroup, Stage};
pub use stream::Stream;
pub use time::{Epoch, Generation, Punctuation, Time};
pub use window::{Cumulating, Session, Sliding, Tumbling, Window, Windowed};
