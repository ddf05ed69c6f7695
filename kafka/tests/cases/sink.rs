//! What a sink has written, whatever became of those who did.

use updraft_dataflow::{Bundle, Error, Prepared, Sink};
use updraft_kafka::{Cluster, Guarantee, KafkaSink, Messages, Outgoing, Partitioner, Writes};

use crate::broker::Broker;
use crate::client::{Random, run, seen, values};

/// How many messages a job writes.
const ALL: u64 = 60;

fn sink(servers: &str, guarantee: Guarantee) -> KafkaSink<Messages> {
    // It believes that a topic is not there after a second, not after half a minute.
    let cluster = Cluster::new(servers).property("topic.metadata.propagation.max.ms", "1000");
    Writes::new(cluster, "t").guarantee(guarantee).sink()
}

fn exactly_once() -> Guarantee {
    Guarantee::ExactlyOnce { prefix: "job".into() }
}

fn messages(values: impl IntoIterator<Item = String>) -> Bundle<Outgoing> {
    let message = |value: String| Outgoing { value: Some(value.into_bytes()), ..Outgoing::default() };
    values.into_iter().map(message).collect::<Vec<_>>().into()
}

/// A process: its sink, and what it has prepared and not committed.
struct Process {
    sink: KafkaSink<Messages>,
    prepared: Vec<Prepared>,
}

/// A job with its checkpoints.
struct Job {
    servers: String,
    process: Process,
    stale: Vec<Process>,
    attempt: u64,
    written: u64,
    /// The last checkpoint that was stored.
    stored: (u64, Vec<Prepared>),
    random: Random,
    lost: u64,
}

impl Job {
    async fn write(&mut self) -> Result<(), Error> {
        let end = ALL.min(self.written + 1 + self.random.below(12));
        let values = (self.written..end).map(|number| number.to_string());
        self.written = end;
        self.process.sink.write(messages(values)).await
    }

    async fn prepare(&mut self, stored: bool) -> Result<(), Error> {
        let prepared = self.process.sink.prepare().await?;
        // As text, as it is kept.
        let prepared: Prepared = serde_json::from_str(&prepared.to_string()).unwrap();
        if stored {
            self.process.prepared.push(prepared);
            // All that is not committed is prepared with it.
            self.stored = (self.written, self.process.prepared.clone());
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Error> {
        for prepared in std::mem::take(&mut self.process.prepared) {
            self.process.sink.commit(prepared).await?;
        }
        Ok(())
    }

    /// Another process goes on from the last checkpoint. The one before is killed, or stopped.
    async fn replace(&mut self) -> Result<(), Error> {
        self.attempt += 1;
        let process = Process { sink: sink(&self.servers, exactly_once()), prepared: Vec::new() };
        let old = std::mem::replace(&mut self.process, process);
        if self.random.below(2) == 0 {
            self.stale.push(old)
        } else {
            // Its threads go on for a while, as packets do that are on their way.
            std::mem::forget(old.sink)
        }
        self.written = self.stored.0;
        self.process.sink.begin(self.attempt, self.stored.1.clone()).await?;
        self.process.prepared.clear();
        Ok(())
    }

    /// A process that was replaced does something; whether it fails is its own affair.
    async fn disturb(&mut self) {
        let Some(stale) = self.stale.last_mut() else { return };
        match self.random.below(3) {
            0 => drop(stale.sink.write(messages(["stale".to_owned()])).await),
            1 => drop(stale.sink.prepare().await),
            _ => match stale.prepared.pop() {
                Some(prepared) => drop(stale.sink.commit(prepared).await),
                None => drop(self.stale.pop()),
            },
        }
    }

    async fn run(&mut self, broker: &Broker) -> Result<(), Error> {
        self.process.sink.begin(1, Vec::new()).await?;
        self.prepare(true).await?;
        while self.written < ALL {
            match self.random.below(10) {
                0..=3 => self.write().await?,
                4 | 5 => self.prepare(true).await?,
                6 => self.commit().await?,
                7 | 8 => {
                    let stored = self.random.below(2) == 0;
                    self.prepare(stored).await?;
                    if self.random.below(2) == 0 {
                        self.lost += 1;
                        broker.expire();
                    }
                    self.replace().await?;
                }
                _ => self.disturb().await,
            }
        }
        self.prepare(true).await?;
        if self.random.below(2) == 0 {
            // What was prepared was open for too long.
            broker.expire();
        }
        if self.random.below(2) == 0 {
            self.replace().await?;
        }
        self.commit().await?;
        Sink::<Outgoing>::close(&mut self.process.sink).await?;
        self.disturb().await;
        // Once more, there is nothing to do.
        self.replace().await?;
        self.disturb().await;
        Sink::<Outgoing>::close(&mut self.process.sink).await
    }
}

fn check(seed: u64, lossy: u64) {
    let broker = Broker::start();
    broker.topic("t", 3);
    broker.lose(lossy);
    let servers = broker.servers();
    let (broker, servers) = run(move || async move {
        let process = Process { sink: sink(&servers, exactly_once()), prepared: Vec::new() };
        let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let stored = (0, Vec::new());
        let mut job = Job { servers, process, stale: Vec::new(), attempt: 1, written: 0, stored, random, lost: 0 };
        let done = job.run(&broker).await;
        assert!(done.is_ok(), "seed {seed}: {}", done.unwrap_err());
        let servers = job.servers.clone();
        std::mem::forget(job);
        (broker, servers)
    });
    broker.lose(0);
    let mut all: Vec<u64> = (0..3).flat_map(|part| values(&servers, "t", part)).map(|v| v.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..ALL).collect::<Vec<_>>(), "seed {seed}");
    assert_eq!(broker.open(), 0, "seed {seed}: readers have to wait");
}

fn seeds() -> u64 {
    std::env::var("UPDRAFT_CRASHES").map_or(5, |crashes| crashes.parse().unwrap())
}

#[test]
fn each_message_is_there_once() {
    (1..=seeds()).for_each(|seed| check(seed, 0));
}

#[test]
fn each_message_is_there_once_though_answers_get_lost() {
    (1..=seeds().div_ceil(2)).for_each(|seed| check(seed + 1_000, 13));
}

/// Prepares messages, and dies.
fn prepared(broker: &Broker, values: &'static [&'static str]) -> Prepared {
    let servers = broker.servers();
    run(move || async move {
        let mut sink = sink(&servers, exactly_once());
        sink.begin(1, Vec::new()).await.unwrap();
        sink.write(messages(values.iter().map(|value| (*value).to_owned()))).await.unwrap();
        let prepared = Sink::<Outgoing>::prepare(&mut sink).await.unwrap();
        std::mem::forget(sink);
        prepared
    })
}

