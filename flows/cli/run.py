"""Commands that run a flow: score, train, demo."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_lake, the_project
from tasks.core.definitions.mlflow_names import registry_name
from tasks.core.errors import DefinitionError, LamplighterError, WindowFinished
from tasks.core.runs.asked import LONGEST_REASON, SHORTEST_REASON

if TYPE_CHECKING:
    from tasks.core.definitions.project import Definition
    from tasks.core.runs.asked import Asked
    from tasks.core.runs.manifest import Manifest
    from tasks.core.storage import Lake

JobArgument = Annotated[str, typer.Argument(help="The job: the name of its YAML file.")]
ModelArgument = Annotated[
    str,
    typer.Argument(help="The model: its name in the registry, or models:/NAME of MLflow's.", callback=registry_name),
]
AsOf = Annotated[str, typer.Option("--as-of", help="The window: 2013-07-01, or 2013-07-01T0500Z for short ones.")]
ScheduledAsOf = Annotated[
    str,
    typer.Option(
        "--as-of",
        help="The window: 2013-07-01, or 2013-07-01T0500Z for short ones; or scheduled: that of the schedule's last tick.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


SCHEDULED = "scheduled"
_LOOKED_BACK_DAYS = (
    1,
    8,
    32,
    367,
    1500,
)  # For the schedule's last tick; the 29th of February comes in eight years at worst.


@app.command()
def score(
    context: typer.Context,
    job: JobArgument,
    as_of: ScheduledAsOf = SCHEDULED,
    *,
    rescore: Annotated[str, typer.Option(help="Why a published window is pulled and scored again.")] = "",
    from_snapshot: Annotated[
        bool,
        typer.Option("--from-snapshot", help="Read the snapshot that was kept, where there is one, not the source."),
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="What blocked the window and may fail this once, as the report names it; may be given again. The rows "
            "that were blocked are judged, and not what the source holds by now."
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why that is accepted; it stays with the window for ever.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do everything but publish, and say what would be.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score one window of a job, and publish all of it or nothing."""
    from tasks.core.runs.asked import Asked  # noqa: PLC0415

    asked = Asked(
        rescore=rescore,
        from_snapshot=from_snapshot,
        accept=tuple(accept or ()),
        reason=_reason_to_accept(accept, reason),
        dry_run=dry_run,
    )
    as_of = scheduled_window(job, dt.datetime.now(dt.UTC)) if as_of == SCHEDULED else as_of
    manifest, error = run_score(job, as_of, asked, debug=bool(context.obj), show_progress=not as_json)
    if as_json:
        echo_json({"manifest": manifest.model_dump(mode="json") if manifest else None, "error": error_as_dict(error)})
    else:
        _tell(manifest, error)
    if error is not None and not isinstance(error, WindowFinished):
        if not as_json:
            raise error
        raise typer.Exit(error.exit_code)


def _tell(manifest: Manifest | None, error: LamplighterError | None) -> None:
    """What was done; an error is not told here, but for the page of a dry run that ended in one."""
    from tasks.outcome import published_sentence  # noqa: PLC0415

    if error is None and manifest is not None:
        paragraph(published_sentence(manifest))
        if manifest.trigger.from_snapshot and manifest.trigger.snapshot_of is None:
            paragraph("No snapshot of it is kept (any more): it was pulled from its source.")
        if not manifest.is_dry_run:
            _tell_delivery(manifest)
            paragraph(f"Next: {_after(manifest)}")
    elif isinstance(error, WindowFinished):
        paragraph(str(error))
    if manifest is not None and manifest.is_dry_run:
        _tell_dry_run(manifest)


def _tell_delivery(manifest: Manifest) -> None:
    """Where else the rows went, if anywhere."""
    from tasks.core.delivery.state import sentence  # noqa: PLC0415

    said = sentence(the_lake(), definition_of(manifest.job).job, manifest.as_of)
    if said:
        paragraph(f"Database: {said}.")


def _after(manifest: Manifest) -> str:
    """What follows when a window is published."""
    name, schedule = f"{manifest.job} --as-of {manifest.as_of}", definition_of(manifest.job).job.schedule
    if manifest.shadow:
        return f"lamplighter compare {name} --against OLD.parquet --on KEY; or, to switch over: output.shadow: false"
    return f"lamplighter show {name}" + ("; for its schedule: lamplighter deploy" if schedule else "")


def _tell_dry_run(manifest: Manifest) -> None:
    """What would be published, and where it is to be seen."""
    from tasks.core import layout  # noqa: PLC0415

    lake = the_lake()
    if manifest.state == "dry_run":
        for warning in manifest.reasons:
            paragraph(f"  {warning}")
        rows = [(name, one.mean, one.minimum, one.maximum) for name, one in manifest.predictions.items()]
        table(("prediction", "mean", "least", "most"), [(name, *map(_figure, some)) for name, *some in rows])
        paragraph(f"Scored rows: {lake.address(manifest.files[layout.PREDICTIONS].key)}")
    paragraph(f"Report: {lake.address(layout.dry_run_page(manifest.job, manifest.as_of))}")
    if manifest.state == "dry_run":
        paragraph(f"Next: {manifest.next_step}")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


