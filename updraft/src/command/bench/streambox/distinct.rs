//! Distinct URLs: how many different ones there were, in fixed windows of a second.

use std::sync::Arc;
use std::time::Duration;

use updraft::prelude::*;

use super::super::data::Random;
use super::replay::Feed;
use super::text::{Text, Vocabulary, lines};

const BYTES: usize = 100;
/// Records a second of event time.
const PER_SECOND: u64 = 1_000_000;

pub(super) struct Distinct {
    urls: Arc<[Text]>,
}

impl Distinct {
    /// So many records, of as many different URLs that are drawn from: 63% of them are there. (The paper has 70M of them; one that
    /// does not come up within the same window costs nothing but memory of the source.)
    pub(super) fn new(count: usize) -> Self {
        let end = |random: &mut Random| format!("/{:010}", random.below(count as u64));
        let one = Vocabulary::new(1);
        Self { urls: lines(count, BYTES, &one, |_, random| Some(end(random))) }
    }

    /// The number of different URLs of each window.
    pub(super) fn rows(&self, job: &Job, feed: Feed) -> Stream<Windowed<(), u64>> {
        let second = Tumbling::of(Duration::from_secs(1));
        // By URL first, so that all kernels have a share of them.
        feed.read(job, "urls", &self.urls, (BYTES, PER_SECOND))
            .key_by(|url| url.value)
            .window(second)
            .aggregate(count())
            .window_all(second)
            .aggregate(count())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::naive::{Rows, agree, sliding};
    use super::*;

    #[test]
    fn agrees_with_a_naive_evaluation() {
        let work = Distinct::new(3_000);
        agree(
            |job, feed| work.rows(job, feed),
            |feed| {
                let mut rows = Rows::<i64, HashSet<Text>>::new();
                for (start, url) in sliding(feed, PER_SECOND, &work.urls, 1, 1) {
                    rows.entry(start).or_default().insert(url);
                }
                rows.into_iter().map(|(start, urls)| format!("{start} {}", urls.len())).collect()
            },
            |row| format!("{} {}", row.window.start.0, row.value),
        );
    }
}
