-- Clicks per area code and minute; which came too late for theirs; and which lines could not be read.

CREATE TABLE clicks (
    area_code STRING,
    user_id BIGINT,
    page STRING,
    click_time TIMESTAMP(3),
    -- A minute is over when a click of five seconds after it has come.
    WATERMARK FOR click_time AS click_time - INTERVAL '5' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = 'updraft/examples/clickstream/clicks',
    'format' = 'csv',
    'bad-records' = 'dead-letter'
);

CREATE TABLE counts (minute_start TIMESTAMP(3), area_code STRING, clicks BIGINT)
WITH ('connector' = 'print', 'print-identifier' = 'clicks');

CREATE TABLE late (area_code STRING, user_id BIGINT, click_time TIMESTAMP(3))
WITH ('connector' = 'print', 'print-identifier' = 'late');

CREATE TABLE rejected (file STRING, line BIGINT, reason STRING)
WITH ('connector' = 'print', 'print-identifier' = 'rejected');

-- One job, which reads the files once.
EXECUTE STATEMENT SET BEGIN

INSERT INTO counts
SELECT window_start, area_code, COUNT(*)
FROM TUMBLE(TABLE clicks, DESCRIPTOR(click_time), INTERVAL '60' SECOND)
GROUP BY window_start, window_end, area_code;

INSERT INTO late
SELECT area_code, user_id, click_time FROM `clicks$late`;

INSERT INTO rejected
SELECT origin, line, reason FROM `clicks$dead_letters`;

END;
