"""Examines a version in a process of its own: the load gate, what the jobs ask of it, its scores, its time and memory."""

from __future__ import annotations

import sys
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core.definitions.job import Limits
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import ModelBlocked
from tasks.core.models.model import LoadedModel, PredictRaised, predict, score_with_bisection
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.prediction import predicts_classes
from tasks.core.models.registry import Registry
from tasks.core.storage import Lake
from tasks.core.workers import Workers, dismiss, peak_memory_bytes, worker_count
from tasks.shards.loading import loaded

# A lap is over with the batch that reaches so many rows.
_TIMED_ROWS = 100_000


@dataclass(frozen=True)
class Terms:
    """What a job asks of a version: the types that its file may name, and the columns that it must make."""

    job: str
    allowed_types: tuple[str, ...]
    outputs: dict[str, Prediction]


@dataclass(frozen=True)
class Examination:
    """Which version is examined, and by whose terms. `rows` is the key of the rows to score, by the first terms."""

    lake: Lake
    version: ModelVersion
    terms: tuple[Terms, ...]
    rows: str | None
    give_up_after: int


@dataclass(frozen=True)
class Examined:
    """What came of it: by job why its columns cannot be made; the scores of the rows that could be scored, and which."""

    warnings: tuple[str, ...]
    probed: int
    unfit: dict[str, str]
    is_classifier: bool
    scores: npt.NDArray[Any] | None = None
    scored: npt.NDArray[np.int64] | None = None
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class Lap:
    """One pass over some rows."""

    rows: int
    seconds: float


def examine(task: Examination) -> Examined:
    """ModelBlocked where the version does not pass the load gate by the terms of every job."""
    models = {terms.job: _loaded(task, terms) for terms in task.terms}
    model = models[task.terms[0].job]
    probe, _ = Registry(task.lake).probe(task.version)
    unfit = {terms.job: why for terms in task.terms if (why := _why_unfit(models[terms.job], terms, probe))}
    found = Examined(
        warnings=model.warnings,
        probed=len(probe),
        unfit=unfit,
        is_classifier=predicts_classes(model, next(iter(task.terms[0].outputs.values()))),
        peak_memory_bytes=peak_memory_bytes(*model.processes),
    )
    return found if task.rows is None or unfit else _scored(task, model, found)


def clock(task: Examination) -> Lap:
    """How long the first rows take, batch by batch; the model stands loaded in the process that has examined it."""
    terms = task.terms[0]
    model, rows, seconds = _loaded(task, terms), 0, 0.0
    for number in range(_batches(task)):
        table = _batch(task, number)
        started = time.perf_counter()
        score_with_bisection(model, table, np.arange(len(table)), terms.outputs, give_up_after=task.give_up_after)
        rows, seconds = rows + len(table), seconds + time.perf_counter() - started
        if rows >= _TIMED_ROWS:
            break
    return Lap(rows, seconds)


class Process:
    """A process in which one version is examined; it lasts until it is dismissed, so that its memory is this model's."""

    def __init__(self, task: Examination, limits: Limits, batches: int) -> None:
        self._task = task
        self._workers = Workers(
            # As many threads as when a window of many batches is scored.
            worker_count(limits.workers, sys.maxsize, "always"),
            limits.batch_timeout_seconds * (batches + 1),
            pool=f"examination {uuid.uuid4().hex}",
        )

    def examine(self) -> Examined:
        return self._workers.call(f"the examination of {self._task.version}", examine, self._task)

    def clock(self) -> Lap:
        return self._workers.call(f"the timing of {self._task.version}", clock, self._task)

    def dismiss(self) -> None:
        dismiss(self._workers.pool)


def _loaded(task: Examination, terms: Terms) -> LoadedModel:
    return loaded(task.lake, task.version, terms.allowed_types, probe=True)


def _why_unfit(model: LoadedModel, terms: Terms, probe: Any) -> str | None:
    """Why the columns of a job cannot be made of the version's own probe rows."""
    try:
        predict(model, probe, terms.outputs)
    except PredictRaised as error:
        return error.message
    except ModelBlocked as error:
        return error.failed
    return None


def _scored(task: Examination, model: LoadedModel, found: Examined) -> Examined:
    outputs = task.terms[0].outputs
    first, scores, scored, done = next(iter(outputs)), [], [], 0
    for number in range(_batches(task)):
        table = _batch(task, number)
        rows = np.arange(done, done + len(table))
        made, kept, _ = score_with_bisection(model, table, rows, outputs, give_up_after=task.give_up_after)
        scores.append(made[first].to_numpy())
        scored.append(kept)
        done += len(table)
    return replace(
        found,
        scores=np.concatenate(scores),
        scored=np.concatenate(scored),
        peak_memory_bytes=peak_memory_bytes(*model.processes),
    )


def _batches(task: Examination) -> int:
    with task.lake.parquet(str(task.rows)) as file:
        return int(file.num_row_groups)


def _batch(task: Examination, number: int) -> Any:
    with task.lake.parquet(str(task.rows)) as file:
        return file.read_row_group(number)
