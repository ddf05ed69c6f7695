//! [`Cluster`]: a server of one's own, for tests of this crate and of others; [`copied`]: what is made of what a server sends.
//!
//! The programs of Debian's package `postgresql` are used, which `scripts/setup` installs, or those on the path. What root starts runs as the
//! user `postgres`, for the server refuses to be root's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tempfile::TempDir;
use updraft_dataflow::Error;

use crate::copy::Lines;
use crate::decode::Columns;
use crate::server::Server;

/// The user that a server of root's runs as.
const USER: &str = "postgres";

/// A server with databases of its own, in a folder of its own. It is gone when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    port: u16,
}

impl Cluster {
    /// Starts a server that listens at a UNIX socket, and that logical replication is possible with.
    ///
    /// # Panics
    /// When that is not possible.
    #[must_use]
    pub fn start() -> Self {
        Self::with("wal_level = logical\n", None)
    }

    /// Starts a server with more settings: lines of `postgresql.conf`. With `access` (lines of `pg_hba.conf`) it listens at the port of
    /// `127.0.0.1`, too. `FOLDER` in the settings is where files of the server may be put.
    ///
    /// # Panics
    /// When that is not possible.
    #[must_use]
    pub fn with(settings: &str, access: Option<&str>) -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        // The socket's name is of this port whether somebody else uses the port or not.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { folder, port };
        fs::set_permissions(cluster.path(), fs::Permissions::from_mode(0o755)).unwrap();
        cluster.own(cluster.path());
        let data = cluster.data();
        cluster.tool("initdb", &["-D", &data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]);
        let address = if access.is_some() { "127.0.0.1" } else { "" };
        let mut text = fs::read_to_string(format!("{data}/postgresql.conf")).unwrap();
        writeln!(text, "listen_addresses = '{address}'\nport = {port}\nfsync = off\nshared_buffers = 16MB").unwrap();
        writeln!(text, "unix_socket_directories = '{}'", cluster.path().display()).unwrap();
        text.push_str(&settings.replace("FOLDER", &cluster.path().display().to_string()));
        fs::write(format!("{data}/postgresql.conf"), text).unwrap();
        if let Some(access) = access {
            fs::write(format!("{data}/pg_hba.conf"), format!("local all all trust\n{access}\n")).unwrap();
        }
        cluster.resume();
        cluster
    }

    /// Puts a file where the server's settings may name it.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.own(&path);
    }

    /// Where its socket is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its database `postgres`, at the socket.
    pub fn server(&self) -> Server {
        Server::new(&self.path().display().to_string(), self.port, USER).user(USER)
    }

    /// The same, for the option `url`.
    pub fn url(&self) -> String {
        format!("jdbc:postgresql:///{USER}?host={}&port={}&user={USER}", self.path().display(), self.port)
    }

    /// What statements give: a line for each row, with `|` between values.
    ///
    /// # Panics
    /// When one is refused.
    pub fn sql(&self, statements: &str) -> String {
        self.try_sql(statements).unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    /// The same, or what the server says.
    ///
    /// # Errors
    /// When a statement is refused.
    ///
    /// # Panics
    /// When there is no `psql`.
    pub fn try_sql(&self, statements: &str) -> Result<String, String> {
        let (host, port) = (self.path().display().to_string(), self.port.to_string());
        let mut psql = Command::new(program("psql"));
        psql.args([
            "-h",
            &host,
            "-p",
            &port,
            "-U",
            USER,
            "-d",
            USER,
            "-qAtX",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statements,
        ]);
        let output = psql.env("PGOPTIONS", "-c client_min_messages=error").stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Stops the server: in order, or at once, as in a crash.
    pub fn stop(&self, in_order: bool) {
        let mode = if in_order { "fast" } else { "immediate" };
        let stopped = self.try_tool("pg_ctl", &["-D", &self.data(), "-w", "-m", mode, "stop"]);
        stopped.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts it again.
    pub fn resume(&self) {
        let log = self.path().join("log").display().to_string();
        self.tool("pg_ctl", &["-D", &self.data(), "-w", "-t", "60", "-l", &log, "start"]);
    }

    fn data(&self) -> String {
        self.path().join("data").display().to_string()
    }

    fn own(&self, path: &Path) {
        if let Some(user) = other_user() {
            let ids = Command::new("id").args(["-u", user]).output().unwrap();
            let id = String::from_utf8_lossy(&ids.stdout).trim().parse().unwrap();
            chown(path, Some(id), None).unwrap();
        }
    }

    fn tool(&self, name: &str, args: &[&str]) {
        self.try_tool(name, args).unwrap_or_else(|error| panic!("{error}"));
    }

    fn try_tool(&self, name: &str, args: &[&str]) -> Result<(), String> {
        let tool = program(name);
        let mut command = match other_user() {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(&tool);
                command
            }
            None => Command::new(&tool),
        };
        // A server that was started keeps its standard streams: they must not be this process's.
        let out = fs::File::create(self.path().join("out")).unwrap();
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let status = command.status().unwrap_or_else(|error| panic!("{name}: {error}; run scripts/setup"));
        let said = || {
            let read = |name: &str| fs::read_to_string(self.path().join(name)).unwrap_or_default();
            format!("{}{}", read("out"), read("log"))
        };
        if status.success() { Ok(()) } else { Err(format!("{name} {args:?}: {}", said())) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("the server's log ends with:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
        if Path::new(&format!("{}/postmaster.pid", self.data())).exists() {
            // Who was killed a moment ago may be gone already.
            let _ = self.try_tool("pg_ctl", &["-D", &self.data(), "-w", "-m", "immediate", "stop"]);
        }
    }
}

/// The rows of `COPY … TO STDOUT`, however what the server sends is cut.
///
/// # Errors
/// Where it is no text, or has values that are not of their column's type.
pub fn copied<'a>(schema: &SchemaRef, sent: impl IntoIterator<Item = &'a [u8]>) -> Result<RecordBatch, Error> {
    let (mut lines, mut columns) = (Lines::default(), Columns::new(schema.clone())?);
    for bytes in sent {
        lines.extend(bytes);
        while let Some(row) = lines.next()? {
            columns.push(row.iter().map(Option::as_deref));
        }
    }
    columns.finish()
}

/// The user that servers run as, if it is not the one who starts them.
fn other_user() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().unwrap();
    (String::from_utf8_lossy(&id.stdout).trim() == "0").then_some(USER)
}

/// A program of the newest server that is installed.
fn program(name: &str) -> PathBuf {
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = installed.filter(|path| path.join("bin").join(name).exists()).max_by_key(version);
    newest.map_or_else(|| PathBuf::from(name), |path| path.join("bin").join(name))
}
