"""Great Expectations' page, which writes some names as they are: what the data, the columns and a suite say stays text on it."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa

from tasks.shards.validating import conclude, load_suite, measure_batch, measure_whole, render_data_docs

EVIL = "<script>run()</script>$x ${y} &amp; \"'<img src=https://attacker.invalid/x.png onerror=run()>"
OTHER = f"b{EVIL}"
SCHEMA = pa.schema([(EVIL, pa.float64()), (OTHER, pa.string())])
TABLE = pa.table([pa.array([1.0, None, 3.0]), pa.array([EVIL, "a", None])], schema=SCHEMA)
IN_SET = {"column": OTHER, "value_set": [EVIL]}
EXPECTATIONS = {
    "column_values_to_be_between": {"column": EVIL, "max_value": 1},
    "column_mean_to_be_between": {"column": EVIL, "max_value": 1},
    "column_to_exist": {"column": EVIL},
    "column_quantile_values_to_be_between": {
        "column": EVIL,
        "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]},
    },
    "column_values_to_be_in_set": IN_SET | {"row_condition": EVIL, "condition_parser": "pandas"},
    "column_distinct_values_to_be_in_set": IN_SET,
    "column_most_common_value_to_be_in_set": IN_SET,
    "column_values_to_match_regex": {"column": OTHER, "regex": "<script>z"},
    "column_values_to_match_regex_list": {"column": OTHER, "regex_list": ["<script>z", "<img src=q>"]},
    "column_values_to_be_unique": {"column": OTHER},
    "column_value_lengths_to_be_between": {"column": OTHER, "max_value": 3},
    "column_kl_divergence_to_be_less_than": {
        "column": OTHER,
        "partition_object": {"values": [EVIL], "weights": [1.0]},
        "threshold": 0.1,
    },
    "column_pair_values_to_be_equal": {"column_A": EVIL, "column_B": OTHER},
    "compound_columns_to_be_unique": {"column_list": [EVIL, OTHER]},
    "multicolumn_sum_to_equal": {"column_list": [EVIL, EVIL], "sum_total": 1},
    "table_columns_to_match_set": {"column_set": [EVIL, OTHER, "<img src=r>"]},
    "table_columns_to_match_ordered_list": {"column_list": [EVIL, OTHER, "<img src=r>"]},
}


def page_of(table, expectations):
    suite = load_suite(
        json.dumps(
            {
                "expectations": [
                    {
                        "type": f"expect_{kind}",
                        "kwargs": kwargs,
                        "severity": "info",
                        "meta": {"notes": EVIL, EVIL: EVIL},
                        "description": EVIL,
                    }
                    for kind, kwargs in expectations.items()
                ]
            }
        ),
        name="flights",
        schema=table.schema,
    )
    measured = measure_batch(suite, table, np.arange(len(table)))
    whole = measure_whole(suite, lambda names: iter([(table.select(names), np.arange(len(table)))]))
    return render_data_docs(conclude(suite, [measured], whole), EVIL)


class Parts(HTMLParser):
    """A page's elements, and its text without the two scripts and the styles; GX closes not all that it opens."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.text = [], ""
        self.feed(re.sub(r"<(script|style)>.*?</\1>", "", html, flags=re.DOTALL))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_no_name_and_no_value_is_markup():
    page = page_of(TABLE, EXPECTATIONS)
    found = Parts(page)
    # GX's own script and ours, and nobody else's.
    assert page.count("<script>") == 2
    assert not {"img", "script", "iframe"} & {tag for tag, _ in found.elements}
    assert {name for _, attributes in found.elements for name in attributes if name.startswith("on")} <= {"onclick"}
    assert found.text.count(EVIL) > 10


def test_a_column_is_called_what_it_is_called():
    """Escaped once: whoever reads the page sees its name."""
    name = "R&D <b>"
    found = Parts(page_of(pa.table({name: [1.0]}), {"column_to_exist": {"column": name}}))
    assert found.text.count(name) >= 2
    assert "R&amp;D" not in found.text


def test_no_value_turns_the_text_around_it_or_speaks_to_a_terminal():
    """Whoever reads the page in a terminal, or copies of it, gets what is written there."""
    evil = "\x1b]0;owned\x07 \u202eevil\u061c\u2066 \x9b31m"
    table = pa.table({evil: [evil, None], "n": [1.0, 2.0]})
    page = page_of(
        table,
        {
            "column_values_to_be_in_set": {"column": evil, "value_set": [evil + "x"]},
            "column_distinct_values_to_be_in_set": {"column": evil, "value_set": ["y"]},
            "column_value_lengths_to_be_between": {"column": evil, "max_value": 3},
        },
    )
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", page)
    assert page.count(r"\x1b]0;owned\x07 \u202eevil\u061c\u2066 \x9b31m") > 3
