//! Jobs of other processes, watched and changed at their control sockets: by the commands, and by HTTP.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use support::{failure, stdout};
use tempfile::TempDir;

/// A process with a job, in a folder of its own.
struct Process {
    folder: TempDir,
    child: Child,
}

const JOB: &str = "\
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10000');
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
SET 'pipeline.name' = 'numbers';
INSERT INTO nowhere SELECT n FROM numbers WHERE n > 0;
";

fn command(folder: &TempDir, args: &[&str]) -> Command {
    let mut updraft = Command::new(env!("CARGO_BIN_EXE_updraft"));
    updraft.args(args).current_dir(folder.path()).env("UPDRAFT_CONTROL", folder.path().join("control"));
    updraft.stdin(Stdio::null());
    updraft
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("job.sql"), JOB).unwrap();
        let args: Vec<_> = ["run", "job.sql"].iter().chain(args).copied().collect();
        let child = command(&folder, &args).stdout(Stdio::null()).spawn().unwrap();
        let process = Self { folder, child };
        process.until(|process| process.jobs().len() == 1);
        process
    }

    /// Waits for something that comes sooner or later.
    fn until(&self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            sleep(Duration::from_millis(20));
        }
    }

    fn updraft(&self, args: &[&str]) -> String {
        stdout(&mut command(&self.folder, args))
    }

    /// What a command that changes something tells.
    fn told(&self, args: &[&str]) -> String {
        let output = command(&self.folder, args).output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn refused(&self, args: &[&str]) -> String {
        failure(&mut command(&self.folder, args))
    }

    fn jobs(&self) -> Vec<Value> {
        self.updraft(&["ps", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn records(&self) -> u64 {
        self.jobs()[0]["job"]["records"].as_u64().unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control").join(format!("{}.sock", self.child.id()))
    }

    /// What is answered to a request: its status, and its body.
    fn http(&self, request: &str, body: &str) -> (u16, Value) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let about =
            format!("host: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        write!(stream, "{request} HTTP/1.1\r\n{about}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Waits until it has ended well.
    fn ends(mut self) -> TempDir {
        assert!(self.child.wait().unwrap().success());
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        assert_eq!(stdout(&mut command(&folder, &["ps"])).lines().count(), 1, "nothing but the heading");
        folder
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_job_is_watched_and_changed() {
    let process = Process::start(&["--state", "state"]);
    let id = process.child.id().to_string();
    let listed = process.updraft(&["ps"]);
    assert!(listed.contains(&format!("{id}.1")) && listed.contains("numbers"), "{listed}");
    process.until(|process| process.records() > 1_000);

    let shown = process.updraft(&["top", "--count", "1", "--every", "0.2"]);
    assert!(shown.contains("source numbers") && shown.contains("sink "), "{shown}");
    let plan = process.updraft(&["explain", "numbers"]);
    assert!(plan.starts_with("job numbers: class stream") && plan.contains(" records read"), "{plan}");
    let why = process.updraft(&["explain", &id, "--why-no-output"]);
    assert!(why.starts_with("it does give output: "), "{why}");
    let paused = process.told(&["pause", "numbers"]);
    assert!(paused.starts_with("done after epoch "), "{paused}");
    let records = process.records();
    sleep(Duration::from_millis(300));
    assert_eq!(process.records(), records);
    // Also by its id, and by its process.
    process.told(&["resume", &format!("{id}.1"), "--source", "numbers"]);
    process.until(|process| process.records() > records);
    process.told(&["set", &id, "--bundle", "numbers=100", "--checkpoints", "100", "--id", "one"]);
    assert_eq!(
        process.refused(&["set", "--checkpoints", "200", "--id", "one"]),
        "updraft: set `one` was done before\n"
    );
    assert!(process.told(&["scale", "--kernels", "1"]).contains(" moved after epoch "));
    process.told(&["rewire", "--remove", "nowhere"]);
    let plan = process.updraft(&["explain", "numbers"]);
    assert!(plan.contains(" records written, and removed"), "{plan}");
    let why = process.updraft(&["explain", "numbers", "--why-no-output"]);
    assert!(
        why.contains("sink `nowhere` is removed, and gets nothing: `updraft rewire --add` brings it back"),
        "{why}"
    );
    process.told(&["rewire", "--add", "nowhere"]);
    let saved = process.told(&["savepoint", "state", "copy", "--now=numbers"]);
    assert!(saved.contains(" is stored\ncopy: checkpoint "), "{saved}");
    let taken = process.told(&["checkpoint"]);
    assert!(taken.starts_with("checkpoint ") && taken.ends_with(" is stored\n"), "{taken}");
    assert_eq!(process.told(&["cancel"]), "ended\n");
    process.ends();
}

#[test]
fn a_job_is_drained() {
    let process = Process::start(&[]);
    let error = process.refused(&["checkpoint"]);
    assert_eq!(error, "updraft: the job takes no checkpoints\n");
    process.told(&["drain"]);
    process.ends();
}

#[test]
fn what_cannot_be_done_is_told() {
    let process = Process::start(&[]);
    let id = process.child.id();
    assert_eq!(
        process.refused(&["top", "words"]),
        format!("updraft: there is no job `words`; there are {id}.1 (numbers)\n")
    );
    let error = process.refused(&["pause", "--source", "words"]);
    assert_eq!(error, "updraft: pause: the job has no source `words`; it has `numbers`\n");
    let error = process.refused(&["set", "--parameter", "threshold=5"]);
    assert_eq!(error, "updraft: set: the job has no parameter `threshold`; it has none\n");
    let error = process.refused(&["swap", "--version", "score=square"]);
    assert_eq!(error, "updraft: swap: the job has no parameter `score`; it has none\n");
    let error = process.refused(&["rehash", "--stage", "sums", "--shard", "0=1"]);
    assert!(error.starts_with("updraft: rehash: the job has no stage `sums`; it has "), "{error}");
    assert_eq!(process.refused(&["rehash", "--stage", "x", "--shard", "a=1"]), "updraft: --shard: `a` is no number\n");
    let error = process.refused(&["rewire", "--remove", "x"]);
    assert_eq!(error, "updraft: rewire: the job has no sink `x`; it has `nowhere`\n");
    let error = process.refused(&["split", "--stage", "x", "--key", "1"]);
    assert!(error.starts_with("updraft: split-key: the job has no stage `x`; it has "), "{error}");
    assert_eq!(process.refused(&["set"]), "updraft: there is nothing to be set: see `updraft set --help`\n");
    let socket = process.socket();
    drop(process);
    assert!(socket.parent().is_none_or(|folder| !folder.exists()), "the folder has gone with the test");

    let folder = tempfile::tempdir().unwrap();
    assert_eq!(failure(&mut command(&folder, &["cancel"])), "updraft: no job runs: `updraft run` starts one\n");
}

#[test]
fn a_killed_process_is_not_listed() {
    let mut process = Process::start(&[]);
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    assert!(process.socket().exists());
    assert!(process.jobs().is_empty());
    assert!(!process.socket().exists(), "nor is its socket kept");
}

#[test]
fn sockets_are_their_owners_alone() {
    let process = Process::start(&[]);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(process.folder.path().join("control")), 0o700);
    assert_eq!(mode(process.socket()), 0o600);
}

#[test]
fn http_is_answered_in_json() {
    let process = Process::start(&[]);
    let (status, jobs) = process.http("GET /v1/jobs", "");
    assert_eq!((status, &jobs[0]["name"]), (200, &Value::from("numbers")));
    let (status, cut) = process.http("GET /v1/jobs/1", "");
    assert_eq!((status, &cut["parts"][0]["kind"]), (200, &Value::from("source")));
    let (status, document) = process.http("GET /v1/openapi.json", "");
    assert_eq!((status, &document["openapi"]), (200, &Value::from("3.1.0")));
    for (request, body, status) in [
        ("GET /v2", "", 404),
        ("GET /v1/jobs/7", "", 404),
        ("GET /v1/jobs/x", "", 404),
        ("PUT /v1/jobs", "", 405),
        ("POST /v1/jobs/1/pause", "{", 400),
        ("POST /v1/jobs/1/pause", "{\"sources\":\"numbers\"}", 422),
        ("POST /v1/jobs/1/set", "{\"bundle\":{\"numbers\":-1}}", 422),
        ("POST /v1/jobs/1/set", "{\"bundle\":{\"words\":1}}", 422),
        ("POST /v1/jobs/1/scale", "{\"kernels\":0}", 422),
        ("POST /v1/jobs/1/scale", "{}", 422),
        ("POST /v1/jobs/1/swap", "{\"name\":\"score\",\"version\":\"square\"}", 422),
        ("POST /v1/jobs/1/rehash", "{\"stage\":\"sums\",\"shards\":{\"0\":0}}", 422),
    ] {
        let (answered, error) = process.http(request, body);
        assert_eq!(answered, status, "{request} {body}: {error}");
        assert!(error["error"].as_str().is_some_and(|error| !error.is_empty()), "{request} {body}: {error}");
    }
}

/// A process that answers at a TCP address, to whoever names the token.
struct Tcp {
    process: Process,
    port: u16,
}

const TOKEN: &str = "0123456789abcdef";

impl Tcp {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("job.sql"), JOB).unwrap();
        let mut run = tcp(&folder, port, &["run", "job.sql", "--state", "state"], Some(TOKEN));
        let child = run.stdout(Stdio::null()).spawn().unwrap();
        let started = Self { process: Process { folder, child }, port };
        while !started.command(&["ps"], Some(TOKEN)).output().unwrap().status.success() {
            sleep(Duration::from_millis(20));
        }
        started
    }

    fn command(&self, args: &[&str], token: Option<&str>) -> Command {
        tcp(&self.process.folder, self.port, args, token)
    }
}

fn tcp(folder: &TempDir, port: u16, args: &[&str], token: Option<&str>) -> Command {
    let mut updraft = command(folder, args);
    updraft.env("UPDRAFT_CONTROL", format!("tcp://127.0.0.1:{port}")).env_remove("UPDRAFT_CONTROL_TOKEN");
    if let Some(token) = token {
        updraft.env("UPDRAFT_CONTROL_TOKEN", token);
    }
    updraft
}

/// At a TCP address those are answered that name the token, and nobody else.
#[test]
fn a_token_opens_a_tcp_port() {
    let tcp = Tcp::start();
    let listed = stdout(&mut tcp.command(&["ps"], Some(TOKEN)));
    assert!(listed.contains("numbers"), "{listed}");
    let refused = failure(&mut tcp.command(&["ps"], Some("0123456789abcdeF")));
    assert!(refused.contains("send the token"), "{refused}");
    let missing = failure(&mut tcp.command(&["ps"], None));
    assert!(missing.contains("set UPDRAFT_CONTROL_TOKEN"), "{missing}");
    let short = failure(&mut tcp.command(&["ps"], Some("secret")));
    assert!(short.contains("UPDRAFT_CONTROL_TOKEN: this is no token"), "{short}");
    stdout(&mut tcp.command(&["cancel", "1"], Some(TOKEN)));
    tcp.process.ends();
}

/// What is answered is what the document says, whatever is asked: schemathesis makes requests from it, good ones and bad ones.
#[test]
fn answers_are_as_described() {
    let schemathesis = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin/schemathesis");
    let tcp = Tcp::start();
    let (document, token) =
        (format!("http://127.0.0.1:{}/v1/openapi.json", tcp.port), format!("Authorization: Bearer {TOKEN}"));
    let mut asks = Command::new(schemathesis);
    asks.args(["run", &document, "--header", &token, "--max-examples", "40", "--seed", "1", "--no-color"]);
    // Which names there are depends on the job: what is described well may be refused. And it is not to end.
    asks.args(["--exclude-checks", "positive_data_acceptance", "--exclude-path-regex", "cancel|drain"]);
    let asked = asks.current_dir(tcp.process.folder.path()).output();
    let asked = asked.unwrap_or_else(|error| panic!("{schemathesis}: {error}: run scripts/setup first"));
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stdout));
    assert!(stdout(&mut tcp.command(&["ps"], Some(TOKEN))).contains("numbers"), "it still runs");
}
