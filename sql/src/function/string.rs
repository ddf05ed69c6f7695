//! Strings: what differs from DataFusion's own, or is not there. Positions count characters, from 1.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int32Array, ListBuilder, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion_common::{Result, plan_err};
use datafusion_expr::ScalarUDF;

use super::scalar::Kind::{Any, Int, Text};
use super::scalar::{Call, Gives, Scalar, Takes, scalar};

/// The functions on strings.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let find = Gives::INT;
    let list: Vec<Scalar> = vec![
        scalar("concat", Takes::Many(&[Text]), Gives::TEXT, concat),
        scalar("substring", Takes::Some(&[Text, Int, Int], 2), Gives::TEXT, substring).or(&["substr"]),
        scalar("left", Takes::all(&[Text, Int]), Gives::TEXT, |call| cut(call, |text, count| start(text, count))),
        scalar("right", Takes::all(&[Text, Int]), Gives::TEXT, |call| cut(call, |text, count| end(text, count))),
        scalar("lpad", Takes::all(&[Text, Int, Text]), Gives::TEXT, |call| pad(call, |text, fill| fill + text)),
        scalar("rpad", Takes::all(&[Text, Int, Text]), Gives::TEXT, |call| {
            pad(call, |text, fill| text.to_owned() + &fill)
        }),
        scalar("locate", Takes::Some(&[Text, Text, Int], 2), find, |call| locate(call, 0, 1)),
        scalar("instr", Takes::all(&[Text, Text]), Gives::INT, |call| locate(call, 1, 0)),
        scalar("chr", Takes::all(&[Int]), Gives::TEXT, chr),
        scalar("split_index", Takes::By(split_index_types), Gives::TEXT, split_index),
        scalar("split", Takes::all(&[Text, Text]), Gives::Type(texts()), split),
        scalar("elt", Takes::Many(&[Int, Text]), Gives::TEXT, elt),
        scalar("is_alpha", Takes::all(&[Any]), Gives::FLAG, |call| {
            test(call, |text| text.chars().all(char::is_alphabetic))
        }),
        scalar("is_digit", Takes::all(&[Any]), Gives::FLAG, |call| {
            test(call, |text| text.chars().all(char::is_numeric))
        }),
        scalar("is_decimal", Takes::all(&[Any]), Gives::FLAG, |call| test(call, is_decimal)),
    ];
    list.into_iter().map(Into::into).collect()
}

/// ARRAY of STRING.
pub(super) fn texts() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)))
}

type Answer = Result<arrow::array::ArrayRef>;

fn concat(call: &Call) -> Answer {
    let parts = (0..call.len()).map(|place| call.text(place)).collect::<Result<Vec<_>>>()?;
    call.each::<StringViewArray, String>(|row| parts.iter().map(|part| part.at(row)).collect())
}

fn substring(call: &Call) -> Answer {
    let (text, from, length) = (call.text(0)?, call.int(1)?, call.int_or(2, i64::MAX)?);
    call.each::<StringViewArray, _>(|row| Some(slice(text.at(row)?, from.at(row)?, length.at(row)?)))
}

/// From the character `from` (from the end where it is negative), at most `length` characters.
fn slice(text: &str, from: i64, length: i64) -> &str {
    let skipped = match from {
        1.. => from - 1,
        0 => 0,
        _ => match text.chars().count() as i64 + from {
            ..0 => return "",
            skipped => skipped,
        },
    };
    start(end_from(text, skipped), length)
}

/// The first `count` characters.
fn start(text: &str, count: i64) -> &str {
    &text[..boundary(text, count)]
}

/// What follows the first `count` characters.
fn end_from(text: &str, count: i64) -> &str {
    &text[boundary(text, count)..]
}

/// The last `count` characters.
fn end(text: &str, count: i64) -> &str {
    if count <= 0 {
        return "";
    }
    end_from(text, (text.chars().count() as i64).saturating_sub(count).max(0))
}

/// Where the character after `count` others begins, in bytes.
fn boundary(text: &str, count: i64) -> usize {
    let count = usize::try_from(count).unwrap_or(0);
    if count >= text.len() {
        return text.len();
    }
    text.char_indices().nth(count).map_or(text.len(), |(place, _)| place)
}

fn cut(call: &Call, cut: impl Fn(&str, i64) -> &str) -> Answer {
    let (text, count) = (call.text(0)?, call.int(1)?);
    call.each::<StringViewArray, _>(|row| Some(cut(text.at(row)?, count.at(row)?)))
}

/// The longest string that a function makes, in characters: a mistyped length must not take the machine's memory.
const LONGEST: i64 = 1 << 24;

fn pad(call: &Call, join: impl Fn(&str, String) -> String) -> Answer {
    let (text, length, fill) = (call.text(0)?, call.int(1)?, call.text(2)?);
    call.try_each::<StringViewArray, _>(|row| {
        let (Some(text), Some(length), Some(fill)) = (text.at(row), length.at(row), fill.at(row)) else {
            return Ok(None);
        };
        if length > LONGEST {
            return Err(call.error(format!("a length of {length} is more than the {LONGEST} that are possible")));
        }
        Ok(padded(text, length, fill, &join))
    })
}

