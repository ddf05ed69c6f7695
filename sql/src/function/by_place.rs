//! Casts of rows, field by field in their order, whatever the fields are called; in arrays and maps too.
//!
//! DataFusion goes by names, which `ROW(1, 'x')` does not have. [`CastsOfRows`] has its casts done here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, exec_err};
use datafusion_expr::expr::Cast;
use datafusion_expr::expr_rewriter::FunctionRewrite;
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::conversion::texts;
use super::moment::recast;

/// `expr`, which is a `from`, as a `to`.
pub(crate) fn cast_to(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    if !holds_rows(from) || !holds_rows(to) || from == to {
        return datafusion_expr::cast(expr, to.clone());
    }
    let function = ByPlace { to: to.clone(), signature: Signature::any(1, Volatility::Immutable) };
    ScalarUDF::from(function).call(vec![expr])
}

fn holds_rows(of: &DataType) -> bool {
    match of {
        DataType::Struct(_) => true,
        DataType::List(item) => holds_rows(item.data_type()),
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| holds_rows(field.data_type())),
            _ => false,
        },
        _ => false,
    }
}

/// An analyzer's function rewrite.
#[derive(Debug, Default)]
pub(super) struct CastsOfRows;

impl FunctionRewrite for CastsOfRows {
    fn name(&self) -> &str {
        "casts_of_rows"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Ok(Transformed::no(expr)) };
        let (from, to) = (inner.get_type(schema)?, field.data_type());
        match cast_to(inner.as_ref().clone(), &from, to) {
            Expr::Cast(_) => Ok(Transformed::no(expr)),
            function => Ok(Transformed::yes(function)),
        }
    }
}

/// The cast to one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ByPlace {
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for ByPlace {
    fn name(&self) -> &str {
        "cast_rows"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(by_place(&values, &self.to)?))
    }
}

fn by_place(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(match (values.data_type(), to) {
        (from, to) if from == to => Arc::clone(values),
        (DataType::Struct(from), DataType::Struct(fields)) => {
            if from.len() != fields.len() {
                return exec_err!("a ROW of {} fields is no ROW of {}", from.len(), fields.len());
            }
            let rows = values.as_struct();
            let columns = rows.columns().iter().zip(fields).map(|(column, field)| by_place(column, field.data_type()));
            let columns = columns.collect::<Result<_>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?)
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = values.as_list::<i32>();
            let elements = by_place(list.values(), item.data_type())?;
            Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), elements, list.nulls().cloned())?)
        }
        (DataType::Map(..), DataType::Map(entry, sorted)) => {
            let map = values.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = by_place(&entries, entry.data_type())?.as_struct().clone();
            Arc::new(MapArray::try_new(entry.clone(), map.offsets().clone(), entries, map.nulls().cloned(), *sorted)?)
        }
        (_, text) if text.is_string() => recast(&(Arc::new(texts(values)?) as ArrayRef), text)?,
        _ => recast(values, to)?,
    })
}
