//! Streams that are read: from random places, over restarts of the server, while messages are deleted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "what is around the job is no task of a kernel")]

mod support;

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use futures_util::TryStreamExt;
use proptest::prelude::*;
use support::{Random, Server, Told, all, ask, client, make, run, stream};
use updraft_dataflow::{Error, Partition, Place, Source, Time};
use updraft_kernel::clock;
use updraft_nats::{End, Message, NatsSource, Start};

fn told(message: Message) -> Told {
    Told { sequence: message.sequence, subject: message.subject, payload: message.payload.to_vec() }
}

/// What partitions give until they end.
async fn rest<P: Partition<Item = Message>>(partitions: Vec<P>) -> Result<Vec<Vec<Told>>, Error> {
    let mut parts = Vec::new();
    for mut partition in partitions {
        let mut part = Vec::new();
        while let Some(batch) = partition.next(100).await? {
            part.extend(batch.records.into_vec().into_iter().map(told));
        }
        parts.push(part);
    }
    Ok(parts)
}

fn read(source: NatsSource) -> Result<Vec<Vec<Told>>, String> {
    run(move || async move { rest(source.open()?).await }).map_err(|error: Error| error.to_string())
}

/// The same of one partition, as numbers.
fn sequences(source: NatsSource) -> Result<Vec<u64>, String> {
    read(source).map(|parts| parts.concat().iter().map(|told| told.sequence).collect())
}

