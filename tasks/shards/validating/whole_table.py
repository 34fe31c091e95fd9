"""The expectations that need the whole table: only their own columns are read, in passes, within a bound of memory.

duplicates   unique, compound unique, counts of distinct values: by the hashes of rows, in as many parts as fit
distinct     sets and most common values: by the distinct values alone
statistics   z-scores and outliers: first the statistic, then each batch against it
order        increasing and decreasing: each batch with the value before it
quantiles    median and quantiles: the values that their ranks name, found by narrowing down
A project's own expectation that does not say `row_local` has its columns read into memory.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.shards.validating import duplicates, graph, merge, quantiles
from tasks.shards.validating.explain import rejects_of
from tasks.shards.validating.measure import condition_key, evaluate, examples_of, select_rows
from tasks.shards.validating.outcome import (
    MAX_EXAMPLES,
    ExpectationSpec,
    ReadColumns,
    Suite,
    Tally,
    WholeMeasure,
    no_rejects,
)
from tasks.shards.validating.frames import Ordinals, View, distinct_values

Found = tuple[Tally, pa.Table]


def measure_whole(suite: Suite, read: ReadColumns) -> WholeMeasure:
    """One expectation after another, each in its own passes over its own columns."""
    found = [_measure(_Source(spec, suite, read)) for spec in suite.expectations if spec.route == "whole"]
    rejects = [taken for _, taken in found]
    return WholeMeasure(tuple(tally for tally, _ in found), pa.concat_tables([no_rejects(), *rejects]))


class _Source:
    """The rows of the table that one expectation looks at, batch by batch, as often as asked."""

    def __init__(self, spec: ExpectationSpec, suite: Suite, read: ReadColumns) -> None:
        self.spec = spec
        self.suite = suite
        self.ready = graph.prepared(spec, suite)
        self._read = read
        self._names = list(dict.fromkeys(spec.columns + spec.condition_columns))

    def views(self) -> Iterator[View]:
        condition = getattr(self.ready.expectation, "row_condition", None)
        for batch, rows in self._read(self._names):
            table = batch if isinstance(batch, pa.Table) else pa.table(batch)
            yield select_rows(View(table.select(self._names), rows), self.spec, condition)

    def present(self, tally: Tally | None = None) -> Iterator[View]:
        """The rows with a value in the expectation's one column; the tally is told of the others."""
        for view in self.views():
            missing = view.missing(self.spec.columns[0])
            if tally is not None:
                tally.rows += len(view)
                tally.missing += 0 if missing is None else int(missing.sum())
            yield view if missing is None else view.at(np.flatnonzero(~missing))

    def together(self) -> View:
        """All rows at once."""
        views = list(self.views())
        fields = [self.suite.schema.field(name) for name in self._names]
        tables = [pa.schema(fields).empty_table(), *(view.table for view in views)]
        rows = [np.zeros(0, dtype=np.int64), *(view.rows for view in views)]
        return View(pa.concat_tables(tables), np.concatenate(rows))