/// Goes on from what was prepared.
fn begun(servers: &str, attempt: u64, prepared: Prepared) -> Result<(), Error> {
    let servers = servers.to_owned();
    run(move || async move {
        let mut sink = sink(&servers, exactly_once());
        Sink::<Outgoing>::begin(&mut sink, attempt, vec![prepared]).await?;
        Sink::<Outgoing>::close(&mut sink).await
    })
}

#[test]
fn what_was_prepared_is_not_seen_before_it_is_committed_and_once_then() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let servers = broker.servers();
    let prepared = prepared(&broker, &["a", "b"]);
    assert_eq!(values(&servers, "t", 0), [""; 0]);
    assert_eq!(seen(&servers, "t", 0, "read_uncommitted").len(), 2);
    for attempt in 2..5 {
        begun(&servers, attempt, prepared.clone()).unwrap();
        assert_eq!(values(&servers, "t", 0), ["a", "b"]);
    }
    // Who was replaced before it began does no harm either.
    let error = begun(&servers, 3, prepared).unwrap_err().to_string();
    assert!(error.contains("another process has taken over"), "{error}");
    assert_eq!(values(&servers, "t", 0), ["a", "b"]);
}

#[test]
fn what_cannot_be_written_once_more_is_told() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let prepared = prepared(&broker, &["a", "b"]);
    broker.truncate("t", 0, 1);
    let error = begun(&broker.servers(), 2, prepared).unwrap_err().to_string();
    assert!(error.starts_with("topic `t`, partition 0: what was prepared at offset 0 is gone"), "{error}");
    assert!(error.contains("retention.ms"), "{error}");
}

#[test]
fn whether_it_was_committed_is_not_guessed() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let prepared = prepared(&broker, &["a"]);
    broker.forget_group(&format!("job-progress-{}", prepared["run"].as_str().unwrap()));
    let error = begun(&broker.servers(), 2, prepared).unwrap_err().to_string();
    assert!(error.contains("offsets.retention.minutes"), "{error}");
}

