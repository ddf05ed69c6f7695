//! Records from and to TCP and UNIX sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::future::{Future, poll_fn};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use support::{All, drain, read, run, write};
use tempfile::TempDir;
use updraft_connectors::format::{Format, Framing};
use updraft_connectors::{Channel, Collect, Generator, Socket, SocketSink};
use updraft_dataflow::{Bundle, Error, Job, Partition, Sink, Source};
use updraft_kernel::{Runtime, clock};

/// Long enough that a test which needs all of it has failed.
const LONG: Duration = Duration::from_secs(100);

/// How long something is waited for that does not come.
const SHORT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Unix,
}

const KINDS: [Kind; 2] = [Kind::Tcp, Kind::Unix];

/// Where somebody listens.
#[derive(Clone, Debug)]
enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

impl At {
    fn call(&self) -> Box<dyn Duplex> {
        match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).unwrap()),
            Self::Unix(path) => Box::new(UnixStream::connect(path).unwrap()),
        }
    }

    fn source(&self) -> Socket {
        match self {
            Self::Tcp(address) => Socket::connect(address.to_string()),
            Self::Unix(path) => Socket::connect_unix(path),
        }
    }

    fn sink(&self) -> SocketSink {
        match self {
            Self::Tcp(address) => SocketSink::connect(address.to_string()),
            Self::Unix(path) => SocketSink::connect_unix(path),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => path.display().to_string(),
        }
    }

    /// Sends `text`, and no more.
    fn send(&self, text: impl AsRef<[u8]>) {
        self.call().write_all(text.as_ref()).unwrap();
    }
}

/// Where the sockets of a test are.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.sock")
    }

    fn source(&self, kind: Kind) -> (Socket, At) {
        match kind {
            Kind::Tcp => {
                let socket = Socket::listen("127.0.0.1:0").unwrap();
                let at = At::Tcp(socket.local_addr().unwrap());
                (socket, at)
            }
            Kind::Unix => (Socket::listen_unix(self.path()).unwrap(), At::Unix(self.path())),
        }
    }

    fn sink(&self, kind: Kind) -> (SocketSink, At) {
        match kind {
            Kind::Tcp => {
                let sink = SocketSink::listen("127.0.0.1:0").unwrap();
                let at = At::Tcp(sink.local_addr().unwrap());
                (sink, at)
            }
            Kind::Unix => (SocketSink::listen_unix(self.path()).unwrap(), At::Unix(self.path())),
        }
    }

    /// Where nobody listens.
    fn nobody(&self, kind: Kind) -> At {
        match kind {
            Kind::Tcp => At::Tcp(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()),
            Kind::Unix => At::Unix(self.path()),
        }
    }
}

fn runtime() -> Runtime {
    Runtime::builder().kernels(2).pin(false).build().unwrap()
}

/// Lets other threads go on until `done`.
fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

/// Whether `future` has nothing to say for a while.
async fn waits(future: impl Future) -> bool {
    clock::timeout(SHORT, future).await.is_none()
}

async fn put<T: Serialize + updraft_dataflow::Record>(sink: &mut SocketSink, rows: Vec<T>) -> Result<(), Error> {
    sink.write(Bundle::from(rows)).await
}

async fn close(mut sink: SocketSink) -> Result<(), Error> {
    Sink::<u64>::close(&mut sink).await
}

/// What comes until the other side closes.
fn rest(peer: &mut impl Read) -> String {
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    text
}

fn reasons<T>(all: &All<T>) -> Vec<(u64, String)> {
    all.rejected.iter().map(|letter| (letter.line, letter.reason.clone())).collect()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    path: String,
    count: u64,
}

fn visits(n: u64) -> Vec<Visit> {
    let text = |i| if i % 3 == 0 { "two\nlines, \"quoted\"".to_owned() } else { format!("/{i}") };
    (0..n).map(|count| Visit { path: text(count), count }).collect()
}

