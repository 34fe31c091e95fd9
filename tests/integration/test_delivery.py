"""Deliveries to a real PostgreSQL: what its table has is what readers of the lake see, whatever happens on the way."""

import contextlib
import datetime as dt
import decimal
import os
import re
import signal
import threading
import warnings

import pyarrow as pa
import pytest

from tasks.core import layout
from tasks.core.delivery import delivering, state
from tasks.core.delivery.delivering import Deliverer
from tasks.core.delivery.postgresql import Entry, Target
from tasks.core.errors import DefinitionError, NotDelivered, SourceError
from tasks.core.source import problems
from tasks.core.source.address import address_of
from tests.delivery_tools import NOON, a_job, a_schema, publish, rows_of, withdraw

DAY, NEXT_DAY = "2024-05-01", "2024-05-02"
LEDGER = "lamplighter_deliveries"


@pytest.fixture
def schema(postgresql, monkeypatch):
    """A schema of the test's own; TARGET_URI is the server."""
    with a_schema(postgresql, monkeypatch) as name:
        yield name


@pytest.fixture
def job(schema):
    return a_job(f"{schema}.scores")


@pytest.fixture
def table(postgresql, schema):
    """By window: rows and the sum of the scores, as the table has them."""

    def seen(name="scores"):
        rows = postgresql.execute(f"SELECT as_of, count(*), sum(probability) FROM {schema}.{name} GROUP BY 1")
        return {as_of: (count, total) for as_of, count, total in rows}

    return seen


@pytest.fixture
def ledger(postgresql, schema):
    def entries():
        rows = postgresql.execute(
            f"SELECT job, as_of, table_name, run_id, rows, sha256 FROM {schema}.{LEDGER} ORDER BY 1, 2, 3"
        )
        return [tuple(row) for row in rows]

    return entries


@pytest.fixture
def naps(monkeypatch):
    taken = []
    monkeypatch.setattr(problems, "_sleep", taken.append)
    return taken


def outcomes(done):
    return {one.as_of: one.outcome for one in done.windows}


# --- What readers of the lake see


def test_the_first_delivery_makes_the_tables_and_a_second_does_nothing(lake, job, table, ledger, postgresql, schema):
    published = publish(lake, job, DAY, "r1", 130, 0.5)
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "delivered"}

    assert table() == {DAY: (130, 65.0)}
    sha256 = published.files[layout.PREDICTIONS].sha256
    assert ledger() == [("churn", DAY, "scores", "r1", 130, sha256)]
    described = postgresql.execute(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
        f"WHERE table_schema = '{schema}' AND table_name = 'scores' ORDER BY ordinal_position"
    )
    assert [tuple(one) for one in described] == [
        ("as_of", "text", "NO"),
        ("customer", "bigint", "YES"),
        ("window_start", "timestamp with time zone", "YES"),
        ("probability", "double precision", "YES"),
        ("model_version", "text", "YES"),
        ("run_id", "text", "YES"),
        ("scored_at", "timestamp with time zone", "YES"),
    ]
    record = state.read(lake, "churn", DAY)
    assert (record.state, record.run_id, record.rows, record.sha256) == ("delivered", "r1", 130, sha256)
    assert state.shortfall(lake, job, DAY) is None

    (before,) = postgresql.execute(f"SELECT min(xmin::text), max(xmin::text) FROM {schema}.scores")
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "already"}
    assert outcomes(Deliverer(lake, job).deliver_all()) == {DAY: "already"}
    (after,) = postgresql.execute(f"SELECT min(xmin::text), max(xmin::text) FROM {schema}.scores")
    assert after == before


def test_what_is_published_again_with_fewer_rows_or_none_replaces_the_window_alone(lake, job, table, ledger):
    publish(lake, job, DAY, "r1", 130)
    publish(lake, job, NEXT_DAY, "r2", 10)
    assert outcomes(Deliverer(lake, job).deliver([DAY], others=1)) == {DAY: "delivered", NEXT_DAY: "delivered"}

    publish(lake, job, DAY, "r3", 4, 0.25)
    assert state.shortfall(lake, job, DAY) == f"the table {job.output.sql.table} has still the rows of run r1"
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "delivered"}
    assert table() == {DAY: (4, 1.0), NEXT_DAY: (10, 5.0)}

    publish(lake, job, DAY, "r4", 0)
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "delivered"}
    assert table() == {NEXT_DAY: (10, 5.0)}
    assert [one[3:5] for one in ledger()] == [("r4", 0), ("r2", 10)]


