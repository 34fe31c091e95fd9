import contextlib
import datetime as dt
import decimal
import math
import threading
import time
import traceback
import uuid
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.core.definitions.column_types import parse_type
from tasks.core.definitions.source import SqlSource
from tasks.core.definitions.window import Window
from tasks.core.errors import SchemaBlocked, SourceError
from tasks.core.rows.conform import conform
from tasks.core.source import SourceUnavailable, open_source, problems
from tasks.core.storage import Folder

D = decimal.Decimal
DAY = Window("2013-07-01", dt.datetime(2013, 7, 1, 4, tzinfo=dt.UTC), dt.datetime(2013, 7, 2, 4, tzinfo=dt.UTC))
KNOWN_AT = dt.datetime(2013, 7, 2, 6, 30, tzinfo=dt.UTC)
BIG_ROWS = 1_000_000


@pytest.fixture(scope="module")
def server(postgresql):
    """The server with the tables of these tests."""
    postgresql.execute(
        "CREATE TYPE mood AS ENUM ('calm', 'storm')",
        "CREATE DOMAIN code AS text",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE TABLE seen (n int)",
        f"""CREATE TABLE big AS SELECT g AS n, repeat('x', 100) AS filler, g * 1.5 AS price,
            timestamptz '2013-07-01' + g * interval '1 second' AS at FROM generate_series(1, {BIG_ROWS}) AS g""",
        # Whoever connects finds another zone than UTC.
        "ALTER DATABASE postgres SET timezone = 'Asia/Kolkata'",
    )
    return postgresql


@pytest.fixture
def naps(monkeypatch):
    taken = []
    monkeypatch.setattr(problems, "_sleep", taken.append)
    return taken


@pytest.fixture
def opened(server, monkeypatch, tmp_path):
    """Opens a query on the server, whose address is in the environment."""

    def open_query(query, columns, *, window=DAY, batch_rows=10_000, uri=None, **fields):
        monkeypatch.setenv("LAMPLIGHTER_TEST_URI", uri or server.uri)
        source = SqlSource(
            type="sql",
            driver="postgresql",
            uri_env="LAMPLIGHTER_TEST_URI",
            query=query,
            **{"retries": 0, **fields},
        )
        return open_source(
            source,
            query=query,
            window=window,
            known_at=KNOWN_AT,
            columns=pa.schema([(name, parse_type(kind)) for name, kind in columns.items()]),
            event_time=None,
            project=Folder(tmp_path),
            batch_rows=batch_rows,
        )

    return open_query


@pytest.fixture
def rows(opened):
    """The rows of a query in the declared types, and row, column and value of each rejection."""

    def read(query, columns, **options):
        schema = pa.schema([(name, parse_type(kind)) for name, kind in columns.items()])
        found, rejected, first = [], [], 0
        with opened(query, columns, **options) as stream:
            for batch in stream:
                result, reasons = conform(batch, schema, first)
                found += result.to_pylist()
                rejected += [(row, reason.column, reason.value) for row, reason in reasons]
                first += batch.num_rows
        return found, rejected

    return read


# --- Types


UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("expression", "declared", "expected"),
    [
        ("12.50::numeric(10, 2)", "decimal(10, 2)", D("12.50")),
        ("12.50::numeric", "decimal(10, 2)", D("12.50")),
        ("12.5::numeric", "float64", 12.5),
        ("12::numeric", "int64", 12),
        ("0.000001::numeric", "string", "0.000001"),
        ("12345678901234567890.123456789::numeric", "decimal(38, 9)", D("12345678901234567890.123456789")),
        ("'Infinity'::numeric", "float64", math.inf),
        (f"'{UUID}'::uuid", "string", UUID),
        ("'storm'::mood", "string", "storm"),
        ("'x'::code", "string", "x"),
        ("""'{"b": [1, 2], "a": null}'::jsonb""", "string", '{"a": null, "b": [1, 2]}'),
        ("""'{"b":1}'::json""", "string", '{"b":1}'),
        ("timestamptz '2013-07-01 00:00:00-04'", "timestamp", DAY.start),
        ("timestamptz '2013-07-01 00:00:00.123456-04'", "timestamp", DAY.start.replace(microsecond=123456)),
        ("timestamp '2013-07-01 00:00' AT TIME ZONE 'America/New_York'", "timestamp", DAY.start),
        ("timestamp '2013-07-01 00:00'", "timestamp_naive", dt.datetime(2013, 7, 1)),
        ("date '2013-07-01'", "date", dt.date(2013, 7, 1)),
        ("time '05:06:07.5'", "time", dt.time(5, 6, 7, 500_000)),
        ("true", "bool", True),
        ("1::int2", "int64", 1),
        ("9223372036854775807", "int64", 2**63 - 1),
        ("1.5::float4", "float64", 1.5),
        ("'NaN'::float8", "float64", math.nan),
        ("'ab'::char(5)", "string", "ab   "),
        ("' 7 '::char(5)", "int64", 7),
        ("'\\xff00'::bytea", "binary", b"\xff\x00"),
        ("ARRAY[1, NULL, 3]", "list<int64>", [1, None, 3]),
        ("ARRAY['a', 'b']", "list<string>", ["a", "b"]),
        ("ARRAY[1.5, 2.25]", "list<float64>", [1.5, 2.25]),
        (f"ARRAY['{UUID}'::uuid]", "list<string>", [UUID]),
        ("ARRAY['calm'::mood]", "list<string>", ["calm"]),
    ],
)
def test_types_are_mapped(rows, expression, declared, expected):
    # The null comes first: no type is guessed from a value.
    query = f"SELECT CASE WHEN i > 0 THEN {expression} END AS x FROM generate_series(0, 1) AS i ORDER BY i"
    found, rejected = rows(query, {"x": declared})
    assert rejected == []
    assert found[0]["x"] is None
    if isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found[1]["x"])
    else:
        assert found[1]["x"] == expected


@pytest.mark.parametrize(
    ("expression", "declared", "message"),
    [
        ("timestamp '2013-07-01 00:00'", "timestamp", "instant without zone.*x AT TIME ZONE"),
        ("150::money", "int64", "money.*cents"),
        ("inet '10.0.0.1'", "string", "inet.*cast 'x' to text"),
        ("int4range(1, 5)", "string", "cast 'x' to text"),
        ("interval '1 day'", "int64", "month_day_nano_interval"),
        ("ARRAY[1, 2]", "int64", "list<int32>"),
        ("ROW(1, 'a')::pair", "string", "struct.*cast 'x'"),
        ("time with time zone '05:06+02'", "time", "timetz"),
    ],
)
def test_what_has_no_sure_meaning_blocks(rows, expression, declared, message):
    with pytest.raises(SchemaBlocked, match=message):
        rows(f"SELECT {expression} AS x", {"x": declared})


def test_values_that_cannot_be_converted_cost_their_row(rows):
    query = """
        SELECT * FROM (VALUES
            (1, 1.5::numeric, timestamptz '2013-07-01 04:00+00', date '2013-07-01'),
            (2, 'NaN', 'infinity', 'infinity'),
            (3, 2, '-infinity', '-infinity')
        ) AS v (i, n, at, day) ORDER BY i
    """
    found, rejected = rows(query, {"n": "decimal(4, 1)", "at": "timestamp", "day": "date"})
    assert found[0] == {"n": D("1.5"), "at": DAY.start, "day": dt.date(2013, 7, 1)}
    assert found[1] == {"n": None, "at": None, "day": None}
    assert [(row, column) for row, column, _ in rejected] == [
        (1, "n"),
        (1, "at"),
        (1, "day"),
        (2, "at"),
        (2, "day"),
    ]


