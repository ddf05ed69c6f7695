//! Random rows of all types.
#![allow(dead_code, reason = "each test uses its part")]

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, BooleanBuilder, StringViewBuilder};
use arrow_array::types::*;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, ListArray, MapArray, PrimitiveArray, RecordBatch, StringViewArray, StructArray,
};
use arrow_buffer::{IntervalMonthDayNano, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};

/// A generator that gives the same for the same seed (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn nulls(&mut self, rows: usize, nullable: bool) -> Option<NullBuffer> {
        nullable.then(|| (0..rows).map(|_| self.below(4) > 0).collect())
    }

    pub(crate) fn text(&mut self) -> String {
        const PIECES: [&str; 16] = [
            "a",
            "B",
            "0",
            " ",
            ",",
            ";",
            "\"",
            "\n",
            "\r",
            "\t",
            "ü",
            "😀",
            "{",
            "null",
            "'",
            "a longer piece of text",
        ];
        (0..self.below(6)).map(|_| PIECES[self.below(16) as usize]).collect()
    }
}

fn utc() -> Option<Arc<str>> {
    Some("UTC".into())
}

/// The scalars that tables are declared with.
pub(crate) fn scalars() -> Vec<DataType> {
    let mut types = vec![
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(10, 2),
        DataType::Decimal128(38, 18),
        DataType::Utf8View,
        DataType::BinaryView,
        DataType::Date32,
        DataType::Time32(TimeUnit::Millisecond),
    ];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.extend([DataType::Timestamp(unit, None), DataType::Timestamp(unit, utc())]);
    }
    types
}

pub(crate) fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// A list of numbers that are there: in CSV, one that holds NULL alone looks like NULL.
pub(crate) fn numbers() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Int32, false)))
}

pub(crate) fn row(fields: Vec<DataType>) -> DataType {
    let field = |(at, data_type)| Field::new(format!("m{at}"), data_type, true);
    DataType::Struct(fields.into_iter().enumerate().map(field).collect())
}

pub(crate) fn map(value: DataType) -> DataType {
    let pair = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", value, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false)
}

pub(crate) fn intervals() -> Vec<DataType> {
    vec![DataType::Interval(IntervalUnit::YearMonth), DataType::Interval(IntervalUnit::MonthDayNano)]
}

pub(crate) fn nested() -> Vec<DataType> {
    vec![
        list(DataType::Int32),
        list(DataType::Utf8View),
        row(vec![DataType::Int64, DataType::Utf8View, list(DataType::Float64)]),
        list(row(vec![DataType::Boolean, DataType::Decimal128(10, 2)])),
        map(DataType::Int64),
        map(list(DataType::Utf8View)),
    ]
}

pub(crate) fn schema(types: impl IntoIterator<Item = DataType>) -> SchemaRef {
    // Every third column is NOT NULL.
    let field = |(at, data_type)| Field::new(format!("c{at}"), data_type, at % 3 != 2);
    Arc::new(Schema::new(types.into_iter().enumerate().map(field).collect::<Vec<_>>()))
}

pub(crate) fn batch(schema: &SchemaRef, rows: usize, random: &mut Random) -> RecordBatch {
    let column = |field: &Arc<Field>| array(field.data_type(), rows, field.is_nullable(), random);
    RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect()).unwrap()
}

fn plain<T: ArrowPrimitiveType>(
    data_type: &DataType,
    nulls: Option<NullBuffer>,
    rows: usize,
    mut value: impl FnMut() -> T::Native,
) -> ArrayRef {
    let values: Vec<_> = (0..rows).map(|_| value()).collect();
    // What lies under NULL is nothing: it must not matter in comparisons.
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(data_type.clone()))
}