def test_what_is_withdrawn_leaves_the_table_and_what_is_restored_comes_back(lake, job, table, ledger):
    publish(lake, job, DAY, "r1", 3)
    publish(lake, job, NEXT_DAY, "r2", 5)
    Deliverer(lake, job).deliver([DAY, NEXT_DAY])

    withdraw(lake, job, DAY)
    publish(lake, job, NEXT_DAY, "r0", 4)
    assert "readers of the lake no longer see" in state.shortfall(lake, job, DAY)
    assert outcomes(Deliverer(lake, job).deliver([DAY, NEXT_DAY])) == {DAY: "removed", NEXT_DAY: "delivered"}

    assert table() == {NEXT_DAY: (4, 2.0)}
    assert [one[3:5] for one in ledger()] == [(None, 0), ("r0", 4)]
    assert state.shortfall(lake, job, DAY) is None
    assert state.sentence(lake, job, DAY) == f"{job.output.sql.table} has no row of this window"
    assert outcomes(Deliverer(lake, job).deliver_all()) == {DAY: "already", NEXT_DAY: "already"}
    publish(lake, job, DAY, "r5", 2)
    assert outcomes(Deliverer(lake, job).deliver_all()) == {DAY: "delivered", NEXT_DAY: "already"}
    assert table() == {DAY: (2, 1.0), NEXT_DAY: (4, 2.0)}


def test_a_window_is_taken_out_whatever_its_columns_are_by_now(lake, job, table, postgresql, schema):
    publish(lake, job, DAY, "r1", 3)
    Deliverer(lake, job).deliver([DAY])
    postgresql.execute(f"ALTER TABLE {schema}.scores DROP COLUMN model_version")
    withdraw(lake, job, DAY)
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "removed"}
    assert table() == {}


def test_a_run_brings_others_up_too_but_not_all_at_once(lake, job, table, monkeypatch):
    for day in range(1, 8):
        publish(lake, job, f"2024-04-0{day}", f"r{day}", 1)
    publish(lake, job, DAY, "r9", 1)
    done = Deliverer(lake, job).deliver([DAY], others=3)
    assert (sorted(table()), done.left) == (["2024-04-01", "2024-04-02", "2024-04-03", DAY], 4)
    assert str(done).endswith("4 windows delivered; 4 more are behind: lamplighter deliver churn")
    assert (
        state.shortfall(lake, job, "2024-04-07")
        == f"its rows were not yet delivered to the table {job.output.sql.table}"
    )
    done = Deliverer(lake, job).deliver_all()
    assert (len(table()), done.left) == (8, 0)


def test_a_table_is_for_one_lake_until_somebody_hands_it_over(lake, job, table, tmp_path, postgresql):
    publish(lake, job, DAY, "r1", 3)
    publish(lake, job, NEXT_DAY, "r2", 3)
    Deliverer(lake, job).deliver_all()
    elsewhere = type(lake)(tmp_path / "elsewhere")
    publish(elsewhere, job, DAY, "r1", 2)
    (failed,) = Deliverer(elsewhere, job).deliver([DAY], others=9).failed
    assert f"gets the rows of 'churn' from another lake, of id {state.lake_id(lake)}" in failed.why
    # The same run is of another lake all the same.
    withdraw(elsewhere, job, DAY)
    assert Deliverer(elsewhere, job).deliver([DAY]).failed
    with pytest.raises(NotDelivered, match="one table is for one lake"):
        Deliverer(elsewhere, job).deliver_all()
    assert table() == {DAY: (3, 1.5), NEXT_DAY: (3, 1.5)}

    publish(elsewhere, job, DAY, "r1", 2)
    postgresql.execute(failed.next_step.partition("place: ")[2].partition(";")[0])
    assert outcomes(Deliverer(elsewhere, job).deliver_all()) == {DAY: "delivered", NEXT_DAY: "removed"}
    assert table() == {DAY: (2, 1.0)}


