//! The functions on JSON. Clauses such as `NULL ON EMPTY` reach them as arguments: [`super::forms`] parses them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringViewArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::ScalarUDF;

use super::conversion::texts as strings;
use super::json::{Json, Path};
use super::json_text::{Writer, quote};
use super::moment::recast;
use super::scalar::Kind::{Any, Text};
use super::scalar::{Call, Column, Gives, Scalar, Takes, scalar};
use super::string::texts;

/// The functions on JSON.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let list: Vec<Scalar> = vec![
        scalar("is_json", Takes::Some(&[Text, Text], 1), Gives::FLAG, is_json),
        scalar("json_exists", Takes::Some(&[Text, Text, Text], 2), Gives::FLAG, exists),
        scalar("json_value", Takes::Some(&[Text, Text, Text, Any, Text, Any], 2), Gives::TEXT, value),
        scalar("json_query", Takes::Some(&[Text, Text, Text, Text, Text], 2), Gives::TEXT, |call| {
            call.try_each::<StringViewArray, _>(query(call)?)
        }),
        scalar("json_query_array", Takes::Some(&[Text, Text, Text, Text, Text], 2), Gives::Type(texts()), query_array),
        scalar("json_string", Takes::all(&[Any]), Gives::TEXT, |call| {
            let writer = Writer::new(&call.whole(0)?)?;
            call.each::<StringViewArray, _>(|row| writer.text(row))
        }),
        scalar("json_object", Takes::Many(&[Any]), Gives::TEXT, object),
        scalar("json_array", Takes::Many(&[Any]), Gives::TEXT, array),
        scalar("json_quote", Takes::all(&[Text]), Gives::TEXT, |call| {
            let text = call.text(0)?;
            call.each::<StringViewArray, _>(|row| text.at(row).map(ascii_quoted))
        }),
        scalar("json_unquote", Takes::all(&[Text]), Gives::TEXT, |call| {
            let text = call.text(0)?;
            call.each::<StringViewArray, _>(|row| text.at(row).map(unquoted))
        }),
    ];
    list.into_iter().map(Into::into).collect()
}

/// `IS JSON`, of a kind of values. NULL is none.
fn is_json(call: &Call) -> Result<ArrayRef> {
    let (text, kind) = (call.text(0)?, call.text_or(1, "VALUE")?);
    call.each::<BooleanArray, _>(|row| {
        let json = text.at(row).and_then(Json::parse);
        Some(json.is_some_and(|json| match kind.at(row).unwrap_or("VALUE") {
            "SCALAR" => json.is_scalar(),
            "ARRAY" => matches!(json, Json::Array(_)),
            "OBJECT" => matches!(json, Json::Object(_)),
            _ => true,
        }))
    })
}

/// What a path leads to.
enum Found {
    Value(Json),
    /// Nothing, and that is no error.
    Empty,
    /// The text is no JSON, or the path is strict and something is missing.
    Failed,
}

/// The path of the row before: most often, that of each row.
#[derive(Default)]
struct Paths(Option<(String, Path)>);

impl Paths {
    fn find(&mut self, text: &str, path: &str) -> Result<(Found, bool)> {
        if self.0.as_ref().is_none_or(|(last, _)| last != path) {
            self.0 = Some((path.to_owned(), Path::parse(path)?));
        }
        let Some((_, path)) = &self.0 else { return exec_err!("the path '{path}' was lost") };
        let found = match Json::parse(text).map(|json| path.find(&json)) {
            Some(Some(Json::Null)) => Found::Empty,
            Some(Some(json)) => Found::Value(json),
            Some(None) if !path.strict => Found::Empty,
            _ => Found::Failed,
        };
        Ok((found, path.strict))
    }
}

fn exists(call: &Call) -> Result<ArrayRef> {
    let (text, path, on_error) = (call.text(0)?, call.text(1)?, call.text_or(2, "FALSE")?);
    let mut paths = Paths::default();
    call.try_each::<BooleanArray, _>(|row| {
        let (Some(text), Some(path)) = (text.at(row), path.at(row)) else { return Ok(None) };
        Ok(match paths.find(text, path)?.0 {
            Found::Value(_) => Some(true),
            Found::Empty => Some(false),
            Found::Failed => match on_error.at(row) {
                Some("TRUE") => Some(true),
                Some("UNKNOWN") => None,
                Some("ERROR") => return Err(failed(call, text, path)),
                _ => Some(false),
            },
        })
    })
}

