//! `GROUP BY`: which of the ways to aggregate a query takes.
//!
//! * By window, pending ones: the stage of windowed aggregates itself finds the slices ([`Windowed`]).
//! * By the columns of a window that rows were assigned to before: the same stage, of which a slice holds what ends together.
//! * In batch mode: the same stage with one window for all ([`Windowed`] without an end).
//! * Without an end in sight: results that change with each row, which [`super::changing`] keeps.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_common::{DFSchemaRef, Result, not_impl_err, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::logical_plan::Aggregate as LogicalAggregate;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_physical_expr::aggregate::LoweredAggregateBuilder;
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::window::{Shape, Sliced, Slicing};

use super::expr::{batch_schema, physical};
use super::group::{Groups, Output};
use super::key::{Keyed, with_columns, without_columns};
use super::project::column_of;
use super::{Builder, Clock, Flow, Node, Operation, Traits, Translator, WindowColumns, grouping_sets, session, window};
use crate::operator::aggregate::Aggregate;
use crate::operator::group_by::{GroupBy, Grouping, Tell};
use crate::plan::window::WindowKind;

/// Aggregates in windows, or all rows at the end.
struct Windowed {
    groups: Groups,
    /// None for all rows together, at the end of the input.
    slicing: Option<Slicing>,
    clock: Option<Clock>,
    shown: String,
}

impl Operation for Windowed {
    fn describe(&self) -> String {
        self.shown.clone()
    }

    fn clock(&self) -> Option<Clock> {
        self.clock
    }

    fn keeps(&self) -> Option<(&'static str, Layout)> {
        let (name, slicing) = self.slicing.map_or(("group", Slicing::WHOLE), |slicing| ("window", slicing));
        let [keys, states] = self.groups.layout();
        Some((name, Layout::of("window").table("keys", keys).table("states", states).sliced(&slicing)))
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        let stream = inputs.swap_remove(0).stream();
        Ok(match self.slicing {
            Some(slicing) => stream.window_rows("window", Cut(slicing), self.groups).into(),
            None => stream.window_rows("group", Cut(Slicing::WHOLE), self.groups).into(),
        })
    }
}

/// Windows that are cut in a way that the query says.
#[derive(Clone, Copy)]
struct Cut(Slicing);

impl Sliced for Cut {
    fn slicing(&self) -> Slicing {
        self.0
    }
}

/// How `GROUP BY` asks for windows.
struct ByWindow {
    window: WindowColumns,
    slicing: Slicing,
    /// The column that tells the time, and how much earlier it is, in microseconds.
    time: (usize, i64),
}

impl ByWindow {
    /// If some of the group's columns are those of a window.
    fn of(window: &WindowColumns, keys: &[Option<usize>]) -> Result<Option<Self>> {
        let grouped = |column: Option<usize>| column.is_some() && keys.contains(&column);
        if !grouped(window.start) && !grouped(window.end) {
            return Ok(None);
        }
        let column = window.any().filter(|_| grouped(window.end) || !window.is_pending || grouped(window.start));
        let Some(column) = column else { return Ok(None) };
        let millisecond = 1_000;
        let (slicing, early) = match (&window.kind, window.is_pending) {
            (kind, true) => (slicing(kind, window.offset), 0),
            (kind, false) => {
                // Of assigned rows a slice holds those whose windows end at its end.
                let step = kind.step().unwrap_or(millisecond);
                let edge = (window.offset + size(kind)).rem_euclid(step);
                (Slicing { size: step, slide: step, offset: edge, shape: Shape::Sliding }, millisecond)
            }
        };
        let early = match (window.is_pending, window.time, window.end) {
            (true, ..) => 0,
            (false, Some(_), _) if window.any() == window.time => 0,
            (false, _, Some(_)) => early,
            _ => return plan_err!("GROUP BY window_start needs window_end too"),
        };
        Ok(Some(Self { window: window.clone(), slicing, time: (column, early) }))
    }

    /// Whether it is a session of which the rows are not known yet.
    fn is_session(&self) -> bool {
        self.window.is_pending && matches!(self.window.kind, WindowKind::Session { .. })
    }

    /// Where a column of the group comes from, if it is not a key.
    fn edge(&self, column: Option<usize>) -> Option<Output> {
        column.filter(|_| self.window.is_pending)?;
        [
            (self.window.start, Output::WindowStart),
            (self.window.end, Output::WindowEnd),
            (self.window.time, Output::WindowTime),
        ]
        .into_iter()
        .find_map(|(edge, output)| (edge == column).then_some(output))
    }
}

