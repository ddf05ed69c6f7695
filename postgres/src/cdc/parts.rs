//! [`Parts`]: which part of a table was read as of which place in the log.

use serde::{Deserialize, Serialize};

use crate::key::{Key, KeyValue};
use crate::replication::Lsn;

/// Parts of a table, in the order of its key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Parts(Vec<Part>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    /// Its last key; there is none in the last one of a table that has been read whole.
    upto: Option<KeyValue>,
    /// What was committed before this is in it.
    lsn: u64,
}

impl Parts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All rows up to one have been read as of `at`, from where those before ended.
    pub(crate) fn read_up_to(&mut self, last: KeyValue, at: Lsn) {
        self.read(Some(last), at);
    }

    /// And now all that are left.
    pub(crate) fn read_all(&mut self, at: Lsn) {
        self.read(None, at);
    }

    fn read(&mut self, upto: Option<KeyValue>, at: Lsn) {
        match self.0.last_mut() {
            Some(part) if part.lsn == at.0 => part.upto = upto,
            _ => self.0.push(Part { upto, lsn: at.0 }),
        }
    }

    /// Where reading goes on.
    pub(crate) fn last(&self) -> Option<&KeyValue> {
        self.0.last()?.upto.as_ref()
    }

    /// Whether what a transaction did to a row that was committed at `commit` has been read with the table.
    pub(crate) fn has(&self, key: &Key, row: impl FnOnce() -> KeyValue, commit: Lsn) -> bool {
        if self.0.iter().all(|part| commit.0 >= part.lsn) {
            return false;
        }
        let row = row();
        let is_in = |part: &&Part| part.upto.as_ref().is_none_or(|upto| key.compare(&row, upto).is_le());
        self.0.iter().find(is_in).is_some_and(|part| commit.0 < part.lsn)
    }

    /// Whether all of the table was read after what was committed at `commit`.
    pub(crate) fn are_later_than(&self, commit: Lsn) -> bool {
        !self.is_empty() && self.0.iter().all(|part| commit.0 < part.lsn)
    }

    /// All that was committed before `lsn` has been given.
    pub(crate) fn passed(&mut self, lsn: Lsn) {
        if self.0.iter().all(|part| lsn.0 >= part.lsn) {
            self.0.clear();
        }
    }
}
