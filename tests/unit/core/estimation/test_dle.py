"""DLE against simulated truth: errors that grow with a feature are foreseen where more of it comes."""

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.errors import ModelBlocked
from tasks.core.estimation import dle
from tasks.core.models.formats import get_format

SPREADS = {"a": 1.0, "b": 3.0}


def simulated(seed: int, share_of_b: float, count: int = 3000):
    """A prediction that is off by a normal deviate, three times as far for 'b' as for 'a'."""
    random = np.random.default_rng(seed)
    kinds = np.where(random.random(count) < share_of_b, "b", "a")
    predicted = random.normal(size=count)
    truth = predicted + random.normal(size=count) * [SPREADS[kind] for kind in kinds]
    return pa.table({"kind": kinds, "x": random.normal(size=count)}), predicted, truth


@pytest.fixture(scope="module")
def fitted():
    table, predicted, truth = simulated(0, 0.5, 6000)
    columns = dle.columns_of(table)
    return columns, dle.fit_losses(columns, table, predicted, truth)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_losses_are_foreseen_whatever_the_mixture(fitted, share):
    columns, models = fitted
    table, predicted, truth = simulated(1, share)

    found = dle.expected(models, columns, table, predicted)

    # Of a normal deviate E|e| is sigma times the root of 2/pi.
    sigmas = np.array([SPREADS["a"], SPREADS["b"]])
    assert found["mae"] == pytest.approx(np.sqrt(2 / np.pi) * sigmas @ [1 - share, share], rel=0.06)
    assert found["rmse"] == pytest.approx(np.sqrt(sigmas**2 @ [1 - share, share]), rel=0.06)
    assert dle.realised(predicted, truth) == pytest.approx(found, rel=0.08)


def test_the_same_rows_make_the_same_file_and_it_comes_back_through_the_allow_list(fitted):
    columns, models = fitted
    table, predicted, truth = simulated(0, 0.5, 6000)
    again = dle.dump(dle.fit_losses(columns, table, predicted, truth))

    assert again == dle.dump(models)
    back = dle.load(again)
    assert dle.expected(back, columns, table, predicted) == dle.expected(models, columns, table, predicted)


def test_a_file_with_names_of_its_own_is_not_loaded():
    with pytest.raises(ModelBlocked):
        dle.load(get_format("joblib").dump({"absolute": eval}))


def test_columns_of_every_kind_are_taken_and_what_was_not_known_is_missing():
    table = pa.table(
        {
            "text": ["b", "a", "b", None],
            "flag": [True, False, None, True],
            "count": [1, 2, None, 4],
            "price": pa.array([decimal.Decimal("1.5"), None, None, None], pa.decimal128(5, 2)),
            "day": [dt.date(1970, 1, 2), None, None, None],
            "at": pa.array([1, None, None, None], pa.timestamp("us", tz="UTC")),
        }
    )
    columns = dle.columns_of(table)
    other = pa.table({"text": ["a", "never", None]}).append_column("x", pa.array([1.0, 2.0, 3.0]))

    assert columns[0].categories == ("b", "a")
    assert [one.categories for one in columns[1:]] == [None] * 5
    np.testing.assert_array_equal(dle._matrix(columns, table, np.zeros(4))[0], [0, 1, 1, 1.5, 86_400_000_000, 1, 0])
    np.testing.assert_array_equal(dle._matrix(columns[:1], other, np.zeros(3))[:, 0], [1, np.nan, np.nan])
