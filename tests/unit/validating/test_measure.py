"""Batches against a suite: exact rows with their reasons, results that do not depend on the batches, and the gates."""

from __future__ import annotations

import datetime as dt
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.errors import SuiteError
from tasks.core.rows.reasons import REJECTS_SCHEMA, Reason
from tasks.shards.validating import conclude, load_suite, measure_batch, measure_whole

SCHEMA = pa.schema([("wind", pa.float64()), ("tail", pa.string()), ("seats", pa.int32()), ("day", pa.date32())])
QUARANTINE = {"meta": {"on_failure": "quarantine"}}


def table(**columns) -> pa.Table:
    rows = len(next(iter(columns.values())))
    full = {field.name: columns.get(field.name, [None] * rows) for field in SCHEMA}
    return pa.table(full, schema=SCHEMA)


def expect(kind, severity="critical", meta=None, **kwargs):
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity, "meta": meta or {}}


def suite_of(*expectations):
    return load_suite(json.dumps({"name": "s", "expectations": expectations}), name="s", schema=SCHEMA)


def run(suite, *parts):
    """Measures the parts one after another, numbering rows from 0."""
    batches, start = [], 0
    for part in parts:
        batches.append((part, np.arange(start, start + len(part))))
        start += len(part)
    measures = [measure_batch(suite, part, rows) for part, rows in batches]
    whole = measure_whole(suite, lambda names: ((part.select(names), rows) for part, rows in batches))
    return conclude(suite, measures, whole), measures, whole


def rejects(*measures):
    return [(row, reason.rule, reason.value) for measure in measures for row, reason in measure.rejects]


def test_failing_rows_leave_with_value_and_reason_by_their_ordinals():
    suite = suite_of(expect("column_values_to_be_between", **QUARANTINE, column="wind", min_value=0, max_value=150))
    measure = measure_batch(suite, table(wind=[3.0, 1048.36, None, -1.0]), np.array([10, 12, 17, 40]))
    rule = "expect_column_values_to_be_between"
    assert measure.rejects == [
        (12, Reason("expectation", rule, "wind", "1048.36", "wind is 1048.36, expected between 0 and 150")),
        (40, Reason("expectation", rule, "wind", "-1", "wind is -1, expected between 0 and 150")),
    ]
    assert measure.rejects_table.schema == REJECTS_SCHEMA


def test_rows_leave_also_where_mostly_is_satisfied_and_all_reasons_are_told():
    suite = suite_of(
        expect("column_values_to_not_be_null", **QUARANTINE, column="tail", mostly=0.1),
        expect("column_values_to_be_between", **QUARANTINE, column="wind", max_value=1, mostly=0.1),
    )
    result, measures, _ = run(suite, table(wind=[9.0, 0.0, 0.5, 0.1], tail=[None, "a", "b", None]))
    assert rejects(*measures) == [
        (0, "expect_column_values_to_not_be_null", None),
        (3, "expect_column_values_to_not_be_null", None),
        (0, "expect_column_values_to_be_between", "9"),
    ]
    assert measures[0].rejects[0][1].message == "tail is null, expected a value"
    assert [outcome.success for outcome in result.results] == [True, True]
    assert [outcome.consequence for outcome in result.results] == ["quarantines", "quarantines"]
    assert result.blocking == []


def test_without_on_failure_rows_stay():
    suite = suite_of(expect("column_values_to_be_between", column="wind", max_value=1))
    result, measures, _ = run(suite, table(wind=[9.0, 0.0]))
    assert measures[0].rejects == []
    assert result.results[0].examples == ("9.0",)


@pytest.mark.parametrize(("severity", "consequence"), [("critical", "blocks"), ("warning", "warns"), ("info", "note")])
def test_severity_decides_what_a_failure_means(severity, consequence):
    suite = suite_of(expect("column_values_to_not_be_null", severity=severity, column="wind"))
    failed, _, _ = run(suite, table(wind=[None, 1.0]))
    passed, _, _ = run(suite, table(wind=[0.0, 1.0]))
    assert failed.results[0].consequence == consequence
    assert passed.results[0].consequence == "passed"
    assert len(failed.blocking) == (consequence == "blocks")
    assert len(failed.warnings) == (consequence == "warns")


def test_an_expectation_that_raises_blocks_whatever_its_severity():
    suite = suite_of(
        expect(
            "column_values_to_be_between",
            severity="info",
            column="wind",
            max_value=1,
            row_condition="wind +",
            condition_parser="pandas",
        ),
        expect("column_values_to_not_be_null", column="tail"),
    )
    result, _, _ = run(suite, table(wind=[1.0], tail=["a"]))
    assert result.results[0].consequence == "blocks"
    assert result.results[0].success is False
    assert "could not be checked" in result.results[0].sentence
    assert result.results[0].exception
    assert result.results[1].consequence == "passed"


