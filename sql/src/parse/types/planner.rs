//! The types within expressions, for DataFusion's planner.

use arrow::datatypes::{Field, FieldRef};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::planner::TypePlanner;
use datafusion_sql::sqlparser::ast;

use super::SqlType;

/// Plans the types of `CAST(… AS type)` as Flink means them.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlinkTypes;

impl TypePlanner for FlinkTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let parsed =
            sql_type.to_string().parse::<SqlType>().map_err(|error| DataFusionError::SQL(Box::new(error), None))?;
        Ok(Some(Field::new("", parsed.data_type, true).into()))
    }
}
