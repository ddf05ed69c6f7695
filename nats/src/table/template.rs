//! Subjects that rows are published to: `orders.{country}.new`, with columns in braces.

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use updraft_dataflow::Error;
use updraft_dataflow::connector::Table;

use crate::subject;

/// What a subject is made of.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Column(usize, String),
}

impl Template {
    /// What a table's `subject` says.
    pub(super) fn of(table: &Table) -> Result<Self, Error> {
        let text = table.options.required("subject")?;
        let fault = |what: &str| -> Error { format!("option 'subject' = '{text}': {what}").into() };
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(fault("a brace is not closed: put a column in it, as in 'orders.{country}'"));
            };
            let column = table.schema.index_of(name).map_err(|_| fault(&format!("there is no column `{name}`")))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Column(column, name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let template = Self { parts };
        subject::check(&template.pattern("x"), false)?;
        Ok(template)
    }

    /// With a word in place of each column.
    pub(super) fn pattern(&self, column: &str) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Column(..) => column.to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// The subjects of rows.
    pub(super) fn subjects<'a>(&'a self, rows: &'a RecordBatch) -> Result<Subjects<'a>, Error> {
        let options = FormatOptions::default().with_display_error(false);
        let formatter = |part: &'a Part| match part {
            Part::Text(_) => Ok(None),
            Part::Column(column, _) => ArrayFormatter::try_new(rows.column(*column), &options).map(Some),
        };
        let formatters = self.parts.iter().map(formatter).collect::<Result<_, _>>()?;
        Ok(Subjects { template: self, rows, formatters })
    }
}

/// The subjects of some rows.
pub(super) struct Subjects<'a> {
    template: &'a Template,
    rows: &'a RecordBatch,
    formatters: Vec<Option<ArrayFormatter<'a>>>,
}

impl Subjects<'_> {
    /// That of a row.
    pub(super) fn of(&self, row: usize) -> Result<String, Error> {
        let mut subject = String::new();
        for (part, formatter) in self.template.parts.iter().zip(&self.formatters) {
            match (part, formatter) {
                (Part::Column(column, name), Some(formatter)) => {
                    if self.rows.column(*column).is_null(row) {
                        return Err(format!(
                            "column `{name}` is NULL, and is part of 'subject': leave such rows out, or give it a value"
                        )
                        .into());
                    }
                    let token = formatter.value(row).try_to_string()?;
                    if token.is_empty() || token.contains(['.', '*', '>']) || token.contains(char::is_whitespace) {
                        return Err(format!(
                            "column `{name}` is '{token}', and cannot be part of 'subject': it has to have some letters, and no dots, blanks or wildcards"
                        )
                        .into());
                    }
                    subject.push_str(&token);
                }
                (Part::Text(text), _) => subject.push_str(text),
                (Part::Column(..), None) => unreachable!("each column has a formatter"),
            }
        }
        Ok(subject)
    }
}
