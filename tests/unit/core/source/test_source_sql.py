import contextlib
import datetime as dt
import sqlite3
import traceback

import pyarrow as pa
import pytest

from tasks.core.definitions.binds import binds_of, spell_binds
from tasks.core.definitions.column_types import parse_type
from tasks.core.definitions.source import SqlSource
from tasks.core.definitions.window import Window, WindowSpec
from tasks.core.errors import DefinitionError, JobError, SchemaBlocked, SourceError
from tasks.core.rows.conform import conform
from tasks.core.secret_parts import secrets_in
from tasks.core.source import SourceUnavailable, open_source, problems, rebatch, retry
from tasks.core.source.problems import mask, mask_quoted, whole_address
from tasks.core.storage import Folder

DAY = Window("2013-07-01", dt.datetime(2013, 7, 1, 4, tzinfo=dt.UTC), dt.datetime(2013, 7, 2, 4, tzinfo=dt.UTC))
KNOWN_AT = dt.datetime(2013, 7, 2, 6, 30, tzinfo=dt.UTC)


@pytest.fixture
def naps(monkeypatch):
    """How long each wait before a new attempt would have been."""
    taken = []
    monkeypatch.setattr(problems, "_sleep", taken.append)
    return taken


@pytest.fixture
def database(tmp_path):
    connection = sqlite3.connect(tmp_path / "w.sqlite", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    yield connection
    connection.close()


def pulled(folder, query, columns, *, window=DAY, batch_rows=1_000, **fields):
    """The batches of a query, as the driver gives them."""
    fields = {"driver": "sqlite", "uri": "w.sqlite", "retries": 0, **fields}
    source = SqlSource(type="sql", query=query, **fields)
    schema = pa.schema([(name, parse_type(kind)) for name, kind in columns.items()])
    with open_source(
        source,
        query=query,
        window=window,
        known_at=KNOWN_AT,
        columns=schema,
        event_time=None,
        project=Folder(folder),
        batch_rows=batch_rows,
    ) as stream:
        return list(stream)


def conformed(folder, query, columns, **options):
    """The rows of a query in the declared types, and row, column and value of each rejection."""
    schema = pa.schema([(name, parse_type(kind)) for name, kind in columns.items()])
    rows, rejected, first = [], [], 0
    for batch in pulled(folder, query, columns, **options):
        result, reasons = conform(batch, schema, first)
        rows += result.to_pylist()
        rejected += [(row, reason.column, reason.value) for row, reason in reasons]
        first += batch.num_rows
    return rows, rejected


# --- SQLite


def test_the_declared_types_decide_not_the_first_rows(tmp_path, database):
    database.execute("CREATE TABLE t (id INTEGER, late_text TEXT, temp)")
    database.executemany("INSERT INTO t VALUES (?, ?, ?)", [(n, None, None) for n in range(25_000)])
    database.execute("INSERT INTO t VALUES (25000, 'N725MQ', 80.6)")
    rows, rejected = conformed(
        tmp_path,
        "SELECT * FROM t ORDER BY id",
        {"id": "int64", "late_text": "string", "temp": "float64"},
        batch_rows=20_000,
    )
    assert len(rows) == 25_001
    assert rows[0] == {"id": 0, "late_text": None, "temp": None}
    assert rows[-1] == {"id": 25_000, "late_text": "N725MQ", "temp": 80.6}
    assert rejected == []


def test_a_text_in_a_column_of_numbers_costs_one_row(tmp_path, database):
    database.execute("CREATE TABLE t (n)")
    database.executemany("INSERT INTO t VALUES (?)", [(1,), ("many",), (None,), (2.5,), ("7",), (b"8",), (b"\xff",)])
    rows, rejected = conformed(tmp_path, "SELECT n FROM t", {"n": "int64"})
    assert [row["n"] for row in rows] == [1, None, None, None, 7, 8, None]
    assert rejected == [(1, "n", "'many'"), (3, "n", "'2.5'"), (6, "n", "b'\\xff'")]


def test_huge_numbers_are_exact_or_rejected(tmp_path, database):
    database.execute("CREATE TABLE t (n)")
    # SQLite itself makes a float of 2^63; 2^53 + 1 is the first whole number that a float does not hold.
    database.execute("INSERT INTO t VALUES (9223372036854775807), (-9223372036854775808), (9007199254740993)")
    rows, rejected = conformed(tmp_path, "SELECT n FROM t", {"n": "int64"})
    assert [row["n"] for row in rows] == [2**63 - 1, -(2**63), 2**53 + 1]
    assert rejected == []
    _, rejected = conformed(tmp_path, "SELECT n FROM t", {"n": "float64"})
    assert [row for row, _, _ in rejected] == [0, 1, 2]
    rows, rejected = conformed(
        tmp_path, "SELECT 9223372036854775808 AS n UNION ALL SELECT 9007199254740993", {"n": "int64"}
    )
    assert [row["n"] for row in rows] == [None, 2**53 + 1]
    assert rejected == [(0, "n", "'9.223372036854776e+18'")]


def test_numbers_in_a_column_of_text_keep_how_they_are_written(tmp_path, database):
    database.execute("CREATE TABLE t (x)")
    database.executemany("INSERT INTO t VALUES (?)", [("a",), (1,), (1.5,), ("ü",), (b"caf\xe9",)])
    rows, rejected = conformed(tmp_path, "SELECT x FROM t", {"x": "string"})
    assert [row["x"] for row in rows] == ["a", "1", "1.5", "ü", None]
    assert rejected == [(4, "x", "b'caf\\xe9'")]
    rows, _ = conformed(tmp_path, "SELECT 1 AS x UNION ALL SELECT 2.5", {"x": "string"})
    assert [row["x"] for row in rows] == ["1", "2.5"]


def test_instants_blobs_and_nothing(tmp_path, database):
    rows, rejected = conformed(
        tmp_path,
        "SELECT datetime('2013-07-01 04:00') AS t, date('2013-07-01') AS d, x'ff00' AS b, 1 = 1 AS yes",
        {"t": "timestamp", "d": "date", "b": "binary", "yes": "bool"},
    )
    instant = dt.datetime(2013, 7, 1, 4, tzinfo=dt.UTC)
    assert rows == [{"t": instant, "d": dt.date(2013, 7, 1), "b": b"\xff\x00", "yes": True}]
    assert rejected == []
    assert pulled(tmp_path, "SELECT 1 AS n WHERE 1 = 0", {"n": "int64"}) == []


def test_the_window_is_bound_as_sqlite_writes_instants(tmp_path, database):
    database.execute("CREATE TABLE t (at TEXT)")
    times = ["2013-07-01 03:59:59", "2013-07-01 04:00:00", "2013-07-02 03:59:59", "2013-07-02 04:00:00"]
    database.executemany("INSERT INTO t VALUES (?)", [(time,) for time in times])
    rows, _ = conformed(
        tmp_path,
        "SELECT at, :as_of AS as_of_text, date(:as_of, '+1 day') AS next FROM t WHERE at >= :start AND at < :end",
        {"at": "timestamp", "as_of_text": "string", "next": "date"},
    )
    assert [row["at"].day for row in rows] == [1, 2]
    assert rows[0]["as_of_text"] == "2013-07-01"
    assert rows[0]["next"] == dt.date(2013, 7, 2)


def test_what_was_known_is_bound_as_sqlite_writes_instants(tmp_path, database):
    database.execute("CREATE TABLE t (ingested_at TEXT)")
    times = ["2013-07-02 06:29:59", "2013-07-02 06:30:00", "2013-07-02 06:30:01"]
    database.executemany("INSERT INTO t VALUES (?)", [(time,) for time in times])
    query = "SELECT count(*) AS known, :known_at AS at FROM t WHERE ingested_at <= :known_at"
    rows, _ = conformed(tmp_path, query, {"known": "int64", "at": "string"})
    assert rows == [{"known": 2, "at": "2013-07-02 06:30:00"}]


def test_a_days_window_in_new_york_follows_the_clock_change(tmp_path, database):
    window = WindowSpec(kind="interval", timezone="America/New_York").parse("2013-03-10")
    rows, _ = conformed(tmp_path, "SELECT :start AS s, :end AS e", {"s": "timestamp", "e": "timestamp"}, window=window)
    assert (rows[0]["e"] - rows[0]["s"]) == dt.timedelta(hours=23)


def test_as_of_is_a_value_whatever_it_says(tmp_path, database):
    database.execute("CREATE TABLE t (n)")
    nasty = "x'; DROP TABLE t; --"
    window = Window(nasty, DAY.start, DAY.end)
    rows, _ = conformed(tmp_path, "SELECT :as_of AS a", {"a": "string"}, window=window)
    assert rows == [{"a": nasty}]
    assert database.execute("SELECT count(*) FROM t").fetchone() == (0,)


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO t VALUES (1) RETURNING n",
        "DELETE FROM t RETURNING n",
        "CREATE TABLE u AS SELECT 1 AS n",
        "PRAGMA user_version = 5",
    ],
)
def test_a_query_cannot_write(tmp_path, database, query):
    database.execute("CREATE TABLE t (n)")
    database.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(SourceError, match=r"tries to write, and a source is read only|gives no rows"):
        pulled(tmp_path, query, {"n": "int64"})
    assert database.execute("SELECT count(*) FROM t").fetchone() == (1,)
    assert database.execute("PRAGMA user_version").fetchone() == (0,)


