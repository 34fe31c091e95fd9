"""Puts the kernel in the place of scikit-learn's own walk through the trees of a loaded model, and takes it out again.

Only the sums of leaves change hands. What is done before and behind them (checks, encoding, links, classes) stays
scikit-learn's, so what comes out is too.
"""

from __future__ import annotations

import abc
import contextlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core.models.trees.forest import Floats, Forest, NotSupported, forest_of
from tasks.core.models.trees.library import NoLibrary, library
from tasks.core.models.trees.tables import Tables, suits
from tasks.core.models.trees.walks import Walks

__all__ = ["Attached", "Hook", "NoLibrary", "NotSupported", "attach"]
_FEWEST_ROWS = 4096  # For a thread of its own.
_MATRIX = 2  # Dimensions.


class Hook(abc.ABC):
    """Stands for one method of one fitted ensemble."""

    method: str
    # What its rows are when they come to it: whoever tries it gives such.
    rows_kind: Any = np.float64

    def __init__(self, ensemble: Any, forest: Forest) -> None:
        self.ensemble = ensemble
        self.forest = forest
        self.library = library()
        self.original = getattr(ensemble, self.method)
        # How often it was asked: of a scikit-learn that goes by another way, never.
        self.calls = 0

    def __call__(self, rows: Any, **named: Any) -> Any:
        """What the method returns. Of rows that the kernel does not take, scikit-learn makes it itself."""
        made = None if named else self.made_of(rows)
        return self.original(rows, **named) if made is None else made

    @abc.abstractmethod
    def made_of(self, rows: Any) -> Floats | None:
        """What the method makes of rows; None where the kernel does not take them."""

    def prepare(self) -> None:
        """Makes now, while the model is loaded, what a batch would wait for."""
        _ = self.of_features

    @cached_property
    def of_features(self) -> Tables | Walks:
        """For the features as scikit-learn has encoded and ordered them."""
        return Tables(self.forest, raw=False) if suits(self.forest) else Walks(self.forest)

    def add_leaves(self, sums: Floats, rows: Floats, way: Tables | Walks) -> None:
        """Adds them in place, in as many threads as scikit-learn's own code would take here."""
        from sklearn.utils._openmp_helpers import _openmp_effective_n_threads  # noqa: PLC0415 - heavy

        self.calls += 1
        parts = max(1, min(_openmp_effective_n_threads(), len(rows) // _FEWEST_ROWS))
        bounds = np.linspace(0, len(rows), parts + 1).astype(int)
        if parts == 1:
            way.add_to(sums, self.library, rows)
            return
        with ThreadPoolExecutor(parts) as pool:
            for done in [
                pool.submit(way.add_to, sums[start:end], self.library, rows[start:end])
                for start, end in itertools.pairwise(bounds)
            ]:
                done.result()


class HistogramHook(Hook):
    """The raw predictions of histogram gradient boosting."""

    method = "_raw_predict"

    def made_of(self, rows: Any) -> Floats:
        """What the trees add to the baseline, a column a class."""
        rows, way = self._taken(rows)
        sums = np.empty((len(rows), self.forest.outputs))
        sums[:] = self.ensemble._baseline_prediction  # noqa: SLF001
        self.add_leaves(sums, rows, way)
        # In scikit-learn's own order in memory: what adds up along it comes to the same bits.
        return np.asfortranarray(sums)

    def prepare(self) -> None:
        """For plain columns, where these can be taken, since these mostly come."""
        _ = self.of_raw or self.of_features

    @cached_property
    def of_raw(self) -> Tables | None:
        """For columns as the ensemble is given them."""
        return Tables(self.forest, raw=True) if self.forest.columns and suits(self.forest) else None

    def _taken(self, rows: Any) -> tuple[Floats, Tables | Walks]:
        """The rows, and the way that takes them. Those that must be checked or encoded scikit-learn brings into shape."""
        if self.of_raw is not None and _is_plain(rows, self.ensemble) and not self._may_be_refused(rows):
            return np.ascontiguousarray(rows), self.of_raw
        made = self.ensemble._preprocess_X(rows, reset=False)  # noqa: SLF001
        return np.ascontiguousarray(made, np.float64), self.of_features

    def _may_be_refused(self, rows: npt.NDArray[Any]) -> bool:
        """The encoder of categories takes no infinity."""
        columns = self.forest.columns or ()
        return any(bool(np.isinf(rows[:, columns[place]]).any()) for place in self.forest.categories)


class StagesHook(Hook):
    """The raw predictions of gradient boosting."""

    method = "_raw_predict"
    rows_kind = np.float32

    def made_of(self, rows: Any) -> Floats | None:
        """What the trees add to the first guess. The rows come checked, as 32-bit floats."""
        if not isinstance(rows, np.ndarray):
            return None
        sums = np.ascontiguousarray(self.ensemble._raw_predict_init(rows), np.float64)  # noqa: SLF001
        self.add_leaves(sums, _in_64_bits(rows), self.of_features)
        return sums


class MeanHook(Hook):
    """The mean over a forest's trees: of the shares of the classes, or of the values."""

    def made_of(self, rows: Any) -> Floats | None:
        """As `predict_proba` of a classifier, and `predict` of a regressor."""
        checked = self.ensemble._validate_X_predict(rows)  # noqa: SLF001
        if not isinstance(checked, np.ndarray):
            return None
        sums = np.zeros((len(checked), self.forest.outputs))
        self.add_leaves(sums, _in_64_bits(checked), self.of_features)
        sums /= len(self.forest.trees)
        return sums if self.method == "predict_proba" else sums[:, 0]


class SharesHook(MeanHook):
    """Of a classifier."""

    method = "predict_proba"


class ValuesHook(MeanHook):
    """Of a regressor."""

    method = "predict"


@dataclass(frozen=True)
class Attached:
    """The hooks in a model."""

    hooks: list[Hook] = field(default_factory=list)

    def detach(self) -> None:
        """The model is as it was before."""
        for hook in self.hooks:
            with contextlib.suppress(KeyError):
                del vars(hook.ensemble)[hook.method]


def attach(model: Any) -> Attached:
    """Compiles every ensemble in a model. NotSupported or NoLibrary say why not; then the model is as it was before."""
    attached = Attached()
    try:
        # Calibration may hold one ensemble several times.
        for ensemble in {id(one): one for one in _ensembles(model)}.values():
            hook = _hook(ensemble)
            hook.prepare()
            vars(ensemble)[hook.method] = hook
            attached.hooks.append(hook)
    except Exception:
        attached.detach()
        raise
    return attached


def _hook(ensemble: Any) -> Hook:
    forest = forest_of(ensemble)
    name = type(ensemble).__name__
    if name.startswith("Hist"):
        return HistogramHook(ensemble, forest)
    if name.startswith("Gradient"):
        return StagesHook(ensemble, forest)
    return (SharesHook if name.endswith("Classifier") else ValuesHook)(ensemble, forest)


def _ensembles(model: Any) -> Iterator[Any]:
    """The models in it that see the rows last: of a pipeline its last step, of a calibrated model what is calibrated."""
    kind = type(model)
    if not kind.__module__.startswith("sklearn."):
        raise NotSupported(f"{kind.__name__} is not scikit-learn's, and no tree ensemble that can be compiled")
    inner = {
        "Pipeline": lambda: [model.steps[-1][1]],
        "CalibratedClassifierCV": lambda: [one.estimator for one in model.calibrated_classifiers_],
        "FrozenEstimator": lambda: [model.estimator],
        "TransformedTargetRegressor": lambda: [model.regressor_],
    }.get(kind.__name__)
    if inner is None:
        yield model
        return
    for one in inner():
        yield from _ensembles(one)


def _is_plain(rows: Any, ensemble: Any) -> bool:
    """Whether scikit-learn would take these rows as they are, without a word."""
    return (
        type(rows) is np.ndarray
        and rows.dtype == np.float64
        and rows.ndim == _MATRIX
        and len(rows) > 0
        and rows.shape[1] == ensemble.n_features_in_
        and not hasattr(ensemble, "feature_names_in_")
    )


def _in_64_bits(rows: npt.NDArray[Any]) -> Floats:
    return np.ascontiguousarray(rows, np.float64)
