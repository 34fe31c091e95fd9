"""The command `prune`: what has outlived the retention of jobs is listed, and removed where that is asked for."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.many import raise_worst
from flows.cli.output import echo_json, paragraph, table
from flows.cli.run import AsJson
from tasks.core.errors import DefinitionError, Incomplete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.core.pruning.records import Line, Pruned
    from tasks.prune import Apply, Summary

_COLUMNS = ("job", "kind", "kept for", "goes", "size", "oldest", "stays", "why")
_NUMBERS = ("goes", "size", "stays")
_MOST_LEFT = 20


@app.command()
def prune(
    job: Annotated[str, typer.Argument(help="The job; none: all, and what killed writers left half written.")] = "",
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Remove it. Without this nothing is changed.")] = False,
    as_of: Annotated[
        str, typer.Option("--as-of", help="Count ages from this instant that has passed, as 2013-07-01; else from now.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List what has outlived the retention of jobs, in the lake and on the Prefect server that PREFECT_API_URL names; or remove it.

    Exit code 0: also where a run holds a window, which is left for the next time. 1: something could not be looked at or
    removed. 2: there is no such job, or the instant is still to come.
    """
    from tasks.core.settings import prepare_prefect  # noqa: PLC0415

    now = _instant(as_of)
    prepare_prefect(quiet=True)
    from tasks.prune import prune_lake, prune_server  # noqa: PLC0415
    from tasks.report import write_lists  # noqa: PLC0415

    # Not by its flow: who frees a full disk is not to wait for a server.
    wish: Apply = "yes" if apply else "no"
    found = prune_lake(job, wish, now)
    server = prune_server(job, wish, now)
    write_lists(found)
    summary, error = _concluded(found, server)
    if as_json:
        echo_json(summary.model_dump(mode="json"))
    else:
        _tell(summary, job, apply=apply)
    raise_worst(error, as_json=as_json)


def _concluded(found: list[Pruned], server: Summary) -> tuple[Any, Incomplete | None]:
    """The summary; also where something could not be done, with the error that says so."""
    from tasks.prune import concluded  # noqa: PLC0415

    try:
        return concluded(found, server), None
    except Incomplete as error:
        return error.summary, error


def _instant(as_of: str) -> dt.datetime | None:
    if not as_of:
        return None
    try:
        given = dt.datetime.fromisoformat(as_of)
    except ValueError as error:
        raise DefinitionError(
            f"'{as_of}' is no instant: {error}", state="nothing was removed", next_step="give one as 2013-07-01"
        ) from error
    return given if given.tzinfo else given.replace(tzinfo=dt.UTC)


def _tell(summary: Summary, job: str, *, apply: bool) -> None:
    rows = [_row(one, line) for one in summary.found for line in one.lines if line.count or line.kept]
    if rows:
        table(_COLUMNS, rows, numbers=_NUMBERS)
    for left in summary.left[:_MOST_LEFT]:
        paragraph(f"Left for the next time: {left}")
    text = str(summary)
    paragraph(f"{text[:1].upper()}{text[1:]}.")
    if not apply and any(one.count for one in summary.found):
        paragraph(f"Nothing was removed. Next: lamplighter prune {f'{job} ' if job else ''}--apply")


def _row(one: Pruned, line: Line) -> tuple[str, ...]:
    from tasks.core.pages.wording import size  # noqa: PLC0415

    return (
        one.job or "all",
        line.kind,
        line.policy,
        f"{line.count:,}" if line.count else "",
        size(line.bytes) if line.bytes else "",
        f"{line.oldest:%Y-%m-%d}" if line.oldest else "",
        f"{line.kept:,}" if line.kept else "",
        "; ".join(_reasons(line)),
    )


def _reasons(line: Line) -> Iterator[str]:
    """Why what stays does: how many of each, where there are several reasons."""
    for why, count in line.why_kept.items():
        yield why if len(line.why_kept) == 1 else f"{count:,} {why}"
