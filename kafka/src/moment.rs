//! Where a source begins and where it ends: moments, which are made offsets of each partition before anything is read.

use std::collections::BTreeMap;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use updraft_dataflow::Error;

use crate::client::{Cluster, Context, PATIENCE, asked};

/// A partition of a topic.
pub(crate) type Spot = (String, i32);

/// Where reading begins, or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// With what is oldest.
    Earliest,
    /// After what is newest.
    Latest,
    /// Where the group `group.id` has committed that it stands.
    Group,
    /// With the first message of that time, in milliseconds since 1970, or of a later one.
    Timestamp(i64),
    /// At these offsets, by partition. Others begin with what is oldest, and do not end.
    Offsets(BTreeMap<i32, i64>),
}

/// What is asked before anything is read.
pub(crate) struct Asking<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) consumer: &'a BaseConsumer<Context>,
}

impl Asking<'_> {
    /// The partitions of topics; of all that there are, unless `topic` names one.
    pub(crate) fn partitions(&self, topic: Option<&str>) -> Result<Vec<Spot>, Error> {
        let failed = |error: &dyn std::fmt::Display| self.unreachable("cannot be asked for topics", error);
        let metadata = asked(|| self.consumer.fetch_metadata(topic, PATIENCE)).map_err(|error| failed(&error))?;
        let mut spots = Vec::new();
        for found in metadata.topics() {
            match found.error().map(RDKafkaErrorCode::from) {
                None => spots.extend(found.partitions().iter().map(|part| (found.name().to_owned(), part.id()))),
                Some(code) if topic.is_none() => tracing::warn!("topic `{}` is passed over: {code}", found.name()),
                Some(code) => return Err(self.told(found.name(), None, code)),
            }
        }
        if let Some(topic) = topic
            && spots.is_empty()
        {
            return Err(self.told(topic, None, RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        spots.sort();
        Ok(spots)
    }

    /// The oldest offset that there is, and the one after the newest.
    pub(crate) fn range(&self, (topic, partition): &Spot) -> Result<(i64, i64), Error> {
        asked(|| self.consumer.fetch_watermarks(topic, *partition, PATIENCE))
            .map_err(|error| self.failed(topic, *partition, &error))
    }

    /// The offset of a moment in each partition; `None` where an end is none.
    pub(crate) fn offsets(&self, moment: &Moment, spots: &[Spot]) -> Result<Vec<Option<i64>>, Error> {
        match moment {
            Moment::Earliest => spots.iter().map(|spot| Ok(Some(self.range(spot)?.0))).collect(),
            Moment::Latest => spots.iter().map(|spot| Ok(Some(self.range(spot)?.1))).collect(),
            Moment::Offsets(offsets) => Ok(spots.iter().map(|(_, part)| offsets.get(part).copied()).collect()),
            Moment::Group => {
                let group = self.cluster.get("group.id").unwrap_or_default();
                let wanted = list(spots, |_| Offset::Invalid)?;
                let committed =
                    asked(|| self.consumer.committed_offsets(wanted.clone(), PATIENCE)).map_err(|error| {
                        self.unreachable(&format!("cannot be asked where group '{group}' stands"), &error)
                    })?;
                let found = |spot: &Spot| match offset_in(&committed, spot) {
                    Some(Offset::Offset(offset)) => Ok(Some(offset)),
                    _ => self.reset(spot, group),
                };
                spots.iter().map(found).collect()
            }
            Moment::Timestamp(time) => {
                let wanted = list(spots, |_| Offset::Offset(*time))?;
                let found = asked(|| self.consumer.offsets_for_times(wanted.clone(), PATIENCE))
                    .map_err(|error| self.unreachable("cannot be asked for times", &error))?;
                let offset = |spot: &Spot| match offset_in(&found, spot) {
                    Some(Offset::Offset(offset)) => Ok(Some(offset)),
                    _ => Ok(Some(self.range(spot)?.1)),
                };
                spots.iter().map(offset).collect()
            }
        }
    }

    /// Where to begin in a partition of which a group has not committed anything.
    fn reset(&self, spot: &Spot, group: &str) -> Result<Option<i64>, Error> {
        match self.cluster.get("auto.offset.reset") {
            Some("earliest" | "smallest" | "beginning") => Ok(Some(self.range(spot)?.0)),
            Some("latest" | "largest" | "end") => Ok(Some(self.range(spot)?.1)),
            _ => {
                let (topic, partition) = spot;
                let remedy = "set 'scan.startup.mode' = 'earliest-offset', or 'properties.auto.offset.reset'";
                Err(format!(
                    "topic `{topic}`, partition {partition}: group '{group}' has committed no offset: {remedy}"
                )
                .into())
            }
        }
    }

    fn unreachable(&self, what: &str, error: &dyn std::fmt::Display) -> Error {
        let (servers, heard) = (self.cluster.name(), self.consumer.context().heard());
        let remedy = "check 'properties.bootstrap.servers', and that a broker runs there";
        format!("Kafka at {servers} {what}: {error}{heard}; {remedy}").into()
    }

    fn failed(&self, topic: &str, partition: i32, error: &KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(code @ (RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                self.told(topic, Some(partition), code)
            }
            Some(code @ RDKafkaErrorCode::UnknownPartition) => self.told(topic, Some(partition), code),
            _ => self.unreachable(&format!("cannot be asked for topic `{topic}`, partition {partition}"), error),
        }
    }

    fn told(&self, topic: &str, partition: Option<i32>, code: RDKafkaErrorCode) -> Error {
        told(self.cluster, topic, partition, code)
    }
}

/// What is wrong with a topic, and what to do about it.
pub(crate) fn told(cluster: &Cluster, topic: &str, partition: Option<i32>, code: RDKafkaErrorCode) -> Error {
    use RDKafkaErrorCode as Code;
    let partition = partition.map(|partition| format!(", partition {partition}")).unwrap_or_default();
    let (what, remedy) = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            ("is not there".to_owned(), "create it, or correct 'topic'")
        }
        Code::TopicAuthorizationFailed => {
            ("may not be used".to_owned(), "have its owner grant it, or check 'properties.sasl.…'")
        }
        code => (format!("cannot be used: {code}"), "see the log of the broker"),
    };
    format!("topic `{topic}`{partition} {what} at {}: {remedy}", cluster.name()).into()
}

/// A list of partitions as librdkafka has it.
pub(crate) fn list(spots: &[Spot], offset: impl Fn(usize) -> Offset) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::with_capacity(spots.len());
    for (at, (topic, partition)) in spots.iter().enumerate() {
        list.add_partition_offset(topic, *partition, offset(at))?;
    }
    Ok(list)
}

fn offset_in(list: &TopicPartitionList, (topic, partition): &Spot) -> Option<Offset> {
    list.find_partition(topic, *partition).map(|found| found.offset())
}
