"""What a tree ensemble of scikit-learn is made of, as plain arrays: the one module that looks into its private parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

CODES = 257  # Categories 0 to 255, and what is missing or was not seen. kernel.c knows it too.
_BITS = 256

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class NotSupported(Exception):
    """The ensemble cannot be put into these arrays; says why. Internal: it is then scored by scikit-learn itself."""


@dataclass(frozen=True)
class Tree:
    """Nodes by number, the root first. `value` has a row a node, of which only a leaf's counts.

    A split goes left where the feature is at most `threshold`, or is missing and `missing_left`; where `category_set` is
    not -1, by that row of the forest's `sets` instead.
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    is_leaf: Bools
    missing_left: Bools
    category_set: Ints
    value: Floats


@dataclass(frozen=True)
class Forest:
    """Trees whose leaves are summed in this order, each into the outputs from `targets` on."""

    trees: list[Tree]
    targets: Ints
    outputs: int
    features: int
    # Which codes go left, a row a categorical split: CODES wide.
    sets: Bools
    # Of features that scikit-learn encodes and moves itself first: the column that each is made of, and the values that
    # its categories stand for. None where the raw columns cannot be taken.
    columns: tuple[int, ...] | None = None
    categories: Mapping[int, Floats] = field(default_factory=dict)


def forest_of(estimator: Any) -> Forest:
    """The trees of a fitted ensemble; NotSupported for every other estimator, and for what is not known of it."""
    kinds = {
        "HistGradientBoostingClassifier": _of_histograms,
        "HistGradientBoostingRegressor": _of_histograms,
        "GradientBoostingClassifier": _of_stages,
        "GradientBoostingRegressor": _of_stages,
        "RandomForestClassifier": _of_forest,
        "RandomForestRegressor": _of_forest,
        "ExtraTreesClassifier": _of_forest,
        "ExtraTreesRegressor": _of_forest,
    }
    # Of scikit-learn's own classes only: what another makes of its trees is not known.
    kind = type(estimator)
    read = kinds.get(kind.__name__) if kind.__module__.startswith("sklearn.ensemble.") else None
    if read is None:
        raise NotSupported(f"{kind.__name__} is no tree ensemble that can be compiled")
    try:
        forest = read(estimator)
        _check_whole(forest)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise NotSupported(f"{kind.__name__} of this scikit-learn is made otherwise ({error})") from error
    return forest


def _check_whole(forest: Forest) -> None:
    """ValueError for numbers that would lead outside the arrays, or round and round: a file can hold any."""
    outputs = forest.targets + forest.trees[0].value.shape[1]
    if len({tree.value.shape[1] for tree in forest.trees}) > 1 or outputs.max(initial=0) > forest.outputs:
        raise ValueError("its trees have different outputs")
    columns = forest.columns or ()
    if any(not 0 <= column < forest.features for column in columns) or len(columns) not in (0, forest.features):
        raise ValueError("its columns are not its features")
    for tree in forest.trees:
        inner = np.flatnonzero(~tree.is_leaf)
        children = np.concatenate([tree.left[inner], tree.right[inner]])
        # Each node but the root has one parent at most, so what is reached from the root is a tree.
        if len(np.unique(children)) < len(children) or (children <= 0).any() or (children >= len(tree.feature)).any():
            raise ValueError("a tree of it is none")
        if ((tree.feature < 0) | (tree.feature >= forest.features)).any():
            raise ValueError("a tree of it splits by a feature that there is not")


# -- histogram gradient boosting ------------------------------------------------------------------------------------


def _of_histograms(estimator: Any) -> Forest:
    known, row_of = estimator._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001
    known = _bits(known)
    sets: list[Bools] = []
    trees = [
        _of_predictor(predictor, known, row_of, sets)
        for iteration in estimator._predictors  # noqa: SLF001
        for predictor in iteration
    ]
    outputs = estimator.n_trees_per_iteration_
    columns, categories = _taken_raw(estimator)
    return Forest(
        trees=trees,
        targets=np.arange(len(trees)) % outputs,
        outputs=outputs,
        features=estimator.n_features_in_,
        sets=np.array(sets, bool).reshape(-1, CODES),
        columns=columns,
        categories=categories,
    )


