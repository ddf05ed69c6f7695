//! What the queries come to, by other means: DataFusion's batch execution over the same events in memory, with windows spelled
//! out in plain SQL; and sessions by hand.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::events;
use crate::table::Counted;

/// The table that a query fills.
pub(crate) fn table(query: &str) -> Counted {
    if query == "q11" {
        return sessions(&events::of_kind("bid"));
    }
    let (_, sql) = QUERIES.iter().find(|(name, _)| *name == query).unwrap();
    Counted::of_batches(&batches(&sql.replace("HOP", HOP).replace("RANKS", &ranks())))
}

/// Bids, bidders and auctions: all, and those of low, middle and high prices.
fn ranks() -> String {
    let prices = [
        "price",
        "CASE WHEN price < 10000 THEN price END",
        "CASE WHEN price >= 10000 AND price < 1000000 THEN price END",
        "CASE WHEN price >= 1000000 THEN price END",
    ];
    let of = |what: &str| prices.iter().map(|price| what.replace("PRICE", price)).collect::<Vec<_>>();
    let distinct = |column| of(&format!("COUNT(DISTINCT CASE WHEN PRICE IS NOT NULL THEN {column} END)"));
    [of("COUNT(PRICE)"), distinct("bidder"), distinct("auction")].concat().join(", ")
}

/// The rows of a query over `person`, `auction`, `bid` and `side_input`.
pub(crate) fn batches(sql: &str) -> Vec<RecordBatch> {
    let config = SessionConfig::new().set_bool("datafusion.sql_parser.enable_ident_normalization", false);
    let context = SessionContext::new_with_config(config.with_target_partitions(1));
    for kind in ["person", "auction", "bid"] {
        context.register_batch(kind, events::of_kind(kind)).unwrap();
    }
    context.register_batch("side_input", side_input()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { context.sql(sql).await.unwrap().collect().await.unwrap() })
}

