//! Regular expressions: REGEXP and its kin, `SIMILAR TO`, STR_TO_MAP. The patterns are [`super::pattern`]'s.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, ListBuilder, MapBuilder, MapFieldNames, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, Field};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use regex::Regex;

use super::pattern::{Pattern, expand};
use super::scalar::Kind::{Int, Text};
use super::scalar::{Call, Gives, Scalar, Takes, scalar};
use super::string::texts;

/// The functions on regular expressions.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let two = || Takes::all(&[Text, Text]);
    let list: Vec<Scalar> = vec![
        scalar("regexp", two(), Gives::FLAG, regexp),
        scalar("regexp_count", two(), Gives::INT, |call| {
            find::<Int32Array, _>(call, |regex, text| Some(regex.find_iter(text).count() as i32))
        }),
        scalar("regexp_instr", two(), Gives::INT, |call| {
            find::<Int32Array, _>(call, |regex, text| Some(place(regex, text)))
        }),
        scalar("regexp_substr", two(), Gives::TEXT, |call| {
            find::<StringViewArray, _>(call, |regex, text| Some(regex.find(text)?.as_str().to_owned()))
        }),
        scalar("regexp_extract", Takes::Some(&[Text, Text, Int], 2), Gives::TEXT, extract),
        scalar("regexp_extract_all", Takes::Some(&[Text, Text, Int], 2), Gives::Type(texts()), extract_all),
        scalar("regexp_replace", Takes::all(&[Text, Text, Text]), Gives::TEXT, replace),
        scalar("similar_to", Takes::Some(&[Text, Text, Text], 2), Gives::FLAG, similar_to),
        scalar("str_to_map", Takes::Some(&[Text, Text, Text], 1), Gives::Type(text_map()), str_to_map),
    ];
    list.into_iter().map(Into::into).collect()
}

/// MAP of STRING to STRING.
pub(super) fn text_map() -> DataType {
    let key = Field::new("key", DataType::Utf8View, false);
    let value = Field::new("value", DataType::Utf8View, true);
    let entry = Field::new("entries", DataType::Struct(vec![key, value].into()), false);
    DataType::Map(Arc::new(entry), false)
}

/// An answer of each string and its pattern; NULL where the pattern is none.
fn find<A, T>(call: &Call, answer: impl Fn(&Regex, &str) -> Option<T>) -> Result<ArrayRef>
where
    A: arrow::array::Array + FromIterator<Option<T>> + 'static,
{
    let (text, patterns) = (call.text(0)?, call.text(1)?);
    let mut pattern = Pattern::default();
    call.try_each::<A, T>(|row| {
        let (Some(text), Some(wanted)) = (text.at(row), patterns.at(row)) else { return Ok(None) };
        Ok(pattern.get(wanted)?.and_then(|regex| answer(regex, text)))
    })
}

fn regexp(call: &Call) -> Result<ArrayRef> {
    let (text, patterns) = (call.text(0)?, call.text(1)?);
    let mut pattern = Pattern::default();
    call.try_each::<BooleanArray, _>(|row| match (text.at(row), patterns.at(row)) {
        (Some(_), Some("")) => Ok(Some(false)),
        (Some(text), Some(wanted)) => match pattern.get(wanted)? {
            Some(regex) => Ok(Some(regex.is_match(text))),
            None => Err(call.error(format!("'{wanted}' is no regular expression"))),
        },
        _ => Ok(None),
    })
}

/// Where the first match begins, in characters from 1; 0 where there is none.
fn place(regex: &Regex, text: &str) -> i32 {
    regex.find(text).map_or(0, |found| text[..found.start()].chars().count() as i32 + 1)
}

fn extract(call: &Call) -> Result<ArrayRef> {
    let (text, patterns, group) = (call.text(0)?, call.text(1)?, call.int_or(2, 0)?);
    let mut pattern = Pattern::default();
    call.try_each::<StringViewArray, _>(|row| {
        let (Some(text), Some(wanted)) = (text.at(row), patterns.at(row)) else { return Ok(None) };
        let group = group.at(row).and_then(|group| usize::try_from(group).ok());
        let (Some(regex), Some(group)) = (pattern.get(wanted)?, group) else { return Ok(None) };
        Ok(regex.captures(text).and_then(|found| found.get(group)).map(|group| group.as_str()))
    })
}

