//! [`Stream`]: the changes that come of a slot, while the server is told how far they are safe.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio::time::interval;
use updraft_dataflow::Error;
use updraft_kernel::clock;

use super::Lsn;
use super::wire::Wire;
use crate::name::{literal, quoted};
use crate::runtime::{self, Task};
use crate::server::Server;
use crate::types::EPOCH;

/// How often the server hears from us, whatever happens: it gives up who is silent for a minute, unless it is told otherwise.
const ALIVE: Duration = Duration::from_secs(5);
/// How many messages wait to be worked on.
const AHEAD: usize = 256;

/// What comes.
pub(crate) enum Event {
    /// A message of the plugin.
    Message(Bytes),
    /// There is nothing but what has come, up to here.
    Quiet(Lsn),
}

/// A stream that is read elsewhere. It ends when it is dropped.
pub(crate) struct Stream {
    pub(crate) events: mpsc::Receiver<Result<Event, Error>>,
    safe: watch::Sender<Lsn>,
    _pump: Task<()>,
}

impl Stream {
    /// Reads what a slot has, from `from` on.
    pub(crate) async fn open(
        server: &Server,
        slot: &str,
        publication: &str,
        from: Lsn,
        safe: Lsn,
    ) -> Result<Self, Error> {
        let (server, application) = (server.clone(), format!("updraft {slot}"));
        let options = format!("proto_version '1', publication_names {}", literal(&quoted(publication)));
        let start = format!("START_REPLICATION SLOT {} LOGICAL {from} ({options})", quoted(slot));
        let (safe, told) = watch::channel(safe);
        let (events, received) = mpsc::channel(AHEAD);
        let wire = runtime::run(async move {
            let mut wire = Wire::open(&server, &application).await?;
            wire.start(&start).await?;
            Ok::<_, Error>(wire)
        })
        .await??;
        let pump = runtime::spawn(async move {
            let pump = Pump { wire, safe: told, told: Lsn::default(), seen: from };
            if let Err(error) = pump.run(&events).await {
                let _ = events.send(Err(error)).await;
            }
        })?;
        Ok(Self { events: received, safe, _pump: pump })
    }

    /// What is before `safe` will not be asked for again.
    pub(crate) fn is_safe(&self, safe: Lsn) {
        self.safe.send_if_modified(|before| {
            let is_more = safe > *before;
            *before = safe.max(*before);
            is_more
        });
    }
}

/// Reads, and keeps the connection alive.
struct Pump {
    wire: Wire,
    safe: watch::Receiver<Lsn>,
    /// What the server has been told is safe.
    told: Lsn,
    seen: Lsn,
}

impl Pump {
    async fn run(mut self, events: &mpsc::Sender<Result<Event, Error>>) -> Result<(), Error> {
        let (mut alive, mut pending) = (interval(ALIVE), None);
        self.status().await?;
        loop {
            tokio::select! {
                biased;
                _ = alive.tick() => self.status().await?,
                changed = self.safe.changed() => match changed {
                    Ok(()) => self.status().await?,
                    // Nobody reads it any more.
                    Err(_) => return Ok(()),
                },
                room = events.reserve(), if pending.is_some() => match (room, pending.take()) {
                    (Ok(room), Some(event)) => room.send(Ok(event)),
                    _ => return Ok(()),
                },
                received = self.wire.receive(), if pending.is_none() => {
                    let (event, is_asked) = self.read(&received?)?;
                    pending = Some(event);
                    if is_asked {
                        self.status().await?;
                    }
                }
            }
        }
    }

    /// What has come, and whether an answer is wanted.
    fn read(&mut self, bytes: &Bytes) -> Result<(Event, bool), Error> {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_be_bytes).ok_or_else(|| Error::from("a message of replication is cut off"))
        };
        match bytes.first() {
            // Where it begins, the end of the log, and the time.
            Some(b'w') => {
                self.seen = self.seen.max(Lsn(number(1)?));
                number(17)?;
                Ok((Event::Message(bytes.slice(25..)), false))
            }
            Some(b'k') => {
                let end = Lsn(number(1)?);
                self.seen = self.seen.max(end);
                Ok((Event::Quiet(end), bytes.get(17) == Some(&1)))
            }
            other => Err(format!("replication has no message {other:?}").into()),
        }
    }

    /// Tells what has come, and what of it is safe: the latter only when it has moved on, and not again. A server that is shut down waits for
    /// all it has sent to be safe, unless the last thing that it has heard says nothing of that.
    async fn status(&mut self) -> Result<(), Error> {
        let safe = *self.safe.borrow_and_update();
        if safe > self.told {
            self.told = safe;
            self.say(safe).await?;
        }
        self.say(Lsn::default()).await
    }

    async fn say(&mut self, safe: Lsn) -> Result<(), Error> {
        let mut status = BytesMut::with_capacity(34);
        status.put_u8(b'r');
        for place in [self.seen.max(safe), safe, safe] {
            status.put_u64(place.0);
        }
        status.put_i64(clock::wall().as_micros() as i64 - EPOCH);
        status.put_u8(0);
        self.wire.say(&status).await
    }
}
