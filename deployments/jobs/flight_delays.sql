-- One row for each scheduled departure of the window. Instants are UTC text as SQLite's datetime() writes them.
SELECT
    f.flight_date,
    f.carrier,
    f.flight,
    f.origin,
    f.scheduled_departure,
    f.dest,
    f.tailnum,
    CAST(strftime('%w', f.flight_date) AS INTEGER) AS weekday,
    f.sched_dep_time / 100 * 60 + f.sched_dep_time % 100 AS departure_minute,
    f.distance,
    -- Both clocks are local; the airports' standard zones (New York is -5) make minutes in the air of them.
    (
        f.sched_arr_time / 100 * 60 + f.sched_arr_time % 100
        - f.sched_dep_time / 100 * 60 - f.sched_dep_time % 100
        + (-5 - a.tz) * 60 + 2880
    ) % 1440 AS scheduled_minutes,
    p.year AS plane_year,
    p.seats AS plane_seats,
    w.temp,
    w.dewp,
    w.humid,
    w.wind_speed,
    w.precip,
    w.pressure,
    w.visib
FROM flights AS f
LEFT JOIN airports AS a ON a.faa = f.dest
LEFT JOIN planes AS p ON p.tailnum = f.tailnum
LEFT JOIN weather AS w ON w.origin = f.origin AND w.observed_hour = f.scheduled_hour
WHERE f.scheduled_departure >= :start AND f.scheduled_departure < :end
ORDER BY f.scheduled_departure, f.carrier, f.flight, f.origin
