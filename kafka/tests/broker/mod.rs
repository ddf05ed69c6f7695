//! A broker of Kafka in memory, to be written to and read from by any client: one node, which does with transactions what Kafka's
//! protocol says, so that what only goes wrong when a process dies can be made to go wrong. It shares nothing with the crate that is tested
//! but the wire: requests are read by the `kafka-protocol` crate, clients are librdkafka's.
//!
//! It keeps record batches as they come, gives them offsets, and knows of producers what a broker knows: epochs, sequences, which
//! transaction is open, what was aborted. Transactions end by what producers say, and by [`Broker::expire`]; no clock does it.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

/// The versions that it speaks: without those of which it would have to know more.
const VERSIONS: [(ApiKey, i16, i16); 14] = [
    (ApiKey::ApiVersions, 0, 2),
    (ApiKey::Metadata, 1, 4),
    (ApiKey::Produce, 3, 7),
    (ApiKey::Fetch, 4, 4),
    (ApiKey::ListOffsets, 1, 2),
    (ApiKey::FindCoordinator, 1, 2),
    (ApiKey::InitProducerId, 0, 1),
    (ApiKey::AddPartitionsToTxn, 0, 1),
    (ApiKey::AddOffsetsToTxn, 0, 1),
    (ApiKey::TxnOffsetCommit, 0, 2),
    (ApiKey::EndTxn, 0, 1),
    (ApiKey::OffsetCommit, 2, 3),
    (ApiKey::OffsetFetch, 1, 7),
    (ApiKey::LeaveGroup, 0, 1),
];

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const INVALID_TRANSACTION_TIMEOUT: i16 = 50;
const UNSTABLE_OFFSET_COMMIT: i16 = 88;

/// What brokers allow unless told otherwise.
const MAX_TIMEOUT: i32 = 900_000;

/// A broker that runs until it is dropped.
pub(crate) struct Broker {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Rung when something was written.
    written: Condvar,
    /// One of so many answers gets lost, though what was asked is done; none where it is 0.
    lossy: AtomicU64,
    answers: AtomicU64,
    /// Bytes of answers.
    sent: AtomicU64,
    connections: Mutex<Vec<TcpStream>>,
    port: AtomicU64,
    ended: Mutex<bool>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Vec<Log>>,
    /// Offset and metadata by group, topic and partition.
    groups: BTreeMap<(String, String, i32), (i64, String)>,
    transactions: BTreeMap<String, Transaction>,
    producers: i64,
}

#[derive(Default)]
struct Log {
    batches: Vec<Batch>,
    start: i64,
    next: i64,
    /// First offsets of the transactions that are open, by producer.
    open: BTreeMap<i64, i64>,
    /// Producer, first offset, and where it was aborted.
    aborted: Vec<(i64, i64, i64)>,
    sequences: BTreeMap<i64, Sequences>,
}

/// What a producer has written last.
#[derive(Default)]
struct Sequences {
    epoch: i16,
    next: i32,
    /// First sequences of the last batches, and their offsets.
    last: Vec<(i32, i64)>,
}