def test_a_query_cannot_reach_another_file(tmp_path, database, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="too many attached databases"):
        pulled(tmp_path, "ATTACH DATABASE 'other.sqlite' AS other", {"n": "int64"})
    assert not (tmp_path / "other.sqlite").exists()


def test_two_statements_are_refused(tmp_path, database):
    with pytest.raises(SourceError, match="one statement"):
        pulled(tmp_path, "SELECT 1 AS n; SELECT 2 AS n", {"n": "int64"})


ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT"


def test_a_query_that_computes_for_too_long_is_stopped(tmp_path, database):
    with pytest.raises(SourceError, match=r"longer than its limit of 0.2 s.*statement_timeout_seconds"):
        pulled(tmp_path, f"{ENDLESS} max(n) AS n FROM c", {"n": "int64"}, statement_timeout_seconds=0.2)


def test_a_query_that_never_stops_giving_rows_is_stopped(tmp_path, database):
    with pytest.raises(SourceError, match="longer than its limit"):
        pulled(tmp_path, f"{ENDLESS} n FROM c", {"n": "int64"}, statement_timeout_seconds=0.3)


def test_a_missing_database_file_is_named_and_not_created(tmp_path):
    with pytest.raises(SourceError, match=r"SQLite database .*nowhere.sqlite does not exist"):
        pulled(tmp_path, "SELECT 1 AS n", {"n": "int64"}, uri="nowhere.sqlite")
    assert not (tmp_path / "nowhere.sqlite").exists()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "w.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SourceError, match="file is not a database"):
        pulled(tmp_path, "SELECT * FROM t", {"n": "int64"})


