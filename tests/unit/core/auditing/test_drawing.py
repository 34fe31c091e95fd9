"""Which batches are drawn: in proportion to rows, never one twice, the same again from the same seed."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.auditing.drawing import Urn, draw, seed_of


def urn(as_of, *batches):
    return Urn(as_of, sum(batches), tuple(batches))


def test_a_window_is_drawn_in_proportion_to_its_rows():
    urns = [urn("a", 100), urn("b", 300), urn("c", 600)]
    counted = Counter(draw(urns, 1, 1, seed)[0][0] for seed in range(4000))
    # Of 4,000 draws the standard deviation is at most 31.
    assert {name: counted[name] / 4000 for name in "abc"} == pytest.approx({"a": 0.1, "b": 0.3, "c": 0.6}, abs=0.035)


def test_each_batch_of_a_window_is_as_likely_as_the_others():
    counted = Counter(draw([urn("a", 10, 10, 10, 10)], 1, 1, seed)[0][1] for seed in range(4000))
    assert [counted[batch] / 4000 for batch in range(4)] == pytest.approx([0.25] * 4, abs=0.035)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.lists(st.integers(0, 50), max_size=4), max_size=8),
    st.integers(1, 200),
    st.integers(1, 8),
    st.integers(0, 1000),
    st.booleans(),
)
def test_no_batch_twice_no_window_too_many_and_rows_enough(batches, rows, most, seed, each):
    urns = [urn(f"w{place}", *one) for place, one in enumerate(batches)]
    drawn = draw(urns, rows, most, seed, each=each)
    assert len(set(drawn)) == len(drawn)
    assert drawn == draw(urns, rows, most, seed, each=each)
    by_name = {one.as_of: one for one in urns}
    with_rows = {one.as_of for one in urns if one.rows}
    names = {as_of for as_of, _ in drawn}
    assert names <= with_rows
    if each:
        assert names == with_rows
    else:
        assert len(names) <= most
        held = sum(by_name[as_of].batches[batch] for as_of, batch in drawn)
        everything = {(as_of, batch) for as_of in names for batch in range(len(by_name[as_of].batches))}
        assert held >= rows or (set(drawn) == everything and len(names) == min(most, len(with_rows)))


def test_the_seed_is_of_the_job_and_the_day():
    assert seed_of("late", "2013-07-01") == seed_of("late", "2013-07-01")
    assert len({seed_of(job, day) for job in ("late", "early") for day in ("2013-07-01", "2013-07-02")}) == 4
    # A record names it: nobody's draws of last week may change with a new version.
    assert draw([urn("a", 5, 5, 5), urn("b", 5, 5, 5)], 20, 9, 7) == [("a", 0), ("b", 0), ("b", 1), ("a", 2)]
