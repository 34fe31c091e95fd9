"""Shifts that are injected: each changes its column as its words say, in the column's own type, and nothing else."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.monitoring.injections import MISSING_SHARE, injections
from tasks.core.profiles.profile import profile_batch, reference_profile

COUNT = 1000
TABLE = pa.table(
    {
        "size": pa.array(np.linspace(0.0, 10.0, COUNT)),
        "flag": pa.array([0, 1] * (COUNT // 2), pa.int8()),
        "kind": pa.array(["a", "a", "b", None] * (COUNT // 4)),
        "day": pa.array([0] * COUNT, pa.date32()),
        "same": pa.array([1.0] * COUNT),
        "words": pa.array([["x"]] * COUNT),
    }
)
REFERENCE = reference_profile(TABLE)


def of(table, kind, column):
    reference = reference_profile(table)
    (found,) = [one for one in injections(reference, table.column_names) if (one.kind, one.column) == (kind, column)]
    changed = found.apply(table)
    # It is counted as any other rows are.
    assert changed.schema.field(column).type == table.schema.field(column).type
    profile_batch(reference, changed)
    return found, changed


def test_each_column_is_shifted_in_the_ways_that_it_can_be():
    found = [(one.kind, one.column, one.size) for one in injections(REFERENCE, [*TABLE.column_names, "not there"])]
    assert found == [
        ("mean shift", "size", "+1 sd"),
        ("units changed", "size", "times 1.609"),
        ("values missing", "size", "20%"),
        ("mean shift", "flag", "+1 sd"),
        ("units changed", "flag", "times 1.609"),
        ("values missing", "flag", "20%"),
        # Of three in four rows that have one: a null is no category.
        ("category gone", "kind", "a, 67%"),
        ("values missing", "kind", "20%"),
        ("values missing", "day", "20%"),
        # It has no deviation.
        ("values missing", "same", "20%"),
    ]


def test_a_mean_is_shifted_by_a_standard_deviation():
    _, changed = of(TABLE, "mean shift", "size")
    before, after = TABLE["size"].to_numpy(), changed["size"].to_numpy()
    assert np.allclose(after - before, before.std())
    assert changed.drop(["size"]) == TABLE.drop(["size"])


def test_a_flag_is_shifted_too_though_half_a_one_is_none():
    _, changed = of(TABLE, "mean shift", "flag")
    # The deviation is 0.5: about half of the rows are one more.
    assert changed["flag"].to_numpy().mean() == pytest.approx(1.0, abs=0.05)


def test_units_are_changed_by_a_factor():
    _, changed = of(TABLE, "units changed", "size")
    assert changed["size"].to_numpy()[-1] == pytest.approx(16.09344)


def test_a_category_takes_its_rows_with_it():
    _, changed = of(TABLE, "category gone", "kind")
    assert changed["kind"].to_pylist() == ["b", None] * (COUNT // 4)
    assert changed["size"].to_pylist()[:4] == [TABLE["size"][place].as_py() for place in (2, 3, 6, 7)]


def test_values_that_are_lost_are_null_and_the_same_ones_each_time():
    one, changed = of(TABLE, "values missing", "day")
    assert changed["day"].null_count == pytest.approx(MISSING_SHARE * COUNT, rel=0.2)
    assert one.apply(TABLE) == changed
    assert one.apply(TABLE.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.int8(), [0, 127, -128, None], [0, 127, -128, None]),
        (pa.uint8(), [0, 255, 100, None], [0, 255, 161, None]),
        # Of the largest int64 the next float64 below.
        (pa.int64(), [0, 2**63 - 1, 10, None], [0, 2**63 - 1024, 16, None]),
        (
            pa.decimal128(3, 2),
            [Decimal(0), Decimal(9), Decimal(1), None],
            [Decimal("0.00"), Decimal("9.99"), Decimal("1.61"), None],
        ),
        (pa.float32(), [0, float("inf"), 2, None], [0.0, float("inf"), np.float32(2 * 1.609344), None]),
    ],
    ids=str,
)
def test_what_does_not_fit_its_type_is_cut_off_at_the_end(kind, values, expected):
    table = pa.table({"x": pa.array(values, kind)})
    _, changed = of(table, "units changed", "x")
    assert changed["x"].to_pylist() == expected


def test_a_category_that_is_rare_or_the_only_one_is_not_taken_away():
    rare = pa.table({"only": ["x"] * 100, "rare": [f"k{number}" for number in range(100)]})
    kinds = {one.kind for one in injections(reference_profile(rare), rare.column_names)}
    assert kinds == {"values missing"}
