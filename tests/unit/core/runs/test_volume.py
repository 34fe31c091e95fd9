"""Rows of a window against the median of those before."""

import pytest
from pydantic import ValidationError

from tasks.core.definitions.output import Volume
from tasks.core.runs.manifest import RowCounts
from tasks.core.runs.volume import judge


class Published:
    """What the rule looks at of a manifest."""

    def __init__(self, scored):
        self.rows = RowCounts(scored=scored)


def consequence(scored, earlier, **rule):
    found = judge(Volume(**rule), scored, map(Published, earlier))
    return found and found.consequence


def test_bounds_are_multiples_of_the_median_and_belong_to_the_range():
    earlier = [100, 1000, 120, 80, 110]  # Sorted: 80, 100, 110, 120, 1000.
    assert [consequence(rows, earlier) for rows in (54, 55, 220, 221)] == ["warns", "passed", "passed", "warns"]
    assert consequence(0, earlier, severity="critical") == "blocks"


def test_only_the_latest_windows_count():
    assert consequence(10, [10, 10, 10, 999, 999, 999, 999], windows=3) == "passed"
    assert consequence(10, [10, 10, 10, 999, 999, 999, 999], windows=7) == "warns"


def test_two_windows_are_too_few_to_judge_by():
    assert consequence(10, [1000, 1000]) is None
    assert consequence(10, [1000, 1000, 1000]) == "warns"


def test_windows_that_were_always_empty_expect_none():
    assert [consequence(rows, [0, 0, 0]) for rows in (0, 1)] == ["passed", "warns"]


def test_the_sentence_says_what_was_found_and_what_was_expected():
    found = judge(Volume(), 2500, map(Published, [1000, 1001, 1002, 1003]))
    assert found.sentence == (
        "2,500 rows were scored, and 500.75 to 2,003 are expected: the median of the 4 windows before is 1,001.5"
    )


@pytest.mark.parametrize("of_median", [(2, 0.5), (1, 1), (-1, 2), (float("nan"), 2)])
def test_a_range_that_is_none_is_refused(of_median):
    with pytest.raises(ValidationError):
        Volume(of_median=of_median)
