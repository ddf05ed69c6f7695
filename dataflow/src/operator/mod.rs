//! The operators, one file each. To add one: a file here with an `impl Stream`, and a line in this list.

mod custom;
mod filter;
mod flat_map;
mod fold;
mod fork;
mod inspect;
mod join;
mod key_by;
mod map;
mod map_async;
mod materialize;
mod process;
mod rebalance;
mod sink;
mod split;
mod to_rows;
mod union;
mod window;

pub use custom::{Operator, OperatorStage, Outbox};
pub use filter::Filter;
pub use flat_map::FlatMap;
pub use fold::FoldStage;
pub use inspect::Inspect;
pub use join::JoinedStreams;
pub use key_by::KeyedStream;
pub use map::Map;
pub use map_async::Calls;
pub use materialize::EmitStage;
pub use process::{Broadcast, DealtRows, Shuffled};
pub use rebalance::RebalanceStage;
pub use to_rows::RowsStage;
pub use window::{TriggeredStream, WindowedStream};
