//! [`Server`]: a server of one's own, for tests of this crate and of others.
//!
//! The program is that of Debian's package `nats-server`, which `scripts/setup` installs, or the one on the path.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::Nats;

/// A server with JetStream, in a folder of its own, that goes when this does.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
    more: String,
}

impl Server {
    /// One that is ready, at a port that was free.
    ///
    /// # Panics
    /// When there is no such program, or it does not start.
    pub fn start() -> Self {
        Self::with("")
    }

    /// With more in its configuration.
    ///
    /// # Panics
    /// When there is no such program, or it does not start.
    pub fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = launch(folder.path(), -1, more);
        let file = folder.path().join(format!("nats-server_{}.ports", child.id()));
        // It is written when the server is ready.
        let text = loop {
            if let Some(text) = std::fs::read_to_string(&file).ok().filter(|text| text.trim_end().ends_with('}')) {
                break text;
            }
            assert!(child.try_wait().unwrap().is_none(), "the server has ended");
            std::thread::sleep(Duration::from_millis(5));
        };
        let ports: serde_json::Value = serde_json::from_str(&text).unwrap();
        let port = ports["nats"][0].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        Self { child, folder, port, more: more.to_owned() }
    }

    /// Where it listens, on this machine alone.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What connects to it.
    pub fn nats(&self) -> Nats {
        Nats::at(self.url()).retry(Duration::from_secs(30))
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After [`kill`](Self::kill), where it was. Whoever connects may have to wait until it is ready.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.child = launch(self.folder.path(), self.port.into(), &self.more);
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
    command.spawn().expect("nats-server is missing: run scripts/setup")
}
