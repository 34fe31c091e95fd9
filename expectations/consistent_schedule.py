"""A schedule that is consistent: the arrival lies as long after the departure as the distance needs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from great_expectations.compatibility import pydantic
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnPairMapExpectation, render_suite_parameter_string
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnPairMapMetricProvider,
    column_pair_condition_partial,
)
from great_expectations.render import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer


class ColumnPairScheduleConsistent(ColumnPairMapMetricProvider):  # type: ignore[misc] # GX is not typed here
    """Whether distance (miles) over scheduled time (minutes) is a speed between two bounds (miles an hour)."""

    condition_metric_name = "column_pair_values.consistent_schedule"
    condition_domain_keys = (
        "batch_id",
        "table",
        "column_A",
        "column_B",
        "row_condition",
        "condition_parser",
        "ignore_row_if",
    )
    condition_value_keys = ("min_mph", "max_mph")

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: Any, column_B: Any, min_mph: float, max_mph: float, **_: Any) -> Any:  # noqa: N803, N805
        # Multiplied out: an arrival at or before the departure would divide by zero or turn the sign.
        return (column_B > 0) & (column_A * 60 >= min_mph * column_B) & (column_A * 60 <= max_mph * column_B)


class ExpectConsistentSchedule(ColumnPairMapExpectation):  # type: ignore[misc]
    """Expect the scheduled time (column_B, minutes) to fit the distance (column_A, miles)."""

    map_metric = "column_pair_values.consistent_schedule"
    success_keys: ClassVar[tuple[str, ...]] = ("min_mph", "max_mph", "ignore_row_if", "mostly")
    # A row is judged by its own two values.
    row_local: ClassVar[bool] = True
    expected_in_words: ClassVar[str] = "a speed between {min_mph} and {max_mph} miles an hour"

    min_mph: pydantic.confloat(gt=0) = 50  # type: ignore[valid-type]
    max_mph: pydantic.confloat(gt=0) = 700  # type: ignore[valid-type]
    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "either_value_is_missing"

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)  # type: ignore[untyped-decorator]
    @render_suite_parameter_string  # type: ignore[untyped-decorator]
    def _prescriptive_renderer(
        cls, configuration: Any = None, result: Any = None, runtime_configuration: Any = None
    ) -> list[Any]:
        styling = (runtime_configuration or {}).get("styling")
        defaults = {"min_mph": cls.__fields__["min_mph"].default, "max_mph": cls.__fields__["max_mph"].default}
        template = {
            "template": "$column_A over $column_B must be a speed between $min_mph and $max_mph miles an hour.",
            "params": {**defaults, **(configuration or result.expectation_config).kwargs},
            "styling": styling,
        }
        return [
            RenderedStringTemplateContent(
                content_block_type="string_template", string_template=template, styling=styling
            )
        ]
