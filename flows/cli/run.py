"""Commands that run a flow: score, train, demo."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.output import console, echo_json, paragraph
from tasks.core.errors import LamplighterError, WindowFinished

if TYPE_CHECKING:
    from tasks.core.manifest import Manifest

JobArgument = Annotated[str, typer.Argument(help="The job: the name of its YAML file.")]
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
        echo_json({"manifest": manifest.model_dump(mode="json") if manifest else None, "error": _as_dict(error)})
    elif error is None and manifest is not None:
        paragraph(_published(manifest))
    elif isinstance(error, WindowFinished):
        paragraph(str(error))
    if error is not None and not isinstance(error, WindowFinished):
        if not as_json:
            raise error
        raise typer.Exit(error.exit_code)


def run_score(
    job: str, as_of: str, *, rescore: str = "", debug: bool = False, show_progress: bool = True
) -> tuple[Manifest | None, LamplighterError | None]:
    """Runs the flow for one window: the manifest of what readers see, and what kept the run from publishing."""
    from tasks.core.project import Project  # noqa: PLC0415
    from tasks.core.settings import Settings, prepare_prefect  # noqa: PLC0415
    from tasks.core.storage import Folder, Lake  # noqa: PLC0415

    settings = Settings()
    # A wrong name or date is said at once, without waiting for Prefect.
    Project(Folder(settings.project)).load(job).job.window.parse(as_of)
    prepare_prefect(quiet=not debug)
    from flows.score import score as flow  # noqa: PLC0415
    from tasks.core.run import published_manifest  # noqa: PLC0415

    with _progress_bar(enabled=show_progress):
        state = flow(job, as_of, rescore, return_state=True)
    outcome: Any = state.result(raise_on_failure=False)
    error = outcome if isinstance(outcome, BaseException) else None
    if error is not None and not isinstance(error, LamplighterError):
        raise error
    if state.name == "AlreadyPublished":
        error = WindowFinished(state.message or "")
    return published_manifest(Lake(settings.lake), job, as_of), error


@contextlib.contextmanager
def _progress_bar(*, enabled: bool) -> Iterator[None]:
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


def _published(manifest: Manifest) -> str:
    rows = manifest.rows
    parts = [f"{rows.scored:,} of {rows.pulled:,} rows scored", f"{rows.quarantined:,} quarantined"]
    if rows.duplicates:
        parts.append(f"{rows.duplicates:,} exact duplicates")
    verdict = (manifest.verdict or "").replace("_", " ")
    return f"{manifest.job} {manifest.as_of}: {verdict}. {', '.join(parts)}. Run {manifest.run_id}."


def _as_dict(error: LamplighterError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "kind": type(error).__name__,
        "failed": error.failed,
        "state": error.state,
        "next_step": error.next_step,
        "exit_code": error.exit_code,
    }
