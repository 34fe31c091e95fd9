"""Figures of joined rows: slices of any column, the largest first, and an interval only of enough rows."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.models.gate import comparison, metrics
from tasks.core.performance.figures import figures_of, largest
from tasks.core.performance.joining import Joined, Sliced
from tasks.core.performance.target import Held
from tasks.core.runs.manifest import Interval


def joined(rows, labelled, **slices):
    is_labelled = np.arange(rows) < labelled
    return Joined(
        predicted=pa.chunked_array([np.zeros(rows)]),
        labels=pa.chunked_array([np.zeros(labelled)]),
        places=np.where(is_labelled, np.arange(rows), -1),
        is_labelled=is_labelled,
        without=np.zeros(rows, dtype=bool),
        unmatched=0,
        slices=slices,
    )


def numbers(count):
    return Held(np.arange(count) % 2 + 0.5, np.zeros(count), metrics.OF_NUMBERS, in_one_unit=True)


def by(figures, metric):
    return {(one.slice, one.value): one for one in figures if one.metric == metric}


def test_no_label_yet():
    found = list(figures_of(joined(3, 0), numbers(0), {}))
    assert {one.metric: one.found.value for one in found} == {
        "rows": 3,
        "labelled": 0,
        "without_label": 0,
        "awaited": 3,
    }


def test_an_interval_is_of_a_hundred_rows_or_more():
    site = Sliced(["x", "y"], np.where(np.arange(150) < 120, 0, 1).astype(np.int32))
    found = by(figures_of(joined(150, 150, site=site), numbers(150), {"mae": Interval(value=0.2)}), "mae")

    assert {key: (one.found.value, one.labelled) for key, one in found.items()} == {
        ("", ""): (1.0, 150),
        ("site", "x"): (1.0, 120),
        ("site", "y"): (1.0, 30),
    }
    assert found["", ""].found.low < 1 < found["", ""].found.high
    assert found["site", "x"].found.low < 1 < found["site", "x"].found.high
    assert found["site", "y"].found.low is None
    # What a version was worth at registration is known of all rows.
    assert (found["", ""].benchmark.value, found["site", "x"].benchmark) == (0.2, None)


def test_of_very_many_values_the_largest(monkeypatch):
    monkeypatch.setattr("tasks.core.performance.figures.MOST_SLICES", 2)
    site = Sliced(["x", "y", "z"], np.array([0, 1, 1, 2, 2, 2], np.int32))
    assert largest(site) == [2, 1]
    assert set(by(figures_of(joined(6, 6, site=site), numbers(6), {}), "mae")) == {
        ("", ""),
        ("site", "z"),
        ("site", "y"),
    }


def test_the_calibration_error_has_no_interval():
    """Of rows drawn again it is larger: their percentiles need not even hold the figure."""
    count = comparison.FEWEST_ROWS
    held = Held(
        np.arange(count) % 2, np.full(count, 0.25), metrics.OF_PROBABILITIES, is_probability=True, in_one_unit=True
    )
    found = by(figures_of(joined(count, count), held, {}), "calibration_error")["", ""].found
    assert (found.value, found.low) == (pytest.approx(0.25), None)


def test_of_very_many_rows_the_interval_is_drawn_from_some_and_is_as_narrow(monkeypatch):
    """A tenth of the rows, scaled: within a few percent of what all of them give; the figure itself is of all rows."""
    count = 20_000
    truth = np.random.default_rng(3).random(count)
    held = Held(truth, np.zeros(count), {"mae": metrics.OF_NUMBERS["mae"]})
    widths = []
    for most in (count, count // 10):
        monkeypatch.setattr("tasks.core.performance.figures._MOST_DRAWN", most)
        found = by(figures_of(joined(count, count), held, {}), "mae")["", ""].found
        assert found.value == pytest.approx(truth.mean(), rel=1e-12)
        widths.append(found.high - found.low)
    # The spread of a uniform number is 1 / sqrt(12); an interval of 95 % is 2 x 1.96 of its standard errors wide.
    assert widths == pytest.approx([2 * 1.96 / np.sqrt(12 * count)] * 2, rel=0.15)
