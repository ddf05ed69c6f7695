//! What goes wrong at a server: what passes by itself, and what does not.

use async_nats::jetstream::consumer::StreamError;
use async_nats::jetstream::context::{PublishError, PublishErrorKind, RequestError};
use async_nats::jetstream::stream::{
    ConsumerError, ConsumerErrorKind, LastRawMessageError, LastRawMessageErrorKind, PurgeError, PurgeErrorKind,
};
use async_nats::jetstream::{self, ErrorCode};
use updraft_dataflow::Error;

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It may go well another time: the server is not there, or has no answer yet.
    Passing(String),
    /// What it was published after is not the last message.
    Overtaken(String),
    /// The stream is not there.
    Gone,
    /// It will not go well.
    Lasting(Error),
}

impl Fault {
    pub(crate) fn passing(error: impl ToString) -> Self {
        Self::Passing(error.to_string())
    }

    pub(crate) fn lasting(error: impl Into<Error>) -> Self {
        Self::Lasting(error.into())
    }

    /// What the server says.
    pub(crate) fn of(error: &jetstream::Error) -> Self {
        match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND => Self::Gone,
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_MESSAGE_ID => {
                Self::Overtaken(error.to_string())
            }
            // Of storage that is full, too: it may be made room.
            _ if error.code() == 503 => Self::passing(error),
            _ => Self::lasting(error.to_string()),
        }
    }

    /// What the server says, where it is hidden in an error of the client.
    fn within(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut at = Some(error);
        while let Some(error) = at {
            if let Some(error) = error.downcast_ref::<jetstream::Error>() {
                return Self::of(error);
            }
            at = error.source();
        }
        Self::passing(error)
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        Self::passing(error)
    }
}

impl From<ConsumerError> for Fault {
    fn from(error: ConsumerError) -> Self {
        match error.kind() {
            ConsumerErrorKind::JetStream(error) => Self::of(&error),
            _ => Self::within(&error),
        }
    }
}

impl From<LastRawMessageError> for Fault {
    fn from(error: LastRawMessageError) -> Self {
        match error.kind() {
            LastRawMessageErrorKind::JetStream(error) => Self::of(&error),
            _ => Self::within(&error),
        }
    }
}

impl From<PurgeError> for Fault {
    fn from(error: PurgeError) -> Self {
        match error.kind() {
            PurgeErrorKind::JetStream(error) => Self::of(&error),
            _ => Self::within(&error),
        }
    }
}

impl From<PublishError> for Fault {
    fn from(error: PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Self::lasting(error.to_string()),
            _ => Self::within(&error),
        }
    }
}

impl From<StreamError> for Fault {
    fn from(error: StreamError) -> Self {
        Self::within(&error)
    }
}