fn size(kind: &WindowKind) -> i64 {
    match *kind {
        WindowKind::Tumble { size } | WindowKind::Hop { size, .. } | WindowKind::Cumulate { size, .. } => size,
        WindowKind::Session { .. } => 0,
    }
}

fn slicing(kind: &WindowKind, offset: i64) -> Slicing {
    match *kind {
        WindowKind::Hop { size, slide } => Slicing { size, slide, offset, shape: Shape::Sliding },
        WindowKind::Cumulate { size, step } => Slicing { size, slide: step, offset, shape: Shape::Cumulating },
        _ => Slicing { size: size(kind), slide: size(kind), offset, shape: Shape::Sliding },
    }
}

/// `GROUP BY`.
pub(crate) fn translate(translator: &Translator, aggregate: &LogicalAggregate) -> Result<Node> {
    let input = translator.node(&aggregate.input)?;
    let (input, keys) = grouping_sets::expand(input, &aggregate.group_expr)?;
    node(translator, input, &keys, &aggregate.aggr_expr, aggregate.schema.clone())
}

/// `SELECT DISTINCT`.
pub(crate) fn distinct(translator: &Translator, input: &LogicalPlan) -> Result<Node> {
    let input = translator.node(input)?;
    let keys: Vec<_> = input.schema.columns().into_iter().map(Expr::Column).collect();
    let schema = input.schema.clone();
    node(translator, input, &keys, &[], schema)
}

fn node(translator: &Translator, input: Node, keys: &[Expr], aggregates: &[Expr], schema: DFSchemaRef) -> Result<Node> {
    let is_open = window::is_session_by_group(&input);
    let input = if translator.batch && !is_open { window::assigned(input)? } else { input };
    let columns: Vec<_> = keys.iter().map(|key| column_of(key, &input.schema)).collect();
    let input = own_sessions(input, &columns)?;
    let by_window = match &input.traits.window {
        Some(window) if !translator.batch || is_open => ByWindow::of(window, &columns)?,
        _ => None,
    };
    if by_window.is_none() && !translator.batch {
        return changing(translator, input, keys, aggregates, schema);
    }
    if input.traits.changes {
        return not_impl_err!("a window over rows that may be updated or deleted");
    }
    if let Some(by) = by_window.as_ref().filter(|by| by.is_session()) {
        return sessions(input, by, keys, &columns, aggregates, schema);
    }
    let (mut own, mut output) = (Vec::new(), Vec::new());
    for (key, column) in keys.iter().zip(&columns) {
        output.push(by_window.as_ref().and_then(|by| by.edge(*column)).unwrap_or_else(|| {
            own.push(key);
            Output::Key(own.len() - 1)
        }));
    }
    output.extend((0..aggregates.len()).map(Output::Aggregate));
    let own = own.into_iter().map(|key| physical(key, &input.schema)).collect::<Result<Vec<_>>>()?;
    let from = batch_schema(&input.schema);
    let lowered = aggregates.iter().map(|expr| lower(expr, &input, &from)).collect::<Result<Vec<_>>>()?;
    let time = by_window.as_ref().map(|by| by.time);
    let groups = Groups::new(own, lowered, time, &from, output, batch_schema(&schema))?;
    let traits = traits(by_window.as_ref(), &columns);
    let shown = describe(by_window.as_ref(), keys, aggregates);
    let clock = by_window.as_ref().map(|by| by.window.clock());
    let operation = Windowed { groups, slicing: by_window.map(|by| by.slicing), clock, shown };
    Ok(Node::new(operation, vec![input], schema, traits))
}

/// Sessions that are kept apart by other columns than results are grouped by are found first.
fn own_sessions(input: Node, columns: &[Option<usize>]) -> Result<Node> {
    let Some(keys) = window::session_keys(&input)? else { return Ok(input) };
    let is_key = |column: &usize| !input.traits.window.as_ref().is_some_and(|window| window.has(*column));
    let grouped: Vec<_> = columns.iter().flatten().copied().filter(is_key).collect();
    let same = columns.iter().all(Option::is_some)
        && keys.iter().all(|key| grouped.contains(key))
        && grouped.iter().all(|key| keys.contains(key));
    if same { Ok(input) } else { window::assigned(input) }
}

