"""Profiles of columns: what the training data looked like, and what a batch looks like in the same bins.

A batch's profile is whole numbers, extremes and a few names, so profiles merge to the same result whatever the batches
and their order. Nulls and NaN are missing. Instants, dates and times of day are numbers of microseconds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from functools import cached_property, reduce
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from tasks.core.profiles.steps import Floats, Steps, deviations, sum_steps, unscaled_moments
from tasks.core.rows.digest import digest_json

BINS = 20
TOP_CATEGORIES = 50
KNOWN_CATEGORIES = 1000  # Beyond the top: of more, a new category is not told from a rare one.
NEW_VALUES = 20
_NAME_CHARACTERS = 200
_BLOCK_ROWS = 1 << 13  # Stays in a core's cache.

Count = Annotated[int, Field(ge=0)]
_compute: Any = pc


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NumericReference(_Frozen):
    """Numbers: counts[0] below edges[0], counts[i] in [edges[i-1], edges[i]), counts[-1] from the last edge on.

    The edges are quantiles, from the least value to just over the largest; a value that is several of them has a bin
    of its own. The other figures are of finite values, None where there are none; the deviation is with divisor n.
    """

    kind: Literal["numeric", "datetime"]
    edges: tuple[float, ...]
    counts: tuple[Count, ...]
    missing: Count
    infinite: Count
    min: float | None
    max: float | None
    mean: float | None
    std: float | None

    @cached_property
    def places(self) -> Floats:
        """The edges, to look for."""
        return np.array(self.edges, float)


class CategoryReference(_Frozen):
    """Categories: counts of the top `values`, then one of the `others`, then 0, for those that will come new.

    A boolean's values are false and true. A column of neither kind (lists, say) is opaque: all of it is 'other'.
    """

    kind: Literal["categorical", "boolean", "opaque"]
    values: tuple[str, ...]
    others: tuple[str, ...]
    knows_all: bool  # `values` and `others` are all there were, so what is neither is new; else it is 'other'.
    counts: tuple[Count, ...]
    missing: Count

    @cached_property
    def known(self) -> pa.Array[Any]:
        """All values that are told apart from new ones, the top ones first."""
        return pa.array([*self.values, *self.others], pa.string())


ColumnReference = Annotated[NumericReference | CategoryReference, Field(discriminator="kind")]


class ReferenceProfile(_Frozen):
    """The distributions of the training data, or of a model's scores on it, kept with the model's version."""

    version: Literal[1] = 1
    rows: Count
    columns: dict[str, ColumnReference]

    @cached_property
    def digest(self) -> str:
        return digest_json(self.model_dump(mode="json"))


class NumericCounts(_Frozen):
    """Of one column: counts in the reference's bins, and the sums of steps from its mean (see tasks.core.profiles.steps)."""

    kind: Literal["numbers"] = "numbers"
    counts: tuple[Count, ...]
    missing: Count = 0
    infinite: Count = 0
    min: float | None = None
    max: float | None = None
    steps: int = 0
    squares: Count = 0


class CategoryCounts(_Frozen):
    """Of one column: counts of the reference's values, of its others and of new ones; the first new names, sorted."""

    kind: Literal["categories"] = "categories"
    counts: tuple[Count, ...]
    missing: Count = 0
    new_values: tuple[str, ...] = ()


ColumnCounts = Annotated[NumericCounts | CategoryCounts, Field(discriminator="kind")]


class BatchProfile(_Frozen):
    """What was observed in some rows, in the bins of one reference."""

    version: Literal[1] = 1
    reference: str  # Its digest: what was counted in other bins cannot be merged or compared.
    rows: Count
    columns: dict[str, ColumnCounts]


class WindowProfile(_Frozen):
    """What was observed in all rows of a window that were scored: kept with its run."""

    version: Literal[1] = 1
    features: BatchProfile
    predictions: BatchProfile


def profile_batch(reference: ReferenceProfile, batch: pa.RecordBatch | pa.Table) -> BatchProfile:
    """What a batch holds of every column of the reference; other columns are left aside. KeyError where one lacks."""
    columns = {name: _observe(column, _chunks(batch.column(name))) for name, column in reference.columns.items()}
    return BatchProfile(reference=reference.digest, rows=batch.num_rows, columns=columns)


def empty(reference: ReferenceProfile) -> BatchProfile:
    """The profile of no rows: what merging starts from."""
    columns = {name: _observe(column, []) for name, column in reference.columns.items()}
    return BatchProfile(reference=reference.digest, rows=0, columns=columns)


def merge(a: BatchProfile, b: BatchProfile) -> BatchProfile:
    """The profile of the rows of both, exactly; ValueError where they were not counted in the same bins."""
    if a.reference != b.reference:
        raise ValueError("these profiles were counted in the bins of different references")
    columns = {name: _add(column, b.columns[name]) for name, column in a.columns.items()}
    return BatchProfile(reference=a.reference, rows=a.rows + b.rows, columns=columns)


