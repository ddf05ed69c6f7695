//! What grammar means: `EXTRACT`, `SUBSTRING(a FROM b)`, `a[1]`, `ARRAY[…]`, `MAP[…]` and `ROW(…)` as calls of functions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, lit};

/// Plans what Flink means otherwise than DataFusion.
#[derive(Debug)]
pub(super) struct FlinkPlanner {
    extract: Arc<ScalarUDF>,
    substring: Arc<ScalarUDF>,
    item: Arc<ScalarUDF>,
}

impl FlinkPlanner {
    /// A planner with these functions, if they are all there.
    pub(super) fn new(functions: &[Arc<ScalarUDF>]) -> Option<Self> {
        let named = |name: &str| functions.iter().find(|function| function.name() == name).cloned();
        Some(Self { extract: named("extract")?, substring: named("substring")?, item: named("item")? })
    }
}

fn call(function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args))
}

impl ExprPlanner for FlinkPlanner {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call(&self.extract, args)))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call(&self.substring, args)))
    }

    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let is_map = || matches!(raw.expr.get_type(schema), Ok(DataType::Map(..)));
        let key = match &raw.field_access {
            GetFieldAccess::ListIndex { key } => key.as_ref().clone(),
            GetFieldAccess::NamedStructField { name } if is_map() => lit(name.clone()),
            _ => return Ok(PlannerResult::Original(raw)),
        };
        Ok(PlannerResult::Planned(call(&self.item, vec![raw.expr, key])))
    }
}