#[test]
fn what_a_sink_sends_a_listening_source_receives() {
    for kind in KINDS {
        for csv in [false, true] {
            let place = Place::new();
            let (source, at) = place.source(kind);
            let source = source.connections(1);
            let bundles = visits(20_000).chunks(999).map(<[_]>::to_vec).collect();
            let all = thread::scope(|scope| {
                let sink = if csv { at.sink().csv() } else { at.sink() };
                scope.spawn(|| write(sink, bundles).unwrap());
                if csv { read(source.csv::<Visit>(), 100) } else { read(source.json::<Visit>(), 100) }
            });
            assert_eq!(all.unwrap(), All { records: visits(20_000), rejected: Vec::new() }, "{kind:?}, CSV: {csv}");
        }
    }
}

#[test]
fn who_calls_a_listening_sink_receives_all_that_follows() {
    for kind in KINDS {
        let (place, runtime) = (Place::new(), runtime());
        let (sink, at) = place.sink(kind);
        let (sender, numbers) = Channel::source(1);
        let from = Job::new("from");
        from.source("numbers", numbers).stream().sink("socket", sink.csv());
        let from = from.start(runtime.handle()).unwrap();
        let to = Job::new("to");
        let (sink, received) = Collect::new();
        to.source("socket", at.source().csv::<u64>()).stream().sink("received", sink);
        let to = to.start(runtime.handle()).unwrap();

        let mut numbers = 0..;
        let mut send = || sender.blocking_send(Bundle::from(vec![numbers.next().unwrap()])).unwrap();
        until(|| {
            send();
            !received.is_empty()
        });
        (0..1_000).for_each(|_| send());
        let end = numbers.start;
        drop(sender);
        runtime.block_on(from.join()).unwrap();
        runtime.block_on(to.join()).unwrap();
        let received = received.take();
        assert!(received.len() > 1_000, "{}", received.len());
        assert_eq!(received, (received[0]..end).collect::<Vec<u64>>());
    }
}

#[test]
fn connections_are_texts_of_their_own_dealt_out_to_the_partitions() {
    for kind in KINDS {
        let place = Place::new();
        let (source, at) = place.source(kind);
        for sender in 0..6 {
            // The last line has no newline.
            let rows: Vec<_> = (0..500).map(|n| format!("{n},{sender}")).collect();
            let order = if sender % 2 == 0 { "n,sender" } else { "n,sender\r" };
            at.send(format!("{order}\n{}\nbad\n500,{sender}", rows.join("\n")));
        }
        let parts = run(move || async move {
            let source = source.connections(6).partitions(3).csv::<(u64, u64)>();
            let [mut a, mut b, mut c] = source.open().unwrap().try_into().unwrap();
            let (a, b, c) = tokio::join!(drain(&mut a, 100), drain(&mut b, 100), drain(&mut c, 100));
            [a.unwrap(), b.unwrap(), c.unwrap()]
        });
        let mut seen = Vec::new();
        for part in parts {
            let mut senders: Vec<_> = part.records.iter().map(|&(_, sender)| sender).collect();
            senders.sort_unstable();
            senders.dedup();
            assert!(!senders.is_empty(), "each partition has a connection");
            for &sender in &senders {
                let of_it = part.records.iter().filter(|record| record.1 == sender);
                assert!(of_it.map(|record| record.0).eq(0..=500), "all of {sender}, in order");
            }
            // Each has its own header, and its own count of lines.
            assert_eq!(part.rejected.len(), senders.len());
            assert!(part.rejected.iter().all(|letter| letter.line == 502 && &*letter.bytes == b"bad"));
            seen.extend(senders);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_job_reads_all_partitions_at_once() {
    let (place, runtime) = (Place::new(), runtime());
    let (source, at) = place.source(Kind::Tcp);
    let job = Job::new("many");
    let (sink, rows) = Collect::new();
    job.source("socket", source.partitions(3).connections(50).json::<u64>()).stream().sink("rows", sink);
    let job = job.start(runtime.handle()).unwrap();
    // All are open at once, however many partitions there are.
    let mut peers: Vec<_> = (0..50).map(|_| at.call()).collect();
    for (i, peer) in peers.iter_mut().enumerate() {
        writeln!(peer, "{i}").unwrap();
    }
    until(|| rows.len() == 50);
    drop(peers);
    runtime.block_on(job.join()).unwrap();
    let mut rows = rows.take();
    rows.sort_unstable();
    assert_eq!(rows, (0..50).collect::<Vec<_>>());
}

/// Lines as a few lines of code would split them: those that are taken, and the numbers of the others.
fn naive(text: &[u8], max: usize) -> (Vec<String>, Vec<u64>) {
    let (mut lines, mut others) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.split_inclusive(|&byte| byte == b'\n')) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)) {
            Ok(text) if line.len() <= max => lines.push(text.to_owned()),
            _ => others.push(number),
        }
    }
    (lines, others)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn lines_are_those_of_a_naive_split_wherever_they_are_cut(
        pieces in prop::collection::vec(prop::collection::vec(prop::sample::select(b"ab\n\n\r\xC3\xA4".to_vec()), 1..8), 0..12),
        max in 1..10_usize,
        limit in 1..5_usize,
        unix in any::<bool>(),
    ) {
        let text = pieces.concat();
        let all = run(move || async move {
            let place = Place::new();
            let (source, at) = place.source(if unix { Kind::Unix } else { Kind::Tcp });
            let mut peer = at.call();
            let mut partition = source.connections(1).max_line(max).lines().open().unwrap().remove(0);
            let (all, ()) = tokio::join!(drain(&mut partition, limit), async {
                for piece in pieces {
                    peer.write_all(&piece).unwrap();
                    // It is read by itself.
                    clock::sleep(Duration::from_micros(500)).await;
                }
                drop(peer);
            });
            all.unwrap()
        });
        let (lines, others) = naive(&text, max);
        prop_assert_eq!(all.records, lines);
        prop_assert_eq!(all.rejected.iter().map(|letter| letter.line).collect::<Vec<_>>(), others);
    }
}

