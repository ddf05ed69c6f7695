//! The options of tables.

use updraft_connectors::table::options::{at_least_one, bytes, duration, flag};
use updraft_dataflow::connector::{OptionSpec, Options, Table};
use updraft_dataflow::{Error, Time};

use super::template::Template;
use crate::connection::Nats;
use crate::sink::{Guarantee, NatsSink};
use crate::source::{End, NatsSource, Start};

pub(super) const OPTIONS: [OptionSpec; 28] = [
    OptionSpec {
        name: "url",
        about: "The server, as nats://host:port; several of a cluster with commas between them.",
    },
    OptionSpec { name: "stream", about: "The stream that is read, or written to." },
    OptionSpec {
        name: "subject",
        about: "What is read of it, with wildcards; or what is written to: orders.{country} has a column in it.",
    },
    OptionSpec { name: "subjects", about: "What is read of it: patterns with ; between them, each a partition." },
    OptionSpec { name: "username", about: "Who logs in." },
    OptionSpec { name: "password", about: "The same's password." },
    OptionSpec { name: "token", about: "Logs in, instead." },
    OptionSpec { name: "credentials", about: "A file of credentials that logs in, instead (feature nkeys)." },
    OptionSpec { name: "nkey", about: "The seed of a key that logs in, instead (feature nkeys)." },
    OptionSpec { name: "tls.ca", about: "A file of certificates of who signs those of servers (feature tls)." },
    OptionSpec { name: "retry", about: "For how long to try where no server answers; 1 min by default." },
    OptionSpec { name: "scan.startup.mode", about: "earliest (the default), latest, timestamp or sequence." },
    OptionSpec { name: "scan.startup.timestamp-millis", about: "Where 'timestamp' begins, since 1970." },
    OptionSpec { name: "scan.startup.sequence", about: "Where 'sequence' begins." },
    OptionSpec {
        name: "scan.bounded.mode",
        about: "unbounded (the default, but in batch mode), latest, timestamp or sequence.",
    },
    OptionSpec { name: "scan.bounded.timestamp-millis", about: "Where 'timestamp' ends, since 1970: before it." },
    OptionSpec { name: "scan.bounded.sequence", about: "Where 'sequence' ends: with it." },
    OptionSpec {
        name: "scan.fail-on-data-loss",
        about: "Whether it is an error that messages were deleted before they were read; true by default.",
    },
    OptionSpec {
        name: "scan.filter.at-server",
        about: "Whether the server leaves out other subjects; by default those from version 2.10 on do.",
    },
    OptionSpec { name: "scan.fetch.messages", about: "How many messages are asked for at a time; 1000 by default." },
    OptionSpec { name: "scan.fetch.bytes", about: "How many bytes, about; 4 mb by default." },
    OptionSpec { name: "sink.delivery-guarantee", about: "exactly-once (the default) or at-least-once." },
    OptionSpec { name: "sink.exclusive", about: "Whether nobody else publishes to the stream; false by default." },
    OptionSpec {
        name: "sink.staging.stream",
        about: "Where messages wait for their checkpoint; STREAM_staging by default.",
    },
    OptionSpec { name: "sink.staging.max-bytes", about: "How many bytes may wait there; 1 gb by default." },
    OptionSpec {
        name: "sink.in-flight",
        about: "How many messages may be without an acknowledgement; 256 by default.",
    },
    OptionSpec {
        name: "sink.create-stream",
        about: "Whether the stream is made if it is not there; false by default.",
    },
    OptionSpec {
        name: "sink.create-stream.subjects",
        about: "The subjects that it gets, with ; between them; that of 'subject' by default.",
    },
];

pub(super) fn is_bounded(table: &Table) -> bool {
    match table.options.get("scan.bounded.mode") {
        None => table.bounded,
        Some(mode) => mode != "unbounded",
    }
}

/// The server, and how to log in.
fn nats(options: &Options) -> Result<Nats, Error> {
    let mut nats = Nats::at(options.required("url")?);
    match (options.get("username"), options.get("password"), options.get("token")) {
        (None, None, None) => {}
        (Some(name), Some(password), None) => nats = nats.user(name, password),
        (None, None, Some(token)) => nats = nats.token(token),
        _ => return Err("log in with 'username' and 'password', or with 'token': give the one or the other".into()),
    }
    #[cfg(feature = "nkeys")]
    {
        if let Some(file) = options.get("credentials") {
            nats = nats.credentials(file);
        }
        if let Some(seed) = options.get("nkey") {
            nats = nats.nkey(seed);
        }
    }
    #[cfg(feature = "tls")]
    if let Some(file) = options.get("tls.ca") {
        nats = nats.authorities(file);
    }
    for (name, feature, is_there) in [
        ("credentials", "nkeys", cfg!(feature = "nkeys")),
        ("nkey", "nkeys", cfg!(feature = "nkeys")),
        ("tls.ca", "tls", cfg!(feature = "tls")),
    ] {
        if options.get(name).is_some() && !is_there {
            return Err(format!(
                "option '{name}': this program was built without it: build it with the feature `{feature}`"
            )
            .into());
        }
    }
    if let Some(limit) = duration(options, "retry")? {
        nats = nats.retry(limit);
    }
    nats.check()?;
    Ok(nats)
}

