"""On which windows two versions are held against each other: such as neither has learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import WindowRange
from tasks.core.errors import DefinitionError
from tasks.core.models.model_version import TrainingRecord

_DAY = len("2013-07-01")


@dataclass(frozen=True)
class Trained:
    """Of a version: what it was fitted and calibrated on, and the windows of its benchmark, which it has not seen.

    The benchmark of one that does not say what it has learnt from is None: it may have seen those rows.
    """

    record: TrainingRecord | None = None
    benchmark: WindowRange | None = None

    @classmethod
    def of(cls, record: TrainingRecord | None, benchmark: Mapping[str, Any]) -> Trained:
        first, last = benchmark.get("first"), benchmark.get("last")
        windows = WindowRange(first=first, last=last) if first and last else None
        return cls(record, windows if windows and overlaps(windows, record) is False else None)


@dataclass(frozen=True)
class HeldOut:
    """The windows of a comparison; in place of which others, where a version had learnt from some of those."""

    windows: WindowRange
    instead_of: WindowRange | None = None


def held_out_windows(job: Job, candidate: Trained, production: Trained) -> HeldOut | None:
    """Those that the job names for it; else the job's benchmark, or that of one of the two, where a version was trained
    on other windows than the job says by now. None where the job says nothing of either.

    The first of them that neither has learnt from; else that the candidate has not; else the job's, and the gate refuses.
    """
    if job.promotion.windows:
        return HeldOut(job.promotion.windows)
    if job.training is None:
        return None
    asked = job.training.benchmark
    others = [one for one in (candidate.benchmark, production.benchmark) if one and is_of(job, one)]
    fair = [one for one in (asked, *others) if not overlaps(one, candidate.record)]
    fairest = [one for one in fair if not overlaps(one, production.record)]
    chosen = next(iter(fairest + fair), asked)
    return HeldOut(chosen, None if chosen == asked else asked)


def overlaps(windows: WindowRange, record: TrainingRecord | None) -> bool | None:
    """None where it is not known. Labels sort by time; a day and an hour are compared by their days."""
    if record is None or record.first is None or record.last is None:
        return None
    bounds = (windows.first, windows.last, record.first, record.last)
    length = _DAY if len({len(one) for one in bounds}) > 1 else None
    first, last, began, ended = (one[:length] for one in bounds)
    return first <= ended and began <= last


def is_of(job: Job, windows: WindowRange) -> bool:
    """Whether they are windows of this job: another one of the model may have made the version."""
    try:
        return job.window.parse(windows.first).start <= job.window.parse(windows.last).start
    except DefinitionError:
        return False
