//! [`Cluster`]: which brokers, and how they are spoken to; and what it means when they do not answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use updraft_dataflow::Error;
use updraft_kernel::clock;

/// How long a broker may take to answer what is asked before a job begins.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a source or a sink has to decide by itself, and what to say instead.
const OWN: [(&str, &str); 6] = [
    ("enable.auto.commit", "offsets are committed as 'properties.group.id' says"),
    ("enable.auto.offset.store", "offsets are committed as 'properties.group.id' says"),
    ("enable.partition.eof", "set 'scan.bounded.mode'"),
    ("enable.idempotence", "set 'sink.delivery-guarantee'"),
    ("transactional.id", "set 'sink.transactional-id-prefix'"),
    ("partitioner", "set 'sink.partitioner'"),
];

/// Kafka's brokers, and the properties that librdkafka speaks to them with.
#[derive(Clone)]
pub struct Cluster {
    properties: BTreeMap<String, String>,
}

impl Cluster {
    /// The brokers to begin with: `host:9092,other:9092`.
    pub fn new(servers: impl Into<String>) -> Self {
        Self { properties: BTreeMap::new() }.property("bootstrap.servers", servers)
    }

    /// The same with a [property of librdkafka's](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md).
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// What errors call it.
    pub(crate) fn name(&self) -> &str {
        self.get("bootstrap.servers").unwrap_or_default()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// A client: with `usual` properties, which the user may have set otherwise, and `forced` ones.
    pub(crate) fn client<T, C>(&self, usual: &[(&str, &str)], forced: &[(&str, &str)], context: C) -> Result<T, Error>
    where
        C: ClientContext,
        T: FromClientConfigAndContext<C>,
    {
        if let Some((name, instead)) = OWN.into_iter().find(|(name, _)| self.get(name).is_some()) {
            return Err(format!("'properties.{name}' cannot be set: {instead}").into());
        }
        let mut config = ClientConfig::new();
        for (name, value) in usual {
            config.set(*name, *value);
        }
        // Whose meaning is that of the source: it tells librdkafka where to begin.
        let passed = self.properties.iter().filter(|(name, _)| *name != "auto.offset.reset");
        for (name, value) in passed {
            config.set(name, value);
        }
        for (name, value) in forced {
            config.set(*name, *value);
        }
        config.create_with_context(context).map_err(|error| match error {
            KafkaError::ClientConfig(_, why, name, value) => {
                let remedy = "see librdkafka's CONFIGURATION.md for what there is, and the cargo features of the build";
                format!("'properties.{name}' = '{value}': {why}; {remedy}").into()
            }
            error => format!("a client of Kafka at {} cannot be made: {error}", self.name()).into(),
        })
    }
}

/// Without what may be secret.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("servers", &self.name()).finish_non_exhaustive()
    }
}

/// What a client has heard last.
#[derive(Debug, Default)]
pub(crate) struct Context {
    last: Mutex<Option<String>>,
}

impl Context {
    /// What went wrong last, if anything.
    pub(crate) fn heard(&self) -> String {
        let last = self.last.lock().ok().and_then(|last| last.clone());
        last.map(|last| format!(" ({last})")).unwrap_or_default()
    }

    pub(crate) fn note(&self, error: &KafkaError, reason: &str) {
        tracing::warn!("Kafka: {error}: {reason}");
        if let Ok(mut last) = self.last.lock() {
            *last = Some(reason.to_owned());
        }
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for Context {}

/// Asks a broker, and once more if the answer was lost on its way. To be called where one may wait.
pub(crate) fn asked<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    use RDKafkaErrorCode as Code;
    let begun = clock::now();
    loop {
        let answer = ask();
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        let is_lost = matches!(code, Some(Code::BrokerTransportFailure | Code::RequestTimedOut | Code::NotCoordinator));
        if !is_lost || clock::now().since(begun) >= PATIENCE {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lets go of a client where one may wait for it to say good-bye.
pub(crate) fn let_go<T: Send + 'static>(client: T) {
    // Without a thread it is dropped here, which takes longer, and is as good.
    drop(std::thread::Builder::new().name("kafka-close".into()).spawn(move || drop(client)));
}
