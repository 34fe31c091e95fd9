"""Two versions on the same labelled rows: what the candidate gains or loses, over all of them and slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.modelling import Promotion
from tasks.core.errors import DefinitionError
from tasks.core.models.gate import metrics
from tasks.core.models.gate.evaluation import FEWEST_BLOCKS, Blocks, Estimate, Target, estimate, figure, gain
from tasks.core.models.gate.metrics import Rows, Statistic
from tasks.core.models.gate.verdict import Check, Kind, Outcome

# A slice with fewer rows, or fewer of the rarer class, is not judged; of a column with more values the largest are.
FEWEST_ROWS, FEWEST_OF_A_CLASS, MOST_SLICES = 100, 10, 200
_MISSING = "(missing)"
_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Compared:
    """The same rows, scored by both; with no production there is nothing to compare with, and `alone` says why."""

    target: Target
    blocks: Blocks
    metric: str
    candidate: Rows
    production: Rows | None
    alone: str = ""

    def where(self, chosen: npt.NDArray[np.bool_]) -> Compared:
        theirs = self.production and self.production.where(chosen)
        return Compared(self.target, self.blocks, self.metric, self.candidate.where(chosen), theirs, self.alone)


def metric_of(target: Target, wanted: str | None) -> str:
    """The metric that decides: the one that the job names, or the usual one of such an output."""
    if wanted is None:
        return next(iter(target.metrics))
    if wanted not in target.metrics:
        raise DefinitionError(
            f"promotion.metric is '{wanted}'; of this output and these labels there are: {', '.join(target.metrics)}",
            state="nothing was scored, and no alias was moved",
            next_step="give one of these in the job's YAML",
        )
    return wanted


def metric_check(compared: Compared, promotion: Promotion) -> Check:
    """The candidate may lose at most `may_lose`, also at the worse end of the interval of the paired difference.

    A candidate that is truly worse by `may_lose` passes in 3 % of the cases; one that is no worse is refused where the
    interval is wider than `may_lose` to that side, and wants more windows.
    """
    kind = compared.target.metrics[compared.metric]
    found = _paired(compared, kind.prepare, higher_is_better=kind.higher_is_better)
    if compared.production is None:
        return _alone("metric", compared.metric, compared, found)
    if found.gain.low is None:
        # Nothing was proved, and this is what decides.
        sentence = f"{compared.metric} cannot be worked out of these rows: are all labels the same?"
        return found.check("metric", compared.metric, "failed", sentence, -promotion.may_lose)
    outcome: Outcome = "failed" if found.gain.low < -promotion.may_lose else "passed"
    sentence = (
        f"{compared.metric} {found.words}; {_budget(promotion.may_lose)} at the worse end.{_unit(compared.blocks)}"
    )
    return found.check("metric", compared.metric, outcome, sentence, -promotion.may_lose)


def calibration_check(compared: Compared, promotion: Promotion) -> Check | None:
    """Whether what is called 30 % still comes true in 30 % of the cases; None of what is no probability.

    As with a slice, a rise of the expected calibration error counts when it is above its budget and real.
    """
    if not compared.target.is_probability:
        return None
    found = _paired(compared, metrics.calibration_error, higher_is_better=False)
    if compared.production is None:
        return _alone("calibration", "", compared, found)
    if found.gain.value is None:
        return found.check("calibration", "", "not judged", "There is no row to judge by.", None)
    budget = promotion.calibration_may_lose
    sentence = f"The expected calibration error {found.words}; {_budget(budget)}."
    return found.check("calibration", "", _fell(found.gain, budget), sentence, -budget)


def slice_checks(compared: Compared, column: str, values: pa.ChunkedArray[Any], budget: float) -> Iterator[Check]:
    """One check for each value of the column, the one with most rows first.

    A slice fails when its metric falls by more than `budget` and the fall is real: the whole 95 % interval lies below 0.
    How often that errs depends on the interval's half width. Where it is wider than the budget, a slice in which nothing
    changed is refused in 3 % of the cases (2 to 5, measured on 14 slices of 30 days of flights), so that of 14 such slices
    one is refused by chance every third time; where it is narrower, hardly ever. A fall as large as the budget is then
    caught every other time, one of twice the budget in 97 %. A slice too small for a narrow interval is hardly ever refused.
    """
    names, codes = _sliced(values)
    for code in np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")[:MOST_SLICES].tolist():
        yield _slice_check(compared.where(codes == code), f"{column} = {names[code]}", budget)
    if len(names) > MOST_SLICES:
        sentence = f"{column} has {len(names):,} values; the {MOST_SLICES} with most rows were judged."
        yield Check(check="slice", what=f"{column}: all others", outcome="not judged", sentence=sentence)


def _slice_check(part: Compared, what: str, budget: float) -> Check:
    kind, rows = part.target.metrics[part.metric], len(part.candidate.truth)
    found = _paired(part, kind.prepare, higher_is_better=kind.higher_is_better)
    if part.production is None:
        return _alone("slice", what, part, found)
    if few := _too_few(part):
        return found.check("slice", what, "not judged", f"{what} has {few}.", -budget, rows)
    if found.gain.low is None:
        return found.check(
            "slice", what, "not judged", f"{part.metric} cannot be worked out for {what}.", -budget, rows
        )
    sentence = f"{what}: {part.metric} {found.words}; {_budget(budget)}."
    return found.check("slice", what, _fell(found.gain, budget), sentence, -budget, rows)


def _too_few(part: Compared) -> str:
    rows = part.candidate
    if len(rows.truth) < FEWEST_ROWS:
        return f"{len(rows.truth):,} rows, and {FEWEST_ROWS} are needed"
    if (held := int((rows.sizes > 0).sum())) < FEWEST_BLOCKS:
        return f"rows in {held} {part.blocks.unit}s, and {FEWEST_BLOCKS} are needed"
    if part.target.metrics.keys() & metrics.OF_SCORES.keys():
        ones = int(rows.truth.sum())
        if (rarer := min(ones, len(rows.truth) - ones)) < FEWEST_OF_A_CLASS:
            return f"{rarer} rows of one class, and {FEWEST_OF_A_CLASS} are needed"
    return ""


def _sliced(values: pa.ChunkedArray[Any]) -> tuple[list[str], npt.NDArray[np.intp]]:
    """The values as text, and the number of each row's."""
    encoded: Any = values.combine_chunks().dictionary_encode(null_encoding="encode")
    names = [_MISSING if one is None else str(one)[:_LONGEST_VALUE] for one in encoded.dictionary.to_pylist()]
    return names, encoded.indices.to_numpy()


