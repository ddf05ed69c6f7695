//! Updraft's dataflow engine.

pub mod aggregate;
pub mod bundle;
pub(crate) mod partial;
pub mod pipe;
pub mod sink;
pub mod source;
pub mod stage;
pub mod table;
pub mod time;
pub mod window;

pub use bundle::{Bundle, Record};
pub use sink::Sink;
pub use source::{Batch, DeadLetter, Error, Partition, Source};
pub use time::{Epoch, Generation, Punctuation, Time};
