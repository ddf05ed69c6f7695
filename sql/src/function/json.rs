//! JSON texts: a tree that keeps the order of members, and the paths (`lax $.a[0].b`) that lead into it.

use std::fmt;

use datafusion_common::{Result, exec_err};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A JSON value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Json {
    Null,
    Flag(bool),
    Int(i64),
    Large(u64),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value that a text shows, or none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether it is no array and no object.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// What a string of this value says: the text itself of a string.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }

    fn member(&self, name: &str) -> Option<&Self> {
        match self {
            // The last of equal names counts, as in most readers.
            Self::Object(members) => members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    fn children(&self) -> Vec<&Self> {
        match self {
            Self::Array(items) => items.iter().collect(),
            Self::Object(members) => members.iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Flag(flag) => to.serialize_bool(*flag),
            Self::Int(number) => to.serialize_i64(*number),
            Self::Large(number) => to.serialize_u64(*number),
            Self::Float(number) => to.serialize_f64(*number),
            Self::Text(text) => to.serialize_str(text),
            Self::Array(items) => to.collect_seq(items),
            Self::Object(members) => {
                let mut map = to.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(i64::try_from(number).map_or(Json::Large(number), Json::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}

/// A way into a JSON value: `$`, `.name`, `['name']`, `[n]`, `[*]`, `.*`.
#[derive(PartialEq, Debug)]
pub(super) struct Path {
    /// Whether it is an error that something is missing on the way.
    pub(super) strict: bool,
    steps: Vec<Step>,
}

#[derive(PartialEq, Debug)]
enum Step {
    Member(String),
    Item(usize),
    Each,
}

impl Path {
    /// Reads a path. `lax` is what is meant where neither `lax` nor `strict` is written.
    pub(super) fn parse(path: &str) -> Result<Self> {
        let trimmed = path.trim();
        let (strict, rest) = match trimmed.split_once(char::is_whitespace) {
            Some((mode, rest)) if mode.eq_ignore_ascii_case("strict") => (true, rest.trim()),
            Some((mode, rest)) if mode.eq_ignore_ascii_case("lax") => (false, rest.trim()),
            _ => (false, trimmed),
        };
        let steps = rest.strip_prefix('$').and_then(steps);
        match steps {
            Some(steps) => Ok(Self { strict, steps }),
            None => exec_err!(
                "'{path}' is no JSON path that is supported: write $, .name, ['name'], [n] (from 0), [*] or .*, behind lax or strict"
            ),
        }
    }

    /// What the path leads to; none where something is missing. A path with `*` leads to an array.
    pub(super) fn find(&self, root: &Json) -> Option<Json> {
        let mut found = vec![root];
        let mut several = false;
        for step in &self.steps {
            found = match step {
                Step::Each => found.iter().flat_map(|json| json.children()).collect(),
                Step::Member(name) => found.iter().filter_map(|json| json.member(name)).collect(),
                Step::Item(place) => found.iter().filter_map(|json| item(json, *place)).collect(),
            };
            several |= *step == Step::Each;
        }
        if several {
            return (!found.is_empty()).then(|| Json::Array(found.into_iter().cloned().collect()));
        }
        found.first().map(|json| (*json).clone())
    }
}

fn item(json: &Json, place: usize) -> Option<&Json> {
    match json {
        Json::Array(items) => items.get(place),
        _ => None,
    }
}

fn steps(mut rest: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, tail) = match rest.strip_prefix('.') {
            Some(tail) => member(tail)?,
            None => bracket(rest.strip_prefix('[')?.trim_start())?,
        };
        steps.push(step);
        rest = tail;
    }
    Some(steps)
}

/// What follows a dot: a name, or a bracket, which some write behind a dot too.
fn member(rest: &str) -> Option<(Step, &str)> {
    if let Some(inner) = rest.strip_prefix('[') {
        return bracket(inner.trim_start());
    }
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, tail) = rest.split_at(end);
    match name {
        "" => None,
        "*" => Some((Step::Each, tail)),
        _ if name.contains(['(', ')', '?', '@', ' ']) => None,
        _ => Some((Step::Member(name.to_owned()), tail)),
    }
}

fn bracket(rest: &str) -> Option<(Step, &str)> {
    let quote = rest.chars().next().filter(|char| "'\"".contains(*char));
    if let Some(quote) = quote {
        let (name, tail) = rest[1..].split_once(quote)?;
        return Some((Step::Member(name.to_owned()), tail.trim_start().strip_prefix(']')?));
    }
    let (inner, tail) = rest.split_once(']')?;
    match inner.trim() {
        "*" => Some((Step::Each, tail)),
        place => Some((Step::Item(place.parse().ok()?), tail)),
    }
}
