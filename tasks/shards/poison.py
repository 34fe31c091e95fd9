"""Scores a batch whose model may end its process: once more in a new one, and then without the rows that are to blame.

A child notes which rows it gives to the model before it does, so that its death says where to look. These rows are given
to it in quarters until one row alone ends the process: it goes to quarantine, and the batch is scored without it, as if it
had never been there. What is known is kept beside the checkpoints: a run that takes up another's work begins there.

For k such rows of n the model is asked at most k (3 log4(n) + 2) + 2 times, and dies at most k (log4(n) + 1) + 1 times,
log4(n) rounded up. Rows on which it raises are looked for as ever, and come on top.
"""

from __future__ import annotations

import contextlib
import faulthandler
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.core.errors import ChildDied, LakeCorrupt, ModelBlocked, WorkerError
from tasks.core.logs import log
from tasks.core.models.model import score_with_bisection
from tasks.core.records import read_beside
from tasks.core.rows import rejects
from tasks.core.workers import Workers, dismiss
from tasks.shards.scoring import BatchScored, Scoring, model_of, rows_to_score, score_batch

_PARTS = 4
# Each costs the start of a process and the loading of the model: some minutes in all, and then it is the model's fault.
MOST_DEATHS = 60
_MOST_SHOWN = 3
_LONGEST_HOW = 200


class Deaths(BaseModel):
    """What is known of a batch whose model ended its process: the rows to blame, each with how, and where others are.

    `suspects` are bounds of rows, of which some end the process when they are given to the model together.
    """

    model_config = ConfigDict(frozen=True)

    deaths: int = 0
    culprits: dict[int, str] = {}
    suspects: tuple[int, int] | None = None

    def but(self, **changes: Any) -> Deaths:
        return self.model_copy(update=changes)


def score_surely(
    workers: Workers, what: str, _function: Callable[..., BatchScored], task: Scoring, batch: int
) -> BatchScored:
    """What `score_batch` gives. WorkerError where the process dies and no row is to blame; ModelBlocked: too many are."""
    known = _read(task, batch)
    if not known.deaths:
        try:
            return workers.call(what, score_batch, task, batch, known.culprits)
        except (ChildDied, MemoryError) as error:
            log.warning(
                "The process that worked on %s died (%s); it is tried once more in a new one", what, _how(error)
            )
            known = _keep(task, batch, known.but(deaths=1))
    # Children of its own, which are ended first where memory runs out, and serve nobody else after what was done to them.
    apart = Workers(max(workers.count, 1), workers.timeout_seconds, f"{what}: the rows to blame")
    try:
        return _Search(apart, what, task, batch).score(known)
    finally:
        dismiss(apart.pool)


@dataclass(frozen=True)
class _Search:
    """One batch, and where it is tried."""

    workers: Workers
    what: str
    task: Scoring
    batch: int

    def score(self, known: Deaths) -> BatchScored:
        """Again and again, each time knowing more, until no row is left that ends the process."""
        while True:
            try:
                if known.suspects is None:
                    scored: BatchScored = self._try(_score, known.culprits)
                    return scored
                self._try(_find, known.culprits, known.suspects)
            except (ChildDied, MemoryError) as error:
                known = self._learnt(known, _how(error), error)
            else:
                raise self._no_row_to_blame(known)

    def _try(self, function: Callable[..., Any], *args: Any) -> Any:
        # The next one is to be a new process, also where this one has lived through a lack of memory.
        dismiss(self.workers.pool)
        self.task.lake.remove(_asked_key(self.task, self.batch))
        return self.workers.call(self.what, function, self.task, self.batch, *args)

    def _learnt(self, known: Deaths, how: str, error: Exception) -> Deaths:
        """What this death adds; kept, before it is acted upon."""
        first, end, count = self._asked()
        known = known.but(deaths=known.deaths + 1, suspects=(first, end))
        if count == 0:
            _keep(self.task, self.batch, known.but(deaths=0, suspects=None))
            raise WorkerError(
                f"the process that worked on {self.what} died twice or more ({how}), and not while it predicted",
                state="complete batches are kept",
                next_step="look for a lack of memory (lower limits.batch_rows or limits.workers) or a fault in the "
                "model's own code, and run it again",
            ) from error
        if count == 1:
            known = known.but(culprits={**known.culprits, first: how}, suspects=None)
            log.warning(
                "Row %s ends the process that scores it (%s), and is taken out of the %s", f"{first:,}", how, self.what
            )
        else:
            told = "The process that worked on %s died again (%s); those to blame are among %s of its rows"
            log.warning(told, self.what, how, f"{count:,}")
        _keep(self.task, self.batch, known)
        if known.deaths >= MOST_DEATHS or len(known.culprits) > self.task.give_up_after:
            raise self._gave_up(known) from error
        return known

    def _asked(self) -> tuple[int, int, int]:
        """The bounds and the number of the rows that the model was last given; of none where it was not being asked."""
        key = _asked_key(self.task, self.batch)
        lines = self.task.lake.read_text(key).splitlines() if self.task.lake.exists(key) else []
        with contextlib.suppress(ValueError):
            first, end, count = map(int, lines[-1].split()) if lines else (0, 0, 0)
            return first, end, count
        return 0, 0, 0

    def _no_row_to_blame(self, known: Deaths) -> WorkerError:
        """It dies of many rows at once, and of none alone."""
        # Whoever has made room, or has fewer rows in a batch, begins anew.
        _keep(self.task, self.batch, known.but(deaths=0, suspects=None))
        return WorkerError(
            f"the process that worked on {self.what} died twice or more, and of none of its rows alone: most likely they "
            "were too many for the memory that there is",
            state="complete batches are kept",
            next_step="lower limits.batch_rows or limits.workers, or give it more memory, and run it again",
        )

    def _gave_up(self, known: Deaths) -> ModelBlocked:
        culprits = [f"row {row:,} ({how})" for row, how in list(known.culprits.items())[:_MOST_SHOWN]]
        shown = f", such as {', '.join(culprits)}" if culprits else ""
        return ModelBlocked(
            f"{self.task.model} ended its process {known.deaths:,} times in {self.what}; rows to blame "
            f"so far: {len(known.culprits):,}{shown}",
            state="the batch was given up, and nothing of it was published",
            next_step="look at what these rows have in common, mend the source, the suite or the model, and run it again",
        )