pub(crate) fn array(data_type: &DataType, rows: usize, nullable: bool, random: &mut Random) -> ArrayRef {
    let nulls = random.nulls(rows, nullable);
    const SECONDS: i64 = 4_000_000_000;
    match data_type {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            (0..rows).for_each(|at| {
                let value = random.below(2) == 0;
                builder.append_option(nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at)).then_some(value));
            });
            Arc::new(builder.finish())
        }
        DataType::Int8 => plain::<Int8Type>(data_type, nulls, rows, || random.next() as i8),
        DataType::Int16 => plain::<Int16Type>(data_type, nulls, rows, || random.next() as i16),
        DataType::Int32 => plain::<Int32Type>(data_type, nulls, rows, || random.next() as i32),
        DataType::Int64 => plain::<Int64Type>(data_type, nulls, rows, || random.next() as i64),
        DataType::Float32 => plain::<Float32Type>(data_type, nulls, rows, || {
            let value = f32::from_bits(random.next() as u32);
            if value.is_nan() { 0.5 } else { value }
        }),
        DataType::Float64 => plain::<Float64Type>(data_type, nulls, rows, || {
            let value = f64::from_bits(random.next());
            if value.is_nan() { -1e300 } else { value }
        }),
        DataType::Decimal128(precision, _) => {
            let limit = 10i128.pow(u32::from(*precision));
            plain::<Decimal128Type>(data_type, nulls, rows, || {
                (i128::from(random.next() as i64) * i128::from(random.next() >> 2)) % limit
            })
        }
        DataType::Utf8View => {
            let mut builder = StringViewBuilder::new();
            (0..rows).for_each(|at| {
                let value = random.text();
                builder.append_option(nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at)).then_some(value));
            });
            Arc::new(builder.finish())
        }
        DataType::BinaryView => {
            let mut builder = BinaryViewBuilder::new();
            (0..rows).for_each(|at| {
                let value: Vec<u8> = (0..random.below(20)).map(|_| random.next() as u8).collect();
                builder.append_option(nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at)).then_some(value));
            });
            Arc::new(builder.finish())
        }
        DataType::Date32 => plain::<Date32Type>(data_type, nulls, rows, || random.below(3_000_000) as i32 - 719_162),
        DataType::Time32(_) => {
            plain::<Time32MillisecondType>(data_type, nulls, rows, || random.below(86_400_000) as i32)
        }
        DataType::Timestamp(unit, _) => {
            let mut value =
                |per_second: u64| (random.below(2 * SECONDS as u64 * per_second)) as i64 - SECONDS * per_second as i64;
            match unit {
                TimeUnit::Second => plain::<TimestampSecondType>(data_type, nulls, rows, || value(1)),
                TimeUnit::Millisecond => plain::<TimestampMillisecondType>(data_type, nulls, rows, || value(1_000)),
                TimeUnit::Microsecond => plain::<TimestampMicrosecondType>(data_type, nulls, rows, || value(1_000_000)),
                TimeUnit::Nanosecond => {
                    plain::<TimestampNanosecondType>(data_type, nulls, rows, || value(1_000_000_000))
                }
            }
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            plain::<IntervalYearMonthType>(data_type, nulls, rows, || random.next() as i32)
        }
        DataType::Interval(_) => plain::<IntervalMonthDayNanoType>(data_type, nulls, rows, || {
            IntervalMonthDayNano::new(0, random.below(1_000) as i32, random.below(86_400_000) as i64 * 1_000_000)
        }),
        DataType::List(item) => {
            let lengths: Vec<usize> = lengths(rows, nulls.as_ref(), random);
            let items = array(item.data_type(), lengths.iter().sum(), item.is_nullable(), random);
            Arc::new(ListArray::new(item.clone(), OffsetBuffer::from_lengths(lengths), items, nulls))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| array(field.data_type(), rows, field.is_nullable(), random));
            let columns = columns.map(|column| under(&column, nulls.as_ref())).collect();
            Arc::new(StructArray::new(fields.clone(), columns, nulls))
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else { panic!("a map of pairs") };
            let lengths: Vec<usize> = lengths(rows, nulls.as_ref(), random);
            let total = lengths.iter().sum();
            let keys = StringViewArray::from_iter_values((0..total).map(|at| format!("k{at}\"")));
            let values = array(fields[1].data_type(), total, true, random);
            let pairs = StructArray::new(fields.clone(), vec![Arc::new(keys), values], None);
            Arc::new(MapArray::new(entries.clone(), OffsetBuffer::from_lengths(lengths), pairs, nulls, false))
        }
        other => panic!("no values of {other}"),
    }
}

fn lengths(rows: usize, nulls: Option<&NullBuffer>, random: &mut Random) -> Vec<usize> {
    let length = |at| if nulls.is_none_or(|nulls| nulls.is_valid(at)) { random.below(4) as usize } else { 0 };
    (0..rows).map(length).collect()
}

/// What is in a row that is NULL is NULL.
fn under(column: &ArrayRef, nulls: Option<&NullBuffer>) -> ArrayRef {
    let nulls = NullBuffer::union(column.nulls(), nulls);
    let data = column.to_data().into_builder().nulls(nulls).build().unwrap();
    arrow_array::make_array(data)
}
