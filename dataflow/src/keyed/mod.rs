//! Keyed processing: a function of the user's, with state and timers of its own for each key.
//!
//! Each driver owns some of the 256 key groups. The [`ShuffleStage`] before it sends each record to the driver that owns its
//! key; the [`KeyedStage`] consumes them in order of epochs, and within an epoch in the order in which
//! they came out of their source's partition. Timers fire when an epoch is complete.
//!
//! Joins and windows with triggers are [`Process`]es too: see [`crate::join`] and [`crate::window`].

mod broadcast;
mod context;
mod entries;
mod hot;
mod keys;
mod saved;
mod shuffle;
mod spill;
mod split;
mod stage;
mod timers;

pub use broadcast::{BroadcastStage, Listen};
pub use context::Context;
pub use hot::HotKey;
pub use shuffle::{Dealt, ShuffleStage, groups_of, owner_of, owner_of_hash, owner_of_key};
pub use spill::Spill;
pub(crate) use split::{Combiner, Splits};
pub use stage::{Aside, KeyedStage, Nothing, Watched};
pub(crate) use timers::TimerQueue;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::aggregate::State;
use crate::bundle::Record;
use crate::time::Time;

/// What is done with the records of each key.
///
/// There is an instance for each [shard](crate::Job::shards), a clone of the one that was given; of the same key, all calls are made on one of
/// them, one after the other. What must outlive a crash belongs into
/// [`State`](Self::State), of which each key has its own: a value, a list (`Vec`), a map (`BTreeMap`), or a `struct` of these.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use updraft_dataflow::Time;
/// use updraft_dataflow::keyed::{Context, Process, Timer};
///
/// /// Tells of who has put something into the cart and has not bought it within an hour.
/// #[derive(Clone)]
/// struct Abandoned;
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Cart {
///     items: Vec<String>,
///     deadline: Option<Time>,
/// }
///
/// enum Click {
///     Add(String),
///     Buy,
/// }
///
/// impl Process<u64, Click> for Abandoned {
///     type State = Cart;
///     type Out = (u64, Vec<String>);
///
///     fn record(&mut self, click: Click, cart: &mut Cart, cx: &mut Context<'_, u64, Self::Out>) {
///         if let Some(deadline) = cart.deadline.take() {
///             cx.delete_timer(deadline);
///         }
///         match click {
///             Click::Buy => cx.clear(),
///             Click::Add(item) => {
///                 cart.items.push(item);
///                 let deadline = Time(cx.time().0 + 3_600_000_000);
///                 cart.deadline = Some(deadline);
///                 cx.set_timer(deadline);
///             }
///         }
///     }
///
///     fn timer(&mut self, _: Timer, cart: &mut Cart, cx: &mut Context<'_, u64, Self::Out>) {
///         cx.emit((*cx.key(), std::mem::take(&mut cart.items)));
///         cx.clear();
///     }
/// }
/// ```
pub trait Process<K, T>: Clone + Send + Sync + 'static {
    /// What is kept for each key. A key that is new, or was [cleared](Context::clear), has the default.
    type State: State + Default;
    /// What comes out.
    type Out: Record;

    /// Whether it sets timers. One that does not may say so: then each key takes a third less memory.
    const TIMERS: bool = true;

    /// An instance begins, on driver `driver` of `drivers`: before its first record.
    fn open(&mut self, driver: usize, drivers: usize) {
        let _ = (driver, drivers);
    }

    /// A record has come.
    fn record(&mut self, record: T, state: &mut Self::State, cx: &mut Context<'_, K, Self::Out>);

    /// A timer is due.
    fn timer(&mut self, timer: Timer, state: &mut Self::State, cx: &mut Context<'_, K, Self::Out>) {
        let _ = (timer, state, cx);
    }

    /// The stream has ended, and all timers have fired.
    fn close(&mut self) {}

    /// By how much the event time of what it gives may be behind the watermark. What follows sees a watermark that is held
    /// back by as much.
    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Bytes that a key's state owns elsewhere (in its vectors, say), for the memory account. To be cheap: it is
    /// asked before and after each record.
    fn heap_bytes(&self, state: &Self::State) -> usize {
        let _ = state;
        0
    }
}

/// By which clock something is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Clock {
    /// Event time: due when the watermark has come so far, that is when no record before it is to come.
    Event,
    /// Processing time: due at the end of the first epoch that is closed then or later.
    Processing,
}

/// Something that is due for a key. Those of a key fire in order of their times; those of several keys, in any order. When the stream
/// ends, all timers fire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Timer {
    /// When.
    pub at: Time,
    /// By which clock.
    pub clock: Clock,
}

/// How long the state of a key is kept that no record has come for. Then it is dropped without a word; timers that
/// the key has keep it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeToLive {
    /// For how long.
    pub span: Duration,
    /// By which clock.
    pub clock: Clock,
}
