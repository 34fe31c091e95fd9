"""Prune: what has outlived the retention of jobs goes, from the lake and from the Prefect server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

from prefect.runtime import flow_run

from tasks.core.definitions.project import Project
from tasks.core.definitions.retention import Retention
from tasks.core.errors import DefinitionError, Incomplete, LamplighterError
from tasks.core.pages import wording
from tasks.core.pruning import pruning
from tasks.core.pruning.records import Pruned
from tasks.core.records import Record
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.orchestration import events
from tasks.orchestration.pruning import prune_runs
from tasks.outcome import show_table
from tasks.stage import Stage

# no: it is only said. policy: of the jobs whose `retention.apply` says so. yes: of all that are asked for.
Apply = Literal["no", "policy", "yes"]
_MOST_NAMED = 5


class Summary(Record):
    """What has outlived the policies of jobs; of the server, and of no job, the entries without one."""

    found: tuple[Pruned, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def state_name(self) -> str:
        return "Pruned" if any(one.applied and one.count for one in self.found) else "NothingPruned"

    @property
    def changed(self) -> list[str]:
        """The jobs of which anything has gone from the lake."""
        return sorted({one.job for one in self.found if one.job and one.applied and one.count})

    @property
    def left(self) -> tuple[str, ...]:
        return tuple(f"{one.job} {each}" for one in self.found for each in one.left)

    def __str__(self) -> str:
        gone, would = (_in_words([one for one in self.found if one.applied is applied]) for applied in (True, False))
        parts = [f"removed: {gone}" if gone else "", f"would go: {would}" if would else ""]
        left = f"{wording.plural(len(self.left), 'thing')} left for the next time" if self.left else ""
        return "; ".join(filter(None, [*parts, left])) or "nothing has outlived its retention"


def prune_lake(job: str = "", apply: Apply = "no", now: dt.datetime | None = None) -> list[Pruned]:
    """What has outlived the policies in the lake: of one job, or of all and of killed writers' litter."""
    lake, project, names = _asked(job)
    at = instant(now)
    if not lake.exists(""):
        raise DefinitionError(
            f"there is no lake in {lake.address()}, so nothing in it is old",
            next_step="set LAMPLIGHTER_LAKE to its folder",
        )
    done = [pruning.attempt(lake, project, name, now=at, apply=_applies(project, name, apply)) for name in names]
    return done if job else [*done, pruning.prune_litter(lake, now=at, apply=apply != "no")]


def prune_server(job: str = "", apply: Apply = "no", now: dt.datetime | None = None) -> Summary:
    """What has outlived the policies on the Prefect server that is named; nothing where none is. A server that does not
    answer is a problem that is said, and no more.
    """
    _, project, names = _asked(job)
    if not events.has_server():
        return Summary()
    try:
        policies, common = _policies(project, names), Retention.model_validate(project.defaults().get("retention", {}))
        applied = [name for name in policies if _applies(project, name, apply)]
        of_none = [""] if apply == "yes" or (apply == "policy" and common.apply) else []
        found = prune_runs(
            policies,
            None if job else common.prefect_runs,
            now=instant(now),
            applied=[*applied, *of_none],
        )
    except LamplighterError as error:
        return Summary(problems=(str(error),))
    return Summary(found=tuple(found))


def concluded(lake: Sequence[Pruned], server: Summary) -> Summary:
    """The summary of both; Incomplete, with it, where something could not be looked at or removed."""
    problems = [f"{one.job or 'the litter'}: {one.problem}" for one in lake if one.problem]
    summary = Summary(found=(*lake, *server.found), problems=(*problems, *server.problems))
    _show(summary)
    if not summary.problems:
        return summary
    more = len(summary.problems) - _MOST_NAMED
    error = Incomplete(
        f"{'; '.join(summary.problems[:_MOST_NAMED])}{f'; and {more} more' if more > 0 else ''}",
        state=f"all else was looked at: {summary}",
        next_step="mend that, and run it again: lamplighter prune",
    )
    error.summary = summary
    raise error


def instant(now: dt.datetime | None) -> dt.datetime:
    """From when ages count: the present, unless it is said. DefinitionError for an instant to come."""
    present = dt.datetime.now(dt.UTC)
    if now is not None and now > present:
        raise DefinitionError(
            f"{now:%Y-%m-%d %H:%M} UTC is still to come, and what is young today is not old because of that",
            state="nothing was removed",
            next_step="give an instant that has passed, or leave --as-of out",
        )
    return now or present


def named() -> str:
    """The run's name in the Prefect UI."""
    given = flow_run.parameters
    return f"prune {given.get('job') or 'all jobs'}{', list only' if given.get('apply', 'no') == 'no' else ''}"


def _asked(job: str) -> tuple[Lake, Project, list[str]]:
    settings = Settings()
    lake, project = Lake(settings.lake), Project(Folder(settings.project))
    if job:
        project.load(job, suites=False)
    return lake, project, [job] if job else project.job_names()


def _applies(project: Project, name: str, apply: Apply) -> bool:
    if apply != "policy":
        return apply == "yes"
    try:
        return project.load(name, suites=False).job.retention.apply
    except LamplighterError:
        # It is told where the job itself is looked at.
        return False


def _policies(project: Project, names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = project.load(name, suites=False).job.retention.prefect_runs
        except LamplighterError:
            continue
    return found


def _in_words(found: Sequence[Pruned]) -> str:
    things, size = sum(one.count for one in found), sum(one.bytes for one in found)
    return f"{wording.plural(things, 'thing')}, {wording.size(size)}" if things else ""


def _show(summary: Summary) -> None:
    rows = [
        {"job": one.job or "all", **line.model_dump(mode="json", include={"kind", "policy", "count", "bytes", "kept"})}
        for one in summary.found
        for line in one.lines
        if line.count
    ]
    show_table("prune", rows, str(summary))


remove_outlived = Stage("Look for what has outlived its retention", prune_lake)
remove_runs = Stage("Look for runs on the Prefect server", prune_server)
conclude = Stage("Say what was found", concluded)
