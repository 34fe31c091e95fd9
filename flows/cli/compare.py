"""The command `compare`: a window's rows beside the output of the script that it is to replace."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_lake
from flows.cli.run import AsJson, AsOf, JobArgument

if TYPE_CHECKING:
    from tasks.compare import Compared
    from tasks.core.rows.comparing import Comparison, SideCounts
    from tasks.core.rows.differing import ColumnTally, Value

_MOST_NAMED = 12
_ROUNDING = 1e-5  # Of the value: seven digits of a float32, or six that a script has written.
_SHOWN = {"published": "what is published", "in shadow": "what is published in shadow", "dry run": "its last dry run"}


@app.command()
def compare(
    job: JobArgument,
    as_of: AsOf,
    *,
    against: Annotated[str, typer.Option(help="The other script's output: Parquet or CSV, a file or a folder.")],
    on: Annotated[
        list[str] | None,
        typer.Option(help="A column that rows are told by, or OURS=THEIRS; once for each. Else the job's keys."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="OURS=THEIRS: columns with different names that mean the same; once for each."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Floats and decimals are equal within this; of numbers above 1 it is a share.")
    ] = 0.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compare the last dry run, also where the window is published.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a window's rows with another script's output: only here, only there, equal, different. Changes nothing."""
    from tasks import compare as stage  # noqa: PLC0415

    asked = stage.Asked(against, tuple(on or ()), tuple(column or ()), tolerance=tolerance, dry_run=dry_run)
    found = stage.compare(job, as_of, asked)
    step = _next_step(found, against)
    if as_json:
        echo_json(_facts(found) | {"next": step})
        return
    _tell(found)
    paragraph("", f"Next: {step}")


def _tell(found: Compared) -> None:
    ours, theirs = found.found.ours, found.found.theirs
    by = ", ".join(pair.ours if pair.ours == pair.theirs else f"{pair.ours}={pair.theirs}" for pair in found.keys)
    paragraph(
        f"{found.job.job} {found.as_of}: {_SHOWN[found.ours.what]} (here, run {found.ours.manifest.run_id}) beside "
        f"{found.theirs.path} (there), by {by}.",
        "",
    )
    table(("rows", "here", "there"), _counts(found), numbers=("here", "there"))
    tell_columns(found.found.columns, found.found.pairs)
    for side, counts in (("here", ours), ("there", theirs)):
        if counts.alone:
            paragraph(f"Only {side}: {_examples([pair.ours for pair in found.keys], counts)}")
    for note in _notes(found):
        paragraph(f"Note: {note}")


def _counts(found: Compared) -> Iterator[tuple[str, str, str]]:
    """A line for each fate, so that either column adds up to its first number."""
    both, ours, theirs = found.found, found.found.ours, found.found.theirs
    yield "all", f"{ours.rows:,}", f"{theirs.rows:,}"
    yield "equal" if found.is_compared else "here and there", f"{both.equal:,}", f"{both.equal:,}"
    if found.is_compared:
        yield "different", f"{both.different:,}", f"{both.different:,}"
    yield "only here", f"{ours.alone:,}", ""
    yield "only there", "", f"{theirs.alone:,}"
    if ours.repeated or theirs.repeated:
        yield "left out: the key is there twice", f"{ours.repeated:,}", f"{theirs.repeated:,}"
    if ours.without_key or theirs.without_key:
        yield "left out: without a key", f"{ours.without_key:,}", f"{theirs.without_key:,}"


def tell_columns(columns: tuple[ColumnTally, ...], pairs: int, *, here: str = "here", there: str = "there") -> None:
    """A line for each column, over so many pairs of rows; and the largest differences of each with their keys."""
    if not columns:
        return
    console.print()
    rows = [
        (name_of(one), one.type_ours, one.type_theirs, _differing(one, pairs, here, there), _largest(one))
        for one in columns
    ]
    table(("column", here, there, "rows differ", "by at most"), rows, numbers=("rows differ",))
    examples = [
        (name_of(one), in_words(each.key), shown(each.ours), shown(each.theirs), _by(each.by, each.share, one.unit))
        for one in columns
        for each in one.examples
    ]
    if examples:
        console.print()
        paragraph("The largest differences:")
        table(("column", "key", here, there, "by"), examples)
    console.print()


def _differing(one: ColumnTally, pairs: int, here: str, there: str) -> str:
    if one.compared_as is None:
        return "cannot be compared"
    share = f" ({one.differing / pairs:.2%})" if one.differing else ""
    missing = [
        f"{count:,} missing {side}" for count, side in ((one.missing_ours, here), (one.missing_theirs, there)) if count
    ]
    return ", ".join([f"{one.differing:,}{share}", *missing])


def _largest(one: ColumnTally) -> str:
    return _by(one.largest, one.largest_share, one.unit)


def _by(distance: float | None, share: float | None, unit: str) -> str:
    if distance is None:
        return ""
    of_value = f" ({share:.3g} of the value)" if share is not None and share == share else ""  # noqa: PLR0124 - NaN
    return f"{distance:.6g}{f' {unit}' if unit else ''}{of_value}"


def name_of(one: ColumnTally) -> str:
    return _printable(one.ours if one.ours == one.theirs else f"{one.ours}={one.theirs}")


def in_words(values: tuple[Value, ...]) -> str:
    return ", ".join(shown(value) for value in values)


def shown(value: Value) -> str:
    return "(missing)" if value is None else "(empty)" if value == "" else _printable(str(value))