async fn fill(js: &Context, random: &mut Random, count: u64) {
    let mut acks = Vec::new();
    for number in 0..count {
        let subject = format!("s.{}.{}", ["a", "b", "c"][random.below(3) as usize], random.below(5));
        let payload = format!("{number} {}", "x".repeat(random.below(200) as usize));
        acks.push(js.publish(subject, payload.into()).await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Read with breaks, by others who go on from places, each message comes once and in order.
    #[test]
    fn each_message_is_read_once(seed in any::<u64>(), ahead in 1usize..40, filtered in any::<bool>(), at_server in any::<bool>()) {
        let (server, mut random) = (Server::start(), Random::new(seed));
        let subjects: &[&str] = if filtered { &["s.a.*", "s.b.>", "s.x", "s.c.1"] } else { &[] };
        let want = ask(async {
            let js = client(&server).await;
            make(&js, stream("S", &["s.>"])).await;
            let count = random.below(300);
            fill(&js, &mut random, count).await;
            let of = js.get_stream("S").await.unwrap();
            // Some are there no more. This server cannot filter then.
            for _ in 0..if at_server { 0 } else { random.below(20) } {
                let _ = of.delete_message(1 + random.below(300)).await;
            }
            all(&js, "S").await
        });
        let source = server.nats().source("S").subjects(subjects.to_vec()).end(End::Latest).ahead(ahead, 1);
        let source = if at_server { source.filter_at_server(true) } else { source };
        let got = run(move || async move {
            let mut partitions = source.clone().open()?;
            let mut parts = vec![Vec::new(); partitions.len()];
            for _ in 0..random.below(4) {
                let mut places = Vec::new();
                for (partition, part) in partitions.iter_mut().zip(&mut parts) {
                    for _ in 0..random.below(4) {
                        let most = 1 + random.below(50) as usize;
                        let Some(batch) = partition.next(most).await? else { break };
                        assert!(batch.records.len() <= most);
                        part.extend(batch.records.into_vec().into_iter().map(told));
                    }
                    let place: Option<Place> = partition.place();
                    places.push(place.map(|place| serde_json::from_str(&place.to_string()).unwrap()));
                }
                partitions = source.clone().resume(places)?;
            }
            for (part, more) in parts.iter_mut().zip(rest(partitions).await?) {
                part.extend(more);
            }
            Ok::<_, Error>(parts)
        });
        let got = got.unwrap();
        if filtered {
            let of = |fits: &dyn Fn(&str) -> bool| want.iter().filter(|told| fits(&told.subject)).cloned().collect::<Vec<_>>();
            let want = [
                of(&|subject| subject.starts_with("s.a.")),
                of(&|subject| subject.starts_with("s.b.")),
                of(&|_| false),
                of(&|subject| subject == "s.c.1"),
            ];
            prop_assert!(got == want);
        } else {
            prop_assert!(got == [want]);
        }
    }
}

#[test]
fn a_server_that_dies_and_comes_back_is_read_on() {
    let mut server = Server::start();
    ask(async {
        let js = client(&server).await;
        make(&js, stream("S", &["s.>"])).await;
        fill(&js, &mut Random::new(7), 2_000).await;
    });
    let source = server.nats().source("S").end(End::Sequence(4_000)).ahead(50, 1);
    let (tell, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        run(move || async move {
            let (mut partition, mut got) = (source.open().unwrap().remove(0), Vec::new());
            while let Some(batch) = partition.next(20).await.unwrap() {
                got.extend(batch.records.into_vec().into_iter().map(|message| message.sequence));
                let _ = tell.send(got.len());
            }
            got
        })
    });
    let reached = |count| while heard.recv().unwrap() < count {};
    for count in [100, 700, 2_000] {
        reached(count);
        server.kill();
        server.restart();
    }
    ask(async {
        let js = client(&server).await;
        while js.get_stream("S").await.is_err() {}
        fill(&js, &mut Random::new(8), 2_000).await;
    });
    assert_eq!(reader.join().unwrap(), Vec::from_iter(1..=4_000));
}

#[test]
fn messages_that_are_gone_are_told() {
    let server = Server::start();
    let publish = |count: u64| {
        ask(async {
            fill(&client(&server).await, &mut Random::new(3), count).await;
        });
    };
    ask(async { make(&client(&server).await, Config { max_messages: 50, ..stream("S", &["s.>"]) }).await });
    publish(40);
    let source = server.nats().source("S").end(End::Latest);
    let (first, opened) = (source.clone(), source.clone());
    let place = run(move || async move {
        let mut partition = first.open().unwrap().remove(0);
        while partition.next(10).await.unwrap().is_some_and(|batch| batch.records.is_empty()) {}
        partition.place().unwrap()
    });
    let next = place["next"].as_u64().unwrap();
    assert!((2..=11).contains(&next), "{next}");
    publish(60);
    // 51 to 100 are left.
    let resume = |source: NatsSource| {
        let place = Place::clone(&place);
        run(move || async move {
            // It ends where it was to end when it began.
            rest(source.resume(vec![Some(place)])?).await.map(|parts| parts.concat().len())
        })
        .map_err(|error: Error| error.to_string())
    };
    let error = resume(source.clone()).unwrap_err();
    assert!(
        error.contains(&format!("stream 'S': messages {next} to 50 are gone"))
            && error.contains("'scan.fail-on-data-loss'"),
        "{error}"
    );
    let error = resume(source.clone().subjects(["s.a.>"])).unwrap_err();
    assert!(error.contains("now it is subjects 's.a.>' of stream 'S': read what was read before"), "{error}");
    assert_eq!(resume(source.skip_missing()), Ok(0));
    assert_eq!(sequences(opened).unwrap(), Vec::from_iter(51..=100));
}

/// They go while it reads: it notices though it has lost nothing that it was sent.
#[test]
fn messages_that_go_before_they_are_read_are_told() {
    let server = Server::start();
    ask(async {
        let js = client(&server).await;
        make(&js, Config { max_messages: 500, ..stream("S", &["s.>"]) }).await;
        fill(&js, &mut Random::new(3), 500).await;
    });
    let source = server.nats().source("S").ahead(10, 1);
    let mut partition = source.open().unwrap().remove(0);
    let (tell, told) = std::sync::mpsc::channel();
    let (go, went) = tokio::sync::oneshot::channel::<()>();
    let reader = std::thread::spawn(move || {
        run(move || async move {
            while partition.next(5).await.unwrap().unwrap().records.is_empty() {}
            tell.send(()).unwrap();
            went.await.unwrap();
            let mut last = 0;
            loop {
                match partition.next(1_000).await {
                    Ok(batch) => {
                        last = batch.unwrap().records.as_slice().last().map_or(last, |message| message.sequence)
                    }
                    Err(error) => return (last, error.to_string()),
                }
            }
        })
    });
    told.recv().unwrap();
    ask(async { fill(&client(&server).await, &mut Random::new(3), 2_000).await });
    go.send(()).unwrap();
    let (last, error) = reader.join().unwrap();
    // What was read ahead: two that wait, one in hand, one that was asked for.
    assert!(last <= 60, "{last}");
    assert!(error.contains(&format!("messages {} to 2000 are gone", last + 1)), "{last}: {error}");
}

#[test]
fn it_begins_and_ends_where_it_is_told() {
    let server = Server::start();
    let (before, between) = ask(async {
        let js = client(&server).await;
        make(&js, stream("S", &["s.>"])).await;
        let now = || Time(clock::wall().as_micros() as i64);
        let before = now();
        fill(&js, &mut Random::new(3), 10).await;
        let between = now();
        fill(&js, &mut Random::new(3), 10).await;
        (before, between)
    });
    let source = || server.nats().source("S").end(End::Latest);
    let after = Time(between.0 + 3_600_000_000);
    assert_eq!(sequences(source()).unwrap(), Vec::from_iter(1..=20));
    assert_eq!(sequences(source().start(Start::Latest)).unwrap(), [0; 0]);
    assert_eq!(sequences(source().start(Start::Sequence(18))).unwrap(), [18, 19, 20]);
    assert_eq!(sequences(source().start(Start::Time(between))).unwrap(), Vec::from_iter(11..=20));
    assert_eq!(sequences(source().start(Start::Time(before))).unwrap(), Vec::from_iter(1..=20));
    assert_eq!(sequences(source().start(Start::Time(after))).unwrap(), [0; 0]);
    assert_eq!(sequences(source().end(End::Time(between))).unwrap(), Vec::from_iter(1..=10));
    assert_eq!(sequences(source().end(End::Time(before))).unwrap(), [0; 0]);
    assert_eq!(sequences(source().end(End::Time(after))).unwrap(), Vec::from_iter(1..=20));
    assert_eq!(sequences(source().start(Start::Sequence(3)).end(End::Sequence(4))).unwrap(), [3, 4]);
    let error = sequences(source().start(Start::Sequence(22)).end(End::Never)).unwrap_err();
    assert!(error.contains("is to be read from message 22 on, and ends at 20"), "{error}");
}

#[test]
fn nobody_is_flooded() {
    let server = Server::start();
    ask(async {
        let js = client(&server).await;
        make(&js, stream("S", &["s.>"])).await;
        fill(&js, &mut Random::new(3), 5_000).await;
    });
    let source = server.nats().source("S").ahead(100, 1);
    let (tell, told) = std::sync::mpsc::channel();
    let (go, went) = tokio::sync::oneshot::channel::<()>();
    let reader = std::thread::spawn(move || {
        run(move || async move {
            let mut partition = source.open().unwrap().remove(0);
            while partition.next(1).await.unwrap().unwrap().records.is_empty() {}
            tell.send(()).unwrap();
            went.await.unwrap();
        });
    });
    told.recv().unwrap();
    let delivered = ask(async {
        let of = client(&server).await.get_stream("S").await.unwrap();
        let mut most = 0;
        // However often it is asked, it is never more.
        for _ in 0..50 {
            let consumers: Vec<_> = of.consumers().try_collect().await.unwrap();
            most = consumers.iter().map(|info| info.delivered.stream_sequence).chain([most]).max().unwrap();
            tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(5)).await;
        }
        most
    });
    go.send(()).unwrap();
    reader.join().unwrap();
    assert!((100..=500).contains(&delivered), "{delivered}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let server = Server::with("authorization { user: me, password: secret }");
    let nats = updraft_nats::Nats::at(server.url()).retry(Duration::from_millis(300));
    let error = sequences(nats.source("S")).unwrap_err();
    assert!(error.contains("does not let us in") && error.contains("'password'"), "{error}");
    let nats = nats.user("me", "secret");
    let error = sequences(nats.source("S")).unwrap_err();
    assert!(error.ends_with("there is no stream 'S': make it, or name another"), "{error}");
    ask(async {
        let login = async_nats::ConnectOptions::with_user_and_password("me".into(), "secret".into());
        let js = async_nats::jetstream::new(login.connect(server.url()).await.unwrap());
        make(&js, Config { retention: RetentionPolicy::WorkQueue, ..stream("S", &["s.>"]) }).await;
    });
    let error = sequences(nats.source("S")).unwrap_err();
    assert!(error.contains("stream 'S': deletes messages when they have been consumed"), "{error}");
    let error = sequences(nats.source("S").subjects(["s.*.a", "s.b.>"])).unwrap_err();
    assert!(error.contains("'s.*.a' and 's.b.>' have subjects in common"), "{error}");
    let error = sequences(nats.source("S.T")).unwrap_err();
    assert!(error.contains("'S.T': is no name of a stream"), "{error}");
    drop(server);
    let error = sequences(nats.source("S")).unwrap_err();
    assert!(error.contains("tried in vain for 300ms") && error.contains("raise 'retry'"), "{error}");
}

#[test]
fn a_stream_that_was_made_anew_is_another() {
    let server = Server::start();
    let again = || {
        ask(async {
            let js = client(&server).await;
            let _ = js.delete_stream("S").await;
            make(&js, stream("S", &["s.>"])).await;
            fill(&js, &mut Random::new(3), 30).await;
        });
    };
    again();
    let source = server.nats().source("S");
    let first = source.clone();
    let place = run(move || async move {
        let mut partition = first.open().unwrap().remove(0);
        while partition.next(10).await.unwrap().is_some_and(|batch| batch.records.is_empty()) {}
        partition.place().unwrap()
    });
    again();
    let error = run(move || async move { rest(source.resume(vec![Some(place)])?).await.map(drop) });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("stream 'S': was deleted and made anew since it was read"), "{error}");
}

#[test]
fn what_is_no_json_is_set_aside() {
    let server = Server::start();
    ask(async {
        let js = client(&server).await;
        make(&js, stream("S", &["s"])).await;
        for payload in ["1", "no", "[3]", "4"] {
            js.publish("s", payload.into()).await.unwrap().await.unwrap();
        }
    });
    let source = server.nats().source("S").end(End::Latest).json::<u64>();
    let (records, rejected) = run(move || async move {
        let (mut partition, mut records, mut rejected) = (source.open().unwrap().remove(0), Vec::new(), Vec::new());
        while let Some(batch) = partition.next(10).await.unwrap() {
            records.extend(batch.records.into_vec());
            rejected.extend(batch.rejected);
        }
        (records, rejected)
    });
    assert_eq!(records, [1, 4]);
    assert!(rejected[0].to_string().starts_with("S:2: expected ident"), "{}", rejected[0]);
    assert_eq!((rejected.len(), rejected[1].line, &*rejected[1].bytes), (2, 3, &b"[3]"[..]));
}
