//! Triggers: when a window tells what it has come to, before its end, at its end, and after it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Windowed;
use crate::keyed::Clock;

/// When a window fires. At its end it always does, when the watermark has passed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trigger {
    pub(super) early_records: Option<u64>,
    pub(super) early_span: Option<(Duration, Clock)>,
    pub(super) late_records: u64,
    pub(super) accumulates: bool,
}

impl Default for Trigger {
    fn default() -> Self {
        Self::at_watermark()
    }
}

impl Trigger {
    /// At the window's end, and again for each late record that is [allowed](crate::operator::WindowedStream::allowed_lateness).
    pub const fn at_watermark() -> Self {
        Self { early_records: None, early_span: None, late_records: 1, accumulates: true }
    }

    /// Before that also whenever so many records have come since it fired last.
    #[must_use]
    pub const fn early_each(mut self, records: u64) -> Self {
        self.early_records = Some(records);
        self
    }

    /// Before that also `span` after the first record that came since it fired last: by the clock that is named.
    #[must_use]
    pub const fn early_every(mut self, span: Duration, clock: Clock) -> Self {
        self.early_span = Some((span, clock));
        self
    }

    /// After that whenever so many late records have come, and with those that are left when no more are allowed.
    #[must_use]
    pub const fn late_each(mut self, records: u64) -> Self {
        self.late_records = records;
        self
    }

    /// Each firing tells of the records since the one before, not of all of the window.
    #[must_use]
    pub const fn discarding(mut self) -> Self {
        self.accumulates = false;
        self
    }
}

/// Where in the life of a window it fired.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Timing {
    /// Before its end: more is to come.
    Early,
    /// At its end: all records that are not late.
    OnTime,
    /// After it: late records are among them.
    Late,
}

/// What a window with a [`Trigger`] tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Fired<K, V> {
    /// What it has come to: it takes the place of what the same window told before (unless the trigger is
    /// [discarding](Trigger::discarding)).
    pub row: Windowed<K, V>,
    /// When it did.
    pub timing: Timing,
    /// How often it had fired before.
    pub index: u32,
}
