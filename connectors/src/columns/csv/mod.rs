//! CSV: fields between delimiters, quoted where they hold delimiters or newlines.
//!
//! The options are Flink's, and `csv.header`. What a record means is in `decode.rs`, what rows look like in `encode.rs`.

use arrow_schema::{DataType, SchemaRef};
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Options};

use super::flag;
use super::types::sql_name;
use crate::format::{Framing, Marks};

pub(crate) mod decode;
pub(crate) mod encode;

pub(crate) const OPTIONS: [OptionSpec; 10] = [
    OptionSpec { name: "csv.field-delimiter", about: "What is between two fields: one character (,)." },
    OptionSpec { name: "csv.quote-character", about: "What is around fields that hold delimiters or newlines (\")." },
    OptionSpec { name: "csv.disable-quote-character", about: "Whether quotes are data like others (false)." },
    OptionSpec { name: "csv.allow-comments", about: "Whether lines that begin with # are left out (false)." },
    OptionSpec {
        name: "csv.ignore-parse-errors",
        about: "Whether fields that cannot be read are NULL, and records that cannot be are left out (false).",
    },
    OptionSpec { name: "csv.array-element-delimiter", about: "What is between the elements of an array or a row (;)." },
    OptionSpec { name: "csv.escape-character", about: "What makes data of the character after it (none)." },
    OptionSpec {
        name: "csv.quoted-newlines",
        about: "Whether quoted fields may hold newlines (true). If not, large files are read in several parts at the same time.",
    },
    OptionSpec { name: "csv.null-literal", about: "What NULL is written as (an empty field, but for text)." },
    OptionSpec {
        name: "csv.header",
        about: "Whether the first record names the columns: true, false, or auto: if it names them all. Written if true (auto).",
    },
];

/// The CSV format.
#[derive(Clone, Debug)]
pub struct Csv {
    pub(crate) delimiter: u8,
    /// `None` where quotes are data.
    pub(crate) quote: Option<u8>,
    pub(crate) escape: Option<u8>,
    /// Whether a quoted field may go on in the next line.
    pub(crate) newlines: bool,
    pub(crate) comments: bool,
    pub(crate) ignore_errors: bool,
    pub(crate) element_delimiter: String,
    pub(crate) null: Option<String>,
    pub(crate) header: Header,
}

/// Whether the first record names the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Yes,
    No,
    Auto,
}

impl Csv {
    /// As the options say.
    pub(crate) fn of(options: &Options) -> Result<Self, Error> {
        let quote = character(options, "csv.quote-character")?.unwrap_or(b'"');
        let header = match options.get("csv.header") {
            None | Some("auto") => Header::Auto,
            Some("true") => Header::Yes,
            Some("false") => Header::No,
            Some(other) => return Err(format!("'csv.header' = '{other}': 'true', 'false' or 'auto'").into()),
        };
        let element_delimiter = options.get("csv.array-element-delimiter").unwrap_or(";");
        if element_delimiter.is_empty() {
            return Err("'csv.array-element-delimiter' is empty: say what is between two elements".into());
        }
        Ok(Self {
            delimiter: character(options, "csv.field-delimiter")?.unwrap_or(b','),
            quote: (!flag(options, "csv.disable-quote-character")?).then_some(quote),
            escape: character(options, "csv.escape-character")?,
            newlines: options.parse("csv.quoted-newlines", "'true' or 'false'")?.unwrap_or(true),
            comments: flag(options, "csv.allow-comments")?,
            ignore_errors: flag(options, "csv.ignore-parse-errors")?,
            element_delimiter: element_delimiter.to_owned(),
            null: options.get("csv.null-literal").map(str::to_owned),
            header,
        })
    }

    /// The same where no record is a header.
    pub(crate) fn headless(mut self) -> Self {
        self.header = Header::No;
        self
    }

    pub(crate) fn framing(&self) -> Framing {
        let Self { delimiter, escape, .. } = *self;
        match (self.quote, escape) {
            _ if !self.newlines => Framing::Lines,
            (Some(quote), _) => Framing::Quoted(Marks { delimiter, quote, escape }),
            // An escape before a newline needs a scan of its own: a quote that never comes.
            (None, Some(_)) => Framing::Quoted(Marks { delimiter, quote: b'\n', escape }),
            (None, None) => Framing::Lines,
        }
    }

    pub(crate) fn decoder(&self, schema: &SchemaRef, wanted: &[usize]) -> Result<decode::Decoder, Error> {
        check(schema)?;
        Ok(decode::Decoder::new(self.clone(), schema, wanted))
    }

    pub(crate) fn encoder(&self, schema: &SchemaRef) -> Result<encode::Encoder, Error> {
        check(schema)?;
        Ok(encode::Encoder::new(self.clone(), schema))
    }
}

/// That all columns can be fields: scalars, and arrays and rows of scalars.
fn check(schema: &SchemaRef) -> Result<(), Error> {
    let is_scalar = |data_type: &DataType| !data_type.is_nested();
    let holds = |data_type: &DataType| match data_type {
        DataType::List(item) => is_scalar(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_scalar(field.data_type())),
        other => is_scalar(other),
    };
    match schema.fields().iter().find(|field| !holds(field.data_type())) {
        None => Ok(()),
        Some(field) => {
            let (name, kind) = (field.name(), sql_name(field.data_type()));
            Err(format!("column `{name}`: CSV cannot hold {kind}; use another format, such as json").into())
        }
    }
}

/// One character, which may be written as Flink does: `\t`, `U&'\0009'`.
fn character(options: &Options, name: &str) -> Result<Option<u8>, Error> {
    let Some(text) = options.get(name) else { return Ok(None) };
    let text = text.strip_prefix("U&'").and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
    let code = |digits: &str| u8::from_str_radix(digits, 16).ok();
    let byte = match text {
        "\\t" => Some(b'\t'),
        "\\n" => Some(b'\n'),
        "\\\\" => Some(b'\\'),
        _ if text.len() == 1 => Some(text.as_bytes()[0]),
        _ => text.strip_prefix("\\u00").or_else(|| text.strip_prefix("\\00")).and_then(code),
    };
    match byte {
        Some(byte) if byte != b'\n' && byte != b'\r' && byte.is_ascii() => Ok(Some(byte)),
        _ => Err(format!("option '{name}' = '{text}': not one ASCII character; a tab is '\\t'").into()),
    }
}
