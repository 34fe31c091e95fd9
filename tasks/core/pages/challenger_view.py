"""What a page says of the challenger: a second version's scores beside production's, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasks.core.pages import verdicts, wording
from tasks.core.pages.distributions import Figure, Sides, draw
from tasks.core.pages.inputs import WindowPage
from tasks.core.pages.verdicts import Piece
from tasks.core.profiles.differences import ColumnDifferences, RowApart
from tasks.core.runs.challenger import Beside, Challenge

MOST_COLUMNS, MOST_REASONS, MOST_KEYS = 6, 5, 8
_CHIPS: dict[str, tuple[str, Literal["good", "warn", "idle"]]] = {
    "scored": ("Scored", "good"),
    "failed": ("Failed", "warn"),
    "running": ("Not ended", "idle"),
}
_SIDES = Sides(bars="from the challenger", outline="from production")


@dataclass(frozen=True)
class Tile:
    """A figure with its name, and what it means in a few words."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Compared:
    """One published column: figures, the two distributions, and the rows that lie farthest apart as a table."""

    name: str
    tiles: tuple[Tile, ...]
    moves: tuple[str, ...]
    figure: Figure | None
    rows_heading: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int  # So many cells at the end of each row are numbers.


@dataclass(frozen=True)
class Section:
    """The challenger's part of a window's page."""

    title: str
    chip: str
    tone: str
    notes: tuple[str, ...]
    next_step: tuple[Piece, ...]
    columns: tuple[Compared, ...]
    columns_count: int


def section(page: WindowPage) -> Section | None:
    """None where no challenger was asked: there is none, or the run published nothing."""
    beside = page.challenger
    if beside is None or beside.challenge is None:
        return _not_asked(page, beside.could) if beside and beside.could else None
    challenge = beside.challenge
    chip, tone = _CHIPS[challenge.verdict]
    return Section(
        title=title(challenge),
        chip=chip,
        tone=tone,
        notes=tuple(_notes(page, challenge, stands=beside.stands)),
        next_step=verdicts.pieces(verdicts.capitalised(_next_step(challenge))),
        columns=tuple(_compared(challenge, one, number) for number, one in enumerate(_drawn(challenge))),
        columns_count=len(challenge.differences),
    )


def title(challenge: Challenge) -> str:
    """What is to be known, as a heading."""
    if challenge.verdict == "failed":
        return "The challenger failed"
    if challenge.verdict == "running":
        return "The challenger has not scored this window"
    first = next((one for one in challenge.differences if one.rows), None)
    return f"The challenger {_differs(first)}" if first else "The challenger has scored no row"


def sentence(beside: Beside) -> str:
    """The challenger in one line, without its full stop; empty where there is none to speak of."""
    challenge = beside.challenge
    if challenge is None:
        return f"version {beside.could} has not scored this window" if beside.could else ""
    who = f"{challenge.model} version {challenge.version}"
    if challenge.verdict == "failed":
        return f"{who} failed: {challenge.reason}"
    if challenge.verdict == "running":
        return f"{who} has not ended, or was killed; {_next_step(challenge)}"
    first = next((one for one in challenge.differences if one.rows), None)
    found = f"; it {_differs(first)}{_ranks(first)}" if first else ""
    gone = "" if beside.stands else "; its rows are no longer in the table"
    return f"{who} has scored {_scored(challenge)}{found}{gone}"


def _not_asked(page: WindowPage, version: int) -> Section:
    manifest = page.manifest
    return Section(
        title="The challenger has not scored this window",
        chip="Not scored",
        tone="idle",
        notes=(f"{manifest.model.name} version {version} is the challenger.",),
        next_step=verdicts.pieces(f"lamplighter challenge {manifest.job} --as-of {manifest.as_of}"),
        columns=(),
        columns_count=0,
    )


def _next_step(challenge: Challenge) -> str:
    if challenge.verdict == "running":
        return f"lamplighter challenge {challenge.job} --as-of {challenge.as_of}"
    return challenge.next_step


