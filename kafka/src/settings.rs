//! What the options of a table say, by the names that they have in Flink.

use std::collections::BTreeMap;

use updraft_connectors::table::options::duration;
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Options, Table};

use crate::client::Cluster;
use crate::moment::Moment;
use crate::sink::{Guarantee, Partitioner, Writes};
use crate::source::Reads;
use crate::topics::Topics;

/// Those that all tables of Kafka know.
pub(crate) const COMMON: [OptionSpec; 11] = [
    OptionSpec { name: "topic", about: "The topic; a source may read several, with ; between them." },
    OptionSpec { name: "properties.*", about: "A property of librdkafka's: properties.bootstrap.servers is needed." },
    OptionSpec { name: "scan.parallelism", about: "Partitions of the source at most; as many as the topics have." },
    OptionSpec {
        name: "scan.topic-partition-discovery.interval",
        about: "How often to look for new partitions: 5 min; 0 for never.",
    },
    OptionSpec {
        name: "scan.bounded.mode",
        about: "Where to end: unbounded, latest-offset, group-offsets, timestamp or specific-offsets.",
    },
    OptionSpec { name: "scan.bounded.specific-offsets", about: "As partition:0,offset:42;partition:1,offset:300." },
    OptionSpec { name: "scan.bounded.timestamp-millis", about: "Milliseconds since 1970." },
    OptionSpec { name: "sink.delivery-guarantee", about: "none, at-least-once (the default) or exactly-once." },
    OptionSpec { name: "sink.transactional-id-prefix", about: "For exactly-once: a name of the sink's alone." },
    OptionSpec { name: "sink.parallelism", about: "How many tasks may write; one does, whatever it says." },
    OptionSpec {
        name: "sink.partitioner",
        about: "Where messages go: default (by key), fixed (the first partition) or round-robin.",
    },
];

/// Those of a table that is not changed by key.
pub(crate) const APPENDING: [OptionSpec; 4] = [
    OptionSpec { name: "topic-pattern", about: "Topics by a regular expression, instead of 'topic'." },
    OptionSpec {
        name: "scan.startup.mode",
        about: "Where to begin: group-offsets (the default), earliest-offset, latest-offset, timestamp or specific-offsets.",
    },
    OptionSpec { name: "scan.startup.specific-offsets", about: "As partition:0,offset:42;partition:1,offset:300." },
    OptionSpec { name: "scan.startup.timestamp-millis", about: "Milliseconds since 1970." },
];

fn cluster(options: &Options) -> Result<Cluster, Error> {
    let mut cluster = Cluster::new(options.required("properties.bootstrap.servers")?);
    for (name, value) in options.iter() {
        if let Some(name) = name.strip_prefix("properties.") {
            cluster = cluster.property(name, value);
        }
    }
    Ok(cluster)
}

fn topics(options: &Options) -> Result<Topics, Error> {
    match (options.get("topic"), options.get("topic-pattern")) {
        (Some(_), Some(_)) => Err("'topic' and 'topic-pattern' say the same: leave one out".into()),
        (None, Some(pattern)) => Topics::matching(pattern)
            .map_err(|error| format!("option 'topic-pattern' = '{pattern}': not a regular expression: {error}").into()),
        (_, None) => {
            let names = options.required("topic")?.split(';').map(str::trim);
            let mut names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
            names.sort();
            names.dedup();
            if names.is_empty() { Err("option 'topic' = '': name a topic".into()) } else { Ok(Topics::Named(names)) }
        }
    }
}

/// What a table's source reads.
pub(crate) fn reads(table: &Table, upserting: bool) -> Result<Reads, Error> {
    let options = &table.options;
    let mut reads = Reads::new(cluster(options)?, topics(options)?);
    reads.start = if upserting { Moment::Earliest } else { moment(options, "scan.startup", "group-offsets")? };
    let stop = match options.get("scan.bounded.mode") {
        None if table.bounded => Some(Moment::Latest),
        None | Some("unbounded") => None,
        Some("earliest-offset") => {
            return Err("option 'scan.bounded.mode' = 'earliest-offset': nothing would be read".into());
        }
        Some(_) => Some(moment(options, "scan.bounded", "unbounded")?),
    };
    if table.bounded && stop.is_none() {
        let remedy = "set 'scan.bounded.mode' = 'latest-offset', or leave it out";
        return Err(format!("table `{}` has no end, but the job is to end: {remedy}", table.name).into());
    }
    reads.stop = stop;
    for moment in [Some(&reads.start), reads.stop.as_ref()] {
        if moment == Some(&Moment::Group) && reads.cluster.get("group.id").is_none() {
            let remedy = "name it, or set 'scan.startup.mode' = 'earliest-offset'";
            return Err(format!("'group-offsets' needs 'properties.group.id': {remedy}").into());
        }
    }
    if let Some(every) = duration(options, "scan.topic-partition-discovery.interval")? {
        reads.discovery = (!every.is_zero()).then_some(every);
    }
    if let Some(most) = options.parse::<usize>("scan.parallelism", "a number from 1 on")? {
        if most == 0 {
            return Err("option 'scan.parallelism' = '0': not a number from 1 on".into());
        }
        reads.partitions = Some(most);
    }
    Ok(reads)
}