def _of_predictor(predictor: Any, known: Bools, row_of: Any, sets: list[Bools]) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    missing_left = nodes["missing_go_to_left"].astype(bool)
    category_set = np.full(len(nodes), -1, np.int64)
    left_bits = _bits(predictor.raw_left_cat_bitsets)
    for place in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf):
        node = nodes[place]
        goes_left = np.full(CODES, missing_left[place])
        of_feature = known[row_of[node["feature_idx"]]]
        chosen = left_bits[node["bitset_idx"]]
        # What is in neither was not seen in training, and goes where what is missing goes.
        goes_left[:_BITS] = np.where(chosen, True, np.where(of_feature, False, missing_left[place]))
        category_set[place] = len(sets)
        sets.append(goes_left)
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        is_leaf=is_leaf,
        missing_left=missing_left,
        category_set=category_set,
        value=nodes["value"].astype(np.float64)[:, None],
    )


def _bits(words: Any) -> Bools:
    """Rows of eight 32-bit words as rows of 256 booleans."""
    rows = np.ascontiguousarray(words, dtype="<u4")
    found: Bools = np.unpackbits(
        rows.view(np.uint8).reshape(len(rows), rows.shape[1] * 4), axis=1, bitorder="little"
    ).astype(bool)
    return found


def _taken_raw(estimator: Any) -> tuple[tuple[int, ...] | None, dict[int, Floats]]:
    """Which column each feature is, and its categories' values, where scikit-learn's own encoding is not needed for it.

    It moves the categories to the front and replaces each by its place in a sorted list.
    """
    if estimator._preprocessor is None:  # noqa: SLF001
        return tuple(range(estimator.n_features_in_)), {}
    encoder = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001
    is_category = np.asarray(estimator.is_categorical_, bool)
    columns = (*np.flatnonzero(is_category).tolist(), *np.flatnonzero(~is_category).tolist())
    categories = {}
    for place, values in enumerate(encoder.categories_):
        if values.dtype.kind not in "iuf":
            return None, {}
        numbers = values.astype(np.float64)
        numbers = numbers[~np.isnan(numbers)]
        if (np.diff(numbers) <= 0).any():
            return None, {}
        categories[place] = numbers
    return columns, categories


# -- gradient boosting, random forests, extra trees -----------------------------------------------------------------


def _of_stages(estimator: Any) -> Forest:
    trees = [_of_tree(one.tree_, estimator.learning_rate) for stage in estimator.estimators_ for one in stage]
    outputs = estimator.estimators_.shape[1]
    return _plain(estimator, trees, np.arange(len(trees)) % outputs, outputs)


def _of_forest(estimator: Any) -> Forest:
    if estimator.n_outputs_ != 1:
        raise NotSupported(f"a {type(estimator).__name__} of {estimator.n_outputs_} targets is not compiled")
    trees = [_of_tree(one.tree_, 1.0) for one in estimator.estimators_]
    return _plain(estimator, trees, np.zeros(len(trees), np.int64), trees[0].value.shape[1])


def _plain(estimator: Any, trees: list[Tree], targets: Ints, outputs: int) -> Forest:
    features = estimator.n_features_in_
    return Forest(trees, targets, outputs, features, np.zeros((0, CODES), bool), tuple(range(features)))


def _of_tree(tree: Any, scale: float) -> Tree:
    values = tree.value[:, 0, :]
    return Tree(
        feature=np.maximum(tree.feature, 0).astype(np.int64),
        threshold=tree.threshold.astype(np.float64),
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        is_leaf=tree.children_left == -1,
        missing_left=tree.missing_go_to_left.astype(bool),
        category_set=np.full(tree.node_count, -1, np.int64),
        value=np.ascontiguousarray(values * scale if scale != 1.0 else values, dtype=np.float64),
    )