def test_paths_may_be_absolute_and_may_hold_odd_characters(tmp_path):
    odd = tmp_path / "a ?#% b.sqlite"
    with contextlib.closing(sqlite3.connect(odd)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        connection.commit()
    assert conformed("/nowhere", "SELECT n FROM t", {"n": "int64"}, uri=str(odd))[0] == [{"n": 1}]
    assert conformed(tmp_path, "SELECT n FROM t", {"n": "int64"}, uri="./a ?#% b.sqlite")[0] == [{"n": 1}]


def test_a_path_does_not_leave_the_project(tmp_path):
    with pytest.raises(DefinitionError, match="not a path inside"):
        pulled(tmp_path, "SELECT 1 AS n", {"n": "int64"}, uri="../w.sqlite")


def test_a_locked_database_is_tried_again_until_it_is_free(tmp_path, database, monkeypatch, naps):
    monkeypatch.setattr("tasks.core.source.sqlite._WAIT_FOR_LOCK_SECONDS", 0.0)
    database.execute("CREATE TABLE t (n)")
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceError, match=r"database is locked \(3 attempts\)"):
        pulled(tmp_path, "SELECT n FROM t", {"n": "int64"}, retries=2)
    assert len(naps) == 2
    monkeypatch.setattr(problems, "_sleep", lambda _: database.execute("COMMIT"))
    assert pulled(tmp_path, "SELECT n FROM t", {"n": "int64"}, retries=1) == []


