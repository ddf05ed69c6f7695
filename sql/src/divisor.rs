//! [`Divisor`]: division by a number that is known before the rows are: by a multiplication, where processors take ten times as
//! long to divide.
//!
//! Hacker's Delight (Warren, 2nd edition), 10-1: `n / d` is the high half of `n * multiplier`, shifted, for a multiplier that is
//! found once. [`by_constants`] puts it into expressions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Int64Type, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Literal};

/// What to multiply with, to divide by a number whose amount is at least 2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Divisor {
    divisor: i64,
    multiplier: i64,
    /// What is added of the number itself, as the multiplier may have grown too large for its type: 1, 0 or -1 times.
    own: i64,
    shift: u32,
}

impl Divisor {
    /// For this number; `None` for those by which division can fail, and for 1.
    pub(crate) fn new(divisor: i64) -> Option<Self> {
        const HALF: u64 = 1 << 63;
        let amount = divisor.unsigned_abs();
        if amount < 2 {
            return None;
        }
        let limit = HALF + u64::from(divisor < 0);
        let most = limit - 1 - limit % amount;
        let (mut shift, mut of_most, mut of_amount) = (0, (HALF / most, HALF % most), (HALF / amount, HALF % amount));
        loop {
            of_most = doubled(of_most, most);
            of_amount = doubled(of_amount, amount);
            let missing = amount - of_amount.1;
            if of_most.0 > missing || of_most.0 == missing && of_most.1 > 0 {
                break;
            }
            shift += 1;
        }
        let multiplier = of_amount.0.wrapping_add(1) as i64;
        let multiplier = if divisor < 0 { multiplier.wrapping_neg() } else { multiplier };
        let own = match (divisor > 0, multiplier > 0) {
            (true, false) => 1,
            (false, true) => -1,
            _ => 0,
        };
        Some(Self { divisor, multiplier, own, shift })
    }

    /// `number / divisor`, towards nought.
    #[inline]
    pub(crate) fn divide(self, number: i64) -> i64 {
        let high = ((i128::from(number) * i128::from(self.multiplier)) >> 64) as i64;
        let shifted = high.wrapping_add(number.wrapping_mul(self.own)) >> self.shift;
        shifted + (shifted < 0) as i64
    }

    /// `number % divisor`: what is left, of the sign of the number.
    #[inline]
    pub(crate) fn remainder(self, number: i64) -> i64 {
        number.wrapping_sub(self.divide(number).wrapping_mul(self.divisor))
    }
}

/// Twice a quotient and what is left, which is less than `limit`.
fn doubled((quotient, rest): (u64, u64), limit: u64) -> (u64, u64) {
    let (quotient, rest) = (2 * quotient, 2 * rest);
    if rest >= limit { (quotient + 1, rest - limit) } else { (quotient, rest) }
}

/// The same expression, with whole numbers divided by constants in this way.
pub(crate) fn by_constants(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let rewritten = expr.transform_up(|expr| {
        let Some(binary) = expr.downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(expr)) };
        let divisor = match binary.right().downcast_ref::<Literal>().map(Literal::value) {
            Some(ScalarValue::Int64(Some(divisor))) if binary.op() == &Operator::Divide => Divisor::new(*divisor),
            _ => None,
        };
        match divisor {
            Some(divisor) if binary.left().data_type(schema)? == DataType::Int64 => {
                Ok(Transformed::yes(Arc::new(Division { number: binary.left().clone(), divisor })))
            }
            _ => Ok(Transformed::no(expr)),
        }
    });
    Ok(rewritten?.data)
}

/// `number / constant`.
#[derive(Debug, Eq)]
struct Division {
    number: Arc<dyn PhysicalExpr>,
    divisor: Divisor,
}

// By hand, as those that are derived would move the expression (rust-lang/rust#78808).
impl PartialEq for Division {
    fn eq(&self, other: &Self) -> bool {
        self.number.eq(&other.number) && self.divisor == other.divisor
    }
}

impl Hash for Division {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.number, self.divisor).hash(state);
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.number, self.divisor.divisor)
    }
}

impl PhysicalExpr for Division {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.number.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let numbers = self.number.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(each(&numbers, |number| self.divisor.divide(number))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.number]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { number: children.swap_remove(0), divisor: self.divisor }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt_sql(f)?;
        write!(f, " / {}", self.divisor.divisor)
    }
}

/// What comes of each number that is not NULL.
pub(crate) fn each(numbers: &dyn Array, of: impl Fn(i64) -> i64) -> ArrayRef {
    Arc::new(numbers.as_primitive::<Int64Type>().unary::<_, Int64Type>(of))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use proptest::prelude::*;

    use super::*;

    /// Numbers of all sizes, and those beside powers of two and the ends of the type.
    fn numbers() -> impl Strategy<Value = i64> {
        let beside = (0u32..64, -2i64..3).prop_map(|(power, by)| (1_i64.wrapping_shl(power)).wrapping_add(by));
        prop_oneof![any::<i64>(), -1_000i64..1_000, beside]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        #[test]
        fn it_divides_as_processors_do(number in numbers(), divisor in numbers(), times in -3i64..4, by in -1i64..2) {
            let Some(quick) = Divisor::new(divisor) else {
                prop_assert!((-1..=1).contains(&divisor));
                return Ok(());
            };
            for number in [number, divisor.wrapping_mul(times).wrapping_add(by), i64::MIN, i64::MAX] {
                prop_assert_eq!(quick.divide(number), number / divisor);
                prop_assert_eq!(quick.remainder(number), number % divisor);
            }
        }
    }
}
