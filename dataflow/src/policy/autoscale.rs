//! [`Autoscale`]: as many kernels as there is work for.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::{Change, Decision, Policy, percent};
use crate::control::{Cut, Rescale};
use crate::explain::NodeKind;

/// Has more kernels work for a job when those that do are busy for most of the time, and fewer when they are idle for most of it.
#[derive(Clone, Debug)]
pub struct Autoscale {
    kernels: RangeInclusive<usize>,
    busy: (f64, f64),
    patience: u32,
    /// How often in a row there has been too much, or too little.
    seen: (u32, u32),
}

impl Autoscale {
    /// So many at least, and so many at most. They are to be busy for 30 to 80 % of the time; what is seen three times in a row is so.
    pub fn within(kernels: RangeInclusive<usize>) -> Self {
        Self { kernels, busy: (0.3, 0.8), patience: 3, seen: (0, 0) }
    }

    /// Which share of the time they are to be busy.
    #[must_use]
    pub fn busy(self, least: f64, most: f64) -> Self {
        Self { busy: (least, most), ..self }
    }

    /// How often in a row it must be seen.
    #[must_use]
    pub fn patience(self, looks: u32) -> Self {
        Self { patience: looks.max(1), ..self }
    }
}

impl Policy for Autoscale {
    const NAME: &'static str = "autoscale";

    fn decide(&mut self, before: &Cut, now: &Cut) -> Vec<Decision> {
        let stages = |cut: &&crate::control::PartCut| cut.part.kind == NodeKind::Stage;
        let working: BTreeSet<_> =
            now.parts.iter().filter(stages).flat_map(|cut| &cut.loads).map(|load| load.kernel).collect();
        let working = working.len().max(1);
        let of_stage = now.since(before).into_iter().filter(|(part, _)| part.kind == NodeKind::Stage);
        let busy: f64 = of_stage.map(|(_, rate)| rate.busy).sum();
        let share = busy / working as f64;
        let (least, most) = self.busy;
        let seen = self.seen;
        self.seen = match share {
            share if share > most => (seen.0 + 1, 0),
            share if share < least => (0, seen.1 + 1),
            _ => (0, 0),
        };
        // As many as would be busy for half of what is allowed between the two.
        let enough = (busy / ((least + most) / 2.0)).ceil() as usize;
        let bounds = |kernels: usize| kernels.clamp(*self.kernels.start(), *self.kernels.end()).min(now.kernels);
        let wanted = match self.seen {
            (over, _) if over >= self.patience => bounds(enough.max(working + 1)),
            (_, under) if under >= self.patience => bounds(enough.min(working - 1).max(1)),
            _ => bounds(working),
        };
        if wanted == working {
            return Vec::new();
        }
        self.seen = (0, 0);
        let why = format!("{working} kernels are busy for {} of the time: {wanted} would be enough", percent(share));
        vec![Decision { change: Change::Rescale(Rescale::job(wanted)), why }]
    }
}
