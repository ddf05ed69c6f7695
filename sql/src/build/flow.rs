//! A [`Flow`]: rows on their way in a job that is being built, and [`Traits`]: what is known of them.

use std::sync::Arc;

use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::{Pipe, Record, Rows, Stream};

use super::Clock;
use crate::plan::window::WindowKind;

/// A piece of a stage's loop: rows in, rows out, none where nothing is left.
pub(crate) type Step = Arc<dyn Fn(Rows) -> Option<Rows> + Send + Sync>;

/// Rows on their way.
pub(crate) struct Flow {
    stream: Stream<Rows>,
    /// Done to rows that come out of it, in order; fused with whatever comes next.
    steps: Vec<Step>,
}

/// What is known of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Traits {
    /// Columns of event time: no row is below the watermark in them.
    pub(crate) rowtimes: Vec<usize>,
    /// Columns of processing time.
    pub(crate) proctimes: Vec<usize>,
    /// The columns of the window that each row belongs to.
    pub(crate) window: Option<WindowColumns>,
    /// Whether rows may be other than insertions.
    pub(crate) changes: bool,
}

/// The window that each row belongs to: rows of a window come before the watermark has passed its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowColumns {
    pub(crate) start: Option<usize>,
    pub(crate) end: Option<usize>,
    /// The last moment within: event time.
    pub(crate) time: Option<usize>,
    pub(crate) kind: WindowKind,
    /// Where some window begins, in microseconds.
    pub(crate) offset: i64,
    /// Whether all three hold the row's own time until somebody looks: see [`super::window`].
    pub(crate) is_pending: bool,
    /// Whether it is of processing time.
    pub(crate) is_processing: bool,
}

/// What the eye sees at once, in microseconds.
const EYE: i64 = 100_000;

impl WindowColumns {
    /// Whether a column is one of the window's.
    pub(crate) fn has(&self, column: usize) -> bool {
        [self.start, self.end, self.time].contains(&Some(column))
    }

    /// By what somebody goes who waits for its end.
    pub(crate) fn clock(&self) -> Clock {
        match (self.is_processing, &self.kind) {
            (true, _) => Clock::Processing,
            // An end may be anywhere: at most half a gap later, and as often as the eye sees.
            (false, WindowKind::Session { gap, .. }) => Clock::Event((gap / 2 / EYE).clamp(1, 10) * EYE),
            (false, kind) => Clock::Event(kind.step().unwrap_or(EYE)),
        }
    }

    /// One of its columns.
    pub(crate) fn any(&self) -> Option<usize> {
        self.end.or(self.start).or(self.time)
    }
}

impl Traits {
    /// The same where column `i` has become column `at(i)`, if it is still there.
    pub(crate) fn moved(&self, at: impl Fn(usize) -> Option<usize>) -> Self {
        let window = self.window.as_ref().map(|window| WindowColumns {
            start: window.start.and_then(&at),
            end: window.end.and_then(&at),
            time: window.time.and_then(&at),
            ..window.clone()
        });
        Self {
            rowtimes: self.rowtimes.iter().filter_map(|column| at(*column)).collect(),
            proctimes: self.proctimes.iter().filter_map(|column| at(*column)).collect(),
            window: window.filter(|window| window.any().is_some()),
            changes: self.changes,
        }
    }
}

impl From<Stream<Rows>> for Flow {
    fn from(stream: Stream<Rows>) -> Self {
        Self { stream, steps: Vec::new() }
    }
}

impl Flow {
    /// Of an operator with state, which has come just now: what it is called in checkpoints, and what it keeps.
    pub(crate) fn kept(self, id: String, layout: Layout) -> Self {
        Self { stream: self.stream.uid(id).keeps(layout), ..self }
    }

    /// The same with another step.
    pub(crate) fn step(mut self, step: impl Fn(Rows) -> Option<Rows> + Send + Sync + 'static) -> Self {
        self.steps.push(Arc::new(step));
        self
    }

    /// The stream, after all steps, and then what `last` makes of the rows.
    pub(crate) fn map<T: Record>(
        self,
        last: impl Fn(Rows) -> T + Clone + Send + Sync + 'static,
    ) -> Stream<Rows, impl Pipe<Rows, Out = T>> {
        let steps: Arc<[Step]> = self.steps.into();
        self.stream.flat_map(move |rows| {
            let rows = steps.iter().try_fold(rows, |rows, step| step(rows)).filter(|rows| !rows.is_empty());
            rows.map(&last)
        })
    }

    /// The stream, after all steps.
    pub(crate) fn stream(self) -> Stream<Rows, impl Pipe<Rows, Out = Rows>> {
        self.map(|rows| rows)
    }
}
