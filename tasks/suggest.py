"""Suggest: a first suite for a job, from a sample of one window; written where none stands, for a person to edit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Definition, Project, suite_key
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, WindowBlocked
from tasks.core.rows.conform import conform
from tasks.core.rows.digest import hash_rows
from tasks.core.rows.snapshot import are_given
from tasks.core.settings import Settings
from tasks.core.source import open_window
from tasks.core.storage import Folder, Lake
from tasks.secrets import secret_address
from tasks.shards.validating.suggest import suggest_suite
from tasks.shards.validation import judge_table, load_checked

_SEED = 0
_OF_ROW_COUNT = ("expect_table_row_count_to_be_between",)
# The stubs of pyarrow.compute know few of the shapes that its functions take.
pc: Any = pyarrow.compute


@dataclass(frozen=True)
class Suggestion:
    """A suite that was written: whether the job names it, its file, the sample it holds on, and what was left out because it did not."""

    name: str
    is_named: bool
    path: str
    rows: int
    window_rows: int
    expectations: tuple[dict[str, Any], ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """Rows of a window, drawn evenly over it; from how many that could be scored; and how many were read in all."""

    table: pa.Table
    drawn_from: int
    window_rows: int


def suggest(job: str, as_of: str, *, most_rows: int) -> Suggestion:
    """Writes expectations/<suite>.json; DefinitionError where one stands, which is left as it is."""
    project = Lake(Settings().project)
    definition = Project(project).load(job, suites=False)
    window = definition.job.window.parse(as_of)
    name = definition.job.suite or job
    if project.exists(suite_key(name)):
        raise _stands_already(project, name)
    sample = sample_window(definition, project, window, most_rows)
    found = suggest_suite(
        sample.table,
        name=name,
        keys=definition.job.keys,
        event_time=definition.job.event_time,
        window_rows=sample.drawn_from,
        origin=f"{job} {as_of}",
    )
    suite, left_out = _that_holds(found, definition.job, sample)
    text = json.dumps(suite, indent=2, ensure_ascii=False) + "\n"
    if not project.create(suite_key(name), text.encode()):
        raise _stands_already(project, name)
    return Suggestion(
        name=name,
        is_named=definition.job.suite is not None,
        path=str(project.path(suite_key(name))),
        rows=len(sample.table),
        window_rows=sample.window_rows,
        expectations=tuple(suite["expectations"]),
        left_out=left_out,
    )


def sample_window(definition: Definition, project: Folder, window: Window, most_rows: int) -> Sample:
    """At most so many rows of the window, each as likely as another; without those that a pull takes out."""
    job, rows, scorable = definition.job, 0, 0
    random = np.random.default_rng(_SEED)
    kept, drawn = job.arrow_schema.empty_table(), np.empty(0)
    with open_window(definition, window, project=project, read_block=secret_address) as stream:
        for batch in stream:
            rows += batch.num_rows
            whole = _scorable(batch, job, window)
            scorable += len(whole)
            kept, drawn = pa.concat_tables([kept, whole]), np.append(drawn, random.random(len(whole)))
            if len(kept) > most_rows:
                least = np.sort(np.argpartition(drawn, most_rows)[:most_rows])
                kept, drawn = kept.take(least), drawn[least]
    alone = kept.filter(_once(hash_rows(kept, job.keys))) if len(kept) else kept
    if not len(alone):
        raise WindowBlocked(
            f"{job.job} {window.as_of} has no row to learn from ({rows:,} were read)",
            state="nothing was written",
            next_step="name a window that has rows",
        )
    return Sample(alone.combine_chunks(), scorable - len(kept) + len(alone), rows)


def _scorable(batch: pa.RecordBatch, job: Job, window: Window) -> pa.Table:
    """The rows that have a key, values of their types, and an event time in the window."""
    typed, rejections = conform(batch, job.arrow_schema, 0, may_lack=job.may_lack)
    keep = np.ones(typed.num_rows, dtype=bool)
    keep[[row for row, _ in rejections]] = False
    keep &= are_given(typed, (*job.keys, *filter(None, [job.event_time])))
    if job.event_time:
        times = typed[job.event_time]
        inside = pc.and_(pc.greater_equal(times, window.start), pc.less(times, window.end))
        keep &= inside.fill_null(False).to_numpy(zero_copy_only=False)
    return pa.Table.from_batches([typed]).filter(keep)


def _once(hashes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which rows have a key that no other row has."""
    _, places, counts = np.unique(hashes, axis=0, return_inverse=True, return_counts=True)
    alone: npt.NDArray[np.bool_] = counts[places.reshape(-1)] == 1
    return alone


def _that_holds(suite: dict[str, Any], job: Job, sample: Sample) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The suite with only what loads and holds on the very sample; and what was left out, in words."""
    loaded = load_checked(json.dumps(suite), suite["name"], job.arrow_schema)
    result = judge_table(loaded, sample.table)
    # How many rows the window has was counted over all of it: a part of them cannot prove it.
    is_part = sample.drawn_from > len(sample.table)
    holds = [one.success or (is_part and one.type in _OF_ROW_COUNT) for one in result.results]
    kept = [one for one, held in zip(suite["expectations"], holds, strict=True) if held]
    left_out = tuple(one.sentence for one, held in zip(result.results, holds, strict=True) if not held)
    return suite | {"expectations": kept}, left_out


def _stands_already(project: Folder, name: str) -> DefinitionError:
    return DefinitionError(
        f"{project.path(suite_key(name))} stands already",
        state="it was left as it is",
        next_step="edit it; or move it away, and suggest again",
    )
