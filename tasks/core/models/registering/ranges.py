"""On which windows a version is made: those that the job's `training` names, or all of them so many windows later."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import LABELLED, Training, WindowRange
from tasks.core.definitions.schedule import length
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError


@dataclass(frozen=True)
class Ranges:
    """What a version is trained by, with the ranges that it really is made of: `shift` windows after the job's own."""

    training: Training
    until: str = ""
    shift: int = 0

    @property
    def learnt_from(self) -> WindowRange:
        """From the first window that it is fitted on to the last that it is fitted or calibrated on."""
        return WindowRange(first=self.training.fit.first, last=(self.training.calibrate or self.training.fit).last)

    def __str__(self) -> str:
        calibrated = f", calibrated on {self.training.calibrate}" if self.training.calibrate else ""
        return f"windows {self.training.fit}{calibrated}{f', {self.shifted}' if self.shift else ''}"

    @property
    def shifted(self) -> str:
        """How far from the job's own ranges, in words."""
        if not self.shift:
            return "as the job says"
        count = f"{abs(self.shift):,} window{'' if abs(self.shift) == 1 else 's'}"
        return f"{count} {'later' if self.shift > 0 else 'earlier'} than the job says"


def ranges_until(job: Job, training: Training, until: str, now: dt.datetime) -> Ranges:
    """The ranges of `training`, shifted together so that the benchmark ends with a window; '' leaves them as they are.

    `until` is that window's label, or 'labelled': the newest window whose labels are due at the instant `now`, and never
    one before the job's own. DefinitionError for what is no window, or one whose labels are not due yet.
    """
    if not until:
        return Ranges(training)
    ends = job.window.parse(training.benchmark.last)
    if until == LABELLED:
        newest = newest_labelled(job, now)
        # Labels can be there before they are due, and the job's own ranges are its owner's affair.
        target = newest if newest.start > ends.start else ends
    else:
        target = _window_asked_for(job, until, now)
    by = job.window.steps(ends, target)
    ranges = {name: _shifted(job, getattr(training, name), by) for name in ("fit", "calibrate", "benchmark")}
    return Ranges(training.model_copy(update=ranges), until, by)


def newest_labelled(job: Job, now: dt.datetime) -> Window:
    """The newest window whose labels are due: window.end + labels.delay <= now."""
    return job.window.last_ended(now - _delay(job))


def _window_asked_for(job: Job, until: str, now: dt.datetime) -> Window:
    try:
        window = job.window.parse(until)
    except DefinitionError as error:
        raise DefinitionError(
            f"until: {error.failed}",
            state="nothing was trained",
            next_step=f"give a window, such as {newest_labelled(job, now).as_of}, or '{LABELLED}'",
        ) from error
    if window.end + _delay(job) > now:
        # Labels that come early are not like the others.
        raise DefinitionError(
            f"until: the labels of {until} are due at {window.end + _delay(job):%Y-%m-%d %H:%M} UTC, which is still to come",
            state="nothing was trained",
            next_step=f"give {newest_labelled(job, now).as_of} or an earlier window, or '{LABELLED}'; see labels.delay in "
            "the job's YAML",
        )
    return window


def _shifted(job: Job, windows: WindowRange | None, by: int) -> WindowRange | None:
    if windows is None or not by:
        return windows
    try:
        first, last = (job.window.shifted(job.window.parse(one), by).as_of for one in (windows.first, windows.last))
    except (ValueError, OverflowError) as error:
        raise DefinitionError(
            f"until: {windows.first} is too early to be shifted by {-by:,} windows",
            state="nothing was trained",
            next_step="give a later window",
        ) from error
    return WindowRange(first=first, last=last)


def _delay(job: Job) -> dt.timedelta:
    return length(job.labels.delay) if job.labels else dt.timedelta()
