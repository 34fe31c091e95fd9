"""The expectations that need the whole table: only their own columns are read, in passes, within a bound of memory.

duplicates   unique, compound unique, counts of distinct values: by the hashes of rows, in as many parts as are needed
distinct     sets and most common values: by the distinct values alone
statistics   z-scores and outliers: the statistic first, then each batch against it
order        increasing and decreasing: each batch behind the value before it
quantiles    median and quantiles: the values at their ranks, found by narrowing down
A project's own expectation that does not say `row_local` has its columns read into memory.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.shards.validating import duplicates, graph, merge, quantiles
from tasks.shards.validating.explain import rejects_of
from tasks.shards.validating.frames import Ordinals, View, distinct_values
from tasks.shards.validating.measure import evaluate, examples_of, select_rows
from tasks.shards.validating.outcome import (
    MAX_EXAMPLES,
    ExpectationSpec,
    ReadColumns,
    Suite,
    Tally,
    WholeMeasure,
    no_rejects,
)

Found = tuple[Tally, pa.Table]
_MOMENTS = ("column.mean", "column.standard_deviation")


def measure_whole(suite: Suite, read: ReadColumns) -> WholeMeasure:
    """One expectation after another, each in its own passes over its own columns."""
    found = [_measure(_Source(spec, suite, read)) for spec in suite.expectations if spec.route == "whole"]
    return WholeMeasure(
        tuple(tally for tally, _ in found), pa.concat_tables([no_rejects(), *(took for _, took in found)])
    )


class _Source:
    """The rows of the table that one expectation looks at, batch by batch, as often as asked."""

    def __init__(self, spec: ExpectationSpec, suite: Suite, read: ReadColumns) -> None:
        self.spec = spec
        self.suite = suite
        self.ready = graph.prepared(spec, suite)
        self.column = spec.columns[0]
        self.type = suite.schema.field(self.column).type
        self._read = read
        self._names = list(dict.fromkeys(spec.columns + spec.condition_columns))

    def views(self) -> Iterator[View]:
        """The rows that the row condition selects."""
        for batch, rows in self._read(self._names):
            table = batch if isinstance(batch, pa.Table) else pa.table(batch)
            yield select_rows(View(table.select(self._names), rows), self.spec, self.ready.expectation)

    def present(self) -> Iterator[View]:
        """Of these, the rows with a value in the expectation's first column."""
        for view in self.views():
            missing = view.missing(self.column)
            yield view if missing is None else view.at(np.flatnonzero(~missing))

    def tally(self) -> Tally:
        """How many rows there are, and how many have no value."""
        tally = Tally(self.spec.index)
        for view in self.views():
            tally.rows += len(view)
            if len(self.spec.columns) == 1 and (missing := view.missing(self.column)) is not None:
                tally.missing += int(missing.sum())
        return tally

    def ask(self, view: View, known: dict[str, Any] | None = None) -> Found:
        """What GX says of a view."""
        (tally,), taken = evaluate(self.suite, [self.spec], view, known=known)
        return tally, taken


