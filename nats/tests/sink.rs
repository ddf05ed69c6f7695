//! Streams that are written to, by processes that are killed, stopped and replaced: what is there at the end is there once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what is around the job is no task of a kernel")]

mod support;

use std::ops::Range;
use std::time::Duration;

use async_nats::header::HeaderMap;
use async_nats::jetstream::stream::Config;
use proptest::prelude::*;
use support::{Random, Server, all, ask, client, make, run, stream};
use updraft_dataflow::{Bundle, Prepared, Sink};
use updraft_kernel::clock;
use updraft_nats::{Guarantee, Nats, NatsSink, Outgoing};

/// How many messages a job writes.
const ALL: u64 = 60;

fn message(number: u64) -> Outgoing {
    // Some are large: several of them are more than is kept in one piece.
    let long = if number % 7 == 3 { 90_000 } else { 10 };
    Outgoing::new(format!("s.{}", number % 3), format!("{number} {}", "x".repeat(long)))
        .header("Number", number.to_string())
}

fn messages(numbers: Range<u64>) -> Bundle<Outgoing> {
    Bundle::from(numbers.map(message).collect::<Vec<_>>())
}

/// What may be done beside writing.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Fate {
    /// Nobody else publishes.
    exclusive: bool,
    /// The processes that are replaced are only stopped, and go on.
    stale: bool,
    /// The server is killed, too.
    server: bool,
}

/// A process: its sink, and what it has prepared and not committed.
struct Process<S> {
    sink: S,
    prepared: Vec<Prepared>,
}

/// A job with its checkpoints.
struct Job<S, F: Fn() -> S> {
    make: F,
    process: Process<S>,
    stale: Vec<Process<S>>,
    attempt: u64,
    written: u64,
    /// The last checkpoint that was stored.
    stored: (u64, Vec<Prepared>),
    random: Random,
    fate: Fate,
    server: Server,
    /// Somebody else's messages.
    others: u64,
}

impl<S: Sink<Outgoing>, F: Fn() -> S> Job<S, F> {
    async fn write(&mut self) {
        let end = ALL.min(self.written + self.random.below(12));
        self.process.sink.write(messages(self.written..end)).await.unwrap();
        self.written = end;
    }

    async fn prepare(&mut self, stored: bool) {
        let prepared = self.process.sink.prepare().await.unwrap();
        let prepared: Prepared = serde_json::from_str(&prepared.to_string()).unwrap();
        if stored {
            // As checkpoints tell: all that is not known to be committed.
            let all = self.process.prepared.iter().chain([&prepared]).cloned().collect();
            self.stored = (self.written, all);
            self.process.prepared.push(prepared);
        }
    }

    async fn commit(&mut self) {
        for prepared in std::mem::take(&mut self.process.prepared) {
            for _ in 0..=self.random.below(2) {
                self.process.sink.commit(prepared.clone()).await.unwrap();
            }
        }
    }

    /// Is killed after a while that is drawn, wherever it is then.
    async fn commit_and_die(&mut self) {
        let most = Duration::from_micros(self.random.below(8_000));
        let Some(prepared) = self.process.prepared.first().cloned() else { return };
        tokio::select! {
            committed = self.process.sink.commit(prepared) => committed.unwrap(),
            () = clock::sleep(most) => {}
        }
        self.replace().await;
    }

    /// Another process goes on from the last checkpoint, and may be killed, too, while it begins.
    async fn replace(&mut self) {
        loop {
            self.attempt += 1;
            let process = Process { sink: (self.make)(), prepared: Vec::new() };
            let old = std::mem::replace(&mut self.process, process);
            if self.fate.stale && self.random.below(2) == 0 {
                self.stale.push(old);
            } else {
                std::mem::forget(old.sink);
            }
            self.written = self.stored.0;
            let most = Duration::from_micros(self.random.below(20_000));
            let begin = self.process.sink.begin(self.attempt, self.stored.1.clone());
            if self.random.below(3) == 0 {
                tokio::select! {
                    biased;
                    begun = begin => return begun.unwrap(),
                    () = clock::sleep(most) => {}
                }
            } else {
                return begin.await.unwrap();
            }
        }
    }