def test_uuids_of_many_rows_are_those_of_the_server(rows, server):
    query = "SELECT md5(n::text)::uuid AS u, md5(n::text)::uuid::text AS t FROM big ORDER BY n LIMIT 20000"
    found, _ = rows(query, {"u": "string", "t": "string"})
    assert len(found) == 20_000
    assert all(row["u"] == row["t"] == str(uuid.UUID(row["u"])) for row in found)


# --- Binds


def test_bounds_are_bound_as_instants_whatever_the_session_zone(rows):
    query = """
        SELECT :start AS start, :end AS "end", :as_of AS label, :as_of::date AS day,
            pg_typeof(:start)::text AS kind, timestamp '2013-07-01 04:00' = :start AS in_utc, '12:30 :x' AS literal,
            :known_at AS known_at
        -- a comment on :start and :nothing
    """
    columns = {"start": "timestamp", "end": "timestamp", "label": "string", "day": "date", "known_at": "timestamp"}
    (row,), _ = rows(query, {**columns, "kind": "string", "in_utc": "bool", "literal": "string"})
    assert row == {
        "start": DAY.start,
        "end": DAY.end,
        "label": "2013-07-01",
        "day": dt.date(2013, 7, 1),
        "kind": "timestamp with time zone",
        "in_utc": True,
        "literal": "12:30 :x",
        "known_at": KNOWN_AT,
    }


def test_a_window_is_half_open_and_uses_an_index(rows, server):
    server.execute("CREATE INDEX IF NOT EXISTS big_at ON big (at)", "ANALYZE big")
    query = "SELECT count(*) AS rows, min(at) AS first FROM big WHERE at >= :start AND at < :end"
    # big starts at midnight in UTC, a second before its first row: the window holds 86,400 whole seconds.
    (row,), _ = rows(query, {"rows": "int64", "first": "timestamp"})
    assert row["rows"] == 86_400
    assert row["first"] == DAY.start


def test_a_query_may_bind_nothing_and_end_in_a_semicolon_or_comment(rows):
    assert rows("SELECT 1 AS n;", {"n": "int64"})[0] == [{"n": 1}]
    assert rows("SELECT 1 AS n ; \n", {"n": "int64"})[0] == [{"n": 1}]
    assert rows("SELECT 1 AS n -- the end", {"n": "int64"})[0] == [{"n": 1}]


def test_as_of_is_a_value_whatever_it_says(rows, server):
    nasty = "x'); DROP TABLE seen; --"
    window = Window(nasty, DAY.start, DAY.end)
    found, _ = rows("SELECT :as_of AS a", {"a": "string"}, window=window)
    assert found == [{"a": nasty}]
    assert server.execute("SELECT count(*) FROM seen") == [(0,)]


# --- Reading only, one state, bounded


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO seen VALUES (1) RETURNING n",
        "WITH w AS (INSERT INTO seen VALUES (1) RETURNING n) SELECT n FROM w",
        "SELECT nextval('counter') AS n",
        "SELECT 1 AS n; INSERT INTO seen VALUES (1)",
        "SELECT 1 AS n) TO STDOUT; INSERT INTO seen VALUES (1); --",
        "INSERT INTO seen VALUES (1)",
    ],
)
def test_a_query_cannot_write(rows, server, query):
    server.execute("CREATE SEQUENCE IF NOT EXISTS counter")
    with pytest.raises(SourceError):
        rows(query, {"n": "int64"})
    assert server.execute("SELECT count(*) FROM seen") == [(0,)]


def test_an_insert_is_told_to_be_one(rows):
    with pytest.raises(SourceError, match="tries to write, and a source is read only"):
        rows("INSERT INTO seen VALUES (1) RETURNING n", {"n": "int64"})


