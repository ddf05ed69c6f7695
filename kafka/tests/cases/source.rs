//! What a source gives: all of it, in order, from wherever it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use updraft_dataflow::{Error, Partition, Place, Source};
use updraft_kafka::{Cluster, KafkaMessage, KafkaPartition, Moment, Reads, Topics};

use crate::broker::Broker;
use crate::client::{Random, put, run, transaction};

fn reads(broker: &Broker, topic: &str) -> Reads {
    // It believes that a topic is gone after a second, not after half a minute.
    let cluster = Cluster::new(broker.servers())
        .property("topic.metadata.propagation.max.ms", "1000")
        .property("topic.metadata.refresh.interval.ms", "500");
    Reads::new(cluster, Topics::Named(vec![topic.into()]))
}

fn text(message: &KafkaMessage) -> String {
    String::from_utf8(message.value.clone().unwrap()).unwrap()
}

/// The values that a partition gives until it ends, or has given `most`.
async fn drain(partition: &mut KafkaPartition<KafkaMessage>, limit: usize, most: usize) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    while all.len() < most
        && let Some(batch) = partition.next(limit.min(most - all.len())).await?
    {
        all.extend(batch.records.as_slice().iter().map(text));
    }
    Ok(all)
}

/// What each partition of a source gives until it ends.
fn all(reads: Reads) -> Result<Vec<Vec<String>>, Error> {
    let partitions = reads.source().open()?;
    run(move || async move {
        let mut all = Vec::new();
        for mut partition in partitions {
            all.push(drain(&mut partition, 100, usize::MAX).await?);
        }
        Ok(all)
    })
}

fn error(reads: Reads) -> String {
    all(reads).unwrap_err().to_string()
}

/// Two partitions of a topic `t` with three and two messages.
fn two() -> Broker {
    let broker = Broker::start();
    broker.topic("t", 2);
    put(&broker.servers(), "t", 0, ["a", "b", "c"]);
    put(&broker.servers(), "t", 1, ["x", "y"]);
    broker
}

#[test]
fn a_topic_is_read_from_here_to_there() {
    let broker = two();
    let to_end = || reads(&broker, "t").until(Moment::Latest);
    assert_eq!(all(to_end()).unwrap(), [vec!["a", "b", "c"], vec!["x", "y"]]);
    assert_eq!(all(to_end().from(Moment::Latest)).unwrap(), [vec![""; 0], vec![]]);
    let from = Moment::Offsets(BTreeMap::from([(0, 1), (1, 2)]));
    assert_eq!(all(to_end().from(from)).unwrap(), [vec!["b", "c"], vec![]]);
    let until = Moment::Offsets(BTreeMap::from([(0, 2), (1, 0)]));
    assert_eq!(all(to_end().until(until)).unwrap(), [vec!["a", "b"], vec![]]);
    assert_eq!(all(to_end().partitions(1)).unwrap().len(), 1);
    let mut together = all(to_end().partitions(1)).unwrap().concat();
    together.sort();
    assert_eq!(together, ["a", "b", "c", "x", "y"]);
}

#[test]
fn topics_are_found_by_their_names() {
    let broker = two();
    broker.topic("t2", 1);
    broker.topic("other", 1);
    put(&broker.servers(), "t2", 0, ["2"]);
    put(&broker.servers(), "other", 0, ["o"]);
    let like = |pattern: &str| {
        let topics = Topics::matching(pattern).unwrap();
        all(Reads::new(Cluster::new(broker.servers()), topics).until(Moment::Latest))
    };
    assert_eq!(like("t.?").unwrap(), [vec!["a", "b", "c"], vec!["x", "y"], vec!["2"]]);
    let error = like("none").unwrap_err().to_string();
    assert!(error.contains("matches '^(?:none)$': correct 'topic-pattern'"), "{error}");
}

