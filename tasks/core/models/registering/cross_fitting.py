"""The past out of sample: each part of it scored by a model of the other parts, made as the version itself was made.

What a model makes of rows that it has learnt from says little of what it will make of others. Parts are whole stretches
of time, as neighbouring days are alike (block cross-validation: Bergmeir and Benítez 2012, On the use of cross-validation
for time series predictor evaluation; Roberts et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.errors import LamplighterError
from tasks.core.models.model import LoadedModel, input_frame, score_with_bisection, unregistered
from tasks.core.models.model_version import Signature
from tasks.core.models.registering.fitting import calibrated
from tasks.core.models.registering.own_past import own_past
from tasks.core.models.registering.past import OwnPast, Past
from tasks.core.models.registering.training_data import WindowRows

# Of fewer windows nothing can be said that is usual: neither alarms nor estimates could use them.
FEWEST_WINDOWS = 8


class PastUnknown(Exception):
    """Why the past was not scored out of sample, in a sentence. The version is registered all the same."""


@dataclass(frozen=True)
class Recipe:
    """How the version is made: a new estimator each time, what it takes and gives, and whether it is put right later."""

    make: Callable[[], Any]
    signature: Signature
    is_calibrated: bool
    # So large a share of rows on which the model raises is its own fault.
    may_raise: float


def cross_fit(rows: Sequence[WindowRows], recipe: Recipe, folds: int, say: Callable[[str], object]) -> Past:
    """All rows of these ranges, each scored by a model of the other folds; rows that cannot be scored are left out.

    Where the version is calibrated, so is each of these models: on the fold after the one that it scores (after the last
    comes the first), which it is not fitted on. PastUnknown says why there is none.
    """
    history = _History.of(rows, recipe, folds)
    try:
        scored = [history.scored(fold, recipe, say) for fold in range(history.folds)]
    except MemoryError:
        raise
    except Exception as error:  # Whatever an estimator does on part of its rows, the version itself was fitted.
        what = error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}: {error}"
        raise PastUnknown(f"The past could not be scored out of sample: {' '.join(what.split())}") from error
    kept = np.concatenate([one.positions for one in scored])
    return Past(
        table=history.table.take(pa.array(kept)),
        windows=history.windows[kept],
        folds=history.fold_of[kept],
        outputs=pa.concat_tables([one.outputs for one in scored]),
        truth=history.truth[kept],
        is_labelled=history.is_labelled[kept],
        own=tuple(one.own for one in scored),
    )


@dataclass(frozen=True)
class _Scored:
    """One fold: what the model of the others makes of the rows that it can score, and of those others."""

    outputs: pa.Table
    positions: npt.NDArray[np.int64]
    own: OwnPast


@dataclass(frozen=True)
class _History:
    """The rows of all ranges by window, and of each row its fold: the windows' number cut into equal parts."""

    table: pa.Table
    frame: Any
    windows: npt.NDArray[Any]
    fold_of: npt.NDArray[np.intp]
    folds: int
    truth: npt.NDArray[Any]
    is_labelled: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Sequence[WindowRows], recipe: Recipe, folds: int) -> _History:
        sizes = np.array([len(part) for one in rows for _, part in one.parts])
        if len(sizes) < FEWEST_WINDOWS:
            raise PastUnknown(
                f"Training knows {len(sizes)} windows, and of fewer than {FEWEST_WINDOWS} nothing is usual."
            )
        # Fewest: one fold to fit on and one to score, and one more to calibrate on.
        folds = min(max(folds, 3 if recipe.is_calibrated else 2), len(sizes))
        fold_of = np.repeat(np.arange(len(sizes)) * folds // len(sizes), sizes)
        table = pa.concat_tables([one.table for one in rows])
        truth, is_labelled = _truth(table[rows[0].labels.target])
        return cls(
            table=table,
            frame=input_frame(table, recipe.signature.inputs),
            windows=np.concatenate([one.windows for one in rows]),
            fold_of=fold_of,
            folds=folds,
            truth=truth,
            is_labelled=is_labelled,
        )

    def scored(self, fold: int, recipe: Recipe, say: Callable[[str], object]) -> _Scored:
        say(f"scoring the past out of sample: part {fold + 1} of {self.folds}")
        model = self._model_without(fold, recipe)
        rows = np.flatnonzero(self.fold_of == fold)
        others = np.flatnonzero(self.fold_of != fold)
        own = own_past(model, recipe.signature, self.table, self.truth, self.is_labelled, others)
        if not len(rows):
            return _Scored(recipe.signature.output_schema.empty_table(), rows, own)
        outputs, positions, _ = score_with_bisection(
            LoadedModel(unregistered(recipe.signature), model),
            self.table.slice(int(rows[0]), len(rows)),
            rows,
            recipe.signature.outputs,
            give_up_after=int(recipe.may_raise * len(rows)) + 1,
        )
        return _Scored(outputs, positions, own)

    def _model_without(self, fold: int, recipe: Recipe) -> Any:
        is_next = self.fold_of == (fold + 1) % self.folds
        learnt_from = self.is_labelled & (self.fold_of != fold)
        if recipe.is_calibrated:
            learnt_from &= ~is_next
        model = recipe.make()
        model.fit(self.frame[learnt_from], self.truth[learnt_from])
        if recipe.is_calibrated:
            later = self.is_labelled & is_next
            model = calibrated(model, self.frame[later], self.truth[later])
        return model


def _truth(labels: pa.ChunkedArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The labels in the type that training knows them in, anything where there is none; and where there is one."""
    is_labelled = labels.is_valid().to_numpy()
    known = labels.drop_null().to_numpy()
    truth = np.zeros(len(labels), known.dtype)
    truth[is_labelled] = known
    return truth, is_labelled
