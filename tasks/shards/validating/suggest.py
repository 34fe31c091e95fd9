"""A first suite for a person to edit, worked out from a sample. Plain JSON in GX's own form: GX is not imported here.

What each expectation says is stated in its description, with the figures that it comes from.

    ranges        of numbers: [q01 - 3 (q50 - q01), q99 + 3 (q99 - q50)], qNN being the sample's NN % quantile, rounded
                  outward to two digits of the width; not below (above) 0 if no value is. Quantiles, because one wild
                  value moves them little. A column of hardly more than one value has none.
    categories    of text with at most 50 values, each five times in the sample on average
    missing       the share of values that are there, rounded down to whole per cents, less one per cent
    keys, rows    the keys together are unique; the window has half to double its rows

Rows leave (on_failure: quarantine) only where a value is in none of several categories that are all frequent. All else
warns: one window does not know the seasons, and a range that it gives would send away a whole winter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_QUANTILES = (0.01, 0.5, 0.99)
_REACH = 3
_MOST_CATEGORIES = 50
_LONGEST_CATEGORY = 200
_OFTEN = 5
_ROWS_OF_SAMPLE = (0.5, 2.0)

Expectation = dict[str, Any]


def suggest_suite(
    sample: pa.Table, *, name: str, keys: Sequence[str], event_time: str | None, window_rows: int, origin: str
) -> dict[str, Any]:
    """The suite as the dictionary that its JSON file holds. `sample` has the job's columns, of a window of so many rows."""
    expectations = [_row_count(window_rows), _unique(keys, len(sample))]
    for column in sample.schema.names:
        if column not in keys and column != event_time:
            expectations += _missing(column, sample[column])
        expectations += _categories(column, sample[column])
        if column not in keys:
            expectations += _range(column, sample[column])
    quantiles = ", ".join(f"{quantile:.0%}" for quantile in _QUANTILES)
    says = {"suggested_from": origin, "rows": len(sample), "ranges_from_quantiles": quantiles}
    return {"name": name, "expectations": expectations, "meta": {"lamplighter": says}}


def _expectation(kind: str, description: str, *, leaves: bool = False, **kwargs: Any) -> Expectation:
    given = {key: value for key, value in kwargs.items() if value is not None}
    return {
        "type": kind,
        "kwargs": given,
        "severity": "critical" if leaves else "warning",
        "meta": {"on_failure": "quarantine"} if leaves else {},
        "description": description,
    }


def _row_count(rows: int) -> Expectation:
    least, most = math.floor(rows * _ROWS_OF_SAMPLE[0]), math.ceil(rows * _ROWS_OF_SAMPLE[1])
    return _expectation(
        "expect_table_row_count_to_be_between",
        f"The window had {rows:,} rows; less than half or more than double says that a feed is cut or doubled.",
        min_value=least,
        max_value=most,
    )


def _unique(keys: Sequence[str], rows: int) -> Expectation:
    said = f"{' and '.join(keys)} name a row: no two of {rows:,} rows had the same."
    if len(keys) == 1:
        return _expectation("expect_column_values_to_be_unique", said, column=keys[0])
    return _expectation("expect_compound_columns_to_be_unique", said, column_list=list(keys))


def _missing(column: str, values: pa.ChunkedArray[Any]) -> Iterator[Expectation]:
    present = len(values) - _absent(values)
    mostly = _less_one_point(present / len(values))
    if mostly > 0:
        missing = (
            f"{len(values) - present:,} of {len(values):,}" if present < len(values) else f"None of {len(values):,}"
        )
        yield _expectation(
            "expect_column_values_to_not_be_null",
            f"{missing} values of {column} were missing; many more say that its feed is broken.",
            column=column,
            mostly=mostly,
        )


def _less_one_point(share: float) -> float:
    """Rounded down to whole per cents, less one: what another window still has without being odd."""
    return round(math.floor(100 * share) / 100 - 0.01, 2)


def _absent(values: pa.ChunkedArray[Any]) -> int:
    """Nulls and NaN: the validation takes both for a missing value."""
    if not pa.types.is_floating(values.type):
        return values.null_count
    return int(np.isnan(values.to_numpy()).sum())


def _categories(column: str, values: pa.ChunkedArray[Any]) -> Iterator[Expectation]:
    if not pa.types.is_string(values.type):
        return
    found: Any = values.drop_null().dictionary_encode().combine_chunks()
    times = np.bincount(found.indices.to_numpy(), minlength=len(found.dictionary)).tolist()
    counts = dict(zip(found.dictionary.to_pylist(), times, strict=True))
    too_long = any(len(value) > _LONGEST_CATEGORY for value in counts)
    if not 0 < len(counts) <= _MOST_CATEGORIES or too_long or sum(counts.values()) < _OFTEN * len(counts):
        return
    rarest, least = min(counts.items(), key=lambda item: (item[1], item[0]))
    surely = least >= _OFTEN
    known = f"{column} had {len(counts)} values, the rarest ('{rarest}') in {least:,} of the rows"
    judged = "another one is a mistake" if surely else "there may be others, and up to 1 % of rows may have them"
    yield _expectation(
        "expect_column_values_to_be_in_set",
        f"{known}: {judged}.",
        leaves=surely,
        column=column,
        value_set=sorted(counts),
        mostly=None if surely else 0.99,
    )


def _range(column: str, values: pa.ChunkedArray[Any]) -> Iterator[Expectation]:
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return
    found = values.drop_null().to_numpy()
    known = found[~np.isnan(found)]
    finite = known[np.isfinite(known)]
    bounds = _bounds(finite) if len(finite) else None
    if bounds is None:
        return
    low, high = (int(bound) for bound in bounds) if pa.types.is_integer(values.type) else bounds
    outside = int(((known < low) | (known > high)).sum())
    quantiles = " to ".join(f"{quantile:.6g}" for quantile in np.quantile(finite, (_QUANTILES[0], _QUANTILES[-1])))
    beyond = (
        f"{outside:,} of {len(known):,} values lay outside the range"
        if outside
        else f"all {len(known):,} values lay in the range"
    )
    yield _expectation(
        "expect_column_values_to_be_between",
        f"98 % of {column} lay in {quantiles}; values far beyond, on either side, are odd ({beyond}). Where the limits "
        "are known, write them, with on_failure: quarantine.",
        column=column,
        min_value=low,
        max_value=high,
        mostly=_less_one_point(1 - outside / len(known)),
    )


def _bounds(finite: npt.NDArray[Any]) -> tuple[float, float] | None:
    """The range that is expected, or None where the middle of the values tells nothing of their spread."""
    low, middle, high = (float(quantile) for quantile in np.quantile(finite, _QUANTILES))
    if not low < high:
        return None
    least, most = low - _REACH * (middle - low), high + _REACH * (high - middle)
    digits = 1 - math.floor(math.log10(most - least))
    least, most = _rounded(math.floor, least, digits), _rounded(math.ceil, most, digits)
    return (max(least, 0.0) if finite.min() >= 0 else least), (min(most, 0.0) if finite.max() <= 0 else most)


def _rounded(to: Callable[[float], int], value: float, digits: int) -> float:
    step = 10.0**-digits
    return round(to(value / step) * step, max(digits, 0))
