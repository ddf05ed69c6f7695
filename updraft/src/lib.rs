//! Updraft: a stream kernel. Stream and batch dataflow on the same cores, as a library and as a program.
//!
//! ```
//! use std::time::Duration;
//! use updraft::prelude::*;
//!
//! let job = Job::new("spending");
//! let (sink, rows) = Collect::new();
//! job.source("orders", Memory::new(vec![(0, "ann", 5), (400, "bob", 7), (1_200, "ann", 2), (900, "ann", 1)]))
//!     .timestamps(|order| Time::from_millis(order.0), Watermarks::bounded(Duration::from_millis(500)))
//!     .stream()
//!     .key_by(|order| order.1.to_string())
//!     .window(Tumbling::of(Duration::from_secs(1)))
//!     .aggregate((count(), sum(|order: &(i64, &str, i64)| order.2)))
//!     .sink("rows", sink);
//! job.run()?;
//!
//! let mut rows: Vec<_> = rows.take().into_iter().map(|r| (r.window.start, r.key, r.value)).collect();
//! rows.sort();
//! let second = Time::from_secs;
//! assert_eq!(rows[0], (second(0), "ann".to_string(), (2, 6)));
//! assert_eq!(rows[1], (second(0), "bob".to_string(), (1, 7)));
//! assert_eq!(rows[2], (second(1), "ann".to_string(), (1, 2)));
//! # Ok::<(), updraft::JobError>(())
//! ```
//!
//! Where to go next: [`dataflow`] (jobs, streams, windows: the engine), [`connectors`] (sources and sinks),
//! [`kernel`] (tasks on cores, without dataflow), [`sim`] (testing jobs under a simulated runtime), the chapters in `docs/` and
//! the numbered examples beside this crate.

pub mod control;

pub use updraft_connectors as connectors;
pub use updraft_dataflow as dataflow;
#[cfg(feature = "kafka")]
pub use updraft_kafka as kafka;
pub use updraft_kernel as kernel;
pub use updraft_nats as nats;
pub use updraft_postgres as postgres;
pub use updraft_sql as sql;

pub use updraft_dataflow::{Job, JobError, Running, sim};
pub use updraft_kernel::{Class, Runtime};

/// SQL within a job: `job.sql()`.
pub trait JobSql {
    /// A session whose queries are streams of this job, with all connectors that there are. See
    /// [`Embedded`](updraft_sql::Embedded).
    fn sql(&self) -> updraft_sql::Embedded;
}

impl JobSql for Job {
    fn sql(&self) -> updraft_sql::Embedded {
        updraft_sql::Session::new(registry()).embed(self)
    }
}

/// All connectors of tables that this build has.
pub fn registry() -> dataflow::connector::Registry {
    let registry = updraft_nats::register(updraft_connectors::table::registry());
    let registry = updraft_postgres::register(registry);
    #[cfg(feature = "kafka")]
    let registry = updraft_kafka::register(registry);
    registry
}

/// What a job is usually written with.
pub mod prelude {
    pub use crate::JobSql;
    pub use updraft_connectors::*;
    pub use updraft_dataflow::aggregate::{
        avg, count, distinct, distinct_about, max, min, project, quantiles, reduce, sum, top_k, variance,
    };
    pub use updraft_dataflow::keyed::Process;
    pub use updraft_dataflow::operator::{Calls, Operator, Outbox};
    pub use updraft_dataflow::window::{Fired, Global, Timing, Trigger};
    pub use updraft_dataflow::{
        Alignment, BadRecords, Bundle, DeadLetter, Epochs, Idle, Job, Running, Session, Sink, Sliding, Source, Stream,
        Time, Tumbling, Watermarks, Window, Windowed,
    };
    pub use updraft_kernel::{Class, Runtime};
}

/// The chapters: what they show is run.
#[cfg(doctest)]
mod chapters {
    #[doc = include_str!("../../docs/streams.md")]
    mod streams {}
    #[doc = include_str!("../../docs/sql.md")]
    mod sql {}
    #[doc = include_str!("../../docs/state.md")]
    mod state {}
    #[doc = include_str!("../../docs/control.md")]
    mod control {}
    #[doc = include_str!("../../docs/postgres.md")]
    mod postgres {}
    #[doc = include_str!("../../docs/operators.md")]
    mod operators {}
    #[doc = include_str!("../../docs/tasks.md")]
    mod tasks {}
    #[doc = include_str!("../../docs/simulation.md")]
    mod simulation {}
}