def numbers(tmp_path, query):
    """The stream of a query whose one declared column is `n`, in batches of ten rows."""
    return open_source(
        SqlSource(type="sql", driver="sqlite", uri="w.sqlite", query=query),
        query=query,
        window=DAY,
        known_at=KNOWN_AT,
        columns=pa.schema([("n", pa.int64())]),
        event_time=None,
        project=Folder(tmp_path),
        batch_rows=10,
    )


def test_a_pull_sees_one_state_of_the_database(tmp_path, database):
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE t (n)")
    database.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(100)])
    with numbers(tmp_path, "SELECT n FROM t") as stream:
        seen = next(stream).num_rows
        database.execute("INSERT INTO t SELECT n + 1000 FROM t")
        seen += sum(batch.num_rows for batch in stream)
    assert seen == 100
    assert database.execute("SELECT count(*) FROM t").fetchone() == (200,)


def test_a_missing_column_blocks_before_a_row_is_read(tmp_path, database):
    with pytest.raises(SchemaBlocked, match=r"lacks declared columns: 'flight'; found: 'fligth'.*nearest: 'fligth'"):
        pulled(tmp_path, "SELECT 1 AS fligth", {"flight": "int64"})
    with pytest.raises(SchemaBlocked, match="more than once: 'n'"):
        pulled(tmp_path, "SELECT 1 AS n, 2 AS n", {"n": "int64"})


def test_extra_columns_are_named(tmp_path, database):
    with numbers(tmp_path, "SELECT 1 AS a, 2 AS n, 3 AS b") as stream:
        assert stream.extra == ("a", "b")
        assert [batch.to_pydict() for batch in stream] == [{"n": [2]}]


# --- Another ADBC driver


def test_any_adbc_driver_is_read_with_bound_instants(tmp_path):
    pytest.importorskip("adbc_driver_duckdb")
    query = """
        SELECT range AS n, :as_of AS label, :end - :start AS length
        FROM range(5000) WHERE TIMESTAMPTZ '2013-07-01 00:00:00-04' = :start AND '12:30' != ' :nothing'
    """
    batches = pulled(
        tmp_path, query, {"n": "int64", "label": "string"}, driver="duckdb", uri=str(tmp_path / "w.duckdb")
    )
    assert sum(batch.num_rows for batch in batches) == 5_000
    assert max(batch.num_rows for batch in batches) <= 1_000
    assert batches[0]["label"][0].as_py() == "2013-07-01"


def test_a_driver_that_is_not_installed_says_what_to_install(tmp_path):
    with pytest.raises(DefinitionError, match=r"'snowflake'.*not installed.*pip install 'adbc-driver-snowflake'"):
        pulled(tmp_path, "SELECT 1", {"n": "int64"}, driver="snowflake", uri="x")
    with pytest.raises(DefinitionError, match="not installed"):
        pulled(tmp_path, "SELECT 1", {"n": "int64"}, driver="manager", uri="/lib/evil.so")


