//! What must hold of any bytes that a server may send: called by the fuzz targets, and over their corpus by `corpus.rs`.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use updraft_postgres::pgoutput::{Message, Old, Value, parse};
use updraft_postgres::testing::copied;

/// What is given any bytes, and panics if something does not hold.
pub type Check = fn(&[u8]);

/// The checks, by the names of their fuzz targets.
pub const CHECKS: &[(&str, Check)] =
    &[("pgoutput", pgoutput), ("postgres_copy", postgres_copy), ("postgres_values", postgres_values)];

/// A message that is read is told whole: written again it reads the same, and it is refused where it is cut off or goes on.
pub fn pgoutput(bytes: &[u8]) {
    let Ok(message) = parse(bytes) else { return };
    // Of these nothing but the kind is read.
    if matches!(message, Message::Other(_)) {
        return;
    }
    let written = write(&message);
    assert_eq!(parse(&written).as_ref(), Ok(&message));
    assert_eq!(written.len(), bytes.len());
    for cut in (0..bytes.len()).step_by(bytes.len().div_ceil(100)) {
        assert!(parse(&bytes[..cut]).is_err(), "{message:?} is cut off at {cut}");
    }
    assert!(parse(&[bytes, &[0]].concat()).is_err());
}

/// As a server writes it, straight from the protocol's page.
pub fn write(message: &Message<'_>) -> Vec<u8> {
    let (mut out, name) = (Vec::new(), |name: &str| [name.as_bytes(), &[0]].concat());
    match message {
        Message::Begin { commit, time, transaction } => {
            out.push(b'B');
            out.extend(commit.to_be_bytes());
            out.extend(time.to_be_bytes());
            out.extend(transaction.to_be_bytes());
        }
        Message::Commit { commit, end } => {
            out.extend(b"C\0");
            out.extend(commit.to_be_bytes());
            out.extend(end.to_be_bytes());
            out.extend([0; 8]);
        }
        Message::Relation(relation) => {
            out.push(b'R');
            out.extend(relation.id.to_be_bytes());
            out.extend(name(relation.schema));
            out.extend(name(relation.name));
            out.push(relation.identity);
            out.extend((relation.columns.len() as u16).to_be_bytes());
            for column in &relation.columns {
                out.push(u8::from(column.is_key));
                out.extend(name(column.name));
                out.extend(column.data_type.to_be_bytes());
                out.extend(column.modifier.to_be_bytes());
            }
        }
        Message::Insert { relation, new } => {
            out.push(b'I');
            out.extend(relation.to_be_bytes());
            row(b'N', new, &mut out);
        }
        Message::Update { relation, old, new } => {
            out.push(b'U');
            out.extend(relation.to_be_bytes());
            old.iter().for_each(|old| write_old(old, &mut out));
            row(b'N', new, &mut out);
        }
        Message::Delete { relation, old } => {
            out.push(b'D');
            out.extend(relation.to_be_bytes());
            write_old(old, &mut out);
        }
        Message::Truncate(relations) => {
            out.push(b'T');
            out.extend((relations.len() as u32).to_be_bytes());
            out.push(0);
            relations.iter().for_each(|relation| out.extend(relation.to_be_bytes()));
        }
        Message::Other(kind) => out.push(*kind),
    }
    out
}

fn write_old(old: &Old<'_>, out: &mut Vec<u8>) {
    match old {
        Old::Key(values) => row(b'K', values, out),
        Old::Row(values) => row(b'O', values, out),
    }
}

fn row(kind: u8, values: &[Value<'_>], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend((values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            Value::Null => out.push(b'n'),
            Value::Unchanged => out.push(b'u'),
            Value::Text(text) => {
                out.push(b't');
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(text.as_bytes());
            }
        }
    }
}

