//! Who publishes, and what has been published: one record in the staging stream.
//!
//! It is only ever replaced by who knows the last one (expected last sequence of its subject). So a process that was replaced begins nothing
//! any more: its successor has put a record of its own before it looks at anything.

use async_nats::header::{HeaderMap, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_ROLLUP};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use serde::{Deserialize, Serialize};
use updraft_dataflow::Error;

use crate::connection::{Connection, Patience};
use crate::fault::Fault;

/// Which transaction: the attempt that has written it, and the number of its first message there. Later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Which {
    pub(super) attempt: u64,
    pub(super) first: u64,
}

/// How far publishing has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Who publishes.
    pub(super) attempt: u64,
    /// The last transaction that was begun to be published.
    pub(super) last: Option<Which>,
    /// The end of the stream when it was.
    pub(super) after: u64,
    /// Whether all of it is there.
    pub(super) is_done: bool,
}

/// The record of a run.
pub(super) struct Control {
    connection: Connection,
    stream: String,
    subject: String,
    /// What was put last, by us, and its sequence.
    pub(super) record: Record,
    sequence: u64,
}

impl Control {
    /// Takes over as `attempt`. `is_new`: the run has no record.
    pub(super) async fn take_over(
        connection: Connection,
        stream: String,
        subject: String,
        attempt: u64,
        is_new: bool,
    ) -> Result<Self, Error> {
        let nobody = Record { attempt, last: None, after: 0, is_done: true };
        let mut control = Self { connection, stream, subject, record: nobody, sequence: 0 };
        loop {
            let found = control.find().await?;
            if found.is_none() && !is_new {
                return Err(format!(
                    "{}, stream '{}': what was prepared is gone ({}): put that stream back, or start the job anew",
                    control.connection.url(),
                    control.stream,
                    control.subject
                )
                .into());
            }
            let (record, sequence) = found.unwrap_or((nobody, 0));
            if record.attempt > attempt {
                return Err(fenced());
            }
            (control.record, control.sequence) = (record, sequence);
            if control.put(Record { attempt, ..record }).await? {
                return Ok(control);
            }
        }
    }

    /// The sequence of the record: whatever later attempts write comes after it.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Replaces the record, unless somebody else has.
    pub(super) async fn replace(&mut self, record: Record) -> Result<(), Error> {
        if self.put(record).await? { Ok(()) } else { Err(fenced()) }
    }

    /// Finds out whether the record is still ours.
    pub(super) async fn verify(&self) -> Result<(), Error> {
        match self.find().await? {
            Some((_, sequence)) if sequence == self.sequence => Ok(()),
            _ => Err(fenced()),
        }
    }

    async fn put(&mut self, record: Record) -> Result<bool, Error> {
        let bytes = serde_json::to_vec(&record)?;
        let mut patience = Patience::new(&self.connection);
        let mut again = false;
        loop {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, self.sequence.to_string().as_str());
            headers.insert(NATS_ROLLUP, "sub");
            match self.attempt(headers, &bytes).await {
                Ok(ack) => {
                    (self.record, self.sequence) = (record, ack.sequence);
                    return Ok(true);
                }
                // It may have been put though no answer has come.
                Err(Fault::Overtaken(_)) => {
                    return match self.find().await? {
                        Some((found, sequence)) if again && found == record => {
                            (self.record, self.sequence) = (record, sequence);
                            Ok(true)
                        }
                        _ => Ok(false),
                    };
                }
                Err(fault) => patience.wait(&self.stream, fault).await?,
            }
            again = true;
        }
    }

    async fn attempt(&self, headers: HeaderMap, bytes: &[u8]) -> Result<PublishAck, Fault> {
        let publish = self.connection.js.publish_with_headers(self.subject.clone(), headers, bytes.to_vec().into());
        Ok(publish.await?.await?)
    }

    async fn find(&self) -> Result<Option<(Record, u64)>, Error> {
        let found = self.connection.patiently(&self.stream, || async {
            let stream = self.connection.stream(&self.stream).await?;
            match stream.get_last_raw_message_by_subject(&self.subject).await {
                Ok(message) => Ok(Some((message.payload, message.sequence))),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        });
        let read = |(payload, sequence): (bytes::Bytes, u64)| Ok((serde_json::from_slice(&payload)?, sequence));
        found.await?.map(read).transpose()
    }
}

fn fenced() -> Error {
    "another process has taken over the job, and publishes what this one has prepared".into()
}
