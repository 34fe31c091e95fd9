"""GX's validation page: complete in itself, with what each expectation means for the run."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pytest

from tasks.shards.validating import conclude, load_suite, measure_batch, measure_whole, render_data_docs

SCHEMA = pa.schema([("wind", pa.float64()), ("tail", pa.string())])
EXPECTATIONS = [
    ("column_values_to_be_between", {"column": "wind", "max_value": 150}, "critical", {"on_failure": "quarantine"}),
    ("column_values_to_not_be_null", {"column": "tail"}, "warning", {}),
    ("column_values_to_be_in_set", {"column": "tail", "value_set": ["N1"]}, "critical", {}),
    ("column_mean_to_be_between", {"column": "wind", "max_value": 1}, "info", {}),
    ("column_pair_values_to_be_equal", {"column_A": "tail", "column_B": "tail"}, "critical", {}),
    ("column_values_to_be_unique", {"column": "tail"}, "info", {}),
    ("column_most_common_value_to_be_in_set", {"column": "tail", "value_set": ["<b>N1</b>"]}, "info", {}),
    (
        "column_values_to_be_in_set",
        {
            "column": "tail",
            "value_set": ["N1"],
            "row_condition": "tail == <script>alert(2)</script>",
            "condition_parser": "pandas",
        },
        "info",
        {},
    ),
    (
        "column_kl_divergence_to_be_less_than",
        {"column": "tail", "partition_object": {"values": ["N1", "N2"], "weights": [0.5, 0.5]}, "threshold": 0.1},
        "info",
        {},
    ),
]


@pytest.fixture(scope="module")
def page() -> str:
    expectations = [
        {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity, "meta": meta}
        for kind, kwargs, severity, meta in EXPECTATIONS
    ]
    suite = load_suite(json.dumps({"expectations": expectations}), name="flights", schema=SCHEMA)
    table = pa.table({"wind": [1048.36, 3.0], "tail": ["<script>alert(1)</script>", None]}, schema=SCHEMA)
    measure = measure_batch(suite, table, np.arange(2))
    whole = measure_whole(suite, lambda names: iter([(table.select(names), np.arange(2))]))
    return render_data_docs(conclude(suite, [measure], whole), "flight_delays 2013-07-27 <draft>")


def test_nothing_is_requested_from_anywhere(page):
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", page) == []
    assert re.findall(r"\b(?:src|href)\s*=\s*\"(?!#|data:)[^\"]*\"", page) == []
    assert "@import" not in page
    assert re.findall(r"url\((?!['\"]?data:)", page) == []


def test_no_script_calls_what_is_not_on_the_page(page):
    defined_last = {
        name: page.rindex(f"function {name}") for name in ("showAllValidations", "hideSucceededValidations")
    }
    jquery_calls = [match.start() for match in re.finditer(r"\$\(", page)]
    # GX's two functions use jQuery; ours, which come later under the same names, take their place.
    assert all(position < min(defined_last.values()) for position in jquery_calls)
    assert "vegaEmbed" not in page


def test_severity_and_consequence_stand_beside_each_expectation(page):
    said = re.findall(r'consequence-(\w+)">\1</span>', page)
    assert sorted(said) == sorted(
        ["quarantines", "warns", "blocks", "note", "passed", "passed", "note", "note", "blocks"]
    )
    assert page.count(">Consequence<") + len(re.findall(r">\s*Consequence\s*<", page)) >= 1
    for severity in ("critical", "warning", "info"):
        assert re.search(rf">\s*{severity}\s*<", page)


def test_what_the_data_says_is_text_never_markup(page):
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(2)" not in page
    assert "<b>N1</b>" not in page
    # Our own script and the two of GX.
    assert page.count("<script") == 2
    assert "<title>flight_delays 2013-07-27 &lt;draft&gt;</title>" in page


def test_counts_and_examples_are_shown(page):
    assert "1048.36" in page
    assert "Evaluated Expectations" in page
