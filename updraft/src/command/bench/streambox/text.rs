//! Text: records that are references into one buffer, and the words in them.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::super::data::{Random, spell};

/// A piece of text that stays in memory for as long as the program runs, so that a record is a reference to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub(super) struct Text(pub(super) &'static str);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.leak()))
    }
}

/// Longer words are cut.
const LETTERS: usize = 16;

/// A word in capitals, with zeros after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Word([u8; LETTERS]);

impl From<&str> for Word {
    fn from(word: &str) -> Self {
        let bytes = word.as_bytes();
        Self(std::array::from_fn(|at| bytes.get(at).map_or(0, u8::to_ascii_uppercase)))
    }
}

impl Text {
    /// Its words: runs of letters.
    #[inline]
    pub(super) fn words(self) -> impl Iterator<Item = Word> {
        let mut rest = self.0.as_bytes();
        std::iter::from_fn(move || {
            let start = rest.iter().position(u8::is_ascii_alphabetic)?;
            let mut word = [0; LETTERS];
            let mut len = 0;
            while let Some(letter) = rest.get(start + len).filter(|byte| byte.is_ascii_alphabetic()) {
                if let Some(place) = word.get_mut(len) {
                    *place = letter.to_ascii_uppercase();
                }
                len += 1;
            }
            rest = &rest[start + len..];
            Some(Word(word))
        })
    }
}

/// Words of 2 to 9 letters, the `n`th of them as frequent as `1/n` (Zipf).
pub(super) struct Vocabulary {
    words: Vec<String>,
    /// How often one of the words up to each is drawn, together.
    cumulated: Vec<f64>,
}

impl Vocabulary {
    pub(super) fn new(size: u64) -> Self {
        let word = |n: u64| spell(n)[..2 + n as usize % 8].iter().map(|letter| char::from(*letter)).collect();
        let mut total = 0.0;
        let cumulated = (1..=size).map(|rank| {
            total += 1.0 / rank as f64;
            total
        });
        Self { cumulated: cumulated.collect(), words: (0..size).map(word).collect() }
    }

    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    fn draw(&self, random: &mut Random) -> &str {
        let total = self.cumulated.last().copied().unwrap_or_default();
        let at = random.unit() * total;
        let rank = self.cumulated.partition_point(|sum| *sum < at);
        self.words.get(rank).map_or("", String::as_str)
    }
}

/// `count` lines of `bytes` each, of words; `end` may say what the line of a number ends with.
pub(super) fn lines(
    count: usize,
    bytes: usize,
    vocabulary: &Vocabulary,
    end: impl Fn(usize, &mut Random) -> Option<String>,
) -> Arc<[Text]> {
    let mut random = Random::new();
    let mut buffer = String::with_capacity(count * bytes);
    for number in 0..count {
        let (start, end) = (buffer.len(), end(number, &mut random).unwrap_or_default());
        while buffer.len() < start + bytes - end.len() {
            buffer.push_str(vocabulary.draw(&mut random));
            buffer.push(' ');
        }
        buffer.truncate(start + bytes - end.len());
        buffer.push_str(&end);
    }
    let buffer: &'static str = buffer.leak();
    (0..count).map(|number| Text(&buffer[number * bytes..(number + 1) * bytes])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters() {
        let words: Vec<_> = Text(" to be,or 2not--two bE incomprehensibilities").words().collect();
        let expected = ["to", "be", "or", "not", "two", "be", "incomprehensibilities"];
        assert_eq!(words, expected.map(Word::from));
    }

    #[test]
    fn lines_are_as_long_as_asked_for() {
        let lines = lines(100, 50, &Vocabulary::new(30), |n, _| (n % 2 == 0).then(|| "the end".into()));
        assert!(lines.iter().all(|line| line.0.len() == 50));
        assert_eq!(lines.iter().filter(|line| line.0.ends_with("the end")).count(), 50);
    }
}
