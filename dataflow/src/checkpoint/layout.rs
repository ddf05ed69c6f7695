//! [`Layout`]: what is known of an operator's state without reading it; it is stored with each checkpoint, so that a job that
//! has been changed is told what becomes of it.

use serde::{Deserialize, Serialize};

use crate::window::{Shape, Slicing};

/// The table that says how windows are cut: its columns are of numbers, in microseconds.
const SLICES: &str = "slices";

/// See the module's page.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Layout {
    /// Which kind of operator keeps it: `window`, say.
    pub kind: String,
    /// What the operator computes, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// What stands for the stateless operators before it: where it is another, the state is what it was all the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reads: String,
    /// What it is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Table>,
}

/// A part of some state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// What it is called.
    pub name: String,
    /// In this order.
    pub columns: Vec<Column>,
}

/// A column of a part of some state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// Arrow's name of its type, or Rust's.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may hold NULL.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nullable: bool,
    /// Whether what was stored is read all the same when the type has become a wider one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub widens: bool,
}

impl Layout {
    /// Of an operator of this kind.
    pub fn of(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    /// The same with another table.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>, columns: impl IntoIterator<Item = Column>) -> Self {
        self.tables.push(Table { name: name.into(), columns: columns.into_iter().collect() });
        self
    }

    /// The same of an operator whose windows are cut like this.
    #[must_use]
    pub fn sliced(self, slicing: &Slicing) -> Self {
        let Slicing { size, slide, offset, shape } = slicing;
        let numbers = [("size", size), ("slide", slide), ("offset", offset)];
        let numbers = numbers.into_iter().map(|(name, number)| Column::new(name, number.to_string()));
        self.table(SLICES, numbers.chain([Column::new("shape", format!("{shape:?}"))]))
    }

    /// How windows are cut, if it says so.
    pub fn slicing(&self) -> Option<Slicing> {
        let table = self.tables.iter().find(|table| table.name == SLICES)?;
        let text =
            |name: &str| table.columns.iter().find(|column| column.name == name).map(|column| &*column.data_type);
        let number = |name: &str| text(name)?.parse::<i64>().ok();
        let shape = [Shape::Sliding, Shape::Cumulating, Shape::Whole];
        let shape = shape.into_iter().find(|shape| text("shape") == Some(&format!("{shape:?}")))?;
        Some(Slicing { size: number("size")?, slide: number("slide")?, offset: number("offset")?, shape })
    }

    /// What has come to be another, so that what was stored as `self` is read as `new` all the same: none where nothing has.
    ///
    /// # Errors
    /// With the reason why it cannot be read.
    pub(crate) fn to(&self, new: &Self) -> Result<Vec<String>, String> {
        if self.kind != new.kind {
            return Err(format!("it was kept by another kind of operator ({}, now {})", self.kind, new.kind));
        }
        let names = |layout: &Self| layout.tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>();
        if names(self) != names(new) {
            return Err(format!("it was made of {}, and is of {}", names(self).join(", "), names(new).join(", ")));
        }
        let pairs = self.tables.iter().zip(&new.tables);
        let changes = pairs.map(|(old, new)| old.to(new)).collect::<Result<Vec<_>, _>>()?;
        Ok(changes.into_iter().flatten().collect())
    }
}

impl Table {
    fn to(&self, new: &Self) -> Result<Vec<String>, String> {
        let has = |table: &Self, name: &str| table.columns.iter().any(|column| column.name == name);
        if let Some(added) = new.columns.iter().find(|column| !has(self, &column.name)) {
            return Err(format!("`{}` is new in {}: nobody knows it of what came before", added.name, self.name));
        }
        if let Some(gone) = self.columns.iter().find(|column| !has(new, &column.name)) {
            return Err(format!("`{}` is not in {} any more", gone.name, self.name));
        }
        if self.columns.len() != new.columns.len() {
            return Err(format!("the columns of {} are others", self.name));
        }
        let pairs = self.columns.iter().zip(&new.columns);
        pairs.filter_map(|(old, new)| old.to(new).transpose()).collect()
    }
}

