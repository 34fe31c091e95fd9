"""The tallies of all batches become GX's own result, and what each outcome means for the run."""

from __future__ import annotations

import json
import math
import operator
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.rows.reasons import cut_value
from tasks.shards.validating import graph, gx
from tasks.shards.validating.frames import empty_frame
from tasks.shards.validating.outcome import (
    MAX_EXAMPLES,
    BatchMeasure,
    Consequence,
    ExpectationOutcome,
    ExpectationSpec,
    Suite,
    SuiteResult,
    Tally,
    WholeMeasure,
)

# Of an observed value, which may be a list of them, and of an error, which may repeat one.
_LONGEST_OBSERVED, _LONGEST_ERROR, _LONGEST_TRACE = 2_000, 2_000, 10_000


def conclude(suite: Suite, measures: Iterable[BatchMeasure], whole: WholeMeasure | None = None) -> SuiteResult:
    """GX's own verdict on the merged metrics, one expectation at a time; the order of the measures does not matter."""
    tallies = _merged(measures, whole)
    engine = graph.engine_of({gx.BATCH_ID: empty_frame(suite.schema)})
    results, outcomes = [], []
    for spec in suite.expectations:
        tally = tallies.get(spec.index, Tally(spec.index))
        if spec.route == "whole" and whole is None:
            raise ValueError(f"{spec.label} needs measure_whole")
        result = _validate(suite, spec, tally, engine)
        results.append(result)
        outcomes.append(_outcome(spec, tally, result))
    return SuiteResult(
        suite=suite.name,
        digest=suite.digest,
        success=all(outcome.success for outcome in outcomes),
        results=tuple(outcomes),
        gx_json=_suite_json(suite, results),
    )


def _merged(measures: Iterable[BatchMeasure], whole: WholeMeasure | None) -> dict[int, Tally]:
    merged: dict[int, Tally] = {}
    for measure in (*measures, *([whole] if whole else [])):
        for tally in measure.tallies:
            merged[tally.expectation] = add(merged[tally.expectation], tally) if tally.expectation in merged else tally
    return merged


def add(one: Tally, other: Tally) -> Tally:
    """Both together. The first examples in the order of the table are kept."""
    examples = sorted([*one.examples, *other.examples], key=lambda example: example[0])[:MAX_EXAMPLES]
    return Tally(
        expectation=one.expectation,
        rows=one.rows + other.rows,
        missing=one.missing + other.missing,
        considered=one.considered + other.considered,
        unexpected=one.unexpected + other.unexpected,
        examples=examples,
        parts=_add_parts(one, other),
        error=one.error or other.error,
        trace=one.trace or other.trace,
    )


def _present(tally: Tally) -> int:
    return tally.rows - tally.missing


def _add_parts(one: Tally, other: Tally) -> dict[str, Any]:
    if not one.parts or not other.parts:
        return one.parts or other.parts
    left, right = _present(one), _present(other)
    merged = {}
    for name, value in one.parts.items():
        if name == "column.mean":
            merged[name] = (float(value) * left + float(other.parts[name]) * right) / (left + right)
        elif name == "column.standard_deviation":
            merged[name] = _add_deviations(one, other)
        else:
            merged[name] = _ADDED.get(name, operator.add)(value, other.parts[name])
    return merged


def _add_deviations(one: Tally, other: Tally) -> float:
    """Sample standard deviation of both together (Chan, Golub and LeVeque 1979)."""
    counts = _present(one), _present(other)
    squares = 0.0
    for tally, count in zip((one, other), counts, strict=True):
        if count > 1:
            squares += float(tally.parts["column.standard_deviation"]) ** 2 * (count - 1)
    apart = float(other.parts["column.mean"]) - float(one.parts["column.mean"])
    squares += apart**2 * counts[0] * counts[1] / sum(counts)
    return math.sqrt(squares / (sum(counts) - 1))


