CREATE TABLE sink (auction BIGINT, bidder BIGINT, price DECIMAL(23, 3), ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'blackhole');

INSERT INTO sink
SELECT auction, bidder, 0.908 * price, ts FROM bid;
