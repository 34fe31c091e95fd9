"""What the pages say of a window in shadow, and of the tables beside the published one."""

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.pages import (
    IndexPage,
    JobLine,
    OtherTables,
    WindowPoint,
    reading,
    render_home,
    render_index,
    render_window,
)
from tests.page_samples import COLUMNS, manifest, window_page
from tests.unit.core.pages.test_pages import Page


def text(html):
    return Page(html).text


def test_a_window_in_shadow_says_so_and_that_readers_see_nothing_of_it():
    html = render_window(window_page(manifest(shadow=True), table="lake/shadow/flight_delays"))
    assert "<h1>Published, in shadow</h1>" in html
    assert (
        "Nothing for this window. In shadow, until the team switches over, it has this run's 1,200 rows, "
        "scored by flight_delays version 3." in text(html)
    )
    assert "lake/shadow/flight_delays/as_of=2013-07-27" in html
    assert "in shadow, which is not the table that readers use" in text(html)


def test_a_run_beside_a_window_in_shadow_says_whose_rows_are_there():
    page = window_page(manifest(verdict="blocked", run_id="later"), standing=manifest(shadow=True, run_id="older"))
    assert "it has run older's 1,200 rows" in text(render_window(page))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Published"),
        ({"shadow": True}, "Published, in shadow"),
        ({"shadow": True, "verdict": "published_with_warnings"}, "Published with warnings, in shadow"),
        ({"shadow": True, "verdict": "blocked"}, "Blocked"),
    ],
)
def test_the_lists_say_it_too(changes, words):
    point = WindowPoint.of(manifest(**changes))
    page = IndexPage("flight_delays", [point], COLUMNS, "lake/shadow/flight_delays", shadow=point.shadow)
    index = render_index(page)
    assert ("every window in shadow, which is not the table" in text(index)) is point.shadow
    home = render_home([JobLine(job="flight_delays", href="x/index.html", last=point)])
    assert f">{words}</span>" in index
    assert f">{words}</span>" in home


@pytest.mark.parametrize("folder", ["lake", 'it\'s a "lake"'])
def test_the_lines_for_the_tables_beside_it_read_them(tmp_path, folder):
    root = tmp_path / folder
    for key, columns in {
        "predictions/job/as_of=2013-07-01/part-r1.parquet": {"id": ["a", "b"], "run_id": ["r1", "r1"]},
        "latest/job/latest-1.parquet": {"id": ["a"], "run_id": ["r1"]},
        "runs/job/as_of=2013-07-01/r1/run.parquet": {
            "run_id": ["r1"],
            "verdict": ["published"],
            "model_digest": ["m"],
            "snapshot_digest": ["s"],
            "code_version": ["1"],
            "finished_at": [None],
        },
    }.items():
        (root / key).parent.mkdir(parents=True)
        pq.write_table(pa.table(columns), root / key)
    others = OtherTables(latest=str(root / "latest/job"), runs=str(root / "runs/job"), sql="analytics.scores")
    lines = {one.tool: one.line for one in reading.other_tables(str(root / "predictions/job"), others)}
    assert lines.pop("In the database") == "select * from analytics.scores"
    counts = {}
    for tool, line in lines.items():
        names = {}
        exec(line, names)
        assert isinstance(names["rows"], duckdb.DuckDBPyRelation)
        counts[tool] = len(names["rows"].fetchall())
        if tool == "Rows and runs":
            assert names["rows"].project("id, verdict").fetchall() == [("a", "published"), ("b", "published")]
    assert counts == {"Latest row a key": 1, "The runs": 1, "Rows and runs": 2}


def test_what_is_not_there_has_no_line_and_says_why():
    others = OtherTables(latest_note="latest/job is not kept: output.latest is false.")
    assert reading.other_tables("lake/predictions/job", others) == ()
    for html in (
        render_window(window_page(others=others)),
        render_index(IndexPage("job", [], COLUMNS, "lake/predictions/job", others=others)),
    ):
        assert "The tables beside it" not in html
        assert "latest/job is not kept: output.latest is false." in html


def test_hostile_names_stay_text():
    others = OtherTables(latest="x</pre><script>1</script>", latest_note="<b>", runs="<i>", sql='"><script>')
    html = render_window(window_page(others=others))
    assert "<script>" not in html.replace("<script>0", "")
    assert "&lt;b&gt;" in html