#[test]
fn what_cannot_be_decoded_becomes_a_dead_letter_that_tells_where_and_why() {
    let place = Place::new();
    for kind in KINDS {
        let (source, at) = place.source(kind);
        let mut peer = at.call();
        peer.write_all(b"1\nsecond\n3\n").unwrap();
        drop(peer);
        let all = read(source.connections(1).json::<u64>(), 10).unwrap();
        assert_eq!(all.records, [1, 3]);
        let letter = &all.rejected[0];
        assert_eq!((letter.line, &*letter.bytes), (2, &b"second"[..]));
        assert!(letter.reason.starts_with("column 1: "), "{letter}");
        match kind {
            Kind::Tcp => assert!(letter.origin.starts_with("127.0.0.1:") && *letter.origin != at.name(), "{letter}"),
            Kind::Unix => assert_eq!(*letter.origin, format!("{}#1", at.name())),
        }
    }
    let (source, at) = place.source(Kind::Unix);
    at.send("path,count\n/a,5\n/b\n/c,six\n");
    let all = read(source.connections(1).csv::<Visit>(), 10).unwrap();
    assert_eq!(all.records, [Visit { path: "/a".into(), count: 5 }]);
    let reasons = reasons(&all);
    assert_eq!((reasons[0].0, reasons[1].0), (3, 4));
    assert!(reasons[0].1.contains("path, count") && reasons[1].1.contains("count"), "{reasons:?}");
}

#[test]
fn an_overlong_line_is_no_record_and_is_not_kept() {
    let place = Place::new();
    let (source, at) = place.source(Kind::Unix);
    let all = thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = at.call();
            peer.write_all(b"short\n").unwrap();
            (0..1_000).for_each(|_| peer.write_all(&[b'x'; 64 << 10]).unwrap());
            peer.write_all(b"\nshort, too\n").unwrap();
        });
        read(source.connections(1).max_line(100_000).lines(), 10).unwrap()
    });
    assert_eq!(all.records, ["short", "short, too"]);
    assert_eq!((all.rejected.len(), all.rejected[0].line), (1, 2));
    let letter = &all.rejected[0];
    assert!(letter.reason.starts_with("record longer than max_line, 100000 bytes: raise max_line"), "{letter}");
    assert_eq!(letter.bytes, [b'x'; 64 << 10]);
}

