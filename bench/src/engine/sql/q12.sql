SELECT bidder, COUNT(*), window_start, window_end
FROM TABLE(TUMBLE(TABLE arrivals, DESCRIPTOR(p_time), INTERVAL '0.02' SECOND))
GROUP BY bidder, window_start, window_end
