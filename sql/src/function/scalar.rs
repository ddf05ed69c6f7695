//! How a scalar function of ours is written: its name, what it takes, what it gives, and what it does with a batch.
//!
//! [`scalar`] makes one; the topics' files ([`super::string`] is a good first one) are lists of them. A body sees a
//! [`Call`]: the batch's columns, already cast to the kinds that the function takes, and the number of rows to give.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::{Result, ScalarValue, exec_datafusion_err, internal_datafusion_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::zone::Zone;

/// What an argument may be. Untyped NULLs fit everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A string; the body sees `Utf8View`.
    Text,
    /// Bytes; the body sees `BinaryView`.
    Bytes,
    /// A whole number; the body sees `Int64`.
    Int,
    /// A string that the result's type depends on: it is not cast, so that a literal stays one.
    Word,
    /// A whole number that the result's type depends on.
    Places,
    /// Any number; the body sees `Float64`.
    Double,
    /// A truth value.
    Flag,
    /// Any number, as it is.
    Number,
    /// A date, a time or a timestamp, as it is; a string is read as a timestamp.
    Moment,
    /// Anything, as it is.
    Any,
}

impl Kind {
    fn coerce(self, given: &DataType) -> Option<DataType> {
        let to = self.target(given);
        let fits = match self {
            _ if given.is_null() => true,
            Self::Text | Self::Word => given.is_string(),
            Self::Bytes => given.is_binary(),
            Self::Int | Self::Places => given.is_integer(),
            Self::Double | Self::Number => given.is_numeric(),
            Self::Flag => *given == DataType::Boolean,
            Self::Moment => given.is_string() || (given.is_temporal() && !matches!(given, DataType::Interval(_))),
            Self::Any => true,
        };
        fits.then_some(to)
    }

    fn target(self, given: &DataType) -> DataType {
        let moment = DataType::Timestamp(TimeUnit::Millisecond, None);
        match self {
            Self::Text => DataType::Utf8View,
            Self::Bytes => DataType::BinaryView,
            Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Flag => DataType::Boolean,
            Self::Number if given.is_null() => DataType::Float64,
            Self::Moment if given.is_null() || given.is_string() => moment,
            Self::Word if given.is_null() => DataType::Utf8View,
            Self::Places if given.is_null() => DataType::Int64,
            Self::Word | Self::Places | Self::Number | Self::Moment | Self::Any => given.clone(),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Text | Self::Word => "a string",
            Self::Bytes => "bytes",
            Self::Int | Self::Places => "a whole number",
            Self::Double | Self::Number => "a number",
            Self::Flag => "a boolean",
            Self::Moment => "a date, a time or a timestamp",
            Self::Any => "anything",
        }
    }
}

/// What the arguments may be.
pub(super) enum Takes {
    /// These kinds, of which the first `needed` must be given.
    Some(&'static [Kind], usize),
    /// These kinds, the last of them any number of times, even none.
    Many(&'static [Kind]),
    /// What the function says.
    By(fn(&[DataType]) -> Result<Vec<DataType>>),
}

impl Takes {
    /// Exactly these kinds.
    pub(super) const fn all(kinds: &'static [Kind]) -> Self {
        Self::Some(kinds, kinds.len())
    }

    fn coerce(&self, name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
        let (kinds, least, most) = match *self {
            Self::By(coerce) => return coerce(given),
            Self::Some(kinds, needed) => (kinds, needed, kinds.len()),
            Self::Many(kinds) => (kinds, kinds.len() - 1, usize::MAX),
        };
        let name = name.to_uppercase();
        if given.len() < least || given.len() > most {
            let wanted = if most == usize::MAX { format!("at least {least}") } else { range(least, most) };
            return plan_err!("{name} takes {wanted} arguments, and {} were given", given.len());
        }
        let kind = |place: usize| kinds[place.min(kinds.len() - 1)];
        let each = given.iter().enumerate();
        each.map(|(place, given)| match kind(place).coerce(given) {
            Some(to) => Ok(to),
            None => plan_err!(
                "{name} takes {} as argument {}, and {given} was given: CAST it",
                kind(place).noun(),
                place + 1
            ),
        })
        .collect()
    }
}

fn range(least: usize, most: usize) -> String {
    if least == most { most.to_string() } else { format!("{least} to {most}") }
}

/// The types of the arguments, and the values of those that are literals: what a result's type may depend on.
pub(super) struct Given<'a> {
    /// The arguments' types, after coercion.
    pub(super) types: Vec<DataType>,
    /// Those arguments that are literals.
    pub(super) literals: &'a [Option<&'a ScalarValue>],
}

