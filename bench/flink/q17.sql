CREATE TABLE sink (auction BIGINT, `day` VARCHAR, total_bids BIGINT, rank1_bids BIGINT, rank2_bids BIGINT, rank3_bids BIGINT, min_price BIGINT, max_price BIGINT, avg_price BIGINT, sum_price BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO sink
SELECT
    auction,
    DATE_FORMAT(ts, 'yyyy-MM-dd'),
    COUNT(*),
    COUNT(*) FILTER (WHERE price < 10000),
    COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000),
    COUNT(*) FILTER (WHERE price >= 1000000),
    MIN(price),
    MAX(price),
    AVG(price),
    SUM(price)
FROM bid
GROUP BY auction, DATE_FORMAT(ts, 'yyyy-MM-dd');
