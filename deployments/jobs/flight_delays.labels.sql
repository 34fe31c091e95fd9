-- What came true. A cancelled or diverted flight has no arrival delay, and so no label, ever.
SELECT f.flight_date, f.carrier, f.flight, f.origin, f.arr_delay > 15 AS late
FROM flights AS f
WHERE f.scheduled_departure >= :start AND f.scheduled_departure < :end AND f.arr_delay IS NOT NULL
