"""One batch against the expectations: GX's own metric graph, resolved once, and the rows that its masks point at."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.core.errors import SuiteError
from tasks.core.rows.reasons import cut_value
from tasks.shards.validating import catalogue, graph
from tasks.shards.validating.explain import rejects_of
from tasks.shards.validating.frames import As, Mask, Ordinals, View, is_vectorised, tick_of
from tasks.shards.validating.outcome import MAX_EXAMPLES, BatchMeasure, ExpectationSpec, Suite, Tally, no_rejects

_ROW_COUNTS = frozenset({"expect_table_row_count_to_be_between", "expect_table_row_count_to_equal"})
# GX turns decimals into floats here, at a millisecond each.
_AS_FLOATS = frozenset(f"expect_column_{name}_to_be_between" for name in ("mean", "stdev", "sum"))
_AS_TICKS = frozenset(
    {
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_decreasing",
        "expect_column_values_to_be_increasing",
    }
)
_MASK = "mask"


@dataclass
class _Question:
    """What is asked of GX about one expectation, and about which rows."""

    spec: ExpectationSpec
    view: View
    tally: Tally
    metrics: dict[str, Any] = field(default_factory=dict)
    # Where each value is asked about once: which of the rows asked about stands for a row of the view.
    standing_for: Ordinals | None = None


def measure_batch(suite: Suite, batch: pa.Table | pa.RecordBatch, rows: Ordinals) -> BatchMeasure:
    """What a batch says about the expectations that batches can speak of."""
    specs = [spec for spec in suite.expectations if spec.route in ("rows", "sums")]
    table = pa.table(batch) if isinstance(batch, pa.RecordBatch) else batch
    _check_columns(suite, specs, table)
    tallies, rejects = evaluate(suite, specs, View(table, rows), conditions=True)
    return BatchMeasure(tuple(tallies), rejects)


def evaluate(
    suite: Suite,
    specs: Sequence[ExpectationSpec],
    view: View,
    *,
    conditions: bool = False,
    known: Mapping[str, Any] | None = None,
) -> tuple[list[Tally], pa.Table]:
    """A tally for each expectation, and the rows that those with `on_failure: quarantine` take out.

    `conditions`: whether row conditions are still to select among the rows. `known`: metrics not to be computed.
    """
    frames: dict[str, pd.DataFrame] = {}
    views = _Views(view, conditions)
    questions = [_ask(spec, graph.prepared(spec, suite), views, frames) for spec in specs]
    asked = [metric for question in questions for metric in question.metrics.values()]
    answers, errors = graph.resolve(frames, asked, known)
    rejects = [_answer(question, answers, errors) for question in questions]
    return [question.tally for question in questions], pa.concat_tables([no_rejects(), *rejects])


def _check_columns(suite: Suite, specs: Iterable[ExpectationSpec], table: pa.Table) -> None:
    needed = {name for spec in specs for name in spec.columns + spec.condition_columns}
    if missing := sorted(needed - set(table.schema.names)):
        raise SuiteError(
            f"suite '{suite.name}' needs the columns {missing}, and the batch has {table.schema.names}",
            next_step="load the suite with the schema of the batches",
        )


class _Views:
    """The rows that each row condition selects, found once a batch."""

    def __init__(self, everything: View, conditions: bool) -> None:
        self.everything = everything
        self._conditions = conditions
        self._selected: dict[str, View] = {}

    def of(self, spec: ExpectationSpec, expectation: Any) -> View:
        if not self._conditions:
            return self.everything
        key = _condition_key(spec)
        if key not in self._selected:
            self._selected[key] = select_rows(self.everything, spec, expectation)
        return self._selected[key]


def select_rows(view: View, spec: ExpectationSpec, expectation: Any) -> View:
    """The rows that an expectation's row condition selects; all where it has none."""
    condition = getattr(expectation, "row_condition", None)
    return view.at(graph.select(view.several(spec.condition_columns), condition)) if condition else view


def _condition_key(spec: ExpectationSpec) -> str:
    return repr(spec.kwargs.get("row_condition", ""))


def _ask(spec: ExpectationSpec, ready: graph.Prepared, views: _Views, frames: dict[str, pd.DataFrame]) -> _Question:
    question = _Question(spec, views.everything, Tally(spec.index))
    try:
        question.view = views.of(spec, ready.expectation)
        question.tally.rows = len(question.view)
        if spec.type not in catalogue.OF_NULLS and spec.type not in _ROW_COUNTS:
            asked = question.view
            if _is_asked_once(spec, asked):
                asked, question.standing_for = asked.each_once(spec.columns)
            question.metrics = _metrics(spec, ready, asked, frames)
    except Exception as error:  # noqa: BLE001 - a check that raises is an outcome, and it blocks
        question.tally.error = f"{type(error).__name__}: {error}"
        question.tally.trace = traceback.format_exc()
    return question


def _is_asked_once(spec: ExpectationSpec, view: View) -> bool:
    if not spec.of_rows or spec.route == "whole" or not len(view):
        return False
    if spec.type in catalogue.ROW_BY_ROW:
        return True
    if len(spec.columns) > 1 or spec.type not in catalogue.ROWS:
        return False
    slow = spec.type in catalogue.OF_TEXT or not is_vectorised(view.array(spec.columns[0]).type)
    return slow and view.has_few_values(spec.columns[0])