fn padded(text: &str, length: i64, fill: &str, join: impl Fn(&str, String) -> String) -> Option<String> {
    if length < 0 || fill.is_empty() {
        return None;
    }
    let missing = length - text.chars().count() as i64;
    if missing <= 0 {
        return Some(start(text, length).to_owned());
    }
    Some(join(text, fill.chars().cycle().take(missing as usize).collect()))
}

fn locate(call: &Call, seek: usize, within: usize) -> Answer {
    let (seek, within, from) = (call.text(seek)?, call.text(within)?, call.int_or(2, 1)?);
    call.each::<Int32Array, _>(|row| Some(find(within.at(row)?, seek.at(row)?, from.at(row)?)))
}

/// Where `seek` is in `text` from the character `from` on; 0 where it is not.
fn find(text: &str, seek: &str, from: i64) -> i32 {
    let begin = boundary(text, from - 1);
    if from < 1 || from - 1 > text.chars().count() as i64 {
        return 0;
    }
    text[begin..].find(seek).map_or(0, |place| text[..begin + place].chars().count() as i32 + 1)
}

fn chr(call: &Call) -> Answer {
    let code = call.int(0)?;
    call.each::<StringViewArray, _>(|row| {
        let code = code.at(row)?;
        Some(if code < 0 { String::new() } else { char::from((code & 0xFF) as u8).to_string() })
    })
}

fn split_index_types(given: &[DataType]) -> Result<Vec<DataType>> {
    let separator = match given {
        [_, separator, _] if separator.is_integer() => DataType::Int64,
        [_, separator, _] if separator.is_string() || separator.is_null() => DataType::Utf8View,
        _ => return plan_err!("SPLIT_INDEX takes a string, a separator (a string or a character's code) and an index"),
    };
    Ok(vec![DataType::Utf8View, separator, DataType::Int64])
}

fn split_index(call: &Call) -> Answer {
    let (text, index) = (call.text(0)?, call.int(2)?);
    if call.fields[1].data_type().is_integer() {
        let code = call.int(1)?;
        let separator = |row| char::from_u32(u32::try_from(code.at(row)?).ok()?).map(String::from);
        return call.each::<StringViewArray, _>(|row| nth_part(text.at(row)?, &separator(row)?, index.at(row)?));
    }
    let separator = call.text(1)?;
    call.each::<StringViewArray, _>(|row| nth_part(text.at(row)?, separator.at(row)?, index.at(row)?))
}

/// The part at `index`, from 0. An empty separator stands for white space.
fn nth_part<'a>(text: &'a str, separator: &str, index: i64) -> Option<&'a str> {
    let index = usize::try_from(index).ok()?;
    match separator {
        "" => text.split(char::is_whitespace).nth(index),
        _ => text.split(separator).nth(index),
    }
}

fn split(call: &Call) -> Answer {
    let (text, separator) = (call.text(0)?, call.text(1)?);
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for row in 0..call.rows {
        let (Some(text), Some(separator)) = (text.at(row), separator.at(row)) else {
            lists.append_null();
            continue;
        };
        parts(text, separator).for_each(|part| lists.values().append_value(part));
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

/// The parts between separators; the characters where there is none.
fn parts<'a>(text: &'a str, separator: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
    match separator {
        "" if text.is_empty() => Box::new(std::iter::once("")),
        "" => Box::new(text.char_indices().map(|(place, char)| &text[place..place + char.len_utf8()])),
        _ => Box::new(text.split(separator)),
    }
}

fn elt(call: &Call) -> Answer {
    let index = call.int(0)?;
    let choices = (1..call.len()).map(|place| call.text(place)).collect::<Result<Vec<_>>>()?;
    call.each::<StringViewArray, _>(|row| {
        let index = usize::try_from(index.at(row)?.checked_sub(1)?).ok()?;
        choices.get(index)?.at(row)
    })
}

/// A test of strings, which none that is empty and no other value passes.
fn test(call: &Call, test: impl Fn(&str) -> bool) -> Answer {
    let given = call.whole(0)?;
    let is_number = given.data_type().is_numeric();
    if !given.data_type().is_string() && !is_number && !given.data_type().is_null() {
        return call.each::<BooleanArray, _>(|row| arrow::array::Array::is_valid(&given, row).then_some(false));
    }
    let text = arrow::compute::cast(&given, &DataType::Utf8View)?;
    let text = arrow::array::AsArray::as_string_view(&text);
    call.each::<BooleanArray, _>(|row| {
        arrow::array::Array::is_valid(text, row).then(|| !text.value(row).is_empty() && test(text.value(row)))
    })
}

fn is_decimal(text: &str) -> bool {
    let text = text.trim();
    let named = text.trim_start_matches(['+', '-']).starts_with(|char: char| char.is_alphabetic());
    !named && text.parse::<f64>().is_ok()
}