@dataclass(frozen=True)
class _Paired:
    """A figure of both, and what the candidate gains."""

    candidate: float | None
    production: float | None
    gain: Estimate

    @property
    def words(self) -> str:
        ours, theirs = (_number(one) for one in (self.candidate, self.production))
        said = f"is {ours} against {theirs}, {_by(self.gain.value)}"
        if self.gain.low is None or self.gain.high is None:
            return said
        return f"{said} (95 % interval: {_by(self.gain.low)} to {_by(self.gain.high)})"

    def check(
        self, kind: Kind, what: str, outcome: Outcome, sentence: str, limit: float | None, rows: int | None = None
    ) -> Check:
        figures = {"difference": self.gain.value, "low": self.gain.low, "high": self.gain.high, "limit": limit}
        both = {"production": self.production, "candidate": self.candidate}
        return Check(check=kind, what=what, outcome=outcome, sentence=sentence, rows=rows, **both, **figures)


def _paired(compared: Compared, prepare: Callable[[Rows], Statistic], *, higher_is_better: bool) -> _Paired:
    count = compared.blocks.count
    ours = figure(prepare(compared.candidate), count)
    if compared.production is None:
        return _Paired(ours, None, Estimate(None))
    difference = gain(prepare, compared.candidate, compared.production, higher_is_better=higher_is_better)
    return _Paired(ours, figure(prepare(compared.production), count), estimate(difference, count))


def _alone(kind: Kind, what: str, compared: Compared, found: _Paired) -> Check:
    rows = len(compared.candidate.truth) if kind == "slice" else None
    name = compared.metric if kind != "calibration" else "the expected calibration error"
    sentence = f"{name} is {_number(found.candidate)}; {compared.alone}."
    return found.check(kind, what, "not judged", sentence[:1].upper() + sentence[1:], None, rows)


def _fell(change: Estimate, budget: float) -> Outcome:
    """Failed if the fall is above its budget, and real."""
    if change.value is None or change.high is None:
        return "not judged"
    return "failed" if change.value < -budget and change.high < 0 else "passed"


def _by(change: float | None) -> str:
    if not change:
        return "no different"
    return f"{_number(abs(change))} {'better' if change > 0 else 'worse'}"


def _budget(budget: float) -> str:
    return f"{_number(budget)} may be lost" if budget else "nothing may be lost"


def _unit(blocks: Blocks) -> str:
    if blocks.unit == "window":
        return ""
    return (
        f" There are fewer than {FEWEST_BLOCKS} windows, so single rows were drawn, and the interval is narrower than the "
        "truth: take more windows."
    )


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:,.4g}"
