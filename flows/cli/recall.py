"""Commands for a version that was wrong: rollback and recall. What it wrote is scored again by `backfill`."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.many import PlanOption, RepullOption, lines, raise_worst, summary_of
from flows.cli.output import echo_json, paragraph, table
from flows.cli.places import the_lake, the_registry
from flows.cli.run import AsJson, ModelArgument, given_reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.core.runs.recalling.recalls import Recall, RecalledWindow
    from tasks.core.runs.recalling.rollback import RolledBack


@app.command()
def rollback(
    model: ModelArgument,
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")],
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "production",
    as_json: AsJson = False,
) -> None:
    """Let an alias name the version again that it named before, and list what the version it leaves has written."""
    from tasks.core.provenance import actor  # noqa: PLC0415
    from tasks.core.runs.recalling.rollback import roll_back  # noqa: PLC0415

    # Not by its flow: nobody is to wait for a server while a wrong version is production.
    moved = roll_back(the_lake(), model, alias, reason=given_reason(reason), at=dt.datetime.now(dt.UTC), by=actor())
    if as_json:
        echo_json(moved.model_dump(mode="json") | {"recall_command": moved.recall_command})
    else:
        _tell_rollback(moved)
    _write_model_page(model)


@app.command()
def recall(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[int, typer.Option("--version", help="The version to withdraw, for ever.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")] = "",
    plan: PlanOption = False,
    keep_until_replaced: Annotated[
        bool, typer.Option("--keep-until-replaced", help="Leave its rows in sight until each window is scored again.")
    ] = False,
    repull: RepullOption = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw a version for ever: its rows leave the tables, the last good ones come back, its windows are queued."""
    from tasks.core.runs.recalling import recalls  # noqa: PLC0415

    if plan:
        foreseen = recalls.plan(the_lake(), model, version, keep_until_replaced=keep_until_replaced)
        echo_json(foreseen.model_dump(mode="json")) if as_json else _tell_plan(foreseen)
        return
    # What can be said at once is said without waiting for Prefect.
    the_registry().check_known(model, version)
    arguments = (model, version, given_reason(reason), False, keep_until_replaced, repull)
    record, error = summary_of("flows.recall", "recall", *arguments, debug=bool(context.obj))
    if as_json:
        echo_json(record.model_dump(mode="json"))
    else:
        _tell_recall(record, set(the_registry().aliases(model)))
    raise_worst(error, as_json=as_json)


def _tell_rollback(moved: RolledBack) -> None:
    paragraph(f"{moved.alias} of {moved.model} is version {moved.now} again.")
    for one in moved.unreadable:
        paragraph(f"Note: {one.job} {one.as_of}: {one.why}")
    if moved.left is None:
        return
    if not moved.windows:
        paragraph(f"Readers see nothing that version {moved.left} has written.")
        return
    paragraph(f"Readers still see what version {moved.left} has written:")
    table(
        ("job", "window", "rows"),
        lines((one.job, _window(one), f"{one.rows:,}") for one in moved.windows),
        numbers=("rows",),
    )
    paragraph(f"If it was wrong, and not merely worse, withdraw it: {moved.recall_command}")


def _tell_plan(foreseen: Recall) -> None:
    windows = foreseen.windows
    paragraph(
        f"A recall of version {foreseen.version} of {foreseen.model} would "
        f"{'queue' if foreseen.keep_until_replaced else 'withdraw'} {len(windows)} windows with {foreseen.rows:,} rows. "
        "Nothing was changed."
    )
    if windows:
        rows = (
            (one.job, _window(one), f"{one.rows:,}", _instead(one), f"{one.rescore_seconds:.1f}") for one in windows
        )
        table(("job", "window", "rows", "readers will see", "seconds"), lines(rows), numbers=("rows", "seconds"))
        paragraph(
            f"Scoring them again: about {sum(one.rescore_seconds for one in windows):,.0f} s by their last runs, "
            f"{sum(one.snapshot_rows for one in windows):,} rows, {sum(one.snapshot_bytes for one in windows):,} bytes of snapshots"
            f"{_to_pull(windows)}."
        )
    _tell_notes(foreseen)


def _tell_recall(record: Recall, named_now: set[str]) -> None:
    paragraph(f"{str(record)[:1].upper()}{str(record)[1:]}.")
    if record.windows:
        rows = ((one.job, _window(one), f"{one.rows:,}", one.state, _instead(one)) for one in record.windows)
        table(("job", "window", "rows", "its rows are", "readers see"), lines(rows), numbers=("rows",))
    _tell_notes(record)
    for alias in sorted(set(record.aliases) - named_now):
        paragraph(f"No version is {alias} of {record.model} now. Next: {_successor(record, alias)}")
    for job in sorted({one.job for one in record.windows if one.state in ("withdrawn", "kept")}):
        paragraph(f"Then: lamplighter backfill {job} --queued")


def _successor(record: Recall, alias: str) -> str:
    """The command that lets the alias name a version again: one that it named before, another one, or a new one."""
    registry, model = the_registry(), record.model
    recalled = registry.recalled(model)
    option = "" if alias == "production" else f" --alias {alias}"
    reason = f'--reason "version {record.version} was recalled"'
    if any(one.alias == alias and one.version and one.version not in recalled for one in registry.history(model)):
        return f"lamplighter rollback {model}{option} {reason}"
    if left := [number for number in registry.numbers(model) if number not in recalled]:
        return f"lamplighter promote {model} --version {left[-1]}{option} {reason}"
    return f"lamplighter register {model} --model FILE --reference SAMPLE.parquet, of a version that is right"


def _tell_notes(record: Recall) -> None:
    for one in record.windows:
        for note in one.notes:
            paragraph(f"Note: {one.job} {one.as_of}: {note}")
    if record.challengers:
        paragraph(f"{len(record.challengers)} partitions that it wrote as a challenger go with it.")
    for left in record.left:
        paragraph(f"Left: {left.job} {left.as_of}: {left.why}")
    for sentence in record.passed_over:
        paragraph(f"Passed over: {sentence}")


def _window(window: RecalledWindow) -> str:
    return f"{window.as_of} in shadow" if window.shadow else window.as_of


def _instead(window: RecalledWindow) -> str:
    """What readers see in the place of the version's rows."""
    if window.state == "kept":
        return "the same rows, until it is scored again"
    if window.state == "replaced":
        return "what was published since"
    return f"run {window.restores} of {window.restores_model}" if window.restores else "nothing"


def _to_pull(windows: Iterable[RecalledWindow]) -> str:
    count = sum(one.must_be_pulled for one in windows)
    return f"; {count} of them without a kept snapshot, to be pulled again" if count else ""


def _write_model_page(model: str) -> None:
    from prefect.exceptions import MissingContextError  # noqa: PLC0415

    from tasks.report_model import write_model_page  # noqa: PLC0415

    # A page that cannot be drawn is told to the run's log, and here is no run: the alias has moved all the same.
    with contextlib.suppress(MissingContextError):
        write_model_page(model)
