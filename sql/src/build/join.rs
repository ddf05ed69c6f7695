//! `JOIN`: which of the joins it is.
//!
//! * With `FOR SYSTEM_TIME AS OF`: a temporal join by event time, or a lookup join by processing time.
//! * Of rows of the same window: a window join.
//! * Of rows whose event times are not too far apart, as the condition says: an interval join.
//! * In batch mode: a hash join, of which one side is read first.
//! * Else a regular join, which remembers all rows of both.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, JoinType, Result, not_impl_err, plan_err};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator as Op};
use updraft_dataflow::Hashed;
use updraft_dataflow::Rows;
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::join::Side;
use updraft_dataflow::operator::Operator;

use super::expr::{batch_schema, physical};
use super::greatest::{self, Greatest, before_end};
use super::key::{hashed, with_columns, without_columns};
use super::project::{column_of, is_proctime};
use super::{Builder, Clock, Flow, Node, Operation, Traits, Translator, WindowColumns, union, window};
use crate::gate::Gate;
use crate::operator::join::hash::HashJoin;
use crate::operator::join::interval::{Bounds, Clock as Times, IntervalJoin};
use crate::operator::join::lookup::LookupJoin;
use crate::operator::join::regular::RegularJoin;
use crate::operator::join::temporal::TemporalJoin;
use crate::operator::join::window::{WindowColumns as Edges, WindowJoin};
use crate::operator::join::{Input, Joined, Narrow};
use crate::operator::layout::Described;
use crate::plan::interval;
use crate::plan::versioned::AS_OF;

/// A join of two inputs, dealt by key.
struct JoinOperation<O> {
    operator: O,
    name: &'static str,
    keys: [Vec<usize>; 2],
    shown: String,
    clock: Option<Clock>,
    waits: Option<(Input, Gate)>,
}

impl<O: Operator<Side<Hashed, Hashed>, Out = Rows> + Narrow + Described> Operation for JoinOperation<O> {
    fn describe(&self) -> String {
        self.shown.clone()
    }

    fn clock(&self) -> Option<Clock> {
        self.clock
    }

    fn keeps(&self) -> Option<(&'static str, Layout)> {
        Some((self.name, self.operator.layout()))
    }

    fn waits(&self) -> Option<(Input, &Gate)> {
        self.waits.as_ref().map(|(input, gate)| (*input, gate))
    }

    fn narrow(&mut self, columns: &[usize]) -> bool {
        self.operator.narrow(columns);
        true
    }

    fn build(self: Box<Self>, inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        let Self { operator, name, keys: [left_keys, right_keys], .. } = *self;
        let mut inputs = inputs.into_iter();
        let (Some(left), Some(right)) = (inputs.next(), inputs.next()) else {
            return plan_err!("a join of fewer than two inputs");
        };
        let right = right.map(hashed(right_keys));
        Ok(left.map(hashed(left_keys)).deal_with(right).operator(name, operator).into())
    }
}

/// Two inputs that are to be joined.
struct Sides {
    left: Node,
    right: Node,
    /// As many columns of each as the plan knows of: others were added for keys.
    known: [usize; 2],
    keys: [Vec<usize>; 2],
    kind: JoinType,
    filter: Vec<Expr>,
    join: Join,
    waits: Option<(Input, Gate)>,
}

/// How many times the input that is kept the other one has to be, so that it waits.
const MUCH: u64 = 8;

/// How far apart an interval join has to have the watermark stand, in parts of its span.
const PARTS: i64 = 8;

/// `JOIN`.
pub(crate) fn translate(translator: &Translator, join: &Join) -> Result<Node> {
    let never_null =
        |(left, right): &(Expr, Expr)| is_never_null(&join.left, left) && is_never_null(&join.right, right);
    if join.null_aware && !join.on.iter().all(never_null) {
        return not_impl_err!("NOT IN over columns that may be NULL; say NOT EXISTS, or IS NOT NULL in both");
    }
    let known = [&join.left, &join.right].map(|plan| plan.schema().fields().len());
    let (on_left, on_right): (Vec<_>, Vec<_>) = join.on.iter().cloned().unzip();
    let (left, left_keys) = input(translator, &join.left, &on_left)?;
    let (right, right_keys) = input(translator, &join.right, &on_right)?;
    let mut filter = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    let time = filter.iter().position(|part| as_of(part).is_some()).map(|at| filter.swap_remove(at));
    let sides = Sides {
        left,
        right,
        known,
        keys: [left_keys, right_keys],
        kind: join.join_type,
        filter,
        join: join.clone(),
        waits: None,
    };
    if let Some([time, versions @ ..]) = time.as_ref().and_then(as_of) {
        return sides.temporal(time, versions);
    }
    if translator.batch {
        return sides.without_lesser(translator, false)?.hash();
    }
    if let Some(edges) = sides.windows() {
        return sides.window(edges);
    }
    match sides.interval()? {
        Some((times, bounds, rest)) => sides.without_lesser(translator, false)?.within(times, bounds, rest),
        None => sides.without_lesser(translator, true)?.regular(),
    }
}

