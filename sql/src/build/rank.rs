//! Top-N and deduplication: `WHERE rank <= n` over `ROW_NUMBER()`, `RANK()` or `DENSE_RANK()`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{Column, DFSchema, Result, ScalarValue, not_impl_err};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::{Filter, Window};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator as Op, WindowFunctionDefinition, cast};

use super::expr::batch_schema;
use super::key::{Keyed, with_columns};
use super::order::sort_columns;
use super::{Clock, Node, Traits, Translator, project, window};
use crate::operator::deduplicate::{Deduplicate, Deduplication, Keep};
use crate::operator::group_by::Tell;
use crate::operator::order::SortColumn;
use crate::operator::top_n::{Rank, Ranking, TopN};

/// A filter of ranks.
pub(crate) struct Ranked<'a> {
    window: &'a Window,
    function: &'a WindowFunction,
    rank: Rank,
    ranks: RangeInclusive<u64>,
    /// What else the filter asks for.
    rest: Vec<Expr>,
}

impl<'a> Ranked<'a> {
    /// If a filter is one.
    pub(crate) fn of(filter: &'a Filter) -> Option<Self> {
        let LogicalPlan::Window(window) = below(&filter.input) else { return None };
        let [expr] = &window.window_expr[..] else { return None };
        let function = function(expr)?;
        let rank = match &function.fun {
            WindowFunctionDefinition::WindowUDF(udf) => match udf.name() {
                "row_number" => Rank::RowNumber,
                "rank" => Rank::Rank,
                "dense_rank" => Rank::DenseRank,
                _ => return None,
            },
            WindowFunctionDefinition::AggregateUDF(_) => return None,
        };
        let column = filter.input.schema().columns().pop()?;
        let (mut low, mut high, mut rest) = (1, u64::MAX, Vec::new());
        for part in split_conjunction_owned(filter.predicate.clone()) {
            match bound(&part, &column) {
                Some((from, to)) => (low, high) = (low.max(from), high.min(to)),
                None => rest.push(part),
            }
        }
        (high < u64::MAX).then_some(Self { window, function, rank, ranks: low..=high, rest })
    }
}

/// What is below mere changes of names.
fn below(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => below(&alias.input),
        other => other,
    }
}

fn function(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::WindowFunction(function) => Some(function),
        Expr::Alias(alias) => function(&alias.expr),
        _ => None,
    }
}

/// The ranks that a part of a condition allows.
fn bound(part: &Expr, rank: &Column) -> Option<(u64, u64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
    let is_rank = |expr: &Expr| matches!(strip(expr), Expr::Column(column) if column == rank);
    let (op, number) = if is_rank(left) {
        (*op, number(right)?)
    } else if is_rank(right) {
        (op.swap()?, number(left)?)
    } else {
        return None;
    };
    match op {
        Op::LtEq => Some((1, number)),
        Op::Lt => Some((1, number.saturating_sub(1))),
        Op::GtEq => Some((number, u64::MAX)),
        Op::Gt => Some((number.saturating_add(1), u64::MAX)),
        Op::Eq => Some((number, number)),
        _ => None,
    }
}

fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => strip(&cast.expr),
        other => other,
    }
}

fn number(expr: &Expr) -> Option<u64> {
    match strip(expr) {
        Expr::Literal(ScalarValue::Int64(Some(n)), _) => Some((*n).max(0) as u64),
        Expr::Literal(ScalarValue::Int32(Some(n)), _) => Some((*n).max(0) as u64),
        Expr::Literal(ScalarValue::UInt64(Some(n)), _) => Some(*n),
        Expr::Literal(ScalarValue::UInt32(Some(n)), _) => Some(u64::from(*n)),
        _ => None,
    }
}

/// The rows of ranks that a filter asks for; with the rank only if `numbered`.
pub(crate) fn translate(translator: &Translator, filter: &Filter, ranked: &Ranked<'_>, numbered: bool) -> Result<Node> {
    let params = &ranked.function.params;
    let input = window::assigned(translator.node(&ranked.window.input)?)?;
    let known = input.schema.fields().len();
    let (input, partition) = with_columns(input, &params.partition_by)?;
    let (input, order) = sort_columns(input, &params.order_by)?;
    let all = filter.input.schema();
    let node = match deduplication(&input, &partition, &order, ranked) {
        Some(keep) if !numbered => deduplicate(translator, input, partition, keep, &order)?,
        _ => top(translator, input, partition, order, ranked, numbered)?,
    };
    // The input's own columns, then the rank if it is asked for.
    let columns = node.schema.columns();
    let mut kept: Vec<_> = columns[..known].iter().cloned().map(Expr::Column).collect();
    if numbered && let (Some(rank), Some(field)) = (columns.last(), all.fields().last()) {
        kept.push(cast(Expr::Column(rank.clone()), field.data_type().clone()));
    }
    let fields = all.iter().map(|(name, field)| (name.cloned(), field.clone())).take(kept.len()).collect();
    let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    let node = project::node(node, &kept, schema)?;
    match conjunction(ranked.rest.iter().cloned()) {
        Some(rest) => project::keep_node(node, &rest),
        None => Ok(node),
    }
}