def _metrics(
    spec: ExpectationSpec, ready: graph.Prepared, view: View, frames: dict[str, pd.DataFrame]
) -> dict[str, Any]:
    """What GX is to compute, on a frame of the expectation's own columns, which is put among the frames."""
    alone = "column" in ready.domain and len(spec.columns) == 1
    shape = _shape(spec, view.array(spec.columns[0]).type) if alone else As.VALUES
    frame_id = f"{_condition_key(spec)} {spec.columns if not alone else spec.columns[0]!r} {shape.value} {len(view)}"
    if frame_id not in frames:
        frames[frame_id] = view.single(spec.columns[0], shape) if alone else view.several(spec.columns)
    if spec.route != "whole" and frames[frame_id].empty:
        return {}
    if not spec.of_rows:
        return graph.part_metrics(spec, ready, frame_id)
    values = dict(ready.values)
    if shape is As.TICKS and "min_value" in values:
        kind = view.array(spec.columns[0]).type
        values |= {name: tick_of(values.get(name), kind) for name in ("min_value", "max_value")}
    return {_MASK: graph.mask_metric(ready, frame_id, values)}


def _shape(spec: ExpectationSpec, kind: pa.DataType) -> As:
    """How the values are handed over so that GX is fast and right on them."""
    if spec.type in _AS_FLOATS:
        return As.FLOATS
    in_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    return As.TICKS if in_time and spec.type in _AS_TICKS else As.VALUES


def _answer(question: _Question, answers: Mapping[Any, Any], errors: Mapping[Any, tuple[str, str]]) -> pa.Table:
    """Fills in the tally; returns the rows to take out."""
    spec, view, tally = question.spec, question.view, question.tally
    if tally.error is not None:
        return no_rejects()
    lacking = [metric for metric in question.metrics.values() if metric.id not in answers]
    if lacking:
        known = [errors[metric.id] for metric in lacking if metric.id in errors] or list(errors.values())
        tally.error, tally.trace = known[0] if known else ("a metric could not be computed", "")
        return no_rejects()
    if len(spec.columns) == 1:
        missing = view.missing(spec.columns[0])
        tally.missing = 0 if missing is None else int(missing.sum())
    if not spec.of_rows:
        tally.parts = {name: answers[metric.id] for name, metric in question.metrics.items()}
        return no_rejects()
    failing = _failing(question, answers)
    tally.unexpected = len(failing)
    tally.examples = examples_of(spec, view, failing[:MAX_EXAMPLES])
    return rejects_of(spec, view, failing) if spec.on_failure else no_rejects()


def _failing(question: _Question, answers: Mapping[Any, Any]) -> Ordinals:
    """The positions of the failing rows; notes how many rows were considered."""
    spec, view, tally = question.spec, question.view, question.tally
    if spec.type in catalogue.OF_NULLS:  # Arrow knows, without asking GX.
        missing = view.missing(spec.columns[0])
        if missing is None:
            missing = np.zeros(len(view), dtype=bool)
        return np.flatnonzero(~missing if spec.type == "expect_column_values_to_be_null" else missing)
    if _MASK not in question.metrics:
        return np.zeros(0, dtype=np.int64)
    mask = answers[question.metrics[_MASK].id][0]
    if not isinstance(mask, pd.Series):
        # GX has no opinion, as for a set that is null: nothing fails.
        tally.considered = len(mask)
        return np.zeros(0, dtype=np.int64)
    failed = mask.to_numpy() if mask.dtype == bool else mask.fillna(value=False).to_numpy(dtype=bool)
    index = mask.index.to_numpy()
    if question.standing_for is None:
        tally.considered = len(mask)
        return index[failed] if failed.any() else np.zeros(0, dtype=np.int64)
    tally.considered = int(_marked(index, question.standing_for).sum())
    return np.flatnonzero(_marked(index[failed], question.standing_for))


def _marked(chosen: Ordinals, standing_for: Ordinals) -> Mask:
    """Which rows have a chosen row standing for them."""
    marks = np.zeros(int(standing_for.max(initial=-1)) + 1, dtype=bool)
    marks[chosen] = True
    marked: Mask = marks[standing_for]
    return marked


def examples_of(spec: ExpectationSpec, view: View, positions: Ordinals) -> list[tuple[int, Any]]:
    """Ordinal and value of some rows, the value in the shape that GX gives it, and no longer than a reason's."""
    if not len(positions):
        return []
    ordinals = view.rows[positions].tolist()
    columns = {name: [_cut(value) for value in view.array(name).take(positions).to_pylist()] for name in spec.columns}
    if len(columns) > 1:
        # As in a data frame; GX sorts examples, and None does not sort.
        columns = {name: [math.nan if value is None else value for value in values] for name, values in columns.items()}
    if "column_A" in spec.kwargs:
        pair = (columns[str(spec.kwargs[key])] for key in ("column_A", "column_B"))
        return list(zip(ordinals, zip(*pair, strict=True), strict=True))
    if len(columns) == 1:
        return list(zip(ordinals, next(iter(columns.values())), strict=True))
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return list(zip(ordinals, records, strict=True))


def _cut(value: Any) -> Any:
    return cut_value(value) if isinstance(value, str) else value
