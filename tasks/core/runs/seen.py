"""What readers see of a window, from the lake alone; a manifest is read only as far as that needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.core import layout
from tasks.core.records import read_record
from tasks.core.runs.manifest import MENDED, State, Verdict
from tasks.core.runs.showing import showing
from tasks.core.storage import Folder


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Model(_Part):
    name: str
    version: int


class _Rows(_Part):
    scored: int = 0


class _Trigger(_Part):
    kind: str = "manual"


class Glance(_Part):
    """The few parts of a manifest that tell how its run ended. The rest of a manifest is long."""

    state: State
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    next_step: str = ""
    model: _Model
    rows: _Rows = _Rows()
    shadow: bool = False
    trigger: _Trigger = _Trigger()
    started_at: dt.datetime
    finished_at: dt.datetime | None = None
    run_id: str = ""

    @property
    def is_published(self) -> bool:
        return self.state == "concluded" and self.verdict in ("published", "published_with_warnings")

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended: it is at work, or was killed."""
        return self.state in ("running", "publishing")


def glance(lake: Folder, job: str, as_of: str, run_id: str) -> Glance | None:
    """How a run ended; None where it has no manifest, LakeCorrupt where that is none."""
    key = f"{layout.workspace(job, as_of, run_id)}/manifest.json"
    if not lake.exists(key):
        return None
    found = read_record(lake, key, Glance, wrong="is not a manifest", next_step=MENDED)
    return found.model_copy(update={"run_id": run_id})


def readers_see(lake: Folder, job: str, as_of: str) -> str:
    """In words: the run whose rows readers get of this window now, if any."""
    seen = showing(lake, job, as_of)
    if seen is None:
        return "nothing of this window"
    return sentence(seen.run_id, glance(lake, job, as_of, seen.run_id))


def sentence(run_id: str, seen: Glance | None) -> str:
    """A run that is visible, in words."""
    if seen is None:
        return f"run {run_id}"
    at = f", published {seen.finished_at:%Y-%m-%d %H:%M} UTC" if seen.finished_at else ""
    where = " in shadow" if seen.shadow else ""
    return f"run {run_id}{at}{where}, {seen.rows.scored:,} rows, model {seen.model.name}/{seen.model.version:04d}"


class Answer(_Part):
    """Whether readers see a window, for a script."""

    job: str
    as_of: str
    verdict: Literal["published", "published_with_warnings", "in shadow", "blocked", "failed", "running", "not there"]
    is_published: bool = False
    run_id: str = ""
    model: str = ""
    rows: int = 0
    finished_at: dt.datetime | None = None
    why: str = ""
    readers_see: str = ""
    next_step: str = ""

    @property
    def exit_code(self) -> int:
        """0: published. 3: blocked. 1: not there, or failed."""
        if self.is_published:
            return 0
        return 3 if self.verdict == "blocked" else 1

    def __str__(self) -> str:
        if self.is_published:
            at = f" {self.finished_at:%Y-%m-%d %H:%M} UTC" if self.finished_at else ""
            return f"{self.job} {self.as_of}: published{at}, {self.rows:,} rows by run {self.run_id} with {self.model}."
        why = f": {self.why.rstrip('.')}" if self.why else ""
        return f"{self.job} {self.as_of}: {self.verdict}{why}. Next: {self.next_step}"


def answer(lake: Folder, job: str, as_of: str) -> Answer:
    """Whether readers see a window: the run that its table holds, or what became of the last one.

    A window that is published stays so while it is scored again, and when that is blocked.
    """
    shown = showing(lake, job, as_of)
    visible = shown.run_id if shown else None
    seen = glance(lake, job, as_of, visible) if visible else None
    if shown and shown.shadow:
        return _in_shadow(job, as_of, shown.run_id, seen)
    if visible and (seen is None or seen.is_published or seen.state == "publishing"):
        return _published(job, as_of, visible, seen)
    runs = (glance(lake, job, as_of, run) for run in lake.names(layout.runs(job, as_of)))
    last = latest(one for one in runs if one)
    again = f"lamplighter score {job} --as-of {as_of}"
    if last is None:
        return Answer(job=job, as_of=as_of, verdict="not there", why="no run of it has begun", next_step=again)
    if last.is_open:
        return _at_work(lake, job, as_of, last)
    if last.state != "concluded":
        why = "what it had was withdrawn"
        return Answer(
            job=job, as_of=as_of, verdict="not there", why=why, next_step=f"lamplighter backfill {job} --queued"
        )
    verdict: Any = last.verdict or "not there"
    show = last.next_step or f"lamplighter show {job} --as-of {as_of}"
    return Answer(
        job=job, as_of=as_of, verdict=verdict, run_id=last.run_id, why="; ".join(last.reasons), next_step=show
    )


def latest(found: Iterable[Glance]) -> Glance | None:
    """The run that ended last, or one that has not ended. One that is taken up again keeps the time at which it began."""
    return max(found, key=lambda one: (one.is_open, one.finished_at or one.started_at), default=None)


def _published(job: str, as_of: str, run_id: str, seen: Glance | None) -> Answer:
    if seen is None:
        return Answer(job=job, as_of=as_of, verdict="published", is_published=True, run_id=run_id)
    return Answer(
        job=job,
        as_of=as_of,
        verdict="published_with_warnings" if seen.verdict == "published_with_warnings" else "published",
        is_published=True,
        run_id=run_id,
        model=f"{seen.model.name}/{seen.model.version:04d}",
        rows=seen.rows.scored,
        finished_at=seen.finished_at,
    )


def _in_shadow(job: str, as_of: str, run_id: str, seen: Glance | None) -> Answer:
    """Whoever waits for predictions/ has nothing of it yet."""
    found = _published(job, as_of, run_id, seen)
    return found.model_copy(
        update={
            "verdict": "in shadow",
            "is_published": False,
            "why": f"{found.rows:,} rows of run {run_id} are in shadow/, and none in predictions/",
            "next_step": f'set output.shadow: false, and lamplighter score {job} --as-of {as_of} --rescore "why"',
        }
    )


def _at_work(lake: Folder, job: str, as_of: str, last: Glance) -> Answer:
    if lake.is_locked(layout.lock(job, as_of)):
        why, then = f"run {last.run_id} is at work", f"lamplighter published {job} --as-of {as_of} --wait 2h"
        return Answer(job=job, as_of=as_of, verdict="running", run_id=last.run_id, why=why, next_step=then)
    why, then = "its run was killed", f"lamplighter score {job} --as-of {as_of}"
    return Answer(job=job, as_of=as_of, verdict="failed", run_id=last.run_id, why=why, next_step=then)
