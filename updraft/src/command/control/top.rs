//! `updraft top`: what each part of a job does, once a second.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use updraft::control::{CutView, PartView};
use updraft::dataflow::control::Rate;

use super::{Outcome, one, wait};

/// Show what each part of a job does, once a second.
///
/// All figures of a line are of the same epochs. The part that holds the others up is marked: sources wait, and it is what kernels work for most.
#[derive(Args)]
pub(in crate::command) struct Top {
    /// The job, as `updraft ps` shows it: its id, its process or its name. It need not be said if there is but one.
    job: Option<String>,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    every: f64,
    /// How often to look; until the job ends by default.
    #[arg(long)]
    count: Option<u64>,
}

/// A span that makes sense.
pub(in crate::command) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.05 to 3600".into()),
    }
}

impl Top {
    pub(in crate::command) fn run(self) -> Outcome {
        wait(async {
            let found = one(self.job.as_deref()).await?;
            let (path, mut client) = (found.path(""), found.connect().await?);
            let mut before: CutView = client.get(&path).await?;
            let mut looks = 0;
            while self.count.is_none_or(|count| looks < count) {
                std::thread::sleep(Duration::from_secs_f64(self.every));
                // The job may have ended meanwhile.
                let Ok(now) = client.get::<CutView>(&path).await else { break };
                if std::io::stdout().is_terminal() {
                    print!("\x1b[2J\x1b[H");
                }
                print!("{}", shown(&found.job.name, &before, &now));
                (before, looks) = (now, looks + 1);
            }
            Ok(())
        })
    }
}

fn rates(before: &CutView, now: &CutView) -> Vec<Rate> {
    let seconds = now.at - before.at;
    let rate = |(was, is): (&PartView, &PartView)| is.seen.since(&was.seen, seconds, is.instances);
    before.parts.iter().zip(&now.parts).map(rate).collect()
}

/// Who holds the sources up: what is worked for most, where they wait for a tenth of the time or more.
fn culprit(parts: &[PartView], rates: &[Rate]) -> Option<usize> {
    let waits = parts.iter().zip(rates).any(|(part, rate)| part.kind == "source" && rate.blocked > 0.1);
    let busiest = rates.iter().enumerate().filter(|(at, _)| parts[*at].kind != "source");
    let busiest = busiest.max_by(|(_, one), (_, other)| one.busy.total_cmp(&other.busy))?;
    (waits && busiest.1.busy > 0.0).then_some(busiest.0)
}

fn shown(name: &str, before: &CutView, now: &CutView) -> String {
    let rates = rates(before, now);
    let culprit = culprit(&now.parts, &rates);
    let latency = now
        .latency
        .map_or("no results yet".into(), |(p50, p99)| format!("results after {p50:.1} ms, {p99:.1} ms (p99)"));
    let mut text = format!(
        "{name}: epoch {}, {} under way, {latency}, {:.1} MB, {:.1} s of event time unfinished\n",
        now.epoch,
        now.epochs_in_flight,
        now.memory as f64 / 1e6,
        now.watermark_lag as f64 / 1e3
    );
    text += &format!("{:>12} {:>12} {:>8} {:>8} {:>10}  PART\n", "IN/s", "OUT/s", "KERNELS", "WAITS", "STATE");
    for (at, (part, rate)) in now.parts.iter().zip(&rates).enumerate() {
        let holds_up = if culprit == Some(at) { "  ← holds the sources up" } else { "" };
        text += &format!(
            "{:>12.0} {:>12.0} {:>8.2} {:>7.0}% {:>8.1}MB  {} {}{holds_up}\n",
            rate.records_in,
            rate.records_out,
            rate.busy,
            100.0 * rate.blocked.min(1.0),
            part.seen.state as f64 / 1e6,
            part.kind,
            part.name
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use updraft::dataflow::control::Seen;

    use super::*;

    fn part(kind: &str, records: u64, busy: f64, blocked: f64) -> PartView {
        PartView {
            kind: kind.into(),
            name: "x".into(),
            instances: 2,
            is_keyed: false,
            is_splittable: false,
            is_attached: true,
            seen: Seen {
                records_in: records,
                records_out: records,
                busy: Duration::from_secs_f64(busy),
                blocked: Duration::from_secs_f64(blocked),
                ..Seen::default()
            },
            loads: Vec::new(),
            hot: Vec::new(),
            watermark: None,
        }
    }

    fn cut(at: f64, parts: Vec<PartView>) -> CutView {
        CutView { epoch: 0, at, took: 0.0, epochs_in_flight: 0, memory: 0, watermark_lag: 0, latency: None, parts }
    }

    #[test]
    fn who_holds_sources_up_is_named() {
        let before = cut(1.0, vec![part("source", 0, 0.0, 0.0), part("stage", 0, 0.0, 0.0), part("sink", 0, 0.0, 0.0)]);
        let after = |blocked, stage, sink| {
            cut(
                3.0,
                vec![part("source", 200, 0.0, blocked), part("stage", 200, stage, 0.0), part("sink", 200, sink, 0.0)],
            )
        };
        let named = |after: &CutView| culprit(&after.parts, &rates(&before, after));
        assert_eq!(named(&after(3.0, 1.9, 0.1)), Some(1));
        assert_eq!(named(&after(3.0, 0.1, 1.9)), Some(2));
        assert_eq!(named(&after(0.1, 1.9, 0.1)), None, "nobody waits");
        let text = shown("job", &before, &after(3.0, 1.9, 0.1));
        assert!(
            text.contains("         100          100     0.95       0%      0.0MB  stage x  ← holds the sources up"),
            "{text}"
        );
    }
}
