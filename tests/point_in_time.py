"""Customers whose facts are corrected later: the queries of the README, naive and as of what was known, and the data."""

DAY = "2024-05-01"
# As a schedule of 02:30 has it, which scores the day that has ended.
KNOWN_AT = "2024-05-02 02:30:00"
EVENTS = ("CREATE TABLE visits (visit TEXT, customer TEXT, at {instant}, ingested_at {instant})",)
FACTS = (
    "CREATE TABLE facts (customer TEXT, valid_from {instant}, ingested_at {instant}, spend DOUBLE PRECISION, plan TEXT)",
)

NAIVE = """
WITH newest AS (
    SELECT v.visit, v.customer, v.at, f.spend, f.plan,
        row_number() OVER (PARTITION BY v.visit ORDER BY f.valid_from DESC, f.ingested_at DESC) AS place
    FROM visits v LEFT JOIN facts f ON f.customer = v.customer AND f.valid_from <= v.at
    WHERE v.at >= :start AND v.at < :end
)
SELECT visit, customer, at, spend, plan FROM newest WHERE place = 1
"""

AS_KNOWN = """
WITH newest AS (
    SELECT v.visit, v.customer, v.at, f.spend, f.plan,
        row_number() OVER (PARTITION BY v.visit ORDER BY f.valid_from DESC, f.ingested_at DESC) AS place
    FROM visits v
    LEFT JOIN facts f ON f.customer = v.customer AND f.valid_from <= v.at AND f.ingested_at <= :known_at
    WHERE v.at >= :start AND v.at < :end AND v.ingested_at <= :known_at
)
SELECT visit, customer, at, spend, plan FROM newest WHERE place = 1
"""

# The same in PostgreSQL's own words.
DISTINCT_ON = """
SELECT DISTINCT ON (v.visit) v.visit, v.customer, v.at, f.spend, f.plan
FROM visits v
LEFT JOIN facts f ON f.customer = v.customer AND f.valid_from <= v.at AND f.ingested_at <= :known_at
WHERE v.at >= :start AND v.at < :end AND v.ingested_at <= :known_at
ORDER BY v.visit, f.valid_from DESC, f.ingested_at DESC
"""

COLUMNS = {"visit": "string", "customer": "string", "at": "timestamp", "spend": "float64", "plan": "string"}
CUSTOMERS = 10


def setup(instant: str) -> list[str]:
    """Statements that make the tables, with what is known by the tick: ten customers, two visits each."""
    names = [f"c{number}" for number in range(CUSTOMERS)]
    facts = [
        f"('{name}', '2024-04-01 00:00:00', '2024-04-01 06:00:00', {number}.0, 'basic')"
        for number, name in enumerate(names)
    ]
    # A new fact in the middle of the day: the visit of the morning has the old one, that of the evening the new one.
    facts.append("('c9', '2024-05-01 12:00:00', '2024-05-01 13:00:00', 99.0, 'gold')")
    visits = [
        f"('{name}-{hour}', '{name}', '2024-05-01 {hour}:00:00', '2024-05-01 {hour}:05:00')"
        for name in names
        for hour in ("08", "20")
    ]
    return [
        *(one.format(instant=instant) for one in (*EVENTS, *FACTS)),
        f"INSERT INTO facts VALUES {', '.join(facts)}",
        f"INSERT INTO visits VALUES {', '.join(visits)}",
    ]


# What nobody could know at the tick: three customers' spend is corrected back to April, and two visits come in late.
LATER = [
    """
    INSERT INTO facts SELECT customer, valid_from, '2024-05-03 09:00:00', spend + 100, plan FROM facts
    WHERE customer IN ('c1', 'c2', 'c3')
    """,
    """
    INSERT INTO visits VALUES ('c1-22', 'c1', '2024-05-01 22:00:00', '2024-05-03 09:00:00'),
        ('c2-22', 'c2', '2024-05-01 22:00:00', '2024-05-03 09:00:00')
    """,
]


def known() -> dict[str, float]:
    """Each visit's spend as it was known at the tick, by hand."""
    spend = {f"c{number}-{hour}": float(number) for number in range(CUSTOMERS) for hour in ("08", "20")}
    return spend | {"c9-20": 99.0}


def a_job(source: dict, query: str) -> dict:
    return {
        "job": "visits",
        "window": {"kind": "interval", "every": "1d"},
        "schedule": {"cron": "30 2 * * *"},
        "source": {"type": "sql", "query": query, **source},
        "keys": ["visit"],
        "event_time": "at",
        "columns": COLUMNS,
        "model": {"name": "visits"},
        "output": {"columns": {"p": {"method": "predict"}}, "pass_through": ["spend"]},
        "labels": {"query": "SELECT visit, spend AS y FROM ({features}) t", "target": "y", "type": "float64"},
    }
