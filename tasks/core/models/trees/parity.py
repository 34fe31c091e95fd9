"""Whether compiled trees score as scikit-learn does: on the rows at hand, on what rows may be some day, and on the brink
of each split.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import ModelBlocked
from tasks.core.models.model_version import Compilation, InputColumn
from tasks.core.models.prediction import LoadedModel, PredictRaised, predict
from tasks.core.models.trees.forest import CODES, NotSupported
from tasks.core.models.trees.hooks import Attached, Hook, attach
from tasks.core.models.trees.library import NoLibrary

SAME = 1e-12  # How far a value may be off: at most, or of one above 1 in proportion.
_MOST_ROWS = 50_000
_BRINK_ROWS = 4096
_SHARE = 0.2  # Of the values of a column that are replaced by strange ones.
_SEED = 7
_LARGE = (1e30, -1e30, 1e-30, 0.0, -1.0)
_LARGEST = (1.7e308, -1.7e308, 5e-324, float("inf"), float("-inf"))
_compute: Any = pc
_NOT_SEEN = "\u2047 lamplighter: not seen"


class _Differs(Exception):
    """A value that comes out otherwise."""


def prove(loaded: LoadedModel, rows: pa.Table) -> Compilation:
    """Scores the rows, and strange ones made of them, both ways. The model is left as it was."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(np.int64))
    some = rows.select(loaded.version.inputs.names).take(chosen)
    tables = [some, *_strange(some, loaded.version.inputs.columns)]
    try:
        plain = [_outcome(loaded, table) for table in tables]
        attached = attach(loaded.estimator)
    except (NotSupported, NoLibrary) as error:
        return Compilation(compiled=False, note=str(error))
    try:
        compiled = [_outcome(loaded, table) for table in tables]
        off = max(_off(then, now) for then, now in zip(plain, compiled, strict=True))
        off = max(off, _off_on_the_brink(attached))
    except _Differs as error:
        return Compilation(compiled=False, note=f"its compiled trees do not score as scikit-learn does: {error}")
    finally:
        attached.detach()
    if not all(hook.calls for hook in attached.hooks):
        return Compilation(compiled=False, note="this scikit-learn does not ask the trees in the way that is known")
    return Compilation(compiled=True, rows=sum(map(len, tables)), largest_difference=off)


def _outcome(loaded: LoadedModel, table: pa.Table) -> pa.Table | str:
    """The outputs, or that there are none: where one way refuses such rows, so must the other."""
    try:
        return predict(loaded, table, loaded.version.outputs)
    except (PredictRaised, ModelBlocked) as error:
        return type(error).__name__


def _off(then: pa.Table | str, now: pa.Table | str) -> float:
    if isinstance(then, str) or isinstance(now, str):
        if then != now:
            told = [one if isinstance(one, str) else "outputs" for one in (then, now)]
            raise _Differs(f"of rows with strange values it makes {told[1]}, and scikit-learn {told[0]}")
        return 0.0
    return max(_off_by(then[name].to_numpy(), now[name].to_numpy(), f"'{name}'") for name in then.column_names)


def _off_by(then: npt.NDArray[Any], now: npt.NDArray[Any], what: str) -> float:
    if then.dtype.kind == "f":
        same = (then == now) | (np.isnan(then) & np.isnan(now))
        with np.errstate(invalid="ignore"):
            off = np.where(same, 0.0, np.abs(then - now))
            wrong = ~(off <= SAME * np.maximum(1.0, np.abs(then)))
    else:
        off = (then != now).astype(float)
        wrong = off > 0
    if wrong.any():
        row = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        raise _Differs(f"{what} of a row is {now[row]}, and was {then[row]}; {int(wrong.sum())} of {wrong.size} differ")
    return float(off.max(initial=0.0))


# -- strange rows ---------------------------------------------------------------------------------------------------


def _strange(table: pa.Table, columns: tuple[InputColumn, ...]) -> Iterator[pa.Table]:
    """The rows with a share of their values missing, large, as large as can be, and of categories that nobody has seen."""
    chance = np.random.default_rng(_SEED)
    nullable = {column.name for column in columns if column.nullable}
    for kind in ("missing", "large", "largest", "unseen"):
        made = []
        for name in table.column_names:
            values: Any = table[name].combine_chunks()
            hit = pa.array(chance.random(len(table)) < _SHARE)
            other = _other(kind, values.type, len(table), chance, may_be_null=name in nullable)
            made.append(values if other is None else _compute.if_else(hit, other, values))
        yield pa.table(made, schema=table.schema)


def _other(kind: str, of: Any, rows: int, chance: np.random.Generator, *, may_be_null: bool) -> Any:
    if kind == "missing":
        return pa.nulls(rows, of) if may_be_null else None
    if kind == "unseen":
        return pa.repeat(pa.scalar(_NOT_SEEN, of), rows) if pa.types.is_string(of) else None
    if pa.types.is_floating(of):
        return pa.array(chance.choice(_LARGE if kind == "large" else _LARGEST, rows)).cast(of, safe=False)
    if pa.types.is_integer(of):
        info: Any = np.iinfo(of.to_pandas_dtype())
        return pa.array([(0, int(info.min), int(info.max))[each] for each in chance.integers(0, 3, rows)], of)
    return None


# -- the brink of each split ----------------------------------------------------------------------------------------


def _off_on_the_brink(attached: Attached) -> float:
    """On values that are thresholds, or the next number beside one: where `<` instead of `<=` would show."""
    return max(_off_of(hook) for hook in attached.hooks)


def _off_of(hook: Hook) -> float:
    kind = hook.rows_kind
    for with_missing in (True, False):
        rows = _brink(hook, with_missing=with_missing).astype(kind)
        with warnings.catch_warnings():
            # Of an array where it was fitted on names.
            warnings.simplefilter("ignore")
            try:
                then = np.asarray(hook.original(rows))
            except (TypeError, ValueError):
                # Missing values, or numbers where there are categories of text, are not for every model.
                continue
            return _off_by(then, np.asarray(hook(rows)), "the sum of the trees")
    return 0.0


def _brink(hook: Hook, *, with_missing: bool) -> npt.NDArray[np.float64]:
    forest, chance = hook.forest, np.random.default_rng(_SEED)
    columns = forest.columns or range(forest.features)
    rows = np.zeros((_BRINK_ROWS, forest.features))
    inner = [(tree.feature[~tree.is_leaf], tree.threshold[~tree.is_leaf]) for tree in forest.trees]
    features, thresholds = (np.concatenate(each) for each in zip(*inner, strict=True))
    split_by_sets = {
        int(each) for tree in forest.trees for each in np.unique(tree.feature[tree.category_set >= 0])
    } | set(forest.categories)
    for feature, column in enumerate(columns):
        cuts = np.unique(thresholds[features == feature])
        if feature in split_by_sets:
            rows[:, column] = chance.choice([*forest.categories.get(feature, np.arange(CODES)), -3.0, 1e6], _BRINK_ROWS)
        elif len(cuts):
            at = chance.choice(cuts, _BRINK_ROWS)
            rows[:, column] = np.choose(
                chance.integers(0, 3, _BRINK_ROWS), [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)]
            )
    if with_missing:
        rows[chance.random(rows.shape) < _SHARE / 4] = np.nan
    return rows