/// Names of some auctions.
pub(crate) fn side_input() -> RecordBatch {
    use arrow::array::{Int64Array, StringArray};
    let keys: Vec<i64> = (0..10_000).filter(|key| key % 3 == 0).collect();
    let values = StringArray::from_iter_values(keys.iter().map(|key| format!("value {key}")));
    let columns: [(&str, arrow::array::ArrayRef); 2] =
        [("key", std::sync::Arc::new(Int64Array::from(keys))), ("value", std::sync::Arc::new(values))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Bids of a bidder that are at most 10 seconds apart: bidder, how many, from the first, until 10 seconds after the last.
fn sessions(bids: &RecordBatch) -> Counted {
    const GAP: i64 = 10_000;
    let bidders = bids.column_by_name("bidder").unwrap().as_primitive::<Int64Type>();
    let times = bids.column_by_name("dateTime").unwrap().as_primitive::<TimestampMillisecondType>();
    let mut by_bidder = BTreeMap::<i64, Vec<i64>>::new();
    for (bidder, time) in bidders.values().iter().zip(times.values()) {
        by_bidder.entry(*bidder).or_default().push(*time);
    }
    let mut rows = Vec::new();
    for (bidder, mut times) in by_bidder {
        times.sort_unstable();
        for session in times.chunk_by(|one, next| next - one <= GAP) {
            let [first, last] = [session[0], session[session.len() - 1] + GAP].map(iso);
            rows.push(vec![bidder.to_string(), session.len().to_string(), first, last]);
        }
    }
    rows.into_iter().collect()
}

/// A time in milliseconds as Arrow shows it.
fn iso(millis: i64) -> String {
    use arrow::array::TimestampMillisecondArray;
    let times = TimestampMillisecondArray::from(vec![millis]);
    arrow::util::display::array_value_to_string(&times, 0).unwrap()
}

/// Each start of the windows of 10 seconds every 2 seconds that a bid is in.
const HOP: &str = "SELECT auction, date_bin(INTERVAL '2 seconds', dateTime) - back AS start FROM bid CROSS JOIN \
                   (VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'), \
                   (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS steps(back)";

/// The queries in DataFusion's words.
const QUERIES: [(&str, &str); 21] = [
    ("q0", "SELECT auction, bidder, price, dateTime, extra FROM bid"),
    (
        "q1",
        "SELECT auction, bidder, CAST(CAST('0.908' AS DECIMAL(4, 3)) * price AS DECIMAL(23, 3)), dateTime, extra FROM bid",
    ),
    ("q2", "SELECT auction, price FROM bid WHERE auction % 123 = 0"),
    (
        "q3",
        "SELECT name, city, state, auction.id FROM auction JOIN person ON seller = person.id \
         WHERE category = 10 AND state IN ('OR', 'ID', 'CA')",
    ),
    (
        "q4",
        "WITH winning AS (SELECT a.id, category, MAX(price) AS final FROM auction a JOIN bid b ON a.id = b.auction \
         WHERE b.dateTime >= a.dateTime AND b.dateTime <= expires GROUP BY a.id, category) \
         SELECT category, SUM(final) / COUNT(*) FROM winning GROUP BY category",
    ),
    (
        "q5",
        "WITH hop AS (HOP), counts AS (SELECT auction, start, COUNT(*) AS num FROM hop GROUP BY auction, start) \
         SELECT auction, num FROM counts c WHERE num = (SELECT MAX(num) FROM counts m WHERE m.start = c.start)",
    ),
    (
        "q7",
        "WITH best AS (SELECT MAX(price) AS price, date_bin(INTERVAL '10 seconds', dateTime) AS start FROM bid GROUP BY start) \
         SELECT bid.auction, bid.price, bid.bidder, dateTime, extra FROM bid JOIN best ON bid.price = best.price \
         WHERE dateTime >= start AND dateTime <= start + INTERVAL '10 seconds'",
    ),
    (
        "q8",
        "WITH a AS (SELECT DISTINCT seller, date_bin(INTERVAL '10 seconds', dateTime) AS start FROM auction), \
         p AS (SELECT DISTINCT id, name, date_bin(INTERVAL '10 seconds', dateTime) AS start FROM person) \
         SELECT id, name, p.start FROM p JOIN a ON id = seller AND p.start = a.start",
    ),
    (
        "q9",
        "SELECT id, itemName, description, initialBid, reserve, started, expires, seller, category, extra, \
         auction, bidder, price, bid_dateTime, bid_extra FROM (SELECT id, itemName, description, initialBid, reserve, \
         a.dateTime AS started, expires, seller, category, a.extra, auction, bidder, price, b.dateTime AS bid_dateTime, \
         b.extra AS bid_extra, RANK() OVER (PARTITION BY id ORDER BY price DESC, b.dateTime) AS place \
         FROM auction a JOIN bid b ON a.id = b.auction WHERE b.dateTime >= a.dateTime AND b.dateTime <= expires) \
         WHERE place = 1",
    ),
    (
        "q10",
        "SELECT auction, bidder, price, rtrim(rtrim(to_char(dateTime, '%Y-%m-%d %H:%M:%S%.3f'), '0'), '.'), extra, \
         to_char(dateTime, '%Y-%m-%d'), to_char(dateTime, '%H:%M') FROM bid",
    ),
    ("q12", "SELECT bidder, COUNT(*) FROM bid GROUP BY bidder"),
    ("q13", "SELECT auction, bidder, price, dateTime, value FROM bid JOIN side_input ON auction % 10000 = key"),
    (
        "q14",
        "WITH euros AS (SELECT *, CAST(CAST('0.908' AS DECIMAL(4, 3)) * price AS DECIMAL(23, 3)) AS euros, \
         date_part('hour', dateTime) AS hour FROM bid) \
         SELECT auction, bidder, euros, CASE WHEN hour BETWEEN 8 AND 18 THEN 'dayTime' \
         WHEN hour <= 6 OR hour >= 20 THEN 'nightTime' ELSE 'otherTime' END, dateTime, extra, \
         length(extra) - length(replace(extra, 'c', '')) FROM euros WHERE euros > 1000000 AND euros < 50000000",
    ),
    ("q15", "SELECT to_char(dateTime, '%Y-%m-%d') AS day, RANKS FROM bid GROUP BY day"),
    (
        "q16",
        "SELECT channel, to_char(dateTime, '%Y-%m-%d') AS day, MAX(to_char(dateTime, '%H:%M')), RANKS \
         FROM bid GROUP BY channel, day",
    ),
    (
        "q17",
        "SELECT auction, to_char(dateTime, '%Y-%m-%d') AS day, COUNT(*), SUM(CASE WHEN price < 10000 THEN 1 ELSE 0 END), \
         SUM(CASE WHEN price >= 10000 AND price < 1000000 THEN 1 ELSE 0 END), \
         SUM(CASE WHEN price >= 1000000 THEN 1 ELSE 0 END), MIN(price), MAX(price), SUM(price) / COUNT(*), SUM(price) \
         FROM bid GROUP BY auction, day",
    ),
    (
        "q18",
        "SELECT auction, bidder, price, channel, url, dateTime, extra FROM bid b WHERE dateTime = \
         (SELECT MAX(dateTime) FROM bid other WHERE other.bidder = b.bidder AND other.auction = b.auction)",
    ),
    (
        "q19",
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bid) \
         WHERE place <= 10",
    ),
    (
        "q20",
        "SELECT auction, bidder, price, channel, url, b.dateTime, b.extra, itemName, description, initialBid, reserve, \
         a.dateTime, expires, seller, category, a.extra FROM bid b JOIN auction a ON auction = id WHERE category = 10",
    ),
    (
        "q21",
        "SELECT * FROM (SELECT auction, bidder, price, channel, CASE lower(channel) WHEN 'apple' THEN '0' \
         WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3' \
         ELSE regexp_match(url, '(&|^)channel_id=([^&]*)')[2] END AS channel_id FROM bid) WHERE channel_id IS NOT NULL",
    ),
    (
        "q22",
        "SELECT auction, bidder, price, channel, split_part(url, '/', 4), split_part(url, '/', 5), split_part(url, '/', 6) \
         FROM bid",
    ),
];
