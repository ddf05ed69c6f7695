//! NATS JetStream for Updraft: streams as sources and sinks.
//!
//! * [`source`]: the messages of a stream, each read once;
//! * [`sink`]: messages to a stream, each there once;
//! * [`table`]: both as tables of SQL.
//!
//! Start at [`Nats`], a server. What they share: a connection that is made again when it breaks (`connection.rs`), and reading by sequence
//! (`pull.rs`).

mod connection;
mod fault;
mod message;
mod pull;
mod runtime;
pub mod sink;
pub mod source;
mod subject;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;

pub use connection::Nats;
pub use message::{Headers, Message, Outgoing};
pub use sink::{Guarantee, NatsSink};
pub use source::{End, NatsSource, Start};
pub use table::{NatsTable, register};

/// The chapter: what it shows is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/nats.md")]
mod chapter {}