def test_what_is_inserted_during_a_pull_is_not_seen(opened, server):
    server.execute("CREATE TABLE IF NOT EXISTS growing AS SELECT g AS n FROM generate_series(1, 200000) AS g")
    query = "SELECT n, (SELECT current_setting('transaction_isolation')) AS isolation FROM growing"
    with opened(query, {"n": "int64", "isolation": "string"}) as stream:
        first = next(stream)
        server.execute("INSERT INTO growing SELECT n + 1000000 FROM growing")
        seen = first.num_rows + sum(batch.num_rows for batch in stream)
    assert first["isolation"][0].as_py() == "repeatable read"
    assert seen == 200_000
    assert server.execute("SELECT count(*) FROM growing") == [(400_000,)]


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_million_rows_stream_in_bounded_memory(opened):
    before, most, seen = resident_bytes(), 0, 0
    # With a bind: the driver would hold the whole result of a query with parameters, some 140 MB.
    query = "SELECT n, filler, price, at FROM big WHERE at >= :start - interval '1 year' AND :as_of <> ''"
    with opened(query, {"n": "int64", "filler": "string", "price": "decimal(12, 1)", "at": "timestamp"}) as stream:
        for batch in stream:
            assert batch.num_rows <= 10_000
            seen += batch.num_rows
            most = max(most, resident_bytes() - before)
    assert seen == BIG_ROWS
    assert most < 80_000_000


def test_a_pull_that_is_given_up_ends_at_once_and_leaves_no_session(opened, server):
    started = time.monotonic()
    query = "SELECT a.n FROM big AS a, big AS b"
    with (
        contextlib.suppress(RuntimeError),
        opened(query, {"n": "int64"}, statement_timeout_seconds=20) as stream,
    ):
        next(stream)
        raise RuntimeError
    assert time.monotonic() - started < 10
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 10
    while server.execute(others) != [(0,)]:
        assert time.monotonic() < deadline


def test_a_query_that_takes_too_long_is_stopped(rows):
    with pytest.raises(SourceError, match=r"longer than its limit of 0\.3 s.*statement_timeout_seconds") as error:
        rows("SELECT 1 AS n FROM pg_sleep(20)", {"n": "int64"}, statement_timeout_seconds=0.3, retries=3)
    assert not isinstance(error.value, SourceUnavailable)


def test_a_query_that_takes_too_long_after_its_first_rows_is_stopped(opened):
    query = "SELECT n, CASE WHEN n > 900000 THEN pg_sleep(20)::text END AS late FROM big"
    with (
        pytest.raises(SourceError, match="longer than its limit"),
        opened(query, {"n": "int64"}, statement_timeout_seconds=1.5) as stream,
    ):
        for _ in stream:
            pass


# --- Errors


def test_a_servers_error_is_told_without_the_query(rows):
    with pytest.raises(SourceError) as error:
        rows("SELECT fligth FROM (SELECT 1 AS flight) AS f", {"flight": "int64"})
    assert 'column "fligth" does not exist. Perhaps you meant' in str(error.value)
    assert "SELECT" not in str(error.value)


def test_a_missing_column_blocks_before_a_row_is_read(rows):
    with pytest.raises(SchemaBlocked, match=r"lacks declared columns: 'flight'; found: 'fligth'.*nearest: 'fligth'"):
        rows("SELECT 1 AS fligth", {"flight": "int64"})


def test_no_rows_are_no_batches(opened):
    with opened("SELECT n, at FROM big WHERE n < 0", {"n": "int64"}) as stream:
        assert stream.extra == ("at",)
        assert list(stream) == []


@pytest.mark.parametrize(("code", "attempts"), [("40001", 3), ("40P01", 3), ("53300", 3), ("22012", 1), ("42501", 1)])
@pytest.mark.parametrize("when", ["IMMUTABLE", "VOLATILE"])
def test_errors_that_pass_by_themselves_are_tried_again(rows, server, naps, code, attempts, when):
    # An immutable function fails while the query is planned, a volatile one while it runs: there the code is lost.
    message = "could not serialize access" if attempts > 1 else "no"
    server.execute(
        f"""CREATE OR REPLACE FUNCTION fail() RETURNS int {when} LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION '{message if when == "VOLATILE" else "no luck"}' USING ERRCODE = '{code}'; END $$"""
    )
    with pytest.raises(SourceError):
        rows("SELECT fail() AS n FROM seen RIGHT JOIN (SELECT 1 AS one) AS o ON true", {"n": "int64"}, retries=2)
    assert len(naps) == attempts - 1


