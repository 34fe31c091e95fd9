"""PostgreSQL as the target: the rows of one window are staged, and replaced in one transaction with their ledger row.

The order, all in one transaction: a temporary table is filled by COPY -> the lock of the target table, until the end ->
ledger and table are made where they are not there -> the ledger is asked once more -> DELETE of the window, INSERT from the
temporary table, the ledger's row -> COMMIT. Readers see what was there before until the commit, and from then on the new
rows; a kill anywhere before leaves nothing behind, and one after it is found by the ledger.
"""
# ruff: noqa: S608 - names are quoted where they come from a job or the server, and values are bound.

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute

from tasks.core.definitions.output import SqlTable
from tasks.core.delivery.table import AS_OF, Column, check_columns, columns_of, quoted
from tasks.core.errors import NotDelivered, SourceError
from tasks.core.source.address import Address
from tasks.core.source.driver import connected, is_passing, primary_message, state_of
from tasks.core.source.problems import guarded, problem

T = TypeVar("T")
pc: Any = pyarrow.compute

LEDGER = "lamplighter_deliveries"
_STAGED = "lamplighter_staged"
_TIMED_OUT, _NOT_PERMITTED, _NO_SCHEMA = "57014", "42501", "3F000"
_LEDGER_COLUMNS = (
    "job text NOT NULL, as_of text NOT NULL, table_name text NOT NULL, run_id text, rows bigint NOT NULL, sha256 text, "
    "delivered_at timestamptz NOT NULL, lake text NOT NULL, PRIMARY KEY (job, as_of, table_name)"
)
_TABLES = ("r", "p")  # Of pg_class: a plain and a partitioned table.


@dataclass(frozen=True)
class Entry:
    """A row of the ledger: the file whose rows the table has of a window; none where they were taken out."""

    run_id: str | None
    sha256: str | None
    rows: int


NOTHING = Entry(None, None, 0)


