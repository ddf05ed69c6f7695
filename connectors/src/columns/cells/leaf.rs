//! Scalars: what text each type is read from.

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, BooleanBufferBuilder, StringViewBuilder};
use arrow_array::types::*;
use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow_buffer::NullBufferBuilder;
use arrow_cast::cast;
use arrow_schema::{DataType, FieldRef, IntervalUnit, TimeUnit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use updraft_dataflow::Error;

use super::{number, time};
use crate::columns::types::sql_name;

/// The values of a column of scalars, so far.
pub(crate) trait Leaf: Send {
    /// Adds the value that `text` says, if it says one.
    fn push(&mut self, text: &str) -> bool;

    /// Adds NULL, or a stand-in where there is no NULL.
    fn push_null(&mut self, nullable: bool);

    fn len(&self) -> usize;

    /// Makes room for so many.
    fn reserve(&mut self, _: usize) {}

    fn finish(&mut self) -> ArrayRef;

    /// Adds bytes as they are, if they are a value.
    fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_ok_and(|text| self.push(text))
    }

    /// Whether every text is a value.
    fn is_text(&self) -> bool {
        false
    }

    /// Whether an empty text is a value.
    fn takes_empty(&self) -> bool {
        self.is_text()
    }
}

/// The leaf for a field's type.
pub(super) fn of(field: &FieldRef) -> Result<Box<dyn Leaf>, Error> {
    let data_type = field.data_type();
    Ok(match data_type {
        DataType::Boolean => Box::new(Bools::default()),
        DataType::Int8 => plain::<Int8Type>(data_type, number::int),
        DataType::Int16 => plain::<Int16Type>(data_type, number::int),
        DataType::Int32 => plain::<Int32Type>(data_type, number::int),
        DataType::Int64 => plain::<Int64Type>(data_type, number::int),
        DataType::UInt8 => plain::<UInt8Type>(data_type, number::int),
        DataType::UInt16 => plain::<UInt16Type>(data_type, number::int),
        DataType::UInt32 => plain::<UInt32Type>(data_type, number::int),
        DataType::UInt64 => plain::<UInt64Type>(data_type, number::int),
        DataType::Float32 => plain::<Float32Type>(data_type, number::float),
        DataType::Float64 => plain::<Float64Type>(data_type, number::float),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            plain::<Decimal128Type>(data_type, move |text| number::decimal(text, precision, scale))
        }
        DataType::Date32 => plain::<Date32Type>(data_type, |text| time::date(text.trim())),
        DataType::Time32(TimeUnit::Second) => plain::<Time32SecondType>(data_type, |text| clock(text, 1_000_000_000)),
        DataType::Time32(_) => plain::<Time32MillisecondType>(data_type, |text| clock(text, 1_000_000)),
        DataType::Time64(TimeUnit::Microsecond) => plain::<Time64MicrosecondType>(data_type, |text| clock(text, 1_000)),
        DataType::Time64(_) => plain::<Time64NanosecondType>(data_type, |text| clock(text, 1)),
        DataType::Timestamp(unit, zone) => timestamps(data_type, *unit, zone.is_some()),
        DataType::Interval(IntervalUnit::YearMonth) => plain::<IntervalYearMonthType>(data_type, number::int),
        DataType::Interval(IntervalUnit::MonthDayNano) => plain::<IntervalMonthDayNanoType>(data_type, time::interval),
        DataType::Utf8View => Box::<Strings>::default(),
        DataType::BinaryView => Box::<Bytes>::default(),
        DataType::Utf8 | DataType::LargeUtf8 => Cast::boxed(Strings::default(), data_type),
        DataType::Binary | DataType::LargeBinary => Cast::boxed(Bytes::default(), data_type),
        DataType::FixedSizeBinary(width) => {
            Cast::boxed(Bytes { width: Some(*width as usize), ..Bytes::default() }, data_type)
        }
        _ => {
            let (name, kind) = (field.name(), sql_name(data_type));
            return Err(format!("column `{name}`: a value of type {kind} cannot be read from text").into());
        }
    })
}

fn clock<T: TryFrom<i64>>(text: &str, nanos: i64) -> Option<T> {
    T::try_from(time::clock(text.trim())? / nanos).ok()
}

fn timestamps(data_type: &DataType, unit: TimeUnit, zoned: bool) -> Box<dyn Leaf> {
    let read = move |text: &str| time::timestamp(text.trim(), unit, zoned);
    match unit {
        TimeUnit::Second => plain::<TimestampSecondType>(data_type, read),
        TimeUnit::Millisecond => plain::<TimestampMillisecondType>(data_type, read),
        TimeUnit::Microsecond => plain::<TimestampMicrosecondType>(data_type, read),
        TimeUnit::Nanosecond => plain::<TimestampNanosecondType>(data_type, read),
    }
}

