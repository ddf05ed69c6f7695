//! Sources and sinks for Updraft. A connector is one file (or folder) and one line in the lists below.
//!
//! Sources implement [`updraft_dataflow::Source`]:
//!
//! * [`memory`]: records that are in memory already, without copying them.
//! * [`generator`]: records made by a function of their number, at a rate.
//! * [`nexmark`]: the auction of the public Nexmark benchmark.
//! * [`files`]: text, CSV and JSON files, compressed or not, read once or followed as they grow.
//! * [`stdin`]: the same formats over standard input.
//! * [`socket`]: the same formats over TCP and UNIX sockets, called or listened at.
//!
//! Sinks implement [`updraft_dataflow::Sink`]:
//!
//! * [`stdout`]: an aligned table, CSV or JSON lines on standard output.
//! * [`mod@file`]: the same to a file, compressed or not, that appears when it is whole.
//! * [`socket`]: JSON lines or CSV to a TCP or UNIX socket, or to all who connect to one.
//! * [`collect`]: into a vector.
//! * [`channel`]: bundle by bundle to another task or thread.
//! * [`blackhole`]: nowhere, counted.
//! * [`dead_letters`]: rejected records, as JSON lines.
//! * [`console`]: the rows of a query on standard output, with what each of them does.
//!
//! As tables, by name, with columns ([`updraft_dataflow::connector::Connector`]):
//!
//! * [`filesystem`]: CSV, JSON, raw lines, Parquet, Arrow and Avro, in files and folders, on disk and in stores of objects.
//! * [`table`]: what is made up (`datagen`, `nexmark`), what prints or forgets (`print`, `blackhole`); and the list of all.
//!
//! What they share: [`format`](mod@format) turns bytes into records, [`rows`] turns records into bytes; for tables
//! [`columns`] does both, and [`message`] for connectors whose records are messages. To write a connector of your own, start from [`memory`] and [`blackhole`], the shortest ones.

pub mod blackhole;
pub mod channel;
pub mod collect;
pub mod columns;
mod compression;
pub mod console;
pub mod dead_letters;
mod durable;
pub mod file;
pub mod files;
pub mod filesystem;
pub mod format;
pub mod generator;
mod growing;
pub mod memory;
pub mod message;
pub mod nexmark;
mod pace;
pub mod rows;
pub mod socket;
pub mod stdin;
pub mod stdout;
mod store;
pub mod table;
mod text;

pub use blackhole::Blackhole;
pub use channel::Channel;
pub use collect::Collect;
pub use console::{Console, ConsoleLayout};
pub use dead_letters::DeadLetters;
pub use file::FileSink;
pub use files::Files;
pub use filesystem::Filesystem;
pub use generator::Generator;
pub use memory::Memory;
pub use nexmark::Nexmark;
pub use socket::{Socket, SocketSink};
pub use stdin::Stdin;
pub use stdout::Stdout;
pub use store::{memory_store, state_store};
