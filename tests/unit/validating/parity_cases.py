"""The data and the expectations that are validated both ways: by stock Great Expectations, and by us in batches."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa

ROWS = 240


def table() -> pa.Table:
    rng = np.random.default_rng(20130701)

    def some_null(values, share=0.15):
        return [None if rng.random() < share else value for value in values]

    whole = rng.integers(-50, 50, ROWS).tolist()
    start = dt.datetime(2013, 7, 1)
    hours = [start + dt.timedelta(hours=int(h), microseconds=int(h)) for h in rng.integers(0, 400, ROWS)]
    days = [dt.date(2013, 7, 1) + dt.timedelta(days=int(d)) for d in rng.integers(0, 60, ROWS)]
    words = [["ÅÖ", "N1", "N22", "n3", "", "a b", "N999", "N4"][k] for k in rng.integers(0, 8, ROWS)]
    texts = [
        ['{"a": 1}', '{"a": "x"}', "[1, 2]", "{", "2013-07-01", "7 July 2013", "nope"][k]
        for k in rng.integers(0, 7, ROWS)
    ]
    floats = np.round(rng.normal(10, 30, ROWS), 3).tolist()
    floats[3], floats[7], floats[9] = float("nan"), float("inf"), -0.0
    return pa.table(
        {
            "i": pa.array(whole, pa.int64()),
            "i_null": pa.array(some_null(whole), pa.int64()),
            "i32": pa.array(some_null(rng.integers(0, 30, ROWS).tolist()), pa.int32()),
            "u8": pa.array(rng.integers(0, 255, ROWS).tolist(), pa.uint8()),
            "big": pa.array(some_null((2**53 + rng.integers(0, 20, ROWS)).tolist()), pa.int64()),
            "f": pa.array(some_null(floats), pa.float64()),
            "f_finite": pa.array(some_null(np.round(rng.normal(0, 1, ROWS), 2).tolist()), pa.float64()),
            "f32": pa.array(some_null(rng.normal(0, 1, ROWS).tolist()), pa.float32()),
            "s": pa.array(some_null(words), pa.string()),
            "s2": pa.array(some_null(words[::-1]), pa.string()),
            "text": pa.array(some_null(texts), pa.string()),
            "json": pa.array(some_null(['{"a": 1}', '{"a": "x"}', "[1]"] * (ROWS // 3)), pa.string()),
            "b": pa.array((rng.random(ROWS) < 0.5).tolist(), pa.bool_()),
            "b_null": pa.array(some_null((rng.random(ROWS) < 0.5).tolist()), pa.bool_()),
            "t": pa.array(some_null([hour.replace(tzinfo=dt.UTC) for hour in hours]), pa.timestamp("us", "UTC")),
            "t_naive": pa.array(some_null(hours), pa.timestamp("us")),
            "d": pa.array(some_null(days), pa.date32()),
            "money": pa.array(some_null([Decimal(int(v)) / 4 for v in whole]), pa.decimal128(10, 2)),
            "rising": pa.array(some_null(sorted(whole)), pa.int64()),
            "empty": pa.array([None] * ROWS, pa.float64()),
            "empty_s": pa.array([None] * ROWS, pa.string()),
            "one": pa.array([5] * ROWS, pa.int64()),
            "id": pa.array(range(ROWS), pa.int64()),
        }
    )


def expectations() -> list[dict]:  # noqa: C901, PLR0912, PLR0915 - a list, written out
    cases = []

    def add(kind, **kwargs):
        cases.append({"type": f"expect_{kind}", "kwargs": kwargs})

    for column in ("i", "i_null", "i32", "u8", "f", "f32", "empty", "one"):
        add("column_values_to_be_between", column=column, min_value=-10, max_value=20.5)
    add(
        "column_values_to_be_between",
        column="f",
        min_value=0,
        max_value=30,
        strict_min=True,
        strict_max=True,
        mostly=0.3,
    )
    add("column_values_to_be_between", column="i_null", min_value=0, strict_min=True)
    add("column_values_to_be_between", column="i_null", max_value=0, strict_max=True, mostly=0.9)
    add("column_values_to_be_between", column="big", min_value=2**53 + 4)
    add(
        "column_values_to_be_between",
        column="t",
        min_value="2013-07-03T00:00:00+00:00",
        max_value="2013-07-09T12:00:00+00:00",
    )
    add("column_values_to_be_between", column="t_naive", min_value="2013-07-03T00:00:00", strict_min=True)
    add("column_values_to_be_between", column="d", min_value="2013-07-03", max_value="2013-08-09", strict_max=True)
    add("column_values_to_be_between", column="money", min_value=0, max_value=5)
    add(
        "column_values_to_be_between",
        column="i",
        min_value=0,
        row_condition="i_null > 5 and s == 'N1'",
        condition_parser="pandas",
    )
    add(
        "column_values_to_be_between",
        column="i_null",
        min_value=0,
        row_condition='col("s").notNull()',
        condition_parser="great_expectations",
    )
    add("column_values_to_be_between", column="f", min_value=0, row_condition="i > 1000", condition_parser="pandas")
    for column in ("i", "i_null", "f", "s", "b", "b_null", "t", "d", "empty", "money"):
        add("column_values_to_not_be_null", column=column)
        add("column_values_to_be_null", column=column, mostly=0.2)
        add("column_proportion_of_non_null_values_to_be_between", column=column, min_value=0.9)
    add("column_values_to_not_be_null", column="s", mostly=0.8, row_condition="b", condition_parser="pandas")
    add("column_values_to_be_in_set", column="s", value_set=["N1", "N22", ""])
    add("column_values_to_be_in_set", column="i_null", value_set=list(range(50)), mostly=0.4)
    add("column_values_to_be_in_set", column="f_finite", value_set=[0.5, 1, 1.5])
    add("column_values_to_be_in_set", column="b", value_set=[True])
    add("column_values_to_be_in_set", column="b_null", value_set=[True])
    add("column_values_to_be_in_set", column="big", value_set=[2**53 + 1, 2**53 + 3])
    add("column_values_to_be_in_set", column="empty_s", value_set=["x"])
    add("column_values_to_not_be_in_set", column="s", value_set=["N1", "N22", ""])
    add("column_values_to_not_be_in_set", column="i_null", value_set=[1, 2, 3])
    for column in ("s", "empty_s", "i"):
        add("column_values_to_match_regex", column=column, regex=r"^N?\d+$")
        add("column_values_to_not_match_regex", column=column, regex="^N[0-9]", mostly=0.6)
        add("column_values_to_match_regex_list", column=column, regex_list=["^N", "2$"], match_on="all")
        add("column_values_to_match_regex_list", column=column, regex_list=["^N", "2$"])
        add("column_values_to_not_match_regex_list", column=column, regex_list=["^N", "^a"])
        add("column_value_lengths_to_be_between", column=column, min_value=1, max_value=2)
        add("column_value_lengths_to_equal", column=column, value=2)
    add("column_values_to_match_strftime_format", column="text", strftime_format="%Y-%m-%d")
    add("column_values_to_be_dateutil_parseable", column="text")
    add("column_values_to_be_json_parseable", column="text")
    add(
        "column_values_to_match_json_schema",
        column="json",
        json_schema={"type": "object", "properties": {"a": {"type": "integer"}}},
    )
    for ignore in ("both_values_are_missing", "either_value_is_missing", "neither"):
        add("column_pair_values_to_be_equal", column_A="i", column_B="i_null", ignore_row_if=ignore)
        add("column_pair_values_to_be_equal", column_A="s", column_B="s2", ignore_row_if=ignore, mostly=0.1)
        add("column_pair_values_a_to_be_greater_than_b", column_A="i_null", column_B="i32", ignore_row_if=ignore)
        add(
            "column_pair_values_a_to_be_greater_than_b",
            column_A="f",
            column_B="f_finite",
            or_equal=True,
            ignore_row_if=ignore,
        )
        add(
            "column_pair_values_to_be_in_set",
            column_A="i32",
            column_B="u8",
            value_pairs_set=[[1, 2], [3, 40]],
            ignore_row_if=ignore,
        )
    add(
        "column_pair_values_to_be_in_set",
        column_A="s",
        column_B="s2",
        value_pairs_set=[["N1", "N1"], ["N1", "N22"], ["", ""]],
    )
    add(
        "column_pair_values_a_to_be_greater_than_b",
        column_A="t",
        column_B="t",
        or_equal=True,
        ignore_row_if="either_value_is_missing",
    )
    add(
        "column_pair_values_a_to_be_greater_than_b",
        column_A="i",
        column_B="u8",
        row_condition="i > 0",
        condition_parser="pandas",
    )
    for ignore in ("all_values_are_missing", "any_value_is_missing", "never"):
        add(
            "multicolumn_sum_to_equal",
            column_list=["i", "i_null", "u8"],
            sum_total=100,
            ignore_row_if=ignore,
            mostly=0.01,
        )
        add("multicolumn_values_to_be_equal", column_list=["i", "i_null", "rising"], ignore_row_if=ignore)
        add(
            "select_column_values_to_be_unique_within_record", column_list=["i32", "u8", "i_null"], ignore_row_if=ignore
        )
        add("compound_columns_to_be_unique", column_list=["i_null", "b"], ignore_row_if=ignore)
        add("compound_columns_to_be_unique", column_list=["s", "i32"], ignore_row_if=ignore, mostly=0.5)
    add("compound_columns_to_be_unique", column_list=["id", "s"])
    for column in ("i", "i_null", "f_finite", "s", "b_null", "t", "d", "big", "id", "empty"):
        add("column_values_to_be_unique", column=column, mostly=0.5)
        add("column_unique_value_count_to_be_between", column=column, min_value=3, max_value=50)
        add("column_proportion_of_unique_values_to_be_between", column=column, min_value=0.3, max_value=1)
    for column in ("i", "i_null", "f_finite", "t", "t_naive", "d", "empty", "money"):
        add("column_max_to_be_between", column=column, **_bound(column, "max_value"))
        add("column_min_to_be_between", column=column, **_bound(column, "min_value"))
    for column in ("i", "i_null", "i32", "u8", "f_finite", "f32", "empty", "b", "money"):
        add("column_mean_to_be_between", column=column, min_value=0, max_value=10)
        add("column_sum_to_be_between", column=column, max_value=1000)
        if column != "b":
            add("column_stdev_to_be_between", column=column, min_value=1, max_value=10)
            add("column_median_to_be_between", column=column, min_value=0, max_value=10)
            add(
                "column_quantile_values_to_be_between",
                column=column,
                quantile_ranges={
                    "quantiles": [0, 0.05, 0.5, 0.9, 1],
                    "value_ranges": [[None, 5], [-99, 0], [0, 5], [1, 90], [2, None]],
                },
            )
        if column not in ("b", "money"):
            add("column_value_z_scores_to_be_less_than", column=column, threshold=1.5, double_sided=True, mostly=0.9)
        if column not in ("b", "money"):
            add("column_value_z_scores_to_be_less_than", column=column, threshold=1, double_sided=False)
            add("column_values_to_not_be_outliers", column=column, method="iqr", multiplier=0.5)
            add("column_values_to_not_be_outliers", column=column, method="std", multiplier=1.5)
            add("column_values_to_be_increasing", column=column)
            add("column_values_to_be_decreasing", column=column, strictly=True)
    add("column_values_to_be_increasing", column="rising")
    add("column_values_to_be_increasing", column="rising", strictly=True, mostly=0.3)
    add("column_values_to_be_increasing", column="t")
    for column, values in (
        ("s", ["N1", "N22", "zzz"]),
        ("i32", list(range(10))),
        ("b", [True, False]),
        ("empty_s", ["x"]),
    ):
        add("column_distinct_values_to_be_in_set", column=column, value_set=values)
        add("column_distinct_values_to_contain_set", column=column, value_set=values)
        add("column_distinct_values_to_equal_set", column=column, value_set=values)
        add("column_most_common_value_to_be_in_set", column=column, value_set=values)
        add("column_most_common_value_to_be_in_set", column=column, value_set=values, ties_okay=True)
    add(
        "column_distinct_values_to_be_in_set",
        column="i_null",
        value_set=[1, 2],
        row_condition="b",
        condition_parser="pandas",
    )
    for column, partition in (
        ("s", {"values": ["N1", "N22", ""], "weights": [0.5, 0.3, 0.2]}),
        ("b", {"values": [False, True], "weights": [0.5, 0.5]}),
        ("f_finite", {"bins": [-5, -1, 0, 1, 5], "weights": [0.2, 0.3, 0.3, 0.2]}),
        ("i_null", {"bins": [-20, -1, 0, 1, 10], "weights": [0.2, 0.3, 0.3, 0.2]}),
    ):
        add("column_kl_divergence_to_be_less_than", column=column, partition_object=partition, threshold=0.5)
        if "bins" in partition:
            holdout = {"tail_weight_holdout": 0.01, "internal_weight_holdout": 0.01}
            add(
                "column_kl_divergence_to_be_less_than",
                column=column,
                partition_object=partition,
                threshold=0.5,
                **holdout,
            )
    for column, kind in (("i", "int64"), ("s", "str"), ("t", "datetime64[us, UTC]"), ("d", "object"), ("f", "int64")):
        add("column_type_to_be", column=column, type_=kind)
    for column in ("i", "u8", "f", "b"):
        for kind in ("int64", "int", "float64", "bool"):
            add("column_values_to_be_of_type", column=column, type_=kind)
        add("column_values_to_be_in_type_list", column=column, type_list=["int64", "bool"])
    add("table_row_count_to_be_between", min_value=1, max_value=100)
    add("table_row_count_to_equal", value=ROWS)
    add("table_column_count_to_equal", value=3)
    add("table_column_count_to_be_between", min_value=3)
    add("table_columns_to_match_set", column_set=["i", "s", "zzz"], exact_match=False)
    add("table_columns_to_match_set", column_set=["i", "s"], exact_match=True)
    add("table_columns_to_match_ordered_list", column_list=["i", "i_null", "s"])
    add("column_to_exist", column="i", column_index=0)
    add("column_to_exist", column="s")
    return cases


def _bound(column: str, name: str) -> dict:
    bounds = {
        "t": "2013-07-09T12:00:00+00:00",
        "t_naive": "2013-07-09T12:00:00",
        "d": "2013-07-09",
    }
    return {name: bounds.get(column, 5)}
