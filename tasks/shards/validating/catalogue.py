"""Which expectation types are supported, and how each is measured.

rows    row by row: a batch gives the mask of its failing rows
sums    an aggregate whose parts add up over batches
schema  of the columns alone: no row is read
whole   one answer for the whole table: only its own columns are read, in a second pass
"""

from __future__ import annotations

from typing import Literal

Route = Literal["rows", "sums", "schema", "whole"]

ROWS = frozenset(
    {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_be_null",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
        "expect_multicolumn_sum_to_equal",
        "expect_multicolumn_values_to_be_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
)
# Rows pass or fail by what other rows hold.
ROWS_OF_WHOLE = frozenset(
    {
        "expect_column_value_z_scores_to_be_less_than",
        "expect_column_values_to_be_decreasing",
        "expect_column_values_to_be_increasing",
        "expect_column_values_to_be_unique",
        "expect_column_values_to_not_be_outliers",
        "expect_compound_columns_to_be_unique",
    }
)
SUMS = frozenset(
    {
        "expect_column_kl_divergence_to_be_less_than",
        "expect_column_max_to_be_between",
        "expect_column_mean_to_be_between",
        "expect_column_min_to_be_between",
        "expect_column_proportion_of_non_null_values_to_be_between",
        "expect_column_stdev_to_be_between",
        "expect_column_sum_to_be_between",
        "expect_table_row_count_to_be_between",
        "expect_table_row_count_to_equal",
    }
)
SCHEMA = frozenset(
    {
        "expect_column_to_exist",
        "expect_column_type_to_be",
        "expect_column_values_to_be_in_type_list",
        "expect_column_values_to_be_of_type",
        "expect_table_column_count_to_be_between",
        "expect_table_column_count_to_equal",
        "expect_table_columns_to_match_ordered_list",
        "expect_table_columns_to_match_set",
    }
)
WHOLE = frozenset(
    {
        "expect_column_distinct_values_to_be_in_set",
        "expect_column_distinct_values_to_contain_set",
        "expect_column_distinct_values_to_equal_set",
        "expect_column_median_to_be_between",
        "expect_column_most_common_value_to_be_in_set",
        "expect_column_proportion_of_unique_values_to_be_between",
        "expect_column_quantile_values_to_be_between",
        "expect_column_unique_value_count_to_be_between",
    }
)

_SQL_ONLY = "Great Expectations evaluates it in SQL only, and rows are validated here before they are in a database"
_NO_PANDAS = "Great Expectations does not implement it for data frames"
REFUSED = {
    "expect_column_values_to_match_like_pattern": f"{_SQL_ONLY}; use expect_column_values_to_match_regex",
    "expect_column_values_to_match_like_pattern_list": f"{_SQL_ONLY}; use expect_column_values_to_match_regex_list",
    "expect_column_values_to_not_match_like_pattern": f"{_SQL_ONLY}; use expect_column_values_to_not_match_regex",
    "expect_column_values_to_not_match_like_pattern_list": (
        f"{_SQL_ONLY}; use expect_column_values_to_not_match_regex_list"
    ),
    "expect_query_results_to_match_comparison": _SQL_ONLY,
    "unexpected_rows_expectation": _SQL_ONLY,
    "expect_table_row_count_to_equal_other_table": "there is one table in a run",
    "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than": _NO_PANDAS,
    "expect_column_chisquare_test_p_value_to_be_greater_than": _NO_PANDAS,
    "expect_column_pair_cramers_phi_value_to_be_less_than": _NO_PANDAS,
    "expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than": _NO_PANDAS,
    "expect_multicolumn_values_to_be_unique": (
        f"{_NO_PANDAS}; use expect_select_column_values_to_be_unique_within_record"
    ),
}

# The text of a value is what these look at; of an instant it would depend on the other values of its batch.
OF_TEXT = frozenset(
    {
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
    }
)
# The value itself must be text.
TEXT_ONLY = frozenset(
    {
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_strftime_format",
    }
)
# GX goes through rows one by one, whatever they hold.
ROW_BY_ROW = TEXT_ONLY | {
    "expect_column_pair_values_to_be_in_set",
    "expect_select_column_values_to_be_unique_within_record",
}
# Whether a value is there is known for every type at once.
OF_NULLS = frozenset({"expect_column_values_to_be_null", "expect_column_values_to_not_be_null"})
NUMBERS_ONLY = frozenset(
    {
        "expect_column_mean_to_be_between",
        "expect_column_stdev_to_be_between",
        "expect_column_sum_to_be_between",
        "expect_column_value_z_scores_to_be_less_than",
        "expect_column_values_to_not_be_outliers",
        "expect_multicolumn_sum_to_equal",
    }
)
BOUNDED = frozenset(
    {
        "expect_column_max_to_be_between",
        "expect_column_median_to_be_between",
        "expect_column_min_to_be_between",
        "expect_column_values_to_be_between",
    }
)
OF_TYPE = frozenset({"expect_column_values_to_be_in_type_list", "expect_column_values_to_be_of_type"})


def route_of(kind: str) -> Route | None:
    """How a type of Great Expectations itself is measured; None where it is not one of them."""
    for route, kinds in _ROUTES.items():
        if kind in kinds:
            return route
    return None


_ROUTES: dict[Route, frozenset[str]] = {
    "rows": ROWS,
    "sums": SUMS,
    "schema": SCHEMA,
    "whole": WHOLE | ROWS_OF_WHOLE,
}