#[test]
fn a_group_says_where_to_begin() {
    let broker = two();
    let group = |reset: Option<&str>| {
        let cluster = Cluster::new(broker.servers()).property("group.id", "g");
        let cluster = reset.into_iter().fold(cluster, |cluster, reset| cluster.property("auto.offset.reset", reset));
        Reads::new(cluster, Topics::Named(vec!["t".into()])).from(Moment::Group).until(Moment::Latest)
    };
    let error = error(group(None));
    assert!(error.contains("topic `t`, partition 0: group 'g' has committed no offset"), "{error}");
    assert_eq!(all(group(Some("earliest"))).unwrap().concat().len(), 5);
    // It has told the group how far it came.
    while broker.committed("g", "t", 0).is_none_or(|(offset, _)| offset < 3) {
        std::thread::sleep(Duration::from_millis(10));
    }
    put(&broker.servers(), "t", 0, ["d"]);
    assert_eq!(all(group(Some("earliest"))).unwrap()[0], ["d"]);
    broker.forget_group("g");
    assert_eq!(all(group(Some("latest"))).unwrap().concat().len(), 0);
}

#[test]
fn a_group_is_told_what_checkpoints_have_stored() {
    let broker = two();
    let cluster = Cluster::new(broker.servers()).property("group.id", "g");
    let partitions = Reads::new(cluster, Topics::Named(vec!["t".into()])).source().open().unwrap();
    let mut partition = partitions.into_iter().next().unwrap();
    let (_partition, place) = run(move || async move {
        assert_eq!(drain(&mut partition, 1, 2).await.unwrap(), ["a", "b"]);
        let place = partition.place().unwrap();
        // It goes on before that is stored.
        assert_eq!(drain(&mut partition, 1, 1).await.unwrap(), ["c"]);
        partition.stored(&place);
        (partition, place)
    });
    let told = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(10));
        broker.committed("g", "t", 0)
    });
    let offset = told.into_iter().flatten().next().map(|(offset, _)| offset);
    assert_eq!(offset, Some(2), "{place}");
}

#[test]
fn what_was_aborted_is_not_there() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let servers = broker.servers();
    put(&servers, "t", 0, ["a"]);
    drop(transaction(&servers, "one", "t", &["b", "c"], Some(false)));
    drop(transaction(&servers, "two", "t", &["d"], Some(true)));
    // The last thing in the log is no message.
    assert_eq!(all(reads(&broker, "t").until(Moment::Latest)).unwrap(), [["a", "d"]]);
    let dirty = Cluster::new(&*servers).property("isolation.level", "read_uncommitted");
    let dirty = Reads::new(dirty, Topics::Named(vec!["t".into()]));
    assert_eq!(all(dirty.until(Moment::Latest)).unwrap(), [["a", "b", "c", "d"]]);
    // What is open hides what comes after it.
    let open = transaction(&servers, "three", "t", &["e"], None);
    put(&servers, "t", 0, ["f"]);
    assert_eq!(all(reads(&broker, "t").until(Moment::Latest)).unwrap(), [["a", "d"]]);
    drop(open);
}

#[test]
fn errors_name_topic_partition_and_remedy() {
    let broker = two();
    let to_end = |topic| reads(&broker, topic).until(Moment::Latest);
    let servers = broker.servers();
    assert_eq!(error(to_end("none")), format!("topic `none` is not there at {servers}: create it, or correct 'topic'"));
    broker.truncate("t", 0, 2);
    let begin = |offset| to_end("t").from(Moment::Offsets(BTreeMap::from([(0, offset), (1, 0)])));
    for offset in [1, 9] {
        let error = error(begin(offset));
        let expected =
            format!("topic `t`, partition 0: offset {offset} is not there (there are 2 to 3): messages were deleted");
        assert!(error.starts_with(&expected), "{error}");
    }
    let nobody = Reads::new(Cluster::new("127.0.0.1:1"), Topics::Named(vec!["t".into()]));
    let error = error(nobody);
    assert!(error.contains("check 'properties.bootstrap.servers', and that a broker runs there"), "{error}");
    let wrong = Cluster::new(servers).property("fetch.mini.bytes", "1");
    let wrong = Reads::new(wrong, Topics::Named(vec!["t".into()])).source().open().unwrap_err().to_string();
    assert!(wrong.starts_with("'properties.fetch.mini.bytes' = '1': "), "{wrong}");
}

#[test]
fn what_is_deleted_while_it_is_read_is_told() {
    let broker = two();
    let mut partitions = reads(&broker, "t").source().open().unwrap();
    let mut first = partitions.remove(0);
    let (mut first, read) = run(move || async move {
        let read = drain(&mut first, 10, 3).await;
        (first, read)
    });
    assert_eq!(read.unwrap(), ["a", "b", "c"]);
    broker.delete_topic("t");
    let error = run(move || async move { drain(&mut first, 10, 1).await }).unwrap_err().to_string();
    assert!(error.contains("topic `t`, partition 0 is not there at"), "{error}");
}

