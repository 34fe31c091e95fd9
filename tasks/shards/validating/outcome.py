"""What a suite is and what comes of it: plain records that cross processes. Great Expectations is not imported here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.rows.reasons import REJECTS_SCHEMA, Reason
from tasks.shards.validating.catalogue import Route

Severity = Literal["critical", "warning", "info"]
# accepted: it would block, and somebody has said for this one window that it may not.
Consequence = Literal["passed", "quarantines", "note", "warns", "accepted", "blocks"]
# Yields batches of the named columns with the ordinals of their rows, in the order of the snapshot.
ReadColumns = Callable[[Sequence[str]], Iterator[tuple[pa.RecordBatch | pa.Table, npt.NDArray[np.int64]]]]
# As many examples of failing values as GX itself keeps.
MAX_EXAMPLES = 20


@dataclass(frozen=True)
class ExpectationSpec:
    """One expectation of a suite, as its JSON says it, with how it is measured."""

    index: int
    type: str
    kwargs: Mapping[str, Any]
    severity: Severity
    on_failure: Literal["quarantine"] | None
    columns: tuple[str, ...]
    condition_columns: tuple[str, ...]
    route: Route
    of_rows: bool
    # Its own JSON, in one fixed form.
    config: str
    # What a project's own expectation says it expects, in words.
    expected: str | None = None

    @property
    def label(self) -> str:
        """The expectation as a person names it: `expect_column_values_to_be_between(wind_speed, 0, 150)`."""
        hidden = ("row_condition", "condition_parser", "ignore_row_if")
        shown = [_short(value) for key, value in self.kwargs.items() if key not in hidden and value is not None]
        return f"{self.type}({', '.join(shown)})"


def _short(value: Any) -> str:
    if isinstance(value, list):
        shown = ", ".join(_short(item) for item in value[:5])
        return f"[{shown}, ... {len(value)} values]" if len(value) > 5 else f"[{shown}]"  # noqa: PLR2004
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004


@dataclass(frozen=True)
class Suite:
    """A suite that was checked against the columns it will meet."""

    name: str
    digest: str
    schema: pa.Schema
    custom: tuple[str, ...]
    expectations: tuple[ExpectationSpec, ...]
    # What will be slow, in words.
    advice: tuple[str, ...] = ()


@dataclass
class Tally:
    """What some rows said about one expectation. Tallies of the same expectation add up."""

    expectation: int
    rows: int = 0
    missing: int = 0
    considered: int = 0
    unexpected: int = 0
    examples: list[tuple[int, Any]] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    trace: str = ""


@dataclass(frozen=True)
class Measure:
    """What a batch, or the second pass over the table, found: tallies to merge, and the rows to take out."""

    tallies: tuple[Tally, ...]
    rejects_table: pa.Table

    @property
    def rejects(self) -> list[tuple[int, Reason]]:
        """The rows to take out, each with one of its reasons, by their ordinals in the snapshot."""
        records: list[dict[str, Any]] = self.rejects_table.to_pylist()
        return [(record["row"], Reason(**record["reason"])) for record in records]


class BatchMeasure(Measure):
    """What one batch found."""


class WholeMeasure(Measure):
    """What the expectations that need the whole table found."""


def no_rejects() -> pa.Table:
    return REJECTS_SCHEMA.empty_table()


@dataclass(frozen=True)
class ExpectationOutcome:
    """How one expectation ended, and what that means for the run."""

    type: str
    columns: tuple[str, ...]
    kwargs: Mapping[str, Any]
    severity: Severity
    on_failure: Literal["quarantine"] | None
    consequence: Consequence
    success: bool
    element_count: int | None
    unexpected_count: int | None
    unexpected_share: float | None
    examples: tuple[str, ...]
    observed: str | None
    exception: str | None
    sentence: str


@dataclass(frozen=True)
class SuiteResult:
    """How a suite ended over all batches; `gx_json` is GX's own result, safe to write as JSON."""

    suite: str
    digest: str
    success: bool
    results: tuple[ExpectationOutcome, ...]
    gx_json: Mapping[str, Any]

    def accepting(self, expectations: Collection[int]) -> Self:
        """The same, where the expectations at these places do not block. One that could not be checked does in any case."""
        results = [
            replace(one, consequence="accepted") if place in expectations and _may_be_accepted(one) else one
            for place, one in enumerate(self.results)
        ]
        return replace(self, results=tuple(results))

    @property
    def blocking(self) -> Sequence[ExpectationOutcome]:
        return [outcome for outcome in self.results if outcome.consequence == "blocks"]

    @property
    def warnings(self) -> Sequence[ExpectationOutcome]:
        return [outcome for outcome in self.results if outcome.consequence == "warns"]


def _may_be_accepted(outcome: ExpectationOutcome) -> bool:
    return outcome.consequence == "blocks" and outcome.exception is None
