//! What the options say of fields: `fields.NAME.min` and the like.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use updraft_dataflow::Error;
use updraft_dataflow::connector::{Options, nearest};

use crate::table::options;

/// The options of a table, and which of them anybody has asked for.
pub(super) struct Knobs<'a> {
    options: &'a Options,
    asked: RefCell<BTreeSet<String>>,
}

/// What begins the names of options of fields.
const FIELDS: &str = "fields.";

impl<'a> Knobs<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self { options, asked: RefCell::default() }
    }

    /// Finds fault with options of fields that nobody has asked for.
    pub(super) fn check(&self, table: &str) -> Result<(), Error> {
        let asked = self.asked.borrow();
        let Some((name, _)) = self.options.iter().find(|(name, _)| name.starts_with(FIELDS) && !asked.contains(*name))
        else {
            return Ok(());
        };
        let parent = |name: &'_ str| name.rsplit_once('.').map_or(String::new(), |(parent, _)| parent.to_owned());
        let siblings: Vec<_> = asked.iter().filter(|asked| parent(asked) == parent(name)).map(String::as_str).collect();
        let hint = match nearest(name, siblings.iter().copied()) {
            Some(nearest) => format!("did you mean '{nearest}'?"),
            None if siblings.is_empty() => "the table has no such field".to_owned(),
            None => format!("for a field of its type and kind there are {}", siblings.join(", ")),
        };
        Err(format!("table `{table}`: no option '{name}': {hint}").into())
    }

    pub(super) fn field(&self, path: &str) -> Field<'_> {
        Field { knobs: self, path: path.to_owned() }
    }
}

/// A field, by the path of its name.
pub(super) struct Field<'a> {
    knobs: &'a Knobs<'a>,
    pub(super) path: String,
}

impl Field<'_> {
    /// What is within it.
    pub(super) fn inner(&self, name: &str) -> Field<'_> {
        self.knobs.field(&format!("{}.{name}", self.path))
    }

    fn name(&self, what: &str) -> String {
        let name = format!("{FIELDS}{}.{what}", self.path);
        self.knobs.asked.borrow_mut().insert(name.clone());
        name
    }

    fn text(&self, what: &str) -> Option<&str> {
        self.knobs.options.get(&self.name(what))
    }

    /// Whether it is a sequence, not random.
    pub(super) fn is_sequence(&self) -> Result<bool, Error> {
        match self.text("kind").map(str::to_lowercase).as_deref() {
            None | Some("random") => Ok(false),
            Some("sequence") => Ok(true),
            Some(other) => {
                Err(format!("option '{}' = '{other}': neither 'random' nor 'sequence'", self.name("kind")).into())
            }
        }
    }

    pub(super) fn parse<T: FromStr>(&self, what: &str, expected: &str) -> Result<Option<T>, Error> {
        self.knobs.options.parse(&self.name(what), expected)
    }

    /// `what`, which must be there.
    pub(super) fn required(&self, what: &str) -> Result<i64, Error> {
        let name = self.name(what);
        self.knobs.options.required(&name)?;
        Ok(self.knobs.options.parse(&name, "a whole number")?.unwrap_or_default())
    }

    pub(super) fn flag(&self, what: &str) -> Result<bool, Error> {
        Ok(options::flag(self.knobs.options, &self.name(what))?.unwrap_or(false))
    }

    pub(super) fn share(&self, what: &str) -> Result<f64, Error> {
        Ok(options::share(self.knobs.options, &self.name(what))?.unwrap_or(0.0))
    }

    pub(super) fn duration(&self, what: &str) -> Result<Duration, Error> {
        Ok(options::duration(self.knobs.options, &self.name(what))?.unwrap_or_default())
    }

    /// The two ends of a range.
    pub(super) fn range<T: FromStr + PartialOrd>(&self, least: T, most: T, expected: &str) -> Result<(T, T), Error> {
        let min = self.parse("min", expected)?.unwrap_or(least);
        let max = self.parse("max", expected)?.unwrap_or(most);
        if min <= max { Ok((min, max)) } else { Err(self.wrong("'min' is more than 'max'")) }
    }

    pub(super) fn wrong(&self, what: &str) -> Error {
        format!("field `{}`: {what}", self.path).into()
    }
}
