"""What GX's own machinery is asked: which metrics decide an expectation, and their values on some data frames.

These are internals of Great Expectations: its version is pinned, and a test holds our results against its own.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.shards.validating import gx
from tasks.shards.validating.outcome import MAX_EXAMPLES, ExpectationSpec, Suite

_ONLY_FOR_STATISTICS = ("row_condition", "condition_parser")
# The metrics that are asked for beside those that GX names, so that batches can be merged, or instead of them.
_ASKED = {
    "expect_column_stdev_to_be_between": ("column.standard_deviation", "column.mean"),
    "expect_column_proportion_of_non_null_values_to_be_between": (),
}


@dataclass(frozen=True)
class Prepared:
    """GX's object of an expectation, the kwargs of its main metric, and the metrics that decide it, by name."""

    expectation: Any
    domain: Mapping[str, Any]
    values: Mapping[str, Any]
    dependencies: Mapping[str, Any]

    @property
    def map_metric(self) -> str:
        return getattr(self.expectation, "map_metric", None) or ""


def prepared(spec: ExpectationSpec, suite: Suite) -> Prepared:
    """An expectation ready to be asked about batches; made once a process."""
    return _prepare(spec.config, suite.custom)


@functools.lru_cache(maxsize=2000)
def _prepare(config: str, custom: tuple[str, ...]) -> Prepared:
    gx.import_custom(custom)
    expectation = build(json.loads(config))
    dependencies = dependencies_of(expectation, _idle_engine())
    map_metric = getattr(expectation, "map_metric", None)
    main = dependencies.get(f"{map_metric}.unexpected_count") or next(iter(dependencies.values()))
    # Rows are selected here before GX is asked, so that a condition is evaluated once a batch.
    domain = {key: value for key, value in main.metric_domain_kwargs.items() if key not in _ONLY_FOR_STATISTICS}
    return Prepared(expectation, domain, dict(main.metric_value_kwargs), dependencies)


def build(config: Mapping[str, Any]) -> Any:
    """GX's own object of an expectation's JSON; whatever GX raises where it is wrong."""
    gx.great_expectations()
    from great_expectations.expectations.expectation_configuration import (  # noqa: PLC0415 - GX takes seconds to import
        ExpectationConfiguration,
    )

    kwargs = {**config["kwargs"], "batch_id": gx.BATCH_ID}
    with gx.quiet():
        return ExpectationConfiguration(**{**config, "kwargs": kwargs}).to_domain_obj()


def engine_of(frames: Mapping[str, pd.DataFrame]) -> Any:
    """An engine of our own: GX contexts shared by threads were seen to validate the wrong frame."""
    gx.great_expectations()
    from great_expectations.execution_engine import PandasExecutionEngine  # noqa: PLC0415 - as above

    engine = PandasExecutionEngine(caching=False)
    for batch_id, frame in frames.items():
        engine.load_batch_data(batch_id, frame)
    return engine


@contextmanager
def _engine_for(frames: Mapping[str, pd.DataFrame]) -> Iterator[Any]:
    """An engine that lets go of its frames: GX ties them into a cycle, which would hold batches until some collection."""
    engine = engine_of(frames)
    try:
        yield engine
    finally:
        engine.batch_manager.batch_data_cache.clear()


@functools.cache
def _idle_engine() -> Any:
    return engine_of({gx.BATCH_ID: pd.DataFrame()})


def dependencies_of(expectation: Any, engine: Any) -> dict[str, Any]:
    """The metrics that an expectation is decided by, by name."""
    with gx.quiet():
        found = expectation.get_validation_dependencies(
            execution_engine=engine, runtime_configuration={"result_format": result_format()}
        )
    return dict(found.metric_configurations)


def result_format() -> dict[str, Any]:
    """How much of a result is kept: GX's default for a checkpoint."""
    return {
        "result_format": "SUMMARY",
        "partial_unexpected_count": MAX_EXAMPLES,
        "return_unexpected_index_query": False,
    }


def mask_metric(ready: Prepared, frame_id: str, values: Mapping[str, Any]) -> Any:
    """The metric whose value is the mask of failing rows."""
    return _metric(f"{ready.map_metric}.condition", {**ready.domain, "batch_id": frame_id}, values)


def part_metrics(spec: ExpectationSpec, ready: Prepared, frame_id: str) -> dict[str, Any]:
    """The metrics of an aggregate, by name."""
    domain = {**ready.domain, "batch_id": frame_id}
    if spec.type in _ASKED:
        return {name: _metric(name, domain, {}) for name in _ASKED[spec.type]}
    # An expectation may know a metric by a name of its own.
    named = ready.dependencies.items()
    return {name: _metric(config.metric_name, domain, config.metric_value_kwargs) for name, config in named}


def _metric(name: str, domain: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    from great_expectations.validator.metric_configuration import MetricConfiguration  # noqa: PLC0415 - as above

    return MetricConfiguration(name, dict(domain), dict(values))


def resolve(
    frames: Mapping[str, pd.DataFrame], metrics: Sequence[Any], known: Mapping[str, Any] | None = None
) -> tuple[dict[Any, Any], Mapping[Any, tuple[str, str]]]:
    """The values of these metrics by their ids, and of those that raised the message and the traceback.

    `known` are metrics that are not to be computed, by name: those of the whole table that judge a batch.
    """
    if not metrics:
        return {}, {}
    from great_expectations.validator.metrics_calculator import MetricsCalculator  # noqa: PLC0415 - as above

    with gx.quiet(), _engine_for(frames) as engine:
        calculator = MetricsCalculator(execution_engine=engine, show_progress_bars=False)
        asked = calculator.build_metric_dependency_graph(list(metrics))
        values = _known_by_id(asked, known or {})
        aborted = asked._resolve(values, show_progress_bars=False)  # noqa: SLF001 - the public one starts empty
    errors = {
        key: (info["exception_info"].exception_message, info["exception_info"].exception_traceback)
        for key, info in aborted.items()
    }
    return values, errors


def _known_by_id(asked: Any, known: Mapping[str, Any]) -> dict[Any, Any]:
    metrics = [metric for edge in asked.edges for metric in (edge.left, edge.right) if metric is not None]
    return {metric.id: known[metric.metric_name] for metric in metrics if metric.metric_name in known}


def ask(frame: pd.DataFrame, column: str, names: Sequence[str]) -> dict[str, Any]:
    """The values of some metrics of one column, by name."""
    metrics = {name: _metric(name, {"batch_id": gx.BATCH_ID, "column": column}, {}) for name in names}
    values, errors = resolve({gx.BATCH_ID: frame}, list(metrics.values()))
    for message, _ in errors.values():
        raise ValueError(message)
    return {name: values[metric.id] for name, metric in metrics.items()}


def outlier_statistics(low: Any, high: Any, spread: Any) -> Any:
    """GX's record of what outliers are measured against; what is not finite is no statistic to it."""
    from great_expectations.expectations.metrics.column_aggregate_metrics.column_outlier_statistics import (  # noqa: PLC0415
        OutlierStatistics,
    )

    return OutlierStatistics(*(float(one) if math.isfinite(one) else None for one in (low, high, spread)))


def select(frame: pd.DataFrame, condition: Any) -> Any:
    """The positions of the rows for which GX holds a row condition to be true."""
    with gx.quiet(), _engine_for({gx.BATCH_ID: frame}) as engine:
        selected = engine.get_domain_records({"batch_id": gx.BATCH_ID, "row_condition": condition})
        return selected.index.to_numpy()
