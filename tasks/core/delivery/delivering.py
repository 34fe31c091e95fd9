"""Delivering: what readers of the lake see of a job's windows becomes what its table in the database has.

One delivery of a job at a time, under a lock of the lake. The ledger in the database says what the table has; a window of
which that is not what readers of the lake see is behind. Each window is a transaction of its own, tried again where the
failure may pass, and then the lake's record of it is written: whoever comes after a kill in between finds the ledger.

A table is for one job of one lake, which the ledger knows by an id of the lake. A copy of a whole lake has that id too: it
is not to deliver to the same table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Literal, TypeVar

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.output import SqlTable
from tasks.core.definitions.source import SqlSource
from tasks.core.delivery import state
from tasks.core.delivery.postgresql import NOTHING, Entry, Target
from tasks.core.delivery.state import Delivery, Wanted
from tasks.core.delivery.table import AS_OF
from tasks.core.errors import DefinitionError, LamplighterError, NotDelivered
from tasks.core.logs import log
from tasks.core.pages import wording
from tasks.core.records import Record
from tasks.core.runs.showing import live_runs
from tasks.core.source.address import Address, BlockReader, address_of
from tasks.core.source.problems import SourceUnavailable, retry
from tasks.core.storage import Lake

T = TypeVar("T")

# Records that a kill has kept from being written are looked for among the newest windows; `deliver` looks at all.
_NEWEST = 400
# A window that has failed so often waits for a person: each run would stage its rows again.
_MOST_ATTEMPTS = 5


class Outcome(Record):
    """What became of a window. `already`: the database had it."""

    as_of: str
    outcome: Literal["delivered", "removed", "already", "failed"]
    run_id: str | None = None
    rows: int = 0
    why: str = ""
    next_step: str = ""


class Round(Record):
    """What a look at a job's windows has done; `left` are so many that are behind still."""

    job: str
    table: str
    windows: tuple[Outcome, ...] = ()
    left: int = 0

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(one for one in self.windows if one.outcome == "failed")

    def __str__(self) -> str:
        words = {"delivered": "delivered", "removed": "taken out", "already": "there already", "failed": "failed"}
        counts = [(sum(one.outcome == outcome for one in self.windows), said) for outcome, said in words.items()]
        parts = ", ".join(f"{wording.plural(count, 'window')} {said}" for count, said in counts if count)
        more = f"; {self.left:,} more are behind: lamplighter deliver {self.job}" if self.left else ""
        return f"{self.job} to the table {self.table}: {parts or 'no window to deliver'}{more}"


def target_of(job: Job) -> SqlTable:
    """The table that gets the job's rows; DefinitionError where the job names none."""
    if job.output.sql is None:
        raise DefinitionError(
            f"the job '{job.job}' is delivered to no database",
            state="nothing was started",
            next_step=f"name a table in deployments/jobs/{job.job}.yaml, under output: sql: {{ uri_env: TARGET_URI, "
            "table: analytics.scores }",
        )
    return job.output.sql


