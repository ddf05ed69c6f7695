SELECT b.ts, b.auction, b.bidder, b.price
FROM events AS b
JOIN (
    SELECT MAX(price) AS maxprice, window_end AS endtime
    FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND))
    GROUP BY window_start, window_end
) AS most
ON b.price = most.maxprice
WHERE b.ts BETWEEN most.endtime - INTERVAL '10' SECOND AND most.endtime
