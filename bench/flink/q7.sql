CREATE TABLE sink (auction BIGINT, price BIGINT, bidder BIGINT, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'blackhole');

INSERT INTO sink
SELECT b.auction, b.price, b.bidder, b.ts
FROM bid AS b
JOIN (
    SELECT MAX(price) AS maxprice, window_time AS ts
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))
    GROUP BY window_start, window_end, window_time
) AS most
ON b.price = most.maxprice
WHERE b.ts BETWEEN most.ts - INTERVAL '10' SECOND AND most.ts;
