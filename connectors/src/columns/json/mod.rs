//! JSON lines: an object a line, a column a name.
//!
//! What an object means is in `decode.rs`, the grammar in `cursor.rs`, what rows look like in `encode.rs`.

use arrow_schema::SchemaRef;
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Options};

use super::flag;

pub(crate) mod cursor;
pub(crate) mod decode;
pub(crate) mod encode;

pub(crate) const OPTIONS: [OptionSpec; 7] = [
    OptionSpec {
        name: "json.fail-on-missing-field",
        about: "Whether an object without a column's name is a bad record (false: NULL).",
    },
    OptionSpec {
        name: "json.ignore-parse-errors",
        about: "Whether values that cannot be read are NULL, and lines that are no object are left out (false).",
    },
    OptionSpec {
        name: "json.timestamp-format.standard",
        about: "How timestamps are written: SQL (2020-04-15 08:05:00.123, the default) or ISO-8601 (with a T). Both are read.",
    },
    OptionSpec {
        name: "json.map-null-key.mode",
        about: "What becomes of NULL keys of maps when written: FAIL (the default), DROP or LITERAL.",
    },
    OptionSpec {
        name: "json.map-null-key.literal",
        about: "The key that stands for NULL, where the mode is LITERAL (null).",
    },
    OptionSpec {
        name: "json.encode.decimal-as-plain-number",
        about: "Accepted for Flink's sake: decimals are always written plainly (1000, not 1E3).",
    },
    OptionSpec { name: "json.encode.ignore-null-fields", about: "Whether NULL fields are not written (false)." },
];

/// The JSON format.
#[derive(Clone, Debug)]
pub struct Json {
    pub(crate) ignore_errors: bool,
    pub(crate) fail_on_missing: bool,
    pub(crate) iso: bool,
    pub(crate) null_keys: NullKeys,
    pub(crate) ignore_nulls: bool,
}

/// What becomes of NULL keys of maps when written.
#[derive(Clone, Debug)]
pub(crate) enum NullKeys {
    Fail,
    Drop,
    Literal(String),
}

impl Json {
    /// As the options say.
    pub(crate) fn of(options: &Options) -> Result<Self, Error> {
        Self::named("json", options)
    }

    /// The same by options that begin with `name`: those of a format that is made of JSON.
    pub(crate) fn named(name: &str, options: &Options) -> Result<Self, Error> {
        let flag = |option: &str| flag(options, &format!("{name}.{option}"));
        let iso = match options.get(&format!("{name}.timestamp-format.standard")) {
            None | Some("SQL") => false,
            Some("ISO-8601") => true,
            Some(other) => {
                return Err(format!("'{name}.timestamp-format.standard' = '{other}': 'SQL' or 'ISO-8601'").into());
            }
        };
        flag("encode.decimal-as-plain-number")?;
        let (ignore_errors, fail_on_missing) = (flag("ignore-parse-errors")?, flag("fail-on-missing-field")?);
        if ignore_errors && fail_on_missing {
            let both = "'json.fail-on-missing-field' and 'json.ignore-parse-errors' contradict each other";
            return Err(format!("{both}: leave one out").into());
        }
        let (null_keys, ignore_nulls) = (NullKeys::of(name, options)?, flag("encode.ignore-null-fields")?);
        Ok(Self { ignore_errors, fail_on_missing, iso, null_keys, ignore_nulls })
    }

    pub(crate) fn decoder(&self, schema: &SchemaRef, wanted: &[usize]) -> decode::Decoder {
        let names = wanted.iter().map(|column| schema.field(*column).name().as_str());
        decode::Decoder::new(self.clone(), names)
    }

    pub(crate) fn encoder(&self) -> encode::Encoder {
        encode::Encoder::new(self.clone())
    }
}

impl NullKeys {
    fn of(name: &str, options: &Options) -> Result<Self, Error> {
        let literal = options.get(&format!("{name}.map-null-key.literal")).unwrap_or("null");
        match options.get(&format!("{name}.map-null-key.mode")).map(str::to_ascii_uppercase).as_deref() {
            None | Some("FAIL") => Ok(Self::Fail),
            Some("DROP") => Ok(Self::Drop),
            Some("LITERAL") => Ok(Self::Literal(literal.to_owned())),
            Some(other) => Err(format!("'{name}.map-null-key.mode' = '{other}': 'FAIL', 'DROP' or 'LITERAL'").into()),
        }
    }
}