# -- in the child -----------------------------------------------------------------------------------------------------


def _score(task: Scoring, batch: int, culprits: Mapping[int, str]) -> BatchScored:
    _be_silent()
    return score_batch(task, batch, culprits, _Noted(task, batch))


def _find(task: Scoring, batch: int, culprits: Mapping[int, str], suspects: tuple[int, int]) -> None:
    """Gives the suspects to the model, part by part, and so comes to its end. It returns where no part ends it.

    Some of them do together: where all parts but the last do not, that is in the last, which is cut in its turn.
    """
    _be_silent()
    table, rows = rows_to_score(task, batch, culprits)
    first, last = rows.searchsorted(suspects)
    table, rows = table.slice(int(first), int(last - first)), rows[first:last]
    model, watch = model_of(task), _Noted(task, batch)

    def give(start: int, end: int) -> None:
        score_with_bisection(
            model,
            table.slice(start, end - start),
            rows[start:end],
            task.job.output.columns,
            give_up_after=task.give_up_after,
            watch=watch,
        )

    start, end = 0, len(rows)
    while end - start > 1:
        part = -(-(end - start) // _PARTS)
        while end - start > part:
            give(start, start + part)
            start += part
    give(start, end)


def _be_silent() -> None:
    """The first death has printed where it came from; the others would print it again."""
    faulthandler.disable()


@dataclass(frozen=True)
class _Noted:
    """Notes which rows the model is given: their bounds and their number."""

    task: Scoring
    batch: int

    def __call__(self, rows: rejects.Rows) -> None:
        first, end = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        self.task.lake.append(_asked_key(self.task, self.batch), f"{first} {end} {len(rows)}\n".encode())


# -- what is known ----------------------------------------------------------------------------------------------------


def _read(task: Scoring, batch: int) -> Deaths:
    key = _known_key(task, batch)
    with contextlib.suppress(LakeCorrupt):
        # What cannot be read is found out again.
        return read_beside(task.lake, key, Deaths, wrong="does not say which rows end a process") or Deaths()
    return Deaths()


def _keep(task: Scoring, batch: int, known: Deaths) -> Deaths:
    task.lake.write_bytes(_known_key(task, batch), known.model_dump_json().encode())
    return known


def _how(error: Exception) -> str:
    if isinstance(error, ChildDied):
        return error.how
    return " ".join(f"MemoryError: {error}".split()).removesuffix(":")[:_LONGEST_HOW]


def _known_key(task: Scoring, batch: int) -> str:
    return f"{task.workspace}/batches/{batch:06d}.died"


def _asked_key(task: Scoring, batch: int) -> str:
    return f"{task.workspace}/batches/{batch:06d}.asked"
