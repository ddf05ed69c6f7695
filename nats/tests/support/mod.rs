//! A server of NATS for tests, and what is in its streams, as the client alone tells it.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

#[path = "../../../connectors/tests/support/kernel.rs"]
mod kernel;

use std::future::Future;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use tempfile::TempDir;
use updraft_nats::Nats;

pub(crate) use self::kernel::run;

/// A server with JetStream, in a folder of its own, that goes when this does.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    pub(crate) port: u16,
    more: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With more in its configuration.
    pub(crate) fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = launch(folder.path(), -1, more);
        let file = folder.path().join(format!("nats-server_{}.ports", child.id()));
        // It is written when the server is ready.
        let text = wait(|| std::fs::read_to_string(&file).ok().filter(|text| text.trim_end().ends_with('}')));
        let ports: serde_json::Value = serde_json::from_str(&text).unwrap();
        let port = ports["nats"][0].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        Self { child, folder, port, more: more.to_owned() }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn nats(&self) -> Nats {
        Nats::at(self.url()).retry(Duration::from_secs(30))
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After [`kill`](Self::kill), where it was.
    pub(crate) fn restart(&mut self) {
        self.child = launch(self.folder.path(), self.port.into(), &self.more);
    }

    pub(crate) async fn js(&self) -> Context {
        loop {
            // It may be about to be there.
            if let Ok(client) = async_nats::connect(self.url()).await {
                return jetstream::new(client);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(folder: &Path, port: i32, more: &str) -> Child {
    let config = folder.join("server.conf");
    let (store, ports) = (folder.join("store"), folder.display());
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nports_file_dir: \"{ports}\"\njetstream {{ store_dir: \"{}\" }}\n{more}\n",
        store.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("nats-server has to be there: scripts/setup installs it")
}

/// Waits for something that will be there.
pub(crate) fn wait<T>(mut find: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = find() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same for what only the client does.
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