/// An input with columns for its keys, and which they are.
fn input(translator: &Translator, plan: &LogicalPlan, on: &[Expr]) -> Result<(Node, Vec<usize>)> {
    with_columns(window::assigned(translator.node(plan)?)?, on)
}

/// Whether rows of a plan are only those in which this is not NULL.
fn is_never_null(plan: &LogicalPlan, expr: &Expr) -> bool {
    let column = |input: &LogicalPlan| column_of(expr, input.schema());
    match plan {
        LogicalPlan::Filter(filter) => {
            let says =
                |part: &&Expr| matches!(part, Expr::IsNotNull(of) if column_of(of, plan.schema()) == column(plan));
            column(plan).is_some() && split_conjunction(&filter.predicate).iter().any(says)
                || is_never_null(&filter.input, expr)
        }
        LogicalPlan::Projection(projection) => {
            column(plan).is_some_and(|at| is_never_null(&projection.input, &projection.expr[at]))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = column(plan).map(|at| Expr::Column(alias.input.schema().columns().swap_remove(at)));
            inner.is_some_and(|inner| is_never_null(&alias.input, &inner))
        }
        LogicalPlan::TableScan(_) => column(plan).is_some_and(|at| !plan.schema().field(at).is_nullable()),
        _ => false,
    }
}

/// The arguments of `AS_OF(…)`: see [`AS_OF`].
fn as_of(part: &Expr) -> Option<&[Expr]> {
    match part {
        Expr::ScalarFunction(function) if function.func.name() == AS_OF => Some(&function.args),
        _ => None,
    }
}

impl Sides {
    fn joined(&self, filter: &[Expr]) -> Result<Joined> {
        let both = self.both()?;
        let filter = conjunction(filter.iter().cloned()).map(|filter| physical(&filter, &both)).transpose()?;
        let [left, right] = &self.keys;
        Ok(Joined {
            left: batch_schema(&self.left.schema),
            right: batch_schema(&self.right.schema),
            keys: left.iter().copied().zip(right.iter().copied()).collect(),
            kind: self.kind,
            nulls: self.join.null_equality,
            filter,
            schema: batch_schema(&self.schema()?),
        })
    }

    /// The columns of both.
    fn both(&self) -> Result<DFSchema> {
        self.left.schema.join(&self.right.schema)
    }

    /// The columns of both, or of one.
    fn schema(&self) -> Result<DFSchema> {
        Ok(match self.kind {
            JoinType::LeftSemi | JoinType::LeftAnti => self.left.schema.as_ref().clone(),
            JoinType::RightSemi | JoinType::RightAnti => self.right.schema.as_ref().clone(),
            _ => self.both()?,
        })
    }

    /// Which columns come out of those of the left input and then of the right one.
    fn kept(&self) -> Vec<usize> {
        let left = self.left.schema.fields().len();
        match self.kind {
            JoinType::LeftSemi | JoinType::LeftAnti => (0..self.known[0]).collect(),
            JoinType::RightSemi | JoinType::RightAnti => (0..self.known[1]).collect(),
            _ => (0..self.known[0]).chain(left..left + self.known[1]).collect(),
        }
    }

    /// Traits of the left input and of the right one, where their columns have come to.
    fn moved(&self) -> [Traits; 2] {
        let shift = self.left.schema.fields().len();
        let (left, right) = (self.left.traits.clone(), &self.right.traits);
        match self.kind {
            JoinType::LeftSemi | JoinType::LeftAnti => [left, Traits::default()],
            JoinType::RightSemi | JoinType::RightAnti => [Traits::default(), right.clone()],
            _ => [left, right.moved(|column| Some(column + shift))],
        }
    }

