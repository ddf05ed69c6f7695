//! Channels between tasks: bounded, awaiting when full, and closed by dropping either end.
//!
//! [`local`] is for two tasks of one kernel and uses no atomics; [`spsc`] is for any two. Both are
//! [`Sender`] and [`Receiver`], and so will be one between processes. To add a kind: a file here.
//!
//! * What was sent before the sender was dropped is received; then `recv` gives `None`.
//! * Once the receiver is dropped, `send` gives the value back; what was sent and not received is dropped.
//! * A `send` or `recv` that is dropped before it is done has sent or received nothing.

mod local;
mod spsc;

pub use local::{LocalReceiver, LocalSender, local};
pub use spsc::{SpscReceiver, SpscSender, spsc};

use std::future::Future;

/// The receiver is gone; here is the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the receiver of the channel is gone")]
pub struct Closed<T>(pub T);

/// Why nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrySendError<T> {
    /// There is no room now.
    #[error("the channel is full")]
    Full(T),
    /// There will never be.
    #[error("the receiver of the channel is gone")]
    Closed(T),
}

/// Why nothing was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TryRecvError {
    /// Nothing is there now.
    #[error("the channel is empty")]
    Empty,
    /// Nothing will ever be.
    #[error("the sender of the channel is gone")]
    Closed,
}

/// The end of a channel that values go into.
pub trait Sender<T> {
    /// Waits for room, and sends.
    fn send(&mut self, value: T) -> impl Future<Output = Result<(), Closed<T>>>;
    /// Sends, if there is room.
    fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>>;
}

/// The end of a channel that values come from.
pub trait Receiver<T> {
    /// Waits for a value; `None` when none will come.
    fn recv(&mut self) -> impl Future<Output = Option<T>>;
    /// A value, if there is one.
    fn try_recv(&mut self) -> Result<T, TryRecvError>;
}