def test_the_missing_postgresql_driver_is_an_extra_of_ours(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(DefinitionError, match=r"pip install 'lamplighter\[postgresql\]'"):
        pulled(tmp_path, "SELECT 1", {"n": "int64"}, driver="postgresql", uri="postgresql://h/d")


# --- Binds


@pytest.mark.parametrize(
    ("query", "spelt"),
    [
        ("a >= :start AND a < :end", "a >= <start> AND a < <end>"),
        (":as_of::date, x::text, :start", "<as_of>::date, x::text, <start>"),
        ("SELECT '12:30', ':name', \"a:b\", `c:d`", "SELECT '12:30', ':name', \"a:b\", `c:d`"),
        ("SELECT 'it''s :x', E'it\\'s :y', :end", "SELECT 'it''s :x', E'it\\'s :y', <end>"),
        ("-- not :this\n:start /* nor\n:that */", "-- not :this\n<start> /* nor\n:that */"),
        ("$$ :no $$, $t$ :no $$ :no $t$, :end", "$$ :no $$, $t$ :no $$ :no $t$, <end>"),
        (r"array[1:2], a[x:y], \:kept, f(\:kept)", "array[1:2], a[x:y], :kept, f(:kept)"),
        ("SELECT 100%, a % 2, :end", "SELECT 100%, a % 2, <end>"),
        (":start/:start", "<start>/<start>"),
    ],
)
def test_only_binds_are_replaced(query, spelt):
    assert spell_binds(query, lambda name: f"<{name}>") == spelt


def test_the_binds_of_a_query():
    query = "SELECT ':name', x::text -- :this\nFROM t WHERE at < :end AND ingested_at <= :known_at AND :end > :start"
    assert binds_of(query) == {"start", "end", "known_at"}
    assert binds_of("SELECT :begin") == {"begin"}
    assert binds_of("") == set()


def test_an_unknown_bind_is_named_with_the_way_to_write_a_colon():
    with pytest.raises(JobError) as error:
        spell_binds("SELECT :begin", str)
    assert "binds :begin" in str(error.value)
    assert ":start, :end, :as_of, :known_at" in str(error.value)
    assert r"\:begin" in str(error.value)
    assert error.value.exit_code == 2


# --- Addresses and secrets


def test_a_missing_address_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_SUCH_URI", raising=False)
    with pytest.raises(DefinitionError, match="environment variable NO_SUCH_URI"):
        pulled(tmp_path, "SELECT 1 AS n", {"n": "int64"}, uri=None, uri_env="NO_SUCH_URI")
    with pytest.raises(DefinitionError, match="no blocks are read here"):
        pulled(tmp_path, "SELECT 1 AS n", {"n": "int64"}, uri=None, uri_block="warehouse")


def test_an_address_may_come_from_the_environment_or_a_block(tmp_path, monkeypatch, database):
    monkeypatch.setenv("WAREHOUSE", "w.sqlite")
    rows, _ = conformed(tmp_path, "SELECT 1 AS n", {"n": "int64"}, uri=None, uri_env="WAREHOUSE")
    assert rows == [{"n": 1}]
    source = SqlSource(type="sql", driver="sqlite", uri_block="house", query="SELECT 1 AS n")
    asked = []
    with open_source(
        source,
        query=source.query,
        window=DAY,
        known_at=KNOWN_AT,
        columns=pa.schema([("n", pa.int64())]),
        event_time=None,
        project=Folder(tmp_path),
        batch_rows=10,
        read_block=lambda name: asked.append(name) or "w.sqlite",
    ) as stream:
        assert next(stream).num_rows == 1
    assert asked == ["house"]


CANARY = "c4nary/p@ss:w#rd"


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://bob:{CANARY}@127.0.0.1:1/shop",
        "postgresql://bob:c4nary%2Fp%40ss@127.0.0.1:1/shop",
        f"host=127.0.0.1 port=1 password='{CANARY}' user=bob",
        "postgresql://127.0.0.1:1/shop?user=bob&password=c4nary",
        f"c4nary {CANARY}",
        f"postgresql://bob:{CANARY}@[::1:1/shop",
    ],
)
def test_no_part_of_an_address_is_ever_told(tmp_path, monkeypatch, naps, address):
    pytest.importorskip("adbc_driver_postgresql")
    monkeypatch.setenv("WAREHOUSE", address)
    with pytest.raises(SourceError) as error:
        pulled(tmp_path, "SELECT 1 AS n", {"n": "int64"}, driver="postgresql", uri=None, uri_env="WAREHOUSE", retries=1)
    told = error.value
    # A debugger's view: locals of every frame, and whatever error lies behind.
    everything = "".join(traceback.TracebackException.from_exception(told, capture_locals=True).format()) + repr(told)
    assert "in open_source" in everything
    ours = everything.split("in open_source")[-1]
    for piece in ("c4nary", "c4n", "p@ss", "w#rd", "p%40ss"):
        assert piece not in str(told)
        assert piece not in ours
    assert "environment variable WAREHOUSE" in str(told)
    assert told.__cause__ is None
    assert told.__context__ is None