    fn done<O: Operator<Side<Hashed, Hashed>, Out = Rows> + Narrow + Described>(
        self,
        name: &'static str,
        operator: O,
        clock: Option<Clock>,
        traits: Traits,
    ) -> Result<Node> {
        let on = self.join.on.iter().map(|(left, right)| format!("{left} = {right}"));
        let filter = self.filter.iter().map(ToString::to_string);
        let condition: Vec<_> = on.chain(filter).collect();
        let shown = format!("{name}(joinType=[{}], where=[{}])", self.kind, condition.join(" AND "));
        let (schema, kept) = (Arc::new(self.schema()?), self.kept());
        let operation = JoinOperation { operator, name, keys: self.keys, shown, clock, waits: self.waits };
        let node = Node::new(operation, vec![self.left, self.right], schema, traits);
        without_columns(node, &kept, self.join.schema.clone())
    }

    /// Pads with NULL what finds no partner.
    fn is_outer(&self) -> bool {
        matches!(self.kind, JoinType::Left | JoinType::Right | JoinType::Full)
    }

    fn must_insert_only(&self, what: &str) -> Result<()> {
        let changes = self.left.traits.changes || self.right.traits.changes;
        if changes { not_impl_err!("{what} of rows that may be updated or deleted") } else { Ok(()) }
    }

    fn regular(self) -> Result<Node> {
        let operator = RegularJoin::new(self.joined(&self.filter)?).map_err(external)?;
        let inserts = matches!(self.kind, JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi);
        let changes = self.left.traits.changes || self.right.traits.changes || !inserts;
        self.done("Join", operator, None, Traits { changes, ..Traits::default() })
    }

    /// All that is read has an end: one side is kept, and the other flows by.
    fn hash(mut self) -> Result<Node> {
        self.must_insert_only("a join")?;
        // What flows by need not be kept. Of a join that gives all rows of one side, this is that side.
        let sizes = [&self.left, &self.right].map(size);
        let build = match self.kind {
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => Input::Right,
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => Input::Left,
            _ => match sizes {
                [Some(left), Some(right)] if left < right => Input::Left,
                _ => Input::Right,
            },
        };
        let mut operator = HashJoin::new(self.joined(&self.filter)?, build).map_err(external)?;
        let (kept, flowing) = build.order(sizes[0], sizes[1]);
        // Both at once keep more cores busy, while there is much to load.
        if kept.zip(flowing).is_some_and(|(kept, flowing)| kept <= flowing / MUCH) {
            let gate = Gate::default();
            self.waits = Some((build.other(), gate.clone()));
            operator = operator.opens(gate);
        }
        self.done("HashJoin", operator, None, Traits::default())
    }

    /// The windows of both, if the join asks for rows of the same.
    fn windows(&self) -> Option<[Edges; 2]> {
        let edges = |node: &Node| {
            let window = node.traits.window.as_ref()?;
            Some(Edges { start: window.start?, end: window.end? })
        };
        let (left, right) = (edges(&self.left)?, edges(&self.right)?);
        let [left_keys, right_keys] = &self.keys;
        let equal = |l, r| left_keys.iter().zip(right_keys).any(|(left, right)| (*left, *right) == (l, r));
        (equal(left.start, right.start) && equal(left.end, right.end)).then_some([left, right])
    }

    fn window(self, [left, right]: [Edges; 2]) -> Result<Node> {
        self.must_insert_only("a window join")?;
        let operator = WindowJoin::new(self.joined(&self.filter)?, left, right).map_err(external)?;
        let clock = self.left.traits.window.as_ref().map(WindowColumns::clock);
        let [left, right] = self.moved();
        let padded = self.is_outer();
        let rowtimes = left.rowtimes.into_iter().chain(right.rowtimes).filter(|_| !padded).collect();
        let window = left.window.or(right.window).filter(|_| !padded || self.kind == JoinType::Left);
        self.done("WindowJoin", operator, clock, Traits { rowtimes, window, ..Traits::default() })
    }

