"""The Jinja environment of the pages: everything is escaped, nothing may be undefined, addresses stay relative."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from tasks.core.pages import wording

# A scheme (javascript:, https:), another host, or a character that a browser drops while it looks for one.
_NOT_RELATIVE = re.compile(r"^\s*([a-zA-Z][\w+.-]*:|//|\\)|[\x00-\x20\x7f]")


def render(template: str, **values: Any) -> str:
    """A page from its template."""
    return _environment().get_template(template).render(**values)


def relative(href: str) -> str:
    """The address itself; ValueError for one that would leave the reports."""
    if _NOT_RELATIVE.search(href):
        raise ValueError(f"'{href}' is not a relative address, and a page links to nothing else")
    return href


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tasks.core.pages", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "href": relative,
        "cut": wording.cut,
        "count": wording.count,
        "share": wording.share,
        "number": wording.number,
        "signed": wording.signed,
        "rough": wording.rough,
        "fixed": wording.fixed,
        "figure": wording.figure,
        "seconds": wording.seconds,
        "size": wording.size,
        "instant": wording.instant,
        "plural": wording.plural,
    }
    return environment


def _finalize(value: Any) -> Any:
    """What is written into a page: text that a page can hold, coordinates to a tenth, a dash for None."""
    if value is None:
        return wording.UNKNOWN
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0") if math.isfinite(value) else wording.UNKNOWN
    return wording.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
