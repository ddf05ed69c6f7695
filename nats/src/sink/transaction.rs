//! What waits is published when its checkpoint is stored, once, whoever has prepared it and whoever has died in between.
//!
//! Before a transaction is published it is noted (`control.rs`) that it is, and where the stream ended then. Who finds that note, and not that it was
//! finished, looks which ids are in the stream since then, and publishes the others. Where nobody else publishes to the stream each message
//! is to come right after the one before it, so nobody who is late can put one in between.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::context::PublishAckFuture;
use futures_util::future::join_all;
use updraft_dataflow::{Error, Prepared};
use updraft_kernel::clock::{self, Nanos};

use super::control::{Control, Record, Which};
use super::publish::send;
use super::run_name;
use super::staging::{Staged, Staging, Waiting};
use super::target::Target;
use crate::connection::Patience;
use crate::fault::Fault;
use crate::message::Message;
use crate::pull::{Begin, Pull, Pulled, What};

/// How often we may find that the stream does not end where it should.
const STRAYS: u32 = 5;

/// The transactions of a sink.
pub(super) struct Transactions {
    target: Target,
    run: String,
    control: Control,
    staging: Staging,
}

impl Transactions {
    /// Takes over, publishes what was prepared, and forgets what else waits.
    pub(super) async fn begin(target: Target, attempt: u64, prepared: Vec<Prepared>) -> Result<Self, Error> {
        target.staging().await?;
        let prepared = prepared.into_iter().filter(|prepared| !prepared.is_null());
        let prepared = prepared.map(serde_json::from_value).collect::<Result<Vec<Staged>, _>>()?;
        let run = prepared.first().map_or_else(run_name, |staged| staged.run.clone());
        let (connection, stream) = (target.connection.clone(), target.settings.staging.clone());
        let subject = format!("{}.{run}.control", target.prefix());
        let control =
            Control::take_over(connection.clone(), stream.clone(), subject, attempt, prepared.is_empty()).await?;
        let subject = waiting(&target, &run, attempt);
        let staging = Staging::new(connection, stream, subject, run.clone(), attempt);
        // What is before it is of others, who were before us. What comes after it may be of our successor, who may be there before this is done.
        let since = control.sequence();
        let mut transactions = Self { target, run, control, staging };
        for staged in prepared {
            transactions.publish(&staged).await?;
        }
        let left = format!("{}.{}.waiting.>", transactions.target.prefix(), transactions.run);
        transactions.forget(left, Some(since)).await?;
        Ok(transactions)
    }

    pub(super) async fn write(&mut self, messages: Vec<crate::message::Outgoing>) -> Result<(), Error> {
        for message in messages {
            self.target.check(&message)?;
            self.staging.add(message).await?;
        }
        Ok(())
    }

    pub(super) async fn prepare(&mut self) -> Result<Prepared, Error> {
        Ok(serde_json::to_value(self.staging.end().await?)?)
    }

