//! Rows that are joined with the greatest of their own window: `b.price = MAX(price)` of `TABLE(TUMBLE(TABLE bid, …))`, where
//! bounds of time say that it is the window which the row is in.
//!
//! Such a row finds no partner where another one of its window is greater. Those that are less than another of the same bundle
//! are left out before the join has to send and to keep them: of a thousand about one is left. That is right only
//! where all rows that are compared are also among those of which the greatest is taken: both have to come from one table, by
//! the same filters, and in time.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::logical_plan::Aggregate;
use datafusion_expr::{Expr, LogicalPlan};
use updraft_dataflow::Rows;

use super::project::column_of;
use super::{Builder, Clock, Flow, Node, Operation};
use crate::fail::fail;
use crate::plan::origin::Origin;
use crate::plan::window::{WindowKind, WindowTvf};

/// A value of rows that a join wants to be the greatest of a window.
pub(super) struct Greatest {
    /// Which of the pairs that have to be equal says so.
    pub(super) pair: usize,
    is_least: bool,
    /// The time by which rows are in windows, in terms of the table.
    time: Expr,
    size: i64,
    offset: i64,
}

impl Greatest {
    /// Of rows that are joined with results by window, where `on` is equal: of the rows, of the results.
    pub(super) fn of(rows: &LogicalPlan, results: &LogicalPlan, on: &[(&Expr, &Expr)]) -> Result<Option<Self>> {
        for (pair, (value, greatest)) in on.iter().enumerate() {
            let (plan, greatest) = Origin::of_one(results, greatest)?;
            let LogicalPlan::Aggregate(aggregate) = plan else { continue };
            let found = column_of(&greatest, &aggregate.schema).and_then(|at| extreme(aggregate, at));
            let (Some((of, is_least)), Some(tvf)) = (found, windows(aggregate)?) else { continue };
            let WindowKind::Tumble { size } = tvf.kind else { continue };
            let Some(time) = same_value(rows, value, aggregate, of, tvf)? else { continue };
            return Ok(Some(Self { pair, is_least, time, size, offset: tvf.offset }));
        }
        Ok(None)
    }

    /// Whether an expression over the rows is the time by which they are in windows.
    pub(super) fn is_time(&self, rows: &LogicalPlan, expr: &Expr) -> bool {
        Origin::of_one(rows, expr).is_ok_and(|(_, expr)| expr == self.time)
    }

    /// What leaves out rows that are less than others of their window, if they can be compared. A row's time is from `lower` to
    /// `upper` microseconds after the end of the windows that it is joined with.
    pub(super) fn keep(&self, rows: &DFSchema, value: usize, time: usize, [lower, upper]: [i64; 2]) -> Option<Keep> {
        let unit = match rows.field(time).data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => 1_000_000,
            DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1,
            _ => return None,
        };
        let of = rows.field(value).data_type();
        let has_order = of.is_signed_integer() || matches!(of, DataType::Timestamp(..) | DataType::Date32);
        let Self { is_least, size, offset, .. } = *self;
        let windows = Windows { unit, size, offset, lower, upper };
        (has_order && windows.some_are_only()).then(|| Keep {
            value,
            time,
            is_least,
            windows,
            shown: rows.field(value).name().clone(),
        })
    }
}

/// How much earlier than the end of its window a column of results is, in microseconds.
pub(super) fn before_end(results: &LogicalPlan, expr: &Expr) -> Option<i64> {
    let (plan, expr) = Origin::of_one(results, expr).ok()?;
    let LogicalPlan::Aggregate(aggregate) = plan else { return None };
    let key = aggregate.group_expr.get(column_of(&expr, &aggregate.schema)?)?;
    match edge(aggregate, key).ok()?? {
        (_, 1) => Some(0),
        (_, 2) => Some(1_000),
        _ => None,
    }
}

/// What the greatest or the least is of, and whether it is the least: all of it, without a filter.
fn extreme(aggregate: &Aggregate, column: usize) -> Option<(&Expr, bool)> {
    let expr = &aggregate.aggr_expr[column.checked_sub(aggregate.group_expr.len())?];
    let Expr::AggregateFunction(call) = (if let Expr::Alias(alias) = expr { &alias.expr } else { expr }) else {
        return None;
    };
    let is_least = match call.func.name() {
        "max" => false,
        "min" => true,
        _ => return None,
    };
    match &*call.params.args {
        [of] if call.params.filter.is_none() => Some((of, is_least)),
        _ => None,
    }
}

/// The windows that an aggregate groups by, if by nothing else.
fn windows(aggregate: &Aggregate) -> Result<Option<&WindowTvf>> {
    let mut found = None;
    for key in &aggregate.group_expr {
        let Some((tvf, _)) = edge(aggregate, key)? else { return Ok(None) };
        found = Some(tvf);
    }
    Ok(found)
}

/// Which column of its window a key of an aggregate is: start, end or time.
fn edge<'a>(aggregate: &'a Aggregate, key: &Expr) -> Result<Option<(&'a WindowTvf, usize)>> {
    let (plan, key) = Origin::of_one(&aggregate.input, key)?;
    let LogicalPlan::Extension(extension) = plan else { return Ok(None) };
    let Some(tvf) = extension.node.as_any().downcast_ref::<WindowTvf>() else { return Ok(None) };
    let column = column_of(&key, plan.schema()).and_then(|column| column.checked_sub(tvf.input_columns()));
    Ok(column.map(|column| (tvf, column)))
}