    /// A process that was replaced does something. Whether it fails is its own affair.
    async fn disturb(&mut self) {
        let count = self.stale.len() as u64;
        if count == 0 {
            return;
        }
        let stale = &mut self.stale[self.random.below(count) as usize];
        match self.random.below(3) {
            0 => drop(stale.sink.write(messages(0..9)).await),
            1 => drop(stale.sink.prepare().await),
            _ => {
                // In order of checkpoints.
                if !stale.prepared.is_empty() {
                    let _ = stale.sink.commit(stale.prepared.remove(0)).await;
                }
            }
        }
    }

    /// Somebody else publishes, with ids that look like some of ours.
    async fn other(&mut self) {
        if !self.fate.exclusive {
            let js = client(&self.server).await;
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("1-1-{}", self.others).as_str());
            // Once, for it has an id; but the server may be about to be there.
            while !published(&js, headers.clone()).await {}
            self.others += 1;
        }
    }

    async fn run(mut self) -> Server {
        self.process.sink.begin(1, Vec::new()).await.unwrap();
        self.prepare(true).await;
        while self.written < ALL {
            match self.random.below(12) {
                0..=3 => self.write().await,
                4 => self.other().await,
                5 => self.prepare(true).await,
                6 => self.commit().await,
                7 => {
                    let stored = self.random.below(2) == 0;
                    self.prepare(stored).await;
                    self.replace().await;
                }
                8 | 9 => self.commit_and_die().await,
                10 if self.fate.server && self.random.below(4) == 0 => {
                    self.server.kill();
                    self.server.restart();
                }
                _ => self.disturb().await,
            }
        }
        self.prepare(true).await;
        for _ in 0..self.random.below(4) {
            match self.random.below(3) {
                0 => self.commit_and_die().await,
                1 => self.commit().await,
                _ => {
                    self.commit().await;
                    // Killed just after it was closed.
                    self.process.sink.close().await.unwrap();
                }
            }
            self.replace().await;
            self.disturb().await;
        }
        self.commit().await;
        self.process.sink.close().await.unwrap();
        while !self.stale.is_empty() {
            self.disturb().await;
            if let Some(stale) = self.stale.pop() {
                std::mem::forget(stale.sink);
            }
        }
        self.server
    }
}

/// The numbers of our messages, in order of the stream; each is what it should be.
fn numbers(server: &Server) -> Vec<u64> {
    let all = ask(async { all(&client(server).await, "S").await });
    let ours = all.into_iter().filter(|told| told.subject != "s.other");
    let number = |payload: &[u8]| std::str::from_utf8(payload).unwrap().split(' ').next().unwrap().parse().unwrap();
    let read = |told: support::Told| {
        let number = number(&told.payload);
        let Outgoing { subject, payload, .. } = message(number);
        assert_eq!((subject, &payload[..]), (told.subject, &told.payload[..]));
        number
    };
    ours.map(read).collect()
}

async fn published(js: &async_nats::jetstream::Context, headers: HeaderMap) -> bool {
    match js.publish_with_headers("s.other", headers, "".into()).await {
        Ok(ack) => ack.await.is_ok(),
        Err(_) => false,
    }
}

fn sink(nats: &Nats, exclusive: bool) -> NatsSink {
    let sink = nats.sink("S").in_flight(5);
    if exclusive { sink.exclusive() } else { sink }
}

