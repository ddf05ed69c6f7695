SELECT bidder, COUNT(*), MIN(ts), MAX(ts)
FROM TABLE(SESSION(TABLE events PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY bidder, window_start, window_end
