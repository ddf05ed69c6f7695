//! What must hold of a stream of Arrow's before Arrow's reader is given it: that takes for granted what has been written is
//! what a writer of its own has written, and panics, or asks for as much memory as the bytes say, where it is not so.
//!
//! Types are those that columns here are of. Arrow itself checks what is in the buffers (offsets, UTF-8, views).

use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::ipc::{
    Buffer, DateUnit, Endianness, Field, FieldNode, IntervalUnit, Message, Precision, RecordBatch, TimeUnit, Type,
    root_as_message,
};

type Result<T> = std::result::Result<T, ArrowError>;

/// Bytes before a message, that say how long it is.
const HEAD: usize = 4;
/// What may stand before these.
const CONTINUATION: [u8; HEAD] = [0xFF; HEAD];
/// Rows of a batch that has few bytes or none: columns of NULL have no bytes at all.
const BARE_ROWS: usize = 1 << 24;

fn wrong<T>(why: &str) -> Result<T> {
    Err(ArrowError::IpcError(format!("no columns: {why}")))
}

fn must(holds: bool, why: &str) -> Result<()> {
    if holds { Ok(()) } else { wrong(why) }
}

/// Takes so many bytes.
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    let Some((taken, rest)) = bytes.split_at_checked(len) else { return wrong("they are cut off") };
    *bytes = rest;
    Ok(taken)
}

fn take_number(bytes: &mut &[u8]) -> Result<[u8; HEAD]> {
    let mut number = [0; HEAD];
    number.copy_from_slice(take(bytes, HEAD)?);
    Ok(number)
}

/// Takes the next message without its body, where bytes are aligned; none at the end.
pub(super) fn message(bytes: &mut &[u8]) -> Result<Option<Vec<u8>>> {
    let mut len = take_number(bytes)?;
    if len == CONTINUATION {
        len = take_number(bytes)?;
    }
    match u32::from_le_bytes(len) as usize {
        0 if bytes.is_empty() => Ok(None),
        0 => wrong("something follows after their end"),
        len => Ok(Some(take(bytes, len)?.to_vec())),
    }
}

/// Reads it, and takes its body.
pub(super) fn body<'m, 'a>(message: &'m [u8], bytes: &mut &'a [u8]) -> Result<(Message<'m>, &'a [u8])> {
    let Ok(message) = root_as_message(message) else { return wrong("a message is none") };
    let Ok(len) = usize::try_from(message.bodyLength()) else { return wrong("a body is shorter than nothing") };
    Ok((message, take(bytes, len)?))
}

/// Whether a schema can be read.
pub(super) fn schema(schema: arrow::ipc::Schema<'_>) -> Result<()> {
    must(schema.endianness() == Endianness::Little, "they are from a machine with another order of bytes")?;
    let Some(fields) = schema.fields() else { return wrong("a schema has no fields") };
    fields.iter().try_for_each(field)
}

fn field(of: Field<'_>) -> Result<()> {
    must(of.dictionary().is_none() && is_known(of), "a type is none of those that are kept")?;
    of.children().into_iter().flatten().try_for_each(field)
}

fn is_known(field: Field<'_>) -> bool {
    let children = field.children().map_or(0, |children| children.len());
    match field.type_type() {
        Type::Null | Type::Bool => true,
        Type::Binary | Type::LargeBinary | Type::BinaryView | Type::Utf8 | Type::LargeUtf8 | Type::Utf8View => true,
        Type::Struct_ => true,
        Type::List | Type::LargeList => children == 1,
        Type::FixedSizeList => {
            children == 1 && field.type_as_fixed_size_list().is_some_and(|list| list.listSize() >= 0)
        }
        Type::Map => {
            let entries = field.children().filter(|children| children.len() == 1).map(|children| children.get(0));
            let is_pair = |entries: Field<'_>| {
                entries.type_type() == Type::Struct_ && entries.children().is_some_and(|pair| pair.len() == 2)
            };
            field.type_as_map().is_some() && entries.is_some_and(is_pair)
        }
        Type::FixedSizeBinary => field.type_as_fixed_size_binary().is_some_and(|bytes| bytes.byteWidth() >= 0),
        Type::Int => field.type_as_int().is_some_and(|int| [8, 16, 32, 64].contains(&int.bitWidth())),
        Type::FloatingPoint => field
            .type_as_floating_point()
            .is_some_and(|float| [Precision::HALF, Precision::SINGLE, Precision::DOUBLE].contains(&float.precision())),
        Type::Decimal => field.type_as_decimal().is_some_and(|decimal| {
            let digits = match decimal.bitWidth() {
                32 => 9,
                64 => 18,
                128 => 38,
                256 => 76,
                _ => 0,
            };
            (1..=digits).contains(&decimal.precision()) && decimal.scale().unsigned_abs() <= digits as u32
        }),
        Type::Date => {
            field.type_as_date().is_some_and(|date| [DateUnit::DAY, DateUnit::MILLISECOND].contains(&date.unit()))
        }
        Type::Time => field.type_as_time().is_some_and(|time| match time.bitWidth() {
            32 => [TimeUnit::SECOND, TimeUnit::MILLISECOND].contains(&time.unit()),
            64 => [TimeUnit::MICROSECOND, TimeUnit::NANOSECOND].contains(&time.unit()),
            _ => false,
        }),
        Type::Timestamp => field.type_as_timestamp().is_some_and(|time| is_unit(time.unit())),
        Type::Duration => field.type_as_duration().is_some_and(|span| is_unit(span.unit())),
        Type::Interval => field.type_as_interval().is_some_and(|span| {
            [IntervalUnit::YEAR_MONTH, IntervalUnit::DAY_TIME, IntervalUnit::MONTH_DAY_NANO].contains(&span.unit())
        }),
        _ => false,
    }
}

