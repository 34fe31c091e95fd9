"""Counts by unit: whatever the order of windows and columns, and into however many windows a unit is cut."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.monitoring.observed import from_table, of_profiles
from tasks.core.profiles.profile import WindowProfile, profile_batch, reference_profile

FEATURES = pa.table({"size": [1.0, 2.0, 3.0, 4.0], "kind": ["a", "b", "a", None], "sold": [True, False, True, True]})
SCORES = pa.table({"score": [0.1, 0.2, 0.3, 0.4]})
REFERENCES = (reference_profile(FEATURES), reference_profile(SCORES))


def profile(sizes, kinds, scores, references=REFERENCES):
    table = pa.table(
        {
            "size": pa.array(sizes, pa.float64()),
            "kind": pa.array(kinds, pa.string()),
            "sold": pa.array([True] * len(sizes), pa.bool_()),
        }
    )
    outputs = pa.table({"score": pa.array(scores, pa.float64())})
    return WindowProfile(
        features=profile_batch(references[0], table), predictions=profile_batch(references[1], outputs)
    )


def same(one, other):
    return one.to_table().equals(other.to_table()) and one.units == other.units


MONDAY = profile([1.0, None], ["a", "new"], [0.1, 0.4])
LATER = profile([4.0], [None], [None])


def test_windows_of_one_unit_are_summed():
    found = of_profiles(REFERENCES, [("2026-03-02", MONDAY), ("2026-03-03", LATER), ("2026-03-02", LATER)])
    assert found.units == ("2026-03-02", "2026-03-03")
    assert (found.windows.tolist(), found.rows.tolist()) == ([2, 1], [3, 1])
    columns = {(one.role, one.column): one for one in found.columns}
    kind = columns["feature", "kind"]
    # a, b, other, new; and one of Monday's rows is of a kind that was never seen.
    assert (kind.counts.tolist(), kind.missing.tolist(), kind.has_new) == ([[1, 0, 0, 1], [0, 0, 0, 0]], [1, 1], True)
    assert columns["feature", "size"].missing.tolist() == [1, 0]
    assert columns["prediction", "score"].missing.tolist() == [1, 1]
    assert not columns["feature", "sold"].has_new, "a boolean has no third value"


def test_a_unit_without_rows_is_known_and_one_without_windows_is_not():
    found = of_profiles(REFERENCES, [("2026-03-02", MONDAY)], units=["2026-03-01", "2026-03-02"])
    assert found.units == ("2026-03-01", "2026-03-02")
    assert (found.windows.tolist(), found.rows.tolist()) == ([0, 1], [0, 2])


def test_nothing_is_nothing():
    found = of_profiles(REFERENCES, [])
    assert (found.units, len(found.columns)) == ((), 4)
    assert from_table(found.to_table()).units == ()


def test_other_bins_are_refused():
    other = (reference_profile(FEATURES.slice(1)), REFERENCES[1])
    with pytest.raises(ValueError, match="another version's reference"):
        of_profiles(other, [("2026-03-02", MONDAY)])


def test_some_of_the_units():
    every = of_profiles(REFERENCES, [("2026-03-02", MONDAY), ("2026-03-03", LATER)])
    assert same(every.of_units(["2026-03-03", "2026-03-09"]), of_profiles(REFERENCES, [("2026-03-03", LATER)]))


def test_what_a_units_model_makes_of_others_goes_with_the_unit():
    rests = [
        profile_batch(REFERENCES[1], pa.table({"score": pa.array(scores, pa.float64())}))
        for scores in ([0.1, 0.1, None], [0.4])
    ]
    found = of_profiles(REFERENCES, [("2026-03-02", MONDAY), ("2026-03-03", LATER)]).beside(rests)
    score = next(one for one in found.columns if one.role == "prediction")
    # Of the first model two are in the bin of 0.1, the second of all, and one is missing.
    assert score.rest.sum(axis=1).tolist() == [3, 1]
    assert (score.rest[0, 1], score.rest[0, -1]) == (2, 1)
    assert all(one.rest is None for one in found.columns if one.role == "feature")
    assert same(from_table(found.to_table()), found)
    assert found.of_units(["2026-03-03"]).columns[-1].rest.tolist() == [score.rest[1].tolist()]
    # A table of before it was kept is read all the same.
    assert from_table(found.to_table().drop_columns(["rest"])).columns[-1].rest is None


days = st.sampled_from(["2026-03-02", "2026-03-03", "2026-03-04"])
rows = st.lists(
    st.tuples(st.one_of(st.none(), st.floats(-9, 9)), st.one_of(st.none(), st.sampled_from("abc")), st.floats(0, 1)),
    max_size=6,
)


def whole(part):
    return profile(*([list(column) for column in zip(*part, strict=True)] if part else ([], [], [])))


@settings(max_examples=30)
@given(st.lists(st.tuples(days, rows), max_size=6), st.randoms(use_true_random=False), st.integers(0, 6))
def test_neither_order_nor_cut_of_windows_matters(windows, random, cut):
    expected = of_profiles(REFERENCES, [(day, whole(part)) for day, part in windows])
    pieces = [(day, whole(piece)) for day, part in windows for piece in (part[:cut], part[cut:])]
    random.shuffle(pieces)
    found = of_profiles(REFERENCES, pieces)
    assert found.units == expected.units
    assert np.array_equal(found.rows, expected.rows)
    for one, other in zip(found.columns, expected.columns, strict=True):
        assert (one.column, one.counts.tolist(), one.missing.tolist()) == (
            other.column,
            other.counts.tolist(),
            other.missing.tolist(),
        )


@given(st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_a_table_of_it_is_read_back_whatever_the_order_of_its_rows(random):
    kept = of_profiles(REFERENCES, [("2026-03-02", MONDAY), ("2026-03-03", LATER)])
    table = kept.to_table()
    order = list(range(table.num_rows))
    random.shuffle(order)
    assert same(from_table(table.take(order)), kept)