    /// How far apart event times may be, and the rest of the condition.
    fn interval(&self) -> Result<Option<(Times, Bounds, Vec<Expr>)>> {
        let both = self.both()?;
        let of = |expr: &Expr, node: &Node| column_of(expr, &node.schema).filter(|c| node.traits.rowtimes.contains(c));
        let (left, right) = (|expr: &Expr| of(expr, &self.left), |expr: &Expr| of(expr, &self.right));
        let mut found: Option<(usize, usize, i64, i64)> = None;
        let mut rest = Vec::new();
        for part in &self.filter {
            match apart(part, &both, left, right) {
                Some((left, right, lower, upper)) if found.is_none_or(|found| (found.0, found.1) == (left, right)) => {
                    let (_, _, low, high) = found.unwrap_or((left, right, i64::MIN, i64::MAX));
                    found = Some((left, right, low.max(lower), high.min(upper)));
                }
                _ => rest.push(part.clone()),
            }
        }
        let same = self.keys[0].iter().zip(&self.keys[1]).find(|(left, right)| {
            self.left.traits.rowtimes.contains(left) && self.right.traits.rowtimes.contains(right)
        });
        if let Some((left, right)) = same {
            return Ok(Some((Times::Event(*left, *right), Bounds { lower: 0, upper: 0 }, self.filter.clone())));
        }
        Ok(match found {
            Some((left, right, lower, upper)) if lower > i64::MIN && upper < i64::MAX => {
                Some((Times::Event(left, right), Bounds { lower, upper }, rest))
            }
            _ => None,
        })
    }

    /// Without rows that are joined with the greatest of their window and cannot be it. Those that come too late for the
    /// window are not compared: where they are joined all the same, they are read apart.
    fn without_lesser(mut self, translator: &Translator, joins_late: bool) -> Result<Self> {
        let inputs: &[Input] = match self.kind {
            JoinType::Inner => &[Input::Left, Input::Right],
            JoinType::LeftSemi => &[Input::Left],
            JoinType::RightSemi => &[Input::Right],
            _ => &[],
        };
        for own in inputs {
            let Some((filter, on)) = self.lesser(*own)? else { continue };
            let (rows, _) = own.order(&self.join.left, &self.join.right);
            let late = if joins_late { Some(input(translator, rows, &on)?.0.late()) } else { None };
            let without = |node: Node| {
                let schema = node.schema.clone();
                let kept = filter.over(node);
                match late {
                    None => kept,
                    Some(late) => Node::new(union::All, vec![kept, late], schema, Traits::default()),
                }
            };
            self = match own {
                Input::Left => Self { left: without(self.left), ..self },
                Input::Right => Self { right: without(self.right), ..self },
            };
        }
        Ok(self)
    }

    /// How rows of an input are left out that find no partner as they are less than others, and the keys of that input.
    fn lesser(&self, own: Input) -> Result<Option<(greatest::Keep, Vec<Expr>)>> {
        let (rows, results) = own.order(&*self.join.left, &*self.join.right);
        let (node, _) = own.order(&self.left, &self.right);
        let on: Vec<_> = self.join.on.iter().map(|(left, right)| own.order(left, right)).collect();
        let Some(greatest) = Greatest::of(rows, results, &on)? else { return Ok(None) };
        let both = self.both()?;
        let time = |expr: &Expr| column_of(expr, &node.schema).filter(|_| greatest.is_time(rows, expr));
        let end = |expr: &Expr| before_end(results, expr);
        let (mut column, mut lower, mut upper) = (None, i64::MIN, i64::MAX);
        for (time, early, low, high) in self.filter.iter().filter_map(|part| apart(part, &both, time, end)) {
            column = Some(time);
            lower = lower.max(low.saturating_sub(early));
            upper = upper.min(high.saturating_sub(early));
        }
        let value = self.keys[own as usize][greatest.pair];
        let keep = column.and_then(|time| greatest.keep(&node.schema, value, time, [lower, upper]));
        Ok(keep.map(|keep| (keep, on.into_iter().map(|(own, _)| own.clone()).collect())))
    }

    fn within(self, times: Times, bounds: Bounds, rest: Vec<Expr>) -> Result<Node> {
        self.must_insert_only("an interval join")?;
        let operator = IntervalJoin::new(self.joined(&rest)?, times, bounds).map_err(external)?;
        let span = bounds.upper.saturating_sub(bounds.lower) / PARTS;
        // Whole milliseconds, that the steps of other operators have much in common with.
        let step = (span / 1_000).max(100) * 1_000;
        let [left, right] = self.moved();
        let padded = self.is_outer();
        let rowtimes = left.rowtimes.into_iter().chain(right.rowtimes).filter(|_| !padded).collect();
        self.done("IntervalJoin", operator, Some(Clock::Event(step)), Traits { rowtimes, ..Traits::default() })
    }