def _measure(source: _Source) -> Found:
    try:
        return _METHODS.get(source.spec.type, _together)(source)
    except Exception as error:  # noqa: BLE001 - a check that raises is an outcome, and it blocks
        tally = Tally(source.spec.index, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        return tally, no_rejects()


def _together(source: _Source) -> Found:
    views = list(source.views())
    empty = pa.schema([source.suite.schema.field(name) for name in source.spec.columns]).empty_table()
    table = pa.concat_tables([empty, *(view.table.select(empty.schema.names) for view in views)])
    return source.ask(View(table, np.concatenate([np.zeros(0, dtype=np.int64), *(view.rows for view in views)])))


def _added(source: _Source, found: Iterator[Found]) -> Found:
    tally, rejects = Tally(source.spec.index), [no_rejects()]
    for one, taken in found:
        tally = merge.add(tally, one)
        rejects.append(taken)
    return tally, pa.concat_tables(rejects)


# ── duplicates ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _unique(source: _Source) -> Found:
    ignored = source.ready.domain.get("ignore_row_if") if len(source.spec.columns) > 1 else "any_value_is_missing"
    found = duplicates.find(source.views, source.spec.columns, ignored)
    tally = source.tally()
    tally.considered, tally.unexpected = found.considered, len(found.ordinals)
    return tally, _taken_out(source, tally, found.ordinals)


def _taken_out(source: _Source, tally: Tally, failing: Ordinals) -> pa.Table:
    """The failing rows, read once more for examples and reasons."""
    rejects = [no_rejects()]
    for view in source.views():
        wanted = MAX_EXAMPLES - len(tally.examples)
        if not (len(failing) and (wanted or source.spec.on_failure)):
            break
        positions = np.flatnonzero(np.isin(view.rows, failing, assume_unique=True))
        tally.examples += examples_of(source.spec, view, positions[:wanted])
        if source.spec.on_failure:
            rejects.append(rejects_of(source.spec, view, positions))
    return pa.concat_tables(rejects)


def _distinct_count(source: _Source) -> Found:
    found = duplicates.find(source.views, source.spec.columns, "any_value_is_missing")
    tally = source.tally()
    count, present = found.considered - found.repeated, tally.rows - tally.missing
    tally.parts = {
        "column.distinct_values.count": count,
        "column.unique_proportion": count / present if present else 0,
    }
    return tally, no_rejects()


# ── distinct values, statistics, order, quantiles ─────────────────────────────────────────────────────────────────────


def _distinct(source: _Source) -> Found:
    """GX says the same of the distinct values alone; and of the most common ones, each once."""
    most_common = source.spec.type == "expect_column_most_common_value_to_be_in_set"
    values = distinct_values(
        (view.array(source.column) for view in source.present()), source.type, most_common=most_common
    )
    asked, _ = source.ask(View(pa.table({source.column: values}), np.arange(len(values))))
    tally = source.tally()
    tally.parts, tally.error, tally.trace = asked.parts, asked.error, asked.trace
    return tally, no_rejects()


def _against_statistics(source: _Source) -> Found:
    known = _statistics(source)
    return _added(source, (source.ask(view, known) for view in source.views()))


def _statistics(source: _Source) -> dict[str, Any]:
    """The metrics of the whole table by which a row is judged, by name."""
    method = getattr(source.ready.expectation, "method", None)
    if method == "iqr":
        low, high = quantiles.quantiles_of(source.present, source.column, source.type, [0.25, 0.75], "linear")
        return {"column.outlier_statistics": graph.outlier_statistics(low, high, high - low)}
    moments, _ = _added(source, (_moments(source, view) for view in source.present()))
    mean, deviation = (moments.parts.get(name, np.nan) for name in _MOMENTS)
    if method == "std":
        return {"column.outlier_statistics": graph.outlier_statistics(mean, mean, deviation)}
    return dict(zip(_MOMENTS, (mean, deviation), strict=True))


def _moments(source: _Source, view: View) -> Found:
    parts = graph.ask(view.single(source.column), source.column, _MOMENTS) if len(view) else {}
    return Tally(source.spec.index, rows=len(view), parts=parts), no_rejects()


def _in_order(source: _Source) -> Found:
    return _added(source, _behind_the_value_before(source))


def _behind_the_value_before(source: _Source) -> Iterator[Found]:
    """The value before cannot fail, as it comes first; it is not counted again."""
    before = pa.schema([source.suite.schema.field(source.column)]).empty_table()
    for view in source.views():
        table = pa.concat_tables([before, view.table.select([source.column])])
        carried = len(before)
        whole = View(table, np.concatenate([np.full(carried, -1), view.rows]))
        tally, taken = source.ask(whole)
        tally.rows -= carried
        tally.considered -= carried
        yield tally, taken
        missing = whole.missing(source.column)
        present = np.arange(len(whole)) if missing is None else np.flatnonzero(~missing)
        before = table.take(present[-1:])


def _quantiles(source: _Source) -> Found:
    tally = source.tally()
    if source.spec.type == "expect_column_median_to_be_between":
        tally.parts = {"column.median": quantiles.median_of(source.present, source.column, source.type)}
        return tally, no_rejects()
    ranges = source.ready.values
    interpolation = ranges.get("allow_relative_error") or "nearest"
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise ValueError(f"allow_relative_error is {interpolation!r}; for data frames it is an interpolation of pandas")
    found = quantiles.quantiles_of(source.present, source.column, source.type, ranges["quantiles"], interpolation)
    tally.parts = {"column.quantile_values": found}
    return tally, no_rejects()


_METHODS = {
    "expect_column_values_to_be_unique": _unique,
    "expect_compound_columns_to_be_unique": _unique,
    "expect_column_unique_value_count_to_be_between": _distinct_count,
    "expect_column_proportion_of_unique_values_to_be_between": _distinct_count,
    "expect_column_distinct_values_to_be_in_set": _distinct,
    "expect_column_distinct_values_to_contain_set": _distinct,
    "expect_column_distinct_values_to_equal_set": _distinct,
    "expect_column_most_common_value_to_be_in_set": _distinct,
    "expect_column_value_z_scores_to_be_less_than": _against_statistics,
    "expect_column_values_to_not_be_outliers": _against_statistics,
    "expect_column_values_to_be_increasing": _in_order,
    "expect_column_values_to_be_decreasing": _in_order,
    "expect_column_median_to_be_between": _quantiles,
    "expect_column_quantile_values_to_be_between": _quantiles,
}
