"""What the gate of a promotion says of a version: one check a row, each with its figures and a sentence."""

from __future__ import annotations

import datetime as dt
import math
from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.core.definitions.terms import Name
from tasks.core.records import Record

Outcome = Literal["passed", "failed", "not judged"]
Kind = Literal["load", "schema", "rows", "held out", "metric", "calibration", "speed", "memory", "slice"]
# Without these the next run would be blocked: nobody can force them.
_NEVER_FORCED: tuple[Kind, ...] = ("load", "schema")
_DIGITS = 6


class Check(Record):
    """One thing that a version must prove.

    `difference` is what the candidate gains over production, so that above 0 is better whatever is measured, and `low`
    to `high` its 95 % interval. `limit` is the least that is let pass, in the unit of what is judged.
    """

    check: Kind
    what: str = ""
    outcome: Outcome
    sentence: str
    rows: int | None = None
    production: float | None = None
    candidate: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None

    @property
    def name(self) -> str:
        return f"{self.check} {self.what}".strip()


class Verdict(Record):
    """Whether a version may take the place of another, or an alias that nobody holds, and by which checks."""

    verdict_version: Literal[1] = 1
    model: Name
    version: int
    alias: Name
    production: Annotated[int | None, Field(description="The version that held the alias when the two were compared.")]
    job: Annotated[str | None, Field(description="The job whose labelled rows were scored by both.")] = None
    first: str | None = None
    last: str | None = None
    windows: int = 0
    rows: int = 0
    rows_without_label: int = 0
    rows_digest: str = ""
    judged_at: dt.datetime
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(one for one in self.checks if one.outcome == "failed")

    @property
    def not_judged(self) -> tuple[Check, ...]:
        return tuple(one for one in self.checks if one.outcome == "not judged")

    @property
    def slices(self) -> tuple[Check, ...]:
        return tuple(one for one in self.checks if one.check == "slice")

    @property
    def never_forced(self) -> tuple[Check, ...]:
        """The failed checks that no force overcomes."""
        return tuple(one for one in self.failed if one.check in _NEVER_FORCED)

    @property
    def words(self) -> str:
        return "does not pass" if self.failed else "passes"

    @property
    def against(self) -> str:
        return f"version {self.production}" if self.production else "no version"

    @property
    def key(self) -> str:
        """What its artifacts are called: lower-case letters, digits and dashes."""
        return f"promote-{self.model}-{self.version}".replace("_", "-")

    @property
    def next_step(self) -> str:
        """What to do about a verdict that does not pass."""
        if self.never_forced:
            return "mend the job, or train a version on the columns that there are; no force helps here"
        options = f" --alias {self.alias}" if self.alias != "production" else ""
        options += f" --job {self.job}" if self.job else ""
        return (
            f"{self._remedy}, or, if it must be this one: "
            f'lamplighter promote {self.model} --version {self.version}{options} --force --reason "why"'
        )

    @property
    def _remedy(self) -> str:
        """Of rows that the candidate has seen no training makes it a fairer judgement."""
        if any(one.check == "held out" for one in self.failed):
            return (
                "name windows that it has not seen as promotion.windows in the job's YAML (without that, those of a "
                "version's own benchmark are used)"
            )
        if any(one.check == "metric" and one.production is None for one in self.failed):
            return f"restore version {self.production}, which is damaged, from a backup"
        return "train a better version"

    def __str__(self) -> str:
        counts = [(len(self.failed), "failed"), (len(self.not_judged), "not judged")]
        told = ", ".join(f"{count} {words}" for count, words in counts if count) or "all passed"
        return (
            f"version {self.version} of {self.model} {self.words} the gate to {self.alias}, held against {self.against}: "
            f"{len(self.checks)} checks, {told}"
        )

    def evidence(self) -> dict[str, Any]:
        """For the history, for ever: every check with its figures, and a sentence where one did not simply pass."""
        kept = self.model_dump(mode="json", exclude_none=True, exclude={"checks"})
        return kept | {"checks": [_compact(one) for one in self.checks]}


def finite(value: float | None) -> float | None:
    """The value, or None for what no JSON can hold."""
    return None if value is None or not math.isfinite(value) else float(value)


def _compact(check: Check) -> dict[str, Any]:
    found = check.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    if check.outcome == "passed":
        del found["sentence"]
    return {key: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value for key, value in found.items()}
