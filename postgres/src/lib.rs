//! PostgreSQL as source and as sink.
//!
//! | | | |
//! |---|---|---|
//! | [`TableSink`] | `'connector' = 'jdbc'` | writes rows: by primary key, or exactly once with the checkpoints of the job |
//! | [`TableSource`] | `'connector' = 'jdbc'` | reads what a table has, and ends |
//! | [`ChangeSource`] | `'connector' = 'postgres-cdc'` | reads what a table has, then what becomes of it |
//!
//! The chapter `docs/postgres.md` says what each guarantees, [`mod@types`] what becomes of values. A [`Server`] says where the database is.
//!
//! ```no_run
//! use std::sync::Arc;
//! use arrow_schema::{DataType, Field, Schema};
//! use updraft_dataflow::Job;
//! use updraft_postgres::{Server, TableName, TableSink, TableSource};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let server = Server::new("localhost", 5432, "shop").user("ann").password("secret");
//! let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
//! let job = Job::new("copy");
//! job.source("orders", TableSource::new(server.clone(), TableName::parse("orders")?, schema.clone()))
//!     .stream()
//!     .sink("copies", TableSink::new(server, TableName::parse("copies")?, schema));
//! job.run()?;
//! # Ok(())
//! # }
//! ```

mod catalog;
mod cdc;
mod copy;
mod decode;
mod encode;
mod key;
mod name;
mod read;
mod replication;
mod runtime;
mod scan;
mod server;
mod session;
mod sink;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
mod tls;
pub mod types;

pub use cdc::{ChangePartition, ChangeSource, Startup};
pub use name::TableName;
pub use replication::pgoutput;
pub use scan::{TablePartition, TableSource};
pub use server::Server;
pub use sink::TableSink;
pub use table::register;