def test_counts_add_up_over_batches_and_examples_are_the_first_20():
    suite = suite_of(expect("column_values_to_be_between", column="wind", min_value=0, max_value=150))
    high = [200.0 + n for n in range(30)]
    result, _, _ = run(
        suite, table(wind=[1.0] * 5), table(wind=high[:25]), table(wind=[]), table(wind=[*high[25:], None])
    )
    outcome = result.results[0]
    assert (outcome.element_count, outcome.unexpected_count) == (36, 30)
    assert outcome.unexpected_share == pytest.approx(30 / 35)
    assert outcome.examples == tuple(str(value) for value in high[:20])
    assert outcome.sentence == "30 of 36 rows fail expect_column_values_to_be_between(wind, 0, 150)"
    assert result.gx_json["results"][0]["result"]["partial_unexpected_index_list"] == list(range(5, 25))


def test_no_batch_at_all_is_a_result_too():
    suite = suite_of(
        expect("column_values_to_not_be_null", column="wind"), expect("table_row_count_to_be_between", min_value=1)
    )
    result = conclude(suite, [])
    assert [outcome.success for outcome in result.results] == [True, False]


def test_a_row_condition_selects_rows_and_keeps_their_ordinals():
    suite = suite_of(
        expect(
            "column_values_to_be_between",
            **QUARANTINE,
            column="wind",
            max_value=1,
            row_condition='col("tail") == "b"',
            condition_parser="great_expectations",
        )
    )
    result, measures, _ = run(suite, table(wind=[9.0, 8.0, 7.0, 0.0], tail=["a", "b", None, "b"]))
    assert rejects(*measures) == [(1, "expect_column_values_to_be_between", "8")]
    assert result.results[0].element_count == 2


def test_the_last_day_of_the_calendar_is_compared_like_any_other():
    suite = suite_of(expect("column_values_to_be_between", **QUARANTINE, column="day", max_value="2030-12-31"))
    _, measures, _ = run(suite, table(day=[dt.date(9999, 12, 31), dt.date(2013, 7, 1), dt.date(1, 1, 1)]))
    assert rejects(*measures) == [(0, "expect_column_values_to_be_between", "9999-12-31")]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_instants_are_compared_in_every_unit(unit):
    schema = pa.schema([("t", pa.timestamp(unit, "UTC"))])
    bound = expect("column_values_to_be_between", **QUARANTINE, column="t", max_value="2013-07-01T14:00:00+02:00")
    suite = load_suite(json.dumps({"expectations": [bound]}), name="s", schema=schema)
    hours = [dt.datetime(2013, 7, 1, hour, tzinfo=dt.UTC) for hour in (11, 12, 13)]
    measure = measure_batch(suite, pa.table({"t": pa.array(hours, schema.field("t").type)}), np.arange(3))
    assert [row for row, _ in measure.rejects] == [2]


def test_integers_keep_their_value_where_a_batch_has_nulls():
    schema = pa.schema([("id", pa.int64())])
    big = 2**53 + 1
    text = json.dumps(
        {"expectations": [expect("column_values_to_be_in_set", **QUARANTINE, column="id", value_set=[big])]}
    )
    suite = load_suite(text, name="s", schema=schema)
    measure = measure_batch(suite, pa.table({"id": [big, None, big - 1]}, schema=schema), np.arange(3))
    assert rejects(measure) == [(2, "expect_column_values_to_be_in_set", str(big - 1))]


def test_unique_finds_every_row_of_a_duplicate_across_batches():
    suite = suite_of(expect("column_values_to_be_unique", **QUARANTINE, column="tail"))
    result, _, whole = run(suite, table(tail=["a", "b", None]), table(tail=["c", "a", None]), table(tail=["b"]))
    assert rejects(whole) == [
        (row, "expect_column_values_to_be_unique", value) for row, value in [(0, "a"), (1, "b"), (4, "a"), (6, "b")]
    ]
    assert whole.rejects[0][1].message == "tail is a, expected each value once"
    assert result.results[0].unexpected_count == 4


def test_compound_unique_finds_rows_by_both_columns():
    suite = suite_of(expect("compound_columns_to_be_unique", **QUARANTINE, column_list=["tail", "seats"]))
    _, _, whole = run(suite, table(tail=["a", "a"], seats=[1, 2]), table(tail=["a", "b"], seats=[1, 2]))
    assert rejects(whole) == [
        (0, "expect_compound_columns_to_be_unique", "a, 1"),
        (2, "expect_compound_columns_to_be_unique", "a, 1"),
    ]
    assert whole.rejects[0][1].column == "tail, seats"
    assert whole.rejects[0][1].message == "tail is a and seats is 1, expected each combination once"


def test_an_order_is_checked_over_the_boundary_of_batches():
    suite = suite_of(expect("column_values_to_be_increasing", **QUARANTINE, column="seats"))
    _, _, whole = run(suite, table(seats=[1, 5, None]), table(seats=[None]), table(seats=[4, 4]))
    assert rejects(whole) == [(4, "expect_column_values_to_be_increasing", "4")]


