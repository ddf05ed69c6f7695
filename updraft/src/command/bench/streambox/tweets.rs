//! Tweet sentiment: how tweets of 200 bytes feel, beside the words that they use, in fixed windows of a second.
//!
//! Eight transforms, as in the code that goes with the paper: source, score, sum by window; words, grouping by window and word,
//! count; the join of both by window; sink.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use updraft::dataflow::join::Inner;
use updraft::prelude::*;

use super::replay::Feed;
use super::text::{Text, Vocabulary, Word, lines};

const BYTES: usize = 200;
/// Records a second of event time.
const PER_SECOND: u64 = 1_000_000;
const WORDS: u64 = 10_000;
/// Every so manieth word is a good one; the next one is a bad one.
const FELT: usize = 10;

pub(super) struct Tweets {
    tweets: Arc<[Text]>,
    /// What words say of the mood.
    moods: Arc<HashMap<Word, i64>>,
}

/// How often a word was used in a window of a mood.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Used {
    window: Time,
    mood: i64,
    word: Word,
    count: u64,
}

impl Tweets {
    pub(super) fn new(count: usize) -> Self {
        let vocabulary = Vocabulary::new(WORDS);
        let mood = |at: usize| [1, -1].get(at % FELT).copied();
        let words = vocabulary.words().iter().enumerate();
        let moods = words.filter_map(|(at, word)| Some((Word::from(word.as_str()), mood(at)?))).collect();
        Self { tweets: lines(count, BYTES, &vocabulary, |_, _| None), moods: Arc::new(moods) }
    }

    fn mood(moods: &HashMap<Word, i64>, tweet: Text) -> i64 {
        tweet.words().filter_map(|word| moods.get(&word)).sum()
    }

    pub(super) fn rows(&self, job: &Job, feed: Feed) -> Stream<Used> {
        let second = Tumbling::of(Duration::from_secs(1));
        let (left, right) = feed.read(job, "tweets", &self.tweets, (BYTES, PER_SECOND)).fork();
        let moods = self.moods.clone();
        let mood = left
            .map(move |tweet| Self::mood(&moods, tweet.value))
            .window_all(second)
            .aggregate(sum(|mood: &i64| *mood));
        let used = right.flat_map(|tweet| tweet.value.words()).key_by(|word| *word).window(second).aggregate(count());
        mood.key_by(|_| ())
            .join(used.key_by(|_| ()))
            .window(second, Inner)
            .map(|(mood, used)| Used { window: mood.window.start, mood: mood.value, word: used.key, count: used.value })
            .materialize()
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive::{Rows, agree, sliding};
    use super::*;

    #[test]
    fn agrees_with_a_naive_evaluation() {
        let work = Tweets::new(500);
        let expected = |feed| {
            let mut rows = Rows::<i64, (i64, Rows<Word, u64>)>::new();
            for (start, tweet) in sliding(feed, PER_SECOND, &work.tweets, 1, 1) {
                let (mood, used) = rows.entry(start).or_default();
                for word in tweet.0.split(' ').filter(|word| !word.is_empty()).map(Word::from) {
                    *mood += work.moods.get(&word).copied().unwrap_or_default();
                    *used.entry(word).or_default() += 1;
                }
            }
            let lines = rows.into_iter().flat_map(|(start, (mood, used))| {
                used.into_iter().map(move |(word, count)| Used { window: Time(start), mood, word, count })
            });
            lines.map(|row| format!("{row:?}")).collect()
        };
        agree(|job, feed| work.rows(job, feed), expected, |row| format!("{row:?}"));
    }
}