@app.command()
def train(
    context: typer.Context,
    job: JobArgument,
    until: Annotated[
        str,
        typer.Option(
            help="Shift fit, calibrate and benchmark, so that the benchmark ends with this window; labelled: with the newest "
            "whose labels are due. Left out: the ranges as the job says."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Fit the job's estimator, benchmark it on later windows, and register it as a new version. Promotes nothing."""
    definition_of(job)
    version = run_flow("flows.train", "train", job, until, debug=bool(context.obj))
    if as_json:
        echo_json({"model": version.name, "version": version.version, "digest": version.digest})
    else:
        paragraph(
            f'Registered {version}. Next: lamplighter promote {version.name} --version {version.version} --reason "why"'
        )


def run_score(
    job: str, as_of: str, asked: Asked | None = None, *, debug: bool = False, show_progress: bool = True
) -> tuple[Manifest | None, LamplighterError | None]:
    """Runs the flow for one window: the manifest of what readers see, and what kept the run from publishing.

    Of a dry run, its own manifest.
    """
    from tasks.core.runs import dry_run  # noqa: PLC0415
    from tasks.core.runs.asked import Asked  # noqa: PLC0415
    from tasks.core.runs.run import published_manifest  # noqa: PLC0415

    asked, lake = asked or Asked(), the_lake()
    error: LamplighterError | None = None
    _check_asked(lake, job, as_of, asked)
    try:
        _refuse_finished(lake, job, as_of, asked)
        with progress_bar(enabled=show_progress):
            # In the order of the flow's parameters.
            given = (
                asked.rescore,
                asked.from_snapshot,
                asked.only_if_changed,
                asked.accept,
                asked.reason,
                asked.dry_run,
            )
            run_flow("flows.score", "score", job, as_of, *given, debug=debug)
    except LamplighterError as kept_from:
        error = kept_from
    of = dry_run.last if asked.dry_run else published_manifest
    return of(lake, job, as_of), error


def _check_asked(lake: Lake, job: str, as_of: str, asked: Asked) -> None:
    """What can be said at once is said without waiting for Prefect: a wrong name or date, nothing that can be accepted."""
    definition = definition_of(job)
    definition.job.window.parse(as_of)
    asked.check()
    if asked.accept:
        from tasks.core.runs.acceptance import last_blocked  # noqa: PLC0415
        from tasks.shards.accepting import accepted_names  # noqa: PLC0415

        accepted_names(definition, asked.accept, last_blocked(lake, job, as_of))


def _refuse_finished(lake: Lake, job: str, as_of: str, asked: Asked) -> None:
    from tasks.core.delivery.state import shortfall  # noqa: PLC0415
    from tasks.core.runs.run import refuse_finished  # noqa: PLC0415
    from tasks.core.runs.showing import refuse_shadow_over_live  # noqa: PLC0415

    # What is published and not in the job's database is delivered by the run.
    if asked.leaves_finished and shortfall(lake, definition_of(job).job, as_of) is None:
        refuse_finished(lake, job, as_of)
    if not asked.dry_run:
        refuse_shadow_over_live(lake, job, as_of, shadow=definition_of(job).job.output.shadow)


def scheduled_window(job: str, at: dt.datetime) -> str:
    """The window that the last tick of the job's schedule scores; DefinitionError where there is no schedule."""
    definition = definition_of(job).job
    schedule, windows = definition.schedule, definition.window
    for days in _LOOKED_BACK_DAYS if schedule else ():
        assert schedule is not None  # noqa: S101 - narrowing
        if ticks := schedule.ticks(at - dt.timedelta(days=days), at, windows):
            return schedule.window_of(ticks[-1], windows).as_of
    raise DefinitionError(
        f"the job '{job}' has no schedule that was ever due, so no window is the scheduled one",
        state="nothing was started",
        next_step=f"give the window: lamplighter score {job} --as-of DATE; or write 'schedule' into its YAML",
    )


def _reason_to_accept(accept: list[str] | None, reason: str) -> str:
    if reason and not accept:
        raise DefinitionError(
            "a reason alone asks for nothing",
            state="nothing was started",
            next_step="say what it is a reason for: --accept EXPECTATION, or --rescore with the reason itself",
        )
    return given_reason(reason, to="to accept what blocked a window", stays="with the window") if accept else ""


def run_flow(module: str, name: str, *parameters: object, debug: bool) -> Any:
    """What a flow returns; what its final state holds as an error is raised, an AlreadyPublished as WindowFinished."""
    from importlib import import_module  # noqa: PLC0415

    from tasks.core.settings import prepare_prefect  # noqa: PLC0415

    prepare_prefect(quiet=not debug)
    from tasks.orchestration.heartbeats import heartbeats_where_heard  # noqa: PLC0415

    with heartbeats_where_heard():
        state = getattr(import_module(module), name)(*parameters, return_state=True)
    if state.name == "AlreadyPublished":
        raise WindowFinished(state.message)
    return state.result()


def definition_of(job: str) -> Definition:
    """The job's definition in this project."""
    return the_project().load(job)


def given_reason(reason: str, *, to: str = "a change of a model", stays: str = "in the history") -> str:
    """Why something is done that is kept for ever, without blanks around it; DefinitionError where it says nothing."""
    given = reason.strip()
    if not SHORTEST_REASON <= len(given) <= LONGEST_REASON:
        raise DefinitionError(
            f"{to} needs a reason, of {SHORTEST_REASON} to {LONGEST_REASON} characters: it stays {stays}",
            state="nothing was changed",
            next_step='give --reason "..."',
        )
    return given


@contextlib.contextmanager
def progress_bar(*, enabled: bool) -> Iterator[None]:
    """Draws the stages' progress in a terminal while the block runs; into a pipe nothing is drawn."""
    if not (enabled and console.is_terminal):
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from tasks.core.progress import listening  # noqa: PLC0415

    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        known: dict[str, Any] = {}

        def draw(_run: str, stage: str, done: int, total: int | None) -> None:
            if stage not in known:
                known[stage] = bars.add_task(stage, total=total)
            bars.update(known[stage], completed=done, total=total)

        with listening(draw):
            yield


def error_as_dict(error: LamplighterError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "kind": type(error).__name__,
        "failed": error.failed,
        "state": error.state,
        "next_step": error.next_step,
        "exit_code": error.exit_code,
    }
