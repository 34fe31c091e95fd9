"""The table of GX's validation page with two columns more. Loaded by the page's renderer, by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from great_expectations.render.renderer.content_block.validation_results_table_content_block import (
    ValidationResultsTableContentBlockRenderer,
)

MARK = "lamplighter:consequence:"


class OutcomeTable(ValidationResultsTableContentBlockRenderer):  # type: ignore[misc] # GX is not typed here
    """Adds what an expectation's outcome means for the run, and its severity."""

    @classmethod
    def _get_custom_columns(cls, validation_results: Any) -> list[str]:  # noqa: ARG003 - GX's signature
        return ["Consequence", "Severity"]

    @classmethod
    def _get_content_block_fn(cls, expectation_type: str, expectation_config: Any = None) -> Callable[..., Any]:
        rows_of = super()._get_content_block_fn(expectation_type, expectation_config)

        def rows_with_outcome(*args: Any, result: Any = None, **kwargs: Any) -> list[Any]:
            rows: list[Any] = rows_of(*args, result=result, **kwargs)
            told = result.expectation_config.meta["lamplighter"]
            rows[0] += [[f"{MARK}{told['consequence']}"], [told["severity"]]]
            return rows

        return rows_with_outcome