fn check(seed: u64, fate: Fate) {
    let server = Server::start();
    ask(async { make(&client(&server).await, stream("S", &["s.*"])).await });
    let nats = server.nats();
    let server = run(move || async move {
        let make = move || sink(&nats, fate.exclusive).messages();
        let process = Process { sink: make(), prepared: Vec::new() };
        let (stale, stored, random) = (Vec::new(), (0, Vec::new()), Random::new(seed));
        let job = Job { make, process, stale, attempt: 1, written: 0, stored, random, fate, server, others: 0 };
        job.run().await
    });
    let mut got = numbers(&server);
    if !fate.exclusive {
        // Where a process is killed in the middle of publishing, another may fill what it has left out.
        got.sort_unstable();
    }
    assert_eq!(got, Vec::from_iter(0..ALL));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_stream_has_each_message_once(seed in any::<u64>(), exclusive in any::<bool>(), stale in any::<bool>()) {
        check(seed, Fate { exclusive, stale, server: false });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn also_where_the_server_dies(seed in any::<u64>(), exclusive in any::<bool>(), stale in any::<bool>()) {
        check(seed, Fate { exclusive, stale, server: true });
    }
}

/// Long after the server has forgotten all ids.
#[test]
fn what_was_published_long_ago_is_not_published_again() {
    for exclusive in [false, true] {
        let server = Server::start();
        // It remembers ids for as long as it must, and then not at all.
        let window = Duration::from_secs(11);
        ask(async { make(&client(&server).await, Config { duplicate_window: window, ..stream("S", &["s.*"]) }).await });
        let nats = server.nats().retry(Duration::from_secs(1));
        let forget = |server: &Server| {
            ask(async {
                let js = client(server).await;
                let mut config = js.get_stream("S").await.unwrap().cached_info().config.clone();
                config.duplicate_window = Duration::from_millis(100);
                js.update_stream(&config).await.unwrap();
                tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(300)).await;
                config.duplicate_window = window;
                js.update_stream(&config).await.unwrap();
            });
        };
        let first = sink(&nats, exclusive).in_flight(1).messages();
        let prepared = run(move || async move {
            let mut sink = first;
            sink.begin(1, Vec::new()).await.unwrap();
            sink.write(messages(0..ALL)).await.unwrap();
            let prepared = sink.prepare().await.unwrap();
            tokio::select! {
                committed = sink.commit(prepared.clone()) => committed.unwrap(),
                () = clock::sleep(Duration::from_millis(15)) => {}
            }
            std::mem::forget(sink);
            prepared
        });
        forget(&server);
        let again = sink(&nats, exclusive).messages();
        run(move || async move {
            let mut sink = again;
            sink.begin(2, vec![prepared]).await.unwrap();
            sink.close().await.unwrap();
        });
        assert_eq!(numbers(&server), Vec::from_iter(0..ALL), "exclusive: {exclusive}");
    }
}

#[test]
fn nothing_is_left_that_waits() {
    let server = Server::start();
    ask(async { make(&client(&server).await, stream("S", &["s.*"])).await });
    let sink = server.nats().sink("S").messages();
    run(move || async move {
        let mut sink = sink;
        sink.begin(1, Vec::new()).await.unwrap();
        for part in 0..3 {
            sink.write(messages(part * 20..part * 20 + 20)).await.unwrap();
            let prepared = sink.prepare().await.unwrap();
            sink.commit(prepared).await.unwrap();
        }
        sink.write(messages(0..20)).await.unwrap();
        sink.prepare().await.unwrap();
        sink.close().await.unwrap();
    });
    assert_eq!(numbers(&server), Vec::from_iter(0..ALL));
    let left = ask(async { all(&client(&server).await, "S_staging").await });
    assert_eq!(left.len(), 1);
    assert!(left[0].subject.ends_with(".control"), "{left:?}");
}

#[test]
fn without_checkpoints_messages_are_published_as_they_come() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let server = Server::start();
        let sink = server.nats().sink("S").create(["s.*"]).guarantee(guarantee).in_flight(3).messages();
        run(move || async move {
            let mut sink = sink;
            sink.write(messages(0..40)).await.unwrap();
            sink.write(messages(40..ALL)).await.unwrap();
            sink.close().await.unwrap();
        });
        assert_eq!(numbers(&server), Vec::from_iter(0..ALL));
    }
}

/// All that was written is there when the checkpoint may be stored.
#[test]
fn at_least_once_is_at_least_once() {
    let server = Server::start();
    let sink = server.nats().sink("S").create(["s.*"]).guarantee(Guarantee::AtLeastOnce).messages();
    run(move || async move {
        let mut sink = sink;
        sink.begin(1, Vec::new()).await.unwrap();
        sink.write(messages(0..ALL)).await.unwrap();
        sink.prepare().await.unwrap();
        std::mem::forget(sink);
    });
    assert_eq!(numbers(&server), Vec::from_iter(0..ALL));
}

fn fails(sink: NatsSink, write: Vec<Outgoing>) -> String {
    run(move || async move {
        let mut sink = sink.messages();
        sink.begin(1, Vec::new()).await?;
        sink.write(Bundle::from(write)).await?;
        let prepared = sink.prepare().await?;
        sink.commit(prepared).await
    })
    .unwrap_err()
    .to_string()
}

