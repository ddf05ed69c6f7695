//! What is in the streams of a server, as the client alone tells it.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

#[path = "../../../connectors/tests/support/kernel.rs"]
mod kernel;

use std::future::Future;

use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
pub(crate) use updraft_nats::testing::Server;

pub(crate) use self::kernel::run;

/// A client of the server's.
pub(crate) async fn client(server: &Server) -> Context {
    loop {
        // It may be about to be there.
        if let Ok(client) = async_nats::connect(server.url()).await {
            return jetstream::new(client);
        }
    }
}

/// Does what only the client does.
pub(crate) fn ask<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What a message is, in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) payload: Vec<u8>,
}

/// All that a stream holds, asked for one by one.
pub(crate) async fn all(js: &Context, stream: &str) -> Vec<Told> {
    let mut stream = js.get_stream(stream).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let mut all = Vec::new();
    for sequence in state.first_sequence.max(1)..=state.last_sequence {
        if let Ok(message) = stream.get_raw_message(sequence).await {
            all.push(Told { sequence, subject: message.subject.to_string(), payload: message.payload.to_vec() });
        }
    }
    assert_eq!(all.len() as u64, state.messages);
    all
}

pub(crate) async fn make(js: &Context, config: Config) {
    js.create_stream(config).await.unwrap();
}

pub(crate) fn stream(name: &str, subjects: &[&str]) -> Config {
    let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    Config { name: name.into(), subjects, ..Config::default() }
}

/// A generator that gives the same for the same seed (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
