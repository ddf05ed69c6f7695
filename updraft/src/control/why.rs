//! Why a job gives no rows: its metrics tell which source gives nothing, which holds the watermark back, or which stage lets nothing through.

use std::fmt::Write;
use std::time::Duration;

use updraft_dataflow::Time;
use updraft_dataflow::metrics::{JobMetrics, SourceMetrics, StageMetrics};
use updraft_sql::arrow::temporal_conversions::timestamp_us_to_datetime;

/// What of a job's metrics explains that it has given nothing; one finding a line, the gravest first.
pub fn why(metrics: &JobMetrics, ran: Duration) -> String {
    let results = metrics.results();
    let seconds = ran.as_secs_f64();
    if results > 0 {
        return format!("it does give output: {results} rows in {seconds:.1} s\n");
    }
    let mut told = format!("no output in {seconds:.1} s:\n");
    let silent: Vec<_> = metrics.sources.iter().filter(|source| source.records() == 0).collect();
    for source in &silent {
        let _ = writeln!(told, "- `{}` has given no row: is there something to read?{}", source.name, rejected(source));
    }
    metrics.sources.iter().filter(|source| all_late(source)).for_each(|source| {
        let _ = writeln!(
            told,
            "- all {} rows of `{}` were late: allow for more disorder in its WATERMARK",
            source.late(),
            source.name
        );
    });
    if let Some(holder) = holder(metrics) {
        told += &holder;
    }
    if silent.is_empty() {
        metrics.stages.iter().filter(|stage| swallows(stage)).take(1).for_each(|stage| {
            let _ = writeln!(told, "- the stage `{}` has taken {} rows and given none", stage.name, stage.records_in());
        });
    }
    told
}

fn rejected(source: &SourceMetrics) -> String {
    match source.rejected() {
        0 => String::new(),
        rejected => format!(" ({rejected} could not be decoded)"),
    }
}

fn all_late(source: &SourceMetrics) -> bool {
    source.records() > 0 && source.late() == source.records()
}

fn swallows(stage: &StageMetrics) -> bool {
    stage.records_in() > 0 && stage.records_out() == 0
}

/// The input whose watermark is behind all others'.
fn holder(metrics: &JobMetrics) -> Option<String> {
    let timed: Vec<_> =
        metrics.sources.iter().filter(|source| source.newest() > Time::MIN || metrics.sources.len() > 1).collect();
    let least = |source: &SourceMetrics| {
        source.partitions().into_iter().enumerate().min_by_key(|(_, partition)| partition.watermark)
    };
    let (source, (partition, last)) =
        timed.iter().filter_map(|source| Some((source, least(source)?))).min_by_key(|(_, (_, last))| last.watermark)?;
    if last.watermark == Time::MAX {
        return None;
    }
    let whose = match source.partitions().len() {
        1 => format!("`{}`", source.name),
        n => format!("partition {} of {n} of `{}`", partition + 1, source.name),
    };
    let newest = metrics.sources.iter().map(|source| source.newest()).max()?;
    let mut told = format!(
        "- {whose} holds the watermark at {}; its newest row is of {}",
        at(last.watermark),
        at(source.newest())
    );
    if newest > source.newest() {
        let _ = write!(told, ", while others have come to {}", at(newest));
    }
    if last.is_idle {
        told += " (it is idle)";
    } else if source.records() == 0 {
        told += ": 'scan.watermark.idle-timeout' lets the others go on without it";
    } else {
        told += ": windows that end later wait for rows beyond that";
    }
    told.push('\n');
    Some(told)
}

/// A time as people read it.
pub(super) fn at(time: Time) -> String {
    match time {
        Time::MIN => "the beginning".into(),
        Time::MAX => "the end".into(),
        time => match timestamp_us_to_datetime(time.as_micros()) {
            Some(date) => date.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            None => time.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_dates() {
        assert_eq!(at(Time::from_millis(1_436_918_400_250)), "2015-07-15 00:00:00.250");
        assert_eq!(at(Time::from_millis(-1)), "1969-12-31 23:59:59.999");
        assert_eq!(at(Time::from_secs(951_782_400)), "2000-02-29 00:00:00.000");
    }
}
