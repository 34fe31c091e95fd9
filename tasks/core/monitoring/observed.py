"""What was observed, unit by unit: counts of each column in the bins of the reference of one model version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.profiles.profile import BatchProfile, CategoryReference, ColumnCounts, ReferenceProfile, WindowProfile

Role = Literal["feature", "prediction"]
Counts = npt.NDArray[np.int64]
# Of a version: that of its features and that of its predictions.
References = tuple[ReferenceProfile, ReferenceProfile]

_TYPES: dict[str, Any] = {
    "unit": pa.string(),
    "role": pa.string(),
    "column": pa.string(),
    "windows": pa.int64(),
    "rows": pa.int64(),
    "counts": pa.list_(pa.int64()),
    "missing": pa.int64(),
    "has_new": pa.bool_(),
    "rest": pa.list_(pa.int64()),
}
_SCHEMA = pa.schema(list(_TYPES.items()))


@dataclass(frozen=True)
class ObservedColumn:
    """counts: units x bins, without what is missing; missing: units. has_new: whether the last bin is of new categories.

    `rest` is, of scores of a past in which each unit has its model, what that model made of others: units x bins, and one
    more of those missing.
    """

    role: Role
    column: str
    counts: Counts
    missing: Counts
    has_new: bool
    rest: Counts | None = None


@dataclass(frozen=True)
class Observed:
    """Units in the order of time, the rows and windows of each, and the columns by role and name.

    The order of columns and of windows, and into how many windows a unit is cut, make no difference.
    """

    units: tuple[str, ...]
    windows: Counts
    rows: Counts
    columns: tuple[ObservedColumn, ...]

    def of_units(self, units: Iterable[str]) -> Observed:
        """The same of some of the units."""
        wanted = set(units)
        return self._taken([place for place, unit in enumerate(self.units) if unit in wanted])

    def _taken(self, places: list[int]) -> Observed:
        columns = (
            replace(
                one,
                counts=one.counts[places],
                missing=one.missing[places],
                rest=None if one.rest is None else one.rest[places],
            )
            for one in self.columns
        )
        units = tuple(self.units[place] for place in places)
        return Observed(units, self.windows[places], self.rows[places], tuple(columns))

    def beside(self, rests: Sequence[BatchProfile]) -> Observed:
        """With the profile of its model's scores of other units beside each unit's own."""
        columns = (
            replace(one, rest=np.array([_with_missing(rest.columns[one.column]) for rest in rests], np.int64))
            if one.role == "prediction" and rests
            else one
            for one in self.columns
        )
        return replace(self, columns=tuple(columns))

    def to_table(self) -> pa.Table:
        """One row a unit, role and column."""
        each = [(place, column) for place in range(len(self.units)) for column in self.columns]
        return pa.table(
            {
                "unit": [self.units[place] for place, _ in each],
                "role": [column.role for _, column in each],
                "column": [column.column for _, column in each],
                "windows": [int(self.windows[place]) for place, _ in each],
                "rows": [int(self.rows[place]) for place, _ in each],
                "counts": [column.counts[place].tolist() for place, column in each],
                "missing": [int(column.missing[place]) for place, column in each],
                "has_new": [column.has_new for _, column in each],
                "rest": [None if column.rest is None else column.rest[place].tolist() for place, column in each],
            },
            schema=_SCHEMA,
        )


def from_table(table: pa.Table) -> Observed:
    """What to_table has written, with its rows in any order."""
    read: dict[str, list[Any]] = table.to_pydict()
    rests: list[Any] = read.get("rest", [None] * table.num_rows)
    units = sorted(set(read["unit"]))
    place = {unit: number for number, unit in enumerate(units)}
    windows, rows = _zeros(len(units)), _zeros(len(units))
    columns: dict[tuple[Any, str], ObservedColumn] = {}
    for number, unit in enumerate(read["unit"]):
        at, key = place[unit], (read["role"][number], read["column"][number])
        if key not in columns:
            counts, has_rest = _zeros(len(units), len(read["counts"][number])), rests[number] is not None
            rest = _zeros(len(units), counts.shape[1] + 1) if has_rest else None
            columns[key] = ObservedColumn(*key, counts, _zeros(len(units)), bool(read["has_new"][number]), rest)
        windows[at], rows[at] = read["windows"][number], read["rows"][number]
        columns[key].counts[at], columns[key].missing[at] = read["counts"][number], read["missing"][number]
        if (rest := columns[key].rest) is not None:
            rest[at] = rests[number]
    return Observed(tuple(units), windows, rows, tuple(columns[key] for key in sorted(columns)))


def of_profiles(
    references: References, profiles: Iterable[tuple[str, WindowProfile]], *, units: Iterable[str] = ()
) -> Observed:
    """The profiles of windows, each with its unit; those of one unit are summed.

    `units` names units that are known to have had windows, also where all of these were without rows: a unit that is
    in neither is one of which nothing is known. ValueError where a profile was counted in other bins.
    """
    kept = list(profiles)
    names = sorted({unit for unit, _ in kept} | set(units))
    place = {unit: number for number, unit in enumerate(names)}
    at = [place[unit] for unit, _ in kept]
    _check_bins(references, (profile for _, profile in kept))
    windows, rows = _zeros(len(names)), _zeros(len(names))
    np.add.at(windows, at, 1)
    np.add.at(rows, at, [profile.features.rows for _, profile in kept])
    columns = [
        *_columns("feature", references[0], [profile.features for _, profile in kept], at, len(names)),
        *_columns("prediction", references[1], [profile.predictions for _, profile in kept], at, len(names)),
    ]
    return Observed(tuple(names), windows, rows, tuple(sorted(columns, key=lambda one: (one.role, one.column))))


def _columns(
    role: Role, reference: ReferenceProfile, profiles: list[BatchProfile], at: list[int], units: int
) -> Iterable[ObservedColumn]:
    for name, column in reference.columns.items():
        counts, missing = _zeros(units, len(column.counts)), _zeros(units)
        if profiles:
            np.add.at(counts, at, np.array([one.columns[name].counts for one in profiles], np.int64))
            np.add.at(missing, at, [one.columns[name].missing for one in profiles])
        is_told = isinstance(column, CategoryReference) and column.kind == "categorical" and column.knows_all
        yield ObservedColumn(role, name, counts, missing, is_told)


def _with_missing(counts: ColumnCounts) -> tuple[int, ...]:
    return (*counts.counts, counts.missing)


def _check_bins(references: References, profiles: Iterable[WindowProfile]) -> None:
    known = tuple(reference.digest for reference in references)
    if any((one.features.reference, one.predictions.reference) != known for one in profiles):
        raise ValueError("these profiles were counted in the bins of another version's reference")


def _zeros(*shape: int) -> Counts:
    return np.zeros(shape, np.int64)
