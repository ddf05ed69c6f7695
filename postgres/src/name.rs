//! Names and texts within SQL.

use std::fmt;

use updraft_dataflow::Error;

/// `"name"`, as an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`, as a constant. There is no zero byte in texts that a server has sent.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The names, quoted, with commas between.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// A table: as it is called in the database, where upper and lower case matter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName {
    /// Where it is; the first one of the search path that has it, if there is none here.
    pub schema: Option<String>,
    /// What it is called there.
    pub name: String,
}

impl TableName {
    /// Reads `table`, `schema.table` or `"schema"."a table"`.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || format!("'{text}' names no table: write table, schema.table or \"schema\".\"table\"").into();
        let (first, rest) = part(text).ok_or_else(wrong)?;
        let Some(rest) = rest else { return Ok(Self { schema: None, name: first }) };
        match part(rest) {
            Some((name, None)) => Ok(Self { schema: Some(first), name }),
            _ => Err(wrong()),
        }
    }
}

/// The name that a text begins with, and what follows its dot.
fn part(text: &str) -> Option<(String, Option<&str>)> {
    let (name, rest) = if let Some(quoted) = text.strip_prefix('"') {
        let (mut name, mut chars) = (String::new(), quoted.char_indices().peekable());
        let end = loop {
            match (chars.next()?, chars.peek()) {
                ((_, '"'), Some((_, '"'))) => {
                    name.push('"');
                    chars.next();
                }
                ((at, '"'), _) => break at + 1,
                ((_, other), _) => name.push(other),
            }
        };
        (name, &quoted[end..])
    } else {
        let end = text.find('.').unwrap_or(text.len());
        (text[..end].to_owned(), &text[end..])
    };
    let rest = if rest.is_empty() { None } else { Some(rest.strip_prefix('.')?) };
    (!name.is_empty() && !name.contains('\0')).then_some((name, rest))
}

/// As SQL refers to it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{}.{}", quoted(schema), quoted(&self.name)),
            None => f.write_str(&quoted(&self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_are() {
        let shown = |text: &str| TableName::parse(text).map(|name| name.to_string()).map_err(|error| error.to_string());
        assert_eq!(shown("Orders").unwrap(), "\"Orders\"");
        assert_eq!(shown("shop.orders").unwrap(), "\"shop\".\"orders\"");
        assert_eq!(shown("\"a.b\".\"c\"\"d\"").unwrap(), "\"a.b\".\"c\"\"d\"");
        for wrong in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"a\"b", "\"\""] {
            assert!(shown(wrong).unwrap_err().contains("names no table"), "{wrong}");
        }
        assert_eq!(literal("it's"), "'it''s'");
    }
}
