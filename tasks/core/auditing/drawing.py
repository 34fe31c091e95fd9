"""Which batches an audit scores again: drawn at random, in proportion to rows, and the same again from the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.rows.digest import digest_json
from tasks.core.rows.snapshot import batch_bounds
from tasks.core.runs.manifest import Manifest

Drawn = tuple[str, int]
_MOST_BATCHES = 1_000_000  # Of a window: a record that says more is none.


@dataclass(frozen=True)
class Urn:
    """A window that can be drawn from: its published rows, and of each batch how many of them it holds at the least."""

    as_of: str
    rows: int
    batches: tuple[int, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Urn:
        """The urn of a published run; empty where it has no rows or no record of a snapshot."""
        record = manifest.snapshot
        if record is None or manifest.rows.scored < 1 or not 0 < record.batches <= _MOST_BATCHES:
            return cls(manifest.as_of, 0, ())
        lost = manifest.rows.pulled - manifest.rows.scored
        sizes = [end - first for first, end in (batch_bounds(record, batch) for batch in range(record.batches))]
        return cls(manifest.as_of, manifest.rows.scored, tuple(max(size - lost, 0) for size in sizes))


def seed_of(job: str, day: str) -> int:
    """The seed of a job's audit of a day."""
    return int(digest_json([job, day])[:15], 16)


def draw(urns: Sequence[Urn], rows: int, most_windows: int, seed: int, *, each: bool = False) -> list[Drawn]:
    """Windows with a batch (from 0) of each, until they hold so many rows at the least, or there is no more to draw.

    A window is drawn in proportion to its rows, also a second time, while it has batches left. With `each`, a batch of
    every window comes first.
    """
    # Repeatable, and no secret. Of Python's generator this one method is promised to give the same for ever.
    chance = random.Random(seed).random  # noqa: S311
    left = {urn.as_of: list(range(len(urn.batches))) for urn in urns if urn.rows}
    by_name = {urn.as_of: urn for urn in urns}
    drawn: list[Drawn] = []
    held = 0
    first = list(left) if each else []
    while left and (first or held < rows):
        known = {as_of for as_of, _ in drawn}
        may_be = [one for one in left if len(known) < most_windows or one in known or each]
        if not may_be:
            break
        as_of = first.pop(0) if first else _weighted(may_be, [by_name[one].rows for one in may_be], chance())
        batch = left[as_of].pop(int(chance() * len(left[as_of])))
        drawn.append((as_of, batch))
        held += by_name[as_of].batches[batch]
        if not left[as_of]:
            del left[as_of]
    return drawn


def _weighted(names: Sequence[str], weights: Sequence[int], chance: float) -> str:
    """One of the names, by its share of all weights."""
    point = chance * sum(weights)
    for name, weight in zip(names, weights, strict=True):
        point -= weight
        if point < 0:
            return name
    return names[-1]
