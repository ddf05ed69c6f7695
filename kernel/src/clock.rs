//! Time, from the kernel: nothing above it may ask the operating system, so that a simulated runtime can
//! put virtual time underneath.

use std::cell::Cell;
use std::future::Future;
use std::ops::{Add, Sub};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::runtime::sim;

/// Nanoseconds of monotonic time since the first look at the clock in this process, or since a simulated run began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The time from `earlier` to here; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Nanos {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Nanos {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    /// Virtual time, on a thread that simulates.
    static VIRTUAL: Cell<Option<Nanos>> = const { Cell::new(None) };
}

/// Sets virtual time, or ends it.
pub(crate) fn set_virtual(now: Option<Nanos>) {
    VIRTUAL.set(now);
}

/// Monotonic time.
pub fn now() -> Nanos {
    if let Some(now) = VIRTUAL.get() {
        return now;
    }
    Nanos(ORIGIN.elapsed().as_nanos() as u64)
}

/// When simulated runs begin, in seconds since the Unix epoch: the start of 2020.
const SIMULATED_WALL: u64 = 1_577_836_800;

/// Calendar time, as a span since the Unix epoch; it may jump. Zero on a machine set before 1970.
pub fn wall() -> Duration {
    if let Some(now) = VIRTUAL.get() {
        return Duration::from_secs(SIMULATED_WALL) + Duration::from_nanos(now.0);
    }
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Waits for `span`. Inside a task only.
pub async fn sleep(span: Duration) {
    if sim::is_simulated() {
        sim::Sleep::until(now() + span).await;
    } else {
        tokio::time::sleep(span).await;
    }
}

/// Waits until `at`. Inside a task only.
pub async fn sleep_until(at: Nanos) {
    sleep(at.since(now())).await;
}

/// What `future` gives, or `None` if it takes longer than `span`. Inside a task only.
pub async fn timeout<T>(span: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = sleep(span) => None,
    }
}
