//! Where records come from: the first of the five files of the data path.
//!
//! A [`Source`] is a list of [`Partition`]s; each is read by one task, in order. Next:
//! [`crate::container`], where their bundles go.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::bundle::{Bundle, Record};

/// An error of a source or a sink that ends the job. Its text names the file (or address), the
/// line or field, and the remedy.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Where records come from.
///
/// How many partitions there are must depend on the source's own settings alone, never on the
/// machine: which records are late is decided within a partition, and must not change with the number
/// of kernels.
pub trait Source: Send + 'static {
    /// What the source yields.
    type Item: Record;
    /// One independent, ordered part of it.
    type Partition: Partition<Item = Self::Item>;

    /// Opens the source. At least one partition.
    fn open(self) -> Result<Vec<Self::Partition>, Error>;
}

/// One ordered part of a source, read by one task on one kernel.
pub trait Partition: Send + 'static {
    /// What the partition yields.
    type Item: Record;

    /// The next records, at least one and about `limit` at most, or `None` at the end. Waits where
    /// nothing is there yet. An implementation that has something at hand returns it rather
    /// than wait for `limit` of them. The future is never dropped before it is done, unless
    /// the job ends.
    ///
    /// Reading must not block the kernel's thread for long: await, or do at most about a bundle's work.
    fn next(&mut self, limit: usize) -> impl Future<Output = Result<Option<Batch<Self::Item>>, Error>>;

    /// Where the next record stands, in the partition's own words (`access.log:1042`): for error messages.
    fn position(&self) -> String;
}

/// What a partition yields at a time.
#[derive(Debug)]
pub struct Batch<T> {
    /// Records, in order.
    pub records: Bundle<T>,
    /// What could not be decoded, and why.
    pub rejected: Vec<DeadLetter>,
}

impl<T> From<Bundle<T>> for Batch<T> {
    fn from(records: Bundle<T>) -> Self {
        Self { records, rejected: Vec::new() }
    }
}

impl<T> From<Vec<T>> for Batch<T> {
    fn from(records: Vec<T>) -> Self {
        Bundle::from(records).into()
    }
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeadLetter {
    /// The file or address that it came from.
    pub origin: Arc<str>,
    /// Its line there, from 1 (or its ordinal, where there are no lines).
    pub line: u64,
    /// The record as it was received.
    pub bytes: Vec<u8>,
    /// Why it was rejected, naming the field and what was expected.
    pub reason: String,
}

/// `origin:line: reason`
impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.origin, self.line, self.reason)
    }
}