/// The time by which rows are in windows, if each row is among those that the aggregate takes the greatest of, and has there
/// the value that it is joined by.
fn same_value(
    rows: &LogicalPlan,
    value: &Expr,
    aggregate: &Aggregate,
    of: &Expr,
    tvf: &WindowTvf,
) -> Result<Option<Expr>> {
    let windowed = Origin::of(&aggregate.input, vec![of.clone()])?;
    let asked = windowed.exprs.iter().chain(&windowed.filters);
    if asked.clone().flat_map(Expr::column_refs).any(|column| !tvf.input.schema().has_column(column)) {
        return Ok(None);
    }
    let time = Expr::Column(tvf.time.clone());
    let all = Origin::of(&tvf.input, [time].into_iter().chain(asked.cloned()).collect())?;
    let own = Origin::of(rows, vec![value.clone()])?;
    let (LogicalPlan::TableScan(one), LogicalPlan::TableScan(other)) = (all.plan, own.plan) else { return Ok(None) };
    if !Arc::ptr_eq(&one.source, &other.source) || one.fetch.is_some() {
        return Ok(None);
    }
    let [time, of, filters @ ..] = &*all.exprs else { return Ok(None) };
    let mut filters = filters.iter().chain(&all.filters).chain(&one.filters);
    let are_among = filters.all(|filter| !filter.is_volatile() && own.filters.contains(filter));
    Ok((are_among && own.exprs[0] == *of && !of.is_volatile()).then(|| time.clone()))
}

/// Leaves out rows that are less than others of their window.
pub(super) struct Keep {
    value: usize,
    time: usize,
    is_least: bool,
    windows: Windows,
    shown: String,
}

impl Keep {
    /// Of a node's rows.
    pub(super) fn over(self, input: Node) -> Node {
        let (schema, traits) = (input.schema.clone(), input.traits.clone());
        Node::new(self, vec![input], schema, traits)
    }
}

impl Operation for Keep {
    fn describe(&self) -> String {
        let which = if self.is_least { "least" } else { "greatest" };
        format!("Filter(where=[{} may be the {which} of its window])", self.shown)
    }

    /// Rows that come too late for the windows are none of these.
    fn clock(&self) -> Option<Clock> {
        Some(Clock::Event(self.windows.size))
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        Ok(inputs.swap_remove(0).step(move |rows| self.keep(rows)))
    }
}

impl Keep {
    fn keep(&self, rows: Rows) -> Option<Rows> {
        let [times, values] = [self.time, self.value].map(|column| numbers(&rows, column));
        if times.null_count() > 0 || values.null_count() == values.len() {
            return Some(rows);
        }
        // Backwards, the least is the greatest.
        let values = if self.is_least { values.unary(|value: i64| !value) } else { values };
        let kept = self.windows.kept(times.values(), &values);
        Some(rows.filter(&BooleanArray::from(kept)).unwrap_or_else(|error| fail(error))).filter(|rows| !rows.is_empty())
    }
}

fn numbers(rows: &Rows, column: usize) -> PrimitiveArray<Int64Type> {
    let column = cast(rows.batch().column(column), &DataType::Int64).unwrap_or_else(|error| fail(error));
    column.as_primitive().clone()
}

/// Windows side by side; all in microseconds.
#[derive(Clone, Copy)]
struct Windows {
    /// How long the unit is that times are counted in.
    unit: i64,
    size: i64,
    offset: i64,
    /// How much later than the end of a window a row's time is that is joined with it.
    lower: i64,
    upper: i64,
}

/// A window, in the unit of times.
#[derive(Clone, Copy)]
struct Window {
    start: i64,
    end: i64,
    /// The times of which rows are joined with no other window.
    only: [i64; 2],
}

impl Windows {
    /// Whether there are times of which rows are joined with their own window only.
    fn some_are_only(&self) -> bool {
        let (after, before) = (self.upper, self.lower.saturating_add(2 * self.size));
        after.max(0) < before.min(self.size)
    }

    /// Whether rows may be the greatest of their windows, or are joined with other windows as well.
    fn kept(&self, times: &[i64], values: &PrimitiveArray<Int64Type>) -> BooleanBuffer {
        let mut window = self.window(times[0]);
        let mut greatest = HashMap::new();
        let mut most = i64::MIN;
        for (row, time) in times.iter().enumerate() {
            if !window.has(*time) {
                greatest.insert(window.start, most);
                window = self.window(*time);
                most = greatest.get(&window.start).copied().unwrap_or(i64::MIN);
            }
            if values.is_valid(row) {
                most = most.max(values.value(row));
            }
        }
        greatest.insert(window.start, most);
        BooleanBuffer::collect_bool(times.len(), |row| {
            let time = times[row];
            if !window.has(time) {
                window = self.window(time);
                most = greatest[&window.start];
            }
            values.value(row) >= most || !window.is_only(time)
        })
    }

    fn window(&self, time: i64) -> Window {
        let micros = time.saturating_mul(self.unit);
        let start = micros.saturating_sub(micros.saturating_sub(self.offset).rem_euclid(self.size));
        let [end, next] = [1, 2].map(|windows| start.saturating_add(windows * self.size));
        // `time - e` is from `lower` to `upper` of no end but this one.
        let (after, before) = (start.saturating_add(self.upper), next.saturating_add(self.lower));
        let up = |micros: i64| micros.div_euclid(self.unit) + i64::from(micros.rem_euclid(self.unit) > 0);
        Window { start: up(start), end: up(end), only: [after.div_euclid(self.unit) + 1, up(before)] }
    }
}

impl Window {
    fn has(&self, time: i64) -> bool {
        (self.start..self.end).contains(&time)
    }

    fn is_only(&self, time: i64) -> bool {
        (self.only[0]..self.only[1]).contains(&time)
    }
}
