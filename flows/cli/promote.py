"""The command `promote`: a version is held against the one in its place, and takes it if every check passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.output import complain, console, echo_json, paragraph, table
from flows.cli.places import the_project, the_registry
from flows.cli.run import AsJson, ModelArgument, error_as_dict, given_reason, progress_bar, run_flow
from tasks.core.errors import LamplighterError, NothingToDo, NotPromoted

if TYPE_CHECKING:
    from tasks.core.models.gate.candidacy import Candidacy
    from tasks.core.models.gate.verdict import Verdict
    from tasks.core.runs.promotions import Promoted

_COLUMNS = ("check", "production", "candidate", "difference", "limit", "verdict")


@app.command()
def promote(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[int, typer.Option("--version", help="The version to promote.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")],
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "production",
    job: Annotated[str, typer.Option(help="The job whose labelled rows are scored, where several have labels.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Move the alias although a check failed; the history says so for ever.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold a version against the one in its place, on the same labelled rows, and let the alias name it if it passes."""
    reason = given_reason(reason)
    try:
        _tell_beforehand(_considered(model, version, alias, job))
        with progress_bar(enabled=not as_json):
            arguments = (model, version, reason, alias, job, force)
            promoted = run_flow("flows.promote", "promote", *arguments, debug=bool(context.obj))
        if isinstance(promoted, NothingToDo):
            raise promoted
    except NothingToDo as nothing:
        _draw_page_again(model)
        echo_json(_as_dict(None, nothing)) if as_json else paragraph(str(nothing))
    except LamplighterError as error:
        _refused(error, as_json=as_json)
    else:
        echo_json(_as_dict(promoted, None)) if as_json else _tell(promoted)


def _considered(model: str, version: int, alias: str, job: str) -> Candidacy:
    """What can be refused at once is refused without waiting for Prefect."""
    from tasks.core.models.gate.candidacy import consider  # noqa: PLC0415

    return consider(the_registry(), the_project(), model, version, alias, job)


def _draw_page_again(model: str) -> None:
    """A promotion that was killed before the model's page was written is typed again, and finds nothing else to do."""
    from tasks.report_model import write_model_page  # noqa: PLC0415

    write_model_page(model)


def _tell_beforehand(candidacy: Candidacy) -> None:
    if not candidacy.needs_approval:
        return
    from tasks.approve import address_of_answer, check_answerable  # noqa: PLC0415
    from tasks.core.settings import prepare_prefect  # noqa: PLC0415

    prepare_prefect(quiet=True)
    check_answerable(candidacy)
    complain(f"After the checks the run waits for a yes or no in the Prefect UI: {address_of_answer()}")


def _tell(promoted: Promoted) -> None:
    _tell_checks(promoted.verdict)
    paragraph(f"{promoted}. Windows that are published already stay as they are.")


def _tell_checks(verdict: Verdict) -> None:
    """Every check; of the slices those that did not pass, for there may be hundreds."""
    from tasks.core.pages import promotion_rows  # noqa: PLC0415

    told = [
        row
        for check, row in zip(verdict.checks, promotion_rows(verdict), strict=True)
        if check.check != "slice" or check.outcome == "failed"
    ]
    table(_COLUMNS, [tuple(row.values()) for row in told], numbers=_COLUMNS[1:5])
    if verdict.slices:
        outcomes = [one.outcome for one in verdict.slices]
        counts = ", ".join(f"{outcomes.count(one)} {one}" for one in ("passed", "failed", "not judged"))
        paragraph(f"{len(outcomes)} slices: {counts}.")
    console.print()


def _refused(error: LamplighterError, *, as_json: bool) -> None:
    if as_json:
        echo_json(_as_dict(None, error))
        raise typer.Exit(error.exit_code)
    if isinstance(error, NotPromoted) and error.verdict is not None:
        from tasks.core.models.gate.verdict import Verdict  # noqa: PLC0415

        _tell_checks(Verdict.model_validate(error.verdict))
    raise error


def _as_dict(promoted: Promoted | None, error: LamplighterError | None) -> dict[str, Any]:
    refused = error.verdict if isinstance(error, NotPromoted) else None
    return {
        "promoted": promoted.model_dump(mode="json", exclude={"verdict"}) if promoted else None,
        "verdict": promoted.verdict.model_dump(mode="json") if promoted else refused,
        "error": error_as_dict(error),
    }
