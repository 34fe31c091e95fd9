"""A forest of small trees as tables of masks: for each value of a feature, the leaves that it leaves possible.

Where a row falls in a tree is the first leaf that every feature's value leaves possible, whatever their order in the
tree. So a row costs one look-up a feature and a few wide ANDs, and no branch that depends on it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core.models.trees.forest import CODES, Floats, Forest, Tree

LANES, BLOCK = 32, 256  # kernel.c knows them too.
# A row reads one line of each feature's table: beyond this the walk through the trees is sooner.
_LONGEST_ROW_BYTES = 64 * 2**10
_LARGEST_TABLES_BYTES = 64 * 2**20
_MOST_LEAVES = 64


class _Feature(ctypes.Structure):
    _fields_ = (
        ("cuts", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("column", ctypes.c_int32),
        ("is_category", ctypes.c_int32),
    )


@dataclass(frozen=True)
class _Split:
    tree: int
    mask: int
    threshold: float
    missing_left: bool
    category_set: int


class Tables:
    """What kernel.c sums leaves by. The arrays that its pointers name live as long as it does."""

    def __init__(self, forest: Forest, *, raw: bool) -> None:
        """Of `raw` columns, or of the features that scikit-learn has made of them."""
        self._forest = forest
        self._leaves = most_leaves(forest)
        self._word: Any = np.uint32 if self._leaves <= _MOST_LEAVES // 2 else np.uint64
        self._groups = -(-len(forest.trees) // LANES)
        width = forest.trees[0].value.shape[1]
        self._values = np.zeros((self._groups * LANES, self._leaves, width))
        self._targets = np.zeros(self._groups * LANES, np.int32)
        self._targets[: len(forest.trees)] = forest.targets
        splits: dict[int, list[_Split]] = {}
        for number, tree in enumerate(forest.trees):
            self._add(number, tree, splits)
        self._kept: list[npt.NDArray[Any]] = []
        features = [self._feature(place, of_it, raw=raw) for place, of_it in sorted(splits.items())]
        self._features = (_Feature * len(features))(*features)

    def add_to(self, sums: Floats, library: Any, rows: Floats) -> None:
        """Adds each row's leaves to its row of `sums`. Both are contiguous, row by row."""
        function = library.sum_by_tables_32 if self._word is np.uint32 else library.sum_by_tables_64
        codes = np.empty(BLOCK * max(len(self._features), 1), np.int32)
        function(
            self._features,
            ctypes.c_int64(len(self._features)),
            ctypes.c_int64(self._groups),
            pointer(self._values),
            ctypes.c_int64(self._leaves),
            pointer(self._targets),
            ctypes.c_int64(self._values.shape[2]),
            pointer(rows),
            ctypes.c_int64(len(rows)),
            ctypes.c_int64(rows.shape[1]),
            pointer(codes),
            pointer(sums),
            ctypes.c_int64(self._forest.outputs),
        )

    def _add(self, number: int, tree: Tree, splits: dict[int, list[_Split]]) -> None:
        """Numbers the leaves from left to right; a split that goes right takes those on its left away."""
        leaves = 0
        waiting: list[tuple[int, bool]] = [(0, False)]
        first: dict[int, int] = {}
        while waiting:
            place, left_is_done = waiting.pop()
            if left_is_done:
                mask = ((1 << leaves) - 1) ^ ((1 << first[place]) - 1)
                splits.setdefault(int(tree.feature[place]), []).append(
                    _Split(
                        number,
                        ~mask & int(np.iinfo(self._word).max),
                        float(tree.threshold[place]),
                        bool(tree.missing_left[place]),
                        int(tree.category_set[place]),
                    )
                )
                waiting.append((int(tree.right[place]), False))
            elif tree.is_leaf[place]:
                self._values[number, leaves] = tree.value[place]
                leaves += 1
            else:
                first[place] = leaves
                waiting += [(place, True), (int(tree.left[place]), False)]

    def _feature(self, place: int, splits: list[_Split], *, raw: bool) -> _Feature:
        is_category = splits[0].category_set >= 0
        cuts, table = self._of_categories(place, splits, raw=raw) if is_category else self._of_numbers(splits)
        column = self._forest.columns[place] if raw and self._forest.columns else place
        self._kept += [cuts, table]
        count = len(cuts) or CODES - 1
        return _Feature(pointer(cuts) if len(cuts) else None, count, pointer(table), column, is_category)

    def _of_numbers(self, splits: list[_Split]) -> tuple[Floats, npt.NDArray[Any]]:
        """By how many thresholds lie below the value; the last row is for what is missing."""
        cuts = np.unique([split.threshold for split in splits])
        table = self._all_possible(len(cuts) + 2)
        for split in splits:
            mask = self._word(split.mask)
            table[np.searchsorted(cuts, split.threshold) + 1 : -1, split.tree] &= mask
            if not split.missing_left:
                table[-1, split.tree] &= mask
        return cuts, table

    def _of_categories(self, place: int, splits: list[_Split], *, raw: bool) -> tuple[Floats, npt.NDArray[Any]]:
        """By the category; the last row is for what is missing, and what was not seen."""
        values = self._forest.categories[place] if raw and self._forest.categories else np.empty(0)
        table = self._all_possible((len(values) or CODES - 1) + 1)
        for split in splits:
            goes_right = ~self._forest.sets[split.category_set]
            goes_right = np.append(goes_right[: len(table) - 1], goes_right[-1])
            table[goes_right, split.tree] &= self._word(split.mask)
        return values, table

    def _all_possible(self, codes: int) -> npt.NDArray[Any]:
        return np.full((codes, self._groups * LANES), np.iinfo(self._word).max, self._word)


def suits(forest: Forest) -> bool:
    """Whether its trees are small, and its features few enough, for tables to be sooner than a walk."""
    leaves = most_leaves(forest)
    if leaves > _MOST_LEAVES:
        return False
    word_bytes = 4 if leaves <= _MOST_LEAVES // 2 else 8
    row_bytes = word_bytes * LANES * -(-len(forest.trees) // LANES)
    inner = [(tree.feature[~tree.is_leaf], tree.threshold[~tree.is_leaf]) for tree in forest.trees]
    used = np.unique(np.concatenate([features for features, _ in inner]))
    cuts = np.unique(np.array([np.concatenate(each) for each in zip(*inner, strict=True)]), axis=1).shape[1]
    codes = cuts + len(used) * (CODES if len(forest.sets) else 2)
    return len(used) * row_bytes <= _LONGEST_ROW_BYTES and codes * row_bytes <= _LARGEST_TABLES_BYTES


def most_leaves(forest: Forest) -> int:
    """Of the tree that has the most."""
    return max(int(tree.is_leaf.sum()) for tree in forest.trees)


def pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    """Where an array's numbers lie. Whoever asks keeps the array."""
    return array.ctypes.data_as(ctypes.c_void_p)