/// Texts come out as they were put in, wherever what is sent is cut. The first byte says where, the second of how many columns; between
/// texts there is a byte 0xFF, and one that is 0xFE is null.
pub fn postgres_copy(input: &[u8]) {
    let Some((&[cut, width], bytes)) = input.split_first_chunk() else { return };
    let width = usize::from(width % 4) + 1;
    let values: Option<Vec<_>> = bytes.split(|byte| *byte == 0xFF).map(text_or_null).collect();
    let fields = (0..width).map(|at| Field::new(at.to_string(), DataType::Utf8View, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let cut = usize::from(cut) + 1;
    let Some(values) = values else {
        // Whatever it is, it is text or it is refused.
        let _ = copied(&schema, bytes.chunks(cut));
        return;
    };
    let rows: Vec<_> = values.chunks_exact(width).collect();
    let sent: Vec<u8> = rows.iter().flat_map(|row| line(row)).collect();
    let batch = copied(&schema, sent.chunks(cut)).unwrap();
    assert_eq!(batch.num_rows(), rows.len());
    for (at, column) in batch.columns().iter().enumerate() {
        let read: Vec<_> = column.as_string_view().iter().collect();
        assert_eq!(read, rows.iter().map(|row| row[at]).collect::<Vec<_>>());
    }
}

/// The text, or null; none where it is not UTF-8.
fn text_or_null(bytes: &[u8]) -> Option<Option<&str>> {
    if bytes == [0xFE] { Some(None) } else { std::str::from_utf8(bytes).ok().map(Some) }
}

/// A line as the server's manual says.
fn line(row: &[Option<&str>]) -> Vec<u8> {
    let mut line = Vec::new();
    for (at, value) in row.iter().enumerate() {
        line.extend((at > 0).then_some(b'\t'));
        let Some(value) = value else {
            line.extend(b"\\N");
            continue;
        };
        for byte in value.bytes() {
            match byte {
                8 => line.extend(b"\\b"),
                b'\t' => line.extend(b"\\t"),
                b'\n' => line.extend(b"\\n"),
                11 => line.extend(b"\\v"),
                12 => line.extend(b"\\f"),
                b'\r' => line.extend(b"\\r"),
                b'\\' => line.extend(b"\\\\"),
                other => line.push(other),
            }
        }
    }
    line.push(b'\n');
    line
}

/// Values of a type, a line each, are what each of them is by itself. The first byte says of which type.
pub fn postgres_values(input: &[u8]) {
    let Some((&[kind], text)) = input.split_first_chunk() else { return };
    let types = types();
    let of = &types[usize::from(kind) % types.len()];
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("c", of.clone(), true)]));
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    // What is asked for is a column, and no others.
    let lines: Vec<_> = lines.filter(|line| !line.contains(&b'\t')).collect();
    let apart: Result<Vec<RecordBatch>, _> = lines.iter().map(|line| copied(&schema, [*line])).collect();
    let together = copied(&schema, lines.iter().copied());
    match (together, apart) {
        (Ok(together), Ok(apart)) => {
            assert_eq!(together.num_rows(), apart.len());
            for (row, alone) in apart.iter().enumerate() {
                // NaN is not equal to itself.
                assert_eq!(format!("{:?}", together.slice(row, 1)), format!("{alone:?}"), "row {row}");
            }
        }
        // A column of arrays has arrays of the server's or of JSON, not some of both.
        (Err(error), Ok(_)) => assert!(matches!(of, DataType::List(_)), "{error}"),
        (Ok(together), Err(error)) => panic!("{together:?}, and {error}"),
        (Err(error), Err(_)) => assert!(error.to_string().contains("column `c`") || is_not_text(&lines), "{error}"),
    }
}

fn is_not_text(lines: &[&[u8]]) -> bool {
    lines.iter().any(|line| std::str::from_utf8(line).is_err())
}

fn types() -> Vec<DataType> {
    let list = |item: DataType| DataType::List(Arc::new(Field::new_list_field(item, true)));
    let row = DataType::Struct(
        vec![Field::new("x", DataType::Int32, true), Field::new("y", list(DataType::Utf8View), true)].into(),
    );
    let pair = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Float64, true)];
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false);
    vec![
        DataType::Boolean,
        DataType::Int16,
        DataType::Int64,
        DataType::Float64,
        DataType::Decimal128(10, 2),
        DataType::Decimal128(38, 18),
        DataType::BinaryView,
        DataType::FixedSizeBinary(3),
        DataType::Date32,
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Interval(IntervalUnit::YearMonth),
        DataType::Interval(IntervalUnit::MonthDayNano),
        list(DataType::Int64),
        list(DataType::Utf8View),
        list(DataType::Timestamp(TimeUnit::Microsecond, None)),
        list(list(DataType::BinaryView)),
        list(row.clone()),
        row,
        map,
    ]
}
