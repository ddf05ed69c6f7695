//! Windowed grep: what a regular expression finds in lines of a kilobyte, in sliding windows of 30 s.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use updraft::prelude::*;

use super::gather::gather;
use super::replay::Feed;
use super::text::{Text, Vocabulary, lines};

const BYTES: usize = 1_000;
/// Records a second of event time.
const PER_SECOND: u64 = 1_000_000;
/// One line of so many has an address in it; the paper does not say how many.
const HITS: usize = 1_000;

pub(super) struct Grep {
    lines: Arc<[Text]>,
    pattern: Regex,
}

impl Grep {
    pub(super) fn new(count: usize) -> Self {
        let address = |n: usize| (n % HITS == HITS / 2).then(|| format!(" https://host-{n}.example.com/~{n}"));
        let lines = lines(count, BYTES, &Vocabulary::new(10_000), |n, _| address(n));
        let pattern = Regex::new(r"(https?|ftp)://[a-zA-Z0-9.-]+\.[a-zA-Z0-9/.~-]*");
        Self { lines, pattern: pattern.expect("the pattern is a regular expression") }
    }

    /// The matches of each window.
    pub(super) fn rows(&self, job: &Job, feed: Feed) -> Stream<Windowed<(), Vec<Text>>> {
        let pattern = self.pattern.clone();
        feed.read(job, "lines", &self.lines, (BYTES, PER_SECOND))
            .flat_map(move |line| pattern.find(line.value.0).map(|found| Text(found.as_str())))
            .window_all(Sliding::of(Duration::from_secs(30), Duration::from_secs(1)))
            .aggregate(gather())
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive::{Rows, agree, sliding};
    use super::*;

    #[test]
    fn agrees_with_a_naive_evaluation() {
        let grep = Grep::new(2_000);
        let events = |feed: Feed| sliding(feed, PER_SECOND, &grep.lines, 30, 1);
        agree(
            |job, feed| grep.rows(job, feed),
            |feed| {
                let mut rows = Rows::<i64, Vec<Text>>::new();
                for (start, line) in events(feed) {
                    if let Some(at) = line.0.find("https://") {
                        rows.entry(start).or_default().push(Text(&line.0[at..]));
                    }
                }
                rows.into_iter()
                    .map(|(start, mut found)| {
                        found.sort();
                        format!("{start} {found:?}")
                    })
                    .collect()
            },
            |row| {
                let mut found = row.value;
                found.sort();
                format!("{} {found:?}", row.window.start.0)
            },
        );
    }
}
