"""Reading a suite: what is wrong with it is said before a row is read, by the expectation's name and with a remedy."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pyarrow as pa
import pytest

from tasks.core.errors import SuiteError
from tasks.shards.validating import gx, load_suite, whole_table_columns

SCHEMA = pa.schema(
    [
        ("tailnum", pa.string()),
        ("wind_speed", pa.float64()),
        ("seats", pa.int32()),
        ("scheduled", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("day", pa.date32()),
        ("late", pa.bool_()),
        ("price", pa.decimal128(10, 2)),
    ]
)


def load(*expectations, **extra):
    return load_suite(
        json.dumps({"name": "flights", "expectations": list(expectations), **extra}), name="flights", schema=SCHEMA
    )


def expect(kind, **kwargs):
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def refusal(*expectations, **extra) -> str:
    with pytest.raises(SuiteError) as caught:
        load(*expectations, **extra)
    return str(caught.value)


def test_a_suite_knows_its_expectations_and_their_columns():
    suite = load(
        expect("column_values_to_be_between", column="wind_speed", min_value=0, max_value=150),
        {
            **expect("column_values_to_be_unique", column="tailnum"),
            "severity": "info",
            "meta": {"on_failure": "quarantine"},
        },
    )
    first, second = suite.expectations
    assert first.label == "expect_column_values_to_be_between(wind_speed, 0, 150)"
    assert (first.severity, first.on_failure, first.columns, first.route) == ("critical", None, ("wind_speed",), "rows")
    assert (second.severity, second.on_failure, second.route) == ("info", "quarantine", "whole")
    assert whole_table_columns(suite) == ["tailnum"]


def test_the_digest_is_of_what_the_json_says_not_of_how_it_is_written():
    case = expect("column_values_to_be_between", column="seats", min_value=0, max_value=1)
    other = {"kwargs": {"max_value": 1, "min_value": 0, "column": "seats"}, "type": case["type"]}
    assert load(case).digest == load(other).digest
    assert (
        load(case).digest
        != load(expect("column_values_to_be_between", column="seats", min_value=0, max_value=2)).digest
    )
    assert len(load(case).digest) == 64


def test_a_suite_crosses_processes():
    suite = load(expect("column_values_to_be_in_set", column="tailnum", value_set=["N1"]))
    copy = pickle.loads(pickle.dumps(suite))
    assert copy == suite


def test_importing_the_package_does_not_import_great_expectations():
    code = "import sys, tasks.shards.validating; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        (expect("column_values_to_be_nice", column="seats"), "knows no such type"),
        ({"kwargs": {}}, "it has no 'type'"),
        (
            {**expect("column_values_to_not_be_null", column="seats"), "severity": "fatal"},
            "severity 'fatal' is not one of critical",
        ),
        (
            {**expect("column_values_to_not_be_null", column="seats"), "on_failure": "quarantine"},
            "unknown keys ['on_failure']",
        ),
        (
            {**expect("column_values_to_not_be_null", column="seats"), "meta": {"on_failure": "drop"}},
            "meta.on_failure is 'drop'",
        ),
        (
            {**expect("column_mean_to_be_between", column="seats", min_value=1), "meta": {"on_failure": "quarantine"}},
            "needs an expectation that judges each row",
        ),
        (expect("column_values_to_be_between", column="seats"), "min_value and max_value cannot both be None"),
        (expect("column_values_to_be_between", column="seats", minimum=1), "extra fields not permitted"),
        (expect("column_values_to_not_be_null", column="seats", mostly=1.2), "less than or equal to 1"),
        (expect("column_values_to_not_be_null", column="gate"), "the data has no column 'gate'"),
        (
            expect(
                "column_values_to_not_be_null",
                column="seats",
                row_condition='col("gate") == "A"',
                condition_parser="great_expectations",
            ),
            "no column 'gate'",
        ),
        (expect("column_values_to_match_like_pattern", column="tailnum", like_pattern="N%"), "SQL only"),
        (expect("column_values_to_match_regex", column="scheduled", regex="^2013"), "needs text"),
        (expect("column_values_to_match_regex", column="tailnum", regex="("), "not a regular expression"),
        (expect("column_values_to_match_strftime_format", column="seats", strftime_format="%Y"), "needs text"),
        (expect("column_mean_to_be_between", column="tailnum", min_value=0), "needs a number"),
        (
            expect("column_value_z_scores_to_be_less_than", column="price", threshold=3, double_sided=True),
            "an integer or a float",
        ),
        (expect("column_values_to_be_of_type", column="tailnum", type_="str"), "expect_column_type_to_be"),
        (expect("column_values_to_be_between", column="seats", min_value=5, max_value=1), "above max_value"),
        (expect("column_values_to_be_between", column="scheduled", min_value="2013-07-01"), "with a zone"),
        (expect("column_values_to_be_between", column="scheduled", min_value="2013-07-01T00:00:00"), "with a zone"),
        (
            expect("column_values_to_be_between", column="local", min_value="2013-07-01T00:00:00+00:00"),
            "without a zone",
        ),
        (expect("column_values_to_be_between", column="day", min_value="2013-07-01T00:00:00"), "must be a date"),
        (expect("column_values_to_be_between", column="day", min_value=5), "must be a date"),
        (expect("column_values_to_be_between", column="seats", min_value="2013-07-01"), "must be a number"),
        (expect("column_max_to_be_between", column="scheduled", max_value="2013-07-01"), "with a zone"),
        (expect("column_values_to_be_between", column="tailnum", min_value=1), "numbers and times only"),
        (expect("column_kl_divergence_to_be_less_than", column="seats", threshold=0.1), "no partition_object"),
        (
            expect("table_row_count_to_be_between", min_value={"$PARAMETER": "usual_rows"}),
            "a suite parameter has no value",
        ),
    ],
)
def test_what_is_wrong_is_named_with_the_expectation_and_a_remedy(expectation, said):
    good = expect("column_values_to_not_be_null", column="wind_speed")
    message = refusal(good, expectation)
    assert said in message
    assert "suite 'flights', expectation 2" in message
    assert expectation.get("type", "without type") in message
    assert "Next:" in message


def test_text_that_is_not_a_suite_is_refused():
    with pytest.raises(SuiteError, match="not JSON: Expecting ',' delimiter in line 2"):
        load_suite('{"name": "x"\n "expectations": []}', name="flights", schema=SCHEMA)
    with pytest.raises(SuiteError, match="no list 'expectations'"):
        load_suite('{"name": "x"}', name="flights", schema=SCHEMA)
    assert "unknown keys ['expectation']" in refusal(expectation=[])


def test_an_expectation_that_great_expectations_drops_is_an_error(monkeypatch):
    great_expectations = gx.great_expectations()
    real = great_expectations.ExpectationSuite

    def forgetful(name, expectations):
        return real(name=name, expectations=expectations[:-1])

    monkeypatch.setattr(great_expectations, "ExpectationSuite", forgetful)
    message = refusal(
        expect("column_values_to_not_be_null", column="seats"), expect("column_values_to_not_be_null", column="day")
    )
    assert "has 2 expectations, and Great Expectations reads 1" in message


def test_parameters_fill_in_what_a_suite_leaves_open():
    text = json.dumps(
        {
            "name": "predictions",
            "expectations": [expect("table_row_count_to_be_between", min_value={"$PARAMETER": "usual_rows * 0.5"})],
        }
    )
    suite = load_suite(text, name="predictions", schema=SCHEMA, parameters={"usual_rows": 900})
    assert suite.expectations[0].kwargs["min_value"] == 450


def test_a_custom_module_that_is_not_there_is_a_definition_error():
    with pytest.raises(
        SuiteError,
        match=r"cannot be imported: expectations\.nothing: ModuleNotFoundError: No module named 'expectations\.nothing'",
    ):
        load_suite('{"expectations": []}', name="x", schema=SCHEMA, custom=["expectations.nothing"])
