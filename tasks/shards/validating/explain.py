"""Why a row leaves, in words: what the value is and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute

from tasks.core.rows.digest import Column
from tasks.core.rows.reasons import ELLIPSIS, LONGEST_VALUE, REASON_TYPE, REJECTS_SCHEMA
from tasks.shards.validating.frames import Ordinals, View, texts
from tasks.shards.validating.outcome import ExpectationSpec

# The stubs of pyarrow.compute know few of the shapes that its functions take.
_compute: Any = pyarrow.compute
_pa: Any = pa
_NULL = "null"


def rejects_of(spec: ExpectationSpec, view: View, positions: Ordinals) -> pa.Table:
    """The failing rows with their reason, one record each; made by columns, as there may be many."""
    if not len(positions):
        return REJECTS_SCHEMA.empty_table()
    values = [_cut(texts(view.array(name).take(positions))) for name in spec.columns]
    shown = [_compute.fill_null(value, _NULL) for value in values]
    said = [_compute.if_else(_compute.equal(value, ""), "empty", value) for value in shown]
    told = [_joined("", pa.scalar(f"{name} is "), value) for name, value in zip(spec.columns, said, strict=True)]
    message = _joined("", _joined(" and ", *told), pa.scalar(f", expected {expected(spec)}"))
    same = [_repeat(text, len(positions)) for text in ("expectation", spec.type, ", ".join(spec.columns))]
    value = values[0] if len(values) == 1 else _joined(", ", *shown)
    reason = _pa.StructArray.from_arrays([*same, value, message], fields=list(REASON_TYPE))
    return pa.table([pa.array(view.rows[positions]), reason], schema=REJECTS_SCHEMA)


def _joined(separator: str, *parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else _compute.binary_join_element_wise(*parts, separator)


def _repeat(text: str, count: int) -> Column:
    repeated: Column = _pa.repeat(pa.scalar(text, pa.string()), count)
    return repeated


def _cut(values: Column) -> Column:
    longest = _compute.max(_compute.utf8_length(values)).as_py()
    if longest is None or longest <= LONGEST_VALUE:
        return values
    cut = _joined("", _compute.utf8_slice_codeunits(values, 0, LONGEST_VALUE), pa.scalar(ELLIPSIS))
    whole: Column = _compute.if_else(_compute.greater(_compute.utf8_length(values), LONGEST_VALUE), cut, values)
    return whole


def expected(spec: ExpectationSpec) -> str:
    """What a value should have been, as the end of a sentence."""
    return spec.expected or _EXPECTED.get(spec.type, _by_label)(spec)


def between(spec: ExpectationSpec) -> str:
    """The bounds of an expectation, in words."""
    low, high = spec.kwargs.get("min_value"), spec.kwargs.get("max_value")
    strict_low, strict_high = spec.kwargs.get("strict_min"), spec.kwargs.get("strict_max")
    if low is not None and high is not None and not (strict_low or strict_high):
        return f"between {low} and {high}"
    parts = [f"{'above' if strict_low else 'at least'} {low}"] if low is not None else []
    parts += [f"{'below' if strict_high else 'at most'} {high}"] if high is not None else []
    return " and ".join(parts)


def _listed(values: Any, limit: int = 10) -> str:
    shown = ", ".join(map(str, list(values or [])[:limit]))
    more = len(values or []) - limit
    return f"{shown}, or {more} more" if more > 0 else shown


def _by_label(spec: ExpectationSpec) -> str:
    return f"to pass {spec.label}"


_EXPECTED: dict[str, Callable[[ExpectationSpec], str]] = {
    "expect_column_values_to_be_between": between,
    "expect_column_values_to_not_be_null": lambda _: "a value",
    "expect_column_values_to_be_null": lambda _: "none",
    "expect_column_values_to_be_in_set": lambda spec: f"one of {_listed(spec.kwargs.get('value_set'))}",
    "expect_column_values_to_not_be_in_set": lambda spec: f"none of {_listed(spec.kwargs.get('value_set'))}",
    "expect_column_values_to_match_regex": lambda spec: f"to match {spec.kwargs.get('regex')}",
    "expect_column_values_to_not_match_regex": lambda spec: f"not to match {spec.kwargs.get('regex')}",
    "expect_column_values_to_match_strftime_format": lambda spec: f"the form {spec.kwargs.get('strftime_format')}",
    "expect_column_value_lengths_to_be_between": lambda spec: f"a length {between(spec)}",
    "expect_column_value_lengths_to_equal": lambda spec: f"a length of {spec.kwargs.get('value')}",
    "expect_column_values_to_be_unique": lambda _: "each value once",
    "expect_compound_columns_to_be_unique": lambda _: "each combination once",
    "expect_column_values_to_be_increasing": lambda _: "to be above the one before",
    "expect_column_values_to_be_decreasing": lambda _: "to be below the one before",
    "expect_column_pair_values_to_be_equal": lambda _: "both alike",
    "expect_multicolumn_values_to_be_equal": lambda _: "all alike",
    "expect_multicolumn_sum_to_equal": lambda spec: f"a sum of {spec.kwargs.get('sum_total')}",
    "expect_select_column_values_to_be_unique_within_record": lambda _: "all different",
    "expect_column_pair_values_a_to_be_greater_than_b": lambda spec: (
        "the first to be at least the second" if spec.kwargs.get("or_equal") else "the first to be above the second"
    ),
}