/// Values of one width.
struct Plain<T: ArrowPrimitiveType, P> {
    data_type: DataType,
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
    read: P,
}

fn plain<T: ArrowPrimitiveType>(
    data_type: &DataType,
    read: impl Fn(&str) -> Option<T::Native> + Send + 'static,
) -> Box<dyn Leaf> {
    let (values, nulls) = (Vec::new(), NullBufferBuilder::new(0));
    Box::new(Plain::<T, _> { data_type: data_type.clone(), values, nulls, read })
}

impl<T: ArrowPrimitiveType, P: Fn(&str) -> Option<T::Native> + Send> Leaf for Plain<T, P> {
    fn push(&mut self, text: &str) -> bool {
        let Some(value) = (self.read)(text) else { return false };
        self.values.push(value);
        self.nulls.append_non_null();
        true
    }

    fn push_null(&mut self, nullable: bool) {
        self.values.push(T::Native::default());
        self.nulls.append(!nullable);
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn reserve(&mut self, values: usize) {
        self.values.reserve(values);
    }

    fn finish(&mut self) -> ArrayRef {
        let values = std::mem::take(&mut self.values);
        let array = PrimitiveArray::<T>::new(values.into(), self.nulls.finish());
        Arc::new(array.with_data_type(self.data_type.clone()))
    }
}

struct Bools {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Default for Bools {
    fn default() -> Self {
        Self { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) }
    }
}

impl Leaf for Bools {
    fn push(&mut self, text: &str) -> bool {
        let text = text.trim();
        let value = text.eq_ignore_ascii_case("true");
        let known = value || text.eq_ignore_ascii_case("false");
        if known {
            self.values.append(value);
            self.nulls.append_non_null();
        }
        known
    }

    fn push_null(&mut self, nullable: bool) {
        self.values.append(false);
        self.nulls.append(!nullable);
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish()))
    }
}

/// Text.
#[derive(Default)]
struct Strings {
    values: StringViewBuilder,
    len: usize,
}

impl Leaf for Strings {
    fn push(&mut self, text: &str) -> bool {
        self.values.append_value(text);
        self.len += 1;
        true
    }

    fn push_null(&mut self, nullable: bool) {
        if nullable {
            self.values.append_null()
        } else {
            self.values.append_value("")
        }
        self.len += 1;
    }

    fn len(&self) -> usize {
        self.len
    }

    fn finish(&mut self) -> ArrayRef {
        self.len = 0;
        Arc::new(self.values.finish())
    }

    fn is_text(&self) -> bool {
        true
    }
}

/// Bytes, which are base64 in text.
#[derive(Default)]
struct Bytes {
    values: BinaryViewBuilder,
    scratch: Vec<u8>,
    len: usize,
    /// How many there have to be.
    width: Option<usize>,
}

impl Leaf for Bytes {
    fn push(&mut self, text: &str) -> bool {
        self.scratch.clear();
        let mut bytes = std::mem::take(&mut self.scratch);
        let pushed = BASE64_STANDARD.decode_vec(text.trim(), &mut bytes).is_ok() && self.push_bytes(&bytes);
        self.scratch = bytes;
        pushed
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        let fits = self.width.is_none_or(|width| width == bytes.len());
        if fits {
            self.values.append_value(bytes);
            self.len += 1;
        }
        fits
    }

    fn push_null(&mut self, nullable: bool) {
        match (nullable, self.width) {
            (true, _) => self.values.append_null(),
            (false, width) => self.values.append_value(vec![0; width.unwrap_or(0)]),
        }
        self.len += 1;
    }

    fn len(&self) -> usize {
        self.len
    }

    fn finish(&mut self) -> ArrayRef {
        self.len = 0;
        Arc::new(self.values.finish())
    }

    fn takes_empty(&self) -> bool {
        self.width.is_none()
    }
}

/// Values that are kept in another type of the same meaning in the end.
struct Cast<L> {
    leaf: L,
    data_type: DataType,
}

impl<L: Leaf + 'static> Cast<L> {
    fn boxed(leaf: L, data_type: &DataType) -> Box<dyn Leaf> {
        Box::new(Self { leaf, data_type: data_type.clone() })
    }
}

impl<L: Leaf> Leaf for Cast<L> {
    fn push(&mut self, text: &str) -> bool {
        self.leaf.push(text)
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        self.leaf.push_bytes(bytes)
    }

    fn push_null(&mut self, nullable: bool) {
        self.leaf.push_null(nullable);
    }

    fn len(&self) -> usize {
        self.leaf.len()
    }

    fn finish(&mut self) -> ArrayRef {
        let values = self.leaf.finish();
        cast(&values, &self.data_type).expect("text as text, bytes as bytes")
    }

    fn is_text(&self) -> bool {
        self.leaf.is_text()
    }

    fn takes_empty(&self) -> bool {
        self.leaf.takes_empty()
    }
}
