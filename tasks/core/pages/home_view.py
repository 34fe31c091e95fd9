"""The list of all jobs, which can be narrowed to one owner's by a link: no script, no server."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.pages import environment, verdicts, wording
from tasks.core.pages.inputs import JobLine, ModelLine
from tasks.core.pages.monitoring_view import KINDS

MOST_JOBS, MOST_OWNERS, _LATE_SHOWN = 1000, 100, 3
_NEED_A_LOOK = ("failed", "blocked", "withdrawn")
_ORDER = {verdict: rank for rank, verdict in enumerate(verdicts.WORST_FIRST)}
_NOBODY = "no owner"


@dataclass(frozen=True)
class Owner:
    """An owner in the row of links: `mark` is the class of its jobs' lines, `anchor` the address that picks them."""

    name: str
    mark: str
    anchor: str
    jobs: int
    need: int


@dataclass(frozen=True)
class Chip:
    """An alarm of `monitor` that stands, or what the last audit has found."""

    words: str
    tone: verdicts.Tone


@dataclass(frozen=True)
class Row:
    """A job in the table."""

    job: JobLine
    mark: str
    words: str
    tone: verdicts.Tone
    late: str
    alarms: tuple[Chip, ...]


def render_home(
    jobs: Sequence[JobLine], models: Sequence[ModelLine] = (), *, written_at: dt.datetime | None = None
) -> str:
    """The list of jobs, those that need a look first, and the list of models."""
    owners = _owners(jobs)
    marks = {one.name: one.mark for one in owners}
    rows = [_row(one, marks.get(_owner(one), "")) for one in sorted(jobs, key=_rank)[:MOST_JOBS]]
    return environment.render(
        "home.html.jinja",
        rows=rows,
        owners=owners if len(owners) > 1 else [],
        jobs_count=len(jobs),
        models=models[:MOST_JOBS],
        models_count=len(models),
        heading=_heading(len(jobs), sum(map(_needs_a_look, jobs))),
        written_at=written_at,
    )


def _owners(jobs: Sequence[JobLine]) -> list[Owner]:
    """Who owns any of the jobs, by name; the anchors depend on nothing but the names, so that a link to one lasts."""
    names = sorted({_owner(one) for one in jobs}, key=lambda name: (name == _NOBODY, name.lower(), name))
    found: list[Owner] = []
    for name in names[:MOST_OWNERS]:
        theirs = [one for one in jobs if _owner(one) == name]
        anchor = _anchor(name, {one.anchor for one in found})
        found.append(Owner(name, f"o{len(found)}", anchor, len(theirs), sum(map(_needs_a_look, theirs))))
    return found


def _anchor(name: str, taken: set[str]) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = "owner-" + (re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:60] or "x")
    number, anchor = 2, plain
    while anchor in taken:
        number, anchor = number + 1, f"{plain}-{number}"
    return anchor


def _owner(line: JobLine) -> str:
    return line.owner.strip() or _NOBODY


def _needs_a_look(line: JobLine) -> bool:
    return bool(
        line.problem
        or line.late
        or line.alarms
        or _is_broken(line)
        or (line.last and line.last.verdict in _NEED_A_LOOK)
    )


def _rank(line: JobLine) -> tuple[bool, int, str]:
    if line.problem:
        return False, -1, line.job
    by_verdict = _ORDER[line.last.verdict] if line.last else len(_ORDER)
    # Late weighs as much as blocked: readers do not have what they were promised.
    return not _needs_a_look(line), min(by_verdict, _ORDER["blocked"]) if line.late else by_verdict, line.job


def _row(line: JobLine, mark: str) -> Row:
    if line.problem:
        return Row(line, mark, "Cannot run", "bad", _late(line), _alarms(line))
    last = line.last
    words = verdicts.words_of(last.verdict, shadow=last.shadow) if last else "No window yet"
    return Row(line, mark, words, verdicts.tone(line.last.verdict) if line.last else "idle", _late(line), _alarms(line))


def _alarms(line: JobLine) -> tuple[Chip, ...]:
    of_audit = (
        [Chip(f"audit: {wording.plural(line.audit.count, 'break')}", "bad")] if line.audit and line.audit.count else []
    )
    return (
        *of_audit,
        *(Chip(f"{KINDS[one.kind][1]} since {wording.cut(one.onset, 40)}", KINDS[one.kind][2]) for one in line.alarms),
    )


def _is_broken(line: JobLine) -> bool:
    """Whether the last audit has found anything."""
    return bool(line.audit and line.audit.count)


def _late(line: JobLine) -> str:
    """Which windows are late: all of a few, else the first and how many."""
    if len(line.late) <= _LATE_SHOWN:
        return ", ".join(wording.cut(one, 40) for one in line.late)
    return f"{wording.cut(line.late[0], 40)} and {wording.count(len(line.late) - 1)} after it"


def _heading(jobs: int, need: int) -> str:
    if not jobs:
        return "No job has run yet"
    if not need:
        return f"{wording.plural(jobs, 'job')}, and none is late, blocked or failed"
    return f"{wording.count(need)} of {wording.plural(jobs, 'job')} {'needs' if need == 1 else 'need'} a look"
