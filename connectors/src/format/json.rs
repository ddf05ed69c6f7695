//! JSON lines: one value a line.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use updraft_dataflow::Record;

use super::{Format, Framing};

/// Every line that is not blank is a JSON value, decoded as `T`.
#[derive(Debug)]
pub struct Json<T>(PhantomData<fn() -> T>);

impl<T> Json<T> {
    /// The format; it has no options.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Json<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: Record + DeserializeOwned> Format for Json<T> {
    type Item = T;

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn decode(&mut self, record: &[u8]) -> Result<Option<T>, String> {
        if record.trim_ascii().is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(record).map(Some).map_err(reason)
    }
}

/// The error without its line, which is 1 for every record.
fn reason(error: serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = error.to_string();
    format!("column {}: {}", error.column(), what.strip_suffix(&place).unwrap_or(&what))
}