fn failed(call: &Call, text: &str, path: &str) -> datafusion_common::DataFusionError {
    call.error(format!(
        "'{text}' is no JSON, or has nothing at the path '{path}', and ERROR ON ERROR or ON EMPTY was asked for"
    ))
}

fn value(call: &Call) -> Result<ArrayRef> {
    let (text, path) = (call.text(0)?, call.text(1)?);
    let on_empty = (call.text_or(2, "NULL")?, default(call, 3)?);
    let on_error = (call.text_or(4, "NULL")?, default(call, 5)?);
    let mut paths = Paths::default();
    call.try_each::<StringViewArray, String>(|row| {
        let (Some(text), Some(path)) = (text.at(row), path.at(row)) else { return Ok(None) };
        let (found, strict) = paths.find(text, path)?;
        let (what, default) = match found {
            Found::Value(json) if json.is_scalar() => return Ok(Some(json.to_text())),
            Found::Value(_) if strict => &on_error,
            Found::Value(_) | Found::Empty => &on_empty,
            Found::Failed => &on_error,
        };
        match what.at(row) {
            Some("ERROR") => Err(failed(call, text, path)),
            Some("DEFAULT") => Ok(default.is_valid(row).then(|| default.value(row).to_owned())),
            _ => Ok(None),
        }
    })
}

/// A default, as a string: booleans as JSON writes them.
fn default(call: &Call, place: usize) -> Result<StringViewArray> {
    if place >= call.len() {
        return Ok(StringViewArray::from(vec![""; call.rows]));
    }
    let values = call.whole(place)?;
    match values.data_type() {
        DataType::Boolean => Ok(recast(&values, &DataType::Utf8View)?.as_string_view().clone()),
        _ => strings(&values),
    }
}

type Query<'a> = Box<dyn FnMut(usize) -> Result<Option<String>> + 'a>;

/// JSON_QUERY, row by row.
fn query(call: &Call) -> Result<Query<'_>> {
    let (text, path, wrapper) = (call.text(0)?, call.text(1)?, call.text_or(2, "WITHOUT")?);
    let (on_empty, on_error) = (call.text_or(3, "NULL")?, call.text_or(4, "NULL")?);
    let mut paths = Paths::default();
    Ok(Box::new(move |row| {
        let (Some(text), Some(path)) = (text.at(row), path.at(row)) else { return Ok(None) };
        let (found, strict) = paths.find(text, path)?;
        let what = match found {
            Found::Value(json) => match wrapped(json, wrapper.at(row).unwrap_or("WITHOUT")) {
                Some(json) => return Ok(Some(json.to_string())),
                None if strict => &on_error,
                None => &on_empty,
            },
            Found::Empty => &on_empty,
            Found::Failed => &on_error,
        };
        instead(what, row).map_err(|()| failed(call, text, path))
    }))
}

/// What stands in place of a missing value.
fn instead(what: &Column<StringViewArray>, row: usize) -> std::result::Result<Option<String>, ()> {
    match what.at(row) {
        Some("ERROR") => Err(()),
        Some("EMPTY ARRAY") => Ok(Some("[]".into())),
        Some("EMPTY OBJECT") => Ok(Some("{}".into())),
        _ => Ok(None),
    }
}

/// The value in an array where the wrapper says so; none for a scalar that is not wrapped.
fn wrapped(json: Json, wrapper: &str) -> Option<Json> {
    match wrapper {
        "UNCONDITIONAL" => Some(Json::Array(vec![json])),
        "CONDITIONAL" if !matches!(json, Json::Array(_)) => Some(Json::Array(vec![json])),
        _ => (!json.is_scalar()).then_some(json),
    }
}

fn query_array(call: &Call) -> Result<ArrayRef> {
    let mut query = query(call)?;
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for row in 0..call.rows {
        match query(row)?.as_deref().and_then(Json::parse) {
            Some(Json::Array(items)) => {
                let text = |item: &Json| (*item != Json::Null).then(|| item.to_text());
                items.iter().for_each(|item| lists.values().append_option(text(item)));
                lists.append(true);
            }
            _ => lists.append_null(),
        }
    }
    Ok(Arc::new(lists.finish()))
}

