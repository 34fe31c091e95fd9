"""Commands for whoever waits for a job: status, published. They read the lake and the project; Prefect may be down."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph
from flows.cli.places import the_lake, the_project
from flows.cli.run import AsJson, AsOf, JobArgument
from tasks.core.errors import DefinitionError, LamplighterError

if TYPE_CHECKING:
    from tasks.core.runs.seen import Answer
    from tasks.core.runs.status import JobStatus, WindowStatus

_MOST_SHOWN = 8  # Groups of windows of one job; JSON has all.
_LONGEST_WHY = 300
_LOOK_SECONDS = 2.0
_ALARMS = {"degraded": "performance degraded", "drifted": "data drifted", "labels_late": "labels late"}
_A_LABEL = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{4}Z)?")


@app.command()
def status(
    jobs: Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="The jobs; none: all.")] = None,
    owner: Annotated[str, typer.Option(help="Only the jobs of this owner.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say how the jobs stand: what is late, blocked, failed or killed, what readers see, which alarms stand, what to type next.

    Reads the lake and the project alone. Exit code 0: all is well, also where an alarm of the monitor stands. 3: something is blocked, late, missed or waits to be
    scored again, or the last audit found what is not as its records say. 1: a run failed, was killed or was not delivered, or a job or a record cannot be
    read. 2: there is no such job or owner.
    """
    from tasks.core.runs.status import exit_code, status_of  # noqa: PLC0415

    project, lake, now = the_project(), the_lake(), dt.datetime.now(dt.UTC)
    if not lake.exists(""):
        # Of a lake that is somewhere else, all would be well.
        raise DefinitionError(
            f"there is no lake in {lake.address()}, so nothing has run there",
            next_step="set LAMPLIGHTER_LAKE to its folder",
        )
    found = [status_of(lake, project, name, now=now) for name in _named(jobs or [], project.job_names())]
    found = _of_owner(found, owner)
    if as_json:
        echo_json([{**one.model_dump(mode="json"), "exit_code": one.exit_code} for one in found])
    else:
        for one in found:
            _tell(one)
        paragraph(_summary(found))
    if code := exit_code(found):
        raise typer.Exit(code)


