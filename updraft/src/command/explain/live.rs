//! `updraft explain` of a job that runs: what it is made of, and what each part has done.

use std::path::Path;

use updraft::control::{PartView, PlanView};
use updraft::dataflow::explain::described;

use crate::command::control::{Result, called, wait};

/// The plan of the job that is called so, if one runs: none where it is a file.
pub(super) fn plan(job: &str) -> Result<Option<PlanView>> {
    if Path::new(job).exists() {
        return Ok(None);
    }
    wait(async {
        // Where none is called so it is a file that is missing.
        let Some(found) = called(job).await? else { return Ok(None) };
        Ok(Some(found.connect().await?.get(&found.path("/plan")).await?))
    })
}

/// It, with its figures, for people.
pub(super) fn shown(plan: &PlanView) -> String {
    let mut text = format!("job {}: {}; epoch {}\n", plan.job, plan.about, plan.epoch);
    for (number, node) in plan.nodes.iter().enumerate() {
        let inputs = node.inputs.iter().map(|edge| (edge.from, &*edge.outlet, &edge.exchange));
        text += &described(number, &node.part.kind, &node.part.name, &node.about, inputs);
        text += &format!("      {}\n", figures(&node.part));
    }
    text
}

/// Hot keys of a part that are told, at most.
const HOTTEST: usize = 3;

fn figures(part: &PartView) -> String {
    let seen = &part.seen;
    let mut figures = match &*part.kind {
        "source" => {
            let mut told = vec![format!("{} records read", seen.records_in)];
            told.extend((seen.late > 0).then(|| format!("{} late", seen.late)));
            told.extend((seen.rejected > 0).then(|| format!("{} not decoded", seen.rejected)));
            let waited = seen.blocked.as_secs_f64();
            told.extend((waited >= 0.01).then(|| format!("waited for {waited:.2} s")));
            told
        }
        "sink" => {
            let removed = if part.is_attached { "" } else { ", and removed" };
            vec![format!("{} records written{removed}", seen.records_in)]
        }
        _ => {
            let mut told = vec![format!("{} records in, {} out", seen.records_in, seen.records_out)];
            told.push(format!("{:.2} s of kernels", seen.busy.as_secs_f64()));
            told.extend((seen.state > 0).then(|| format!("{:.1} MB kept", seen.state as f64 / 1e6)));
            told
        }
    };
    let records: Vec<_> = part.loads.iter().map(|load| load.records).collect();
    let (most, all) = (records.iter().max().copied().unwrap_or(0), records.iter().sum::<u64>());
    if part.is_keyed && all > 0 {
        let share = 100.0 * most as f64 / all as f64;
        figures.push(format!("{share:.0} % of them in the largest of {} shards", records.len()));
    }
    let hot =
        part.hot.iter().map(|hot| format!("key {} is {:.0} % of shard {}", hot.key, 100.0 * hot.share, hot.shard));
    figures.extend(hot.take(HOTTEST));
    figures.extend(part.watermark.map(|millis| format!("watermark {}", updraft::control::at(millis))));
    figures.join(", ")
}
