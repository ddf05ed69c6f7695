//! Connectors as tables of SQL, by the names and options that they have in Flink.
//!
//! Each is one file (or folder) that implements [`Connector`](updraft_dataflow::connector::Connector), and a line in
//! [`registry`]. Start from [`mod@blackhole`], the shortest one.

pub mod blackhole;
pub mod datagen;
mod held;
pub mod nexmark;
pub(crate) mod options;
pub mod print;
pub(crate) mod shape;
mod sniff;
pub mod socket;
pub mod stdin;

use updraft_dataflow::Error;
use updraft_dataflow::connector::{Registry, Table};

use crate::Filesystem;

pub use blackhole::Blackhole;
pub use datagen::Datagen;
pub use nexmark::Nexmark;
pub use print::Print;
pub use socket::Socket;
pub use stdin::Stdin;

/// All connectors that this crate has.
pub fn registry() -> Registry {
    Registry::default()
        .with(Blackhole)
        .with(Datagen)
        .with(Filesystem)
        .with(Nexmark)
        .with(Print)
        .with(Socket)
        .with(Stdin)
}

fn not_readable(table: &Table, name: &str) -> Error {
    format!("table `{}` cannot be read: '{name}' is for results alone", table.name).into()
}

fn not_writable(table: &Table, name: &str) -> Error {
    format!("table `{}` cannot be written to: '{name}' makes rows and takes none", table.name).into()
}