def test_masks_hide_what_a_message_shares_with_a_secret():
    address = "postgresql://bob:hunter22@db.example.com:5432/shop"
    message = 'connection to server at "db.example.com", port 5432 failed: no password for user "bob"'
    assert mask_quoted(message, whole_address(address)) == (
        'connection to server at "***", port *** failed: no password for user "***"'
    )
    assert mask('could not translate host name "ter22"', ["hunter22"]) == 'could not translate host name "***"'
    assert mask("the key is x9", ["x9"]) == "the key is ***"
    assert mask("nothing to hide", [""]) == "nothing to hide"


def test_secrets_are_found_in_addresses():
    assert secrets_in("postgresql://bob:a%40b@h/d?sslpassword=zzz&sslmode=require") == ["a%40b", "zzz", "a@b"]
    assert secrets_in("host=h password='a b' user=u") == ["a b"]
    assert secrets_in("snowflake://u:p@acc/db?private_key=kkk") == ["p", "kkk"]
    assert secrets_in("postgresql://bob@h:5432/d") == []


# --- Retries and batches


def test_retries_wait_longer_each_time_and_tell_how_many_there_were(naps):
    calls = []

    def fail():
        calls.append(1)
        raise SourceUnavailable("refused.", next_step="look")

    with pytest.raises(SourceError, match=r"refused \(4 attempts\)\. Next: look") as error:
        retry(fail, 3)
    assert not isinstance(error.value, SourceUnavailable)
    assert len(calls) == 4
    assert [low <= nap <= 3 * low for nap, low in zip(naps, (0.25, 0.5, 1.0), strict=True)] == [True] * 3


def test_other_errors_are_not_retried(naps):
    def fail():
        raise SourceError("wrong")

    with pytest.raises(SourceError, match="wrong"):
        retry(fail, 3)
    assert naps == []


def test_an_error_of_the_callers_is_not_taken_for_the_sources(tmp_path, database, naps):
    source = SqlSource(type="sql", driver="sqlite", uri="w.sqlite", query="SELECT 1 AS n", retries=3)
    with (
        pytest.raises(ZeroDivisionError),
        open_source(
            source,
            query=source.query,
            window=DAY,
            known_at=KNOWN_AT,
            columns=pa.schema([("n", pa.int64())]),
            event_time=None,
            project=Folder(tmp_path),
            batch_rows=10,
        ),
    ):
        _ = 1 / 0
    assert naps == []


def test_the_connection_is_closed_whether_the_rows_were_read_or_not(tmp_path, database):
    database.execute("CREATE TABLE t (n)")
    database.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(50)])
    source = SqlSource(type="sql", driver="sqlite", uri="w.sqlite", query="SELECT n FROM t")

    class BodyError(Exception):
        pass

    for error in (None, BodyError):
        with (
            contextlib.suppress(BodyError),
            open_source(
                source,
                query=source.query,
                window=DAY,
                known_at=KNOWN_AT,
                columns=pa.schema([("n", pa.int64())]),
                event_time=None,
                project=Folder(tmp_path),
                batch_rows=10,
            ) as stream,
        ):
            next(stream)
            if error:
                raise error
        # An exclusive lock is given only when nobody reads.
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")


def test_rebatch_makes_equal_batches_of_the_same_rows():
    batches = [
        pa.RecordBatch.from_pydict({"n": pa.array(range(first, last), pa.int64())})
        for first, last in ((0, 3), (3, 3), (3, 10))
    ]
    assert [batch["n"].to_pylist() for batch in rebatch(batches, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [batch.num_rows for batch in rebatch(batches, 5)] == [5, 5]
    assert list(rebatch([], 5)) == []