/// Whether a table's source ends.
pub(crate) fn is_bounded(table: &Table) -> bool {
    table.bounded || table.options.get("scan.bounded.mode").is_some_and(|mode| mode != "unbounded")
}

fn moment(options: &Options, of: &str, usual: &str) -> Result<Moment, Error> {
    let named = |end: &str| format!("{of}.{end}");
    let mode = named("mode");
    match options.get(&mode).unwrap_or(usual) {
        "earliest-offset" => Ok(Moment::Earliest),
        "latest-offset" => Ok(Moment::Latest),
        "group-offsets" => Ok(Moment::Group),
        "timestamp" => {
            let name = named("timestamp-millis");
            options.required(&name)?;
            Ok(Moment::Timestamp(options.parse(&name, "milliseconds since 1970")?.unwrap_or_default()))
        }
        "specific-offsets" => {
            let name = named("specific-offsets");
            let text = options.required(&name)?;
            offsets(text).map(Moment::Offsets).ok_or_else(|| {
                format!(
                    "option '{name}' = '{text}': not offsets such as 'partition:0,offset:42;partition:1,offset:300'"
                )
                .into()
            })
        }
        other => {
            let known = "earliest-offset, latest-offset, group-offsets, timestamp and specific-offsets";
            Err(format!("option '{mode}' = '{other}': there are {known}").into())
        }
    }
}

/// `partition:0,offset:42;partition:1,offset:300`
fn offsets(text: &str) -> Option<BTreeMap<i32, i64>> {
    let mut offsets = BTreeMap::new();
    for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (partition, offset) = pair.split_once(',')?;
        let partition: i32 = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset: i64 = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        if partition < 0 || offset < 0 || offsets.insert(partition, offset).is_some() {
            return None;
        }
    }
    (!offsets.is_empty()).then_some(offsets)
}

/// What a table's sink writes to.
pub(crate) fn writes(table: &Table) -> Result<Writes, Error> {
    let options = &table.options;
    let topic = match topics(options)? {
        Topics::Named(names) if names.len() == 1 => names[0].clone(),
        topics => return Err(format!("'{}': a sink writes to one topic: name it by 'topic'", topics.name()).into()),
    };
    let guarantee = match options.get("sink.delivery-guarantee") {
        None | Some("at-least-once") => Guarantee::AtLeastOnce,
        Some("none") => Guarantee::None,
        Some("exactly-once") => {
            Guarantee::ExactlyOnce { prefix: options.required("sink.transactional-id-prefix")?.to_owned() }
        }
        Some(other) => {
            let known = "none, at-least-once and exactly-once";
            return Err(format!("option 'sink.delivery-guarantee' = '{other}': there are {known}").into());
        }
    };
    let partitioner = match options.get("sink.partitioner") {
        None | Some("default") => Partitioner::Default,
        Some("fixed") => Partitioner::Fixed,
        Some("round-robin") => Partitioner::RoundRobin,
        Some(other) => {
            let known = "default, fixed and round-robin";
            return Err(format!("option 'sink.partitioner' = '{other}': there are {known}").into());
        }
    };
    Ok(Writes::new(cluster(options)?, topic).guarantee(guarantee).partitioner(partitioner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_flink_writes_them() {
        let read = offsets("partition:0,offset:42;partition:1,offset:300");
        assert_eq!(read, Some(BTreeMap::from([(0, 42), (1, 300)])));
        for wrong in ["", "0:42", "partition:0", "partition:x,offset:1", "partition:0,offset:1;partition:0,offset:2"] {
            assert_eq!(offsets(wrong), None, "{wrong}");
        }
    }
}
