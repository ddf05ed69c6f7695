//! Lines of text.

use super::{Format, Framing};

/// Every line is a record, blank ones too. What is not UTF-8 is rejected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Format for Lines {
    type Item = String;

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn decode(&mut self, record: &[u8]) -> Result<Option<String>, String> {
        match std::str::from_utf8(record) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(error) => Err(format!(
                "not UTF-8 at byte {}: convert the file, or read it with `decode`",
                error.valid_up_to() + 1
            )),
        }
    }
}
