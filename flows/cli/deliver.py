"""The command `deliver`: brings a job's table in a database up to what readers of the lake see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.many import lines
from flows.cli.output import echo_json, paragraph, table
from flows.cli.run import AsJson, JobArgument

if TYPE_CHECKING:
    from tasks.core.delivery.delivering import Outcome, Round

_WORDS = {"delivered": "delivered", "removed": "taken out", "failed": "FAILED"}


@app.command()
def deliver(
    job: JobArgument,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="One window: 2013-07-01; without it every one that is behind.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give the job's database what readers of the lake see: windows that it has not, has otherwise, or should not have.

    Done twice it is done once: a ledger in the database says what it has. Exit code 1 where something failed.
    """
    from tasks.deliver import deliver_all  # noqa: PLC0415

    done = deliver_all(job, as_of)
    _write_pages(done)
    if as_json:
        echo_json(done.model_dump(mode="json") | {"exit_code": int(bool(done.failed))})
    else:
        _tell(done, is_in_shadow=not done.windows and _is_in_shadow(job))
    if done.failed:
        raise typer.Exit(1)


def _is_in_shadow(job: str) -> bool:
    from flows.cli.run import definition_of  # noqa: PLC0415

    return definition_of(job).job.output.shadow


def _tell(done: Round, *, is_in_shadow: bool) -> None:
    if is_in_shadow:
        paragraph(
            f"{done.job} is in shadow (output.shadow: true): nothing is delivered to {done.table} until the team switches over."
        )
        return
    told = [one for one in done.windows if one.outcome != "already"]
    if told:
        table(("window", "outcome", "rows", "run", "why"), lines(_row(one) for one in told), numbers=("rows",))
    paragraph(f"{done}.")
    for step in dict.fromkeys(one.next_step for one in done.failed):
        paragraph(f"Next: {step}")
    if not done.failed:
        paragraph(f"Next: lamplighter status {done.job}")


def _row(one: Outcome) -> tuple[str, ...]:
    return (one.as_of, _WORDS[one.outcome], f"{one.rows:,}", one.run_id or "", one.why)


def _write_pages(done: Round) -> None:
    """Each window's report says whether it is delivered."""
    from tasks.report import write_reports  # noqa: PLC0415

    changed = [(done.job, one.as_of) for one in done.windows if one.outcome != "already"]
    if changed:
        write_reports(changed)
