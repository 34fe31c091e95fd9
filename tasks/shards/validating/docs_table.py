"""GX's own page renderer, with two columns more and with data that stays text. Imports GX; docs.py imports it late."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from great_expectations.render.renderer.content_block.validation_results_table_content_block import (
    ValidationResultsTableContentBlockRenderer,
)
from great_expectations.render.view import DefaultJinjaPageView
from jinja2 import pass_context

MARK = "lamplighter:consequence:"


class OutcomeTable(ValidationResultsTableContentBlockRenderer):  # type: ignore[misc] # GX is not typed here
    """The table of expectations, with what an outcome means for the run and with the severity."""

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


class EscapingPageView(DefaultJinjaPageView):  # type: ignore[misc]
    """GX writes values of the data into its tables as they are; here they stay text, whatever they hold."""

    @pass_context
    def render_content_block(self, context: Any, content_block: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(content_block, list):
            content_block = [_as_text(item) for item in content_block]
        return super().render_content_block(context, _as_text(content_block), *args, **kwargs)


def _as_text(content: Any) -> Any:
    return html.escape(content, quote=False) if isinstance(content, str) else content
