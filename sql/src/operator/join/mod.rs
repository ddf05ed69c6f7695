//! The joins of SQL, over columns: each an [`Operator`](updraft_dataflow::operator::Operator) that takes the rows of two inputs,
//! dealt out by the hash of the columns that must be equal, and gives [`Rows`](updraft_dataflow::Rows).
//!
//! * [`regular`]: of all rows that there ever were; both inputs may insert, update and delete.
//! * [`hash`]: one input is read to its end and kept, the other flows by: for inputs that end. With [`lookup`] it flows by
//!   a table as it is at the time.
//! * [`interval`]: of rows whose times are not too far apart.
//! * [`temporal`]: of each row with the version of a table that was valid at its time.
//! * [`window`]: of rows of the same window.
//!
//! All are told [what belongs together](Joined) in the same words, and share how rows are kept by key ([`store`]), found
//! ([`search`]), compared ([`condition`]) and put together ([`shape`]): for whole batches at a time.

mod chains;
mod condition;
mod due;
pub mod hash;
mod held;
pub mod interval;
mod log;
pub mod lookup;
mod plan;
mod probe;
pub mod regular;
mod saved;
mod search;
mod shape;
mod store;
pub mod temporal;
mod times;
pub mod window;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::{JoinType, NullEquality};
use datafusion_physical_expr::PhysicalExpr;
use updraft_dataflow::Hashed;
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::join::Side;

use super::layout::Described;

/// One of the two inputs of a join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// The first.
    Left,
    /// The second.
    Right,
}

impl Input {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// What is of this input and what is of the other: the left one's first.
    pub(crate) fn order<T>(self, own: T, other: T) -> (T, T) {
        match self {
            Self::Left => (own, other),
            Self::Right => (other, own),
        }
    }

    /// Which input rows are of.
    pub(crate) fn of(rows: Side<Hashed, Hashed>) -> (Self, Hashed) {
        match rows {
            Side::Left(rows) => (Self::Left, rows),
            Side::Right(rows) => (Self::Right, rows),
        }
    }
}

/// What is joined, and which rows belong together.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The columns of the left input.
    pub left: SchemaRef,
    /// The columns of the right input.
    pub right: SchemaRef,
    /// The columns that must be equal: of the left input, and of the right one. The rows' hashes must be of these, so that
    /// equal ones have equal hashes. None at all: each row belongs to each, if the filter says so; then all hashes must be equal.
    pub keys: Vec<(usize, usize)>,
    /// What comes out.
    pub kind: JoinType,
    /// Whether nulls in keys are equal to each other.
    pub nulls: NullEquality,
    /// What pairs have to fulfil besides: over the columns of the left input, then those of the right one.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns that come out: those of the left input, then those of the right one; of a semi or anti join, those of one.
    pub schema: SchemaRef,
}

/// A join that can leave out columns that nobody asks for.
pub(crate) trait Narrow {
    /// Gives only these of its columns, which are in order.
    fn narrow(&mut self, columns: &[usize]);
}

macro_rules! narrow {
    ($($join:ty),*) => {
        $(impl Narrow for $join {
            fn narrow(&mut self, columns: &[usize]) {
                self.plan.narrow(columns);
            }
        })*
    };
}

narrow!(
    hash::HashJoin,
    interval::IntervalJoin,
    lookup::LookupJoin,
    regular::RegularJoin,
    temporal::TemporalJoin,
    window::WindowJoin
);

impl Described for hash::HashJoin {
    fn layout(&self) -> Layout {
        self.plan.layout(if self.keeps() == Input::Left { "left hash" } else { "right hash" })
    }
}

macro_rules! kept {
    ($($join:ty: $name:literal),*) => {
        $(impl Described for $join {
            fn layout(&self) -> Layout {
                self.plan.layout($name)
            }
        })*
    };
}

kept!(
    interval::IntervalJoin: "interval",
    lookup::LookupJoin: "lookup",
    regular::RegularJoin: "regular",
    temporal::TemporalJoin: "temporal",
    window::WindowJoin: "window"
);
