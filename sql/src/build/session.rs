//! `SESSION` windows, which depend on the rows themselves: by aggregate, or as columns of each row.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{DFSchema, DFSchemaRef, Result, plan_err};

use super::expr::batch_schema;
use super::key::{Keyed, without_columns};
use super::{Node, Traits, WindowColumns};
use crate::operator::aggregate::Aggregate;
use crate::operator::session::{Gives, SessionPlan, Sessions};
use crate::plan::window::{WINDOW_COLUMNS, WindowKind};

/// Columns after those that an operator of sessions is given or groups by.
fn with_window(
    fields: Vec<(Option<datafusion_common::TableReference>, Arc<Field>)>,
    input: &Node,
    window: &WindowColumns,
) -> Result<DFSchemaRef> {
    let edges = WINDOW_COLUMNS.into_iter().zip([window.start, window.end, window.time]).map(|(name, column)| {
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let kind = column.map_or(milliseconds, |column| input.schema.field(column).data_type().clone());
        (None, Arc::new(Field::new(format!("__{name}"), kind, true)))
    });
    let fields = fields.into_iter().chain(edges).collect();
    Ok(Arc::new(DFSchema::new_with_metadata(fields, Default::default())?))
}

fn operation(plan: SessionPlan, window: &WindowColumns, what: &str) -> Keyed<Sessions> {
    let shown = format!("{what}(window=[{}])", window.kind);
    Keyed {
        keys: plan.keys.clone(),
        operator: Sessions::new(plan),
        name: "session",
        shown,
        clock: Some(window.clock()),
    }
}

fn gap(window: &WindowColumns) -> Duration {
    match window.kind {
        WindowKind::Session { gap, .. } => Duration::from_micros(gap as u64),
        _ => Duration::ZERO,
    }
}

fn time(window: &WindowColumns) -> Result<usize> {
    match window.any() {
        Some(time) => Ok(time),
        None => plan_err!("SESSION without a time"),
    }
}

/// Rows with the session that they belong to, when it is over.
pub(super) fn assigned(input: Node, window: &WindowColumns) -> Result<Node> {
    let WindowKind::Session { keys: Some(keys), .. } = &window.kind else {
        return plan_err!("SESSION in GROUP BY is for aggregates alone");
    };
    let keys = keys.iter().map(|key| input.schema.index_of_column(key)).collect::<Result<Vec<_>>>()?;
    let known = input.schema.fields().len();
    let fields = input.schema.iter().map(|(name, field)| (name.cloned(), field.clone())).collect();
    let all = with_window(fields, &input, window)?;
    let plan = SessionPlan {
        input: batch_schema(&input.schema),
        keys,
        time: time(window)?,
        gap: gap(window),
        gives: Gives::Rows,
        output: batch_schema(&all),
    };
    let schema = input.schema.clone();
    let mut traits = input.traits.clone();
    traits.window = Some(WindowColumns { is_pending: false, ..window.clone() });
    // Rows come when their session is over: only the window's own time is ahead of the watermark then.
    traits.rowtimes.retain(|column| Some(*column) == window.time);
    let node = Node::new(operation(plan, window, "SessionAssign"), vec![input], all, traits.clone());
    // The window's columns take the places that were kept for them.
    let edges = [window.start, window.end, window.time];
    let place = |column: usize| edges.iter().position(|edge| *edge == Some(column)).map_or(column, |edge| known + edge);
    let node = without_columns(node, &(0..known).map(place).collect::<Vec<_>>(), schema)?;
    Ok(Node { traits, ..node })
}

/// What the rows of each session and key come to: the keys, the window's three columns, and the aggregates.
pub(super) fn aggregated(
    input: Node,
    window: &WindowColumns,
    keys: Vec<usize>,
    aggregates: Vec<Aggregate>,
    results: Vec<Arc<Field>>,
) -> Result<Node> {
    let fields = keys.iter().map(|key| (None, Arc::new(input.schema.field(*key).clone()))).enumerate();
    let fields =
        fields.map(|(index, (name, field))| (name, Arc::new(Field::clone(&field).with_name(format!("__key_{index}")))));
    let with_edges = with_window(fields.collect(), &input, window)?;
    let mut all: Vec<_> = with_edges.iter().map(|(name, field)| (name.cloned(), field.clone())).collect();
    all.extend(
        results
            .into_iter()
            .enumerate()
            .map(|(index, field)| (None, Arc::new(Field::clone(&field).with_name(format!("__result_{index}"))))),
    );
    let schema = Arc::new(DFSchema::new_with_metadata(all, Default::default())?);
    let plan = SessionPlan {
        input: batch_schema(&input.schema),
        keys,
        time: time(window)?,
        gap: gap(window),
        gives: Gives::Aggregates(aggregates),
        output: batch_schema(&schema),
    };
    Ok(Node::new(operation(plan, window, "SessionAggregate"), vec![input], schema, Traits::default()))
}
