//! A join that is driven by hand.

use updraft_dataflow::join::Side;
use updraft_dataflow::operator::Operator;
use updraft_dataflow::{Epoch, Hashed, Punctuation, Rows, Time};

use crate::driven::{Driven, Kernels};

pub(crate) struct ByHand<O: Operator<Side<Hashed, Hashed>, Out = Rows>> {
    driven: Driven<Side<Hashed, Hashed>, O>,
    epoch: u64,
    /// How far the stages after it have been told that they have come.
    pub(crate) watermark: Time,
}

impl<O: Operator<Side<Hashed, Hashed>, Out = Rows>> ByHand<O> {
    /// On one kernel.
    pub(crate) fn new(operator: O) -> Self {
        Self::on(operator, 1)
    }

    pub(crate) fn on(operator: O, kernels: impl Into<Kernels>) -> Self {
        Self { driven: Driven::new(operator, kernels), epoch: 0, watermark: Time::MIN }
    }

    pub(crate) fn give(&self, rows: Vec<Side<Hashed, Hashed>>) -> Vec<Rows> {
        let is_end = |rows: &Side<Hashed, Hashed>| match rows {
            Side::Left(rows) | Side::Right(rows) => rows.is_end(),
        };
        let give = |rows| if is_end(&rows) { self.driven.all(&rows) } else { self.driven.bundle(rows) };
        rows.into_iter().flat_map(give).collect()
    }

    pub(crate) fn left(&self, rows: Hashed) -> Vec<Rows> {
        self.give(vec![Side::Left(rows)])
    }

    pub(crate) fn right(&self, rows: Hashed) -> Vec<Rows> {
        self.give(vec![Side::Right(rows)])
    }

    /// Closes the epoch.
    pub(crate) fn close(&mut self, watermark: Time, now: Time) -> Vec<Rows> {
        let punctuation = Punctuation { epoch: Epoch(self.epoch), watermark, now };
        self.epoch += 1;
        let out = self.driven.end(punctuation);
        self.watermark = self.driven.watermark(punctuation);
        out
    }

    /// Closes an epoch in which time stands still: nothing comes of it.
    pub(crate) fn pause(&mut self) {
        assert!(self.close(Time(0), Time(0)).is_empty());
    }

    pub(crate) fn end(mut self) -> Vec<Rows> {
        let out = self.close(Time::MAX, Time(0));
        assert_eq!(self.bytes(), 0, "at the end nothing is charged");
        out
    }

    pub(crate) fn bytes(&self) -> usize {
        self.driven.bytes()
    }
}
