//! What the documents show in `console` blocks is what happens: each command is run, and its output compared.
//!
//! `$ ` begins a command and `> ` goes on with it; what follows is printed. The commands of a document are run one after the other, in
//! a folder of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;

use updraft::nats::testing::Server;
use updraft::postgres::testing::Cluster;

/// The commands of a document, and what they should print.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                found.push((command.into(), String::new()));
            } else if let Some(more) = line.strip_prefix("> ") {
                let command = &mut found.last_mut().unwrap().0;
                command.extend(["\n", more]);
            } else {
                let printed = &mut found.last_mut().unwrap().1;
                printed.extend([line, "\n"]);
            }
        }
    }
    found
}

fn check(document: &str) {
    check_with(document, |text| text);
}

/// The same, of a text in which something is as it is on this machine.
fn check_with(document: &str, here: impl FnOnce(String) -> String) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let folder = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_updraft")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let commands = commands(&here(std::fs::read_to_string(root.join(document)).unwrap()));
    assert!(!commands.is_empty(), "{document} shows no command");
    for (command, printed) in commands {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &command]).current_dir(folder.path()).env("PATH", &path);
        // Jobs of other tests are not to be seen.
        shell.env("UPDRAFT_CONTROL", folder.path().join(".control"));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{document}: {command}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{document}: {command}");
    }
}

#[test]
fn sql() {
    check("docs/sql.md");
}

#[test]
fn state() {
    check("docs/state.md");
}

#[test]
fn control() {
    check("docs/control.md");
}

#[test]
fn nats() {
    let server = Server::start();
    check_with("docs/nats.md", |text| text.replace("localhost:4222", &format!("127.0.0.1:{}", server.port())));
}

#[test]
fn postgres() {
    let cluster = Cluster::with("wal_level = logical\n", Some("host all all 127.0.0.1/32 trust"));
    let port = cluster.port().to_string();
    check_with("docs/postgres.md", |text| text.replace("localhost", "127.0.0.1").replace("5432", &port));
}
