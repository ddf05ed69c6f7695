//! Logical replication: what a server tells of the changes of its tables.
//!
//! [`wire`] is the connection (the one thing that `tokio-postgres` lacks), on the messages of `postgres-protocol`; [`pgoutput`] reads what
//! comes through it; [`stream`] keeps it alive.

pub mod pgoutput;
pub(crate) mod stream;
pub(crate) mod wire;

use std::fmt;

/// A place in the server's log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let part = |text: &str| u32::from_str_radix(text, 16).ok().map(u64::from);
        Some(Self(part(high)? << 32 | part(low)?))
    }
}

/// As the server writes it: `16/B374D848`.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