/// Reads 600 messages of three partitions with breaks: each time another process goes on.
#[test]
fn who_goes_on_reads_what_was_not_read() {
    let broker = Broker::start();
    broker.topic("t", 3);
    let mut expected = vec![Vec::new(); 3];
    for partition in 0..3 {
        let values: Vec<String> = (0..200).map(|n| format!("{partition}-{n}")).collect();
        put(&broker.servers(), "t", partition, &values);
        expected[partition as usize] = values;
    }
    broker.lose(17);
    for seed in 1..6 {
        let mut random = Random(seed * 0x9E37_79B9);
        let mut places: Vec<Option<Place>> = vec![None; 3];
        let mut given = vec![Vec::new(); 3];
        while given.iter().map(Vec::len).sum::<usize>() < 600 {
            let source = reads(&broker, "t").until(Moment::Latest).source();
            let partitions = source.resume(places.clone()).unwrap();
            let counts: Vec<usize> = (0..3).map(|_| random.below(90) as usize).collect();
            let (read, stand) = run(move || async move {
                let (mut read, mut stand) = (Vec::new(), Vec::new());
                for (mut partition, count) in partitions.into_iter().zip(counts) {
                    read.push(drain(&mut partition, 7, count).await.unwrap());
                    // As text, as it is kept.
                    stand.push(partition.place().map(|place| place.to_string()));
                }
                (read, stand)
            });
            places = stand.into_iter().map(|place| place.map(|place| serde_json::from_str(&place).unwrap())).collect();
            given.iter_mut().zip(read).for_each(|(given, read)| given.extend(read));
        }
        assert_eq!(given, expected, "seed {seed}");
    }
}

#[test]
fn partitions_that_are_new_are_read_from_their_beginning() {
    let broker = two();
    let every = Some(Duration::from_millis(50));
    let source = || reads(&broker, "t").from(Moment::Latest).discover(every).source();
    let mut partitions = source().open().unwrap();
    broker.topic("t", 4);
    put(&broker.servers(), "t", 2, ["new"]);
    put(&broker.servers(), "t", 3, ["newer"]);
    // The first partition looks for them; they are dealt out to both.
    let (mut second, mut first) = (partitions.remove(1), partitions.remove(0));
    let (values, places) = run(move || async move {
        let mut values = drain(&mut first, 10, 1).await.unwrap();
        values.extend(drain(&mut second, 10, 1).await.unwrap());
        (values, vec![first.place(), second.place()])
    });
    assert_eq!(values, ["new", "newer"]);
    // Who goes on has them, where they are now.
    put(&broker.servers(), "t", 3, ["next"]);
    let mut partitions = source().resume(places).unwrap();
    let mut second = partitions.remove(1);
    assert_eq!(run(move || async move { drain(&mut second, 10, 1).await.unwrap() }), ["next"]);
}

/// Nobody takes messages out: no more than some are fetched.
#[test]
fn what_nobody_takes_is_not_fetched() {
    let broker = Broker::start();
    broker.topic("t", 1);
    let large = "x".repeat(100_000);
    put(&broker.servers(), "t", 0, (0..400).map(|_| large.clone()));
    let cluster = Cluster::new(broker.servers()).property("queued.max.messages.kbytes", "2048");
    let source = Reads::new(cluster, Topics::Named(vec!["t".into()])).until(Moment::Latest).source();
    let mut partitions = source.open().unwrap();
    let mut only = partitions.remove(0);
    let (mut only, first) = run(move || async move {
        let first = drain(&mut only, 1, 1).await.unwrap();
        (only, first)
    });
    assert_eq!(first.len(), 1);
    // As long as the broker is asked for more, what is fetched grows.
    let mut sent = broker.sent();
    loop {
        std::thread::sleep(Duration::from_millis(700));
        let now = broker.sent();
        if now == sent {
            break;
        }
        sent = now;
    }
    assert!(sent < 10 << 20, "{sent} bytes were fetched of 40 million");
    assert_eq!(run(move || async move { drain(&mut only, 50, usize::MAX).await.unwrap().len() }), 399);
}
