//! Joins: records of two streams that belong together.
//!
//! * [`mod@window`]: those of the same key and window. Bulk work when the window is over, without sending a record to another kernel.
//! * [`interval`]: those of the same key that are not too far apart in time.
//! * [`temporal`]: each with the version of a table that was valid at its time.
//!
//! What comes out is said by the [`Kind`]: [`Inner`], [`Left`], [`Right`], [`Full`], [`Semi`], [`Anti`]. State is bounded by the
//! watermark: what can find no partner any more is dropped. More than two inputs: join what comes of a join, or
//! [`Shuffled::union`](crate::operator::Shuffled::union) and a [`Process`](crate::keyed::Process).

mod index;
pub mod interval;
pub mod temporal;
pub mod window;

use serde::{Deserialize, Serialize};

use crate::bundle::Record;

/// A record of one of two streams.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Side<L, R> {
    /// Of the first.
    Left(L),
    /// Of the second.
    Right(R),
}

/// What comes out of a join.
pub trait Kind<L, R>: Clone + Send + Sync + 'static {
    /// Its records.
    type Out: Record;

    /// For two records that belong together.
    fn pair(&self, left: &L, right: &R) -> Option<Self::Out> {
        let _ = (left, right);
        None
    }

    /// For a record of the first stream, once it can find no more partners.
    fn left(&self, left: L, matched: bool) -> Option<Self::Out> {
        let _ = (left, matched);
        None
    }

    /// For a record of the second stream, once it can find no more partners.
    fn right(&self, right: R, matched: bool) -> Option<Self::Out> {
        let _ = (right, matched);
        None
    }

    /// Whether it wants to know of records that find no more partners.
    const WAITS: bool = true;
    /// Whether it wants to know of pairs, and of the second stream's records; else of the first stream's alone.
    const PAIRS: bool = true;
}

/// All pairs.
#[derive(Clone, Copy, Debug)]
pub struct Inner;

impl<L: Record, R: Record> Kind<L, R> for Inner {
    type Out = (L, R);
    const WAITS: bool = false;
    fn pair(&self, left: &L, right: &R) -> Option<(L, R)> {
        Some((left.clone(), right.clone()))
    }
}

/// All pairs, and what of the first stream has no partner.
#[derive(Clone, Copy, Debug)]
pub struct Left;

impl<L: Record, R: Record> Kind<L, R> for Left {
    type Out = (L, Option<R>);
    fn pair(&self, left: &L, right: &R) -> Option<Self::Out> {
        Some((left.clone(), Some(right.clone())))
    }
    fn left(&self, left: L, matched: bool) -> Option<Self::Out> {
        (!matched).then_some((left, None))
    }
}

/// All pairs, and what of the second stream has no partner.
#[derive(Clone, Copy, Debug)]
pub struct Right;

impl<L: Record, R: Record> Kind<L, R> for Right {
    type Out = (Option<L>, R);
    fn pair(&self, left: &L, right: &R) -> Option<Self::Out> {
        Some((Some(left.clone()), right.clone()))
    }
    fn right(&self, right: R, matched: bool) -> Option<Self::Out> {
        (!matched).then_some((None, right))
    }
}

/// All pairs, and what has no partner.
#[derive(Clone, Copy, Debug)]
pub struct Full;

impl<L: Record, R: Record> Kind<L, R> for Full {
    type Out = (Option<L>, Option<R>);
    fn pair(&self, left: &L, right: &R) -> Option<Self::Out> {
        Some((Some(left.clone()), Some(right.clone())))
    }
    fn left(&self, left: L, matched: bool) -> Option<Self::Out> {
        (!matched).then_some((Some(left), None))
    }
    fn right(&self, right: R, matched: bool) -> Option<Self::Out> {
        (!matched).then_some((None, Some(right)))
    }
}

/// What of the first stream has a partner, once.
#[derive(Clone, Copy, Debug)]
pub struct Semi;

impl<L: Record, R: Record> Kind<L, R> for Semi {
    type Out = L;
    const PAIRS: bool = false;
    fn left(&self, left: L, matched: bool) -> Option<L> {
        matched.then_some(left)
    }
}

/// What of the first stream has no partner.
#[derive(Clone, Copy, Debug)]
pub struct Anti;

impl<L: Record, R: Record> Kind<L, R> for Anti {
    type Out = L;
    const PAIRS: bool = false;
    fn left(&self, left: L, matched: bool) -> Option<L> {
        (!matched).then_some(left)
    }
}
