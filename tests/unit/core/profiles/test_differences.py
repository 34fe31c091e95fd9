"""Paired differences, against figures by hand, pandas and scipy; whatever the batches, the figures are the same."""

import collections
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.core.definitions.modelling import Prediction
from tasks.core.profiles import differences
from tasks.core.profiles.differences import conclude, gather, kind_of, ranked, spearman, top_moved

PROBABILITY = Prediction(method="predict_proba", class_=1)
NUMBER = Prediction(method="predict")
CLASS = Prediction(method="predict", type="string")
steady = settings(deadline=None, derandomize=True)


def found(made, production, challenger, cuts=(), kind=None):
    """The differences of one column, gathered in batches that end at `cuts`."""
    sides = [pa.array(side, kind) for side in (production, challenger)]
    keys = pa.table({"id": [f"k{i}" for i in range(len(production))]})
    batches = []
    for first, end in zip([0, *cuts], [*cuts, len(production)], strict=True):
        part = keys.slice(first, end - first)
        chosen = ranked(part, len(production), 1)
        batches.append({"p": gather(made, part, *(side.slice(first, end - first) for side in sides), chosen)})
    (column,) = conclude({"p": made}, batches)
    return column


def test_figures_by_hand():
    column = found(PROBABILITY, [0.1, 0.4, 0.6, 0.9], [0.2, 0.6, 0.4, 0.9])

    assert (column.kind, column.threshold, column.rows) == ("probability", 0.5, 4)
    assert (column.flips, column.flip_share) == (2, 0.5)
    assert {(one.production, one.challenger): one.rows for one in column.moves} == {
        ("at most 0.5", "above 0.5"): 1,
        ("above 0.5", "at most 0.5"): 1,
    }
    # The differences are 0.1, 0.2, -0.2 and 0: their mean is 0.025, the mean of their squares 0.0225.
    assert column.mean == pytest.approx(0.025)
    assert column.std == pytest.approx(math.sqrt(0.0225 - 0.025**2))
    assert (column.lowest, column.highest) == (pytest.approx(-0.2), pytest.approx(0.2))
    assert (column.production_mean, column.challenger_mean) == (pytest.approx(0.5), pytest.approx(0.525))
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 * 2 / (4 * 15).
    assert column.spearman == pytest.approx(0.8)
    assert (column.top_rows, column.top_moved, column.ranked_rows) == (1, 0, 4)
    assert [row.key["id"] for row in column.largest][:2] == ["k1", "k2"]
    assert (column.largest[0].production, column.largest[0].challenger) == (0.4, 0.6)


def test_a_score_at_the_threshold_is_decided_as_scikit_learn_decides_it():
    """Of two equal probabilities argmax takes the first class: exactly 0.5 is not a decision for the second."""
    assert found(PROBABILITY, [0.5, 0.5], [0.5, math.nextafter(0.5, 1)]).flips == 1
    assert found(Prediction(method="decision_function"), [0.0, -1.0, 1.0], [1e-300, -5.0, 2.0]).flips == 1


@pytest.mark.parametrize(
    ("method", "kind", "class_", "expected"),
    [
        ("predict_proba", "float32", 1, "probability"),
        ("decision_function", "float64", None, "score"),
        ("predict", "float64", None, "number"),
        ("predict", "decimal(10, 2)", None, "number"),
        ("predict", "string", None, "class"),
        ("predict", "int64", None, "class"),
        ("predict", "bool", None, "class"),
        ("score_samples", "float64", None, "number"),
        ("transform", "int64", 0, "number"),
    ],
)
def test_what_a_column_is_follows_from_its_declaration(method, kind, class_, expected):
    assert kind_of(Prediction(method=method, type=kind, class_=class_)) == expected


def test_a_number_has_no_flips():
    column = found(NUMBER, [0.0, 10.0], [1.0, -10.0])

    assert (column.flips, column.flip_share, column.moves, column.threshold) == (None, None, (), None)
    assert column.mean == pytest.approx(-9.5)


def test_classes_are_counted_by_what_becomes_of_them():
    production, challenger = ["a", "a", "b", "c", "a"], ["a", "b", "b", "a", "b"]

    for cuts in ((), (1, 4), (0, 0, 5)):
        column = found(CLASS, production, challenger, cuts)
        assert (column.kind, column.flips, column.flip_share) == ("class", 3, 0.6)
        assert [(one.production, one.challenger, one.rows) for one in column.moves] == [("a", "b", 2), ("c", "a", 1)]
        assert [(row.key["id"], row.production, row.challenger) for row in column.largest] == [
            ("k1", "a", "b"),
            ("k3", "c", "a"),
            ("k4", "a", "b"),
        ]
        assert (column.mean, column.spearman, column.ranked_rows) == (None, None, 0)