/// A moment of `scan.WHICH.timestamp-millis`, a number of `scan.WHICH.sequence`.
fn point<T>(
    options: &Options,
    which: &str,
    of_time: impl Fn(Time) -> T,
    of_sequence: impl Fn(u64) -> T,
) -> Result<(Option<T>, Option<T>), Error> {
    let millis: Option<u64> =
        options.parse(&format!("scan.{which}.timestamp-millis"), "a number of milliseconds since 1970")?;
    let sequence = at_least_one(options, &format!("scan.{which}.sequence"))?;
    let time = |millis: u64| Time(i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000));
    Ok((millis.map(|millis| of_time(time(millis))), sequence.map(of_sequence)))
}

/// What a mode stands for: one that needs no number, or one that does.
fn mode<T>(
    options: &Options,
    which: &str,
    plain: &[(&str, T)],
    numbers: (Option<T>, Option<T>),
) -> Result<Option<T>, Error>
where
    T: Copy,
{
    let (name, (millis, sequence)) = (format!("scan.{which}.mode"), numbers);
    let needs = |number: Option<T>, of: &str| match number {
        Some(value) => Ok(Some(value)),
        None => {
            Err(format!("'{name}' = '{}' needs 'scan.{which}.{of}'", options.get(&name).unwrap_or_default()).into())
        }
    };
    match options.get(&name) {
        Some("timestamp") => needs(millis, "timestamp-millis"),
        Some("sequence") => needs(sequence, "sequence"),
        other if millis.is_some() || sequence.is_some() => Err(format!(
            "'scan.{which}.timestamp-millis' and '.sequence' are of no meaning with '{name}' = '{}': make that 'timestamp' or 'sequence'",
            other.unwrap_or("unsaid")
        )
        .into()),
        None => Ok(None),
        Some(mode) => match plain.iter().find(|(known, _)| *known == mode) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let known = plain.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
                Err(format!("option '{name}' = '{mode}': none of {known}, timestamp and sequence").into())
            }
        },
    }
}

pub(super) fn source(table: &Table) -> Result<NatsSource, Error> {
    let options = &table.options;
    let mut source = nats(options)?.source(options.required("stream")?);
    let patterns = match (options.get("subject"), options.get("subjects")) {
        (Some(_), Some(_)) => {
            return Err("'subject' and 'subjects' are the same when a table is read: leave one out".into());
        }
        (Some(one), None) => vec![one],
        (None, Some(some)) => some.split(';').map(str::trim).collect(),
        (None, None) => Vec::new(),
    };
    source = source.subjects(patterns);
    let start = mode(
        options,
        "startup",
        &[("earliest", Start::Earliest), ("latest", Start::Latest)],
        point(options, "startup", Start::Time, Start::Sequence)?,
    )?;
    let end = mode(
        options,
        "bounded",
        &[("unbounded", End::Never), ("latest", End::Latest)],
        point(options, "bounded", End::Time, End::Sequence)?,
    )?;
    if table.bounded && end == Some(End::Never) {
        return Err("has no end ('scan.bounded.mode' = 'unbounded'), but the job is to end: leave that out, or say where it ends".into());
    }
    let whole = if table.bounded { End::Latest } else { End::Never };
    source = source.start(start.unwrap_or_default()).end(end.unwrap_or(whole));
    if flag(options, "scan.fail-on-data-loss")? == Some(false) {
        source = source.skip_missing();
    }
    if let Some(at_server) = flag(options, "scan.filter.at-server")? {
        source = source.filter_at_server(at_server);
    }
    let messages =
        at_least_one(options, "scan.fetch.messages")?.map_or(source.messages, |count| count.min(100_000) as usize);
    let size = bytes(options, "scan.fetch.bytes")?.unwrap_or(source.bytes);
    let source = source.ahead(messages, size);
    source.check()?;
    Ok(source)
}

pub(super) fn sink(table: &Table, template: &Template) -> Result<NatsSink, Error> {
    let options = &table.options;
    let stream = options.required("stream")?;
    let mut sink = nats(options)?.sink(stream);
    sink = match options.get("sink.delivery-guarantee") {
        None | Some("exactly-once") => sink,
        Some("at-least-once") => sink.guarantee(Guarantee::AtLeastOnce),
        Some(other) => {
            return Err(format!(
                "option 'sink.delivery-guarantee' = '{other}': neither 'exactly-once' nor 'at-least-once'"
            )
            .into());
        }
    };
    if flag(options, "sink.exclusive")? == Some(true) {
        sink = sink.exclusive();
    }
    let staging = options.get("sink.staging.stream").map_or_else(|| format!("{stream}_staging"), str::to_owned);
    let most = bytes(options, "sink.staging.max-bytes")?.map_or(1 << 30, |bytes| bytes as u64);
    sink = sink.staging(staging, most);
    if let Some(messages) = at_least_one(options, "sink.in-flight")? {
        sink = sink.in_flight(messages.min(4_096) as usize);
    }
    if flag(options, "sink.create-stream")? == Some(true) {
        // A token that a column is part of may be any.
        let any = template.pattern("*");
        let tokens = any.split('.').map(|token| if token.contains('*') { "*" } else { token });
        let own = tokens.collect::<Vec<_>>().join(".");
        let subjects = options.get("sink.create-stream.subjects").unwrap_or(&own);
        sink = sink.create(subjects.split(';').map(str::trim));
    }
    Ok(sink)
}
