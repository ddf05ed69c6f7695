//! A join that is driven by hand, on one kernel.

use updraft_dataflow::join::Side;
use updraft_dataflow::operator::{Operator, OperatorStage};
use updraft_dataflow::{Bundle, Epoch, Generation, Hashed, Punctuation, Rows, Stage, Time};

pub(crate) struct ByHand<O: Operator<Side<Hashed, Hashed>, Out = Rows>> {
    stage: OperatorStage<Side<Hashed, Hashed>, O>,
    local: Vec<<OperatorStage<Side<Hashed, Hashed>, O> as Stage>::Local>,
    epoch: u64,
    /// How far the stages after it have been told that they have come.
    pub(crate) watermark: Time,
}

impl<O: Operator<Side<Hashed, Hashed>, Out = Rows>> ByHand<O> {
    pub(crate) fn new(operator: O) -> Self {
        let stage = OperatorStage::new(operator, 1);
        let local = vec![stage.local(0)];
        Self { stage, local, epoch: 0, watermark: Time::MIN }
    }

    pub(crate) fn give(&self, rows: Vec<Side<Hashed, Hashed>>) -> Vec<Rows> {
        let mut out = Vec::new();
        self.stage.bundle(&self.local[0], Generation(0), Bundle::from(rows), &mut |b| out.extend(b.into_vec()));
        out
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
        let mut out = Vec::new();
        for part in self.stage.seal(&self.local, punctuation) {
            self.stage.part(&self.local[0], part, &mut |b| out.extend(b.into_vec()));
        }
        self.watermark = self.stage.watermark(punctuation);
        out
    }

    pub(crate) fn end(mut self) -> Vec<Rows> {
        let out = self.close(Time::MAX, Time(0));
        assert_eq!(self.bytes(), 0, "at the end nothing is charged");
        out
    }

    pub(crate) fn bytes(&self) -> usize {
        self.stage.state_bytes()
    }
}