def _add_histograms(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [int(left) + int(right) for left, right in zip(one, other, strict=True)]


def _add_value_counts(one: pd.Series, other: pd.Series) -> pd.Series:
    added = one.add(other, fill_value=0).astype("int64").sort_index()
    added.index.name, added.name = one.index.name, one.name
    return added


_ADDED: dict[str, Callable[[Any, Any], Any]] = {
    "column.max": max,
    "column.min": min,
    "column.histogram": _add_histograms,
    "column.value_counts": _add_value_counts,
}


def _validate(suite: Suite, spec: ExpectationSpec, tally: Tally, engine: Any) -> Any:
    """GX's result for one expectation, from merged metrics; an exception becomes a result that says so."""
    ready = graph.prepared(spec, suite)
    if tally.error is not None:
        return _raised(ready.expectation, tally.error, tally.trace)
    dependencies = ready.dependencies
    if spec.route == "schema":
        # Some of these look at a column's type before they say what they need.
        dependencies = graph.dependencies_of(ready.expectation, engine)
    metrics = {config.id: _metric(name, ready, tally, suite) for name, config in dependencies.items()}
    try:
        with gx.quiet():
            return ready.expectation.metrics_validate(
                metrics=metrics,
                execution_engine=engine,
                runtime_configuration={"result_format": graph.result_format()},
            )
    except Exception as error:  # noqa: BLE001 - a verdict that raises is an outcome, and it blocks
        return _raised(ready.expectation, f"{type(error).__name__}: {error}", traceback.format_exc())


def _metric(name: str, ready: graph.Prepared, tally: Tally, suite: Suite) -> Any:
    """The merged value of one of the metrics that an expectation is decided by."""
    if name in tally.parts:
        return tally.parts[name]
    if name.startswith("table."):
        return _table_metric(name, tally, suite)
    if name == "column_values.nonnull.unexpected_count" and ready.map_metric != "column_values.nonnull":
        return tally.missing
    if name == "column.non_null_proportion":
        return _present(tally) / tally.rows if tally.rows else 0
    return 0.0 if name == "column.sum" else _map_metric(name.rpartition(".")[2], tally)


def _table_metric(name: str, tally: Tally, suite: Suite) -> Any:
    frame = empty_frame(suite.schema)
    return {
        "table.row_count": tally.rows,
        "table.columns": list(frame.columns),
        "table.column_count": len(frame.columns),
        "table.column_types": [{"name": name, "type": kind} for name, kind in frame.dtypes.items()],
    }[name]


def _map_metric(suffix: str, tally: Tally) -> Any:
    return {
        "unexpected_count": tally.unexpected,
        "filtered_row_count": tally.considered,
        "unexpected_values": [value for _, value in tally.examples],
        "unexpected_index_list": [row for row, _ in tally.examples],
        "unexpected_index_query": None,
    }.get(suffix)


def _raised(expectation: Any, message: str, trace: str) -> Any:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult  # noqa: PLC0415
    from great_expectations.validator.exception_info import ExceptionInfo  # noqa: PLC0415

    info = ExceptionInfo(
        exception_traceback=cut_value(trace, _LONGEST_TRACE),
        exception_message=cut_value(message, _LONGEST_ERROR),
        raised_exception=True,
    )
    return ExpectationValidationResult(
        success=False, exception_info=info, expectation_config=expectation.configuration, result={}
    )


def _suite_json(suite: Suite, results: list[Any]) -> dict[str, Any]:
    from great_expectations import __version__  # noqa: PLC0415
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult  # noqa: PLC0415

    passed = sum(bool(result.success) for result in results)
    with gx.quiet():
        whole = ExpectationSuiteValidationResult(
            success=passed == len(results),
            results=results,
            suite_name=suite.name,
            statistics={
                "evaluated_expectations": len(results),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(results) - passed,
                "success_percent": 100 * passed / len(results) if results else None,
            },
            meta={"great_expectations_version": __version__},
        )
        # Through JSON and back: numpy's numbers are gone, and NaN is null.
        told: dict[str, Any] = json.loads(json.dumps(_plain(whole.to_json_dict()), default=str))
    for one in told["results"]:
        one["result"] = _with_short_values(one["result"])
    return told


def _with_short_values(found: Any) -> Any:
    """What an expectation found, with its values cut as examples are."""
    if isinstance(found, dict):
        return {key: _with_short_values(item) for key, item in found.items()}
    if isinstance(found, list):
        return [_with_short_values(item) for item in found]
    return cut_value(found) if isinstance(found, str) else found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        # Neither is JSON. NaN is pandas' null; an infinity is a value, and is shown.
        return None if math.isnan(value) else str(value)
    return value


def _outcome(spec: ExpectationSpec, tally: Tally, result: Any) -> ExpectationOutcome:
    success, error = bool(result.success), _exception(result)
    counted = spec.of_rows and error is None
    share = None
    if counted:
        found = (result.result or {}).get("unexpected_percent")
        share = None if found is None else found / 100
    observed = None if counted else _observed(result)
    return ExpectationOutcome(
        type=spec.type,
        columns=spec.columns,
        kwargs=dict(spec.kwargs),
        severity=spec.severity,
        on_failure=spec.on_failure,
        consequence=_consequence(spec, success, tally, error),
        success=success,
        element_count=tally.rows if counted else None,
        unexpected_count=tally.unexpected if counted else None,
        unexpected_share=share,
        examples=tuple(str(value) for _, value in tally.examples),
        observed=observed,
        exception=error,
        sentence=_sentence(spec, tally, success, observed, error),
    )


def _exception(result: Any) -> str | None:
    info = result.exception_info or {}
    return cut_value(str(info["exception_message"]), _LONGEST_ERROR) if info.get("raised_exception") else None


def _observed(result: Any) -> str | None:
    value = (result.result or {}).get("observed_value")
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return None
    return cut_value(str(value), _LONGEST_OBSERVED)


def _consequence(spec: ExpectationSpec, success: bool, tally: Tally, error: str | None) -> Consequence:
    """The table of what a failed expectation does."""
    if error is not None:
        return "blocks"
    if spec.on_failure == "quarantine":
        return "quarantines" if tally.unexpected else "passed"
    if success:
        return "passed"
    consequences: Mapping[str, Consequence] = {"critical": "blocks", "warning": "warns", "info": "note"}
    return consequences[spec.severity]


def _sentence(spec: ExpectationSpec, tally: Tally, success: bool, observed: str | None, error: str | None) -> str:
    if error is not None:
        return f"{spec.label} could not be checked: {error}"
    if spec.of_rows:
        return f"{tally.unexpected:,} of {tally.rows:,} rows fail {spec.label}"
    verb = "passes" if success else "fails"
    return f"{spec.label} {verb}: observed {observed if observed is not None else 'nothing'}"
