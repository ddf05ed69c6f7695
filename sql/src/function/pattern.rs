//! Java's regular expressions, by the `regex` crate: what is written differently is translated, what is missing is refused.
//!
//! The crate matches in linear time, and so has no look-around, back-references, possessive quantifiers or atomic groups.
//! A pattern is compiled once a thread, not once a row. [`Pattern::similar`] is `SIMILAR TO`'s.

use std::cell::RefCell;
use std::collections::HashMap;

use datafusion_common::{Result, exec_err};
use regex::{Captures, Regex};

thread_local! {
    static COMPILED: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
}

/// How many compiled patterns a thread keeps.
const KEPT: usize = 256;

/// The pattern of the row before: most often, that of each row.
#[derive(Default)]
pub(super) struct Pattern {
    last: Option<(String, Option<Regex>)>,
}

impl Pattern {
    /// The compiled pattern, or none where it is no regular expression. It is an error if it is one of Java's that we do
    /// not have.
    pub(super) fn get(&mut self, pattern: &str) -> Result<Option<&Regex>> {
        self.by(pattern, |pattern| Ok(compile(&translate(pattern)?)))
    }

    /// The compiled pattern of `SIMILAR TO`.
    pub(super) fn similar(&mut self, pattern: &str, escape: Option<char>) -> Result<Option<&Regex>> {
        self.by(pattern, |pattern| Ok(compile(&similar(pattern, escape)?)))
    }

    fn by(&mut self, pattern: &str, compile: impl Fn(&str) -> Result<Option<Regex>>) -> Result<Option<&Regex>> {
        if self.last.as_ref().is_none_or(|(last, _)| last != pattern) {
            self.last = Some((pattern.to_owned(), compile(pattern)?));
        }
        Ok(self.last.as_ref().and_then(|(_, compiled)| compiled.as_ref()))
    }
}

/// The compiled pattern, of the thread's store.
fn compile(pattern: &str) -> Option<Regex> {
    COMPILED.with_borrow_mut(|store| {
        if let Some(compiled) = store.get(pattern) {
            return compiled.clone();
        }
        if store.len() == KEPT {
            store.clear();
        }
        let compiled = Regex::new(pattern).ok();
        store.insert(pattern.to_owned(), compiled.clone());
        compiled
    })
}

/// The regex crate's pattern for one of Java's.
fn translate(pattern: &str) -> Result<String> {
    let mut to = String::with_capacity(pattern.len());
    let (mut rest, mut in_class, mut quantified) = (pattern, 0_usize, false);
    while let Some(char) = rest.chars().next() {
        let was_quantified = std::mem::take(&mut quantified);
        let taken = match char {
            '\\' => escape(rest, &mut to, pattern)?,
            '+' if was_quantified => return refuse(pattern, "possessive quantifiers"),
            '(' if in_class == 0 => group(rest, &mut to, pattern)?,
            _ => {
                to.push(char);
                char.len_utf8()
            }
        };
        match char {
            '[' => in_class += 1,
            ']' => in_class = in_class.saturating_sub(1),
            '*' | '+' | '?' | '}' if in_class == 0 => quantified = !was_quantified,
            _ => {}
        }
        rest = &rest[taken..];
    }
    Ok(to)
}

fn refuse<T>(pattern: &str, what: &str) -> Result<T> {
    exec_err!("the regular expression '{pattern}' has {what}, which are not supported: write it without them")
}

/// A group's beginning: how many bytes were taken.
fn group(rest: &str, to: &mut String, pattern: &str) -> Result<usize> {
    if ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|around| rest.starts_with(around)) {
        return refuse(pattern, "look-ahead or look-behind");
    }
    if rest.starts_with("(?>") {
        return refuse(pattern, "atomic groups");
    }
    to.push('(');
    Ok(1)
}

/// An escape: how many bytes were taken. Java's classes are those of ASCII.
fn escape(rest: &str, to: &mut String, pattern: &str) -> Result<usize> {
    let Some(char) = rest[1..].chars().next() else {
        to.push('\\');
        return Ok(1);
    };
    let class = match char {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[ \t\n\x0B\f\r]",
        'S' => r"[^ \t\n\x0B\f\r]",
        'h' => r"[ \t\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}]",
        'R' => r"(?:\r\n|[\n\x0B\f\r\x{85}\x{2028}\x{2029}])",
        'e' => r"\x1B",
        'Z' => r"\n?\z",
        '1'..='9' | 'k' => return refuse(pattern, "back-references"),
        'G' | 'X' => return refuse(pattern, r"\G or \X"),
        'Q' => {
            let quoted = &rest[2..];
            let length = quoted.find(r"\E").unwrap_or(quoted.len());
            to.push_str(&regex::escape(&quoted[..length]));
            return Ok((length + 4).min(rest.len()));
        }
        _ => {
            to.push_str(&rest[..1 + char.len_utf8()]);
            return Ok(1 + char.len_utf8());
        }
    };
    to.push_str(class);
    Ok(2)
}

/// The regex crate's pattern for one of SQL's.
fn similar(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut to = String::from("^(?s:");
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(char) = chars.next() {
        match char {
            _ if Some(char) == escape => match chars.next() {
                Some(escaped) => to.push_str(&regex::escape(&escaped.to_string())),
                None => return exec_err!("the pattern '{pattern}' of SIMILAR TO ends in its escape character"),
            },
            '[' | ']' => {
                in_class = char == '[';
                to.push(char);
            }
            '%' if !in_class => to.push_str(".*"),
            '_' if !in_class => to.push('.'),
            '.' | '^' | '$' | '\\' if !in_class => to.extend(['\\', char]),
            _ => to.push(char),
        }
    }
    Ok(to + ")$")
}

/// What stands in place of a match: Java's `$1`, `${name}` and `\$`.
pub(super) fn expand(replacement: &str, found: &Captures<'_>, to: &mut String) -> Option<()> {
    let mut rest = replacement;
    while let Some(place) = rest.find(['$', '\\']) {
        to.push_str(&rest[..place]);
        let special = &rest[place..];
        rest = match special.strip_prefix('\\') {
            Some(escaped) => {
                let char = escaped.chars().next()?;
                to.push(char);
                &escaped[char.len_utf8()..]
            }
            None => reference(&special[1..], found, to)?,
        };
    }
    to.push_str(rest);
    Some(())
}

/// A group's text; gives what follows the reference. A number has as many digits as there are groups for.
fn reference<'a>(rest: &'a str, found: &Captures<'_>, to: &mut String) -> Option<&'a str> {
    if let Some(named) = rest.strip_prefix('{') {
        let (name, rest) = named.split_once('}')?;
        to.push_str(found.name(name).map_or("", |group| group.as_str()));
        return Some(rest);
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let fits = |length: &usize| rest[..*length].parse::<usize>().is_ok_and(|group| group < found.len());
    let length = (1..=digits).rev().find(fits)?;
    let group = rest[..length].parse::<usize>().ok()?;
    to.push_str(found.get(group).map_or("", |group| group.as_str()));
    Some(&rest[length..])
}
