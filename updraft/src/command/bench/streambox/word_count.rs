//! Word count: lines of 100 bytes, cut into words, in sliding windows of 30 s.

use std::sync::Arc;
use std::time::Duration;

use updraft::prelude::*;

use super::replay::Feed;
use super::text::{Text, Vocabulary, Word, lines};

const BYTES: usize = 100;
/// Records a second of event time.
const PER_SECOND: u64 = 1_000_000;
/// Different words: about those of a long novel.
const WORDS: u64 = 10_000;

pub(super) struct WordCount {
    lines: Arc<[Text]>,
}

impl WordCount {
    pub(super) fn new(count: usize) -> Self {
        Self { lines: lines(count, BYTES, &Vocabulary::new(WORDS), |_, _| None) }
    }

    /// How often each word was there in each window.
    pub(super) fn rows(&self, job: &Job, feed: Feed) -> Stream<Windowed<Word, u64>> {
        feed.read(job, "lines", &self.lines, (BYTES, PER_SECOND))
            .flat_map(|line| line.value.words())
            .key_by(|word| *word)
            .window(Sliding::of(Duration::from_secs(30), Duration::from_secs(1)))
            .aggregate(count())
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive::{Rows, agree, sliding};
    use super::*;

    #[test]
    fn agrees_with_a_naive_evaluation() {
        let work = WordCount::new(500);
        agree(
            |job, feed| work.rows(job, feed),
            |feed| {
                let mut rows = Rows::<(i64, Word), u64>::new();
                for (start, line) in sliding(feed, PER_SECOND, &work.lines, 30, 1) {
                    for word in line.0.split(' ').filter(|word| !word.is_empty()) {
                        *rows.entry((start, Word::from(word))).or_default() += 1;
                    }
                }
                rows.into_iter().map(|((start, word), count)| format!("{start} {word:?} {count}")).collect()
            },
            |row| format!("{} {:?} {}", row.window.start.0, row.key, row.value),
        );
    }
}
