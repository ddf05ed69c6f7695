//! [`Key`]: the order that a table is read in, so that one who goes on knows what is still to be read.
//!
//! By the primary key; by all columns where there is none. Numbers are in their own order, for which there is an index; all else is in the order
//! of the bytes of its text, which is the same here and there.

use std::cmp::Ordering;

use crate::catalog::Described;
use crate::name::{literal, quoted};

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    columns: Vec<(String, Kind)>,
    /// Whether no two rows have the same.
    pub(crate) is_unique: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Number,
    Text,
    /// `0`, or the text after a `1`.
    MaybeText,
}

/// The key of a row: what [`Key::value`] makes of it.
pub(crate) type KeyValue = Vec<String>;

impl Key {
    pub(crate) fn of(table: &Described) -> Self {
        let is_unique = !table.primary_key.is_empty();
        let of = |column: usize| {
            let column = &table.columns[column];
            let is_number = ["smallint", "integer", "bigint"].contains(&&*column.type_name);
            let kind = match (column.not_null, is_number) {
                (true, true) => Kind::Number,
                (true, false) => Kind::Text,
                (false, _) => Kind::MaybeText,
            };
            (column.name.clone(), kind)
        };
        let all = 0..table.columns.len();
        let columns =
            if is_unique { table.primary_key.iter().copied().map(of).collect() } else { all.map(of).collect() };
        Self { columns, is_unique }
    }

    /// What a table is read in the order of.
    pub(crate) fn exprs(&self) -> Vec<String> {
        let expr = |(name, kind): &(String, Kind)| {
            let name = quoted(name);
            match kind {
                Kind::Number => name,
                Kind::Text => format!("(concat({name}) COLLATE \"C\")"),
                Kind::MaybeText => {
                    format!("((CASE WHEN {name} IS NULL THEN '0' ELSE concat('1', {name}) END) COLLATE \"C\")")
                }
            }
        };
        self.columns.iter().map(expr).collect()
    }

    /// What is true of the rows after one.
    pub(crate) fn after(&self, last: &KeyValue) -> String {
        let of = |((_, kind), value): (&(String, Kind), &String)| match kind {
            // A number is one here: it was read by `value`, or has been sent by the server.
            Kind::Number => value.parse::<i64>().map_or_else(|_| literal(value), |number| format!("({number})")),
            _ => format!("({} COLLATE \"C\")", literal(value)),
        };
        let values: Vec<_> = self.columns.iter().zip(last).map(of).collect();
        format!("ROW({}) > ROW({})", self.exprs().join(", "), values.join(", "))
    }

    /// The key of a row, of which `column` tells the columns.
    pub(crate) fn value<'a>(&self, column: impl Fn(&str) -> Option<&'a str>) -> KeyValue {
        let of = |(name, kind): &(String, Kind)| match (kind, column(name)) {
            (Kind::MaybeText, None) => "0".to_owned(),
            (Kind::MaybeText, Some(text)) => format!("1{text}"),
            (_, text) => text.unwrap_or_default().to_owned(),
        };
        self.columns.iter().map(of).collect()
    }

    /// As the server compares them.
    pub(crate) fn compare(&self, one: &KeyValue, other: &KeyValue) -> Ordering {
        let number = |text: &String| text.parse::<i64>().ok();
        let mut pairs = self.columns.iter().zip(one.iter().zip(other));
        let unequal = pairs.find_map(|((_, kind), (one, other))| {
            let order = if *kind == Kind::Number { number(one).cmp(&number(other)) } else { one.cmp(other) };
            (order != Ordering::Equal).then_some(order)
        });
        unequal.unwrap_or(Ordering::Equal)
    }

    /// The columns that it is made of.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| &**name)
    }
}