class Deliverer:
    """A job, its lake and its database; `read_block` gives an address that is kept in a block."""

    def __init__(self, lake: Lake, job: Job, *, read_block: BlockReader | None = None) -> None:
        self._lake, self._job, self._sql = lake, job, target_of(job)
        self._read_block = read_block
        # Whether the last attempt has ended in what may pass: then the next window would fare no better.
        self._is_away = False

    def deliver(self, windows: Collection[str], *, others: int = 0) -> Round:
        """Brings these windows up to what readers of the lake see, and then so many others that are behind.

        What failed of a window is in the round and in the lake's records. WindowBusy where another delivery of the job
        takes longer than a statement may.
        """
        with self._alone():
            try:
                known = self._attempt(lambda target: target.entries(self._job.job))
            except LamplighterError as error:
                return self._round([self._failed(as_of, error) for as_of in windows])
            done = list(self._settle_each(windows, known))
            if any(one.outcome == "failed" for one in done):
                return self._round(done)
            behind = [as_of for as_of in self._behind(known) if as_of not in windows]
            some = [as_of for as_of in behind if self._may_try(as_of)][:others]
            done += self._settle_each(some, known)
            return self._round(done, left=self._note_left([as_of for as_of in behind if as_of not in some], known))

    def deliver_all(self, only: str | None = None) -> Round:
        """Every window that is behind, or this one; also where the table has not the rows of which the ledger speaks.

        SourceError, DefinitionError or NotDelivered where the database cannot be asked at all, or the table is another's.
        """
        with self._alone():
            known, counts = self._attempt(lambda target: (target.entries(self._job.job), target.counts()))
            lost = {as_of for as_of, entry in known.items() if counts.get(as_of, 0) != entry.rows}
            every = sorted({*live_runs(self._lake, self._job.job), *known, *self._recorded()})
            windows = every if only is None else [only]
            done = list(self._settle_each(windows, known, lost))
            return self._round(done, left=len(windows) - len(done))

    # -- one window ---------------------------------------------------------------------------------------------------

    def _settle_each(
        self, windows: Iterable[str], known: Mapping[str, Entry], lost: Collection[str] = ()
    ) -> Iterator[Outcome]:
        """Each window in turn, until the database is not there any more."""
        self._is_away = False
        for as_of in windows:
            yield self._settle(as_of, known.get(as_of, NOTHING), is_lost=as_of in lost)
            if self._is_away:
                return

    def _settle(self, as_of: str, known: Entry, *, is_lost: bool) -> Outcome:
        failed: LamplighterError
        try:
            wanted = state.wanted(self._lake, self._job.job, as_of)
            done = self._with(as_of, wanted, known, is_lost=is_lost) if wanted else self._without(as_of, known)
            was_elsewhere = self._leave_tables_before(as_of)
            return done.model_copy(update={"outcome": "removed"}) if was_elsewhere and wanted is None else done
        except LamplighterError as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - what is wrong with one window keeps no other from its delivery
            log.debug("%s %s was not delivered", self._job.job, as_of, exc_info=True)
            failed = NotDelivered(f"{type(error).__name__}, which was not foreseen")
        return self._failed(as_of, failed, self._take_withdrawn_out(as_of, known))

    def _with(self, as_of: str, wanted: Wanted, known: Entry, *, is_lost: bool) -> Outcome:
        """Of a window that readers of the lake see."""
        entry = Entry(wanted.run_id, wanted.sha256, wanted.rows)
        is_new = (known != entry or is_lost) and self._replace(as_of, wanted, entry, although_known=is_lost)
        self._note(as_of, entry, is_new=is_new)
        return Outcome(as_of=as_of, outcome="delivered" if is_new else "already", run_id=entry.run_id, rows=entry.rows)

    def _without(self, as_of: str, known: Entry) -> Outcome:
        """Of a window that readers of the lake do not see. What the ledger has lost the lake's record may know."""
        record = state.read(self._lake, self._job.job, as_of)
        recorded = record.run_id if record and record.table == self._sql.table else None
        run_id = known.run_id or recorded
        was_there = run_id is not None and self._remove(as_of, run_id)
        if was_there or record:
            self._note(as_of, NOTHING, is_new=was_there)
        return Outcome(as_of=as_of, outcome="removed" if was_there else "already")

    def _remove(self, as_of: str, run_id: str, table: str | None = None) -> bool:
        return self._attempt(lambda target: target.remove(self._job.job, as_of, run_id), table)

    def _leave_tables_before(self, as_of: str) -> bool:
        """Takes rows that were withdrawn out of tables that output.sql named before; whether there were any."""
        found = state.leftovers(self._lake, self._job.job, as_of, self._sql.table)
        for table, run_id in found.items():
            if not self._remove(as_of, run_id, table):
                record = self._lake.address(layout.delivery(self._job.job, as_of))
                sql = f"DELETE FROM {table} WHERE {AS_OF} = '{as_of}';"  # noqa: S608 - for a person to look at
                raise NotDelivered(
                    f"the table {table} was given the rows of run {run_id} before output.sql named {self._sql.table}; they "
                    "are withdrawn, and this database has neither them nor a record of them: they may be in another one",
                    next_step=f"see there that they are gone: {sql} and remove the file {record}",
                )
            if record_now := state.try_read(self._lake, self._job.job, as_of):
                left = {name: run for name, run in record_now.elsewhere.items() if name != table}
                self._write(record_now.model_copy(update={"elsewhere": left}))
        return bool(found)

    def _take_withdrawn_out(self, as_of: str, known: Entry) -> str:
        """Where what is restored cannot be delivered, what was withdrawn still leaves the table; the words for it."""
        run_id = known.run_id
        with contextlib.suppress(LamplighterError):
            if self._is_away or run_id is None or state.live_run(self._lake, self._job.job, as_of) is None:
                return ""
            if state.is_withdrawn(self._lake, self._job.job, as_of, run_id) and self._remove(as_of, run_id):
                self._note(as_of, NOTHING, is_new=True)
                return f"; the rows of run {run_id}, which were withdrawn, are no longer in the table"
        return ""

    def _replace(self, as_of: str, wanted: Wanted, entry: Entry, *, although_known: bool) -> bool:
        state.check_whole(self._lake, wanted)

        def replaced(target: Target) -> bool:
            # One open file: it stays what it was, also when the window is published again meanwhile.
            with self._lake.parquet(wanted.key) as file:
                batches = file.iter_batches(batch_size=self._job.rows_at_once)
                rows = pa.RecordBatchReader.from_batches(file.schema_arrow, batches)
                return target.replace(self._job.job, as_of, entry, rows, although_known=although_known)

        return self._attempt(replaced)

    # -- which windows ------------------------------------------------------------------------------------------------

    def _behind(self, known: Mapping[str, Entry]) -> list[str]:
        """The windows of which the table has not what readers of the lake see, or the lake's record does not say so."""
        live = live_runs(self._lake, self._job.job)
        found = {as_of for as_of, run_id in live.items() if known.get(as_of, NOTHING).run_id != run_id}
        found |= {as_of for as_of, entry in known.items() if entry.run_id is not None and as_of not in live}
        newest = sorted({*live, *self._recorded()})[-_NEWEST:]
        found |= {as_of for as_of in newest if state.shortfall(self._lake, self._job, as_of) is not None}
        return sorted(found)

    def _recorded(self) -> list[str]:
        return state.recorded(self._lake, self._job.job)

    def _may_try(self, as_of: str) -> bool:
        record = state.try_read(self._lake, self._job.job, as_of)
        return record is None or record.attempts < _MOST_ATTEMPTS

    def _note_left(self, windows: Collection[str], known: Mapping[str, Entry]) -> int:
        """Says of the windows that are left what the database has lost of them; how many they are."""
        for as_of in windows:
            record = state.try_read(self._lake, self._job.job, as_of)
            if record and record.state == "delivered" and known.get(as_of, NOTHING).run_id != record.run_id:
                why = f"the table {self._sql.table} was found without the rows of run {record.run_id}"
                self._write(record.model_copy(update={"state": "waiting", "reason": why}))
        return len(windows)

    # -- the database -------------------------------------------------------------------------------------------------

    def _attempt(self, action: Callable[[Target], T], table: str | None = None) -> T:
        """What the action gives on a connection of its own, tried again while the failure may pass.

        `table` is one that output.sql named before.
        """
        address, lake = self._address(), state.lake_id(self._lake)
        sql = self._sql.model_copy(update={"table": table}) if table else self._sql

        def once() -> T:
            self._is_away = True
            try:
                with Target(sql, address, sql.statement_timeout_seconds, lake) as target:
                    given = action(target)
            except SourceUnavailable:
                raise
            except BaseException:
                self._is_away = False
                raise
            self._is_away = False
            return given

        return retry(once, self._sql.retries)

    def _address(self) -> Address:
        given = self._sql
        if not given.has_address and isinstance(self._job.source, SqlSource):
            return address_of(self._job.source, given.driver, self._read_block)
        return address_of(given, given.driver, self._read_block, whose="output.sql")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lake.lock(
            layout.delivery_lock(self._job.job),
            holder=f"a delivery to {self._sql.table}",
            wait_seconds=self._sql.statement_timeout_seconds,
        ):
            yield

    # -- the lake's records -------------------------------------------------------------------------------------------

    def _note(self, as_of: str, entry: Entry, *, is_new: bool) -> None:
        """That the table has these rows; where the record says so already, it stays as it is."""
        record, now = state.try_read(self._lake, self._job.job, as_of), state.now()
        if record and record.state == "delivered" and not is_new:
            same = (record.run_id, record.sha256, record.table) == (entry.run_id, entry.sha256, self._sql.table)
            if same:
                return
        self._write(
            Delivery(
                job=self._job.job,
                as_of=as_of,
                table=self._sql.table,
                state="delivered",
                run_id=entry.run_id,
                sha256=entry.sha256,
                elsewhere=state.tables_before(record, self._sql.table),
                rows=entry.rows,
                delivered_at=now,
                at=now,
            )
        )

    def _failed(self, as_of: str, error: LamplighterError, besides: str = "") -> Outcome:
        noted = state.note_failure(self._lake, self._job, as_of, f"{error.failed}{besides}", error.next_step)
        return Outcome(as_of=as_of, outcome="failed", why=noted.reason, next_step=noted.next_step)

    def _write(self, record: Delivery) -> None:
        state.write(self._lake, record)

    def _round(self, done: Iterable[Outcome], left: int = 0) -> Round:
        return Round(job=self._job.job, table=self._sql.table, windows=tuple(done), left=left)