def _printable(text: str) -> str:
    """Text with what a terminal would obey, and not show, spelt out."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _examples(keys: list[str], counts: SideCounts) -> str:
    more = f", and {counts.alone - len(counts.examples):,} more" if counts.alone > len(counts.examples) else ""
    return f"{', '.join(keys)} = {'; '.join(in_words(one) for one in counts.examples)}{more}"


def _notes(found: Compared) -> Iterator[str]:
    if unnamed := [name for name in found.predictions_left if name in found.alone]:
        yield f"{', '.join(unnamed)} was compared with nothing: {found.theirs.path} has no column of that name."
    for one in found.found.columns:
        yield from _note(one)
    yield from _notes_of_keys(found.found)
    if apart := [name for name in found.alone if name not in found.predictions_left]:
        yield f"only here: {_listed(apart)}."
    if found.alone_there:
        yield f"only there, and not compared: {_listed(found.alone_there)}."
    if found.found.theirs.alone and (left := found.ours.manifest.rows.quarantined):
        yield f"of the window {left:,} rows are in quarantine here, and may be among those that are only there: {_reasons(found)}"


def _notes_of_keys(both: Comparison) -> Iterator[str]:
    for side, counts in (("here", both.ours), ("there", both.theirs)):
        for name, kind, rows in counts.unlike:
            yield (
                f"in {rows:,} of {counts.rows:,} rows {side} the key {_printable(name)} is no {kind}, so no row can stand beside "
                "them: convert it, or tell the rows by another column (--on)."
            )
    if both.ours.repeated or both.theirs.repeated:
        yield "a key that stands twice on either side cannot be paired; name more columns by --on if these tell the rows."


def _reasons(found: Compared) -> str:
    """Where each row's reasons are to be seen."""
    if found.ours.what == "dry run":
        return _report(found)
    return f"lamplighter quarantine {found.job.job} --as-of {found.as_of}"


def _note(one: ColumnTally) -> Iterator[str]:
    if one.compared_as is None:
        yield f"{name_of(one)}: {one.type_ours} and {one.type_theirs} cannot be compared."
    elif one.factor is not None:
        yield f"{name_of(one)}: each value there is {one.factor:.6g} times the one here."
    elif one.largest_share is not None and 0 < one.largest_share <= _ROUNDING:
        yield f"{name_of(one)}: no difference is larger than rounding; --tolerance {_ROUNDING:g} passes over it."


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(map(_printable, names[:_MOST_NAMED]))}{more}"


def _next_step(found: Compared, against: str) -> str:
    window = f"{found.job.job} --as-of {found.as_of}"
    if found.predictions_left:
        there = found.alone_there[0] if len(found.alone_there) == 1 else "ITS_NAME_THERE"
        keys = "".join(
            f" --on {shlex.quote(f'{one.ours}={one.theirs}')}" for one in found.keys if one.ours != one.theirs
        )
        return (
            f"lamplighter compare {window} --against {shlex.quote(against)}{keys} --column "
            f"{shlex.quote(f'{found.predictions_left[0]}={there}')}"
        )
    if _only_left_out(found.found):
        return f"mend the keys (without one, or there twice), or tell the rows by more columns: lamplighter compare {window} --on KEY"
    if not found.found.is_same:
        return f"find out which of the two is right (how the rows here were made, {_report(found)} says); then: {_then(found)}"
    if found.ours.what == "dry run":
        return _then(found)
    if found.ours.what == "in shadow":
        return (
            f"compare other windows too; when all agree, output.shadow: false in deployments/jobs/{found.job.job}.yaml "
            "publishes for real"
        )
    return "compare other windows too; when all agree: lamplighter deploy"


def _only_left_out(found: Comparison) -> bool:
    """Whether all that could be paired is equal, and the rest are rows of which nothing is known."""
    return not (found.is_same or found.different or found.ours.alone or found.theirs.alone)


def _report(found: Compared) -> str:
    from tasks.core import layout  # noqa: PLC0415

    page = layout.dry_run_page if found.ours.what == "dry run" else layout.window_page
    return the_lake().address(page(found.job.job, found.as_of))


def _then(found: Compared) -> str:
    window = f"{found.job.job} --as-of {found.as_of}"
    return (
        f"lamplighter score {window}" if found.ours.what == "dry run" else f'lamplighter score {window} --rescore "why"'
    )


def _facts(found: Compared) -> dict[str, Any]:
    both = found.found
    return {
        "job": found.job.job,
        "as_of": found.as_of,
        "ours": {"what": found.ours.what, "run_id": found.ours.manifest.run_id, "file": found.ours.key},
        "theirs": {"path": found.theirs.path, "format": found.theirs.source.format},
        "keys": [asdict(pair) for pair in found.keys],
        "rows": {"ours": asdict(both.ours), "theirs": asdict(both.theirs)},
        "equal": both.equal,
        "different": both.different,
        "is_same": both.is_same and not found.predictions_left,
        "columns": [column_facts(one) for one in both.columns],
        "not_compared": {"ours": list(found.alone), "theirs": list(found.alone_there)},
    }


def column_facts(one: ColumnTally) -> dict[str, Any]:
    """A tally as JSON takes it: what is no number there is text."""
    return {key: _jsonable(value) for key, value in asdict(one).items()} | {"factor": one.factor}


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    if isinstance(value, dict):
        return {key: _jsonable(one) for key, one in value.items()}
    return [_jsonable(one) for one in value] if isinstance(value, list | tuple) else value
