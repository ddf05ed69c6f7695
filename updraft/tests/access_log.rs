//! The traffic analysis over a log that a real nginx has written under load, against awk; then followed while nginx writes
//! and the log is rotated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use support::{example, shell, sorted, stdout};

/// A web server of its own folder.
struct Nginx {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    fn start(folder: &Path) -> Self {
        // Each has an address of its own among those of this machine: of a port nobody knows whether it stays free.
        static STARTED: AtomicU8 = AtomicU8::new(1);
        let (process, number) = (std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from(([127, (process >> 8) as u8, process as u8, number], 8088));
        let at = folder.display();
        std::fs::create_dir_all(folder.join("site")).unwrap();
        std::fs::write(folder.join("site/index.html"), "<h1>hello</h1>").unwrap();
        std::fs::write(folder.join("site/large.bin"), vec![b'x'; 100_000]).unwrap();
        let config = format!(
            "daemon off; master_process off; error_log {at}/error.log; pid {at}/nginx.pid;
             events {{ worker_connections 256; }}
             http {{
                 log_format combined_ '$remote_addr - $remote_user [$time_local] \"$request\" '
                                      '$status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"';
                 access_log {at}/access.log combined_; keepalive_requests 1000000;
                 client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3;
                 uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;
                 server {{ listen {address}; root {at}/site; location /old {{ return 302 /; }} }}
             }}"
        );
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let child = Command::new("nginx").arg("-c").arg(folder.join("nginx.conf")).stderr(Stdio::null()).spawn();
        let child = child.expect("nginx is missing: run scripts/setup");
        let nginx = Self { child, folder: folder.into(), address };
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    /// `n` requests from each of four clients, over connections that are kept.
    fn load(&self, n: usize) {
        thread::scope(|scope| {
            for client in 0..4 {
                scope.spawn(move || request_all(self.address, client, n));
            }
        });
    }

    fn log(&self) -> PathBuf {
        self.folder.join("access.log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request_all(address: SocketAddr, client: usize, n: usize) {
    const PATHS: [&str; 5] = ["/", "/index.html?page=2", "/large.bin", "/missing", "/old"];
    let mut socket = BufReader::new(TcpStream::connect(address).unwrap());
    for i in 0..n {
        let path = PATHS[(i * 7 + client) % PATHS.len()];
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        socket.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            socket.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        std::io::copy(&mut socket.by_ref().take(length), &mut std::io::sink()).unwrap();
    }
}

/// The same in SQL, over lines of text, and the second of the first request.
const BY_SQL: &str = r#"
    SELECT path, COUNT(*) AS requests, COUNT(*) FILTER (WHERE status >= 400) AS errors, SUM(size) AS bytes, MIN(at) AS since
    FROM (
        SELECT
            REGEXP_EXTRACT(line, '"[A-Z]+ ([^ ?"]+)', 1) AS path,
            CAST(REGEXP_EXTRACT(line, '" (\d{3}) ', 1) AS INT) AS status,
            CAST(REGEXP_EXTRACT(line, '" \d{3} (\d+)', 1) AS BIGINT) AS size,
            TO_TIMESTAMP(REGEXP_EXTRACT(line, '\[([^ ]+)', 1), 'dd/MMM/yyyy:HH:mm:ss') AS at
        FROM stdin
    )
    GROUP BY path"#;

/// The same by plain means: one line after the other, of a day in UTC.
fn by_line(log: &str) -> Vec<String> {
    let mut totals = std::collections::BTreeMap::<&str, (u64, u64, u64, &str)>::new();
    for line in log.lines() {
        let (head, rest) = line.split_once(" \"GET ").unwrap();
        let (target, rest) = rest.split_once(' ').unwrap();
        let (_, rest) = rest.split_once("\" ").unwrap();
        let (status, rest) = rest.split_once(' ').unwrap();
        let size = rest.split(' ').next().unwrap();
        let time = &head[head.find(':').unwrap() + 1..][..8];
        let path = target.split('?').next().unwrap();
        let total = totals.entry(path).or_insert((0, 0, 0, time));
        total.0 += 1;
        total.1 += u64::from(status.parse::<u16>().unwrap() >= 400);
        total.2 += size.parse::<u64>().unwrap();
        total.3 = total.3.min(time);
    }
    let row = |(path, (n, errors, bytes, since)): (&&str, &(u64, u64, u64, &str))| {
        format!("{path},{n},{errors},{bytes},{since}")
    };
    totals.iter().map(row).collect()
}

/// Path, requests, errors and bytes, over all minutes, as awk sees them.
fn by_awk(logs: &str) -> String {
    shell(&format!(
        "cat {logs} | gawk '{{ split($7, p, \"?\"); n[p[1]]++; if ($9 >= 400) e[p[1]]++; b[p[1]] += $10 }}
         END {{ for (k in n) print k \",\" n[k] \",\" e[k] + 0 \",\" b[k] }}'"
    ))
}

/// The same, from the rows by minute that the example has printed.
fn by_path(rows: &str) -> String {
    let mut totals = std::collections::BTreeMap::<&str, [u64; 3]>::new();
    for row in rows.lines().filter(|row| !row.starts_with("from,")) {
        let fields: Vec<_> = row.split(',').collect();
        let total = totals.entry(fields[1]).or_default();
        (0..3).for_each(|i| total[i] += fields[i + 2].parse::<u64>().unwrap());
    }
    totals.iter().map(|(path, [n, e, b])| format!("{path},{n},{e},{b}\n")).collect()
}

#[test]
fn agrees_with_awk_on_a_log_that_nginx_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(folder.path());
    nginx.load(2_000);
    let log = nginx.log();
    drop(nginx);
    let rows = stdout(example("access_log").arg(&log).args(["--format", "csv"]));
    assert_eq!(sorted(&by_path(&rows)), sorted(&by_awk(&log.display().to_string())));
    assert_eq!(by_path(&rows).lines().count(), 5);
}

#[test]
fn sql_over_the_lines_agrees_with_plain_rust() {
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(folder.path());
    nginx.load(500);
    let log = nginx.log();
    drop(nginx);
    let expected = by_line(&std::fs::read_to_string(&log).unwrap());
    assert_eq!(expected.len(), 5);
    for kernels in ["1", "3"] {
        let mut updraft = Command::new(env!("CARGO_BIN_EXE_updraft"));
        updraft.args(["sql", BY_SQL, "--kernels", kernels, "--mode", "batch", "-o", "csv"]);
        let rows = stdout(updraft.stdin(std::fs::File::open(&log).unwrap()));
        // Of the time, what is after the date and before the milliseconds.
        let plain = |row: &str| {
            let (row, since) = row.rsplit_once(',').unwrap();
            format!("{row},{}", &since[11..19])
        };
        let mut rows: Vec<_> = rows.lines().skip(1).map(plain).collect();
        rows.sort_unstable();
        assert_eq!(rows, expected, "{kernels} kernels");
    }
}

#[test]
fn follows_while_nginx_writes_and_the_log_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(folder.path());
    nginx.load(200);
    let mut follower = example("access_log");
    follower.arg(nginx.log()).args(["--follow", "--format", "csv", "--window", "1", "--disorder", "2"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let mut rows = BufReader::new(follower.stdout.take().unwrap());
    // The header and a first row: the log is being followed.
    let mut printed = String::new();
    while printed.lines().count() < 2 {
        rows.read_line(&mut printed).unwrap();
    }
    nginx.load(200);
    // As logrotate does it: rename, then tell nginx to open a new file.
    std::fs::rename(nginx.log(), folder.path().join("access.log.1")).unwrap();
    shell(&format!("kill -USR1 {}", nginx.child.id()));
    while !nginx.log().exists() {
        thread::sleep(Duration::from_millis(10));
    }
    nginx.load(200);
    let logs = format!("{0}/access.log {0}/access.log.1", folder.path().display());
    let expected = by_awk(&logs);
    let requests =
        |text: &str| -> u64 { text.lines().map(|row| row.split(',').nth(1).unwrap().parse::<u64>().unwrap()).sum() };
    assert_eq!(requests(&expected), 3 * 4 * 200);
    // Windows come by the clock, although no request follows.
    while requests(&by_path(&printed)) < 3 * 4 * 200 {
        assert!(rows.read_line(&mut printed).unwrap() > 0, "it ended by itself");
    }
    shell(&format!("kill -INT {}", follower.id()));
    assert!(follower.wait().unwrap().success(), "an interrupt drains and ends well");
    assert_eq!(sorted(&by_path(&printed)), sorted(&expected));
}

#[test]
fn dead_letters_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let good = "::1 - - [20/Nov/2026:22:27:03 +0000] \"GET / HTTP/1.1\" 200 7 \"-\" \"-\"\n";
    std::fs::write(&log, format!("{good}nonsense\n{good}")).unwrap();
    let error = support::failure(example("access_log").arg(&log));
    assert!(error.contains("access.log:2: no `[` before the time"), "{error}");
    let aside = folder.path().join("aside.json");
    let rows = stdout(example("access_log").arg(&log).args(["--format", "csv", "--dead-letters"]).arg(&aside));
    assert_eq!(rows, "from,path,requests,errors,bytes\n1795213620,/,2,0,14\n");
    let letter = std::fs::read_to_string(aside).unwrap();
    assert!(letter.contains("\"line\":2") && letter.contains("\"text\":\"nonsense\""), "{letter}");
}