/// A connection that is reset instead of ended when it is dropped.
fn brittle(peer: TcpStream) -> tokio::net::TcpStream {
    peer.set_nonblocking(true).unwrap();
    let peer = tokio::net::TcpStream::from_std(peer).unwrap();
    peer.set_zero_linger().unwrap();
    peer
}

#[test]
fn a_caller_that_breaks_off_costs_one_record() {
    run(|| async {
        let source = Socket::listen("127.0.0.1:0").unwrap();
        let address = source.local_addr().unwrap();
        let mut partition = source.connections(2).lines().open().unwrap().remove(0);
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(b"1\n2\nhal").unwrap();
        let peer = brittle(peer);
        let mut all = All::default();
        while all.records.len() < 2 {
            all.add(partition.next(1).await.unwrap().unwrap());
        }
        // The rest has been read, too: there is nothing else to be waited for.
        assert!(waits(partition.next(1)).await);
        drop(peer);
        At::Tcp(address).send("3\n");
        let rest = drain(&mut partition, 10).await.unwrap();
        assert_eq!((all.records, rest.records), (vec!["1".to_owned(), "2".into()], vec!["3".to_owned()]));
        let letter = &rest.rejected[0];
        assert_eq!((letter.line, &*letter.bytes), (3, &b"hal"[..]));
        assert!(letter.reason.contains("broken off") && letter.reason.contains("again"), "{letter}");
    });
}

#[test]
fn one_that_was_called_and_breaks_off_ends_the_job() {
    run(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut partition = Socket::connect(address.to_string()).lines().open().unwrap().remove(0);
        let peer = {
            let mut next = pin!(partition.next(10));
            assert!(waits(&mut next).await);
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"1\n").unwrap();
            assert_eq!(next.await.unwrap().unwrap().records.as_slice(), ["1"]);
            brittle(peer)
        };
        drop(peer);
        let error = partition.next(10).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{address}:2: broken off")) && error.contains("again"), "{error}");
    });
}

#[test]
fn where_nobody_listens_the_error_names_address_and_remedy() {
    let place = Place::new();
    for kind in KINDS {
        let at = place.nobody(kind);
        let to_read = read(at.source().lines(), 10).unwrap_err().to_string();
        let to_write = write(at.sink(), vec![vec![1]]).unwrap_err().to_string();
        // A job without rows is one, too.
        let to_close = write(at.sink(), Vec::<Vec<u64>>::new()).unwrap_err().to_string();
        for error in [to_read, to_write, to_close] {
            assert!(error.starts_with(&format!("{}: cannot connect: ", at.name())), "{error}");
            assert!(error.contains("tried once") && error.contains("`.retry(..)`"), "{error}");
        }
    }
    // That is no address, and will not become one.
    let error = read(Socket::connect("nowhere").retry(LONG).lines(), 10).unwrap_err().to_string();
    assert!(error.starts_with("nowhere: ") && error.contains("give host:port"), "{error}");
}

#[test]
fn somebody_who_comes_later_is_waited_for() {
    run(|| async {
        let place = Place::new();
        let at = place.nobody(Kind::Unix);
        let mut partition = at.source().retry(LONG).lines().open().unwrap().remove(0);
        let mut next = pin!(partition.next(10));
        assert!(waits(&mut next).await);
        let (mut sink, _) = place.sink(Kind::Unix);
        let mut rows = 0..;
        // It is not known when it comes, so it is sent rows until one has been received.
        let received = loop {
            put(&mut sink, vec![rows.next().unwrap()]).await.unwrap();
            if let Some(received) = clock::timeout(Duration::from_millis(1), &mut next).await {
                break received.unwrap().unwrap();
            }
        };
        assert!(!received.records.is_empty());
    });
    run(|| async {
        let place = Place::new();
        let mut sink = place.nobody(Kind::Unix).sink().retry(LONG);
        let listener = {
            let mut written = pin!(put(&mut sink, vec![7]));
            assert!(waits(&mut written).await);
            let listener = UnixListener::bind(place.path()).unwrap();
            written.await.unwrap();
            listener
        };
        close(sink).await.unwrap();
        assert_eq!(rest(&mut listener.accept().unwrap().0), "7\n");
    });
}

