"""Why a row leaves, in words: what the value is and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.reasons import REASON_TYPE, REJECTS_SCHEMA
from tasks.shards.validating.frames import View, texts
from tasks.shards.validating.outcome import ExpectationSpec

_LONGEST_VALUE = 200
_NOWHERE = "null"


def rejects_of(spec: ExpectationSpec, view: View, positions: np.ndarray) -> pa.Table:
    """The failing rows with their reason, one record each; made by columns, as there may be many."""
    if not len(positions):
        return REJECTS_SCHEMA.empty_table()
    taken = pa.array(positions)
    values = [_cut(texts(view.array(name).take(taken))) for name in spec.columns]
    told = [
        pc.binary_join_element_wise(pa.scalar(f"{name} is "), pc.fill_null(value, _NOWHERE), pa.scalar(""), "")
        for name, value in zip(spec.columns, values, strict=True)
    ]
    message = pc.binary_join_element_wise(*told, " and ") if len(told) > 1 else told[0]
    message = pc.binary_join_element_wise(message, pa.scalar(f"expected {expected(spec)}"), ", ")
    value = (
        values[0]
        if len(values) == 1
        else pc.binary_join_element_wise(*(pc.fill_null(v, _NOWHERE) for v in values), ", ")
    )
    count = len(positions)
    reason = pa.StructArray.from_arrays(
        [
            _repeat("expectation", count),
            _repeat(spec.type, count),
            _repeat(", ".join(spec.columns), count),
            value,
            message,
        ],
        fields=list(REASON_TYPE),
    )
    return pa.table([pa.array(view.rows[positions]), reason], schema=REJECTS_SCHEMA)


def _repeat(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)


def _cut(values: pa.Array) -> pa.Array:
    longest = pc.max(pc.utf8_length(values)).as_py()
    if longest is None or longest <= _LONGEST_VALUE:
        return values
    cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(values, 0, _LONGEST_VALUE), pa.scalar("..."), "")
    return pc.if_else(pc.greater(pc.utf8_length(values), _LONGEST_VALUE), cut, values)


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


_EXPECTED = {
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