def _notes(page: WindowPage, challenge: Challenge, *, stands: bool) -> list[str]:
    who = f"{challenge.model} version {challenge.version}"
    if challenge.verdict == "failed":
        return [f"{who}: {challenge.reason}", "What production published stands, and so does its verdict."]
    if challenge.verdict == "running":
        return [f"{who} is at work, or was killed. What production published stands."]
    notes = [
        f"{who} has scored {_scored(challenge)}, after production had published them.",
        "That needs no label: it says how far the two differ, not which is right.",
    ]
    if challenge.unscored:
        reasons = [f"{wording.count(n)} x {reason}" for reason, n in list(challenge.unscored_reasons.items())]
        notes.append(f"It could not score {_rows(challenge.unscored)}: {', '.join(reasons[:MOST_REASONS])}.")
    if _would_block(page, challenge):
        notes.append("In production's place it would have blocked the run: too many rows would be in quarantine.")
    if not stands:
        notes.append("Its rows are no longer in the table.")
    return [*notes, *challenge.warnings]


def _would_block(page: WindowPage, challenge: Challenge) -> bool:
    counts = page.manifest.rows
    lost = counts.quarantined + challenge.unscored
    return page.quarantine_limit is not None and lost > page.quarantine_limit * (counts.pulled - counts.duplicates)


def _scored(challenge: Challenge) -> str:
    if challenge.scored == challenge.rows:
        return f"the same {_rows(challenge.rows)}"
    return f"{wording.count(challenge.scored)} of the same {_rows(challenge.rows)}"


def _differs(column: ColumnDifferences) -> str:
    """What follows on 'the challenger' or 'it'."""
    if column.flips is not None:
        how = "predicts another class for" if column.kind == "class" else "decides otherwise on"
        if not column.flips:
            return f"{how} no row"
        return f"{how} {wording.share(column.flip_share)} of the rows"
    if not column.mean:
        return "agrees with production on average"
    return f"lies {wording.figure(abs(column.mean))} {'above' if column.mean > 0 else 'below'} production on average"


def _ranks(column: ColumnDifferences) -> str:
    return "" if column.spearman is None else f", rank correlation {wording.fixed(column.spearman)}"


def _drawn(challenge: Challenge) -> tuple[ColumnDifferences, ...]:
    return challenge.differences[:MOST_COLUMNS]


def _compared(challenge: Challenge, column: ColumnDifferences, number: int) -> Compared:
    found = next((one for one in challenge.distributions if one.column == column.column), None)
    is_class = column.kind == "class"
    keys = list(column.largest[0].key)[:MOST_KEYS] if column.largest else []
    return Compared(
        name=column.column,
        tiles=tuple(_tiles(column)),
        moves=tuple(f"{_rows(one.rows)} from {one.production} to {one.challenger}" for one in column.moves),
        figure=draw(found, f"challenger-{number}", sides=_SIDES) if found else None,
        rows_heading="Rows whose class differs" if is_class else "The rows that lie farthest apart",
        head=(*keys, "Production", "Challenger", *(() if is_class else ("Difference",))),
        rows=tuple(_cells(one, keys) for one in column.largest),
        numbers=0 if is_class else 3,
    )


def _tiles(column: ColumnDifferences) -> list[Tile]:
    tiles = []
    if column.flips is not None:
        name = "another class" if column.kind == "class" else "decided otherwise"
        tiles.append(Tile(name, wording.share(column.flip_share), _rows(column.flips)))
    if column.mean is not None:
        tiles.append(Tile("mean difference", _signed(column.mean), f"standard deviation {wording.figure(column.std)}"))
        tiles.append(Tile("highest difference", _signed(column.highest), f"lowest {_signed(column.lowest)}"))
    if column.ranked_rows:
        some = "" if column.ranked_rows == column.rows else f", {_rows(column.ranked_rows)} drawn"
        tiles.append(Tile("rank correlation", wording.fixed(column.spearman), f"Spearman{some}"))
        tiles.append(Tile("top tenth replaced", wording.share(column.top_moved), f"of {_rows(column.top_rows)}"))
    return tiles


def _cells(row: RowApart, keys: list[str]) -> tuple[str, ...]:
    known = [row.key[name] for name in keys]
    if isinstance(row.production, str) or isinstance(row.challenger, str):
        return (*known, str(row.production), str(row.challenger))
    both = (wording.figure(row.production), wording.figure(row.challenger))
    return (*known, *both, _signed(row.challenger - row.production))


def _signed(value: float | None) -> str:
    return f"+{wording.figure(value)}" if value and value > 0 else wording.figure(value)


def _rows(amount: int) -> str:
    return wording.plural(amount, "row")
