"""A forest as nodes of sixteen bytes, through which a group of rows walks side by side: for trees of any size."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core.models.trees.forest import Floats, Forest, Ints, NotSupported, Tree
from tasks.core.models.trees.tables import pointer

_NODE = np.dtype([("threshold", "f8"), ("left", "i4"), ("feature", "u2"), ("flags", "u2")])
_MISSING_LEFT, _IS_CATEGORY = 1, 2
_MOST_FEATURES = 2**16


class Walks:
    """What kernel.c walks through."""

    def __init__(self, forest: Forest) -> None:
        if forest.features > _MOST_FEATURES:
            raise NotSupported(f"{forest.features:,} features are more than a node has room for")
        laid = [_laid(tree) for tree in forest.trees]
        sizes = [len(nodes) for nodes, _, _ in laid]
        self._forest = forest
        self._nodes = np.concatenate([nodes for nodes, _, _ in laid])
        self._values = np.concatenate([values for _, values, _ in laid])
        self._depths = np.array([depth for _, _, depth in laid], np.int32)
        self._first = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
        self._targets = forest.targets.astype(np.int32)
        self._sets = np.ascontiguousarray(forest.sets, np.uint8)

    def add_to(self, sums: Floats, library: Any, rows: Floats) -> None:
        """Adds each row's leaves to its row of `sums`. Both are contiguous, row by row."""
        library.sum_by_walking(
            pointer(self._nodes),
            pointer(self._first),
            pointer(self._depths),
            ctypes.c_int64(len(self._first)),
            pointer(self._values),
            pointer(self._targets),
            ctypes.c_int64(self._values.shape[1]),
            pointer(self._sets) if len(self._sets) else None,
            pointer(rows),
            ctypes.c_int64(len(rows)),
            ctypes.c_int64(rows.shape[1]),
            pointer(sums),
            ctypes.c_int64(self._forest.outputs),
        )


def _laid(tree: Tree) -> tuple[npt.NDArray[Any], Floats, int]:
    """The nodes level by level, each right child after its left one; the values likewise; and the depth."""
    place = np.zeros(len(tree.feature), np.int64)
    level, taken, depth = np.zeros(1, np.int64), 1, 0
    reached = [level]
    while len(inner := level[~tree.is_leaf[level]]):
        place[tree.left[inner]] = taken + 2 * np.arange(len(inner))
        place[tree.right[inner]] = place[tree.left[inner]] + 1
        taken += 2 * len(inner)
        level, depth = np.concatenate([tree.left[inner], tree.right[inner]]), depth + 1
        reached.append(level)
    # What is not reached from the root (what pruning left over) has no place.
    kept = np.concatenate(reached)
    nodes, values = np.zeros(taken, _NODE), np.zeros((taken, tree.value.shape[1]))
    nodes[place[kept]] = _nodes(tree, kept, place)
    values[place[kept]] = np.where(tree.is_leaf[kept][:, None], tree.value[kept], 0.0)
    return nodes, values, depth


def _nodes(tree: Tree, kept: Ints, place: Ints) -> npt.NDArray[Any]:
    is_leaf, in_set = tree.is_leaf[kept], tree.category_set[kept]
    made = np.zeros(len(kept), _NODE)
    made["threshold"] = np.where(is_leaf, np.inf, np.where(in_set >= 0, in_set, tree.threshold[kept]))
    # A leaf is its own left child, and every value goes left there.
    made["left"] = np.where(is_leaf, place[kept], place[np.where(is_leaf, 0, tree.left[kept])])
    made["feature"] = np.where(is_leaf, 0, tree.feature[kept])
    flags = np.where(is_leaf | tree.missing_left[kept], _MISSING_LEFT, 0)
    made["flags"] = flags | np.where((in_set >= 0) & ~is_leaf, _IS_CATEGORY, 0)
    return made
