//! `ORDER BY` and `LIMIT`.
//!
//! At the end of the input, rows are sorted. Before that, rows can be put in order of their event time; or the first ones of
//! those that have come are kept, which change.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion_common::{DFSchemaRef, Result, not_impl_err, plan_err};
use datafusion_expr::logical_plan::{FetchType, Limit, SkipType, Sort as LogicalSort};
use datafusion_expr::{LogicalPlan, SortExpr};

use super::expr::batch_schema;
use super::key::{Keyed, with_columns, without_columns};
use super::{Clock, Node, Traits, Translator, window};
use crate::operator::group_by::Tell;
use crate::operator::order::SortColumn;
use crate::operator::sort::{EventSort, Sort};
use crate::operator::top_n::{Rank, Ranking, TopN};

/// How exactly rows are put in order of their event time, in microseconds.
const STEP: i64 = 100_000;

/// `ORDER BY`, perhaps with the `LIMIT` that DataFusion has moved into it.
pub(crate) fn sort(translator: &Translator, sort: &LogicalSort) -> Result<Node> {
    ordered(translator, &sort.input, &sort.expr, 0, sort.fetch)
}

/// `LIMIT` and `OFFSET`, with the `ORDER BY` below.
pub(crate) fn limit(translator: &Translator, limit: &Limit) -> Result<Node> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
        return plan_err!("LIMIT and OFFSET take a number");
    };
    match &*limit.input {
        LogicalPlan::Sort(sort) => ordered(translator, &sort.input, &sort.expr, skip, fetch),
        input => ordered(translator, input, &[], skip, fetch),
    }
}

fn ordered(
    translator: &Translator,
    input: &LogicalPlan,
    by: &[SortExpr],
    skip: usize,
    fetch: Option<usize>,
) -> Result<Node> {
    let input = window::assigned(translator.node(input)?)?;
    let (schema, known) = (input.schema.clone(), input.schema.fields().len());
    let (input, by) = sort_columns(input, by)?;
    let node = if translator.batch {
        at_end(input, by, skip, fetch)?
    } else if let Some(fetch) = fetch {
        first_of_all(translator, input, by, skip, fetch)?
    } else if skip == 0 {
        in_time(input, by)?
    } else {
        return not_impl_err!("OFFSET without LIMIT in a streaming query");
    };
    without_columns(node, &(0..known).collect::<Vec<_>>(), schema)
}

/// The columns that rows are ordered by.
pub(crate) fn sort_columns(input: Node, by: &[SortExpr]) -> Result<(Node, Vec<SortColumn>)> {
    let exprs: Vec<_> = by.iter().map(|by| by.expr.clone()).collect();
    let (input, columns) = with_columns(input, &exprs)?;
    let sorted = columns.into_iter().zip(by).map(|(column, by)| SortColumn {
        column,
        options: SortOptions { descending: !by.asc, nulls_first: by.nulls_first },
    });
    Ok((input, sorted.collect()))
}

fn shown(name: &str, schema: &DFSchemaRef, by: &[SortColumn], rest: &str) -> String {
    let by = by.iter().map(|by| {
        let way = if by.options.descending { "DESC" } else { "ASC" };
        format!("{} {way}", schema.field(by.column).name())
    });
    format!("{name}(orderBy=[{}]{rest})", by.collect::<Vec<_>>().join(", "))
}

fn at_end(input: Node, by: Vec<SortColumn>, skip: usize, fetch: Option<usize>) -> Result<Node> {
    let (schema, traits) = (input.schema.clone(), Traits { changes: false, ..input.traits.clone() });
    let rest = fetch.map(|fetch| format!(", offset={skip}, fetch={fetch}")).unwrap_or_default();
    let shown = shown("Sort", &schema, &by, &rest);
    let operator = Sort::new(batch_schema(&schema), by, skip, fetch);
    let operator = if input.traits.changes { operator.retracting() } else { operator };
    let operation = Keyed { operator, name: "sort", keys: Vec::new(), shown, clock: None };
    Ok(Node::new(operation, vec![input], schema, traits))
}

fn first_of_all(
    translator: &Translator,
    input: Node,
    order: Vec<SortColumn>,
    skip: usize,
    fetch: usize,
) -> Result<Node> {
    let schema = input.schema.clone();
    let columns = batch_schema(&schema);
    let shown = shown("SortLimit", &schema, &order, &format!(", offset={skip}, fetch={fetch}"));
    let changes = input.traits.changes || !order.is_empty();
    let ranking = Ranking {
        input: columns.clone(),
        partition: Vec::new(),
        order,
        rank: Rank::RowNumber,
        ranks: skip as u64 + 1..=(skip + fetch) as u64,
        numbered: false,
        output: columns,
        retracts: input.traits.changes,
        window_end: None,
        tell: Tell::Epoch,
        keep: translator.time_to_live,
    };
    let traits = Traits { changes, ..Traits::default() };
    let operation = Keyed { operator: TopN::new(ranking), name: "limit", keys: Vec::new(), shown, clock: None };
    Ok(Node::new(operation, vec![input], schema, traits))
}

fn in_time(input: Node, by: Vec<SortColumn>) -> Result<Node> {
    let Some((first, then)) = by.split_first() else { return Ok(input) };
    if !input.traits.rowtimes.contains(&first.column) || first.options.descending || input.traits.changes {
        return plan_err!(
            "ORDER BY without LIMIT begins with a time attribute, ascending, in a streaming query; set 'execution.runtime-mode' = 'batch', or add LIMIT"
        );
    }
    let (schema, traits) = (input.schema.clone(), input.traits.clone());
    let shown = shown("TemporalSort", &schema, &by, "");
    let operator = EventSort::new(batch_schema(&schema), first.column, Arc::<[SortColumn]>::from(then));
    let clock = Some(Clock::Event(STEP));
    let operation = Keyed { operator, name: "sort", keys: Vec::new(), shown, clock };
    Ok(Node::new(operation, vec![input], schema, traits))
}