def _measure(source: _Source) -> Found:
    try:
        return _METHODS.get(source.spec.type, _at_once)(source)
    except Exception as error:  # noqa: BLE001 - a check that raises is an outcome, and it blocks
        tally = Tally(source.spec.index, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        return tally, no_rejects()


def _evaluate(source: _Source, view: View, known: dict[str, Any] | None = None) -> Found:
    """A view, whose rows are selected already, asked of GX."""
    (tally,), taken = evaluate(source.suite, [source.spec], view.table, view.rows, known=known, selected=True)
    return tally, taken


def _at_once(source: _Source) -> Found:
    return _evaluate(source, source.together())


def _added(source: _Source, found: Iterator[Found]) -> Found:
    tally, rejects = Tally(source.spec.index), [no_rejects()]
    for one, taken in found:
        tally = merge.add(tally, one)
        rejects.append(taken)
    return tally, pa.concat_tables(rejects)


# ── duplicates ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _unique(source: _Source) -> Found:
    columns, ignored = source.spec.columns, source.ready.domain.get("ignore_row_if")
    tally = Tally(source.spec.index)
    for view in source.views():
        tally.rows += len(view)
        if len(columns) == 1:
            missing = view.missing(columns[0])
            tally.missing += 0 if missing is None else int(missing.sum())
    ignored = "any_value_is_missing" if len(columns) == 1 else ignored
    found = duplicates.find(source.views, columns, ignored)
    tally.considered, tally.unexpected = found.considered, len(found.recurring)
    return tally, _take_out(source, tally, found.recurring)


def _take_out(source: _Source, tally: Tally, failing: Ordinals) -> pa.Table:
    """Reads the failing rows once more, for examples and reasons."""
    rejects = [no_rejects()]
    for view in source.views():
        if not source.spec.on_failure and len(tally.examples) >= min(MAX_EXAMPLES, len(failing)):
            break
        positions = np.flatnonzero(np.isin(view.rows, failing, assume_unique=True))
        tally.examples += examples_of(source.spec, view, positions[: MAX_EXAMPLES - len(tally.examples)])
        if source.spec.on_failure:
            rejects.append(rejects_of(source.spec, view, positions))
    return pa.concat_tables(rejects)


def _distinct_count(source: _Source) -> Found:
    tally = Tally(source.spec.index)
    for _ in source.present(tally):
        pass
    found = duplicates.find(source.views, source.spec.columns, "any_value_is_missing")
    count = found.considered - found.repeated
    present = tally.rows - tally.missing
    tally.parts = {"column.distinct_values.count": count, "column.unique_proportion": count / present if present else 0}
    return tally, no_rejects()


# ── distinct values, statistics, order, quantiles ─────────────────────────────────────────────────────────────────────


def _distinct(source: _Source) -> Found:
    """These metrics do not change when each distinct value stands once, or each of the most common ones."""
    tally = Tally(source.spec.index)
    name = source.spec.columns[0]
    most_common = source.spec.type == "expect_column_most_common_value_to_be_in_set"
    values = distinct_values((view.array(name) for view in source.present(tally)), most_common=most_common)
    table = pa.table({name: values if values is not None else pa.array([], source.suite.schema.field(name).type)})
    asked, _ = _evaluate(source, View(table, np.arange(len(table))))
    tally.parts, tally.error, tally.trace = asked.parts, asked.error, asked.trace
    return tally, no_rejects()


def _against_statistics(source: _Source) -> Found:
    known = _statistics(source)
    return _added(source, (_evaluate(source, view, known) for view in source.views()))


def _statistics(source: _Source) -> dict[str, Any]:
    """The metrics of the whole table that decide about a row, by name."""
    method = getattr(source.ready.expectation, "method", None)
    if method == "iqr":
        low, high = quantiles.of(source.present, source.spec.columns[0], [0.25, 0.75], "linear")
        return {"column.outlier_statistics": graph.outlier_statistics(low, high, None)}
    moments = _added(source, (_moments(source, view) for view in source.present()))[0]
    if moments.error is not None:
        raise ValueError(moments.error)
    mean, deviation = (moments.parts.get(name, np.nan) for name in ("column.mean", "column.standard_deviation"))
    if method == "std":
        return {"column.outlier_statistics": graph.outlier_statistics(mean, mean, deviation)}
    return {"column.mean": mean, "column.standard_deviation": deviation}


def _moments(source: _Source, view: View) -> Found:
    tally = Tally(source.spec.index, rows=len(view))
    if len(view):
        tally.parts = graph.ask(view.single(source.spec.columns[0]), ("column.mean", "column.standard_deviation"))
    return tally, no_rejects()


def _in_order(source: _Source) -> Found:
    """Each batch behind the last value before it, which itself cannot fail: it comes first."""
    return _added(source, _with_the_value_before(source))


def _with_the_value_before(source: _Source) -> Iterator[Found]:
    before: pa.Table | None = None
    for view in source.views():
        table = view.table if before is None else pa.concat_tables([before, view.table])
        rows = view.rows if before is None else np.concatenate([[-1], view.rows])
        whole = View(table, rows)
        tally, taken = _evaluate(source, whole)
        if before is not None:
            tally.rows -= 1
            tally.considered -= 1
        yield tally, taken
        missing = whole.missing(source.spec.columns[0])
        present = np.arange(len(whole)) if missing is None else np.flatnonzero(~missing)
        before = table.take(present[-1:]) if len(present) else before


def _quantiles(source: _Source) -> Found:
    tally = Tally(source.spec.index)
    for _ in source.present(tally):
        pass
    if tally.rows - tally.missing <= quantiles.IN_MEMORY_ROWS or not quantiles.can_select(
        source.suite.schema.field(source.spec.columns[0]).type
    ):
        return _at_once(source)
    ...
    return tally, no_rejects()
