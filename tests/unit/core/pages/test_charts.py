"""The geometry of the charts, against values worked out by hand."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.pages import charts
from tasks.core.pages.charts import Box, Scale, Tick

SHARES = st.floats(min_value=0, max_value=1, allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, (0, 0.25, 0.5, 0.75, 1)),
        (0, 0.137, (0, 0.05, 0.1, 0.15)),
        (0, 1014, (0, 500, 1000, 1500)),
        (0.21, 0.33, (0.2, 0.25, 0.3, 0.35)),
        (-3, 3, (-4, -2, 0, 2, 4)),
        (0, 0, (0, 0.25, 0.5, 0.75, 1)),
        (6, 6, (2, 4, 6, 8, 10)),
        (0, 5e-324, (0, 0.25, 0.5, 0.75, 1)),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low, high, expected):
    assert charts.nice_ticks(low, high) == pytest.approx(expected)


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_ticks_are_few_and_enclose_any_range(one, other):
    low, high = sorted((one, other))
    ticks = charts.nice_ticks(low, high)
    slack = 1e-6 * max(high - low, 1e-3 * max(abs(low), abs(high))) + 1e-299
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    assert list(ticks) == sorted(set(ticks))


def test_a_scale_is_a_straight_line_between_its_ends():
    scale = Scale(10, 20, 0, 100)
    assert [scale(10), scale(12.5), scale(20)] == [0, 25, 100]
    assert Scale(3, 3, 7, 9)(3) == 7


def test_groups_are_neighbours_of_one_size():
    assert charts.groups(5, 10) == [slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    assert charts.groups(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert charts.groups(0, 3) == []


@given(st.integers(0, 20_000), st.integers(1, 200))
def test_groups_leave_nothing_out(length, at_most):
    parts = charts.groups(length, at_most)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(length))
    assert len(parts) <= at_most


def test_a_line_is_lifted_where_a_value_is_not_known():
    assert charts.line_path([(0, 1), (2, 3), None, (4, 5.25), (6, 7)]) == "M0 1L2 3M4 5.2L6 7"
    assert charts.line_path([]) == ""


def test_bars_without_height_are_not_drawn():
    assert charts.bars_path([Box(1, 2, 3, 4), Box(9, 9, 9, 0)]) == "M1 2h3v4h-3z"


def test_labels_that_would_touch_are_left_out():
    ticks = [Tick(at, "12345") for at in (0, 20, 40, 60, 80)]
    # Five characters with their blanks take 36.6 units: every second is too close at 20, and fits at 40.
    assert [tick.at for tick in charts.thin_labels(ticks)] == [0, 40, 80]
    assert charts.thin_labels([]) == ()


def test_a_bar_is_as_high_as_its_share_of_the_axis():
    drawn = charts.histogram(["a", "b"], [0.5, 1.0], [0.25, 0.75], [(1, "10")])
    frame = drawn.axes.frame
    whole, (first, second) = frame.bottom - frame.top, heights(drawn.bars)
    assert first == pytest.approx(whole / 2, abs=0.1)
    assert second == pytest.approx(whole, abs=0.1)
    assert [tick.label for tick in drawn.axes.y_ticks] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert {round(slot.width, 6) for slot in drawn.slots} == {round(frame.width / 2, 6)}


def test_the_outline_steps_from_slot_to_slot_and_ends_on_the_axis():
    drawn = charts.histogram(["a", "b"], [0.5, 1.0], [0.25, 0.75], [])
    # 130 units high: a quarter is 32.5 above the bottom at 148, three quarters 97.5; the slots are 145 wide.
    assert drawn.outline == "M42 148V115.5H187V50.5H332V148"


def test_missing_values_stand_apart_from_the_bins():
    drawn = charts.histogram(["a", "b", "missing"], [0.5, 0.4], [0.5, 0.5], [], missing=(0.1, 0.0))
    a, b, missing = drawn.slots
    assert b.x == pytest.approx(a.x + a.width)
    assert missing.x == pytest.approx(b.x + 1.5 * b.width)
    assert drawn.outline.count("M") == 2


def test_without_a_reference_nothing_is_outlined():
    assert charts.histogram(["a"], [1.0], None, []).outline == ""
    assert charts.row_chart(["a"], ["a"], [1.0], None).rows[0].reference_at is None


@given(st.lists(SHARES, min_size=1, max_size=60), st.booleans())
def test_a_histogram_stays_inside_its_frame(shares, with_missing):
    missing = (0.5, 0.25) if with_missing else None
    titles = ["bin"] * (len(shares) + with_missing)
    drawn = charts.histogram(titles, shares, shares[::-1], [(i, str(i)) for i in range(len(shares))], missing)
    frame = drawn.axes.frame
    for x, y in corners(drawn.outline):
        assert frame.left - 0.1 <= x <= frame.right + 0.1
        assert frame.top - 0.1 <= y <= frame.bottom + 0.1
    assert all(0 <= height <= frame.bottom - frame.top + 0.1 for height in heights(drawn.bars))


def test_a_trend_marks_a_value_that_stands_alone():
    values = [1.0, None, *[2.0] * 70]
    drawn = charts.trend(["w"] * 72, values, ["t"] * 72)
    assert len(drawn.dots) == 1
    assert drawn.line.count("M") == 2


def test_a_trend_need_not_begin_at_zero():
    ticks = charts.trend(["a", "b"], [0.21, 0.33], ["a", "b"], from_zero=False).axes.y_ticks
    assert [tick.label for tick in ticks] == ["0.2", "0.25", "0.3", "0.35"]


def test_the_last_window_is_always_labelled():
    labels = [f"2013-07-{day:02d}" for day in range(1, 31)]
    assert charts.trend(labels, [1.0] * 30, labels).axes.x_ticks[-1].label == "2013-07-30"


def test_a_limit_at_the_top_has_its_label_below():
    drawn = charts.trend(["a"], [0.001], ["a"], limit=0.02)
    assert drawn.limit_label_at > drawn.limit_at
    drawn = charts.trend(["a"], [0.1], ["a"], limit=0.02)
    assert drawn.limit_label_at < drawn.limit_at


def test_parts_of_a_stack_stand_on_each_other():
    drawn = charts.stack(["w"], [[60.0], [40.0]], ["w"])
    frame = drawn.axes.frame
    lower, upper = (heights(part)[0] for part in drawn.parts)
    assert lower + upper == pytest.approx(frame.bottom - frame.top, abs=0.1)
    assert lower / upper == pytest.approx(1.5, abs=0.01)
    assert corners(drawn.parts[1])[0][1] == pytest.approx(frame.top, abs=0.1)


@pytest.mark.parametrize("draw", [charts.trend, lambda a, b, c: charts.stack(a, [b], c)])
def test_no_window_at_all_can_be_drawn(draw):
    assert draw([], [], []).slots == ()


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [((0, 0.25, 0.5), ["0 %", "25 %", "50 %"]), ((0, 0.005, 0.01), ["0.0 %", "0.5 %", "1.0 %"])],
)
def test_shares_on_an_axis_have_the_decimals_that_tell_them_apart(ticks, labels):
    assert [charts.share_tick(tick, ticks) for tick in ticks] == labels


def test_what_is_not_finite_is_not_drawn():
    assert [charts.finite(v) for v in (1.5, None, math.nan, math.inf, 1e308)] == [1.5, None, None, None, None]


def heights(path):
    return [float(v) for v in re.findall(r"v([\d.]+)h", path)]


def corners(path):
    """The points of a path of M, V, H and L in the order of drawing; rectangles by their first corner."""
    x = y = 0.0
    points = []
    for letter, numbers in re.findall(r"([MVHL])([-\d. ]+)", path):
        values = [float(number) for number in numbers.split()]
        x = values[0] if letter in "MLH" else x
        y = values[-1] if letter in "MLV" else y
        points.append((x, y))
    return points
