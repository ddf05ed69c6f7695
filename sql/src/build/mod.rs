//! From an optimised logical plan to a job.
//!
//! In two steps. [`Translator`] turns the plan into a tree of [`Node`]s: each is an [`Operation`] of ours, with its schema
//! and with what is known of its rows ([`Traits`]); all that is not supported is refused here, before anything runs. Then
//! [`Builder`] makes streams of the nodes. An operation is one file: it has a function that reads the plan's node, and
//! its implementation of [`Operation`]. To add one: a file here, a line in the list and one in [`Translator::node`].

mod aggregate;
mod builder;
mod common;
pub(crate) mod expr;
mod flow;
mod greatest;
pub(crate) mod group;
mod grouping_sets;
mod ids;
mod join;
mod key;
mod order;
mod over;
pub(crate) mod project;
mod rank;
pub(crate) mod scan;
mod session;
mod union;
mod unnest;
mod values;
pub(crate) mod window;

pub(crate) use builder::{Builder, Mode};
pub(crate) use common::Common;
pub(crate) use flow::{Flow, Traits, WindowColumns};

use std::fmt;

use datafusion_common::{DFSchemaRef, Result, not_impl_err};
use datafusion_expr::{Distinct, LogicalPlan};
use updraft_dataflow::checkpoint::Layout;

use crate::catalog::Side;
use crate::gate::Gate;
use crate::operator::join::Input;
use crate::plan::unnest::Unnested;
use crate::plan::versioned::Versioned;
use crate::plan::window::WindowTvf;

/// An operator of the streaming plan.
pub(crate) struct Node {
    pub(crate) operation: Box<dyn Operation>,
    pub(crate) inputs: Vec<Node>,
    pub(crate) schema: DFSchemaRef,
    pub(crate) traits: Traits,
    /// Which of the parts it is that the plan has more than once.
    pub(crate) common: Option<usize>,
}

/// By what an operator goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    /// Event time: the watermark has to stand at the multiples of so many microseconds, at least.
    Event(i64),
    /// Processing time.
    Processing,
}

/// What an operator does.
pub(crate) trait Operation {
    /// For people who ask for the plan.
    fn describe(&self) -> String;

    /// By which clock it goes, if by any.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// What it is called, and what it keeps, if it keeps anything.
    fn keeps(&self) -> Option<(&'static str, Layout)> {
        None
    }

    /// The table that it reads, or what was set aside of it: the builder does that itself.
    fn scans(&self) -> Option<(&scan::Scanned, Option<Side>)> {
        None
    }

    /// Which of its inputs is not to be read before it opens the gate, if one of them had better wait.
    fn waits(&self) -> Option<(Input, &Gate)> {
        None
    }

    /// Reads what came too late in its table, if it reads one.
    fn late(&mut self) {}

    /// Gives only some of its columns, which are in order; false if it cannot.
    fn narrow(&mut self, _: &[usize]) -> bool {
        false
    }

    /// Adds it to the job.
    fn build(self: Box<Self>, inputs: Vec<Flow>, builder: &mut Builder) -> Result<Flow>;
}

impl Node {
    pub(crate) fn new(
        operation: impl Operation + 'static,
        inputs: Vec<Node>,
        schema: DFSchemaRef,
        traits: Traits,
    ) -> Self {
        Self { operation: Box::new(operation), inputs, schema, traits, common: None }
    }

    /// The same of what came too late in the tables that are read.
    pub(crate) fn late(mut self) -> Self {
        self.operation.late();
        self.inputs = self.inputs.into_iter().map(Self::late).collect();
        self
    }
}

/// One operator a line, those that it reads from below it, indented.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn write(node: &Node, depth: usize, told: &mut Vec<usize>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let indent = 2 * depth;
            let mut reuse = String::new();
            if let Some(number) = node.common {
                if told.contains(&number) {
                    return writeln!(f, "{:indent$}Reused(reference_id=[{}])", "", number + 1);
                }
                told.push(number);
                reuse = format!(", reuse_id=[{}]", number + 1);
            }
            let changes = if node.traits.changes { ", changelog=[I,UB,UA,D]" } else { "" };
            writeln!(f, "{:indent$}{}{changes}{reuse}", "", node.operation.describe())?;
            node.inputs.iter().try_for_each(|input| write(input, depth + 1, told, f))
        }
        write(self, 0, &mut Vec::new(), f)
    }
}

/// Turns plans into trees of nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Translator {
    /// Whether only final rows are asked for, at the end of the input.
    pub(crate) batch: bool,
    /// For how long state is kept that no row has come for.
    pub(crate) time_to_live: Option<std::time::Duration>,
    /// What of the query is there more than once.
    pub(crate) common: Common,
}

impl Translator {
    /// The operator of a node of the plan, and of all below it.
    pub(crate) fn node(&self, plan: &LogicalPlan) -> Result<Node> {
        let node = self.operator(plan)?;
        Ok(Node { common: self.common.number(plan).or(node.common), ..node })
    }

    fn operator(&self, plan: &LogicalPlan) -> Result<Node> {
        match plan {
            LogicalPlan::TableScan(table) => scan::translate(table),
            LogicalPlan::Projection(projection) => project::projection(self, projection),
            LogicalPlan::Filter(filter) => project::filter(self, filter),
            LogicalPlan::SubqueryAlias(alias) => {
                let node = self.node(&alias.input)?;
                Ok(Node { schema: alias.schema.clone(), ..node })
            }
            LogicalPlan::Aggregate(aggregate) => aggregate::translate(self, aggregate),
            LogicalPlan::Join(join) => join::translate(self, join),
            LogicalPlan::Window(window) => over::translate(self, window),
            LogicalPlan::Sort(sort) => order::sort(self, sort),
            LogicalPlan::Limit(limit) => order::limit(self, limit),
            LogicalPlan::Union(union) => union::translate(self, union),
            LogicalPlan::Values(values) => values::translate(values),
            LogicalPlan::EmptyRelation(empty) => values::empty(empty),
            LogicalPlan::Distinct(Distinct::All(input)) => aggregate::distinct(self, input),
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any();
                if let Some(tvf) = node.downcast_ref::<WindowTvf>() {
                    return window::translate(self, tvf);
                }
                if let Some(unnested) = node.downcast_ref::<Unnested>() {
                    return unnest::translate(self, unnested);
                }
                if let Some(versioned) = node.downcast_ref::<Versioned>() {
                    // The join above knows.
                    return self.node(&versioned.input);
                }
                not_impl_err!("{}", extension.node.name())
            }
            other => not_impl_err!("{} in a streaming query", other.display()),
        }
    }
}