/// Whether it is the first or last row by time that is asked for.
fn deduplication(input: &Node, partition: &[usize], order: &[SortColumn], ranked: &Ranked<'_>) -> Option<Keep> {
    let [by] = order else { return None };
    let times = &input.traits;
    let is_time = times.rowtimes.contains(&by.column) || times.proctimes.contains(&by.column);
    let first = ranked.rank == Rank::RowNumber && ranked.ranks == (1..=1) && !partition.is_empty();
    let keep = if by.options.descending { Keep::Last } else { Keep::First };
    (is_time && first && !input.traits.changes).then_some(keep)
}

/// The column of the window's end, if rows are ranked by window.
fn window_end(input: &Node, partition: &[usize]) -> (Option<usize>, Option<Clock>) {
    let window = input.traits.window.as_ref();
    let end = window.and_then(|window| window.end).filter(|end| partition.contains(end));
    (end, window.filter(|_| end.is_some()).map(super::WindowColumns::clock))
}

fn deduplicate(
    translator: &Translator,
    input: Node,
    keys: Vec<usize>,
    keep: Keep,
    order: &[SortColumn],
) -> Result<Node> {
    let (window_end, clock) = if translator.batch { (None, None) } else { window_end(&input, &keys) };
    let time = order.first().map(|by| by.column).filter(|column| input.traits.rowtimes.contains(column));
    let shown = format!("Deduplicate(keep=[{keep:?}], key=[{}])", names(&input, &keys));
    let tell = if translator.batch { Tell::Last } else { Tell::Epoch };
    // The first row by arrival stays the first.
    let changes = !translator.batch && window_end.is_none() && (keep == Keep::Last || time.is_some());
    let plan = Deduplication {
        schema: batch_schema(&input.schema),
        keys: keys.clone(),
        keep,
        time,
        window_end,
        tell,
        remember: translator.time_to_live,
    };
    let schema = input.schema.clone();
    let traits = Traits { changes, ..windowed(&input, window_end) };
    let operation = Keyed { operator: Deduplicate::new(plan), name: "deduplicate", keys, shown, clock };
    Ok(Node::new(operation, vec![input], schema, traits))
}

fn names(input: &Node, columns: &[usize]) -> String {
    columns.iter().map(|column| input.schema.field(*column).name().as_str()).collect::<Vec<_>>().join(", ")
}

/// What is known of rows of a window that have come out.
fn windowed(input: &Node, window_end: Option<usize>) -> Traits {
    match window_end {
        Some(_) => Traits { changes: false, ..input.traits.clone() },
        None => Traits::default(),
    }
}

fn top(
    translator: &Translator,
    input: Node,
    partition: Vec<usize>,
    order: Vec<SortColumn>,
    ranked: &Ranked<'_>,
    numbered: bool,
) -> Result<Node> {
    let (window_end, clock) = if translator.batch { (None, None) } else { window_end(&input, &partition) };
    if window_end.is_some() && input.traits.changes {
        return not_impl_err!("a Top-N of windows over rows that may be updated or deleted");
    }
    let mut fields: Vec<_> = input.schema.iter().map(|(name, field)| (name.cloned(), field.clone())).collect();
    if numbered {
        fields.push((None, Arc::new(Field::new("__rank", DataType::Int64, true))));
    }
    let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    let shown = format!(
        "Rank(strategy=[{:?}], ranks=[{}..={}], partitionBy=[{}])",
        ranked.rank,
        ranked.ranks.start(),
        ranked.ranks.end(),
        names(&input, &partition)
    );
    let changes = !translator.batch && window_end.is_none();
    let plan = Ranking {
        input: batch_schema(&input.schema),
        partition: partition.clone(),
        order,
        rank: ranked.rank,
        ranks: ranked.ranks.clone(),
        numbered,
        output: batch_schema(&schema),
        retracts: input.traits.changes,
        window_end,
        tell: if translator.batch { Tell::Last } else { Tell::Epoch },
        keep: translator.time_to_live,
    };
    let traits = Traits { changes, ..windowed(&input, window_end) };
    let operation = Keyed { operator: TopN::new(plan), name: "rank", keys: partition, shown, clock };
    Ok(Node::new(operation, vec![input], schema, traits))
}