fn is_unit(unit: TimeUnit) -> bool {
    [TimeUnit::SECOND, TimeUnit::MILLISECOND, TimeUnit::MICROSECOND, TimeUnit::NANOSECOND].contains(&unit)
}

/// Whether a batch of a schema has all that is taken out of its body, of so many bytes.
pub(super) fn batch(batch: RecordBatch<'_>, schema: &Schema, body: usize) -> Result<()> {
    must(batch.compression().is_none(), "they are compressed")?;
    let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else { return wrong("a batch has no parts") };
    let views: Vec<i64> = batch.variadicBufferCounts().into_iter().flatten().collect();
    let mut parts = Parts {
        nodes: nodes.iter(),
        buffers: buffers.iter(),
        views: views.into_iter(),
        body,
        rows: body.saturating_mul(8).saturating_add(BARE_ROWS),
    };
    parts.length(batch.length())?;
    schema.fields().iter().try_for_each(|field| parts.column(field.data_type()))?;
    let is_all = parts.nodes.next().is_none() && parts.buffers.next().is_none() && parts.views.next().is_none();
    must(is_all, "a batch has more parts than columns")
}

/// The parts of a batch that are left.
struct Parts<N, B> {
    nodes: N,
    buffers: B,
    /// How many buffers columns of views have.
    views: std::vec::IntoIter<i64>,
    body: usize,
    /// How many rows there may be.
    rows: usize,
}

impl<'a, N: Iterator<Item = &'a FieldNode>, B: Iterator<Item = &'a Buffer>> Parts<N, B> {
    fn length(&self, length: i64) -> Result<usize> {
        match usize::try_from(length).ok().filter(|length| *length <= self.rows) {
            Some(length) => Ok(length),
            None => wrong("there are more rows than can be"),
        }
    }

    fn column(&mut self, data_type: &DataType) -> Result<()> {
        let Some(node) = self.nodes.next() else { return wrong("a column is missing") };
        let (rows, nulls) = (self.length(node.length())?, self.length(node.null_count())?);
        must(nulls <= rows, "there are more NULLs than rows")?;
        match data_type {
            DataType::Null => Ok(()),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => self.take(3),
            DataType::Utf8View | DataType::BinaryView => {
                let more = self.views.next().and_then(|more| usize::try_from(more).ok());
                let Some(more) = more else { return wrong("a column of texts does not say of how many buffers") };
                self.take(2)?;
                self.take(more)
            }
            DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
                self.take(2)?;
                self.column(item.data_type())
            }
            DataType::FixedSizeList(item, _) => {
                self.take(1)?;
                self.column(item.data_type())
            }
            DataType::Struct(fields) => {
                let valid = self.buffer()?;
                must(nulls == 0 || rows <= 8 * valid, "it is not said of all rows whether they are NULL")?;
                fields.iter().try_for_each(|field| self.column(field.data_type()))
            }
            _ => self.take(2),
        }
    }

    fn take(&mut self, buffers: usize) -> Result<()> {
        (0..buffers).try_for_each(|_| self.buffer().map(drop))
    }

    /// The length of the next buffer.
    fn buffer(&mut self) -> Result<usize> {
        let Some(buffer) = self.buffers.next() else { return wrong("a buffer is missing") };
        let (from, len) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let within =
            from.ok().zip(len.ok()).filter(|(from, len)| from.checked_add(*len).is_some_and(|to| to <= self.body));
        within.map_or_else(|| wrong("a buffer is not within the body"), |(_, len)| Ok(len))
    }
}