    pub(super) async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        let staged: Staged = serde_json::from_value(prepared)?;
        self.publish(&staged).await?;
        if staged.count == 0 {
            return Ok(());
        }
        let subject = waiting(&self.target, &staged.run, staged.which.attempt);
        self.forget(subject, Some(staged.to + 1)).await
    }

    /// All has been published.
    pub(super) async fn close(&mut self) -> Result<(), Error> {
        self.forget(waiting(&self.target, &self.run, self.control.record.attempt), None).await
    }

    /// Deletes what need not wait any more, up to before a sequence.
    async fn forget(&self, subject: String, before: Option<u64>) -> Result<(), Error> {
        let (connection, staging) = (&self.target.connection, &self.target.settings.staging);
        let purge = || async {
            let purge = connection.stream(staging).await?.purge().filter(subject.clone());
            match before {
                Some(before) => purge.sequence(before).await?,
                None => purge.await?,
            };
            Ok(())
        };
        connection.patiently(staging, purge).await
    }

    /// Publishes what is not in the stream.
    async fn publish(&mut self, staged: &Staged) -> Result<(), Error> {
        let which = staged.which;
        let Record { last, is_done, after, .. } = self.control.record;
        if staged.count == 0 || last.is_some_and(|last| last > which || last == which && is_done) {
            return Ok(());
        }
        let attempt = self.control.record.attempt;
        let was_begun = last == Some(which);
        let after = if was_begun {
            after
        } else {
            let (connection, stream) = (&self.target.connection, self.target.stream());
            let info = connection.patiently(stream, || connection.stream_info(stream)).await?;
            let after = info.state.last_sequence;
            self.control.replace(Record { attempt, last: Some(which), after, is_done: false }).await?;
            after
        };
        let mut present = if was_begun { self.present(staged, after).await? } else { Present::none(after) };
        let (mut patience, mut strays) = (Patience::new(&self.target.connection), 0);
        loop {
            let published = self.publish_missing(staged, &present).await;
            if published.is_err() {
                // What waits is deleted by whoever has published it.
                self.control.verify().await?;
            }
            match published? {
                Ok(()) => break,
                Err(Fault::Overtaken(why)) => {
                    // Somebody is late, or another process goes on with this, or somebody publishes who should not.
                    strays += 1;
                    if strays == STRAYS {
                        return Err(foreign(self.target.stream(), &why));
                    }
                }
                Err(fault) => patience.wait(self.target.stream(), fault).await?,
            }
            // Who was replaced meanwhile would find what others have published since.
            self.control.verify().await?;
            let before = present.count;
            present = self.present(staged, after).await?;
            if present.count > before {
                patience.reset();
            }
        }
        self.control.replace(Record { attempt, last: Some(which), after, is_done: true }).await
    }

    /// Publishes what is not in the stream yet. The error within is one to look again after.
    async fn publish_missing(&self, staged: &Staged, present: &Present) -> Result<Result<(), Fault>, Error> {
        let Target { connection, settings, .. } = &self.target;
        let subject = waiting(&self.target, &staged.run, staged.which.attempt);
        let mut waiting = Waiting::new(connection, &settings.staging, subject, staged);
        let mut flight = Flight { acks: VecDeque::new(), most: settings.in_flight };
        let (mut end, mut verified) = (present.end, clock::now());
        while let Some((first, messages)) = waiting.next().await? {
            for (message, number) in messages.iter().zip(first..) {
                if present.has(number - staged.which.first) {
                    continue;
                }
                self.still_ours(&mut verified).await?;
                let id = id(&staged.run, staged.which, number);
                let after = settings.exclusive.then_some(end);
                end += 1;
                let sent = match send(&connection.js, &settings.stream, message, &id, after).await {
                    Ok(ack) => flight.push(ack).await,
                    Err(fault) => Err(fault),
                };
                if let Err(fault) = sent {
                    flight.land().await;
                    return Ok(Err(fault));
                }
            }
        }
        while !flight.acks.is_empty() {
            if let Err(fault) = flight.acknowledged().await {
                flight.land().await;
                return Ok(Err(fault));
            }
        }
        Ok(Ok(()))
    }

    /// Who may have been stopped for long makes sure that nobody has taken over: the stream will forget ids.
    async fn still_ours(&self, verified: &mut Nanos) -> Result<(), Error> {
        let window = self.target.config.duplicate_window.min(Duration::from_secs(20)) / 4;
        let now = clock::now();
        if !self.target.settings.exclusive && now.since(*verified) > window {
            self.control.verify().await?;
            *verified = now;
        }
        Ok(())
    }

    /// Which messages are in the stream already, after `after`.
    async fn present(&self, staged: &Staged, after: u64) -> Result<Present, Error> {
        let Target { connection, settings, .. } = &self.target;
        let stream = &settings.stream;
        let info = connection.patiently(stream, || connection.stream_info(stream)).await?;
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let mut present = Present { numbers: Vec::new(), count: 0, end: last };
        let (start, mut lowest) = (staged.which.first, None);
        let what = What {
            stream: stream.clone(),
            filter: String::new(),
            at_server: None,
            headers_only: true,
            messages: 1_000,
            bytes: 4 << 20,
            all: false,
            created: None,
        };
        let mut pull = Pull::new(connection.clone(), what, Begin::At(first.max(after + 1)));
        while pull.next() <= last {
            let Pulled::Messages(messages) = pull.pull(1_000).await? else { continue };
            for message in messages.iter().take_while(|message| message.sequence <= last) {
                let number = number(message, &staged.run, staged.which);
                match number.and_then(|number| number.checked_sub(start)).filter(|number| *number < staged.count) {
                    Some(number) => {
                        lowest = Some(lowest.map_or(number, |lowest: u64| lowest.min(number)));
                        present.add(number);
                    }
                    None if settings.exclusive => {
                        let what = format!("message {} is none of ours", message.sequence);
                        return Err(foreign(stream, &what));
                    }
                    None => {}
                }
            }
        }
        // They are published in order: what is before the first that is left was there, too.
        if settings.exclusive {
            (0..(last - after).min(staged.count)).for_each(|number| present.add(number));
        } else if first > after + 1 {
            match lowest {
                Some(lowest) => (0..lowest).for_each(|number| present.add(number)),
                None => tracing::warn!(
                    stream,
                    "has deleted messages since the last checkpoint began to be published: it is published again"
                ),
            }
        }
        Ok(present)
    }
}