#[test]
fn an_address_that_is_taken_is_left_to_who_has_it() {
    let place = Place::new();
    for kind in KINDS {
        let (_listening, at) = place.source(kind);
        let (source, sink) = match &at {
            At::Tcp(address) => (Socket::listen(address.to_string()), SocketSink::listen(address.to_string())),
            At::Unix(path) => (Socket::listen_unix(path), SocketSink::listen_unix(path)),
        };
        for error in [source.unwrap_err().to_string(), sink.unwrap_err().to_string()] {
            assert!(error.starts_with(&format!("{}: cannot listen: ", at.name())), "{error}");
            assert!(error.contains("end the process that listens there"), "{error}");
        }
        at.call();
    }
}

#[test]
fn only_a_socket_that_nobody_listens_at_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.path()).unwrap());
    assert!(place.path().exists(), "as a process leaves it that was killed");
    let (source, at) = place.source(Kind::Unix);
    at.send("1\n");
    assert_eq!(read(source.connections(1).lines(), 10).unwrap().records, ["1"]);
    assert!(!place.path().exists(), "ours is removed");

    // Somebody else's that has taken its place is not.
    let (ours, _) = place.source(Kind::Unix);
    fs::remove_file(place.path()).unwrap();
    let (_theirs, at) = place.source(Kind::Unix);
    drop(ours);
    at.call();

    let path = place.0.path().join("notes");
    fs::write(&path, "not to be lost").unwrap();
    let error = Socket::listen_unix(&path).unwrap_err().to_string();
    assert!(error.contains("remove the file"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"not to be lost");
    let error = Socket::listen_unix("/nowhere/a.sock").unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/a.sock: cannot listen: ") && error.contains("its folder"), "{error}");
}

#[test]
fn after_the_last_connection_callers_are_refused() {
    run(|| async {
        let (place, mut all) = (Place::new(), All::default());
        let (source, at) = place.source(Kind::Unix);
        let mut partition = source.connections(1).lines().open().unwrap().remove(0);
        let mut peer = at.call();
        peer.write_all(b"1\n").unwrap();
        all.add(partition.next(10).await.unwrap().unwrap());
        assert!(UnixStream::connect(place.path()).is_err());
        drop(peer);
        assert!(partition.next(10).await.unwrap().is_none());
        assert_eq!(all.records, ["1"]);
    });
}

#[test]
fn a_job_that_drains_listens_no_longer() {
    for kind in KINDS {
        let (place, runtime) = (Place::new(), runtime());
        let (source, at) = place.source(kind);
        let job = Job::new("drained");
        let (sink, rows) = Collect::new();
        job.source("socket", source.partitions(2).json::<u64>()).stream().sink("rows", sink);
        let job = job.start(runtime.handle()).unwrap();
        let mut peer = at.call();
        peer.write_all(b"1\n2\n3").unwrap();
        until(|| rows.len() == 2);
        job.drain();
        runtime.block_on(job.join()).unwrap();
        assert_eq!(rows.take(), [1, 2], "the third is not whole");
        let gone = match at {
            At::Tcp(address) => TcpStream::connect(address).map(drop),
            At::Unix(path) => UnixStream::connect(path).map(drop),
        };
        assert!(gone.is_err());
    }
}

#[test]
fn a_job_drains_also_while_bytes_come_that_are_no_records() {
    let (place, runtime) = (Place::new(), runtime());
    let (source, at) = place.source(Kind::Unix);
    let job = Job::new("flooded");
    let (sink, letters) = Collect::new();
    let mut input = job.source("socket", source.max_line(10).lines());
    input.dead_letters().sink("letters", sink);
    input.stream().sink("rows", Collect::new().0);
    let job = job.start(runtime.handle()).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            let mut peer = at.call();
            // Until nobody reads any more.
            scope.spawn(move || while peer.write_all(&[b'x'; 64 << 10]).is_ok() {});
        }
        until(|| letters.len() == 2);
        job.drain();
        runtime.block_on(job.join()).unwrap();
    });
}