def moments(reference: NumericReference, observed: NumericCounts) -> tuple[float, float] | None:
    """Mean and standard deviation (divisor n) of the finite values observed; None where there are none."""
    finite = sum(observed.counts) - observed.infinite
    if observed.min is None or observed.max is None:
        return None
    return unscaled_moments(
        Steps(observed.steps, observed.squares), finite, _scale(reference), (observed.min, observed.max)
    )


def reference_profile(table: pa.Table) -> ReferenceProfile:
    """The profile of every column of the training data. Holds one column at a time as float64."""
    columns = {name: _reference_of(table.column(name)) for name in table.column_names}
    return ReferenceProfile(rows=table.num_rows, columns=columns)


# --- Making a reference ----------------------------------------------------------------------------------------------


def _reference_of(column: Any) -> NumericReference | CategoryReference:
    kind, chunks = _kind(column.type), _chunks(column)
    if kind in ("numeric", "datetime"):
        return _numeric_reference(kind, chunks)
    return _category_reference(kind, chunks)


def _numeric_reference(kind: Any, chunks: list[pa.Array[Any]]) -> NumericReference:
    values = np.concatenate([np.empty(0), *(_numbers(chunk) for chunk in chunks)])
    finite = values[np.isfinite(values)]
    mean, std = deviations(finite)
    bins = NumericReference(
        kind=kind, edges=_edges(finite), counts=(), missing=0, infinite=0, min=None, max=None, mean=mean, std=std
    )
    observed = _observe_numbers(bins, values)
    counted = {name: getattr(observed, name) for name in ("counts", "missing", "infinite", "min", "max")}
    return bins.model_copy(update=counted)