@pytest.mark.parametrize("kind", ["int64", "bool", "date32"])
def test_classes_of_other_types_are_compared_as_they_are(kind):
    values = {"int64": [1, 2, 3], "bool": [True, False, True], "date32": [0, 1, 2]}[kind]
    arrow = {"int64": pa.int64(), "bool": pa.bool_(), "date32": pa.date32()}[kind]
    made = Prediction(method="predict", type={"date32": "date"}.get(kind, kind))

    assert found(made, values, values[::-1], kind=arrow).flips == sum(
        a != b for a, b in zip(values, values[::-1], strict=True)
    )


def test_more_kinds_of_moves_than_are_kept_are_all_counted(monkeypatch):
    monkeypatch.setattr(differences, "_MOST_KEPT", 3)
    names = [f"c{i}" for i in range(50)]

    column = found(CLASS, names, names[1:] + names[:1], cuts=(25,))

    assert column.flips == 50
    assert len(column.moves) == 6


PAIRS = st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 2), min_size=1, max_size=60)


@given(PAIRS, st.lists(st.integers(0, 60), max_size=3))
@steady
def test_the_figures_are_those_of_pandas_and_scipy_however_the_rows_are_cut(pairs, cuts):
    frame = pd.DataFrame(pairs, columns=["p", "c"], dtype="float64")
    column = found(PROBABILITY, frame["p"], frame["c"], sorted(min(cut, len(pairs)) for cut in cuts), pa.float64())

    apart = frame["c"] - frame["p"]
    assert column.flips == int(((frame["p"] > 0.5) != (frame["c"] > 0.5)).sum())
    assert column.mean == pytest.approx(apart.mean(), abs=1e-12)
    assert column.std == pytest.approx(apart.std(ddof=0), abs=1e-12)
    assert (column.lowest, column.highest) == (apart.min(), apart.max())
    if frame.nunique().min() > 1:
        assert column.spearman == pytest.approx(stats.spearmanr(frame["p"], frame["c"]).statistic)
        assert column.spearman == pytest.approx(frame["p"].rank().corr(frame["c"].rank()))
    else:
        assert column.spearman is None
    size = math.ceil(len(pairs) / 10)
    tops = [set(frame[side].sort_values(ascending=False, kind="stable").index[:size]) for side in ("p", "c")]
    assert column.top_moved == pytest.approx(1 - len(tops[0] & tops[1]) / size)
    shown = [abs(row.challenger - row.production) for row in column.largest]
    assert shown == sorted(apart.abs(), reverse=True)[:10]


def test_of_no_rows_nothing_can_be_said():
    column = found(PROBABILITY, [], [], kind=pa.float64())

    assert (column.rows, column.flips, column.flip_share, column.mean, column.spearman) == (0, 0, None, None, None)
    (without_batches,) = conclude({"p": PROBABILITY}, [])
    assert without_batches == column


def test_values_too_far_apart_for_a_float_are_not_shown_as_numbers():
    column = found(NUMBER, [-1.7e308, 1.0], [1.7e308, 1.0], cuts=(1,))

    assert (column.mean, column.std, column.highest) == (None, None, None)
    assert column.model_validate_json(column.model_dump_json()) == column


def test_equal_scores_are_told_apart_by_their_place_on_both_sides_alike():
    constant = np.ones((2, 50))

    assert top_moved(constant) == 0
    assert spearman(constant) is None
    assert top_moved(np.stack([np.arange(20.0), -np.arange(20.0)])) == 1


def test_ranks_of_many_rows_are_of_a_share_that_the_keys_choose(monkeypatch):
    monkeypatch.setattr(differences, "MOST_RANKED", 2_000)
    random = np.random.default_rng(1)
    production = random.random(20_000)
    challenger = production + random.normal(scale=0.3, size=20_000)

    whole = found(NUMBER, production, challenger)
    cut = found(NUMBER, production, challenger, cuts=(1, 777, 15_000))

    # A draw of 2,000 of 20,000: its size has a standard deviation of 42.
    assert whole.ranked_rows == pytest.approx(2_000, abs=200)
    assert whole.spearman == pytest.approx(stats.spearmanr(production, challenger).statistic, abs=0.05)
    assert whole.spearman == cut.spearman
    assert (whole.ranked_rows, whole.top_moved) == (cut.ranked_rows, cut.top_moved)
    assert whole.rows == 20_000


def test_columns_share_the_bound(monkeypatch):
    monkeypatch.setattr(differences, "MOST_RANKED", 1_000)
    keys = pa.table({"id": list(range(10_000))})

    assert ranked(keys, 10_000, 1).sum() == pytest.approx(1_000, abs=150)
    assert ranked(keys, 10_000, 4).sum() == pytest.approx(250, abs=80)
    assert ranked(keys.slice(0, 500), 500, 2).all()


def test_long_keys_and_classes_are_cut():
    keys = pa.table({"id": ["k" * 5_000]})
    one = gather(CLASS, keys, pa.array(["a" * 5_000]), pa.array(["b" * 5_000]), np.array([True]))

    assert len(one.largest[0].key["id"]) == len(one.largest[0].production) == 200
    assert collections.Counter(one.moves).total() == 1
