"""Commands that run a flow: score, train, demo."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.output import console, echo_json, paragraph
from flows.cli.places import the_lake, the_project
from flows.parameters import LONGEST_REASON, SHORTEST_REASON
from tasks.core.definitions.mlflow_names import registry_name
from tasks.core.errors import DefinitionError, LamplighterError, WindowFinished

if TYPE_CHECKING:
    from tasks.core.definitions.project import Definition
    from tasks.core.runs.manifest import Manifest

JobArgument = Annotated[str, typer.Argument(help="The job: the name of its YAML file.")]
ModelArgument = Annotated[
    str,
    typer.Argument(help="The model: its name in the registry, or models:/NAME of MLflow's.", callback=registry_name),
]
AsOf = Annotated[str, typer.Option("--as-of", help="The window: 2013-07-01, or 2013-07-01T0500Z for short ones.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command()
def score(
    context: typer.Context,
    job: JobArgument,
    as_of: AsOf,
    rescore: Annotated[str, typer.Option(help="Why a published window is pulled and scored again.")] = "",
    as_json: AsJson = False,
) -> None:
    """Score one window of a job, and publish all of it or nothing."""
    manifest, error = run_score(job, as_of, rescore=rescore, debug=bool(context.obj), show_progress=not as_json)
    if as_json:
        echo_json({"manifest": manifest.model_dump(mode="json") if manifest else None, "error": error_as_dict(error)})
    elif error is None and manifest is not None:
        from tasks.outcome import published_sentence  # noqa: PLC0415

        paragraph(published_sentence(manifest))
    elif isinstance(error, WindowFinished):
        paragraph(str(error))
    if error is not None and not isinstance(error, WindowFinished):
        if not as_json:
            raise error
        raise typer.Exit(error.exit_code)


@app.command()
def train(context: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Fit the job's estimator, benchmark it on later windows, and register it as a new version. Promotes nothing."""
    definition_of(job)
    version = run_flow("flows.train", "train", job, debug=bool(context.obj))
    if as_json:
        echo_json({"model": version.name, "version": version.version, "digest": version.digest})
    else:
        paragraph(
            f'Registered {version}. Next: lamplighter promote {version.name} --version {version.version} --reason "why"'
        )


def run_score(
    job: str, as_of: str, *, rescore: str = "", debug: bool = False, show_progress: bool = True
) -> tuple[Manifest | None, LamplighterError | None]:
    """Runs the flow for one window: the manifest of what readers see, and what kept the run from publishing."""
    from tasks.core.runs.run import published_manifest, refuse_finished  # noqa: PLC0415

    # What can be said at once is said without waiting for Prefect: a wrong name or date, a window that is finished.
    definition_of(job).job.window.parse(as_of)
    lake = the_lake()
    error: LamplighterError | None = None
    try:
        if not rescore:
            refuse_finished(lake, job, as_of)
        with progress_bar(enabled=show_progress):
            run_flow("flows.score", "score", job, as_of, rescore, debug=debug)
    except LamplighterError as kept_from:
        error = kept_from
    return published_manifest(lake, job, as_of), error


def run_flow(module: str, name: str, *parameters: object, debug: bool) -> Any:
    """What a flow returns; what its final state holds as an error is raised, an AlreadyPublished as WindowFinished."""
    from importlib import import_module  # noqa: PLC0415

    from tasks.core.settings import prepare_prefect  # noqa: PLC0415

    prepare_prefect(quiet=not debug)
    state = getattr(import_module(module), name)(*parameters, return_state=True)
    if state.name == "AlreadyPublished":
        raise WindowFinished(state.message)
    return state.result()


def definition_of(job: str) -> Definition:
    """The job's definition in this project."""
    return the_project().load(job)


def given_reason(reason: str) -> str:
    """Why a model's alias or version is changed, without blanks around it; DefinitionError where it says nothing."""
    given = reason.strip()
    if not SHORTEST_REASON <= len(given) <= LONGEST_REASON:
        raise DefinitionError(
            f"a change of a model needs a reason, of {SHORTEST_REASON} to {LONGEST_REASON} characters: it stays in the history",
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
