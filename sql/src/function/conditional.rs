//! GREATEST and LEAST, which are NULL as soon as one argument is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::kernels::cmp::{gt, lt};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{is_null, nullif, or};
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_datafusion_err};
use datafusion_expr::ScalarUDF;
use datafusion_expr::type_coercion::binary::type_union_resolution;

use super::scalar::{Call, Gives, Takes, scalar};

/// The conditional functions.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        scalar("greatest", Takes::By(common), Gives::FIRST, |call| best(call, true)).into(),
        scalar("least", Takes::By(common), Gives::FIRST, |call| best(call, false)).into(),
    ]
}

fn common(given: &[DataType]) -> Result<Vec<DataType>> {
    let common = type_union_resolution(given);
    let common = common
        .ok_or_else(|| plan_datafusion_err!("GREATEST and LEAST take values of one type, and {given:?} were given"))?;
    Ok(vec![common; given.len()])
}

fn best(call: &Call, greatest: bool) -> Result<ArrayRef> {
    let mut best = call.whole(0)?;
    for place in 1..call.len() {
        let next = call.whole(place)?;
        let keeps = if greatest { gt(&best, &next)? } else { lt(&best, &next)? };
        let null = or(&is_null(&best)?, &is_null(&next)?)?;
        let chosen = zip(&keeps, &best, &next)?;
        best = if null.true_count() > 0 { nullif(&chosen, &null)? } else { chosen };
    }
    debug_assert_eq!(best.len(), call.rows, "one answer a row");
    Ok(best)
}
