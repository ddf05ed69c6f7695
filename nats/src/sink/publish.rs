//! Publishing as messages come: many at a time, a bounded number of them without an acknowledgement.

use std::collections::VecDeque;

use async_nats::header::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use updraft_dataflow::Error;

use super::run_name;
use super::target::Target;
use crate::connection::Patience;
use crate::fault::Fault;
use crate::message::Outgoing;

/// Sends a message, to be acknowledged. `after` is the sequence that it comes right after.
pub(super) async fn send(
    js: &Context,
    stream: &str,
    message: &Outgoing,
    id: &str,
    after: Option<u64>,
) -> Result<PublishAckFuture, Fault> {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        headers.append(name.as_str(), value.as_str());
    }
    let publish = PublishMessage::build().payload(message.payload.clone()).headers(headers);
    let mut publish = publish.message_id(id).expected_stream(stream);
    if let Some(after) = after {
        publish = publish.expected_last_sequence(after);
    }
    Ok(js.send_publish(message.subject.clone(), publish).await?)
}

/// Publishes what it is given, at least once each.
pub(super) struct Publisher {
    target: Target,
    run: String,
    next: u64,
    in_flight: VecDeque<Sent>,
}

/// A message that is on its way.
struct Sent {
    message: Outgoing,
    id: String,
    ack: PublishAckFuture,
}

impl Publisher {
    pub(super) fn new(target: Target) -> Self {
        Self { target, run: run_name(), next: 0, in_flight: VecDeque::new() }
    }

    pub(super) async fn publish(&mut self, messages: Vec<Outgoing>) -> Result<(), Error> {
        for message in messages {
            self.target.check(&message)?;
            while self.in_flight.len() >= self.target.settings.in_flight {
                self.acknowledged().await?;
            }
            let id = format!("{}-{}", self.run, self.next);
            self.next += 1;
            let ack = self.send(&message, &id).await?;
            self.in_flight.push_back(Sent { message, id, ack });
        }
        Ok(())
    }

    /// Waits until all that was published is in the stream.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        while !self.in_flight.is_empty() {
            self.acknowledged().await?;
        }
        Ok(())
    }

    /// Waits for the acknowledgement of the oldest message, and sends it again where there is none.
    async fn acknowledged(&mut self) -> Result<(), Error> {
        let Some(Sent { message, id, mut ack }) = self.in_flight.pop_front() else { return Ok(()) };
        let mut patience = Patience::new(&self.target.connection);
        loop {
            match ack.await {
                Ok(_) => return Ok(()),
                Err(error) => patience.wait(self.target.stream(), error.into()).await?,
            }
            ack = self.send(&message, &id).await?;
        }
    }

    async fn send(&self, message: &Outgoing, id: &str) -> Result<PublishAckFuture, Error> {
        let Target { connection, .. } = &self.target;
        let stream = self.target.stream();
        connection.patiently(stream, || send(&connection.js, stream, message, id, None)).await
    }
}