/// Counts lines, and takes none for a record.
#[derive(Clone)]
struct Blank(Arc<AtomicUsize>);

impl Format for Blank {
    type Item = u64;

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn decode(&mut self, _: &[u8]) -> Result<Option<u64>, String> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }
}

#[test]
fn others_have_their_turn_between_two_reads() {
    const BYTES: usize = 100_000;
    run(|| async {
        let place = Place::new();
        let (source, at) = place.source(Kind::Unix);
        for _ in 0..20 {
            at.send([b'\n'; BYTES]);
        }
        let lines = Arc::new(AtomicUsize::new(0));
        let mut partition = source.connections(20).format(Blank(lines.clone())).open().unwrap().remove(0);
        let mut next = pin!(partition.next(10));
        let (mut before, mut most) = (0, 0);
        let end = poll_fn(|cx| {
            let polled = next.as_mut().poll(cx);
            let now = lines.load(Ordering::Relaxed);
            most = most.max(now - std::mem::replace(&mut before, now));
            polled
        });
        assert!(end.await.unwrap().is_none());
        assert_eq!(before, 20 * BYTES);
        assert!(most <= BYTES, "{most} bytes at once");
    });
}

/// Rows are 1 KiB long where it matters how much is on its way.
const ROW: usize = 1 << 10;

/// How many such rows there are, and how many may be on their way at most: in queues, buffers, and with the operating system.
const ROWS: usize = 40_000;
const ON_THEIR_WAY: usize = 4_000;

#[test]
fn a_sender_waits_for_a_slow_job() {
    let (place, runtime) = (Place::new(), runtime());
    let (source, at) = place.source(Kind::Unix);
    let job = Job::new("slow");
    let (sink, mut bundles) = Channel::bounded(1);
    job.source("socket", source.connections(1).lines()).bundle(50).stream().sink("slow", sink);
    let job = job.start(runtime.handle()).unwrap();
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut peer, row) = (at.call(), format!("{}\n", "x".repeat(ROW - 1)));
            for _ in 0..ROWS {
                peer.write_all(row.as_bytes()).unwrap();
                sent.fetch_add(1, Ordering::SeqCst);
            }
        });
        // As far as it comes by itself.
        until(|| sent.load(Ordering::SeqCst) > 100);
        thread::sleep(SHORT);
        let mut received = 0;
        while let Some(bundle) = bundles.blocking_recv() {
            let sent = sent.load(Ordering::SeqCst);
            assert!(sent <= received + ON_THEIR_WAY, "{sent} sent, {received} received");
            received += bundle.len();
        }
        assert_eq!(received, ROWS);
    });
    runtime.block_on(job.join()).unwrap();
    assert!(job.peak_memory() <= ON_THEIR_WAY * ROW, "{} bytes", job.peak_memory());
    assert_eq!(job.memory(), 0);
}

/// A job that sends many rows to `sink`.
fn rows_to(sink: SocketSink) -> Job {
    let job = Job::new("rows");
    let source = Generator::new(|i| format!("{i:0>width$}", width = ROW)).count(ROWS as u64);
    job.source("rows", source).bundle(50).stream().sink("socket", sink);
    job
}

/// Runs a job that sends rows to `sink`, and reads them slowly from the `peer`.
fn read_slowly<P: Read>(sink: SocketSink, peer: impl FnOnce() -> P) {
    let runtime = runtime();
    let job = rows_to(sink).start(runtime.handle()).unwrap();
    let peer = peer();
    until(|| job.metrics().records() > 100);
    thread::sleep(SHORT);
    let mut read = 0;
    for line in BufReader::new(peer).lines() {
        let given = job.metrics().records() as usize;
        assert!(given <= read + ON_THEIR_WAY, "{given} given, {read} read");
        assert_eq!(line.unwrap().trim_matches('"').parse(), Ok(read));
        read += 1;
    }
    assert_eq!(read, ROWS);
    runtime.block_on(job.join()).unwrap();
}