CANARY = "c4nary-s3cret"


@pytest.fixture
def guarded_role(server):
    """A role that must give a password."""
    access = Path(server.execute("SELECT current_setting('hba_file')")[0][0])
    before = access.read_text()
    server.execute("DROP ROLE IF EXISTS bob", "CREATE ROLE bob LOGIN PASSWORD 'right-word'")
    access.write_text(f"local all bob scram-sha-256\n{before}")
    server.execute("SELECT pg_reload_conf()")
    yield "bob"
    access.write_text(before)
    server.execute("SELECT pg_reload_conf()", "DROP ROLE bob")


def assert_untold(error, secret):
    everything = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "in open_source" in everything
    assert secret not in everything.split("in open_source")[-1]
    assert secret not in str(error) + repr(error)
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_wrong_password_is_not_told(rows, server, guarded_role, naps):
    with pytest.raises(SourceError, match="password authentication failed") as error:
        rows("SELECT 1 AS n", {"n": "int64"}, uri=server.uri_of("bob", CANARY), retries=3)
    assert_untold(error.value, CANARY)
    # It would be as wrong the next time.
    assert naps == []


def test_the_right_password_opens_and_is_not_told_when_the_query_fails(rows, server, guarded_role):
    uri = server.uri_of("bob", "right-word")
    assert rows("SELECT 1 AS n", {"n": "int64"}, uri=uri)[0] == [{"n": 1}]
    with pytest.raises(SourceError, match="permission denied for table big") as error:
        rows("SELECT n FROM big", {"n": "int64"}, uri=uri)
    assert_untold(error.value, "right-word")


def test_a_port_where_nobody_listens(rows, naps):
    uri = f"postgresql://bob:{CANARY}@127.0.0.1:1/shop"
    with pytest.raises(SourceError, match=r"could not connect.*Connection refused.*\(3 attempts\)") as error:
        rows("SELECT 1 AS n", {"n": "int64"}, uri=uri, retries=2)
    assert len(naps) == 2
    assert_untold(error.value, CANARY)
    assert "environment variable LAMPLIGHTER_TEST_URI" in str(error.value)


def test_a_server_that_ends_the_session_in_the_middle_is_for_the_caller_to_restart(opened, server):
    end_it = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%FROM big AS endless%' AND pid <> pg_backend_pid()"
    query = "SELECT endless.n FROM big AS endless, big AS b"
    with opened(query, {"n": "int64"}, retries=3) as stream:
        next(stream)
        server.execute(end_it)
        with pytest.raises(SourceUnavailable) as error:
            for _ in stream:
                pass
    assert error.value.transient


def test_a_session_that_is_ended_before_the_first_row_is_tried_again(rows, server, monkeypatch):
    end_it = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%AS slowly%' AND pid <> pg_backend_pid()"
    server.execute(
        "CREATE TABLE IF NOT EXISTS wait (seconds float)", "DELETE FROM wait", "INSERT INTO wait VALUES (20)"
    )
    query = "SELECT 1 AS n FROM wait AS slowly, pg_sleep(seconds)"

    def end_when_it_runs():
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and not server.execute(end_it):
            pass
        server.execute("UPDATE wait SET seconds = 0")

    killer = threading.Thread(target=end_when_it_runs)
    waits = []
    monkeypatch.setattr(problems, "_sleep", lambda seconds: (waits.append(seconds), killer.join()))
    killer.start()
    found, _ = rows(query, {"n": "int64"}, retries=1)
    assert found == [{"n": 1}]
    assert len(waits) == 1