#[test]
fn what_cannot_be_written_is_told() {
    let server = Server::with("max_payload: 100000");
    ask(async {
        let js = client(&server).await;
        make(&js, stream("S", &["s.*"])).await;
        make(&js, Config { duplicate_window: Duration::from_secs(2), ..stream("SHORT", &["short"]) }).await;
        make(
            &js,
            Config {
                max_messages: 3,
                discard: async_nats::jetstream::stream::DiscardPolicy::New,
                ..stream("FULL", &["full"])
            },
        )
        .await;
        make(&js, stream("BAD_staging", &["x"])).await;
        make(&js, stream("BAD", &["bad"])).await;
    });
    let nats = server.nats();
    let one = |subject: &str| vec![Outgoing::new(subject, "x")];
    let error = fails(nats.sink("NONE"), Vec::new());
    assert!(error.contains("stream 'NONE': is not there: make it, or have the sink make it"), "{error}");
    let error = fails(nats.sink("SHORT"), Vec::new());
    assert!(
        error.contains("remembers ids for 2s ('duplicate_window'), and 'retry' is 30s: make that window 40s"),
        "{error}"
    );
    let error = fails(nats.sink("BAD"), Vec::new());
    assert!(error.contains("stream 'BAD_staging': cannot keep what waits for a checkpoint"), "{error}");
    let error = fails(nats.sink("S"), one("t.1"));
    assert!(error.contains("subject 't.1' is none of stream 'S', which has 's.*'"), "{error}");
    let error = fails(nats.sink("S"), one("s.*"));
    assert!(error.contains("has a wildcard"), "{error}");
    let error = fails(nats.sink("S"), vec![Outgoing::new("s.1", vec![0; 100_000])]);
    assert!(
        error.contains("has 100000 bytes, and stream 'S' takes 99741 at most: raise the server's 'max_payload'"),
        "{error}"
    );
    let error = fails(nats.sink("S"), vec![Outgoing::new("s.1", "x").header("nats-msg-id", "1")]);
    assert!(error.contains("'nats-msg-id' is JetStream's own"), "{error}");
    let error =
        fails(nats.sink("S").staging("SMALL", 2_000), (0..20).map(|_| Outgoing::new("s.1", vec![0; 1_000])).collect());
    assert!(error.contains("is full") && error.contains("raise 'sink.staging.max-bytes'"), "{error}");
    let error = fails(
        server.nats().retry(Duration::from_secs(1)).sink("FULL").exclusive(),
        (0..5).map(|_| Outgoing::new("full", "x")).collect(),
    );
    assert!(error.contains("tried in vain for 1s: maximum messages exceeded"), "{error}");
}

#[test]
fn who_publishes_beside_an_exclusive_sink_is_told_of() {
    let server = Server::start();
    ask(async { make(&client(&server).await, stream("S", &["s.*"])).await });
    let sink = server.nats().sink("S").exclusive().in_flight(1).messages();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let url = server.url();
    let other = std::thread::spawn(move || {
        ask(async {
            let js = async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
            while stopped.try_recv().is_err() {
                js.publish("s.other", "".into()).await.unwrap().await.unwrap();
            }
        });
    });
    let error = run(move || async move {
        let mut sink = sink;
        sink.begin(1, Vec::new()).await.unwrap();
        for _ in 0..1_000 {
            sink.write(messages(0..50)).await.unwrap();
            let prepared = sink.prepare().await.unwrap();
            if let Err(error) = sink.commit(prepared).await {
                return error.to_string();
            }
        }
        panic!("nobody has noticed");
    });
    stop.send(()).unwrap();
    other.join().unwrap();
    assert!(error.contains("somebody else publishes to it, though 'sink.exclusive'"), "{error}");
}

#[test]
fn who_was_replaced_publishes_nothing() {
    let server = Server::start();
    ask(async { make(&client(&server).await, stream("S", &["s.*"])).await });
    let nats = server.nats();
    let error = run(move || async move {
        let (mut old, mut new) = (nats.sink("S").messages(), nats.sink("S").messages());
        old.begin(1, Vec::new()).await.unwrap();
        let first = old.prepare().await.unwrap();
        old.write(messages(0..5)).await.unwrap();
        let prepared = old.prepare().await.unwrap();
        new.begin(2, vec![first]).await.unwrap();
        old.commit(prepared).await.unwrap_err().to_string()
    });
    assert!(error.contains("another process has taken over the job"), "{error}");
    assert_eq!(numbers(&server), [0; 0]);
}