/// Of two that have begun anew neither knows of the other.
#[test]
fn who_began_anew_and_comes_late_does_no_harm() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let servers = broker.servers();
    let prepared = prepared(&broker, &["a", "b"]);
    run(move || async move {
        let mut stale = sink(&servers, exactly_once());
        stale.begin(1, Vec::new()).await.unwrap();
        stale.write(messages(["stale".to_owned()])).await.unwrap();
        Sink::<Outgoing>::prepare(&mut stale).await.unwrap();
        std::mem::forget(stale);
    });
    begun(&broker.servers(), 3, prepared).unwrap();
    assert_eq!(values(&broker.servers(), "t", 0), ["a", "b"]);
}

#[test]
fn a_transaction_must_not_last_longer_than_brokers_allow() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let cluster = Cluster::new(broker.servers()).property("transaction.timeout.ms", "3600000");
    let error = run(move || async move {
        let mut sink = Writes::new(cluster, "t").guarantee(exactly_once()).sink();
        Sink::<Outgoing>::begin(&mut sink, 1, Vec::new()).await
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("brokers' transaction.max.timeout.ms"), "{error}");
}

fn plainly(servers: String, guarantee: Guarantee, values: Vec<String>) -> Result<(), Error> {
    run(move || async move {
        let mut sink = sink(&servers, guarantee);
        sink.write(messages(values)).await?;
        Sink::<Outgoing>::close(&mut sink).await
    })
}

#[test]
fn without_transactions_all_is_there_at_the_end() {
    for guarantee in [Guarantee::None, Guarantee::AtLeastOnce] {
        let broker = Broker::start();
        broker.topic("t", 1);
        broker.lose(if guarantee == Guarantee::None { 0 } else { 7 });
        let wanted: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        plainly(broker.servers(), guarantee, wanted.clone()).unwrap();
        assert_eq!(values(&broker.servers(), "t", 0), wanted);
    }
}

#[test]
fn errors_say_what_to_do() {
    let broker = Broker::start();
    let error = |guarantee, value: String| plainly(broker.servers(), guarantee, vec![value]).unwrap_err().to_string();
    let none = error(Guarantee::AtLeastOnce, "x".into());
    assert!(
        none.starts_with("topic `t` of Kafka at 127.0.0.1:") && none.contains("create it, or correct 'topic'"),
        "{none}"
    );
    broker.topic("t", 1);
    let large = error(Guarantee::AtLeastOnce, "x".repeat(2_000_000));
    assert!(
        large.contains("a message of 2000000 bytes") && large.contains("'properties.message.max.bytes'"),
        "{large}"
    );
    let stateless = error(exactly_once(), "x".into());
    assert!(stateless.contains("run it with --state"), "{stateless}");
}

#[test]
fn partitions_are_chosen_as_said() {
    let broker = Broker::start();
    broker.topic("t", 3);
    let write = |partitioner, values: Vec<&'static str>| {
        let writes = Writes::new(Cluster::new(broker.servers()), "t").partitioner(partitioner);
        run(move || async move {
            let mut sink = writes.sink();
            let message = |value: &&str| Outgoing {
                key: Some(value.as_bytes().to_vec()),
                value: Some(value.as_bytes().to_vec()),
                ..Outgoing::default()
            };
            sink.write(values.iter().map(message).collect::<Vec<_>>().into()).await.unwrap();
            Sink::<Outgoing>::close(&mut sink).await.unwrap();
        });
    };
    let counts = || [0, 1, 2].map(|part| values(&broker.servers(), "t", part).len());
    write(Partitioner::RoundRobin, vec!["a"; 6]);
    assert_eq!(counts(), [2, 2, 2]);
    write(Partitioner::Fixed, vec!["a"; 3]);
    assert_eq!(counts(), [5, 2, 2]);
    // murmur2 of "foo" and "21", as Java's client and its tests have it: see Utils.murmur2 of Apache Kafka.
    let partition = |hash: i32| ((hash & 0x7fff_ffff) % 3) as usize;
    let mut expected = counts();
    expected[partition(-973_932_308)] += 1;
    expected[partition(-790_332_482)] += 1;
    write(Partitioner::Default, vec!["21", "foobar"]);
    assert_eq!(counts(), expected);
}
