//! The clients of a sink that listens: who is there, and who is too slow.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::Serialize;
use updraft_dataflow::Error;
use updraft_kernel::clock;

use super::listener::Listener;
use super::stream::Stream;
use crate::rows::{Layout, Rows};

/// All who are connected.
pub(super) struct Clients {
    listener: Listener,
    clients: Vec<Client>,
    /// How long a client may take for a bundle.
    patience: Option<Duration>,
    /// What encodes for those who have their header.
    rows: Rows,
    bundle: Encoded,
}

/// One of them.
struct Client {
    name: String,
    stream: Stream,
    /// It has been given nothing yet.
    is_new: bool,
    /// How much of the bundle it has taken, in bytes.
    sent: usize,
}

/// The bundle that is being sent.
#[derive(Default)]
struct Encoded {
    /// For those who are new: with a header, where there is one.
    first: Vec<u8>,
    /// For the others.
    more: Vec<u8>,
}

impl Clients {
    pub(super) fn new(listener: Listener) -> Self {
        let (rows, bundle) = (Rows::new(Layout::Json), Encoded::default());
        Self { listener, clients: Vec::new(), patience: None, rows, bundle }
    }

    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }

    pub(super) fn drop_slow(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Gives `records` to all who have connected by now.
    pub(super) async fn write<T: Serialize>(&mut self, layout: Layout, records: &[T]) -> Result<(), Error> {
        self.let_in()?;
        self.encode(layout, records)?;
        match self.patience {
            None => self.send().await,
            Some(patience) => {
                if clock::timeout(patience, self.send()).await.is_none() {
                    self.drop_who_is_behind();
                }
            }
        }
        for client in &mut self.clients {
            client.is_new &= client.sent == 0;
            client.sent = 0;
        }
        Ok(())
    }

    pub(super) async fn close(&mut self) -> Result<(), Error> {
        self.let_in()?;
        for Client { name, stream, .. } in self.clients.drain(..) {
            if let Err(error) = stream.hang_up().await {
                gone(&name, &error);
            }
        }
        Ok(())
    }

    pub(super) fn abort(&mut self) {
        self.clients.drain(..).for_each(|client| client.stream.break_off());
    }

    /// Those who have called since the last look.
    fn let_in(&mut self) -> Result<(), Error> {
        while let Some((stream, name)) = self.listener.accept()? {
            self.clients.push(Client { name, stream, is_new: true, sent: 0 });
        }
        Ok(())
    }

    /// Encodes `records`, once for those who have their header and once for the others, however many they are.
    fn encode<T: Serialize>(&mut self, layout: Layout, records: &[T]) -> Result<(), Error> {
        let Encoded { first, more } = &mut self.bundle;
        first.clear();
        more.clear();
        if self.clients.iter().any(|client| !client.is_new) {
            self.rows.encode(records, more)?;
        }
        if self.clients.iter().any(|client| client.is_new) {
            let mut rows = Rows::new(layout);
            rows.encode(records, first)?;
            self.rows = rows;
        }
        Ok(())
    }

    async fn send(&mut self) {
        poll_fn(|cx| self.poll_send(cx)).await;
    }

    /// Sends on, to all; ready when none has anything left to take. Who has gone is forgotten.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut all = Poll::Ready(());
        self.clients.retain_mut(|client| match client.poll_send(&self.bundle, cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => {
                gone(&client.name, &error);
                false
            }
            Poll::Pending => {
                all = Poll::Pending;
                true
            }
        });
        all
    }

    fn drop_who_is_behind(&mut self) {
        for client in self.clients.extract_if(.., |client| client.sent < self.bundle.of(client).len()) {
            tracing::warn!(client = client.name, "a client is dropped: it reads too slowly (see `drop_slow`)");
            client.stream.break_off();
        }
    }
}

impl Encoded {
    fn of(&self, client: &Client) -> &[u8] {
        if client.is_new { &self.first } else { &self.more }
    }
}

impl Client {
    fn poll_send(&mut self, bundle: &Encoded, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let bytes = bundle.of(self);
        while self.sent < bytes.len() {
            self.sent += ready!(self.stream.poll_write(cx, &bytes[self.sent..]))?;
        }
        Poll::Ready(Ok(()))
    }
}

fn gone(name: &str, error: &io::Error) {
    tracing::warn!(client = name, %error, "a client has gone");
}