impl Column {
    /// Of this name and type.
    pub fn new(name: impl Into<String>, data_type: impl Into<String>) -> Self {
        Self { name: name.into(), data_type: data_type.into(), ..Self::default() }
    }

    /// Of a Rust type.
    pub(crate) fn of<T>(name: &str) -> Self {
        Self::new(name, short(std::any::type_name::<T>()))
    }

    fn to(&self, new: &Self) -> Result<Option<String>, String> {
        let Self { name, data_type, .. } = new;
        if self.name != *name {
            return Err(format!("`{name}` stands where `{}` was", self.name));
        }
        if self.data_type == *data_type {
            return if self.nullable && !new.nullable {
                Err(format!("`{name}` has become NOT NULL"))
            } else {
                Ok(None)
            };
        }
        let is_wider = new.widens && (new.nullable || !self.nullable) && is_wider(&self.data_type, data_type);
        let change = format!("`{name}` was {}, and is {data_type}", self.data_type);
        if is_wider { Ok(Some(change)) } else { Err(change) }
    }
}

/// Whether a type of Arrow's holds each value of another one, as it is.
fn is_wider(from: &str, to: &str) -> bool {
    const CHAINS: [&[&str]; 3] =
        [&["Int8", "Int16", "Int32", "Int64"], &["UInt8", "UInt16", "UInt32", "UInt64"], &["Float32", "Float64"]];
    let place = |chain: &[&str], of: &str| chain.iter().position(|name| *name == of);
    CHAINS.iter().any(|chain| place(chain, from).zip(place(chain, to)).is_some_and(|(from, to)| from < to))
}

/// The name of a type without the modules that it is in: these may be others after a change.
fn short(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut from = 0;
    for c in name.chars() {
        short.push(c);
        if short.ends_with("::") {
            short.truncate(from);
        } else if !(c.is_alphanumeric() || c == '_' || c == ':') {
            from = short.len();
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(columns: &[(&str, &str, bool)]) -> Layout {
        let column = |(name, of, nullable): &(&str, &str, bool)| Column {
            nullable: *nullable,
            widens: !name.starts_with("key"),
            ..Column::new(*name, *of)
        };
        Layout::of("join").table("left", columns.iter().map(column))
    }

    #[test]
    fn types_are_told_without_their_modules() {
        assert_eq!(Column::of::<Option<(String, Vec<u8>)>>("key").data_type, "Option<(String, Vec<u8>)>");
        assert_eq!(Column::of::<Layout>("state").data_type, "Layout");
    }

    #[test]
    fn what_is_stored_is_read_as_wider_types_and_as_nothing_else() {
        let was = layout(&[("key", "Int32", false), ("price", "Int32", false)]);
        assert_eq!(was.to(&was), Ok(Vec::new()));
        let wider = layout(&[("key", "Int32", false), ("price", "Int64", true)]);
        assert_eq!(was.to(&wider), Ok(vec!["`price` was Int32, and is Int64".to_owned()]));
        for other in [
            layout(&[("key", "Int64", false), ("price", "Int32", false)]),
            layout(&[("key", "Int32", false), ("price", "Int16", false)]),
            layout(&[("key", "Int32", false), ("price", "Float64", false)]),
            layout(&[("key", "Int32", false)]),
            layout(&[("price", "Int32", false), ("key", "Int32", false)]),
            layout(&[("key", "Int32", false), ("price", "Int32", false), ("vat", "Int32", true)]),
            Layout { kind: "window".into(), ..was.clone() },
        ] {
            assert!(was.to(&other).is_err(), "{other:?}");
        }
        assert!(wider.to(&layout(&[("key", "Int32", false), ("price", "Int64", false)])).is_err());
    }
}
