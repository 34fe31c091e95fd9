"""Delivering: what readers of the lake see of a job's windows becomes what its table in the database has.

One delivery of a job at a time, under a lock of the lake. The ledger in the database says what the table has; a window of
which that is not what readers of the lake see is behind. Each window is a transaction of its own, tried again where the
failure may pass, and then the lake's record of it is written: whoever comes after a kill in between finds the ledger.
"""

from __future__ import annotations

import contextlib
import datetime as dt
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
from tasks.core.errors import DefinitionError, LamplighterError, NotDelivered
from tasks.core.logs import log
from tasks.core.pages import wording
from tasks.core.runs.manifest import Record
from tasks.core.runs.run import has_manifest
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

        SourceError or DefinitionError where the database cannot be asked at all.
        """
        with self._alone():
            known, counts = self._attempt(lambda target: (target.entries(self._job.job), target.counts()))
            lost = {as_of for as_of, entry in known.items() if counts.get(as_of, 0) != entry.rows}
            every = sorted({*state.live_runs(self._lake, self._job.job), *known, *self._recorded()})
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
        try:
            wanted = state.wanted(self._lake, self._job.job, as_of)
            if wanted is None:
                return self._without(as_of, known)
            entry = Entry(wanted.run_id, wanted.sha256, wanted.rows)
            is_new = (known != entry or is_lost) and self._replace(as_of, wanted, entry, although_known=is_lost)
            self._note(as_of, entry, is_new=is_new)
            return Outcome(
                as_of=as_of, outcome="delivered" if is_new else "already", run_id=entry.run_id, rows=entry.rows
            )
        except LamplighterError as error:
            return self._failed(as_of, error)
        except Exception as error:  # noqa: BLE001 - what is wrong with one window keeps no other from its delivery
            log.debug("%s %s was not delivered", self._job.job, as_of, exc_info=True)
            return self._failed(as_of, NotDelivered(f"{type(error).__name__}, which was not foreseen"))

    def _without(self, as_of: str, known: Entry) -> Outcome:
        """Of a window that readers of the lake do not see. What another lake has delivered is that one's."""
        is_there = known.run_id is not None and self._is_ours(as_of, known.run_id)
        if is_there:
            self._attempt(lambda target: target.remove(self._job.job, as_of))
        if is_there or (known.run_id is None and state.read(self._lake, self._job.job, as_of)):
            self._note(as_of, NOTHING, is_new=is_there)
        return Outcome(as_of=as_of, outcome="removed" if is_there else "already")

    def _replace(self, as_of: str, wanted: Wanted, entry: Entry, *, although_known: bool) -> bool:
        state.check_whole(self._lake, wanted)

        def replaced(target: Target) -> bool:
            # One open file: it stays what it was, also when the window is published again meanwhile.
            with self._lake.parquet(wanted.key) as file:
                batches = file.iter_batches(batch_size=self._job.limits.batch_rows)
                rows = pa.RecordBatchReader.from_batches(file.schema_arrow, batches)
                return target.replace(self._job.job, as_of, entry, rows, although_known=although_known)

        return self._attempt(replaced)

    def _is_ours(self, as_of: str, run_id: str) -> bool:
        """Whether this lake knows the run: of one that it does not, another lake may be the owner."""
        record = state.try_read(self._lake, self._job.job, as_of)
        is_recorded = record is not None and record.run_id == run_id
        return is_recorded or has_manifest(self._lake, layout.workspace(self._job.job, as_of, run_id))

    # -- which windows ------------------------------------------------------------------------------------------------

    def _behind(self, known: Mapping[str, Entry]) -> list[str]:
        """The windows of which the table has not what readers of the lake see, or the lake's record does not say so."""
        live = state.live_runs(self._lake, self._job.job)
        found = {as_of for as_of, run_id in live.items() if known.get(as_of, NOTHING).run_id != run_id}
        found |= {
            as_of
            for as_of, entry in known.items()
            if entry.run_id is not None and as_of not in live and self._is_ours(as_of, entry.run_id)
        }
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

    def _attempt(self, action: Callable[[Target], T]) -> T:
        """What the action gives on a connection of its own, tried again while the failure may pass."""
        address = self._address()

        def once() -> T:
            self._is_away = True
            try:
                with Target(self._sql, address, self._sql.statement_timeout_seconds) as target:
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
        record, now = state.try_read(self._lake, self._job.job, as_of), _now()
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
                rows=entry.rows,
                delivered_at=now,
                at=now,
            )
        )

    def _failed(self, as_of: str, error: LamplighterError) -> Outcome:
        noted = state.note_failure(self._lake, self._job, as_of, error.failed, error.next_step)
        return Outcome(as_of=as_of, outcome="failed", why=noted.reason, next_step=noted.next_step)

    def _write(self, record: Delivery) -> None:
        state.write(self._lake, record)

    def _round(self, done: Iterable[Outcome], left: int = 0) -> Round:
        return Round(job=self._job.job, table=self._sql.table, windows=tuple(done), left=left)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