def test_long_values_are_cut_as_reasons_are():
    suite = suite_of(expect("column_values_to_match_regex", **QUARANTINE, column="tail", regex="^N"))
    _, measures, _ = run(suite, table(tail=["x" * 300, "y" * 200]))
    (_, long), (_, fits) = measures[0].rejects
    assert long.value == "x" * 200 + "..."
    assert fits.value == "y" * 200
    assert measures[0].rejects_table["reason"].to_pylist()[0]["value"] == "x" * 200 + "..."


def test_examples_are_cut_where_they_are_taken():
    """Rows of megabytes must not become a manifest, a result and a page of megabytes."""
    long, other = "x" * 100_000, "y" * 100_000
    suite = suite_of(
        expect("column_values_to_match_regex", column="tail", regex="^N"),
        expect("column_pair_values_to_be_equal", column_A="tail", column_B="wind"),
        expect("select_column_values_to_be_unique_within_record", column_list=["tail", "tail"]),
        expect("column_values_to_be_unique", column="tail"),
        expect("column_distinct_values_to_be_in_set", column="tail", value_set=["N"]),
        expect("column_most_common_value_to_be_in_set", column="tail", value_set=["N"]),
    )
    parts = [table(tail=[long, "short"], wind=[1.0, 2.0]), table(tail=[other, long], wind=[3.0, 4.0])]
    result, measures, _ = run(suite, *parts)

    cut, other_cut = "x" * 200 + "...", "y" * 200 + "..."
    by_regex = result.results[0]
    # In the order of the table, over the batches; a value that fits stays as it is.
    assert by_regex.examples == (cut, "short", other_cut, cut)
    assert by_regex.unexpected_count == 4
    assert measures[0].tallies[1].examples == [(0, (cut, 1.0)), (1, ("short", 2.0))]
    assert result.results[3].examples == (cut, cut)
    assert all(not one.success for one in result.results)
    assert result.gx_json["results"][0]["result"]["partial_unexpected_list"] == [cut, "short", other_cut, cut]
    assert len(json.dumps(result.gx_json)) < 40_000
    assert max(len(one.sentence) + len(one.observed or "") for one in result.results) < 5_000
    assert max(len(pickle.dumps(one.tallies)) for one in measures) < 10_000


def test_an_error_that_repeats_a_value_is_cut(monkeypatch):
    suite = suite_of(expect("column_values_to_match_regex", column="tail", regex="^N"))

    def failing(*_args, **_kwargs):
        raise ValueError("x" * 1_000_000)

    monkeypatch.setattr("tasks.shards.validating.graph.mask_metric", failing)
    result, _, _ = run(suite, table(tail=["a"]))

    assert result.results[0].exception.startswith("ValueError: xxx")
    assert result.results[0].consequence == "blocks"
    assert len(json.dumps([result.gx_json, result.results[0].exception, result.results[0].sentence])) < 40_000


def test_measures_and_results_cross_processes_and_json():
    suite = suite_of(
        expect("column_values_to_be_between", **QUARANTINE, column="wind", max_value=1),
        expect("column_max_to_be_between", column="day", max_value="2030-12-31"),
        expect("column_unique_value_count_to_be_between", column="tail", max_value=9),
    )
    parts = [table(wind=[9.0, float("inf")], day=[dt.date(2013, 7, 1)] * 2, tail=["a", "b"])]
    suite = pickle.loads(pickle.dumps(suite))
    result, measures, _ = run(suite, *parts)
    assert pickle.loads(pickle.dumps(measures[0])).rejects == measures[0].rejects
    assert pickle.loads(pickle.dumps(result)) == result
    text = json.dumps(result.gx_json, allow_nan=False)
    assert json.loads(text)["results"][0]["result"]["partial_unexpected_list"] == [9.0, "inf"]
    assert [outcome.observed for outcome in result.results[1:]] == ["2013-07-01", "2"]


def test_many_failing_rows_stay_small_to_hand_over():
    suite = suite_of(expect("column_values_to_be_between", **QUARANTINE, column="wind", max_value=1))
    measure = measure_batch(suite, table(wind=[float(n + 2) for n in range(50_000)]), np.arange(50_000))
    assert len(measure.rejects_table) == 50_000
    assert len(pickle.dumps(measure)) < 250 * 50_000


def test_a_batch_without_a_needed_column_is_refused():
    suite = suite_of(expect("column_values_to_not_be_null", column="wind"))
    with pytest.raises(SuiteError, match="needs the columns \\['wind'\\]"):
        measure_batch(suite, table(wind=[1.0]).drop_columns(["wind"]), np.arange(1))


def test_concluding_without_the_second_pass_is_refused():
    suite = suite_of(expect("column_values_to_be_unique", column="tail"))
    with pytest.raises(ValueError, match="needs measure_whole"):
        conclude(suite, [])
