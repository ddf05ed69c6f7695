-- What both make up for themselves: ROWS bids, people and auctions, 10 000 of each a second of event time.
CREATE TABLE bid (
    id BIGINT,
    auction BIGINT,
    bidder BIGINT,
    price BIGINT,
    ts AS TO_TIMESTAMP_LTZ(id / 10, 3),
    p_time AS PROCTIME(),
    WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '2000000000',
    'number-of-rows' = 'ROWS',
    'fields.id.kind' = 'sequence',
    'fields.id.start' = '1',
    'fields.id.end' = 'ROWS',
    'fields.auction.min' = '1000',
    'fields.auction.max' = '6000',
    'fields.bidder.min' = '1000',
    'fields.bidder.max' = '3000',
    'fields.price.min' = '100',
    'fields.price.max' = '10000000'
);

CREATE TABLE person (
    id BIGINT,
    number BIGINT,
    ts AS TO_TIMESTAMP_LTZ(number / 10, 3),
    WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '2000000000',
    'number-of-rows' = 'ROWS',
    'fields.number.kind' = 'sequence',
    'fields.number.start' = '1',
    'fields.number.end' = 'ROWS',
    'fields.id.min' = '1',
    'fields.id.max' = '1000000'
);

CREATE TABLE auction (
    seller BIGINT,
    number BIGINT,
    ts AS TO_TIMESTAMP_LTZ(number / 10, 3),
    WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
    'connector' = 'datagen',
    'rows-per-second' = '2000000000',
    'number-of-rows' = 'ROWS',
    'fields.number.kind' = 'sequence',
    'fields.number.start' = '1',
    'fields.number.end' = 'ROWS',
    'fields.seller.min' = '1',
    'fields.seller.max' = '1000000'
);
