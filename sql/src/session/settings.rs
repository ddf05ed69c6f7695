//! Settings of a session: what `SET 'key' = 'value'` says.
//!
//! Flink's keys that mean something here are read; others are kept and shown, so that a script written for Flink runs.

use std::collections::BTreeMap;
use std::time::Duration;

use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{Result, plan_err};
use datafusion_expr::LogicalPlan;

use super::Shown;
use crate::catalog::{ConnectorTable, SideTable};

const MODE: &str = "execution.runtime-mode";
const PARALLELISM: &str = "parallelism.default";
const NAME: &str = "pipeline.name";
const TTL: &str = "table.exec.state.ttl";
const IDLE: &str = "table.exec.source.idle-timeout";

/// What was set.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Changes one.
    ///
    /// # Errors
    /// When the value is none for that key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            MODE if !["streaming", "batch", "automatic"].contains(&value.to_lowercase().as_str()) => {
                return plan_err!("'{MODE}' = '{value}': it is 'streaming', 'batch' or 'automatic'");
            }
            PARALLELISM if value.parse::<usize>().is_err() => {
                return plan_err!("'{PARALLELISM}' = '{value}': it is a number of kernels");
            }
            TTL | IDLE => drop(duration(value)?),
            _ => {}
        }
        self.0.insert(key.into(), value.into());
        Ok(())
    }

    /// Forgets one, or all.
    pub fn reset(&mut self, key: Option<&str>) {
        match key {
            Some(key) => drop(self.0.remove(key)),
            None => self.0.clear(),
        }
    }

    /// All, as rows.
    pub fn show(&self) -> Shown {
        Shown::columns(["key", "value"], self.0.iter().map(|(key, value)| [key.clone(), value.clone()]))
    }

    /// How many kernels jobs are to run on, if that was set.
    pub fn parallelism(&self) -> Option<usize> {
        self.get(PARALLELISM)?.parse().ok().filter(|kernels| *kernels > 0)
    }

    /// The name of the next job, if that was set.
    pub fn job_name(&self) -> Option<&str> {
        self.get(NAME)
    }

    /// A span of time that was set.
    ///
    /// # Errors
    /// When the value is none.
    pub fn span(&self, key: &str) -> Result<Option<Duration>> {
        self.get(key).map(duration).transpose()
    }

    /// For how long state is kept that no row has come for.
    pub(crate) fn time_to_live(&self) -> Option<Duration> {
        duration(self.get(TTL)?).ok().filter(|span| !span.is_zero())
    }

    /// After how long without a row a source stops holding others back.
    pub(crate) fn idle(&self) -> Option<Duration> {
        duration(self.get(IDLE)?).ok().filter(|span| !span.is_zero())
    }

    /// Whether only final rows are asked for; `automatic` means so where all that is read has an end.
    pub(crate) fn is_batch(&self, plan: &LogicalPlan) -> bool {
        match self.get(MODE).map(str::to_lowercase).as_deref() {
            Some("batch") => true,
            Some("automatic") => is_bounded(plan),
            _ => false,
        }
    }
}

fn is_bounded(plan: &LogicalPlan) -> bool {
    let mut bounded = true;
    let look = |plan: &LogicalPlan| {
        if let LogicalPlan::TableScan(scan) = plan {
            let source = &*scan.source as &dyn std::any::Any;
            let table = source.downcast_ref::<ConnectorTable>();
            let table = table.or_else(|| source.downcast_ref::<SideTable>().map(|side| &*side.of));
            bounded &= table.is_some_and(|table| table.connector.is_bounded(&table.table));
        }
        Ok(TreeNodeRecursion::Continue)
    };
    plan.apply_with_subqueries(look).is_ok() && bounded
}

/// A span as Flink writes it: `10 s`, `5min`, `1 d`; without a unit, milliseconds.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim().chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.trim().split_at(digits);
    let unit = match unit.trim().to_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return plan_err!("'{text}' is no span of time; write '10 s', '5 min', '1 h' or '1 d'"),
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(nanos) => Ok(Duration::from_nanos(nanos)),
        None => plan_err!("'{text}' is no span of time; write '10 s', '5 min', '1 h' or '1 d'"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    #[test]
    fn spans_are_as_in_flink() {
        for (text, millis) in
            [("10 s", 10_000), ("5min", 300_000), ("250", 250), ("1 d", 86_400_000), ("2 h", 7_200_000)]
        {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        assert!(duration("soon").is_err() && duration("").is_err() && duration("99999999999 d").is_err());
    }
}
