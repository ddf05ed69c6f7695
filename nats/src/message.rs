//! Messages, as they are read and as they are to be written.

use async_nats::header::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_dataflow::Time;

/// Names and values, in order of names; a name may have several values.
pub type Headers = Vec<(String, String)>;

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it was published to.
    pub subject: String,
    /// Its number in the stream.
    pub sequence: u64,
    /// When the server stored it.
    pub time: Time,
    /// Its headers.
    pub headers: Headers,
    /// What it says.
    pub payload: Bytes,
}

impl Message {
    /// Its bytes in memory, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.payload.len() + bytes_of(&self.headers)
    }
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// What it is published to: a subject of the stream, without wildcards.
    pub subject: String,
    /// Its headers. Those of JetStream (`Nats-…`) are the sink's.
    pub headers: Headers,
    /// What it says.
    pub payload: Bytes,
}

impl Outgoing {
    /// Without headers.
    pub fn new(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), headers: Vec::new(), payload: payload.into() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

fn bytes_of(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + size_of::<(String, String)>()).sum()
}

/// In order, whatever order the client keeps them in.
pub(crate) fn headers_of(map: Option<&HeaderMap>) -> Headers {
    let pairs = map.into_iter().flat_map(|map| map.iter());
    let mut headers: Headers = pairs
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())))
        .collect();
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    headers
}
