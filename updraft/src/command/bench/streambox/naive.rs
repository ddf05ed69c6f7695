//! What the benchmarks' jobs must give: the definition, record by record.

use std::collections::BTreeMap;
use std::sync::Arc;

use updraft::dataflow::Record;
use updraft::prelude::*;

use super::replay::{Feed, SECOND};

/// Rows by key.
pub(super) type Rows<K, V> = BTreeMap<K, V>;

/// Each record of a feed once for each window of `size` seconds that it is in, one each `slide`: where the window starts, and the
/// record.
pub(super) fn sliding<T: Record>(
    feed: Feed,
    per_second: u64,
    records: &Arc<[T]>,
    size: i64,
    slide: i64,
) -> impl Iterator<Item = (i64, T)> {
    let (times, size, slide) = (feed.times(per_second), size * SECOND, slide * SECOND);
    (0..feed.count).flat_map(move |number| {
        let (time, record) = (times.of(number), &records[number as usize % records.len()]);
        let last = time - time.rem_euclid(slide);
        let starts = (0..size / slide).map(move |back| last - back * slide);
        starts.map(|start| (start, record.clone()))
    })
}

/// Runs what `job` describes in several ways: each must give the lines that are expected, in whatever order.
pub(super) fn agree<Row: Record>(
    job: impl Fn(&Job, Feed) -> Stream<Row>,
    expected: impl Fn(Feed) -> Vec<String>,
    show: impl Fn(Row) -> String,
) {
    for (kernels, disorder, epoch) in [(1, 0, None), (2, 0, Some(70)), (2, 40, None)] {
        let feed = Feed { count: 4_000, disorder, epoch, thinned: 1_000, ..Feed::default() };
        let runtime = Runtime::builder().kernels(kernels).pin(false).build().expect("kernels start");
        let (sink, rows) = Collect::new();
        let plan = Job::new("naive");
        job(&plan, feed).sink("rows", sink);
        let running = plan.start(runtime.handle()).expect("the job starts");
        let metrics = runtime.block_on(running.join()).expect("the job ends well");
        assert_eq!((metrics.records(), metrics.late()), (feed.count, 0));
        let mut rows: Vec<_> = rows.take().into_iter().map(&show).collect();
        let mut expected = expected(feed);
        rows.sort();
        expected.sort();
        assert!(!rows.is_empty() && rows == expected, "{feed:?}: {} rows for {}", rows.len(), expected.len());
    }
}
