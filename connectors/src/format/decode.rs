//! Lines in a format of the user's own.

use updraft_dataflow::Record;

use super::{Format, Framing};

/// Every line is decoded by a function. The quickest way to read text: nothing is allocated per line.
#[derive(Clone, Debug)]
pub struct Decode<D> {
    decode: D,
}

impl<D> Decode<D> {
    /// `decode` is given a line without its newline. Its error says what is wrong, naming the field and what was
    /// expected: it becomes the reason of a dead letter.
    pub const fn new(decode: D) -> Self {
        Self { decode }
    }
}

impl<T, D> Format for Decode<D>
where
    T: Record,
    D: Fn(&[u8]) -> Result<T, String> + Clone + Send + 'static,
{
    type Item = T;

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn decode(&mut self, record: &[u8]) -> Result<Option<T>, String> {
        (self.decode)(record).map(Some)
    }
}
