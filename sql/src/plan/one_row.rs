//! `ONE_ROW(value, rows)`: the value of a scalar subquery, which is an error where the subquery has more rows than one.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// Its name.
pub(super) const ONE_ROW: &str = "one_row";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OneRow {
    signature: Signature,
}

impl Default for OneRow {
    fn default() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for OneRow {
    fn name(&self) -> &str {
        ONE_ROW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        Ok(given[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.args[1].to_array(args.number_rows)?;
        match rows.as_primitive_opt::<Int64Type>() {
            Some(rows) if rows.iter().flatten().any(|rows| rows > 1) => {
                exec_err!("a subquery that stands for a value has more than one row: say which, by MAX or LIMIT 1")
            }
            _ => Ok(args.args[0].clone()),
        }
    }
}