impl Given<'_> {
    /// The type of an argument.
    pub(super) fn of(&self, place: usize) -> DataType {
        self.types.get(place).cloned().unwrap_or(DataType::Null)
    }

    /// The whole number that an argument literally is.
    pub(super) fn int(&self, place: usize) -> Option<i64> {
        match self.literals.get(place)?.as_ref()?.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(value)) => value,
            _ => None,
        }
    }

    /// The string that an argument literally is.
    pub(super) fn text(&self, place: usize) -> Option<&str> {
        self.literals.get(place)?.and_then(|literal| literal.try_as_str().flatten())
    }
}

/// What type the result has.
pub(super) enum Gives {
    /// Always this one.
    Type(DataType),
    /// What the function says.
    By(fn(&Given<'_>) -> Result<DataType>),
}

impl Gives {
    /// Strings.
    pub(super) const TEXT: Self = Self::Type(DataType::Utf8View);
    /// INT.
    pub(super) const INT: Self = Self::Type(DataType::Int32);
    /// BIGINT.
    pub(super) const LONG: Self = Self::Type(DataType::Int64);
    /// DOUBLE.
    pub(super) const DOUBLE: Self = Self::Type(DataType::Float64);
    /// BOOLEAN.
    pub(super) const FLAG: Self = Self::Type(DataType::Boolean);
    /// BYTES.
    pub(super) const BYTES: Self = Self::Type(DataType::BinaryView);
    /// The type of the first argument.
    pub(super) const FIRST: Self = Self::By(|given| Ok(given.of(0)));
}

type Body = Arc<dyn Fn(&Call) -> Result<ArrayRef> + Send + Sync>;

/// A scalar function of ours.
pub(super) struct Scalar {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
    takes: Takes,
    gives: Gives,
    body: Body,
}

/// The function `name`.
pub(super) fn scalar(
    name: &'static str,
    takes: Takes,
    gives: Gives,
    body: impl Fn(&Call) -> Result<ArrayRef> + Send + Sync + 'static,
) -> Scalar {
    let signature = Signature::user_defined(Volatility::Immutable);
    Scalar { name, aliases: Vec::new(), signature, takes, gives, body: Arc::new(body) }
}

impl Scalar {
    /// Also known by these names.
    pub(super) fn or(mut self, aliases: &[&str]) -> Self {
        self.aliases = aliases.iter().map(ToString::to_string).collect();
        self
    }

    /// Its result differs from call to call, though the arguments are equal.
    pub(super) fn volatile(mut self) -> Self {
        self.signature = Signature::user_defined(Volatility::Volatile);
        self
    }
}

impl From<Scalar> for Arc<ScalarUDF> {
    fn from(scalar: Scalar) -> Self {
        Self::new(ScalarUDF::new_from_impl(scalar))
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.takes.coerce(self.name, given)
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        self.result(&Given { types: given.to_vec(), literals: &[] })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let result = self.result(&Given { types, literals: args.scalar_arguments })?;
        Ok(Arc::new(Field::new(self.name, result, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let varies = self.signature.volatility == Volatility::Volatile;
        let constant = !varies && args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let call = Call::new(self.name, args, constant)?;
        let values = (self.body)(&call)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }
}

impl Scalar {
    fn result(&self, given: &Given<'_>) -> Result<DataType> {
        match &self.gives {
            Gives::Type(result) => Ok(result.clone()),
            Gives::By(result) => result(given),
        }
    }
}

/// One call of a function: the columns of a batch.
pub(super) struct Call {
    name: &'static str,
    /// How many rows the result has.
    pub(super) rows: usize,
    /// The result's type.
    pub(super) result: DataType,
    /// The session's time zone.
    pub(super) zone: Zone,
    /// The arguments' fields.
    pub(super) fields: Vec<FieldRef>,
    args: Vec<Arg>,
}

/// A column, or one value that stands for each row.
struct Arg {
    values: ArrayRef,
    scalar: bool,
}

impl Call {
    fn new(name: &'static str, args: ScalarFunctionArgs, constant: bool) -> Result<Self> {
        let rows = if constant { 1 } else { args.number_rows };
        let zone = Zone::session(args.config_options.execution.time_zone.as_deref())?;
        let result = args.return_field.data_type().clone();
        let columns = args.args.into_iter().map(|arg| match arg {
            ColumnarValue::Array(values) => Ok(Arg { values, scalar: false }),
            ColumnarValue::Scalar(value) => Ok(Arg { values: value.to_array()?, scalar: true }),
        });
        Ok(Self { name, rows, result, zone, fields: args.arg_fields, args: columns.collect::<Result<_>>()? })
    }

    /// How many arguments there are.
    pub(super) fn len(&self) -> usize {
        self.args.len()
    }

    /// A column of strings.
    pub(super) fn text(&self, place: usize) -> Result<Column<StringViewArray>> {
        self.column_of(place, &DataType::Utf8View)
    }

    /// A column of bytes.
    pub(super) fn bytes(&self, place: usize) -> Result<Column<BinaryViewArray>> {
        self.column(place)
    }

    /// A column of whole numbers.
    pub(super) fn int(&self, place: usize) -> Result<Column<Int64Array>> {
        self.column_of(place, &DataType::Int64)
    }

    /// A column of numbers.
    pub(super) fn double(&self, place: usize) -> Result<Column<Float64Array>> {
        self.column(place)
    }

    /// A column of truth values.
    pub(super) fn flag(&self, place: usize) -> Result<Column<BooleanArray>> {
        self.column(place)
    }

    /// A column of strings, or this one where the argument was not given.
    pub(super) fn text_or(&self, place: usize, default: &str) -> Result<Column<StringViewArray>> {
        if place < self.len() {
            return self.text(place);
        }
        Ok(Column { values: StringViewArray::from(vec![default]), scalar: true })
    }

    /// A column of whole numbers, or this one where the argument was not given.
    pub(super) fn int_or(&self, place: usize, default: i64) -> Result<Column<Int64Array>> {
        if place < self.len() {
            return self.int(place);
        }
        Ok(Column { values: Int64Array::from(vec![default]), scalar: true })
    }

    /// A column of this type of array.
    fn column<A: Array + Clone + 'static>(&self, place: usize) -> Result<Column<A>> {
        let given = self.arg(place)?.values.data_type();
        self.column_of(place, given)
    }

    /// A column, cast to a type.
    fn column_of<A: Array + Clone + 'static>(&self, place: usize, to: &DataType) -> Result<Column<A>> {
        let arg = self.arg(place)?;
        let values = if arg.values.data_type() == to { Arc::clone(&arg.values) } else { cast(&arg.values, to)? };
        let values = values.as_any().downcast_ref::<A>().cloned();
        let values = values.ok_or_else(|| {
            internal_datafusion_err!("argument {place} of {} came as {}", self.name, arg.values.data_type())
        })?;
        Ok(Column { values, scalar: arg.scalar })
    }

    /// An argument with as many rows as the result.
    pub(super) fn whole(&self, place: usize) -> Result<ArrayRef> {
        let arg = self.arg(place)?;
        if !arg.scalar || self.rows == 1 {
            return Ok(Arc::clone(&arg.values));
        }
        ScalarValue::try_from_array(&arg.values, 0)?.to_array_of_size(self.rows)
    }

    /// An argument that is the same in each row; `None` where it may differ.
    pub(super) fn constant(&self, place: usize) -> Result<Option<ScalarValue>> {
        let arg = self.arg(place)?;
        if arg.scalar { ScalarValue::try_from_array(&arg.values, 0).map(Some) } else { Ok(None) }
    }

    fn arg(&self, place: usize) -> Result<&Arg> {
        let missing = || internal_datafusion_err!("{} was called without argument {place}", self.name);
        self.args.get(place).ok_or_else(missing)
    }

    /// The result, row by row.
    pub(super) fn each<A, T>(&self, row: impl FnMut(usize) -> Option<T>) -> Result<ArrayRef>
    where
        A: Array + FromIterator<Option<T>> + 'static,
    {
        Ok(Arc::new((0..self.rows).map(row).collect::<A>()))
    }

    /// The result, row by row, where a row may fail.
    pub(super) fn try_each<A, T>(&self, row: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef>
    where
        A: Array + FromIterator<Option<T>> + 'static,
    {
        Ok(Arc::new((0..self.rows).map(row).collect::<Result<A>>()?))
    }

    /// The error of a value that the function cannot take.
    pub(super) fn error(&self, message: impl fmt::Display) -> datafusion_common::DataFusionError {
        exec_datafusion_err!("{}: {message}", self.name.to_uppercase())
    }
}

/// An argument, by rows.
pub(super) struct Column<A> {
    values: A,
    scalar: bool,
}

impl<A: Array> Column<A> {
    /// The value of a row, or none where it is NULL.
    pub(super) fn at<'a, T>(&'a self, row: usize) -> Option<T>
    where
        &'a A: ArrayAccessor<Item = T>,
    {
        let values = &self.values;
        let row = if self.scalar { 0 } else { row };
        values.is_valid(row).then(|| values.value(row))
    }
}
