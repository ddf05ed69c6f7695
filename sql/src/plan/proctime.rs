//! `PROCTIME()`: the time at which a row is worked on.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use updraft_kernel::clock;

/// Its name, by which a column of it is known for a time attribute.
pub(crate) const PROCTIME: &str = "proctime";

/// See the module's page. One time for all rows of a batch.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Proctime {
    signature: Signature,
}

impl Default for Proctime {
    fn default() -> Self {
        Self { signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Proctime {
    fn name(&self) -> &str {
        PROCTIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// `TIMESTAMP_LTZ(3)`
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now = clock::wall().as_millis() as i64;
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMillisecond(Some(now), Some("UTC".into()))))
    }
}