def _edges(finite: Floats) -> tuple[float, ...]:
    """Edges before quantiles and behind heavy values, from the least value to just over the largest.

    They lie halfway between neighbouring values, so that the last bit of a float (another width, another way to
    compute it) moves no value into another bin.
    """
    if not len(finite):
        return ()
    ordered = np.sort(finite)
    ranks = -(-np.arange(BINS + 1) * len(ordered) // BINS) - 1  # The inverse of the empirical distribution function.
    quantiles = ordered[np.maximum(ranks, 0)]
    heavy = quantiles[1:][quantiles[1:] == quantiles[:-1]]
    before = np.searchsorted(ordered, quantiles[:-1], side="left")
    behind = np.searchsorted(ordered, heavy, side="right")
    cuts = np.unique(np.concatenate([before, behind]))
    inner = cuts[(cuts > 0) & (cuts < len(ordered))]
    low, high = ordered[inner - 1], ordered[inner]
    halfway = np.maximum(low / 2 + high / 2, np.nextafter(low, high))
    last = min(math.nextafter(float(ordered[-1]), math.inf), sys.float_info.max)
    edges: list[float] = np.unique([ordered[0], *halfway, last]).tolist()
    return tuple(edge + 0.0 for edge in edges)


def _category_reference(kind: Any, chunks: list[pa.Array[Any]]) -> CategoryReference:
    names: list[str] = ["false", "true"] if kind == "boolean" else []
    if kind == "categorical":
        names = _names_by_count(chunks)
    bins = CategoryReference(
        kind=kind,
        values=tuple(names[:TOP_CATEGORIES]),
        others=tuple(sorted(names[TOP_CATEGORIES:][:KNOWN_CATEGORIES])),
        knows_all=kind != "opaque" and len(names) <= TOP_CATEGORIES + KNOWN_CATEGORIES,
        counts=(),
        missing=0,
    )
    observed = _observe(bins, chunks)
    return bins.model_copy(update={"counts": observed.counts, "missing": observed.missing})


def _names_by_count(chunks: list[pa.Array[Any]]) -> list[str]:
    """The distinct values, the most frequent first, then by name."""
    totals: dict[str, int] = {}
    for chunk in chunks:
        names, counts = _distinct(chunk)
        for name, count in zip(names.to_pylist(), counts.tolist(), strict=True):
            totals[name] = totals.get(name, 0) + count
    return sorted(totals, key=lambda name: (-totals[name], name))


# --- Observing -------------------------------------------------------------------------------------------------------


def _observe(reference: NumericReference | CategoryReference, chunks: Iterable[pa.Array[Any]]) -> Any:
    if isinstance(reference, NumericReference):
        found: list[Any] = [_observe_numbers(reference, _numbers(chunk)) for chunk in chunks]
        return reduce(_add, found) if found else NumericCounts(counts=(0,) * (len(reference.edges) + 1))
    found = [_observe_categories(reference, chunk) for chunk in chunks]
    return reduce(_add, found) if found else CategoryCounts(counts=(0,) * (len(reference.values) + 2))


def _observe_numbers(reference: NumericReference, values: Floats) -> NumericCounts:
    is_finite = np.isfinite(values)
    finite = values if is_finite.all() else values[is_finite]
    missing = len(values) - len(finite) and int(np.isnan(values).sum())
    total = sum_steps(finite, _scale(reference))
    return NumericCounts(
        counts=_count_in_bins(values, reference.places, len(values) - missing),
        missing=missing,
        infinite=len(values) - len(finite) - missing,
        min=float(finite.min()) if len(finite) else None,
        max=float(finite.max()) if len(finite) else None,
        steps=total.steps,
        squares=total.squares,
    )


def _count_in_bins(values: Floats, edges: Floats, present: int) -> tuple[int, ...]:
    """Counts by sorting, a block at a time, and looking for the edges in it: far faster than a search for each value."""
    below: npt.NDArray[np.int64] = np.zeros(len(edges), np.int64)
    for start in range(0, len(values), _BLOCK_ROWS):
        # NaN comes last, below nothing.
        below += np.searchsorted(np.sort(values[start : start + _BLOCK_ROWS]), edges)
    return tuple(high - low for low, high in pairwise([0, *below.tolist(), present]))


def _observe_categories(reference: CategoryReference, array: pa.Array[Any]) -> CategoryCounts:
    top, other, new = len(reference.values), len(reference.values), len(reference.values) + 1
    if reference.kind == "opaque":
        counts = (0,) * top + (len(array) - array.null_count, 0)
        return CategoryCounts(counts=counts, missing=array.null_count)
    names, found = _distinct(array)
    known = reference.known
    unknown = pc.fill_null(_compute.index_in(names, value_set=known), len(known))
    places: Any = unknown.to_numpy(zero_copy_only=False)
    beyond = new if reference.knows_all else other
    slots = np.where(places < top, places, np.where(places < len(known), other, beyond))
    sums = np.bincount(slots, weights=found, minlength=top + 2)
    new_names = names.filter(pa.array(slots == new)).to_pylist() if sums[new] else []
    return CategoryCounts(
        counts=tuple(sums.astype(np.int64).tolist()),
        missing=array.null_count,
        new_values=_first_names(new_names),
    )


def _first_names(names: Iterable[Any]) -> tuple[str, ...]:
    # The first in order, not the most frequent: of a union they are known from the parts.
    return tuple(sorted({name[:_NAME_CHARACTERS] for name in names})[:NEW_VALUES])


def _distinct(array: pa.Array[Any]) -> tuple[Any, Any]:
    """The distinct values as text, without null, and their counts."""
    found: Any = _compute.value_counts(array.drop_null())
    return found.field("values").cast(pa.string()), found.field("counts").to_numpy(zero_copy_only=False)


def _scale(reference: NumericReference) -> tuple[float, float]:
    return reference.mean or 0.0, reference.std or 0.0


# --- Merging ---------------------------------------------------------------------------------------------------------


def _add(a: Any, b: Any) -> Any:
    return _add_numbers(a, b) if isinstance(a, NumericCounts) else _add_categories(a, b)


def _add_numbers(a: NumericCounts, b: NumericCounts) -> NumericCounts:
    return NumericCounts(
        counts=_add_counts(a.counts, b.counts),
        missing=a.missing + b.missing,
        infinite=a.infinite + b.infinite,
        min=min((value for value in (a.min, b.min) if value is not None), default=None),
        max=max((value for value in (a.max, b.max) if value is not None), default=None),
        steps=a.steps + b.steps,
        squares=a.squares + b.squares,
    )


def _add_categories(a: CategoryCounts, b: CategoryCounts) -> CategoryCounts:
    return CategoryCounts(
        counts=_add_counts(a.counts, b.counts),
        missing=a.missing + b.missing,
        new_values=_first_names([*a.new_values, *b.new_values]),
    )


def _add_counts(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip(a, b, strict=True))


# --- Columns of every type -------------------------------------------------------------------------------------------

_is = pa.types


def _kind(kind: Any) -> str:
    if _is.is_dictionary(kind) or _is.is_run_end_encoded(kind):
        return _kind(kind.value_type)
    if _is.is_boolean(kind):
        return "boolean"
    if _is.is_integer(kind) or _is.is_floating(kind) or _is.is_decimal(kind):
        return "numeric"
    if _is.is_temporal(kind) and kind != pa.month_day_nano_interval():
        return "datetime"
    is_text = _is.is_string(kind) or _is.is_large_string(kind) or _is.is_string_view(kind)
    return "categorical" if is_text else "opaque"


def _chunks(column: Any) -> list[pa.Array[Any]]:
    """The chunks of a column, each decoded to plain values."""
    return [_plain(chunk) for chunk in getattr(column, "chunks", [column])]


def _plain(array: Any) -> Any:
    if _is.is_dictionary(array.type):
        return _plain(array.dictionary_decode())
    if _is.is_run_end_encoded(array.type):
        return _plain(_compute.run_end_decode(array))
    if _is.is_large_string(array.type) or _is.is_string_view(array.type):
        return array.cast(pa.string())
    return array


def _numbers(array: Any) -> Floats:
    """A column as float64, NaN where a value is missing; of time, microseconds. Of decimals, to the last bit or so."""
    if _is.is_date(array.type):
        array = array.cast(pa.timestamp("us"))
    if _is.is_time(array.type):
        array = array.cast(pa.time64("us"), safe=False)
    if _is.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz), safe=False)
    if _is.is_duration(array.type):
        array = array.cast(pa.duration("us"), safe=False)
    if _is.is_temporal(array.type):
        array = array.cast(pa.int64())
    values: Floats = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values
