//! [`Delivered`]: what has become of the messages that were sent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use serde::{Deserialize, Serialize};

use crate::client::Context;
use crate::message::{Header, headers};

/// Offsets from the first to the last one, by partition, in order.
pub(crate) type Ranges = BTreeMap<i32, Vec<(i64, i64)>>;

/// A message of which the broker did not say where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copy {
    pub(crate) partition: i32,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

/// What was written since somebody asked last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) ranges: Ranges,
    pub(crate) copies: Vec<Copy>,
    /// The first failure.
    pub(crate) failed: Option<RDKafkaErrorCode>,
}

impl Written {
    fn add(&mut self, partition: i32, offset: i64) {
        let ranges = self.ranges.entry(partition).or_default();
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == offset => *last = offset,
            _ => ranges.push((offset, offset)),
        }
    }
}

/// Hears of each message what has become of it.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    client: Context,
    written: Mutex<Written>,
}

impl Delivered {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was written since the last time.
    pub(crate) fn take(&self) -> Written {
        std::mem::take(&mut *self.written())
    }

    /// The first failure that nobody has asked for.
    pub(crate) fn failure(&self) -> Option<RDKafkaErrorCode> {
        self.written().failed.take()
    }

    pub(crate) fn heard(&self) -> String {
        self.client.heard()
    }
}

impl ClientContext for Delivered {
    fn error(&self, error: KafkaError, reason: &str) {
        self.client.note(&error, reason);
    }
}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut written = self.written();
        match result {
            Ok(message) if message.offset() >= 0 => written.add(message.partition(), message.offset()),
            Ok(message) => written.copies.push(Copy {
                partition: message.partition(),
                timestamp: message.timestamp().to_millis(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: headers(message),
            }),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                written.failed.get_or_insert(code);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_that_follow_each_other_are_one_range() {
        let mut written = Written::default();
        for (partition, offset) in [(0, 5), (1, 0), (0, 6), (0, 7), (0, 9), (1, 1), (0, 10)] {
            written.add(partition, offset);
        }
        assert_eq!(written.ranges, Ranges::from([(0, vec![(5, 7), (9, 10)]), (1, vec![(0, 1)])]));
    }
}