def test_a_damaged_file_is_not_delivered(lake, job, table):
    publish(lake, job, DAY, "r1", 3)
    Deliverer(lake, job).deliver([DAY])
    manifest = publish(lake, job, DAY, "r2", 5)
    path = lake.path(manifest.files[layout.PREDICTIONS].key)
    path.write_bytes(path.read_bytes().replace(b"r2", b"r3"))
    done = Deliverer(lake, job).deliver([DAY])
    assert "its SHA-256 differs" in done.failed[0].why
    assert table() == {DAY: (3, 1.5)}


def test_without_an_address_of_its_own_the_table_is_where_the_rows_come_from(lake, job, table):
    source = {"type": "sql", "driver": "postgresql", "uri_env": "TARGET_URI", "query": "SELECT 1"}
    given = job.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True) | {"source": source}
    del given["output"]["sql"]["uri_env"]
    shared = type(job).model_validate(given)
    assert not shared.output.sql.has_address
    publish(lake, shared, DAY, "r1", 2)
    assert outcomes(Deliverer(lake, shared).deliver([DAY])) == {DAY: "delivered"}
    assert table() == {DAY: (2, 1.0)}


# --- Types and names


EVERY_TYPE = {
    'Ein "Name", wie\'s kommt; -- %s $1': ("string", ["ü'\"\n\t\\N", "", None]),
    "select": ("string", ["\U0001f600", "NULL", "\\."]),
    "Flag": ("bool", [True, False, None]),
    "i8": ("int8", [-128, 127, None]),
    "i16": ("int16", [-32768, 32767, None]),
    "i32": ("int32", [-(2**31), 2**31 - 1, None]),
    "i64": ("int64", [-(2**63), 2**63 - 1, None]),
    "f32": ("float32", [0.5, -0.0, None]),
    "f64": ("float64", [0.1, 1e308, None]),
    "day": ("date", [dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    "clock": ("time", [dt.time(23, 59, 59, 999_999), dt.time(0), None]),
    "at": ("timestamp", [NOON, dt.datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC), None]),
    "local": ("timestamp_naive", [dt.datetime(2024, 3, 31, 2, 30), dt.datetime(1900, 1, 1), None]),
    "price": ("decimal(10, 2)", [decimal.Decimal("-12.50"), decimal.Decimal("99999999.99"), None]),
    "wide": ("decimal(38, 9)", [decimal.Decimal("12345678901234567890.123456789"), decimal.Decimal(0), None]),
    "raw": ("binary", [b"\x00\xff", b"", None]),
    "some": ("list<int64>", [[1, None, 3], [], None]),
    "words": ("list<string>", [["a", 'b "c"'], [None], None]),
}


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_every_type_and_name_arrives_as_it_is(lake, postgresql, schema, monkeypatch, encoding):
    columns = {name: kind for name, (kind, _) in EVERY_TYPE.items()}
    values = {name: given for name, (_, given) in EVERY_TYPE.items()}
    read = postgresql.execute
    if encoding != "UTF8":
        values["select"] = ["é", "NULL", "\\."]
        postgresql.execute(f"CREATE DATABASE {schema} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        uri = postgresql.uri.replace("/postgres?", f"/{schema}?")
        monkeypatch.setenv("TARGET_URI", uri)
        read = type(postgresql)(uri, postgresql.folder).execute
    job = a_job("scores", columns=columns, pass_through=list(columns))
    publish(lake, job, DAY, "r1", rows_of(job, "r1", 3, **values))
    assert Deliverer(lake, job).deliver([DAY]).failed == ()
    expressions = [
        f'"{name.replace(chr(34), chr(34) * 2)}"' + ("::text" if kind.startswith("decimal") else "")
        for name, kind in columns.items()
    ]
    found = read(
        "SET client_encoding TO 'UTF8'",
        f"SELECT {', '.join(expressions)} FROM public.scores ORDER BY customer",
    )
    try:
        for row, seen in enumerate(found):
            for name, got in zip(columns, seen, strict=True):
                expected = values[name][row]
                assert (decimal.Decimal(got) if isinstance(expected, decimal.Decimal) else got) == expected, name
    finally:
        read("DROP TABLE public.scores", f"DROP TABLE public.{LEDGER}")


@pytest.mark.parametrize(
    ("columns", "values", "says"),
    [
        ({"n" * 64: "string"}, ["a"], "names of at most 63 bytes, and there are longer ones: 'nnn"),
        ({"ü" * 32: "string"}, ["a"], "names of at most 63 bytes"),
        ({"nested": "list<list<int64>>"}, [[[1]]], r"no type for the columns 'nested' \(list<list<int64>>\)"),
        ({"name": "string"}, ["a\0b"], "'name' has 1 values with a character of code 0"),
        ({"names": "list<string>"}, [["\0"]], "'names' has 1 values with a character of code 0"),
        ({"ctid": "string"}, ["a"], 'column name "ctid" conflicts with a system column name'),
    ],
)
def test_what_postgresql_cannot_hold_is_said_and_changes_nothing(lake, schema, columns, values, says, postgresql):
    job = a_job(f"{schema}.scores", columns=columns, pass_through=list(columns))
    (name,) = columns
    publish(lake, job, DAY, "r1", rows_of(job, "r1", 1, **{name: values}))
    (failed,) = Deliverer(lake, job).deliver([DAY]).failed
    assert re.search(says, failed.why), failed.why
    assert failed.next_step.endswith(f"lamplighter deliver churn --as-of {DAY}")
    tables = postgresql.execute(f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'")
    assert tables[0][0] == 0


# --- A table that is there


def test_a_table_of_theirs_keeps_what_it_has_besides(lake, job, postgresql, schema):
    postgresql.execute(
        f"CREATE TABLE {schema}.scores (note text, run_id varchar(40), probability double precision, customer numeric(30), "
        "window_start timestamptz, model_version text, scored_at timestamptz, seen int NOT NULL DEFAULT 7, "
        "as_of text, id bigint GENERATED ALWAYS AS IDENTITY)",
        f"INSERT INTO {schema}.scores (as_of, note) VALUES ('2020-01-01', 'old')",
    )
    publish(lake, job, DAY, "r1", 2)
    assert Deliverer(lake, job).deliver([DAY]).failed == ()
    rows = postgresql.execute(f"SELECT as_of, note, customer::int, seen FROM {schema}.scores ORDER BY id")
    assert [tuple(row) for row in rows] == [("2020-01-01", "old", None, 7), (DAY, None, 0, 7), (DAY, None, 1, 7)]


def test_a_table_that_does_not_fit_is_told_with_the_sql_that_mends_it(lake, job, table, postgresql, schema):
    postgresql.execute(
        f"CREATE TABLE {schema}.scores (as_of date, customer integer, window_start timestamp, probability real, "
        "run_id text, scored_at timestamptz, owner text NOT NULL)"
    )
    publish(lake, job, DAY, "r1", 2)
    (failed,) = Deliverer(lake, job).deliver([DAY]).failed
    assert failed.why == (
        f"the table {schema}.scores cannot take the job's rows: its column 'as_of' is date, and must be text; its column "
        "'customer' is integer, and must be bigint; its column 'window_start' is timestamp without time zone, and must be "
        "timestamp with time zone; its column 'probability' is real, and must be double precision; it has no column "
        "'model_version' (text); its column 'owner' must have a value, and the job gives none"
    )
    mend = failed.next_step.removeprefix("whoever owns the table runs: ").partition("; then: ")[0]
    postgresql.execute(mend)
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "delivered"}
    assert table() == {DAY: (2, 1.0)}


def test_a_column_that_was_added_waits_for_the_table_and_old_files_for_nothing(lake, schema, postgresql):
    before = a_job(f"{schema}.scores")
    publish(lake, before, DAY, "r1", 2)
    Deliverer(lake, before).deliver([DAY])
    job = a_job(f"{schema}.scores", columns={"plan": "string"}, pass_through=["plan"])
    publish(lake, job, NEXT_DAY, "r2", rows_of(job, "r2", 1, plan=["gold"]))
    (failed,) = Deliverer(lake, job).deliver([NEXT_DAY]).failed
    assert "it has no column 'plan' (text)" in failed.why
    postgresql.execute(failed.next_step.removeprefix("whoever owns the table runs: ").partition("; then: ")[0])
    publish(lake, before, DAY, "r3", 1)
    assert outcomes(Deliverer(lake, job).deliver_all()) == {DAY: "delivered", NEXT_DAY: "delivered"}
    rows = postgresql.execute(f"SELECT as_of, plan FROM {schema}.scores ORDER BY 1")
    assert [tuple(row) for row in rows] == [(DAY, None), (NEXT_DAY, "gold")]


def test_a_view_is_no_table(lake, job, postgresql, schema):
    postgresql.execute(f"CREATE VIEW {schema}.scores AS SELECT 1 AS customer")
    publish(lake, job, DAY, "r1", 1)
    assert "is no table" in Deliverer(lake, job).deliver([DAY]).failed[0].why


def test_a_table_that_somebody_dropped_is_made_again_and_filled(lake, job, table, postgresql, schema):
    for day in (DAY, NEXT_DAY, "2024-05-03"):
        publish(lake, job, day, f"r{day}", 2)
    Deliverer(lake, job).deliver_all()
    postgresql.execute(f"DROP TABLE {schema}.scores")
    publish(lake, job, DAY, "r9", 1)
    done = Deliverer(lake, job).deliver([DAY], others=1)
    assert (sorted(table()), done.left) == ([DAY, NEXT_DAY], 1)
    # What a run leaves is not taken for delivered.
    assert "was found without the rows" in state.shortfall(lake, job, "2024-05-03")
    Deliverer(lake, job).deliver_all()
    assert sorted(table()) == [DAY, NEXT_DAY, "2024-05-03"]


def test_rows_that_somebody_deleted_come_back_when_they_are_asked_for(lake, job, table, postgresql, schema):
    publish(lake, job, DAY, "r1", 5)
    Deliverer(lake, job).deliver([DAY])
    postgresql.execute(f"DELETE FROM {schema}.scores WHERE customer > 2")
    assert outcomes(Deliverer(lake, job).deliver_all(DAY)) == {DAY: "delivered"}
    assert table() == {DAY: (5, 2.5)}


def test_two_jobs_cannot_share_a_table(lake, job, table):
    publish(lake, job, DAY, "r1", 2)
    Deliverer(lake, job).deliver([DAY])
    other = a_job(job.output.sql.table, "other")
    publish(lake, other, DAY, "r2", 9)
    (failed,) = Deliverer(lake, other).deliver([DAY]).failed
    assert "gets the rows of the job 'churn', and one table is for one job" in failed.why
    assert table() == {DAY: (2, 1.0)}


# --- Failures


def test_without_permission_nothing_is_made_and_the_next_step_says_what_is_needed(
    lake, job, postgresql, schema, monkeypatch
):
    postgresql.execute(f"CREATE ROLE reader_{schema} LOGIN PASSWORD 's3cr3t-word'")
    monkeypatch.setenv("TARGET_URI", postgresql.uri_of(f"reader_{schema}", "s3cr3t-word"))
    publish(lake, job, DAY, "r1", 2)
    (failed,) = Deliverer(lake, job).deliver([DAY]).failed
    assert f"permission denied for schema {schema}" in failed.why
    assert "let this user make tables" in failed.next_step
    assert "s3cr3t" not in state.read(lake, "churn", DAY).model_dump_json()
    # With the right to fill what others have made it goes.
    monkeypatch.setenv("TARGET_URI", postgresql.uri)
    Deliverer(lake, job).deliver([DAY])
    postgresql.execute(
        f"GRANT USAGE ON SCHEMA {schema} TO reader_{schema}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}",
    )
    monkeypatch.setenv("TARGET_URI", postgresql.uri_of(f"reader_{schema}", "s3cr3t-word"))
    publish(lake, job, DAY, "r2", 1)
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "delivered"}
    postgresql.execute(f"DROP OWNED BY reader_{schema}", f"DROP ROLE reader_{schema}")


def test_a_server_that_is_not_there_is_tried_again_and_then_recorded_without_its_address(
    lake, schema, naps, monkeypatch
):
    job = a_job("scores", retries=2)
    publish(lake, job, DAY, "r1", 2)
    monkeypatch.setenv("TARGET_URI", "postgresql://me:hunter22@127.0.0.1:1/db")
    done = Deliverer(lake, job).deliver([DAY], others=5)
    assert (len(naps), len(done.windows)) == (2, 1)
    record = state.read(lake, "churn", DAY)
    assert (record.state, record.attempts, record.run_id) == ("failed", 1, None)
    assert "could not connect" in record.reason
    assert "TARGET_URI" in record.reason
    assert "(3 attempts)" in record.reason
    assert "hunter22" not in record.model_dump_json()
    with pytest.raises(SourceError, match="could not connect"):
        Deliverer(lake, job).deliver_all()
    monkeypatch.delenv("TARGET_URI")
    with pytest.raises(
        DefinitionError, match=r"output\.sql takes its address from the environment variable TARGET_URI"
    ):
        Deliverer(lake, job).deliver_all()


def test_a_connection_that_breaks_in_the_middle_is_tried_again(lake, job, table, naps, monkeypatch, postgresql):
    publish(lake, job, DAY, "r1", 2)
    Deliverer(lake, job).deliver([DAY])
    publish(lake, job, DAY, "r2", 7)
    plain, broken = Target._insert, []

    def insert(self, *arguments):
        if len(broken) < 2:
            ((pid,),) = self._run("SELECT pg_backend_pid()")
            postgresql.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
            broken.append(pid)
        plain(self, *arguments)

    monkeypatch.setattr(Target, "_insert", insert)
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "delivered"}
    assert (len(naps), table()) == (2, {DAY: (7, 3.5)})