struct Batch {
    base: i64,
    last: i64,
    newest: i64,
    control: bool,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Transaction {
    producer: i64,
    epoch: i16,
    open: bool,
    partitions: BTreeSet<(String, i32)>,
    offsets: Vec<((String, String, i32), (i64, String))>,
}

impl Log {
    fn stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.next)
    }

    /// Appends a batch that a producer has sent: its first offset, or why not.
    fn append(&mut self, mut bytes: Vec<u8>, in_transaction: impl Fn(i64, i16) -> Result<(), i16>) -> Result<i64, i16> {
        let number = |from: usize, length: usize| {
            bytes[from..from + length].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        assert_eq!(bytes[16], 2, "batches are of the second magic");
        let (attributes, count) = (number(21, 2), number(57, 4) as i64);
        let (producer, epoch, first) = (number(43, 8) as i64, number(51, 2) as i16, number(53, 4) as i32);
        let newest = number(35, 8) as i64;
        let transactional = attributes & 0x10 != 0;
        if transactional {
            in_transaction(producer, epoch)?;
        }
        if producer >= 0 {
            let known = self.sequences.entry(producer).or_default();
            if epoch < known.epoch {
                return Err(INVALID_PRODUCER_EPOCH);
            }
            if epoch > known.epoch {
                *known = Sequences { epoch, ..Sequences::default() };
            }
            if let Some((_, offset)) = known.last.iter().find(|(sequence, _)| *sequence == first) {
                return Ok(*offset);
            }
            if first != known.next {
                return Err(OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
            known.next = first + count as i32;
            known.last.push((first, self.next));
            if known.last.len() > 5 {
                known.last.remove(0);
            }
            if transactional {
                self.open.entry(producer).or_insert(self.next);
            }
        }
        Ok(self.push(bytes.as_mut_slice(), count, newest, false))
    }

    fn push(&mut self, bytes: &mut [u8], count: i64, newest: i64, control: bool) -> i64 {
        let base = self.next;
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        self.next += count;
        self.batches.push(Batch { base, last: self.next - 1, newest, control, bytes: bytes.to_vec() });
        base
    }

    /// Ends what a producer has open.
    fn end(&mut self, producer: i64, epoch: i16, commit: bool) {
        let Some(first) = self.open.remove(&producer) else { return };
        if !commit {
            self.aborted.push((producer, first, self.next));
        }
        let record = Record {
            transactional: true,
            control: true,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: producer,
            producer_epoch: epoch,
            timestamp_type: TimestampType::Creation,
            offset: 0,
            sequence: -1,
            timestamp: 0,
            key: Some(vec![0, 0, 0, u8::from(commit)].into()),
            value: Some(vec![0; 6].into()),
            headers: Default::default(),
        };
        let mut bytes = Vec::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
        self.push(&mut bytes, 1, 0, true);
    }
}

impl State {
    fn log(&mut self, topic: &str, partition: i32) -> Result<&mut Log, i16> {
        let logs = self.topics.get_mut(topic).ok_or(UNKNOWN_TOPIC_OR_PARTITION)?;
        logs.get_mut(partition as usize).ok_or(UNKNOWN_TOPIC_OR_PARTITION)
    }

    /// Ends a transaction.
    fn end(&mut self, id: &str, commit: bool) {
        let Some(transaction) = self.transactions.get_mut(id) else { return };
        let (producer, epoch) = (transaction.producer, transaction.epoch);
        let (partitions, offsets) =
            (std::mem::take(&mut transaction.partitions), std::mem::take(&mut transaction.offsets));
        transaction.open = false;
        for (topic, partition) in partitions {
            if let Ok(log) = self.log(&topic, partition) {
                log.end(producer, epoch, commit);
            }
        }
        if commit {
            self.groups.extend(offsets);
        }
    }

    /// The transaction of a producer, if it is its own still.
    fn transaction(&mut self, id: &str, producer: i64, epoch: i16) -> Result<&mut Transaction, i16> {
        match self.transactions.get_mut(id) {
            Some(found) if found.producer != producer => Err(INVALID_PRODUCER_ID_MAPPING),
            None => Err(INVALID_PRODUCER_ID_MAPPING),
            Some(found) if found.epoch != epoch => Err(INVALID_PRODUCER_EPOCH),
            Some(found) => Ok(found),
        }
    }
}

impl Broker {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            written: Condvar::new(),
            lossy: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            connections: Mutex::default(),
            port: AtomicU64::new(port.into()),
            ended: Mutex::new(false),
        });
        let accepting = shared.clone();
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if *accepting.ended.lock().unwrap() {
                    return;
                }
                accepting.connections.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = accepting.clone();
                let serve = move || drop(shared.serve(stream));
                std::thread::Builder::new().spawn(serve).unwrap();
            }
        };
        std::thread::Builder::new().spawn(accept).unwrap();
        Self { port, shared }
    }

    pub(crate) fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Makes a topic, or gives it more partitions.
    pub(crate) fn topic(&self, name: &str, partitions: usize) {
        self.state().topics.entry(name.into()).or_default().resize_with(partitions, Log::default);
    }

    pub(crate) fn delete_topic(&self, name: &str) {
        self.state().topics.remove(name);
    }

    /// Deletes what is before `offset`, as retention does.
    pub(crate) fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        let mut state = self.state();
        let log = state.log(topic, partition).unwrap();
        log.start = offset;
        log.batches.retain(|batch| batch.last >= offset);
    }

    /// Aborts all transactions that are open, as if they had been for too long.
    pub(crate) fn expire(&self) {
        let mut state = self.state();
        let open: Vec<_> =
            state.transactions.iter().filter(|(_, found)| found.open).map(|(id, _)| id.clone()).collect();
        for id in open {
            // Its producer is fenced off.
            state.transactions.get_mut(&id).unwrap().epoch += 1;
            state.end(&id, false);
        }
        self.shared.written.notify_all();
    }

    /// One of so many answers gets lost from now on, with its connection.
    pub(crate) fn lose(&self, one_of: u64) {
        self.shared.lossy.store(one_of, Ordering::Relaxed);
    }

    /// Bytes that it has sent, but for small change: answers that say nothing.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed) >> 16 << 16
    }

    /// What a group has committed.
    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
        self.state().groups.get(&(group.into(), topic.into(), partition)).cloned()
    }

    pub(crate) fn forget_group(&self, group: &str) {
        self.state().groups.retain(|(name, _, _), _| name != group);
    }

    /// Transactions that are open.
    pub(crate) fn open(&self) -> usize {
        self.state().transactions.values().filter(|found| found.open).count()
    }

    /// Messages that were ever written to a topic, and ends of transactions.
    pub(crate) fn written(&self, topic: &str) -> u64 {
        self.state().topics[topic].iter().map(|log| log.next as u64).sum()
    }

    /// How many transactions were aborted in partitions of a topic.
    pub(crate) fn aborted(&self, topic: &str) -> usize {
        self.state().topics[topic].iter().map(|log| log.aborted.len()).sum()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        *self.shared.ended.lock().unwrap() = true;
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request)?;
            let key = ApiKey::try_from(i16::from_be_bytes([request[0], request[1]])).unwrap();
            let version = i16::from_be_bytes([request[2], request[3]]);
            let mut bytes = bytes::Bytes::from(request);
            let header = RequestHeader::decode(&mut bytes, key.request_header_version(version)).unwrap();
            let known = VERSIONS.iter().any(|(api, from, to)| *api == key && (*from..=*to).contains(&version));
            let (answer, version) = match key {
                // Who asks for too much hears what there is, in the oldest words.
                ApiKey::ApiVersions if !known => (Some(versions(35)), 0),
                _ if !known => panic!("{key:?} of version {version}"),
                _ => (self.answer(RequestKind::decode(key, &mut bytes, version).unwrap(), version), version),
            };
            self.written.notify_all();
            let Some(answer) = answer else { continue };
            let lossy = self.lossy.load(Ordering::Relaxed);
            let count = self.answers.fetch_add(1, Ordering::Relaxed);
            if lossy > 0 && key != ApiKey::ApiVersions && count % lossy == lossy - 1 {
                return stream.shutdown(Shutdown::Both);
            }
            let mut body = bytes::BytesMut::new();
            let head = ResponseHeader::default().with_correlation_id(header.correlation_id);
            head.encode(&mut body, key.response_header_version(version)).unwrap();
            answer.encode(&mut body, version).unwrap();
            let mut framed = (body.len() as u32).to_be_bytes().to_vec();
            framed.extend(body);
            self.sent.fetch_add(framed.len() as u64, Ordering::Relaxed);
            stream.write_all(&framed)?;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer(&self, request: RequestKind, version: i16) -> Option<ResponseKind> {
        Some(match request {
            RequestKind::ApiVersions(_) => versions(0),
            RequestKind::Metadata(request) => ResponseKind::Metadata(self.metadata(&request)),
            RequestKind::Produce(request) => return self.produce(request).map(ResponseKind::Produce),
            RequestKind::Fetch(request) => ResponseKind::Fetch(self.fetch(&request)),
            RequestKind::ListOffsets(request) => ResponseKind::ListOffsets(self.list_offsets(&request)),
            RequestKind::FindCoordinator(_) => ResponseKind::FindCoordinator(
                FindCoordinatorResponse::default()
                    .with_node_id(BrokerId(1))
                    .with_host(StrBytes::from_static_str("127.0.0.1"))
                    .with_port(self.port()),
            ),
            RequestKind::InitProducerId(request) => ResponseKind::InitProducerId(self.init(&request)),
            RequestKind::AddPartitionsToTxn(request) => ResponseKind::AddPartitionsToTxn(self.add_partitions(request)),
            RequestKind::AddOffsetsToTxn(request) => {
                let mut state = self.state();
                let id = &request.transactional_id.0;
                let found = state.transaction(id, request.producer_id.0, request.producer_epoch);
                let error = found.map(|found| found.open = true).err().unwrap_or(0);
                ResponseKind::AddOffsetsToTxn(AddOffsetsToTxnResponse::default().with_error_code(error))
            }
            RequestKind::TxnOffsetCommit(request) => ResponseKind::TxnOffsetCommit(self.commit_in_transaction(request)),
            RequestKind::EndTxn(request) => {
                let mut state = self.state();
                let id = request.transactional_id.0.to_string();
                let found = state.transaction(&id, request.producer_id.0, request.producer_epoch);
                let error = found.map(drop).err().unwrap_or(0);
                if error == 0 {
                    state.end(&id, request.committed);
                }
                ResponseKind::EndTxn(EndTxnResponse::default().with_error_code(error))
            }
            RequestKind::OffsetCommit(request) => ResponseKind::OffsetCommit(self.commit(request)),
            RequestKind::OffsetFetch(request) => ResponseKind::OffsetFetch(self.committed(&request, version)),
            RequestKind::LeaveGroup(_) => ResponseKind::LeaveGroup(LeaveGroupResponse::default()),
            other => panic!("{other:?}"),
        })
    }

    fn port(&self) -> i32 {
        self.port.load(Ordering::Relaxed) as i32
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let state = self.state();
        let names: Vec<String> = match &request.topics {
            Some(topics) => {
                topics.iter().flat_map(|topic| topic.name.as_ref()).map(|name| name.0.to_string()).collect()
            }
            None => state.topics.keys().cloned().collect(),
        };
        let topic = |name: String| {
            let logs = state.topics.get(&name).map_or(0, Vec::len);
            let partition = |index: usize| {
                MetadataResponsePartition::default()
                    .with_partition_index(index as i32)
                    .with_leader_id(BrokerId(1))
                    .with_replica_nodes(vec![BrokerId(1)])
                    .with_isr_nodes(vec![BrokerId(1)])
            };
            metadata_response::MetadataResponseTopic::default()
                .with_error_code(if logs > 0 { 0 } else { UNKNOWN_TOPIC_OR_PARTITION })
                .with_name(Some(TopicName(name.into())))
                .with_partitions((0..logs).map(partition).collect())
        };
        use metadata_response::{MetadataResponseBroker, MetadataResponsePartition};
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(1))
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(self.port());
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_controller_id(BrokerId(1))
            .with_topics(names.into_iter().map(topic).collect())
    }

    fn produce(&self, request: ProduceRequest) -> Option<ProduceResponse> {
        use produce_response::{PartitionProduceResponse, TopicProduceResponse};
        let mut state = self.state();
        let id = request.transactional_id.as_ref().map(|id| id.0.to_string());
        let mut topics = Vec::new();
        for topic in request.topic_data {
            let name = topic.name.0.to_string();
            let mut partitions = Vec::new();
            for data in topic.partition_data {
                let spot = (name.clone(), data.index);
                let transaction = id.as_ref().and_then(|id| state.transactions.get(id));
                let known = transaction.map(|found| (found.producer, found.epoch, found.partitions.contains(&spot)));
                let in_transaction = |producer, epoch| match known {
                    Some((of, newest, has)) if of == producer && newest == epoch => {
                        if has {
                            Ok(())
                        } else {
                            Err(INVALID_TXN_STATE)
                        }
                    }
                    _ => Err(INVALID_PRODUCER_EPOCH),
                };
                let bytes = data.records.unwrap_or_default().to_vec();
                let done = state.log(&name, data.index).and_then(|log| log.append(bytes, in_transaction));
                partitions.push(
                    PartitionProduceResponse::default()
                        .with_index(data.index)
                        .with_error_code(done.err().unwrap_or(0))
                        .with_base_offset(done.unwrap_or(-1))
                        .with_log_append_time_ms(-1),
                );
            }
            topics.push(TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions));
        }
        (request.acks != 0).then(|| ProduceResponse::default().with_responses(topics))
    }

    /// Waits for something to be there, for as long as it may.
    fn fetch(&self, request: &FetchRequest) -> FetchResponse {
        let mut left = request.max_wait_ms.clamp(0, 500) as u64;
        loop {
            let (answer, is_empty) = self.fetch_now(request);
            if !is_empty || left == 0 || *self.ended.lock().unwrap() {
                return answer;
            }
            let step = left.min(20);
            left -= step;
            drop(self.written.wait_timeout(self.state(), Duration::from_millis(step)).unwrap());
        }
    }

    fn fetch_now(&self, request: &FetchRequest) -> (FetchResponse, bool) {
        use fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
        let mut state = self.state();
        let (mut is_empty, committed) = (true, request.isolation_level == 1);
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for wanted in &topic.partitions {
                let mut data = PartitionData::default().with_partition_index(wanted.partition);
                let log = match state.log(&topic.topic.0, wanted.partition) {
                    Ok(log) if (log.start..=log.next).contains(&wanted.fetch_offset) => log,
                    other => {
                        is_empty = false;
                        let error = other.err().unwrap_or(OFFSET_OUT_OF_RANGE);
                        partitions.push(data.with_error_code(error).with_high_watermark(-1));
                        continue;
                    }
                };
                let end = if committed { log.stable() } else { log.next };
                let from = wanted.fetch_offset;
                let mut bytes = Vec::new();
                for batch in log.batches.iter().filter(|batch| batch.last >= from && batch.base < end) {
                    if !bytes.is_empty() && bytes.len() + batch.bytes.len() > wanted.partition_max_bytes as usize {
                        break;
                    }
                    bytes.extend(&batch.bytes);
                }
                is_empty &= bytes.is_empty();
                data = data.with_high_watermark(log.next).with_last_stable_offset(log.stable());
                let aborted = log.aborted.iter().filter(|(_, _, at)| committed && *at >= from);
                let aborted = aborted.map(|(producer, first, _)| {
                    AbortedTransaction::default().with_producer_id(ProducerId(*producer)).with_first_offset(*first)
                });
                data = data.with_aborted_transactions(Some(aborted.collect())).with_records(Some(bytes.into()));
                partitions.push(data);
            }
            topics.push(FetchableTopicResponse::default().with_topic(topic.topic.clone()).with_partitions(partitions));
        }
        (FetchResponse::default().with_responses(topics), is_empty)
    }

    fn list_offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
        let mut state = self.state();
        let committed = request.isolation_level == 1;
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for wanted in &topic.partitions {
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
                partitions.push(match state.log(&topic.name.0, wanted.partition_index) {
                    Err(error) => answer.with_error_code(error),
                    Ok(log) => answer.with_timestamp(-1).with_offset(match wanted.timestamp {
                        -1 if committed => log.stable(),
                        -1 => log.next,
                        -2 => log.start,
                        // By batches: who needs records has to write each as a batch.
                        time => {
                            let found = log.batches.iter().find(|batch| !batch.control && batch.newest >= time);
                            found.map_or(-1, |batch| batch.base)
                        }
                    }),
                });
            }
            topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
        }
        ListOffsetsResponse::default().with_topics(topics)
    }

    fn init(&self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        let mut state = self.state();
        let answer = InitProducerIdResponse::default();
        let Some(id) = request.transactional_id.as_ref().map(|id| id.0.to_string()) else {
            state.producers += 1;
            return answer.with_producer_id(ProducerId(state.producers)).with_producer_epoch(0);
        };
        if request.transaction_timeout_ms > MAX_TIMEOUT {
            return answer.with_error_code(INVALID_TRANSACTION_TIMEOUT).with_producer_id(ProducerId(-1));
        }
        if let Some(found) = state.transactions.get_mut(&id) {
            // Who had it is fenced off, and what it had open aborted.
            found.epoch += 1;
            if found.open {
                state.end(&id, false);
            }
        } else {
            state.producers += 1;
            let producer = state.producers;
            state.transactions.insert(id.clone(), Transaction { producer, ..Transaction::default() });
        }
        let found = &state.transactions[&id];
        answer.with_producer_id(ProducerId(found.producer)).with_producer_epoch(found.epoch)
    }

    fn add_partitions(&self, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
        use add_partitions_to_txn_response::{AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult};
        let mut state = self.state();
        let id = request.v3_and_below_transactional_id.0.to_string();
        let (producer, epoch) = (request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch);
        let mut topics = Vec::new();
        for topic in request.v3_and_below_topics {
            let mut partitions = Vec::new();
            for partition in topic.partitions {
                let there = state.log(&topic.name.0, partition).map(drop);
                let done = there.and_then(|()| {
                    let found = state.transaction(&id, producer, epoch)?;
                    found.open = true;
                    found.partitions.insert((topic.name.0.to_string(), partition));
                    Ok(())
                });
                partitions.push(
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(partition)
                        .with_partition_error_code(done.err().unwrap_or(0)),
                );
            }
            topics.push(
                AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions),
            );
        }
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics)
    }

    fn commit_in_transaction(&self, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
        use txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic};
        let mut state = self.state();
        let group = request.group_id.0.to_string();
        let (producer, epoch) = (request.producer_id.0, request.producer_epoch);
        let mut topics = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for part in topic.partitions {
                let found = state.transaction(&request.transactional_id.0, producer, epoch);
                let done = found.map(|found| {
                    let at = (group.clone(), topic.name.0.to_string(), part.partition_index);
                    let metadata = part.committed_metadata.map(|text| text.to_string()).unwrap_or_default();
                    found.offsets.push((at, (part.committed_offset, metadata)));
                });
                partitions.push(
                    TxnOffsetCommitResponsePartition::default()
                        .with_partition_index(part.partition_index)
                        .with_error_code(done.err().unwrap_or(0)),
                );
            }
            topics.push(TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
        }
        TxnOffsetCommitResponse::default().with_topics(topics)
    }

    fn commit(&self, request: OffsetCommitRequest) -> OffsetCommitResponse {
        use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
        let mut state = self.state();
        let mut topics = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for part in topic.partitions {
                let at = (request.group_id.0.to_string(), topic.name.0.to_string(), part.partition_index);
                let metadata = part.committed_metadata.map(|text| text.to_string()).unwrap_or_default();
                state.groups.insert(at, (part.committed_offset, metadata));
                partitions.push(OffsetCommitResponsePartition::default().with_partition_index(part.partition_index));
            }
            topics.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
        }
        OffsetCommitResponse::default().with_topics(topics)
    }

    fn committed(&self, request: &OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
        use offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
        let state = self.state();
        let group = request.group_id.0.to_string();
        let mut topics = Vec::new();
        for topic in request.topics.iter().flatten() {
            let mut partitions = Vec::new();
            for index in &topic.partition_indexes {
                let at = (group.clone(), topic.name.0.to_string(), *index);
                let is_pending = state
                    .transactions
                    .values()
                    .any(|found| found.open && found.offsets.iter().any(|(pending, _)| *pending == at));
                let error =
                    if version >= 7 && request.require_stable && is_pending { UNSTABLE_OFFSET_COMMIT } else { 0 };
                let (offset, metadata) = state.groups.get(&at).cloned().unwrap_or((-1, String::new()));
                partitions.push(
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(*index)
                        .with_committed_offset(if error == 0 { offset } else { -1 })
                        .with_committed_leader_epoch(-1)
                        .with_metadata(Some(metadata.into()))
                        .with_error_code(error),
                );
            }
            topics.push(OffsetFetchResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions));
        }
        OffsetFetchResponse::default().with_topics(topics)
    }
}

fn versions(error: i16) -> ResponseKind {
    let keys = VERSIONS.iter().map(|(key, from, to)| {
        api_versions_response::ApiVersion::default()
            .with_api_key(*key as i16)
            .with_min_version(*from)
            .with_max_version(*to)
    });
    ResponseKind::ApiVersions(ApiVersionsResponse::default().with_error_code(error).with_api_keys(keys.collect()))
}
