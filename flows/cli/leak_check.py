"""The command `leak-check`: an old window, pulled again, against what was known when it was scored."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.compare import column_facts, in_words, tell_columns
from flows.cli.output import echo_json, paragraph
from flows.cli.run import AsJson, JobArgument

if TYPE_CHECKING:
    from tasks.core.rows.comparing import SideCounts
    from tasks.leak_check import LeakCheck

_BLOCKED = 3


@app.command(name="leak-check")
def leak_check(
    job: JobArgument,
    as_of: Annotated[
        str, typer.Option("--as-of", help="The window; else the oldest published one whose snapshot is still there.")
    ] = "",
    *,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            help="Floats and decimals are as they were within this; of numbers above 1 it is a share. A database may add up in "
            "another order each time.",
        ),
    ] = 1e-9,
    as_json: AsJson = False,
) -> None:
    """Pull an old window again, and name the features that are different from what was known then. Changes nothing."""
    from tasks import leak_check as stage  # noqa: PLC0415

    found = stage.leak_check(job, as_of or None, tolerance)
    if as_json:
        echo_json(_facts(found))
    else:
        _tell(found)
    if found.leaks:
        raise typer.Exit(_BLOCKED)


def _tell(found: LeakCheck) -> None:
    paragraph(
        f"{found.job} {found.as_of}: pulled again, beside the snapshot of {found.complete_at:%Y-%m-%d %H:%M} UTC that run "
        f"{found.run_id} scored. {_bound(found)}"
    )
    if found.different:
        tell_columns(found.different, found.comparison.pairs, here="then", there="now")
    for what, counts in (("gone since", found.comparison.ours), ("new since", found.comparison.theirs)):
        if counts.alone:
            paragraph(f"Rows {what}: {counts.alone:,}, such as {', '.join(found.keys)} = {_examples(counts)}")
    for note in found.notes:
        paragraph(f"Note: {note}")
    paragraph(found.sentence)
    paragraph(f"Next: {found.next_step}")


def _bound(found: LeakCheck) -> str:
    if found.reads_files:
        return "Its source is files, which cannot be asked for what was known."
    if not found.binds_known_at:
        return "Its query does not bind :known_at."
    return f"Its query was given :known_at = {found.known_at:%Y-%m-%d %H:%M:%S} UTC, then as now."


def _examples(counts: SideCounts) -> str:
    return "; ".join(in_words(one) for one in counts.examples)


def _facts(found: LeakCheck) -> dict[str, Any]:
    return {
        "job": found.job,
        "as_of": found.as_of,
        "run_id": found.run_id,
        "complete_at": found.complete_at.isoformat(),
        "binds_known_at": found.binds_known_at,
        "known_at": found.known_at.isoformat(),
        "leaks": found.leaks,
        "features": [column_facts(one) | {"share": found.share(one)} for one in found.leaking],
        "others": [
            column_facts(one) | {"share": found.share(one)} for one in found.different if one not in found.leaking
        ],
        "tolerance": found.tolerance,
        "within_tolerance": {one.ours: one.near for one in found.comparison.columns if one.near},
        "rows": {"then": asdict(found.comparison.ours), "now": asdict(found.comparison.theirs)},
        "equal": found.comparison.equal,
        "different": found.comparison.different,
        "notes": list(found.notes),
        "sentence": found.sentence,
        "next": found.next_step,
    }
