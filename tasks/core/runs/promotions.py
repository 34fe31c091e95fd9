"""A verdict on its way: its page, the answer of a person, and what is kept of it when the alias moves."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from pydantic import JsonValue

from tasks.core import layout
from tasks.core.errors import NotPromoted
from tasks.core.models.gate.candidacy import Candidacy
from tasks.core.models.gate.verdict import Verdict
from tasks.core.pages import Answer, PromotionPage, render_promotion
from tasks.core.records import Record

_MOST_NAMED = 5


class Judged:
    """A candidacy with the gate's verdict, and the key of its page. No dataclass: Prefect takes those apart."""

    def __init__(self, candidacy: Candidacy, verdict: Verdict, page: str = "") -> None:
        self.candidacy = candidacy
        self.verdict = verdict
        self.page = page

    @property
    def page_path(self) -> str:
        return str(self.candidacy.lake.address(self.page))


class Promoted(Record):
    """Which version an alias names now, after which, and by which verdict."""

    state_name: ClassVar[str] = "Promoted"
    model: str
    version: int
    alias: str
    replaced: int | None
    forced: bool
    page: str
    verdict: Verdict

    def __str__(self) -> str:
        verdict = self.verdict
        after = f", after version {self.replaced}" if self.replaced else ""
        how = f"by force, {len(verdict.failed)} of {len(verdict.checks)} checks failed" if self.forced else ""
        passed = len(verdict.checks) - len(verdict.failed) - len(verdict.not_judged)
        told = how or f"{passed} of {len(verdict.checks)} checks passed, {len(verdict.not_judged)} were not judged"
        return f"{self.alias} of {self.model} is version {self.version}{after}: {told}"


def show(judged: Judged) -> Judged:
    """Writes the verdict's page, under a number of its own."""
    lake, verdict, number = judged.candidacy.lake, judged.verdict, 1
    content = _html(verdict, None)
    while not lake.create(layout.verdict_page(verdict.model, verdict.version, number), content):
        number += 1
    return Judged(judged.candidacy, verdict, layout.verdict_page(verdict.model, verdict.version, number))


def show_answer(judged: Judged, answer: Answer) -> None:
    """Writes on the page what a person said who was asked."""
    judged.candidacy.lake.write_bytes(judged.page, _html(judged.verdict, answer))


def _html(verdict: Verdict, answer: Answer | None) -> bytes:
    return render_promotion(PromotionPage(verdict, answer, model_href="index.html")).encode()


def refuse_failed(judged: Judged, *, force: bool) -> None:
    """NotPromoted where a check failed, unless it is forced; some cannot be."""
    verdict = judged.verdict
    decide = verdict.never_forced if force else verdict.failed
    if not decide:
        return
    told = " ".join(f"({number}) {one.sentence}" for number, one in enumerate(decide[:_MOST_NAMED], start=1))
    more = f" And {len(decide) - _MOST_NAMED} more." if len(decide) > _MOST_NAMED else ""
    raise not_promoted(
        judged,
        f"version {verdict.version} of {verdict.model} does not become {verdict.alias}: "
        f"{len(decide)} of {len(verdict.checks)} checks failed. {told}{more}",
        next_step=verdict.next_step,
    )


def not_promoted(judged: Judged, failed: str, *, next_step: str) -> NotPromoted:
    error = NotPromoted(failed, state=f"no alias was moved; the verdict is {judged.page_path}", next_step=next_step)
    error.verdict = judged.verdict.model_dump(mode="json")
    return error


def move_alias(judged: Judged, *, at: dt.datetime, actor: str, reason: str, evidence: dict[str, JsonValue]) -> Promoted:
    """Lets the alias name the candidate, unless somebody has moved it since the two were compared: Blocked then."""
    verdict, registry = judged.verdict, judged.candidacy.registry
    registry.set_alias(
        verdict.model,
        verdict.alias,
        verdict.version,
        at=at,
        actor=actor,
        reason=reason,
        evidence={**evidence, "page": judged.page, "verdict": verdict.evidence()},
        forced=bool(verdict.failed),
        expected=verdict.production,
    )
    return Promoted(
        model=verdict.model,
        version=verdict.version,
        alias=verdict.alias,
        replaced=verdict.production,
        forced=bool(verdict.failed),
        page=judged.page,
        verdict=verdict,
    )
