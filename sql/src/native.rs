//! Functions of the program itself, to be named by `CREATE FUNCTION f AS '…'`: see
//! [`Session::register_function`](crate::Session::register_function).

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// `COUNT_CHAR(text, character)`: how often the first byte of `character` is in `text`; 0 for NULL. (Of the Nexmark benchmark.)
pub fn count_char() -> ScalarUDF {
    ScalarUDF::from(CountChar { signature: Signature::string(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CountChar {
    signature: Signature,
}

impl ScalarUDFImpl for CountChar {
    fn name(&self) -> &str {
        "count_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts =
            arrays.iter().map(|array| cast(array, &DataType::Utf8View)).collect::<std::result::Result<Vec<_>, _>>()?;
        let (texts, sought) = (texts[0].as_string_view(), texts[1].as_string_view());
        let count = |(text, sought): (Option<&str>, Option<&str>)| {
            let byte = sought.and_then(|sought| sought.bytes().next());
            text.map_or(0, |text| text.bytes().filter(|other| Some(*other) == byte).count() as i64)
        };
        Ok(ColumnarValue::Array(Arc::new(texts.iter().zip(sought).map(count).collect::<Int64Array>())))
    }
}
