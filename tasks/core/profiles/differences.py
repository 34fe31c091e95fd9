"""How far two models' scores of the same rows lie apart. No label is needed: it says that they differ, not who is right.

Gathered batch by batch. Counts, means and the rows that lie farthest apart need no more memory for a longer window; what
needs ranks is taken from at most about `MOST_RANKED` pairs of a run, 16 bytes each: all of them, or those that the hash
of their keys chooses.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from tasks.core.definitions.column_types import parse_type
from tasks.core.definitions.modelling import Prediction
from tasks.core.rows.digest import hash_rows

MOST_RANKED = 1_000_000
LARGEST = 10
_TOP = 10  # The first tenth.
_LONGEST_VALUE = 200
_MOST_MOVES, _MOST_KEPT = 20, 1000

Floats = npt.NDArray[np.float64]
Kind = Literal["probability", "score", "number", "class"]
# Above it a row is decided one way, at it or below the other: as scikit-learn's own predict decides between two classes.
_THRESHOLDS: dict[Kind, float] = {"probability": 0.5, "score": 0.0}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RowApart(_Frozen):
    """A row and what both made of it: its key as text; scores are numbers, classes text."""

    key: dict[str, str]
    production: float | str
    challenger: float | str


class Move(_Frozen):
    """So many rows that production decides one way and the challenger another."""

    production: str
    challenger: str
    rows: int


class ColumnDifferences(_Frozen):
    """Of one published column, over the rows that both scored. A difference is the challenger's less production's.

    Flips are rows whose decision (above the threshold, or not) or whose class differs; a number has none. None: it
    cannot be said, for want of rows, or because a side is constant. `std` is with divisor n.
    """

    column: str
    kind: Kind
    rows: int
    threshold: float | None = None
    flips: int | None = None
    moves: tuple[Move, ...] = ()
    production_mean: float | None = None
    challenger_mean: float | None = None
    mean: float | None = None
    std: float | None = None
    lowest: float | None = None
    highest: float | None = None
    spearman: float | None = None
    top_moved: float | None = None
    ranked_rows: int = 0
    largest: tuple[RowApart, ...] = ()

    @property
    def flip_share(self) -> float | None:
        return self.flips / self.rows if self.flips is not None and self.rows else None

    @property
    def top_rows(self) -> int:
        """How many rows are the tenth with the highest scores."""
        return top_size(self.ranked_rows)


@dataclass(frozen=True)
class Moments:
    """Of some values: how many, their mean, and the sum of squared deviations from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Floats) -> Moments:
        if not len(values):
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):  # Beyond all floats it is infinite, and then not shown.
            mean = float(values.mean())
            return cls(len(values), mean, float(((values - mean) ** 2).sum()))

    def __add__(self, other: Moments) -> Moments:
        """Chan, Golub and LeVeque, 'Algorithms for Computing the Sample Variance', The American Statistician 37 (1983)."""
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        apart = other.mean - self.mean
        mean = self.mean + apart * other.count / count
        # Not apart**2: of a float too large that raises, and here it is to be infinite.
        return Moments(count, mean, self.squares + other.squares + apart * apart * self.count * other.count / count)

    @property
    def std(self) -> float:
        return math.sqrt(self.squares / self.count) if self.count else math.nan


@dataclass(frozen=True)
class Gathered:
    """What was found in some rows of one column. `pairs` has the two scores of the rows that are ranked."""

    rows: int
    flips: int
    moves: Counter[tuple[str, str]]
    production: Moments
    challenger: Moments
    difference: Moments
    lowest: float
    highest: float
    largest: tuple[RowApart, ...]
    pairs: npt.NDArray[np.float64]


