//! What may stand after `FROM` beside tables: window table functions, and tables as of a time.

use datafusion_common::{Column, Result, TableReference, plan_datafusion_err, plan_err};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder};
use datafusion_sql::sqlparser::ast::{
    self, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, TableFactor, TableVersion,
};
use std::any::Any;
use std::sync::Arc;

use crate::catalog::ConnectorTable;

use crate::parse::{PARTITIONED_TABLE, table_options};

use super::interval;
use super::unnest::{UNNEST_OF, Unnested};
use super::versioned::Versioned;
use super::window::{WindowKind, WindowTvf};

/// `SESSION` of rows that are grouped by other columns too, which keep sessions apart: what the older way to group means.
pub(super) const SESSION_BY_GROUP: &str = "SESSION_BY_GROUP";

/// Plans what DataFusion does not know.
#[derive(Debug)]
pub(crate) struct Relations;

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (plan, alias) = match relation {
            TableFactor::TableFunction { expr: Ast::Function(function), alias } => {
                (window(Arguments::of(function)?, context)?, alias)
            }
            TableFactor::Function { lateral: false, name, args, with_ordinality: false, alias } => {
                (window(Arguments::given(name_of(&name), args)?, context)?, alias)
            }
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: Some(TableVersion::ForSystemTimeAsOf(_)),
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                let table = TableFactor::Table {
                    name,
                    alias: None,
                    args: None,
                    with_hints,
                    version: None,
                    with_ordinality,
                    partitions,
                    json_path,
                    sample,
                    index_hints,
                };
                let input = context.plan(table)?;
                (extension(Versioned { input }), alias)
            }
            TableFactor::Table { name, alias, args: None, with_hints, version: None, .. } if !with_hints.is_empty() => {
                (hinted(name, &with_hints, context)?, alias)
            }
            TableFactor::MatchRecognize { .. } => return plan_err!("MATCH_RECOGNIZE is not supported"),
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// `t /*+ OPTIONS('key' = 'value') */`: the table with other options, for this query alone.
fn hinted(name: ObjectName, hints: &[Ast], context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let name = context.object_name_to_table_reference(name)?;
    let source = context.context_provider().get_table_source(name.clone())?;
    let source: Arc<dyn Any + Send + Sync> = source;
    let Ok(table) = source.downcast::<ConnectorTable>() else {
        return plan_err!("OPTIONS are for tables, and '{name}' is none");
    };
    let hinted = Arc::new(table.with_options(&table_options(hints))?);
    LogicalPlanBuilder::scan(name, hinted, None)?.build()
}

fn extension(node: impl datafusion_expr::UserDefinedLogicalNode + 'static) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

pub(super) fn name_of(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_uppercase()).unwrap_or_default()
}

/// The arguments of a window table function, by their Flink names.
struct Arguments {
    function: String,
    given: Vec<(Option<String>, Ast)>,
}

impl Arguments {
    fn of(function: Function) -> Result<Self> {
        let name = name_of(&function.name);
        let FunctionArguments::List(list) = function.args else {
            return plan_err!("{name} needs arguments: {name}(TABLE t, DESCRIPTOR(time), INTERVAL …)");
        };
        Self::given(name, list.args)
    }

    fn given(name: String, args: Vec<FunctionArg>) -> Result<Self> {
        let given = args.into_iter().map(|argument| match argument {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                Ok((Some(name.value.to_uppercase()), expr))
            }
            FunctionArg::ExprNamed { name: Ast::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
                Ok((Some(name.value.to_uppercase()), expr))
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok((None, expr)),
            other => plan_err!("{name} does not take {other}"),
        });
        Ok(Self { given: given.collect::<Result<_>>()?, function: name })
    }

    /// The argument called `name`, or the first that has no name.
    fn next(&mut self, name: &str) -> Option<Ast> {
        let by_name = self.given.iter().position(|(given, _)| given.as_deref() == Some(name));
        let at = by_name.or_else(|| self.given.iter().position(|(given, _)| given.is_none()))?;
        Some(self.given.remove(at).1)
    }

    fn required(&mut self, name: &str) -> Result<Ast> {
        self.next(name).ok_or_else(|| plan_datafusion_err!("{} misses its argument {name}", self.function))
    }

    fn span(&mut self, name: &str, context: &mut dyn RelationPlannerContext) -> Result<i64> {
        let expr = self.required(name)?;
        let span = micros(&expr, context)?;
        if span <= 0 {
            return plan_err!("{}: {name} must be longer than nothing, not {expr}", self.function);
        }
        Ok(span)
    }
}

/// A constant interval, in microseconds.
fn micros(expr: &Ast, context: &mut dyn RelationPlannerContext) -> Result<i64> {
    let schema = datafusion_common::DFSchema::empty();
    let (value, sign) = match context.sql_to_expr(expr.clone(), &schema)? {
        Expr::Negative(inner) => (*inner, -1),
        value => (value, 1),
    };
    let Expr::Literal(value, _) = value else { return wrong(expr) };
    let Some(span) = interval::micros(&value) else { return wrong(expr) };
    Ok(sign * span)
}

