//! [`Common`]: parts of a plan that are there more than once, as two subqueries over the same aggregate are: they are computed
//! once (`Reused` in Flink's plans).

use std::any::Any;
use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};

/// Those of one query, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Common(Vec<LogicalPlan>);

impl Common {
    /// Those of a plan; what is within one of them is not told apart.
    pub(crate) fn of(plan: &LogicalPlan) -> Result<Self> {
        let (mut seen, mut common) = (Vec::<LogicalPlan>::new(), Self::default());
        plan.apply(|part| {
            if !keeps_state(part) || is_volatile(part)? {
                return Ok(TreeNodeRecursion::Continue);
            }
            if !seen.iter().any(|other| same(other, part)) {
                seen.push(part.clone());
                return Ok(TreeNodeRecursion::Continue);
            }
            if common.number(part).is_none() {
                common.0.push(part.clone());
            }
            Ok(TreeNodeRecursion::Jump)
        })?;
        Ok(common)
    }

    /// Which one a part of the plan is.
    pub(crate) fn number(&self, plan: &LogicalPlan) -> Option<usize> {
        self.0.iter().position(|other| same(other, plan))
    }
}

/// What is worth computing once.
fn keeps_state(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Join(_) | LogicalPlan::Distinct(_) | LogicalPlan::Window(_))
}

/// Whether it may come to something else each time.
fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|part| Ok(part.expressions().iter().any(Expr::is_volatile)))
}

/// Equal, and of the same tables: a hint makes another table of the same name.
fn same(one: &LogicalPlan, other: &LogicalPlan) -> bool {
    let pointers = |plan| sources(plan).into_iter().map(|source| Arc::as_ptr(&source).cast::<()>()).collect::<Vec<_>>();
    one == other && pointers(one) == pointers(other)
}

fn sources(plan: &LogicalPlan) -> Vec<Arc<dyn Any + Send + Sync>> {
    let mut sources: Vec<Arc<dyn Any + Send + Sync>> = Vec::new();
    let told = plan.apply(|part| {
        if let LogicalPlan::TableScan(scan) = part {
            sources.push(scan.source.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(told.is_ok(), "looking fails nowhere");
    sources
}
