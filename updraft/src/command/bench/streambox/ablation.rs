//! The parts of the engine that can be done without, one at a time, to see what each is worth.

use std::fmt;

use clap::Args;
use updraft::dataflow::EpochOrder;
use updraft::prelude::*;

use super::replay::Feed;

/// Compare with a job without something, or with other records. Each is measured by itself, beside the job as it is.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Ablations")]
pub(super) struct Switches {
    /// An epoch waits until the one before it is complete.
    #[arg(long)]
    in_order: bool,
    /// Idle kernels do not take work that others have made.
    #[arg(long)]
    no_stealing: bool,
    /// The newest work goes first, not the oldest and that nearest to the exit.
    #[arg(long)]
    no_priority: bool,
    /// Results go to the newest open epoch; they are late, and may be wrong.
    #[arg(long)]
    ignore_boundaries: bool,
    /// So many percent of the records come early; the paper has 20,40.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=100))]
    disorder: Vec<u64>,
    /// Records between two watermarks; the paper has 1000000,100000,10000,1000.
    #[arg(long, value_name = "RECORDS", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    epoch: Vec<u64>,
}

/// One thing that is otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ablation {
    InOrder,
    NoStealing,
    NoPriority,
    IgnoreBoundaries,
    Disorder(u64),
    Epoch(u64),
}

impl Switches {
    pub(super) fn chosen(&self) -> Vec<Ablation> {
        let flags = [
            (self.in_order, Ablation::InOrder),
            (self.no_stealing, Ablation::NoStealing),
            (self.no_priority, Ablation::NoPriority),
            (self.ignore_boundaries, Ablation::IgnoreBoundaries),
        ];
        let flags = flags.into_iter().filter_map(|(on, ablation)| on.then_some(ablation));
        let disorder = self.disorder.iter().map(|percent| Ablation::Disorder(*percent));
        flags.chain(disorder).chain(self.epoch.iter().map(|records| Ablation::Epoch(*records))).collect()
    }
}

impl Ablation {
    /// The job without it.
    pub(super) fn job(self, job: Job) -> Job {
        match self {
            Self::InOrder => job.epoch_order(EpochOrder::In),
            Self::NoStealing => job.stealing(false),
            Self::NoPriority => job.priority(false),
            Self::IgnoreBoundaries => job.ignore_boundaries(),
            Self::Disorder(_) | Self::Epoch(_) => job,
        }
    }

    /// The records with it.
    pub(super) fn feed(self, feed: Feed) -> Feed {
        match self {
            Self::Disorder(disorder) => Feed { disorder, ..feed },
            Self::Epoch(records) => Feed { epoch: Some(records), ..feed },
            _ => feed,
        }
    }

    /// What the paper lost (as [`super::paper`]; epochs: word count, beside epochs of a million).
    pub(super) fn in_the_paper(self) -> &'static str {
        match self {
            Self::InOrder => "-25% to -87%",
            Self::NoPriority => "latency up to 10x",
            Self::IgnoreBoundaries => "-71% at most",
            Self::Disorder(40) => "-7%",
            Self::Epoch(100_000) => "-13%",
            Self::Epoch(10_000) => "-31%",
            Self::Epoch(1_000) => "-81%",
            Self::NoStealing | Self::Disorder(_) | Self::Epoch(_) => "says nothing",
        }
    }
}

impl fmt::Display for Ablation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InOrder => f.pad("epochs in order"),
            Self::NoStealing => f.pad("no stealing"),
            Self::NoPriority => f.pad("no priority"),
            Self::IgnoreBoundaries => f.pad("boundaries ignored"),
            Self::Disorder(percent) => f.pad(&format!("{percent}% early")),
            Self::Epoch(records) => f.pad(&format!("epochs of {records}")),
        }
    }
}
