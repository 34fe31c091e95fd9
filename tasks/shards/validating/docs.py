"""GX's validation page, made to stand alone: no request to anywhere, severity and consequence beside each expectation."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from typing import Any, cast

from tasks.core.harmless import harmless, harmless_lines
from tasks.shards.validating import gx
from tasks.shards.validating.outcome import ExpectationOutcome, SuiteResult

_TABLE = {"class_name": "OutcomeTable", "module_name": "tasks.shards.validating.docs_table"}
_MARK = re.compile(r"lamplighter:consequence:(\w+)")
_REMOTE_BACKGROUND = re.compile(r"background(-image)?:\s*url\([^)]*\)[^;}]*;?")
# Links into the other pages of a GX site, which is not there.
_SITE_LINK = re.compile(r'<a href="\.\./[^"]*"\s*>(.*?)</a>', re.DOTALL)


def render_data_docs(result: SuiteResult, title: str) -> str:
    """The page of a result as one HTML text."""
    gx.great_expectations()
    from great_expectations.core.expectation_validation_result import (  # noqa: PLC0415 - takes seconds to import
        ExpectationSuiteValidationResultSchema,
    )
    from great_expectations.render.renderer import ValidationResultsPageRenderer  # noqa: PLC0415

    told: dict[str, Any] = _each_text(dict(result.gx_json), harmless_lines)
    for one, outcome in zip(told["results"], result.results, strict=True):
        one["result"] = _each_text(one["result"], harmless)
        _tell(one["expectation_config"], outcome)
        if trace := one["exception_info"].get("exception_traceback"):
            # GX escapes an error's message, not its trace, which may repeat a value of the data.
            one["exception_info"]["exception_traceback"] = escape(trace, quote=False)
    with gx.quiet():
        loaded = ExpectationSuiteValidationResultSchema().load(told)
        sections = {"class_name": "ValidationResultsColumnSectionRenderer", "table_renderer": _TABLE}
        document = ValidationResultsPageRenderer(sections, run_info_at_end=True).render(loaded)
        for section in document.sections:
            _escape_name(section)
        html = _view().render(document, title=title)
    return _SITE_LINK.sub(r"\1", _badges(html))


def _each_text(told: Any, change: Callable[[str], str]) -> Any:
    """A copy of what was told in which every text is changed: names, values, and sentences of the suite's own."""
    if isinstance(told, dict):
        return {change(key): _each_text(item, change) for key, item in told.items()}
    if isinstance(told, list):
        return [_each_text(item, change) for item in told]
    return change(told) if isinstance(told, str) else told


def _tell(config: dict[str, Any], outcome: ExpectationOutcome) -> None:
    told = {"severity": outcome.severity, "consequence": outcome.consequence}
    config["meta"] = {**(config.get("meta") or {}), "lamplighter": told}
    if config.get("description"):
        # A sentence of the suite's own, which GX writes as it is.
        config["description"] = escape(config["description"], quote=False)


def _escape_name(section: Any) -> None:
    """GX writes a column's name into the list of contents, and into the head of its section, as it is."""
    section.section_name = escape(str(section.section_name), quote=False)
    for block in section.content_blocks:
        told = getattr(getattr(block, "header", None), "string_template", None)
        if block.content_block_type == "header" and told:
            told["template"] = escape(told["template"], quote=False)


def _badges(html: str) -> str:
    return _MARK.sub(r'<span class="badge consequence-\1">\1</span>', html)


def _view() -> Any:
    """GX's own view, whose templates that reach out are replaced by ours."""
    from jinja2 import ChoiceLoader, DictLoader, PackageLoader  # noqa: PLC0415

    from tasks.shards.validating.docs_table import EscapingPageView  # noqa: PLC0415

    view = EscapingPageView()
    theirs = view.env.loader
    styles, _, _ = cast("Any", theirs).get_source(view.env, "data_docs_default_styles.css")
    local = DictLoader({"data_docs_default_styles.css": _REMOTE_BACKGROUND.sub("", styles)})
    ours = PackageLoader("tasks.shards.validating", "page")
    view.env.loader = ChoiceLoader([local, ours, theirs])
    return view
