"""What a sample suggests: ranges that one wild value does not move, and which rows are sent away."""

import numpy as np
import pyarrow as pa

from tasks.shards.validating.suggest import suggest_suite


def suggested(**columns):
    """By type and column, the expectations for a sample with these columns beside its key."""
    rows = len(next(iter(columns.values())))
    sample = pa.table({"id": [f"k{n}" for n in range(rows)], **columns})
    suite = suggest_suite(sample, name="s", keys=["id"], event_time=None, window_rows=rows, origin="a window")
    return {
        (one["type"].removeprefix("expect_column_values_to_"), one["kwargs"].get("column")): one
        for one in suite["expectations"]
    }


def leaves(expectation):
    return expectation["meta"].get("on_failure") == "quarantine"


def test_a_range_reaches_three_times_beyond_the_outer_quantiles():
    # 0 to 100: the quantiles are 1, 50 and 99; 1 - 3 * 49 = -146 and 99 + 3 * 49 = 246, in steps of ten.
    found = suggested(x=[float(n) - 200 for n in range(101)])["be_between", "x"]
    assert (found["kwargs"]["min_value"], found["kwargs"]["max_value"]) == (-350, 0)
    found = suggested(x=list(range(101)))["be_between", "x"]
    assert (found["kwargs"]["min_value"], found["kwargs"]["max_value"]) == (0, 250)
    assert isinstance(found["kwargs"]["max_value"], int)
    assert found["kwargs"]["mostly"] == 0.99


def test_one_wild_value_moves_no_bound_and_no_range_sends_rows_away():
    found = suggested(x=[*range(101)] * 4 + [1048])["be_between", "x"]
    assert found["kwargs"]["max_value"] == 250
    assert found["kwargs"]["mostly"] == 0.98  # 404 of 405 are 99.75 %: rounded down, less one.
    # The range of a window in July is not that of one in February.
    assert (leaves(found), found["severity"]) == (False, "warning")


def test_values_without_a_spread_suggest_no_range():
    for values in ([7] * 50, [0.0] * 500 + [1.0], [float("nan")] * 50):
        assert ("be_between", "x") not in suggested(x=values)


def test_infinity_and_nan_do_not_reach_the_bounds():
    values = [float(n) for n in range(101)] * 5 + [float("inf"), float("nan")]
    found = suggested(x=values)
    assert np.isfinite(found["be_between", "x"]["kwargs"]["max_value"])
    assert "1 of 507" in found["not_be_null", "x"]["description"]


def test_a_category_that_was_seen_but_once_says_that_there_may_be_others():
    frequent = suggested(c=["a"] * 50 + ["b"] * 5)["be_in_set", "c"]
    assert (frequent["kwargs"]["value_set"], leaves(frequent)) == (["a", "b"], True)
    rare = suggested(c=["a"] * 50 + ["b"])["be_in_set", "c"]
    assert (leaves(rare), rare["severity"], rare["kwargs"]["mostly"]) == (False, "warning", 0.99)


def test_names_and_many_values_are_no_categories():
    assert ("be_in_set", "c") not in suggested(c=[f"n{n}" for n in range(40)])
    assert ("be_in_set", "c") not in suggested(c=[f"n{n % 51}" for n in range(1000)])
    assert ("be_in_set", "c") in suggested(c=[f"n{n % 50}" for n in range(1000)])


def test_the_share_that_is_there_is_rounded_down():
    found = suggested(x=[1.0, 2.0] * 485 + [None] * 30)["not_be_null", "x"]
    assert found["kwargs"]["mostly"] == 0.96  # 97 % are there.
    assert suggested(x=[1.0, 2.0] * 50)["not_be_null", "x"]["kwargs"]["mostly"] == 0.99
    assert ("not_be_null", "x") not in suggested(x=pa.nulls(50, pa.float64()))