def kind_of(made: Prediction) -> Kind:
    """What a published column is: the probability or the score of a class, a number, or a class."""
    if made.method == "predict_proba":
        return "probability"
    if made.method == "decision_function":
        return "score"
    kind = parse_type(made.type)
    if made.method == "predict" and not (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return "class"
    return "number"


def ranked(keys: pa.Table, rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Which of some rows are ranked: of no more rows than the bound allows all, else a share, by the hashes of their keys.

    `rows` are those of the whole run; its columns share the bound.
    """
    share = MOST_RANKED / max(columns, 1) / max(rows, 1)
    if share >= 1:
        return np.ones(len(keys), dtype=bool)
    chosen: npt.NDArray[np.bool_] = hash_rows(keys)[:, 0] < np.uint64(share * 2.0**64)
    return chosen


def gather(
    made: Prediction, keys: pa.Table, production: pa.Array[Any], challenger: pa.Array[Any], is_ranked: npt.NDArray[Any]
) -> Gathered:
    """The differences of some rows, which stand in the same order in all that is given."""
    kind = kind_of(made)
    if kind == "class":
        return _gather_classes(keys, production, challenger)
    before, after = _numbers(production), _numbers(challenger)
    with np.errstate(over="ignore"):  # As in Moments.
        apart = after - before
    farthest = np.argsort(-np.abs(apart), kind="stable")[:LARGEST]
    threshold = _THRESHOLDS.get(kind)
    moves = Counter[tuple[str, str]]() if threshold is None else _decisions(before, after, threshold)
    return Gathered(
        rows=len(before),
        flips=moves.total(),
        moves=moves,
        production=Moments.of(before),
        challenger=Moments.of(after),
        difference=Moments.of(apart),
        lowest=float(apart.min(initial=math.inf)),
        highest=float(apart.max(initial=-math.inf)),
        largest=tuple(_row(keys, row, float(before[row]), float(after[row])) for row in farthest.tolist()),
        pairs=np.stack([before[is_ranked], after[is_ranked]]),
    )


def conclude(columns: Mapping[str, Prediction], batches: Sequence[Mapping[str, Gathered]]) -> list[ColumnDifferences]:
    """The differences over all batches, which come in the order of their rows."""
    return [_concluded(name, kind_of(made), [one[name] for one in batches]) for name, made in columns.items()]


def spearman(pairs: Floats) -> float | None:
    """Spearman's rank correlation, ties with their mean rank: 1 if both order the rows alike, -1 if one turns it round.

    C. Spearman, 'The Proof and Measurement of Association between Two Things', Am. J. Psychology 15 (1904); scipy's.
    None where a side is constant, or there are fewer than two rows.
    """
    from scipy.stats import spearmanr  # noqa: PLC0415 - heavy

    if not pairs.shape[1] or (pairs.min(axis=1) == pairs.max(axis=1)).any():
        return None
    correlation: float = float(spearmanr(pairs[0], pairs[1]).statistic)
    return _finite(correlation)


def top_moved(pairs: Floats) -> float | None:
    """Of production's tenth of rows with the highest scores (rounded up), the share that is not in the challenger's.

    One less the overlap at k of two top-k lists: R. Fagin, R. Kumar and D. Sivakumar, 'Comparing Top k Lists', SIAM J.
    Discrete Math. 17 (2003). Of equal scores those of earlier rows come first, on both sides.
    """
    size = top_size(pairs.shape[1])
    if not size:
        return None
    production, challenger = (np.argsort(-side, kind="stable")[:size] for side in pairs)
    both: int = len(np.intersect1d(production, challenger))
    return 1 - both / size


def top_size(rows: int) -> int:
    """A tenth of so many rows, rounded up."""
    return -(-rows // _TOP)


def _gather_classes(keys: pa.Table, production: pa.Array[Any], challenger: pa.Array[Any]) -> Gathered:
    differs: Any = pc.not_equal(production, challenger)
    before, after = ([_cut(str(one)) for one in side.filter(differs).to_pylist()] for side in (production, challenger))
    places = np.flatnonzero(differs.to_numpy(zero_copy_only=False))
    rows = zip(places[:LARGEST].tolist(), before, after, strict=False)
    moves = Counter(zip(before, after, strict=True))
    return Gathered(
        rows=len(production),
        flips=len(places),
        # Of a few classes that is all; of thousands, no more than the memory of a batch.
        moves=Counter(dict(moves.most_common(_MOST_KEPT))),
        production=Moments(),
        challenger=Moments(),
        difference=Moments(),
        lowest=math.inf,
        highest=-math.inf,
        largest=tuple(_row(keys, row, one, other) for row, one, other in rows),
        pairs=np.empty((2, 0)),
    )


def _decisions(before: Floats, after: Floats, threshold: float) -> Counter[tuple[str, str]]:
    above, below = f"above {threshold:g}", f"at most {threshold:g}"
    up = int(((before <= threshold) & (after > threshold)).sum())
    down = int(((before > threshold) & (after <= threshold)).sum())
    return +Counter({(below, above): up, (above, below): down})


def _row(keys: pa.Table, row: int, production: float | str, challenger: float | str) -> RowApart:
    values = {name: _cut(str(keys[name][row].as_py())) for name in keys.column_names}
    return RowApart(key=values, production=production, challenger=challenger)


def _concluded(name: str, kind: Kind, batches: Sequence[Gathered]) -> ColumnDifferences:
    rows = sum(one.rows for one in batches)
    moves = sum((one.moves for one in batches), Counter[tuple[str, str]]()).most_common(_MOST_MOVES)
    largest = [row for one in batches for row in one.largest]
    if kind != "class":
        largest.sort(key=_apart, reverse=True)
    return ColumnDifferences(
        column=name,
        kind=kind,
        rows=rows,
        threshold=_THRESHOLDS.get(kind),
        flips=None if kind == "number" else sum(one.flips for one in batches),
        moves=tuple(Move(production=one, challenger=other, rows=count) for (one, other), count in moves),
        largest=tuple(largest[:LARGEST]),
        **(_figures(batches) if rows and kind != "class" else {}),
    )


def _figures(batches: Sequence[Gathered]) -> dict[str, Any]:
    pairs = np.concatenate([one.pairs for one in batches], axis=1)
    difference = _sum(one.difference for one in batches)
    found = {
        "production_mean": _sum(one.production for one in batches).mean,
        "challenger_mean": _sum(one.challenger for one in batches).mean,
        "mean": difference.mean,
        "std": difference.std,
        "lowest": min(one.lowest for one in batches),
        "highest": max(one.highest for one in batches),
    }
    ranks = {"spearman": spearman(pairs), "top_moved": top_moved(pairs), "ranked_rows": pairs.shape[1]}
    return {name: _finite(value) for name, value in found.items()} | ranks


def _sum(moments: Iterable[Moments]) -> Moments:
    return reduce(Moments.__add__, moments, Moments())


def _apart(row: RowApart) -> float:
    return abs(float(row.challenger) - float(row.production))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(values: pa.Array[Any]) -> Floats:
    numbers: Floats = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
