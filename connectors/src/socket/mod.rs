//! TCP and UNIX sockets: [`Socket`] reads records from them, [`SocketSink`] writes records to them.
//!
//! Both can call ([`connect`](Socket::connect)) or be called ([`listen`](Socket::listen)). A job that doubles the numbers
//! that come at one port, for whoever connects to another:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use updraft_connectors::{Socket, SocketSink};
//! use updraft_dataflow::Job;
//! use updraft_kernel::Runtime;
//!
//! // Port 0: one that is free.
//! let numbers = Socket::listen("127.0.0.1:0")?.connections(1);
//! let doubles = SocketSink::listen("127.0.0.1:0")?;
//! let mut from = TcpStream::connect(doubles.local_addr().expect("it is TCP"))?;
//! let mut to = TcpStream::connect(numbers.local_addr().expect("it is TCP"))?;
//! to.write_all(b"1\n20\n300\n")?;
//! drop(to);
//!
//! let job = Job::new("doubles");
//! job.source("numbers", numbers.json::<u64>()).stream().map(|n| n * 2).sink("doubles", doubles);
//! let runtime = Runtime::builder().kernels(1).build()?;
//! runtime.block_on(job.start(runtime.handle())?.join())?;
//!
//! let mut rows = String::new();
//! from.read_to_string(&mut rows)?;
//! assert_eq!(rows, "2\n40\n600\n");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! Next: [`source`](mod@source), [`sink`](mod@sink), and `rows.rs` for tables. What they share: an address that can be called (`address.rs`), one
//! that is listened at (`listener.rs`), and a connection of either kind (`stream.rs`).

mod address;
mod clients;
mod listener;
pub(crate) mod rows;
pub mod sink;
pub mod source;
mod stream;

pub use sink::SocketSink;
pub use source::Socket;