#[test]
fn a_job_waits_for_a_slow_reader() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path()).unwrap();
    read_slowly(SocketSink::connect_unix(place.path()), || listener.accept().unwrap().0);
    let place = Place::new();
    let (sink, at) = place.sink(Kind::Unix);
    let peer = at.call();
    read_slowly(sink, || peer);
}

#[test]
fn a_client_that_does_not_read_is_dropped_if_so_wanted() {
    for kind in KINDS {
        let (place, runtime) = (Place::new(), runtime());
        let (sink, at) = place.sink(kind);
        let (mut asleep, keen) = (at.call(), at.call());
        let job = rows_to(sink.drop_slow(Duration::from_secs(2))).start(runtime.handle()).unwrap();
        assert_eq!(BufReader::new(keen).lines().map(Result::unwrap).count(), ROWS);
        runtime.block_on(job.join()).unwrap();
        let mut some = Vec::new();
        let end = asleep.read_to_end(&mut some);
        assert!(some.len() < ROWS * ROW, "it has got {} bytes", some.len());
        if kind == Kind::Tcp {
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn clients_come_and_go() {
    for kind in KINDS {
        run(move || async move {
            let place = Place::new();
            let (sink, at) = place.sink(kind);
            let mut sink = sink.csv();
            let row = |count| vec![Visit { path: "/".into(), count }];
            // Nobody is there.
            put(&mut sink, row(1)).await.unwrap();
            let mut first = at.call();
            let mut chatty = at.call();
            // What it says is not listened to, and does no harm.
            chatty.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
            put(&mut sink, row(2)).await.unwrap();
            let (leaving, mut second) = (at.call(), at.call());
            put(&mut sink, row(3)).await.unwrap();
            drop(leaving);
            for count in 4..20 {
                put(&mut sink, row(count)).await.unwrap();
            }
            let mut last = at.call();
            close(sink).await.unwrap();
            let from = |n| (n..20).fold("path,count\n".to_owned(), |text, count| text + &format!("/,{count}\n"));
            assert_eq!([rest(&mut first), rest(&mut chatty), rest(&mut second)], [from(2), from(2), from(3)]);
            assert_eq!(rest(&mut last), "", "it has come too late");
        });
    }
}

#[test]
fn a_peer_that_leaves_ends_the_job() {
    run(|| async {
        let place = Place::new();
        let listener = UnixListener::bind(place.path()).unwrap();
        let mut sink = SocketSink::connect_unix(place.path());
        put(&mut sink, vec![1]).await.unwrap();
        drop(listener.accept().unwrap());
        let error = put(&mut sink, vec![2]).await.unwrap_err().to_string();
        let path = place.path().display().to_string();
        assert!(error.starts_with(&format!("{path}: cannot be written to: ")) && error.contains("again"), "{error}");
    });
}

/// What a reader of two rows gets after them when the job ends so.
fn end_after_two_rows(connect: bool, ends: impl FnOnce(&updraft_dataflow::Running)) -> std::io::Result<usize> {
    let runtime = runtime();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sink, peer) = if connect {
        (SocketSink::connect(listener.local_addr().unwrap().to_string()), None)
    } else {
        let sink = SocketSink::listen("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(sink.local_addr().unwrap()).unwrap();
        (sink, Some(peer))
    };
    let (sender, numbers) = Channel::source(1);
    let job = Job::new("ends");
    job.source("numbers", numbers).stream().sink("socket", sink);
    let job = job.start(runtime.handle()).unwrap();
    sender.blocking_send(Bundle::from(vec![1, 2])).unwrap();
    let mut peer = peer.unwrap_or_else(|| listener.accept().unwrap().0);
    let mut rows = [0; 4];
    peer.read_exact(&mut rows).unwrap();
    assert_eq!(&rows, b"1\n2\n");
    ends(&job);
    let _ = runtime.block_on(job.join());
    peer.read(&mut rows)
}

#[test]
fn only_a_job_that_ends_well_ends_its_connections_well() {
    for connect in [true, false] {
        assert_eq!(end_after_two_rows(connect, |job| job.drain()).unwrap(), 0);
        let error = end_after_two_rows(connect, |job| job.cancel()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
