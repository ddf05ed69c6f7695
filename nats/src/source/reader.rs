//! Reads ahead of a partition, on the thread of NATS.

use tokio::sync::mpsc::{Receiver, Sender, channel};
use updraft_dataflow::Error;

use super::{End, NatsSource, Standing, Start, nanos};
use crate::connection::Connection;
use crate::message::Message;
use crate::pull::{Begin, Pull, Pulled, What};
use crate::runtime::{Awaited, spawn};

/// What a partition is told.
#[derive(Debug)]
pub(super) enum Read {
    /// Where it begins and ends.
    Begun {
        created: i64,
        next: u64,
        end: Option<u64>,
    },
    Messages(Vec<Message>),
    /// There was nothing for it before this one.
    Passed(u64),
}

/// A task that reads, as long as somebody has this.
pub(super) struct Reading {
    read: Receiver<Result<Read, Error>>,
    _task: Awaited<()>,
}

impl Reading {
    /// Goes on where a partition stands, if it does.
    pub(super) fn start(source: &NatsSource, filter: &str, standing: Option<&Standing>) -> Result<Self, Error> {
        // What it has in hand, what waits here, and what the server was asked for: that is all.
        let (tell, read) = channel(2);
        let (source, filter, standing) = (source.clone(), filter.to_owned(), standing.cloned());
        let task = spawn(async move {
            if let Err(error) = follow(&source, filter, standing, &tell).await {
                let _ = tell.send(Err(error)).await;
            }
        })?;
        Ok(Self { read, _task: task })
    }

    pub(super) async fn next(&mut self) -> Result<Read, Error> {
        self.read.recv().await.unwrap_or_else(|| Err("the task that reads the stream is gone".into()))
    }
}

/// Tells all that is read, until nobody listens or the end has come.
async fn follow(
    source: &NatsSource,
    filter: String,
    standing: Option<Standing>,
    tell: &Sender<Result<Read, Error>>,
) -> Result<(), Error> {
    let connection = source.nats.connect().await?;
    let what = What {
        stream: source.stream.clone(),
        filter,
        at_server: source.filter_at_server,
        headers_only: false,
        messages: source.messages,
        bytes: source.bytes,
        all: source.all,
        created: standing.as_ref().map(|standing| standing.created),
    };
    let (mut pull, end) = match standing {
        Some(Standing { next, end, .. }) => (Pull::new(connection, what, Begin::At(next)), end),
        None => {
            let (pull, created, end) = begin(source, connection, what).await?;
            let begun = Read::Begun { created, next: pull.next(), end };
            if tell.send(Ok(begun)).await.is_err() {
                return Ok(());
            }
            (pull, end)
        }
    };
    while end.is_none_or(|end| pull.next() <= end) {
        let read = match pull.pull(source.messages).await? {
            Pulled::Messages(mut messages) => {
                messages.retain(|message| end.is_none_or(|end| message.sequence <= end));
                if messages.is_empty() { Read::Passed(pull.next()) } else { Read::Messages(messages) }
            }
            Pulled::Nothing => Read::Passed(pull.next()),
        };
        if tell.send(Ok(read)).await.is_err() {
            return Ok(());
        }
        done(&mut pull, end).await?;
    }
    // The last message for it need not be the last one that was to be read.
    let _ = tell.send(Ok(Read::Passed(pull.next()))).await;
    Ok(())
}

/// Where there is nothing more now, nobody has to wait to see that nothing comes any more.
async fn done(pull: &mut Pull, end: Option<u64>) -> Result<(), Error> {
    match end {
        Some(end) if pull.next() <= end && pull.seems_done() => pull.verify().await,
        _ => Ok(()),
    }
}

/// Finds out where to begin, and where to end.
async fn begin(source: &NatsSource, connection: Connection, what: What) -> Result<(Pull, i64, Option<u64>), Error> {
    let stream = what.stream.clone();
    let info = connection.patiently(&stream, || connection.stream_info(&stream)).await?;
    let (first, last) = (info.state.first_sequence.max(1), info.state.last_sequence);
    let created = info.created.unix_timestamp_nanos() as i64;
    let end = match source.end {
        End::Never => None,
        End::Sequence(end) => Some(end),
        End::Latest => Some(last),
        End::Time(time) => {
            let all = What { filter: String::new(), ..what.clone() };
            let mut after = Pull::new(connection.clone(), all, Begin::Time(nanos(time)));
            Some((after.begin().await? - 1).min(last))
        }
    };
    let begin = match source.start {
        Start::Earliest => Begin::At(first),
        Start::Latest => Begin::At(last + 1),
        Start::Sequence(sequence) => Begin::At(sequence.max(1)),
        Start::Time(time) => Begin::Time(nanos(time)),
    };
    let what = What { created: Some(created), ..what };
    let mut pull = Pull::new(connection, what, begin);
    if end.is_none_or(|end| matches!(begin, Begin::Time(_)) || pull.next() <= end) {
        pull.begin().await?;
        done(&mut pull, end).await?;
    }
    Ok((pull, created, end))
}