/// How JSON_OBJECT and JSON_ARRAY treat their arguments. Their first one tells: `N` or `A` for NULL or ABSENT ON NULL, and
/// a letter for each value, `v`, or `j` where it is JSON already.
struct Plan {
    keeps_null: bool,
    raw: Vec<bool>,
}

impl Plan {
    fn of(call: &Call, values: usize) -> Result<Self> {
        let plan = call.whole(0).and_then(|plan| strings(&plan)).ok();
        let plan = plan.filter(|plan| !plan.is_empty()).map(|plan| plan.value(0).to_owned()).unwrap_or_default();
        let mut letters = plan.chars();
        let keeps_null = letters.next() == Some('N');
        let raw: Vec<bool> = letters.map(|letter| letter == 'j').collect();
        if raw.len() != values {
            return Err(call.error("was called without the grammar of its clauses: see the module on forms"));
        }
        Ok(Self { keeps_null, raw })
    }
}

/// A value: as JSON, or JSON itself.
enum Item {
    Value(Box<Writer>),
    Raw(StringViewArray),
}

impl Item {
    fn new(values: &ArrayRef, raw: bool) -> Result<Self> {
        Ok(if raw { Self::Raw(strings(values)?) } else { Self::Value(Box::new(Writer::new(values)?)) })
    }

    fn text(&self, row: usize) -> Result<Option<String>> {
        match self {
            Self::Value(writer) => Ok(writer.text(row)),
            Self::Raw(text) if text.is_null(row) => Ok(None),
            Self::Raw(text) => match Json::parse(text.value(row)) {
                Some(json) => Ok(Some(json.to_string())),
                None => exec_err!("'{}' is no JSON", text.value(row)),
            },
        }
    }
}

fn object(call: &Call) -> Result<ArrayRef> {
    let plan = Plan::of(call, (call.len() - 1) / 2)?;
    let keys = (1..call.len()).step_by(2).map(|place| strings(&call.whole(place)?));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let values = (2..call.len()).step_by(2).zip(&plan.raw).map(|(place, raw)| Item::new(&call.whole(place)?, *raw));
    let values = values.collect::<Result<Vec<_>>>()?;
    call.try_each::<StringViewArray, _>(|row| {
        let mut parts = Vec::new();
        for (key, value) in keys.iter().zip(&values) {
            let text = value.text(row)?;
            if key.is_null(row) {
                return Err(call.error("a key is NULL"));
            }
            if text.is_some() || plan.keeps_null {
                let mut part = String::new();
                quote(key.value(row), &mut part);
                parts.push(part + ":" + text.as_deref().unwrap_or("null"));
            }
        }
        Ok(Some(format!("{{{}}}", parts.join(","))))
    })
}

fn array(call: &Call) -> Result<ArrayRef> {
    let plan = Plan::of(call, call.len().saturating_sub(1))?;
    let values = (1..call.len()).zip(&plan.raw).map(|(place, raw)| Item::new(&call.whole(place)?, *raw));
    let values = values.collect::<Result<Vec<_>>>()?;
    call.try_each::<StringViewArray, _>(|row| {
        let texts = values.iter().map(|value| value.text(row)).collect::<Result<Vec<_>>>()?;
        let kept = texts.into_iter().filter_map(|text| text.or_else(|| plan.keeps_null.then(|| "null".into())));
        Ok(Some(format!("[{}]", kept.collect::<Vec<String>>().join(","))))
    })
}

/// In quotes, in ASCII alone.
fn ascii_quoted(text: &str) -> String {
    let mut quoted = String::new();
    quote(text, &mut quoted);
    let mut to = String::with_capacity(quoted.len());
    for unit in quoted.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'/') => to.push_str("\\/"),
            Ok(byte) if byte < 0x80 => to.push(char::from(byte)),
            _ => drop(write!(to, "\\u{unit:04x}")),
        }
    }
    to
}

/// What a JSON string says; anything else as it is.
fn unquoted(text: &str) -> String {
    match Json::parse(text) {
        Some(Json::Text(inner)) if text.starts_with('"') && text.ends_with('"') => inner,
        _ => text.to_owned(),
    }
}