@app.command()
def published(
    job: JobArgument,
    as_of: AsOf,
    wait: Annotated[str, typer.Option(help="How long to wait for it: 30min, 2h.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say in one line whether readers see a window: for a script that needs it.

    Reads the lake alone. Exit code 0: it is published, and stays so while it is scored again. 3: it is blocked. 1: it is
    not there (yet), or its run failed. 2: there is no such job or window. With --wait it looks again until it is
    published or the time is up.
    """
    from tasks.core.runs.seen import answer  # noqa: PLC0415

    _check_window(job, as_of)
    lake, until = the_lake(), time.monotonic() + _seconds(wait)
    found: Answer = answer(lake, job, as_of)
    while not found.is_published and time.monotonic() < until:
        time.sleep(min(_LOOK_SECONDS, max(until - time.monotonic(), 0.0)))
        found = answer(lake, job, as_of)
    if as_json:
        echo_json({**found.model_dump(mode="json"), "exit_code": found.exit_code})
    else:
        paragraph(str(found))
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _named(asked: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """The jobs that were asked for; DefinitionError where one is none, or where there is none at all."""
    if not known:
        raise DefinitionError(
            f"there is no job in {the_project().folder.root}",
            next_step="go to the project, or set LAMPLIGHTER_PROJECT to its folder",
        )
    for name in asked:
        if name not in known:
            the_project().load(name)
    return asked or known


def _of_owner(found: list[JobStatus], owner: str) -> list[JobStatus]:
    """The jobs of an owner. Those that cannot be read may be anybody's; DefinitionError where nobody has this name."""
    if not owner:
        return found
    owners = sorted({one.owner for one in found if one.owner})
    if owner not in owners:
        raise DefinitionError(
            f"no job has the owner '{owner}'; there are: {', '.join(owners) or 'none'}", next_step="lamplighter status"
        )
    return [one for one in found if one.owner == owner or (one.problem and not one.owner)]


def _check_window(job: str, as_of: str) -> None:
    """DefinitionError where no such window can be. Whoever only reads may have a lake and no project, or a broken one."""
    project = the_project()
    if job in project.job_names():
        try:
            definition = project.load(job, suites=False).job
        except LamplighterError:
            definition = None
        if definition is not None:
            definition.window.parse(as_of)
            return
    elif not the_lake().names(f"runs/{job}" if re.fullmatch(r"\w+", job) else "runs/none"):
        project.load(job)
    if not _A_LABEL.fullmatch(as_of):
        raise DefinitionError(f"'{as_of}' is not a window", next_step="give 2013-07-01, or 2013-07-01T0500Z")


def _seconds(wait: str) -> float:
    from tasks.core.definitions.schedule import length  # noqa: PLC0415

    if not wait:
        return 0.0
    try:
        return length(wait).total_seconds()
    except ValueError as error:
        raise DefinitionError(f"--wait: {error}", state="nothing was waited for", next_step="--wait 2h") from error


def _tell(one: JobStatus) -> None:
    owner = f" ({one.owner})" if one.owner else ""
    if one.problem:
        paragraph(f"{one.job}{owner}: {one.problem}")
        return
    kinds = [
        *(window.kind for window in one.windows),
        *(["not as its records say"] if one.audit_findings_count else []),
    ]
    state = ", ".join(dict.fromkeys(kinds)) or "well"
    paragraph(f"{one.job}{owner}: {state}. {_seen(one)}{_at_work(one)}")
    groups = list(_groups(one.windows))
    for group in groups[-_MOST_SHOWN:]:
        paragraph(f"  {_in_words(group)}")
    if len(groups) > _MOST_SHOWN:
        paragraph(f"  and {len(groups) - _MOST_SHOWN} more before: lamplighter runs {one.job} --missing")
    for step in one.next_steps:
        paragraph(f"  Next: {step}")
    if one.alarms:
        paragraph(f"  {_alarms_in_words(one)}")
    _tell_audit(one)
    if one.look_missed:
        paragraph(
            f"  not watched: the last look was on {one.looked_at}, and the flow `monitor` was due at "
            f"{one.look_missed:%Y-%m-%d %H:%M} UTC. Next: lamplighter monitor {one.job}"
        )


def _tell_audit(one: JobStatus) -> None:
    """What the last audit has found: the first of it, and the command for more."""
    if one.audit_findings:
        first, more = one.audit_findings[0], one.audit_findings_count - 1
        others = f" And {more} more: lamplighter audit {one.job}." if more else ""
        paragraph(f"  audit of {one.audited_on}: {first.sentence}. Next: {first.next_step}.{others}")
    if one.audit_missed:
        paragraph(
            f"  not audited: the last audit was on {one.audited_on}, and the flow `audit` was due at "
            f"{one.audit_missed:%Y-%m-%d %H:%M} UTC. Next: lamplighter audit {one.job}"
        )


def _alarms_in_words(one: JobStatus) -> str:
    """All that stand in one line; why, of the newest onset. The monitor's page tells the rest."""
    newest = max(one.alarms, key=lambda alarm: alarm.onset)
    named = ", ".join(f"{_ALARMS[alarm.kind]} since {alarm.onset}" for alarm in one.alarms)
    word = "alarms" if len(one.alarms) > 1 else "alarm"
    why = newest.reason if len(newest.reason) <= _LONGEST_WHY else f"{newest.reason[:_LONGEST_WHY]}..."
    step = newest.next_step or f"lamplighter monitor {one.job}"
    return f"{word} (looked at on {one.looked_at}): {named}. {why} Next: {step}"


def _seen(one: JobStatus) -> str:
    if one.newest is None:
        return "Readers see nothing yet."
    at = f", published {one.newest.at:%Y-%m-%d %H:%M} UTC" if one.newest.at else ""
    model = f" with {one.newest.model}" if one.newest.model else ""
    run = f"{one.newest.as_of}: run {one.newest.run_id}{at}{model}"
    return f"In shadow, windows up to {run}." if one.newest.shadow else f"Readers see windows up to {run}."


def _at_work(one: JobStatus) -> str:
    return f" At work: {', '.join(one.running)}." if one.running else ""


def _groups(windows: Sequence[WindowStatus]) -> Iterator[list[WindowStatus]]:
    """Neighbours of which the same is to be said."""
    for _, group in groupby(windows, key=lambda one: (one.kind, one.why, bool(one.readers_see))):
        yield list(group)


def _in_words(group: list[WindowStatus]) -> str:
    first, last = group[0], group[-1]
    which = first.as_of if first is last else f"{first.as_of} to {last.as_of} ({len(group)} windows)"
    why = first.why if len(first.why) <= _LONGEST_WHY else f"{first.why[:_LONGEST_WHY]}..."
    due = f"; it was due {first.due_at:%Y-%m-%d %H:%M} UTC" if first.is_late and first.due_at else ""
    seen = f"; readers still see {first.readers_see}" if first.readers_see and first is last else ""
    return f"{first.kind} {which}: {why}{due}{seen}"


def _summary(found: Sequence[JobStatus]) -> str:
    troubled, alarmed = [one for one in found if one.exit_code], sum(bool(one.alarms) for one in found)
    if not troubled:
        well = (
            f"every window is well; {alarmed} {'has' if alarmed == 1 else 'have'} an alarm"
            if alarmed
            else "all is well"
        )
        return f"{len(found)} job{'s' if len(found) != 1 else ''}, and {well}."
    failed = sum(one.exit_code == 1 for one in troubled)
    audited = sum(one.exit_code != 1 and not one.windows for one in troubled)
    parts = [
        f"{count} {what}"
        for count, what in (
            (failed, "failed, killed, undelivered or unreadable"),
            (len(troubled) - failed - audited, "blocked or late"),
            (audited, "not as its records say"),
        )
        if count
    ]
    return f"Not well: {len(troubled)} of {len(found)} job{'s' if len(found) != 1 else ''} ({', '.join(parts)})."