def test_a_table_that_others_hold_costs_the_time_limit_and_no_more(lake, job, table, postgresql, schema):
    publish(lake, job, DAY, "r1", 2)
    Deliverer(lake, job).deliver([DAY])
    publish(lake, job, DAY, "r2", 3)
    hasty = a_job(job.output.sql.table, statement_timeout_seconds=0.3)
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(postgresql.uri) as holder, holder.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {schema}.scores IN SHARE MODE")
        (failed,) = Deliverer(lake, hasty).deliver([DAY]).failed
        holder.rollback()
    assert "took longer than its limit of 0.3 s" in failed.why
    assert table() == {DAY: (2, 1.0)}
    assert outcomes(Deliverer(lake, hasty).deliver([DAY])) == {DAY: "delivered"}


def test_a_window_that_fails_again_and_again_waits_for_a_person(lake, schema, postgresql):
    job = a_job(f"{schema}.scores", columns={"name": "string"}, pass_through=["name"])
    publish(lake, job, DAY, "r1", rows_of(job, "r1", 1, name=["\0"]))
    for number in range(7):
        publish(lake, job, NEXT_DAY, f"ok{number}", rows_of(job, f"ok{number}", 1, name=["a"]))
        done = Deliverer(lake, job).deliver([NEXT_DAY], others=5)
    assert (outcomes(done), done.left) == ({NEXT_DAY: "delivered"}, 1)
    assert outcomes(Deliverer(lake, job).deliver_all()) == {DAY: "failed", NEXT_DAY: "already"}


