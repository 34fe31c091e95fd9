"""Shifts that are put into past rows on purpose, to see after how many units the alarm is raised."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tasks.core.profiles.profile import CategoryReference, NumericReference, ReferenceProfile

Kind = Literal["mean shift", "units changed", "category gone", "values missing"]
MISSING_SHARE, SHIFT_IN_DEVIATIONS, KILOMETRES_A_MILE = 0.2, 1.0, 1.609344
# A category this rare may be away of itself.
_COMMON = 0.02
# The stubs of pyarrow.compute know few of the shapes that its functions take.
pc: Any = pyarrow.compute


@dataclass(frozen=True)
class Injection:
    """A shift of one column. `apply` makes of rows the rows as they would have come."""

    kind: Kind
    column: str
    size: str
    apply: Callable[[pa.Table], pa.Table]


def injections(reference: ReferenceProfile, columns: Iterable[str]) -> list[Injection]:
    """Of each numeric feature a mean shift and a change of units, of each categorical one its commonest category gone,
    and of each that some of its values are missing.
    """
    found: list[Injection] = []
    for name in columns:
        column = reference.columns.get(name)
        if isinstance(column, NumericReference) and column.kind == "numeric" and column.std:
            found += [_shifted(name, column.std), _in_other_units(name)]
        if isinstance(column, CategoryReference) and (common := _commonest(column)):
            found.append(_gone(name, column, common))
        if column is not None and column.kind != "opaque":
            found.append(_missing(name))
    return found


def _shifted(name: str, deviation: float) -> Injection:
    by = SHIFT_IN_DEVIATIONS * deviation

    def shift(values: Any) -> Any:
        # Drawn up or down to whole numbers: rounded, a flag of 0 and 1 would stay where it is.
        whole = np.floor(by) + (np.random.default_rng(0).random(len(values)) < by % 1)
        return values + whole

    def apply(rows: pa.Table) -> pa.Table:
        is_whole = pa.types.is_integer(rows.schema.field(name).type)
        return _with_numbers(rows, name, shift if is_whole else lambda values: values + by)

    return Injection("mean shift", name, f"+{SHIFT_IN_DEVIATIONS:g} sd", apply)


def _in_other_units(name: str) -> Injection:
    return Injection(
        "units changed",
        name,
        f"times {KILOMETRES_A_MILE:.3f}",
        lambda rows: _with_numbers(rows, name, lambda values: values * KILOMETRES_A_MILE),
    )


def _gone(name: str, column: CategoryReference, common: str) -> Injection:
    share = column.counts[column.values.index(common)] / max(sum(column.counts), 1)
    return Injection("category gone", name, f"{common}, {share:.0%}", lambda rows: _without(rows, name, common))


def _missing(name: str) -> Injection:
    return Injection("values missing", name, f"{MISSING_SHARE:.0%}", lambda rows: _with_nulls(rows, name))


def _with_numbers(rows: pa.Table, name: str, change: Callable[[Any], Any]) -> pa.Table:
    """The column's numbers changed, in its own type: what does not fit is cut off at the type's end."""
    column = rows[name].combine_chunks()
    values = change(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if pa.types.is_integer(column.type):
        limits = np.iinfo(np.dtype(str(column.type)))
        values = np.clip(np.round(values), float(limits.min), _at_most(limits.max))
    elif pa.types.is_decimal(column.type):
        end = _at_most(10**column.type.precision - 1) / 10.0**column.type.scale
        values = np.clip(values, -end, end)
    changed = pa.array(values, pa.float64(), from_pandas=True, mask=~column.is_valid().to_numpy(zero_copy_only=False))
    return _put(rows, name, changed.cast(column.type, safe=False))


def _at_most(end: int) -> float:
    """The largest float64 that is no more: that of the largest int64 is one more."""
    return float(end) if int(float(end)) <= end else float(np.nextafter(float(end), 0))


def _without(rows: pa.Table, name: str, category: str) -> pa.Table:
    """As when a carrier is no longer sent: its rows are not there."""
    is_it = pc.equal(rows[name].cast(pa.string()), category)
    return rows.filter(pc.invert(pc.fill_null(is_it, False)))


def _with_nulls(rows: pa.Table, name: str) -> pa.Table:
    is_lost = np.random.default_rng(0).random(len(rows)) < MISSING_SHARE
    return _put(rows, name, pc.if_else(pa.array(is_lost), pa.scalar(None, rows[name].type), rows[name]))


def _put(rows: pa.Table, name: str, values: Any) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(name).with_nullable(True), values)


def _commonest(column: CategoryReference) -> str:
    """The most frequent value; '' where it is rare, or the only one."""
    counts = column.counts[: len(column.values)]
    if len(counts) < 2 or max(counts) < _COMMON * sum(column.counts):  # noqa: PLR2004 - one is all there is
        return ""
    return column.values[int(np.argmax(counts))]