/// By session, of each key by itself.
fn sessions(
    input: Node,
    by: &ByWindow,
    keys: &[Expr],
    columns: &[Option<usize>],
    aggregates: &[Expr],
    schema: DFSchemaRef,
) -> Result<Node> {
    let own: Vec<_> =
        keys.iter().zip(columns).filter(|(_, c)| by.edge(**c).is_none()).map(|(key, _)| key.clone()).collect();
    let (input, own) = with_columns(input, &own)?;
    let from = batch_schema(&input.schema);
    let lowered = aggregates.iter().map(|expr| lower(expr, &input, &from)).collect::<Result<Vec<_>>>()?;
    let results = schema.fields()[keys.len()..].to_vec();
    let node = session::aggregated(input, &by.window, own.clone(), lowered, results)?;
    let mut next = 0..own.len();
    let places = columns.iter().map(|column| match by.edge(*column) {
        Some(Output::WindowStart) => own.len(),
        Some(Output::WindowEnd) => own.len() + 1,
        Some(_) => own.len() + 2,
        None => next.next().unwrap_or_default(),
    });
    let kept: Vec<_> =
        places.collect::<Vec<_>>().into_iter().chain((0..aggregates.len()).map(|n| own.len() + 3 + n)).collect();
    let node = without_columns(node, &kept, schema)?;
    Ok(Node { traits: traits(Some(by), columns), ..node })
}

/// Results that change with the rows that come.
fn changing(
    translator: &Translator,
    input: Node,
    keys: &[Expr],
    aggregates: &[Expr],
    schema: DFSchemaRef,
) -> Result<Node> {
    let (input, keys) = with_columns(window::assigned(input)?, keys)?;
    let from = batch_schema(&input.schema);
    let plan = Grouping {
        keys: keys.clone(),
        aggregates: aggregates.iter().map(|expr| lower(expr, &input, &from)).collect::<Result<_>>()?,
        input: from,
        output: batch_schema(&schema),
        retracts: input.traits.changes,
        tell: Tell::Epoch,
        keep: translator.time_to_live,
    };
    let list = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let names: Vec<_> = keys.iter().map(|key| plan.input.field(*key).name().as_str()).collect();
    let shown = format!("GroupAggregate(groupBy=[{}], select=[{}])", names.join(", "), list(aggregates));
    let traits = Traits { changes: true, ..Traits::default() };
    let operation = Keyed { operator: GroupBy::new(plan), name: "group", keys, shown, clock: None };
    Ok(Node::new(operation, vec![input], schema, traits))
}

fn describe(by_window: Option<&ByWindow>, keys: &[Expr], aggregates: &[Expr]) -> String {
    let list = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (keys, aggregates) = (list(keys), list(aggregates));
    match by_window {
        Some(by) => {
            format!("WindowAggregate(window=[{}], groupBy=[{keys}], select=[{aggregates}])", by.window.kind)
        }
        None => format!("GroupAggregate(groupBy=[{keys}], select=[{aggregates}], at=[end])"),
    }
}

/// What is known of the results.
fn traits(by_window: Option<&ByWindow>, columns: &[Option<usize>]) -> Traits {
    let at = |column: Option<usize>| column.and_then(|column| columns.iter().position(|other| *other == Some(column)));
    let window = by_window.map(|by| WindowColumns {
        start: at(by.window.start),
        end: at(by.window.end),
        time: at(by.window.time),
        is_pending: false,
        ..by.window.clone()
    });
    let time = window.as_ref().and_then(|window| window.time).into_iter().collect();
    let is_processing = window.as_ref().is_some_and(|window| window.is_processing);
    let (rowtimes, proctimes) = if is_processing { (Vec::new(), time) } else { (time, Vec::new()) };
    Traits { rowtimes, proctimes, window, changes: false }
}

/// The physical form of an aggregate.
pub(crate) fn lower(expr: &Expr, input: &Node, from: &Arc<Schema>) -> Result<Aggregate> {
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let lowered = LoweredAggregateBuilder::new(expr, &input.schema, from, &props, &context).build()?;
    if !lowered.order_bys.is_empty() {
        return not_impl_err!("ORDER BY within an aggregate ({expr})");
    }
    Ok(Aggregate { function: lowered.aggregate, filter: lowered.filter })
}
