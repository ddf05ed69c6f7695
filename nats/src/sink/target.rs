//! The stream that is published to: what it must be like, and what fits into it.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use updraft_dataflow::Error;

use super::{ACK, Guarantee, NatsSink};
use crate::connection::Connection;
use crate::fault::Fault;
use crate::message::Outgoing;
use crate::subject;

/// What the ids of our own add to a message, at most.
const ID: usize = 256;

/// A stream, and a connection to its server.
pub(super) struct Target {
    pub(super) settings: NatsSink,
    pub(super) connection: Connection,
    pub(super) config: Config,
    most: usize,
}

impl Target {
    /// Connects, and finds fault with what could not go well.
    pub(super) async fn open(settings: &NatsSink) -> Result<Self, Error> {
        settings.check()?;
        let connection = settings.nats.connect().await?;
        let info = connection.patiently(&settings.stream, || find(&connection, settings)).await?;
        let stream = &settings.stream;
        let fault = |what: String| Err(format!("{}, stream '{stream}': {what}", connection.url()).into());
        let config = info.config;
        if config.sealed || config.mirror.is_some() {
            return fault("takes no messages: it is sealed, or the mirror of another".into());
        }
        if config.no_ack {
            return fault(
                "acknowledges nothing ('no_ack'), so nobody can know what it holds: set that to false".into(),
            );
        }
        let window = config.duplicate_window;
        // What is published again has to be known still.
        let needed = settings.nats.retry + 2 * ACK;
        if settings.guarantee == Guarantee::ExactlyOnce && !settings.exclusive && window < needed {
            return fault(format!(
                "remembers ids for {window:?} ('duplicate_window'), and 'retry' is {:?}: make that window {needed:?} or longer, lower 'retry', or say that \
                 nobody else publishes to it ('sink.exclusive' = 'true')",
                settings.nats.retry
            ));
        }
        let most = match usize::try_from(config.max_message_size) {
            Ok(most) if most > 0 => most.min(connection.max_payload()),
            _ => connection.max_payload(),
        };
        Ok(Self { settings: settings.clone(), connection, config, most })
    }

    pub(super) fn stream(&self) -> &str {
        &self.settings.stream
    }

    /// Finds fault with a message that the stream would not take.
    pub(super) fn check(&self, message: &Outgoing) -> Result<(), Error> {
        let (Outgoing { subject, headers, payload }, stream) = (message, self.stream());
        subject::check(subject, false)?;
        if !self.config.subjects.iter().any(|pattern| subject::matches(pattern, subject)) {
            let subjects = self.config.subjects.join("', '");
            return Err(format!(
                "subject '{subject}' is none of stream '{stream}', which has '{subjects}': publish to one of those"
            )
            .into());
        }
        for (name, value) in headers {
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
            if !is_name || value.contains(['\r', '\n']) {
                return Err(format!(
                    "header '{name}: {value}' cannot be sent: names have no blanks and colons, values no ends of lines"
                )
                .into());
            }
            if name.to_ascii_lowercase().starts_with("nats-") {
                return Err(format!("header '{name}' is JetStream's own: name it otherwise").into());
            }
        }
        let bytes = payload.len() + headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        let most = self.most.saturating_sub(ID + subject.len());
        if bytes > most {
            return Err(format!(
                "a message to '{subject}' has {bytes} bytes, and stream '{stream}' takes {most} at most: raise the server's 'max_payload' (and the \
                 stream's 'max_msg_size'), or write less"
            )
            .into());
        }
        Ok(())
    }

    /// The staging stream, which is made if it is not there.
    pub(super) async fn staging(&self) -> Result<(), Error> {
        let Self { settings, connection, config, .. } = self;
        let name = &settings.staging;
        let wanted = Config {
            name: name.clone(),
            subjects: vec![format!("{}.>", self.prefix())],
            description: Some(format!("What waits to be published to '{}'", settings.stream)),
            storage: StorageType::File,
            num_replicas: config.num_replicas.max(1),
            max_bytes: settings.staging_bytes,
            max_messages: -1,
            max_messages_per_subject: -1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            ..Config::default()
        };
        let find = || async {
            match connection.stream_info(name).await {
                Err(Fault::Gone) => {
                    connection.create_stream(&wanted).await?;
                    connection.stream_info(name).await
                }
                found => found,
            }
        };
        let Config {
            subjects, retention, discard, max_age, max_messages, max_messages_per_subject, allow_rollup, ..
        } = connection.patiently(name, find).await?.config;
        let keeps = retention == RetentionPolicy::Limits
            && discard == DiscardPolicy::New
            && max_age == Duration::ZERO
            && max_messages <= 0
            && max_messages_per_subject <= 0;
        if !keeps || !allow_rollup || subjects != wanted.subjects {
            return Err(format!(
                "{}, stream '{name}': cannot keep what waits for a checkpoint: it must have 'retention' limits, 'discard' new, 'allow_rollup_hdrs', no \
                 'max_age', no limits but 'max_bytes', and the subjects '{}': have it made by the sink, or name another",
                connection.url(),
                wanted.subjects[0]
            )
            .into());
        }
        Ok(())
    }

    /// What the subjects of the staging stream begin with.
    pub(super) fn prefix(&self) -> String {
        format!("_UPDRAFT.{}", self.settings.staging)
    }
}

async fn find(connection: &Connection, settings: &NatsSink) -> Result<Info, Fault> {
    match (connection.stream_info(&settings.stream).await, &settings.create) {
        (Err(Fault::Gone), Some(subjects)) => {
            let (name, subjects) = (settings.stream.clone(), subjects.clone());
            let config = Config { name, subjects, storage: StorageType::File, num_replicas: 1, ..Config::default() };
            connection.create_stream(&config).await?;
            connection.stream_info(&settings.stream).await
        }
        (Err(Fault::Gone), None) => {
            Err(Fault::lasting("is not there: make it, or have the sink make it ('sink.create-stream' = 'true')"))
        }
        (found, _) => found,
    }
}
