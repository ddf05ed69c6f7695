//! Kafka for Updraft: topics as sources, sinks and tables, by librdkafka.
//!
//! * [`KafkaSource`] reads the partitions of topics, by what [`Reads`] says: from where, to where. Each record counts once in a job that takes
//!   checkpoints.
//! * [`KafkaSink`] writes to a topic, as [`Writes`] says: where, and how often a message may be there ([`Guarantee`]). Exactly once is by
//!   Kafka's transactions.
//! * [`table`] has both as tables of SQL, `'connector' = 'kafka'` and `'upsert-kafka'`, with Flink's options: [`register`] adds them to a
//!   registry.
//!
//! librdkafka is built with the crate, by its own `configure` and `make`. TLS and SASL are cargo features (`ssl`, `ssl-vendored`,
//! `gssapi`), compression is, too (`gzip`, `zstd`; both are there unless left out).

mod client;
mod delivered;
mod message;
mod moment;
mod producer;
mod settings;
pub mod sink;
pub mod source;
pub mod table;
mod topics;
mod transaction;

pub use client::Cluster;
pub use message::{Header, KafkaMessage, Outgoing};
pub use moment::Moment;
pub use sink::{Guarantee, KafkaSink, Messages, Partitioner, Writes};
pub use source::{KafkaPartition, KafkaSource, Reads};
pub use table::{Kafka, UpsertKafka, register};
pub use topics::Topics;
