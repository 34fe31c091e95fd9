"""The command `backfill`: scores the windows of a range, or those that a recall has queued."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.many import PlanOption, RepullOption, lines, raise_worst, summary_of
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_lake
from flows.cli.run import AsJson, JobArgument, definition_of
from flows.parameters import MOST_AT_ONCE

if TYPE_CHECKING:
    from tasks.core.errors import LamplighterError
    from tasks.core.runs.recalling.backfill import Backfilled, Ended, Plan, Wanted


@app.command()
def backfill(
    context: typer.Context,
    job: JobArgument,
    *,
    first: Annotated[
        str, typer.Option("--from", help="The first window of a range; without it those that a recall has queued.")
    ] = "",
    last: Annotated[str, typer.Option("--to", help="The last window, included; without it the first alone.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it stays in the manifests.")] = "",
    queued: Annotated[
        bool,
        typer.Option("--queued", help="Only windows that a recall has queued; of a range those in it."),
    ] = False,
    rescore: Annotated[
        bool,
        typer.Option("--rescore", help="Score windows again that are published, but for those of this same reason."),
    ] = False,
    repull: RepullOption = False,
    only_if_changed: Annotated[
        bool, typer.Option("--only-if-changed", help="Pull published windows too; replace those whose rows differ.")
    ] = False,
    at_once: Annotated[
        int, typer.Option(min=1, max=MOST_AT_ONCE, help="Windows at the same time, each in a process of its own.")
    ] = 2,
    stop_after: Annotated[
        int, typer.Option(min=0, help="Begin no window more after so many failures (blocked is none); 0: never stop.")
    ] = 3,
    plan: PlanOption = False,
    as_json: AsJson = False,
) -> None:
    """Score a range of windows, or those that a recall has queued, oldest first. Finished ones are left alone."""
    from tasks.core.runs.recalling.backfill import Wanted  # noqa: PLC0415

    wanted = Wanted(
        job=job,
        first=first,
        last=last,
        reason=reason,
        queued=queued,
        rescore=rescore,
        repull=repull,
        only_if_changed=only_if_changed,
    )
    planned = _planned(wanted)
    if plan:
        echo_json(planned.model_dump(mode="json")) if as_json else _tell_due(planned)
        return
    summary, error = _filled(planned, at_once, stop_after, debug=bool(context.obj), as_json=as_json)
    echo_json(summary.model_dump(mode="json")) if as_json else _tell_backfill(summary)
    raise_worst(error, as_json=as_json)


def _planned(wanted: Wanted) -> Plan:
    from tasks.core.runs.recalling import backfill as windows  # noqa: PLC0415

    return windows.plan(the_lake(), definition_of(wanted.job).job, wanted)


def _filled(
    planned: Plan, at_once: int, stop_after: int, *, debug: bool, as_json: bool
) -> tuple[Any, LamplighterError | None]:
    if not planned.due:
        return _nothing_due(planned)
    one = planned.wanted
    arguments = (one.job, one.first, one.last, one.reason, one.queued, one.rescore, one.repull, one.only_if_changed)
    with _windows_bar(enabled=not as_json):
        return summary_of("flows.backfill", "backfill", *arguments, at_once, stop_after, debug=debug)


def _nothing_due(planned: Plan) -> tuple[Any, LamplighterError | None]:
    """Nobody waits for Prefect to hear that there is nothing to do."""
    from tasks.core.errors import Incomplete, PartlyBlocked  # noqa: PLC0415
    from tasks.core.runs.recalling import backfill as windows  # noqa: PLC0415

    windows.begin(the_lake(), planned)
    try:
        return windows.conclude(planned, []), None
    except (Incomplete, PartlyBlocked) as error:
        return error.summary, error


def _tell_due(planned: Plan) -> None:
    paragraph(f"{len(planned.due)} windows are due, {len(planned.ended)} are not. Nothing was changed.")
    rows = (
        (one.as_of, "snapshot" if one.from_snapshot else "source", f"{one.rows:,}", f"{one.seconds:.1f}", one.reason)
        for one in planned.due
    )
    if planned.due:
        table(("window", "read from", "rows", "seconds", "why"), lines(rows), numbers=("rows", "seconds"))


def _tell_backfill(summary: Backfilled) -> None:
    if summary.windows:
        table(
            ("window", "outcome", "rows", "seconds", "run", "why"),
            lines(_row(one) for one in summary.windows),
            numbers=("rows", "seconds"),
        )
        console.print()
    paragraph(f"{str(summary)[:1].upper()}{str(summary)[1:]}.")


def _row(one: Ended) -> tuple[str, ...]:
    return (one.as_of, one.outcome, f"{one.rows:,}", f"{one.seconds:.1f}" if one.seconds else "", one.run, one.why)


@contextlib.contextmanager
def _windows_bar(*, enabled: bool) -> Iterator[None]:
    """Draws in a terminal how many windows have ended; into a pipe nothing is drawn."""
    if not (enabled and console.is_terminal):
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from tasks.backfill import STAGE  # noqa: PLC0415
    from tasks.core.progress import listening  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(STAGE), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        drawn = bars.add_task(STAGE, total=None)

        def draw(_run: str, stage: str, done: int, total: int | None) -> None:
            if stage == STAGE:
                bars.update(drawn, completed=done, total=total)

        with listening(draw):
            yield