fn wrong(expr: &Ast) -> Result<i64> {
    plan_err!("{expr} is not a constant interval of days or less, as in INTERVAL '10' SECOND")
}

/// What `CROSS JOIN UNNEST(…)` was rewritten to.
fn unnested(mut arguments: Arguments, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let (table, _) = table_of(arguments.required("DATA")?)?;
    let input = context.plan(table)?;
    let array = arguments.required("ARRAY")?;
    let expr = context.sql_to_expr(array, input.schema())?;
    let table = text(arguments.required("TABLE")?);
    let mut flag = || Ok::<_, datafusion_common::DataFusionError>(arguments.required("FLAG")?.to_string() == "true");
    let flags = (flag()?, flag()?);
    let names = arguments.given.into_iter().map(|(_, name)| text(name)).collect();
    let table = Some(table).filter(|table| !table.is_empty());
    Ok(extension(Unnested::try_new(input, expr, table, names, flags)?))
}

fn text(expr: Ast) -> String {
    match expr {
        Ast::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) => text,
        other => other.to_string(),
    }
}

fn window(mut arguments: Arguments, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    if arguments.function == UNNEST_OF {
        return unnested(arguments, context);
    }
    let (table, keys) = table_of(arguments.required("DATA")?)?;
    let input = context.plan(table)?;
    let time = descriptor(arguments.required("TIMECOL")?, &input)?;
    let kind = match arguments.function.as_str() {
        "TUMBLE" => WindowKind::Tumble { size: arguments.span("SIZE", context)? },
        "HOP" => {
            let slide = arguments.span("SLIDE", context)?;
            let size = arguments.span("SIZE", context)?;
            if slide > size {
                return plan_err!("HOP: a slide longer than the window would lose the rows in between");
            }
            WindowKind::Hop { size, slide }
        }
        "CUMULATE" => {
            let step = arguments.span("STEP", context)?;
            let size = arguments.span("SIZE", context)?;
            if size % step != 0 {
                return plan_err!("CUMULATE: the size must be a multiple of the step");
            }
            WindowKind::Cumulate { size, step }
        }
        "SESSION" => {
            let keys = keys.iter().map(|key| column(key, &input)).collect::<Result<_>>()?;
            WindowKind::Session { gap: arguments.span("GAP", context)?, keys: Some(keys) }
        }
        SESSION_BY_GROUP => WindowKind::Session { gap: arguments.span("GAP", context)?, keys: None },
        other => {
            return plan_err!("there is no table function {other}; there are TUMBLE, HOP, CUMULATE and SESSION");
        }
    };
    let offset = arguments.next("OFFSET").map(|expr| micros(&expr, context)).transpose()?.unwrap_or(0);
    if let Some((name, expr)) = arguments.given.first() {
        let name = name.as_ref().map(|name| format!("{name} => ")).unwrap_or_default();
        return plan_err!("{} does not take {name}{expr}", arguments.function);
    }
    Ok(extension(WindowTvf::try_new(input, time, kind, offset)?))
}

/// `TABLE t`, `TABLE t PARTITION BY a, b` or a subquery, as the parser leaves them.
fn table_of(expr: Ast) -> Result<(TableFactor, Vec<ast::Ident>)> {
    let name = match expr {
        Ast::Identifier(ident) => ObjectName::from(vec![ident]),
        Ast::CompoundIdentifier(idents) => ObjectName::from(idents),
        Ast::Subquery(subquery) => {
            let derived = TableFactor::Derived { lateral: false, subquery, alias: None, sample: None };
            return Ok((derived, Vec::new()));
        }
        Ast::Function(function) if name_of(&function.name) == PARTITIONED_TABLE => {
            let mut arguments = Arguments::of(function)?;
            let (table, _) = table_of(arguments.required("DATA")?)?;
            let keys = arguments.given.into_iter().filter_map(|(_, key)| match key {
                Ast::Identifier(ident) => Some(ident),
                _ => None,
            });
            return Ok((table, keys.collect()));
        }
        other => return plan_err!("a window table function takes a table, as in TABLE orders, not {other}"),
    };
    let table = TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    Ok((table, Vec::new()))
}

fn descriptor(expr: Ast, input: &LogicalPlan) -> Result<Column> {
    let shown = expr.to_string();
    let wrong =
        || plan_datafusion_err!("a window table function takes a time column, as in DESCRIPTOR(ts), not {shown}");
    let Ast::Function(function) = expr else { return Err(wrong()) };
    if name_of(&function.name) != "DESCRIPTOR" {
        return Err(wrong());
    }
    match Arguments::of(function)?.given.pop() {
        Some((None, Ast::Identifier(ident))) => column(&ident, input),
        Some((None, Ast::CompoundIdentifier(idents))) => match &idents[..] {
            [table, column] => {
                let column = Column::new(Some(TableReference::bare(table.value.as_str())), &column.value);
                input.schema().index_of_column(&column).map(|_| column)
            }
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

fn column(ident: &ast::Ident, input: &LogicalPlan) -> Result<Column> {
    let (qualifier, field) = input.schema().qualified_field_with_unqualified_name(&ident.value)?;
    Ok(Column::new(qualifier.cloned(), field.name()))
}