/// Where the messages of an attempt wait.
fn waiting(target: &Target, run: &str, attempt: u64) -> String {
    format!("{}.{run}.waiting.{attempt}", target.prefix())
}

/// What a message is known by: the same whoever publishes it.
fn id(run: &str, which: Which, number: u64) -> String {
    format!("{run}-{}-{number}", which.attempt)
}

/// The number of a message of ours.
fn number(message: &Message, run: &str, which: Which) -> Option<u64> {
    let (_, id) = message.headers.iter().find(|(name, _)| name == "Nats-Msg-Id")?;
    let (attempt, number) = id.strip_prefix(run)?.strip_prefix('-')?.split_once('-')?;
    (attempt.parse() == Ok(which.attempt)).then(|| number.parse().ok()).flatten()
}

fn foreign(stream: &str, why: &str) -> Error {
    format!("stream '{stream}': somebody else publishes to it, though 'sink.exclusive' says that nobody does ({why}): leave that out").into()
}

/// Which messages of a transaction are in the stream.
struct Present {
    numbers: Vec<bool>,
    count: u64,
    /// Where the stream ended.
    end: u64,
}

impl Present {
    fn none(end: u64) -> Self {
        Self { numbers: Vec::new(), count: 0, end }
    }

    fn add(&mut self, number: u64) {
        let at = number as usize;
        if self.numbers.len() <= at {
            self.numbers.resize(at + 1, false);
        }
        self.count += u64::from(!std::mem::replace(&mut self.numbers[at], true));
    }

    fn has(&self, number: u64) -> bool {
        self.numbers.get(number as usize).copied().unwrap_or_default()
    }
}

/// Messages that are on their way.
struct Flight {
    acks: VecDeque<PublishAckFuture>,
    most: usize,
}

impl Flight {
    async fn push(&mut self, ack: PublishAckFuture) -> Result<(), Fault> {
        self.acks.push_back(ack);
        while self.acks.len() > self.most {
            self.acknowledged().await?;
        }
        Ok(())
    }

    async fn acknowledged(&mut self) -> Result<(), Fault> {
        match self.acks.pop_front() {
            Some(ack) => Ok(ack.await.map(drop)?),
            None => Ok(()),
        }
    }

    /// Waits until none is on its way, whatever becomes of them.
    async fn land(&mut self) {
        join_all(self.acks.drain(..).map(IntoFuture::into_future)).await;
    }
}
