"""The page of a verdict: whether a version may take another's place, check by check, then slice by slice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.core.models.gate.verdict import Check, Verdict
from tasks.core.pages import environment, verdicts, wording
from tasks.core.pages.markdown import address, escape, markdown_table

MOST_SLICES = 400
_DIGITS = 4
_TONES = {"passed": "good", "failed": "stop", "not judged": "idle"}
_SIGNS = {"passed": "✅", "failed": "⛔", "not judged": "▫️"}
_DRAWN = ("metric", "slice")


@dataclass(frozen=True)
class Answer:
    """What a person said who was asked."""

    agreed: bool
    name: str
    comment: str = ""


@dataclass(frozen=True)
class PromotionPage:
    """All that the page of a verdict shows; `answer` is that of a person, where one was asked for and has come."""

    verdict: Verdict
    answer: Answer | None = None
    model_href: str | None = None


@dataclass(frozen=True)
class Drawing:
    """An interval about nought, in per cent of the width; `limit` is what lies just within the budget."""

    low: float
    width: float
    value: float
    limit: float


@dataclass(frozen=True)
class CheckLine:
    """A check as the tables show it."""

    check: Check
    name: str
    tone: str
    production: str
    candidate: str
    difference: str
    interval: str
    limit: str
    drawing: Drawing | None


def render_promotion(page: PromotionPage) -> str:
    """The page of a verdict; it asks nothing of any network."""
    verdict = page.verdict
    lines = _lines(verdict.checks)
    slices = [line for line in lines if line.check.check == "slice"]
    return environment.render(
        "promotion.html.jinja",
        page=page,
        verdict=verdict,
        tone="stop" if verdict.failed else "warn" if verdict.not_judged else "good",
        sentence=held_against(verdict),
        failed=[one.sentence for one in verdict.failed],
        next_step=verdicts.pieces(verdict.next_step) if verdict.failed else (),
        lines=[line for line in lines if line.check.check != "slice"],
        # Those that decide come first, then from the worst on.
        slices=sorted(slices, key=_worst_first)[:MOST_SLICES],
        slices_count=len(slices),
    )


def promotion_rows(verdict: Verdict) -> list[dict[str, str]]:
    """The checks, one a row, for a table: in the Prefect UI, and on the command line."""
    return [
        {
            "check": wording.printable(line.name),
            "production": line.production,
            "candidate": line.candidate,
            "difference": f"{line.difference} ({line.interval})" if line.interval else line.difference,
            "limit": line.limit,
            "outcome": line.check.outcome,
        }
        for line in _lines(verdict.checks)
    ]


def promotion_markdown(verdict: Verdict, href: str) -> str:
    """The verdict for the Prefect UI, with the same rows; values of the data are escaped."""
    rows = [
        [f"{_SIGNS[check.outcome]} {check.outcome}", *(escape(value) for value in list(row.values())[:-1])]
        for check, row in zip(verdict.checks, promotion_rows(verdict), strict=True)
    ]
    head = ("Verdict", "Check", "Production", "Candidate", "Difference (95 % interval)", "Limit")
    blocks = [
        f"# {escape(verdict.model)}: version {verdict.version} {verdict.words}",
        escape(held_against(verdict)),
        "\n".join(f"- {escape(wording.cut(one.sentence, 600))}" for one in verdict.failed),
        f"[The verdict's page](<{address(href)}>)",
        markdown_table(head, rows),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def held_against(verdict: Verdict) -> str:
    """What was held against what, and on which rows."""
    against = f"Held against {verdict.against}, {verdict.alias} of {verdict.model}"
    if verdict.production is None:
        against = f"Nothing is {verdict.alias} of {verdict.model} yet, so there is nothing to hold it against"
    if not verdict.rows:
        return f"{against}; no labelled rows were scored."
    windows = wording.plural(verdict.windows, "window")
    rows = f"{wording.count(verdict.rows)} labelled rows of {verdict.job}"
    return f"{against}, on {rows}: {windows}, {verdict.first} to {verdict.last}."


def _lines(checks: Iterable[Check]) -> list[CheckLine]:
    checks = list(checks)
    known = [one for check in checks for one in _bounds(check)]
    scale = max((abs(one) for one in known), default=0.0)
    return [_line(check, scale) for check in checks]


def _line(check: Check, scale: float) -> CheckLine:
    interval = check.low is not None and check.high is not None
    return CheckLine(
        check=check,
        name=check.name,
        tone=_TONES[check.outcome],
        production=_figure(check, check.production),
        candidate=_figure(check, check.candidate),
        difference=_figure(check, check.difference, sign=True),
        interval=f"{_figure(check, check.low, sign=True)} to {_figure(check, check.high, sign=True)}"
        if interval
        else "",
        limit=_figure(check, check.limit),
        drawing=_drawing(check, scale),
    )


def _figure(check: Check, value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return wording.UNKNOWN
    plus = "+" if sign and value > 0 else ""
    if check.check == "memory":
        return f"{plus}{wording.size(value)}"
    if check.check in ("speed", "rows"):
        return f"{plus}{wording.count(value)}{' rows/s' if check.check == 'speed' else ''}"
    return f"{plus}{value:.{_DIGITS}f}" if abs(value) <= 1 else f"{plus}{value:,.{_DIGITS}g}"


def _bounds(check: Check) -> Sequence[float]:
    """What a drawing of the check must have room for; none of what is not drawn."""
    if check.check not in _DRAWN or check.outcome == "not judged":
        return ()
    return tuple(one for one in (check.low, check.high, check.difference, check.limit) if one is not None)


def _drawing(check: Check, scale: float) -> Drawing | None:
    if not _bounds(check) or None in (check.low, check.high, check.difference, check.limit) or not scale:
        return None
    low, high, value, limit = (50 + 50 * (one or 0.0) / scale for one in _bounds(check))
    return Drawing(low=low, width=max(high - low, 0.6), value=value, limit=limit)


def _worst_first(line: CheckLine) -> tuple[int, float]:
    order = ("failed", "passed", "not judged").index(line.check.outcome)
    return order, line.check.difference if line.check.difference is not None else 0.0