def test_what_nobody_foresaw_of_one_window_keeps_no_other_from_its_delivery(lake, job, table, monkeypatch):
    publish(lake, job, DAY, "r1", 2)
    publish(lake, job, NEXT_DAY, "r2", 3)
    plain = Deliverer._replace

    def replace(self, as_of, *arguments, **options):
        if as_of == DAY:
            raise ZeroDivisionError("hunter22")
        return plain(self, as_of, *arguments, **options)

    monkeypatch.setattr(Deliverer, "_replace", replace)
    assert outcomes(Deliverer(lake, job).deliver_all()) == {DAY: "failed", NEXT_DAY: "delivered"}
    assert state.read(lake, "churn", DAY).reason == "ZeroDivisionError, which was not foreseen"


# --- Killed


def killed(action, where, name):
    """Runs the action in a fork that is killed as it comes to this method."""
    child = os.fork()
    if child == 0:
        setattr(where, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        with contextlib.suppress(BaseException):
            action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"it was never at {name}"


@pytest.mark.parametrize(
    ("where", "name", "old_stands"),
    [
        (Target, "_stage", True),
        (Target, "_claimed", True),
        (Target, "_insert", True),
        (Target, "_commit", True),
        (state, "write", False),
    ],
)
def test_killed_at_any_step_readers_see_the_old_or_the_new_and_the_next_one_ends_it(
    lake, job, table, ledger, where, name, old_stands
):
    publish(lake, job, DAY, "r1", 10, 0.5)
    Deliverer(lake, job).deliver([DAY])
    publish(lake, job, DAY, "r2", 6, 0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Of threads: this fork is a child that dies.
        killed(lambda: Deliverer(lake, job).deliver([DAY]), where, name)

    assert table() == {DAY: (10, 5.0) if old_stands else (6, 1.5)}
    assert [one[3:5] for one in ledger()] == [("r1", 10) if old_stands else ("r2", 6)]
    assert state.shortfall(lake, job, DAY) is not None
    assert outcomes(Deliverer(lake, job).deliver([DAY])) == {DAY: "delivered" if old_stands else "already"}
    assert (table(), ledger()[0][3:5]) == ({DAY: (6, 1.5)}, ("r2", 6))
    assert state.shortfall(lake, job, DAY) is None


# --- At once


def test_two_at_once_deliver_once(lake, job, table, ledger):
    publish(lake, job, DAY, "r1", 500)
    done = []
    both = [threading.Thread(target=lambda: done.append(Deliverer(lake, job).deliver([DAY]))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(outcomes(one)[DAY] for one in done) == ["already", "delivered"]
    assert (table(), len(ledger())) == ({DAY: (500, 250.0)}, 1)


def test_two_that_share_no_lock_do_not_mix(job, table, ledger, schema):
    """As from two machines whose locks are not one: the first also makes the tables."""
    address = address_of(job.output.sql, "postgresql", None)
    gate, wrong = threading.Barrier(4), []

    def put(number):
        rows = rows_of(job, f"r{number}", 50 * number, float(number))
        try:
            with Target(job.output.sql, address, 60, "the lake") as target:
                gate.wait(30)
                reader = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(16))
                target.replace(job.job, DAY, Entry(f"r{number}", "x", len(rows)), reader)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(1, 5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
    ((run_id, count),) = [one[3:5] for one in ledger()]
    number = int(run_id[1:])
    assert (count, table()) == (50 * number, {DAY: (50 * number, 50.0 * number * number)})


@pytest.mark.extras
def test_readers_see_the_old_rows_or_the_new_and_never_a_mixture(lake, job, postgresql, schema):
    publish(lake, job, DAY, "r0", 1000, 1.0)
    Deliverer(lake, job).deliver([DAY])
    seen, wrong, ended = set(), [], threading.Event()
    import adbc_driver_postgresql.dbapi as driver

    def look():
        query = f"SELECT count(*), sum(probability), count(DISTINCT run_id), min(run_id) FROM {schema}.scores"
        with driver.connect(postgresql.uri, autocommit=True) as connection, connection.cursor() as cursor:
            while not ended.is_set():
                cursor.execute(query)
                count, total, runs, run_id = cursor.fetchone()
                number = int(run_id[1:]) if run_id else -1
                seen.add(number)
                if (count, total, runs) != (1000 - number, (1000 - number) * (1.0 + number), 1):
                    wrong.append((count, total, runs, run_id))

    readers = [threading.Thread(target=look) for _ in range(2)]
    for one in readers:
        one.start()
    for number in range(1, 13):
        publish(lake, job, DAY, f"r{number}", 1000 - number, 1.0 + number)
        Deliverer(lake, job).deliver([DAY])
    ended.set()
    for one in readers:
        one.join()
    assert wrong == []
    assert len(seen) > 2


def test_one_that_waits_too_long_for_another_says_so(lake, schema):
    from tasks.core.errors import WindowBusy

    job = a_job(f"{schema}.scores", statement_timeout_seconds=0.2)
    publish(lake, job, DAY, "r1", 1)
    with lake.lock(layout.delivery_lock("churn"), holder="a delivery"), pytest.raises(WindowBusy):
        Deliverer(lake, job).deliver([DAY])


def test_the_newest_records_alone_are_read_by_a_run(lake, job, table, monkeypatch):
    """Of thousands of windows, those that the ledger has are not looked at one by one."""
    monkeypatch.setattr(delivering, "_NEWEST", 1)
    publish(lake, job, DAY, "r1", 1)
    publish(lake, job, NEXT_DAY, "r2", 1)
    Deliverer(lake, job).deliver_all()
    for day in (DAY, NEXT_DAY):
        lake.remove(layout.delivery("churn", day))
    publish(lake, job, "2024-05-03", "r3", 1)
    Deliverer(lake, job).deliver(["2024-05-03"], others=5)
    assert state.recorded(lake, "churn") == ["2024-05-03"]
    Deliverer(lake, job).deliver_all()
    assert state.recorded(lake, "churn") == [DAY, NEXT_DAY, "2024-05-03"]