    fn temporal(self, as_of: &Expr, versions: &[Expr]) -> Result<Node> {
        if self.join.on.is_empty() {
            return plan_err!(
                "FOR SYSTEM_TIME AS OF needs a key: ON left.key = right.key, by which versions are found"
            );
        }
        let column = column_of(as_of, &self.left.schema);
        let proctime = is_proctime(as_of) || column.is_some_and(|column| self.left.traits.proctimes.contains(&column));
        if proctime {
            let operator = LookupJoin::new(self.joined(&self.filter)?, true).map_err(external)?;
            let [left, _] = self.moved();
            return self.done("LookupJoin", operator, None, left);
        }
        let Some(column) = column.filter(|column| self.left.traits.rowtimes.contains(column)) else {
            return plan_err!("FOR SYSTEM_TIME AS OF {as_of}: that is no time attribute of the left table");
        };
        let versions: Option<Vec<_>> = versions.iter().map(|column| column_of(column, &self.right.schema)).collect();
        let Some((right, keys)) = versions.as_ref().and_then(|versions| versions.split_first()) else {
            return plan_err!(
                "FOR SYSTEM_TIME AS OF needs a versioned table on the right: one with a WATERMARK and a PRIMARY KEY"
            );
        };
        if let Some(key) = keys.iter().find(|key| !self.keys[1].contains(key)) {
            let key = self.right.schema.field(*key).name();
            return plan_err!("FOR SYSTEM_TIME AS OF finds versions by their primary key: say ON … = {key}");
        }
        let operator = TemporalJoin::new(self.joined(&self.filter)?, column, *right).map_err(external)?;
        let [left, _] = self.moved();
        self.done("TemporalJoin", operator, Some(Clock::Event(100_000)), Traits { window: None, ..left })
    }
}

/// How many bytes are read for a node, about; `None` where it is not known.
fn size(node: &Node) -> Option<u64> {
    if let Some((scanned, _)) = node.operation.scans() {
        return scanned.table.connector.size(&scanned.table.table);
    }
    node.inputs.iter().map(size).sum()
}

fn external(error: updraft_dataflow::Error) -> datafusion_common::DataFusionError {
    datafusion_common::DataFusionError::External(error)
}

/// What a part of a join's condition says of `left - right` of two times: what was found of them, the least and the greatest.
fn apart<L, R>(
    part: &Expr,
    both: &DFSchema,
    left: impl Fn(&Expr) -> Option<L>,
    right: impl Fn(&Expr) -> Option<R>,
) -> Option<(L, R, i64, i64)> {
    let Expr::BinaryExpr(BinaryExpr { left: one, op, right: other }) = part else { return None };
    let ((one, plus_one), (other, plus_other)) = (shifted(one, both)?, shifted(other, both)?);
    // `one + plus_one op other + plus_other`, in terms of `left - right`.
    let (left, right, bound, op) = match (left(one), right(other)) {
        (Some(left), Some(right)) => (left, right, plus_other - plus_one, *op),
        _ => (left(other)?, right(one)?, plus_one - plus_other, op.swap()?),
    };
    match op {
        Op::GtEq => Some((left, right, bound, i64::MAX)),
        Op::Gt => Some((left, right, bound + 1, i64::MAX)),
        Op::LtEq => Some((left, right, i64::MIN, bound)),
        Op::Lt => Some((left, right, i64::MIN, bound - 1)),
        _ => None,
    }
}

/// A column of times and what is added to it, in microseconds.
fn shifted<'a>(expr: &'a Expr, both: &DFSchema) -> Option<(&'a Expr, i64)> {
    match expr {
        Expr::Column(_) => Some((expr, 0)),
        Expr::Cast(cast) if is_exact(&cast.expr.get_type(both).ok()?, cast.field.data_type()) => {
            shifted(&cast.expr, both)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, by) = shifted(left, both)?;
            let Expr::Literal(span, _) = &**right else { return None };
            let span = interval::micros(span)?;
            match op {
                Op::Plus => Some((column, by + span)),
                Op::Minus => Some((column, by - span)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether times of one type are the same ones as those of another.
fn is_exact(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Timestamp(from, zone), DataType::Timestamp(to, other)) => from <= to && zone == other,
        _ => from == to,
    }
}
