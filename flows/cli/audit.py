"""The command `audit`: whether what readers see of a job is what its records say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.many import lines, raise_worst, summary_of
from flows.cli.output import echo_json, paragraph, table
from flows.cli.places import the_lake
from flows.cli.run import AsJson, JobArgument, definition_of, error_as_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.core.auditing.records import AuditRecord, Difference
    from tasks.core.errors import LamplighterError

_MOST_NOTES, _MOST_BREAKS = 8, 20
_BATCHES = ("window", "model", "batch", "rows", "how", "differ")
_DIFFERENCES = ("window", "key", "column", "published", "again")


@app.command()
def audit(
    context: typer.Context,
    job: JobArgument,
    as_of: Annotated[
        list[str] | None, typer.Option("--as-of", help="Only this window; may be given again. None: all.")
    ] = None,
    rows: Annotated[
        int, typer.Option(min=0, help="Score so many rows again at the least; 0: as many as the job says (audit.rows).")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The seed of the draws; none: of the job and the day.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold what readers see against its records, link by link, and score a random sample again. Changes nothing.

    Exit code 0: all is as its records say. 3: something is not, and is named. 1: it could not be audited. 2: there is no
    such job or window.
    """
    definition = definition_of(job).job
    for one in as_of or ():
        definition.window.parse(one)
    arguments = (job, tuple(as_of or ()), rows, "" if seed is None else str(seed))
    record, error = summary_of("flows.audit", "audit", *arguments, debug=bool(context.obj))
    if as_json:
        echo_json(_facts(record, error))
    else:
        _tell(record)
    raise_worst(error, as_json=as_json)


def _facts(record: AuditRecord, error: LamplighterError | None) -> dict[str, object]:
    return {
        "state": "Differs" if error else record.state_name,
        "audit": record.model_dump(mode="json"),
        "rows_compared": record.rows_compared,
        "rows_differing": record.rows_differing,
        "error": error_as_dict(error),
    }


def _tell(record: AuditRecord) -> None:
    from tasks.core import layout  # noqa: PLC0415

    if not record.findings_count:
        paragraph(str(record))
    if record.rescored:
        table(_BATCHES, lines(_batches(record)), numbers=("batch", "rows", "differ"))
    for sentence in _breaks(record):
        paragraph(sentence)
    if record.examples:
        table(_DIFFERENCES, [_difference(one) for one in record.examples])
    for sentence in _asides(record):
        paragraph(sentence)
    if record.carried:
        paragraph(f"An earlier audit found {len(record.carried)} more, in what this one did not look at.")
    paragraph(f"Seed {record.seed}. Record: {the_lake().address(layout.audit_record(record.job, record.day))}")


def _breaks(record: AuditRecord) -> Iterator[str]:
    """The first findings, each with what to type."""
    for one in record.findings[:_MOST_BREAKS]:
        yield f"{one.link}{f' of {one.as_of}' if one.as_of else ''}: {one.sentence}. Next: {one.next_step}"
    if record.findings_count > _MOST_BREAKS:
        yield f"And {record.findings_count - _MOST_BREAKS} more: --json has {len(record.findings)}."


def _asides(record: AuditRecord) -> list[str]:
    """What could not be audited, and what was noted beside: the first few."""
    not_again = dict.fromkeys(f"Not scored again: {one.as_of}: {one.why}" for one in record.not_rescored)
    return [
        *list(not_again)[:_MOST_NOTES],
        *(f"Left out: {one.as_of}: {one.why}" for one in record.left_out[:_MOST_NOTES]),
        *(f"Note: {note}" for note in record.notes[:_MOST_NOTES]),
    ]


def _batches(record: AuditRecord) -> list[tuple[str, ...]]:
    return [
        (
            one.as_of,
            one.model,
            str(one.batch),
            f"{one.rows:,}",
            "bit by bit" if one.is_exact else f"within 1e-12: {', '.join(one.other_than_then)}",
            f"{one.differing:,}",
        )
        for one in sorted(record.rescored, key=lambda one: (one.as_of, one.batch))
    ]


def _difference(one: Difference) -> tuple[str, ...]:
    key = ", ".join(f"{name} {value}" for name, value in one.key.items())
    return one.as_of, key, one.column, one.published, one.again
