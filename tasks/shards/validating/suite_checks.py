"""What is wrong with an expectation for columns of these types, known before a row is read."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import types

from tasks.core.definitions.column_types import type_name
from tasks.shards.validating import catalogue
from tasks.shards.validating.frames import is_vectorised
from tasks.shards.validating.outcome import ExpectationSpec

# The problem and the remedy.
Problem = tuple[str, str]


def first_problem(kind: str, expectation: Any, columns: tuple[str, ...], schema: pa.Schema) -> Problem | None:
    """The first problem found, or None."""
    fields = [schema.field(name) for name in columns]
    for check in (_wrong_type, _wrong_bounds, _crossed_bounds, _wrong_regex, _no_reference):
        if problem := check(kind, expectation, fields):
            return problem
    return None


def advice_on(spec: ExpectationSpec, schema: pa.Schema) -> str | None:
    """What is slow about an expectation on columns of these types, and what would not be; None where nothing is."""
    if spec.type not in catalogue.ROWS | catalogue.ROWS_OF_WHOLE | catalogue.SUMS | catalogue.WHOLE | catalogue.SCHEMA:
        if spec.route == "whole":
            return f"{spec.label} reads its columns into memory: say row_local = True where a row is judged by itself"
        return None
    if spec.type in catalogue.ROW_BY_ROW:
        return f"{spec.label} goes through the distinct values one by one: about a second in 50,000"
    slow = [name for name in spec.columns if spec.of_rows and not is_vectorised(plain(schema.field(name).type))]
    if slow and spec.type not in catalogue.OF_NULLS:
        kinds = ", ".join(f"{name} ({type_name(schema.field(name).type)})" for name in slow)
        return f"{spec.label} goes through values one by one, as {kinds} is no number, text or time"
    return None


def is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def _wrong_type(kind: str, expectation: Any, fields: list[pa.Field[Any]]) -> Problem | None:  # noqa: ARG001 - one shape
    for allowed, kinds, said in _ALLOWED_TYPES:
        if kind not in kinds:
            continue
        for field in fields:
            if not allowed(plain(field.type)):
                return (
                    f"column '{field.name}' is {type_name(field.type)}, and it needs {said}",
                    "choose another expectation, or declare another type for the column",
                )
    return None


def _printable(kind: pa.DataType) -> bool:
    return is_text(kind) or _has_dtype(kind)


def _ordered(kind: pa.DataType) -> bool:
    return is_number(kind) or bool(types.is_temporal(kind))


def _has_dtype(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


_ORDERED = frozenset(
    {
        "expect_column_values_to_be_increasing",
        "expect_column_values_to_be_decreasing",
    }
)
# GX itself raises on decimals here.
_FLOATING = frozenset({"expect_column_value_z_scores_to_be_less_than", "expect_column_values_to_not_be_outliers"})
_SUMMABLE = frozenset({"expect_column_mean_to_be_between", "expect_column_sum_to_be_between"})
_MEDIAN = frozenset({"expect_column_median_to_be_between"})
_QUANTILE = frozenset({"expect_column_quantile_values_to_be_between"})
_ALLOWED_TYPES: list[tuple[Callable[[pa.DataType], bool], frozenset[str], str]] = [
    (is_text, catalogue.TEXT_ONLY, "text"),
    (_printable, catalogue.OF_TEXT, "text, an integer, a float or a bool (how others are printed is not fixed)"),
    (is_number, (catalogue.NUMBERS_ONLY | _QUANTILE) - _SUMMABLE - _FLOATING, "a number"),
    (lambda kind: is_number(kind) and not types.is_decimal(kind), _FLOATING, "an integer or a float"),
    (lambda kind: is_number(kind) or types.is_boolean(kind), _SUMMABLE, "a number"),
    (_ordered, _ORDERED, "a number or a time"),
    (lambda kind: is_number(kind) or types.is_timestamp(kind), _MEDIAN, "a number or a timestamp"),
    (
        _has_dtype,
        catalogue.OF_TYPE,
        "a number or a bool, since for others it never passes; use expect_column_type_to_be",
    ),
]


def _wrong_bounds(kind: str, expectation: Any, fields: list[pa.Field[Any]]) -> Problem | None:
    if kind not in catalogue.BOUNDED:
        return None
    field = fields[0]
    for name in ("min_value", "max_value"):
        bound = getattr(expectation, name)
        if bound is not None and (needed := _needed_bound(plain(field.type), bound)):
            return (
                f"{name} of column '{field.name}' ({type_name(field.type)}) must be {needed}, and is read as {bound!r}",
                f"write {needed}",
            )
    return None


def _needed_bound(kind: pa.DataType, bound: Any) -> str | None:
    """What a bound for this type must be; None where it is that."""
    if types.is_timestamp(kind):
        zone = " with a zone, such as 2013-07-01T00:00:00+00:00" if kind.tz else " without a zone, 2013-07-01T00:00:00"
        fits = isinstance(bound, dt.datetime) and (bound.tzinfo is not None) == (kind.tz is not None)
        return None if fits else f"a date and time{zone}"
    if types.is_date(kind):
        fits = isinstance(bound, dt.date) and not isinstance(bound, dt.datetime)
        return None if fits else "a date, such as 2013-07-01"
    if is_number(kind) or types.is_boolean(kind):
        return None if isinstance(bound, int | float) else "a number"
    return "left out, as Great Expectations has bounds for numbers and times only"


def _crossed_bounds(kind: str, expectation: Any, fields: list[pa.Field[Any]]) -> Problem | None:  # noqa: ARG001 - one shape
    low, high = getattr(expectation, "min_value", None), getattr(expectation, "max_value", None)
    if low is None or high is None or not hasattr(expectation, "min_value"):
        return None
    try:
        crossed = low > high
    except TypeError:
        return (f"min_value {low!r} and max_value {high!r} are of two kinds", "write both alike")
    return (f"min_value {low!r} is above max_value {high!r}", "swap them") if crossed else None


def _wrong_regex(kind: str, expectation: Any, fields: list[pa.Field[Any]]) -> Problem | None:  # noqa: ARG001 - one shape
    regexes = [getattr(expectation, "regex", None), *(getattr(expectation, "regex_list", None) or [])]
    for regex in filter(None, regexes):
        try:
            re.compile(regex)
        except (re.error, TypeError) as error:
            return (f"{regex!r} is not a regular expression: {error}", "mend it")
    return None


def _no_reference(kind: str, expectation: Any, fields: list[pa.Field[Any]]) -> Problem | None:  # noqa: ARG001 - one shape
    if kind != "expect_column_kl_divergence_to_be_less_than" or expectation.partition_object:
        return None
    return (
        "it has no partition_object to compare with",
        "give the bins and weights, or the values and weights, of a reference",
    )
