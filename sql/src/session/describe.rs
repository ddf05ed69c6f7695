//! `SHOW` and `DESCRIBE`: what a session holds, as rows of text.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{Result, plan_err};
use datafusion_sql::sqlparser::ast::ObjectName;
use updraft_dataflow::Rows;

use super::{Outcome, Session, reference};
use crate::catalog::{Entry, Origin};
use crate::fail::fail;
use crate::parse::FlinkType;
use crate::parse::statement::{Object, Show, ShowLike, ShowWhat};

/// Rows that a statement shows.
#[derive(Clone, Debug)]
pub struct Shown {
    names: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
    is_verbatim: bool,
}

impl Shown {
    /// One column of text.
    pub(super) fn text<T: Into<String>>(name: &str, lines: impl IntoIterator<Item = T>) -> Self {
        Self::columns([name], lines.into_iter().map(|line| [line.into()]))
    }

    /// Lines that are read as they stand: a plan, a statement.
    pub(super) fn verbatim<T: Into<String>>(name: &str, lines: impl IntoIterator<Item = T>) -> Self {
        Self { is_verbatim: true, ..Self::text(name, lines) }
    }

    /// Columns of text.
    pub(super) fn columns<const N: usize>(names: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Self {
        let rows = rows.into_iter().map(|row| row.into_iter().map(Some).collect()).collect();
        Self { names: names.map(str::to_string).to_vec(), rows, is_verbatim: false }
    }

    /// Whether it is one column of lines that people read as they stand, a plan or a statement.
    pub fn is_verbatim(&self) -> bool {
        self.is_verbatim
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The rows' text; `None` is NULL.
    pub fn rows(&self) -> &[Vec<Option<String>>] {
        &self.rows
    }

    /// The columns' names and types: all are text.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.names.iter().map(|name| Field::new(name, DataType::Utf8View, true)).collect::<Vec<_>>(),
        ))
    }

    /// The same as columns.
    pub fn to_rows(&self) -> Rows {
        let column = |index: usize| -> ArrayRef {
            Arc::new(self.rows.iter().map(|row| row[index].as_deref()).collect::<StringViewArray>())
        };
        let columns = (0..self.names.len()).map(column).collect();
        RecordBatch::try_new(self.schema(), columns).unwrap_or_else(|error| fail(error)).into()
    }
}

impl Session {
    pub(super) fn describe(&self, name: &ObjectName) -> Result<Outcome> {
        let name = reference(name)?;
        let entry = self.catalog.get(&name);
        let schema = self.catalog.source(&name)?.schema();
        let rows = schema.fields().iter().enumerate().map(|(index, field)| {
            let mut row = vec![
                Some(field.name().clone()),
                Some(FlinkType(field.data_type()).to_string()),
                Some(field.is_nullable().to_string().to_uppercase()),
                None,
                None,
                None,
                None,
            ];
            if let Some(Entry::Table(table)) = entry {
                let key =
                    table.table.primary_key.iter().any(|key| table.table.schema.field(*key).name() == field.name());
                row[3] = key.then(|| "PRI".to_string());
                row[4] = match &table.columns[index].origin {
                    Origin::Physical(_) => None,
                    Origin::Metadata { key, .. } => Some(format!("METADATA FROM '{key}'")),
                    Origin::Computed(_) => table.columns[index].written.as_ref().map(|expr| format!("AS {expr}")),
                };
                let rowtime = table.rowtime.as_ref().filter(|rowtime| rowtime.column == index);
                row[5] = rowtime.map(|rowtime| rowtime.text.clone());
                row[6] = table.columns[index].comment.clone();
            }
            row
        });
        let mut rows: Vec<_> = rows.collect();
        let mut names = ["name", "type", "null", "key", "extras", "watermark", "comment"].map(str::to_string).to_vec();
        // As Flink has it: the last column is only where there is a comment.
        if rows.iter().all(|row| row[6].is_none()) {
            names.pop();
            rows.iter_mut().for_each(|row| drop(row.pop()));
        }
        Ok(Outcome::Shown(Shown { names, rows, is_verbatim: false }))
    }

    pub(super) fn show(&self, show: &Show) -> Result<Outcome> {
        let like = |name: &String| show.like.as_ref().is_none_or(|like| like.fits(name));
        let list =
            |column: &str, names: Vec<String>| Ok(Outcome::Shown(Shown::text(column, names.into_iter().filter(like))));
        let current = |views: bool| {
            let entries = self.catalog.current().filter(move |(_, entry)| matches!(entry, Entry::View(_)) || !views);
            entries.map(|(name, _)| name.to_string()).collect()
        };
        match &show.what {
            ShowWhat::Tables => list("table name", current(false)),
            ShowWhat::Views => list("view name", current(true)),
            ShowWhat::Functions { user: false } => list("function name", self.functions()),
            ShowWhat::Functions { user: true } => list("function name", Vec::new()),
            ShowWhat::Catalogs => list("catalog name", self.catalog.databases.keys().cloned().collect()),
            ShowWhat::CurrentCatalog => list("current catalog name", vec![self.catalog.catalog.clone()]),
            ShowWhat::Databases => {
                let databases = self.catalog.databases.get(&self.catalog.catalog);
                list("database name", databases.cloned().unwrap_or_default())
            }
            ShowWhat::CurrentDatabase => list("current database name", vec![self.catalog.database.clone()]),
            ShowWhat::Columns => match &show.of {
                Some(name) => self.describe(name),
                None => plan_err!("SHOW COLUMNS needs a table: SHOW COLUMNS FROM t"),
            },
            ShowWhat::Jobs => Ok(Outcome::Shown(Shown::columns(["job", "status"], []))),
            ShowWhat::Create(Object::Table | Object::View, name) => {
                let name = reference(name)?;
                let text = match self.catalog.get(&name) {
                    Some(Entry::Table(table)) => table.statement.clone(),
                    Some(Entry::View(view)) => view.statement.clone(),
                    None => return plan_err!("there is no table or view {name}"),
                };
                Ok(Outcome::Shown(Shown::verbatim("result", [text])))
            }
            ShowWhat::Create(..) => plan_err!("SHOW CREATE takes a table or view"),
        }
    }
}

impl ShowLike {
    fn fits(&self, name: &str) -> bool {
        let fold = |text: &str| if self.blind_to_case { text.to_lowercase() } else { text.to_string() };
        matches(&fold(&self.pattern), &fold(name)) != self.not
    }
}

/// Whether `text` is like `pattern`, in which `%` is any text and `_` any character.
fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, first) => first.is_none(),
        (Some('%'), _) => {
            let rest = &pattern[1..];
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
        }
        (Some('_'), Some(c)) => matches(&pattern[1..], &text[c.len_utf8()..]),
        (Some(p), Some(c)) if p == c => matches(&pattern[p.len_utf8()..], &text[c.len_utf8()..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in
            [("%", "", true), ("a%", "abc", true), ("%b_", "abc", true), ("_", "", false), ("ü%", "über", true)]
        {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
