//! Time, from the kernel: nothing above it may ask the operating system, so that a simulated runtime can
//! put virtual time underneath.

use std::future::Future;
use std::ops::{Add, Sub};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds of monotonic time since the first look at the clock in this process.
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

/// Monotonic time.
pub fn now() -> Nanos {
    Nanos(ORIGIN.elapsed().as_nanos() as u64)
}

/// Calendar time, as a span since the Unix epoch; it may jump. Zero on a machine set before 1970.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Waits for `span`. Inside a task only.
pub async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Waits until `at`. Inside a task only.
pub async fn sleep_until(at: Nanos) {
    sleep(at.since(now())).await;
}

/// What `future` gives, or `None` if it takes longer than `span`. Inside a task only.
pub async fn timeout<T>(span: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(span, future).await.ok()
}
