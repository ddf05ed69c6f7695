//! Updraft's dataflow engine.

pub mod bundle;
pub mod sink;
pub mod source;
pub mod time;

pub use bundle::{Bundle, Record};
pub use sink::Sink;
pub use source::{Batch, DeadLetter, Error, Partition, Source};
pub use time::{Epoch, Generation, Punctuation, Time};