@dataclass(frozen=True)
class _Place:
    """The target table, its schema and the ledger beside it, as the server knows them."""

    schema: str
    name: str
    is_there: bool

    @property
    def table(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def ledger(self) -> str:
        return f"{quoted(self.schema)}.{LEDGER}"


class Target:
    """One connection to the database of a job's table; what fails there is a SourceError or a NotDelivered, without secrets.

    `lake` is the id of the lake that delivers: a table is for one job of one lake.
    """

    def __init__(self, sql: SqlTable, address: Address, timeout_seconds: float, lake: str) -> None:
        self._sql, self._address, self._timeout_seconds, self._lake = sql, address, timeout_seconds, lake
        self._connection, self._errors = connected(sql.driver, address, whose="output.sql")

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        for close in (self._connection.rollback, self._connection.close):
            # What fails at the end has nothing to add; the server rolls back by itself.
            with contextlib.suppress(*self._errors):
                close()

    def entries(self, job: str) -> dict[str, Entry]:
        """The ledger of a job's table, by window; empty where there is no such table, whatever a ledger says.

        NotDelivered where the table is another's.
        """
        self._begin()
        place = self._place()
        if not place.is_there or not self._exists(place, LEDGER):
            return {}
        self._refuse_another(place, job)
        rows = self._run(
            f"SELECT as_of, run_id, sha256, rows FROM {place.ledger} WHERE job = $1 AND table_name = $2",
            job,
            place.name,
        )
        return {as_of: Entry(run_id, sha256, rows) for as_of, run_id, sha256, rows in rows}

    def counts(self) -> dict[str, int]:
        """By window, how many rows the table has."""
        self._begin()
        place = self._place()
        if not place.is_there:
            return {}
        return dict(self._run(f"SELECT {AS_OF}, count(*) FROM {place.table} GROUP BY 1"))

    def replace(
        self, job: str, as_of: str, entry: Entry, rows: pa.RecordBatchReader, *, although_known: bool = False
    ) -> bool:
        """Puts these rows in the place of the window's, with their entry in the ledger. False: the ledger had them already.

        `although_known` does so in any case: the table may have lost them.
        """
        columns = columns_of(rows.schema)
        self._begin()
        self._stage(columns, entry, rows)
        place = self._claimed(job, columns)
        if not although_known and self._entry(place, job, as_of) == entry:
            return False
        self._delete(place, as_of)
        self._insert(place, as_of, columns)
        self._note(place, job, as_of, entry)
        self._commit()
        return True

    def remove(self, job: str, as_of: str, run_id: str) -> bool:
        """Takes the window's rows out of the table, whatever its columns are by now; the ledger says so.

        Of a window that the ledger does not know, those of this run: the ledger may have been lost. False where neither
        it nor the table had anything of the window.
        """
        self._begin()
        place = self._place()
        self._lock(f"{place.schema}.{place.name}")
        place = self._place()
        known = NOTHING
        if self._exists(place, LEDGER):
            self._refuse_another(place, job)
            known = self._entry(place, job, as_of)
        had = known.run_id is not None
        if place.is_there and had:
            self._delete(place, as_of)
        elif place.is_there:
            had = self._delete_run(place, as_of, run_id) > 0
        if had:
            self._make_ledger(place)
            self._note(place, job, as_of, NOTHING)
            self._commit()
        return had

    # -- the steps of a delivery --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Settings of the transaction, whatever the server's or the user's defaults are."""
        self._run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE")
        self._run("SET LOCAL TIME ZONE 'UTC'")
        # Else text is taken as what the database is encoded in.
        self._run("SET LOCAL client_encoding TO 'UTF8'")
        self._run(f"SET LOCAL statement_timeout = {max(1, round(self._timeout_seconds * 1000))}")

    def _stage(self, columns: dict[str, str], entry: Entry, rows: pa.RecordBatchReader) -> None:
        """Fills a temporary table, which goes with the transaction."""
        described = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
        self._run(f"CREATE TEMPORARY TABLE {_STAGED} ({described}) ON COMMIT DROP")
        watched = _Watched(rows)
        try:
            self._copy(pa.RecordBatchReader.from_batches(rows.schema, watched))
        finally:
            # What went wrong in reading the file says more than what the driver makes of it.
            if watched.error:
                raise watched.error
        if watched.rows != entry.rows:
            raise NotDelivered(f"{watched.rows:,} rows were staged, and the window has {entry.rows:,}")

    def _copy(self, reader: pa.RecordBatchReader) -> None:
        with self._cursor() as cursor:
            self._guarded(lambda: cursor.adbc_ingest(_STAGED, reader, mode="append", temporary=True))

    def _claimed(self, job: str, columns: dict[str, str]) -> _Place:
        """The table and its ledger, made where they are not there and checked where they are; nobody else delivers meanwhile."""
        place = self._place()
        self._lock(f"{place.schema}.{place.name}")
        # Somebody may have made or dropped it while we waited.
        place = self._place()
        self._make_ledger(place)
        wanted = {AS_OF: "text"} | columns
        if place.is_there:
            check_columns(f"{place.schema}.{place.name}", wanted, self._columns(place))
        else:
            self._create(place, wanted)
        self._refuse_another(place, job)
        return place

    def _make_ledger(self, place: _Place) -> None:
        if not self._exists(place, LEDGER):
            self._lock(f"{place.schema}.{LEDGER}")
            self._run(f"CREATE TABLE IF NOT EXISTS {place.ledger} ({_LEDGER_COLUMNS})")

    def _create(self, place: _Place, columns: dict[str, str]) -> None:
        described = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
        self._run(f"CREATE TABLE {place.table} ({described})")
        self._run(f"ALTER TABLE {place.table} ALTER COLUMN {AS_OF} SET NOT NULL")
        self._run(f"CREATE INDEX ON {place.table} ({AS_OF})")
        # Of a table of this name that somebody has dropped.
        self._run(f"DELETE FROM {place.ledger} WHERE table_name = $1", place.name)

    def _refuse_another(self, place: _Place, job: str) -> None:
        """Two jobs in one table, or the jobs of two lakes, would delete each other's windows."""
        found = self._run(
            f"SELECT job, lake FROM {place.ledger} "
            "WHERE table_name = $1 AND run_id IS NOT NULL AND (job <> $2 OR lake <> $3) ORDER BY 1, 2 LIMIT 1",
            place.name,
            job,
            self._lake,
        )
        table, ledger = f"{place.schema}.{place.name}", f"{place.schema}.{LEDGER}"
        for other, lake in found:
            if other != job:
                raise NotDelivered(
                    f"the table {table} gets the rows of the job '{other}', and one table is for one job",
                    next_step=f"give output.sql of '{job}' a table of its own; or, if '{other}' is no more: DELETE FROM "
                    f"{ledger} WHERE job = '{other}';",
                )
            raise NotDelivered(
                f"the table {table} gets the rows of '{job}' from another lake, of id {lake}, and one table is for one lake",
                next_step="give output.sql a table of its own; or, if this lake has taken that one's place: UPDATE "
                f"{ledger} SET lake = '{self._lake}' WHERE table_name = '{place.name}';",
            )

    def _entry(self, place: _Place, job: str, as_of: str) -> Entry:
        rows = self._run(
            f"SELECT run_id, sha256, rows FROM {place.ledger} WHERE job = $1 AND as_of = $2 AND table_name = $3",
            job,
            as_of,
            place.name,
        )
        return Entry(*rows[0]) if rows else NOTHING

    def _delete(self, place: _Place, as_of: str) -> None:
        self._run(f"DELETE FROM {place.table} WHERE {AS_OF} = $1", as_of)

    def _delete_run(self, place: _Place, as_of: str, run_id: str) -> int:
        """How many rows of this run the window had."""
        found = self._run(
            f"WITH gone AS (DELETE FROM {place.table} WHERE {AS_OF} = $1 AND run_id = $2 RETURNING 1) "
            "SELECT count(*) FROM gone",
            as_of,
            run_id,
        )
        return int(found[0][0])

    def _insert(self, place: _Place, as_of: str, columns: dict[str, str]) -> None:
        names = ", ".join(map(quoted, columns))
        self._run(
            f"INSERT INTO {place.table} ({AS_OF}, {names}) SELECT CAST($1 AS text), {names} FROM pg_temp.{_STAGED}",
            as_of,
        )

    def _note(self, place: _Place, job: str, as_of: str, entry: Entry) -> None:
        self._run(
            f"INSERT INTO {place.ledger} (job, as_of, table_name, run_id, rows, sha256, lake, delivered_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp()) ON CONFLICT (job, as_of, table_name) DO UPDATE SET "
            "run_id = EXCLUDED.run_id, rows = EXCLUDED.rows, sha256 = EXCLUDED.sha256, lake = EXCLUDED.lake, "
            "delivered_at = EXCLUDED.delivered_at",
            job,
            as_of,
            place.name,
            entry.run_id,
            entry.rows,
            entry.sha256,
            self._lake,
        )

    def _commit(self) -> None:
        self._guarded(self._connection.commit)

    # -- what the server knows ----------------------------------------------------------------------------------------

    def _place(self) -> _Place:
        """Where the table is, or will be: in the schema that the job names, or the first of the user's path."""
        given, _, name = self._sql.table.rpartition(".")
        spelt = f"{quoted(given)}.{quoted(name)}" if given else quoted(name)
        found = self._run(
            "SELECT n.nspname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.oid = to_regclass($1)",
            spelt,
        )
        if found and found[0][1] not in _TABLES:
            raise NotDelivered(f"{self._sql.table} is no table: a view or the like", next_step="name a table")
        schema = found[0][0] if found else given or self._run("SELECT current_schema()::text")[0][0]
        if schema is None:
            raise NotDelivered(
                f"the database has no schema for the table {self._sql.table}",
                next_step="name one, as in analytics.scores, that this user may use",
            )
        return _Place(schema, name, is_there=bool(found))

    def _exists(self, place: _Place, name: str) -> bool:
        return bool(self._run("SELECT to_regclass($1) IS NOT NULL", f"{quoted(place.schema)}.{quoted(name)}")[0][0])

    def _columns(self, place: _Place) -> dict[str, Column]:
        rows = self._run(
            "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull AND NOT atthasdef AND attidentity = '' "
            "FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            place.table,
        )
        return {name: Column(kind, bool(is_required)) for name, kind, is_required in rows}

    def _lock(self, name: str) -> None:
        """Held until the transaction ends."""
        self._run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::text", f"lamplighter {name}")

    # -- statements ---------------------------------------------------------------------------------------------------

    def _run(self, statement: str, *values: str | int | None) -> Sequence[tuple[Any, ...]]:
        """The rows that a statement gives, if any."""
        parameters = [pa.array([value], pa.int64() if isinstance(value, int) else pa.string()) for value in values]
        bound = pa.RecordBatch.from_arrays(parameters, names=list(map(str, range(len(values))))) if values else None
        with self._cursor() as cursor:

            def ask() -> Sequence[tuple[Any, ...]]:
                cursor.execute(statement, bound)
                return cursor.fetchall() if cursor.description else []

            return self._guarded(ask)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        cursor = self._guarded(self._connection.cursor)
        try:
            yield cursor
        finally:
            with contextlib.suppress(*self._errors):
                cursor.close()

    def _guarded(self, call: Callable[[], T]) -> T:
        return guarded(call, self._errors, self._explain)

    def _explain(self, error: Exception) -> SourceError:
        where, table = self._address.name, self._sql.table
        if "statement timeout" in str(error) and state_of(error) in (_TIMED_OUT, ""):
            return problem(
                f"the delivery to {table} of {where} took longer than its limit of {self._timeout_seconds:g} s",
                next_step="find out what holds the table, or raise output.sql.statement_timeout_seconds",
            )
        told = self._address.without_secrets(primary_message(error))
        return problem(
            f"the delivery to {table} of {where} failed: {told}",
            transient=is_passing(error),
            next_step=self._remedy(state_of(error)),
        )

    def _remedy(self, state: str) -> str:
        if state == _NOT_PERMITTED:
            return "let this user make tables in that schema, and select, insert, update and delete there"
        schema, dot, _ = self._sql.table.rpartition(".")
        return f"make the schema: CREATE SCHEMA {quoted(schema)}" if dot and state == _NO_SCHEMA else ""


class _Watched:
    """Batches on their way into the driver, which would tell of what fails here in its own words."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = iter(batches)
        self.rows = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        try:
            batch = next(self._batches)
            _refuse_nul(batch)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise
        self.rows += batch.num_rows
        return batch


def _refuse_nul(batch: pa.RecordBatch) -> None:
    columns: list[Any] = batch.columns
    for name, column in zip(batch.schema.names, columns, strict=True):
        text = column.flatten() if pa.types.is_list(column.type) else column
        if pa.types.is_string(text.type) and (count := pc.sum(pc.match_substring(text, "\0")).as_py()):
            raise NotDelivered(
                f"the column '{name}' has {count:,} values with a character of code 0, which PostgreSQL cannot hold",
                next_step="take the character out in the source's query, or the column out of output.pass_through",
            )