fn extract_all(call: &Call) -> Result<ArrayRef> {
    let (text, patterns, group) = (call.text(0)?, call.text(1)?, call.int_or(2, 1)?);
    let mut pattern = Pattern::default();
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for row in 0..call.rows {
        let regex = patterns.at(row).map(|wanted| pattern.get(wanted)).transpose()?.flatten();
        let group = group.at(row).and_then(|group| usize::try_from(group).ok());
        match (text.at(row), regex, group) {
            (Some(text), Some(regex), Some(group)) if group < regex.captures_len() => {
                let found = regex.captures_iter(text);
                found.for_each(|found| lists.values().append_option(found.get(group).map(|group| group.as_str())));
                lists.append(true);
            }
            _ => lists.append_null(),
        }
    }
    Ok(Arc::new(lists.finish()))
}

fn replace(call: &Call) -> Result<ArrayRef> {
    let (text, patterns, replacement) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let mut pattern = Pattern::default();
    call.try_each::<StringViewArray, _>(|row| {
        let (Some(text), Some(wanted), Some(with)) = (text.at(row), patterns.at(row), replacement.at(row)) else {
            return Ok(None);
        };
        Ok(pattern.get(wanted)?.and_then(|regex| replaced(regex, text, with)))
    })
}

fn replaced(regex: &Regex, text: &str, with: &str) -> Option<String> {
    let (mut to, mut done) = (String::with_capacity(text.len()), 0);
    for found in regex.captures_iter(text) {
        let whole = found.get(0)?;
        to.push_str(&text[done..whole.start()]);
        expand(with, &found, &mut to)?;
        done = whole.end();
    }
    to.push_str(&text[done..]);
    Some(to)
}

fn similar_to(call: &Call) -> Result<ArrayRef> {
    let (text, patterns, escape) = (call.text(0)?, call.text(1)?, call.text_or(2, "")?);
    let mut pattern = Pattern::default();
    call.try_each::<BooleanArray, _>(|row| {
        let (Some(text), Some(wanted)) = (text.at(row), patterns.at(row)) else { return Ok(None) };
        let escape = escape.at(row).and_then(|escape| escape.chars().next());
        match pattern.similar(wanted, escape)? {
            Some(regex) => Ok(Some(regex.is_match(text))),
            None => Err(call.error(format!("'{wanted}' is no pattern of SIMILAR TO"))),
        }
    })
}

/// A map of the pairs in a string. The last of several values of a key stays.
fn str_to_map(call: &Call) -> Result<ArrayRef> {
    let (text, pair, equals) = (call.text(0)?, call.text_or(1, ",")?, call.text_or(2, "=")?);
    let (mut pairs, mut halves) = (Pattern::default(), Pattern::default());
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringViewBuilder::new(), StringViewBuilder::new());
    for row in 0..call.rows {
        let pair = pair.at(row).map(|pattern| pairs.get(pattern)).transpose()?.flatten();
        let equals = equals.at(row).map(|pattern| halves.get(pattern)).transpose()?.flatten();
        let (Some(text), Some(pair), Some(equals)) = (text.at(row), pair, equals) else {
            maps.append(false)?;
            continue;
        };
        for (key, value) in entries(text, pair, equals) {
            maps.keys().append_value(key);
            maps.values().append_option(value);
        }
        maps.append(true)?;
    }
    Ok(Arc::new(maps.finish()))
}

fn entries<'a>(text: &'a str, pair: &Regex, equals: &Regex) -> Vec<(&'a str, Option<&'a str>)> {
    let mut entries: Vec<(&str, Option<&str>)> = Vec::new();
    for part in pair.split(text) {
        let mut halves = equals.splitn(part, 2);
        let (key, value) = (halves.next().unwrap_or_default(), halves.next());
        match entries.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
    }
    entries
}
