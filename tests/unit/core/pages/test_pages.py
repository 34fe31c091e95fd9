"""The pages: what they say, that nothing in them is unescaped, and that they stay small."""

import dataclasses
import datetime as dt
import json
import math
import re
import xml.etree.ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.core.pages import (
    IndexPage,
    JobLine,
    Link,
    PublishedColumn,
    QuarantineExample,
    WindowPage,
    WindowPoint,
    environment,
    reading,
    render_home,
    render_index,
    render_markdown,
    render_window,
    summary_rows,
    verdicts,
    wording,
)
from tasks.core.pages.distributions import edge_label, what_is_seen
from tasks.core.profiles.figures import Figures
from tasks.core.runs.manifest import PredictionSummary, RowCounts, SuiteRecord, WindowRecord
from tests.page_samples import (
    COLUMNS,
    DIGEST,
    EXAMPLE,
    HOSTILE,
    SCRIPT,
    TOO_SHORT,
    Page,
    beside,
    blocked,
    categorical,
    drift,
    expectation,
    failed,
    manifest,
    numeric,
    utc,
    window_page,
)


def point(as_of="2013-07-27", **changes):
    return dataclasses.replace(WindowPoint.of(manifest(), href="w.html", mean_prediction=0.25), as_of=as_of, **changes)


def index_page(points=None, **changes):
    values = {
        "job": "flight_delays",
        "points": [point("2013-07-26"), point()] if points is None else points,
        "columns": COLUMNS,
        "table": "lake/predictions/flight_delays",
        "quarantine_limit": 0.05,
        "home_href": "../index.html",
    }
    return IndexPage(**values | changes)


PAGES = {
    "published": lambda: render_window(window_page()),
    "with warnings": lambda: render_window(window_page(manifest(verdict="published_with_warnings", reasons=("a",)))),
    "blocked": lambda: render_window(window_page(blocked(), figures=Figures(), standing=manifest(run_id="older"))),
    "failed": lambda: render_window(window_page(failed(), figures=Figures(), quarantine_examples=())),
    "running": lambda: render_window(window_page(manifest(state="running", verdict=None, finished_at=None))),
    "empty": lambda: render_window(
        WindowPage(manifest(rows=RowCounts(), quarantine_reasons={}, drift=()), Figures(), (), "t")
    ),
    "challenged": lambda: render_window(window_page(challenger=beside(), challengers_table="lake/challengers/f")),
    "index": lambda: render_index(index_page()),
    "index of nothing": lambda: render_index(index_page([])),
    "home": lambda: render_home([JobLine("a", "a/index.html", last=point(), windows=2), JobLine("b", "b/index.html")]),
    "home of nothing": lambda: render_home([]),
}


@pytest.fixture(params=PAGES, name="html")
def _html(request):
    return PAGES[request.param]()


# What every page must be


def test_a_page_is_whole_and_asks_nothing_of_any_network(html):
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form", "img"}
    for address in page.values("href") + page.values("src"):
        assert not re.match(r"[a-z]+:|//", address) or address.startswith("data:image/png"), address
    assert not re.search(r"url\(|@import|https?:", html)
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_every_chart_is_well_formed_and_says_what_it_shows(html):
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        root = ET.fromstring(svg)
        if root.get("role") == "img":
            assert root.findtext("title").strip()
            assert root.findtext("desc").strip()
        else:
            assert root.get("aria-hidden") == "true"


def test_names_inside_a_page_are_unique_and_lead_somewhere(html):
    page = Page(html)
    names = page.values("id")
    assert len(names) == len(set(names))
    wanted = [one for value in page.values("aria-labelledby") for one in value.split()]
    wanted += [address[1:] for address in page.values("href") if address.startswith("#")]
    assert set(wanted) <= set(names)


def test_nothing_is_written_as_python_would_write_it(html):
    text = Page(html).text
    assert not re.search(r"\b(None|nan|inf|True|False|Undefined)\b|0x[0-9a-f]{6}|<tasks", text)


# What the page of a window says


def test_the_verdict_comes_first_then_why_and_what_to_do():
    text = Page(render_window(window_page(blocked()))).text
    parts = [
        "Blocked",
        "Nothing that readers see has changed",
        "carrier is never empty: 94 of 940",
        "Next",
        "Mend the feed, then:",
        "lamplighter score flight_delays --as-of 2013-07-27",
        "Readers see",
        "Nothing for this window",
        "pulled",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("record", "standing", "expected"),
    [
        (manifest(), None, "This run's 1,200 rows, scored by flight_delays version 3."),
        (blocked(), None, "Nothing for this window: it has not been published."),
        (
            failed(),
            manifest(run_id="older"),
            "What run older published on 2013-07-28 05:00:06 UTC: 1,200 rows, scored by flight_delays version 3.",
        ),
        (manifest(state="superseded"), None, "Nothing for this window: it has not been published."),
    ],
)
def test_what_readers_see(record, standing, expected):
    assert expected in Page(render_window(window_page(record, standing=standing))).text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "published_with_warnings"}, "Published with warnings"),
        ({"verdict": "failed"}, "Failed"),
        ({"verdict": None, "state": "running"}, "Not finished"),
        ({"verdict": None, "state": "publishing"}, "Not finished"),
        ({"state": "superseded"}, "Superseded"),
    ],
)
def test_each_verdict_has_its_words(changes, words):
    html = render_window(window_page(manifest(**changes)))
    assert f"<h1>{words}</h1>" in html
    assert f"<title>{words}: flight_delays 2013-07-27</title>" in html


def test_rows_by_fate_add_up_on_the_page():
    html = render_window(window_page())
    # 1,200 of 1,234 are 97.245 %, 30 are 2.431 %, 4 are 0.324 %.
    for said in ("1,234", "1,200", "97.2 %", "2.4 % (limit 5.0 %)", "0.32 %", "Every row pulled is accounted for"):
        assert said in html
    widths = [
        float(w)
        for w in re.findall(r'<rect class="(?:scored|quarantined|duplicates)" x="[\d.]+" width="([\d.]+)"', html)
    ]
    assert widths == pytest.approx([97.245, 2.431, 0.324], abs=0.06)


def test_rows_that_never_had_a_fate_are_not_hidden():
    text = Page(render_window(window_page(blocked(rows=RowCounts(pulled=940, quarantined=40))))).text
    assert "The run ended before 900 rows had a fate" in text
    assert "not scored 900" in text


def test_counts_that_cannot_be_are_called_out():
    text = Page(render_window(window_page(manifest(rows=RowCounts(pulled=1, scored=2))))).text
    assert "do not trust these counts" in text


def test_a_failed_expectation_shows_its_consequence_its_rows_and_examples():
    text = Page(render_window(window_page())).text
    assert "1 expectation of 2 did not hold" in text
    assert "Rows quarantined distance is at least 50 miles 1 of 940 rows failed (0.11 %)" in text
    assert "for example 17" in text


def test_expectations_that_block_come_before_those_that_warn():
    kinds = ["note", "warns", "blocks", "quarantines"]
    suite = SuiteRecord(
        name="s",
        digest=DIGEST,
        success=False,
        expectations=tuple(expectation(consequence=kind, success=False, sentence=f"it {kind}") for kind in kinds),
    )
    text = Page(render_window(window_page(manifest(suite=suite)))).text
    places = [text.index(f"it {kind}") for kind in ("blocks", "quarantines", "warns", "note")]
    assert places == sorted(places)


def test_examples_are_different_values_and_an_empty_one_is_named():
    suite = SuiteRecord(
        name="s",
        digest=DIGEST,
        success=False,
        expectations=(expectation(consequence="warns", success=False, examples=("", "a", "a", "", "b")),),
    )
    assert "for example (empty) a b" in Page(render_window(window_page(manifest(suite=suite)))).text
    example = dataclasses.replace(EXAMPLE, row={"carrier": ""}, column="carrier")
    html = render_window(window_page(quarantine_examples=(example,)))
    assert '<td class="fault"><span class="null">empty</span></td>' in html


def test_all_columns_that_a_reason_names_are_marked():
    row = {"a, b": "1", "a": "2", "b": "3", "c": "4"}
    for column, marked in (("a, b", ["1"]), ("a, c", ["2", "4"]), ("b, x", ["3"]), (None, [])):
        html = render_window(window_page(quarantine_examples=(dataclasses.replace(EXAMPLE, row=row, column=column),)))
        assert re.findall(r'<td class="fault"><bdi>(\d)</bdi>', html) == marked


def test_rows_that_a_sentence_counts_are_not_counted_again():
    failing = expectation(consequence="warns", success=False, unexpected_count=94, sentence="94 of 940 rows fail x")
    suite = SuiteRecord(name="s", digest=DIGEST, success=False, expectations=(failing,))
    text = Page(render_window(window_page(manifest(suite=suite)))).text
    assert "94 of 940 rows fail x 10.0 % ·" in text


def test_a_prediction_is_not_counted_among_the_features():
    record = manifest(
        drift=(drift("temp", 0.2), drift("p_late", 0.9)),
        predictions={"p_late": PredictionSummary(mean=0.25, minimum=0.01, maximum=None)},
    )
    text = Page(render_window(window_page(record))).text
    assert "temp lies farthest from the reference (PSI 0.2); 0 of 1 features are below 0.1." in text
    assert "p_late: mean 0.250, from 0.0100 to \N{EN DASH}; PSI 0.900." in text
    assert WindowPoint.of(record).biggest_psi_column == "temp"
    assert {"figure": "largest PSI", "value": "0.2 (temp)"} in summary_rows(record)


def test_categories_that_nobody_has_take_no_room():
    shape = categorical("origin", labels=("EWR", "other", "new"), observed=(1.0, 0.0, 0.0), reference=(0.9, 0.1, 0.0))
    html = render_window(window_page(figures=Figures(distributions=(shape,))))
    assert ">other</text>" in html
    assert ">new</text>" not in html


def test_quarantine_is_grouped_by_reason_and_shows_the_value_at_fault():
    html = render_window(window_page(manifest(quarantine_reasons={"null_key": 2, TOO_SHORT: 30})))
    text = Page(html).text
    assert text.index(TOO_SHORT) < text.index("null_key")
    assert "1 of 30 rows." in text
    assert '<td class="fault"><bdi>17</bdi></td>' in html
    assert '<span class="null">null</span>' in html


def test_features_are_sorted_by_how_far_they_moved():
    records = (drift("a", 0.01), drift("b", None), drift("c", math.nan), drift("d", 0.2), drift("e", math.inf))
    text = Page(render_window(window_page(manifest(drift=records), figures=Figures()))).text
    assert "e lies farthest from the reference (PSI ∞); 1 of 3 features are below 0.1." in text
    rows = re.findall(r"\b([a-e]) (∞|0\.\d{3}|\N{EN DASH}) 0\.010 3\.0 %", text)
    assert rows == [("e", "∞"), ("d", "0.200"), ("a", "0.010"), ("b", wording.UNKNOWN), ("c", wording.UNKNOWN)]


def test_what_is_not_there_is_said_and_takes_no_room():
    text = Page(PAGES["failed"]()).text
    assert "No expectation was checked" in text
    assert "No prediction is drawn: no row was scored" in text
    assert "What the model predicted" not in text


def test_times_are_those_of_the_window_and_of_utc():
    text = Page(render_window(window_page())).text
    expected = "2013-07-27 00:00 to 2013-07-28 00:00 America/New_York (2013-07-27 04:00 to 2013-07-28 04:00 UTC)"
    assert expected in text
    assert "Saturday 2013-07-27" in text
    assert "Started 2013-07-28 05:00:03 UTC" in text


def test_links_lead_to_the_neighbours_the_index_and_great_expectations():
    html = render_window(window_page(previous=Link("2013-07-26", "as_of=2013-07-26.html"), next=Link("x", "x.html")))
    assert {"as_of=2013-07-26.html", "x.html", "index.html", "as_of=2013-07-27.expectations.html"} <= set(
        Page(html).values("href")
    )


def test_a_page_of_a_run_is_explained_by_its_digests():
    html = render_window(window_page())
    for digest in (manifest().model.digest, manifest().snapshot.digest, manifest().suite.digest, "3f2a9c1d"):
        assert digest in html


# Distributions


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (numeric("x"), "Fewer in '≥ 40': 5.0 % against 25.0 %"),
        (numeric("x", observed=(0.5, 0.2, 0.2, 0.1)), "More in '< 10': 50.0 % against 25.0 %"),
        (numeric("x", observed=(0.05, 0.25, 0.25, 0.4)), "Fewer in '< 10': 5.0 % against 25.0 %"),
        (
            numeric("x", observed=(0.26, 0.25, 0.25, 0.24), observed_missing=0.0),
            "As in the reference: no bin differs by more than 1.0 points",
        ),
        (numeric("x", reference=None, reference_missing=None), "Most in '< 10': 40.0 %"),
        (numeric("x", observed=(0.0,) * 4, observed_missing=0.0), "No rows in this window"),
        (
            numeric("x", observed=(0.1,) * 4, observed_missing=0.6),
            "More in missing: 60.0 % against 0 %",
        ),
        (numeric("x", observed=(math.nan, math.inf, 1.0, -1.0)), "More in '20 to 40': 100 % against 25.0 %"),
    ],
)
def test_the_heading_says_what_is_seen(distribution, expected):
    assert what_is_seen(distribution) == expected


def test_bins_of_unequal_width_are_drawn_in_equal_slots_and_the_page_says_so():
    html = render_window(window_page())
    assert "all slots are equally wide" in Page(html).text
    widths = re.findall(
        r'<rect class="hit" x="[\d.]+" y="18" width="([\d.]+)" height="130"><title>(?:< 10|&lt; 10|10 to 20)', html
    )
    assert len(widths) == 4
    assert len(set(widths[:2])) == 1


def test_edges_stand_where_bins_meet():
    html = render_window(window_page(figures=Figures(distributions=(numeric("x", observed_missing=0.0),))))
    # Four slots of 72.5 from 42 to 332.
    assert re.findall(r'<text x="([\d.]+)" y="162" text-anchor="middle">([\d.]+)<', html) == [
        ("114.5", "10"),
        ("187", "20"),
        ("259.5", "40"),
    ]


def test_shares_that_do_not_fit_their_bins_are_not_drawn():
    broken = numeric("broken_one", observed=(0.5, 0.5))
    assert "broken_one" not in render_window(window_page(figures=Figures(distributions=(broken,))))


def test_of_many_categories_the_largest_are_drawn_and_the_rest_is_counted():
    shares = tuple(0.5**i for i in range(1, 21))
    many = categorical("dest", labels=tuple(f"D{i}" for i in range(1, 21)), observed=shares, reference=None)
    html = render_window(window_page(figures=Figures(distributions=(many,))))
    assert '<text class="label" x="105" y="203.5" text-anchor="end">D12</text>' in html
    assert ">D13</text>" not in html
    # The other eight: 2**-12 less the 2**-20 that no category has.
    assert "The 12 largest of 20 categories; the others: 0.02 % in this window." in Page(html).text


@pytest.mark.parametrize(
    ("edge", "label"),
    [(0.25, "0.25"), (17.0, "17"), (1013.25, "1013.2"), (1.2e6, "1.2M"), (-123456.0, "-123k"), (1e300, "1e+288T")],
)
def test_edges_are_short(edge, label):
    assert edge_label(edge) == label


# Hostile values


def hostile_pages(text):
    """Every page with the text in each place where a value of the data or of a definition is shown."""
    records = tuple(
        expectation(
            type=text,
            columns=(text,),
            severity=text,
            consequence=kind,
            success=kind == "passed",
            examples=(text,),
            observed=text,
            unexpected_count=1 if kind == "blocks" else None,
            sentence=text,
        )
        for kind in ("blocks", "warns", "passed")
    )
    record = manifest(
        job=text,
        as_of=text,
        run_id=text,
        reasons=(text,),
        window=WindowRecord(kind="interval", start=utc(2013, 7, 27), end=utc(2013, 7, 28), timezone=text),
        quarantine_reasons={text: 3},
        suite=SuiteRecord(name=text, digest=text, success=False, expectations=records),
        drift=(drift(text, 0.2),),
        environment={text: text},
        predictions={f"{text} made": PredictionSummary(mean=0.2, minimum=0.1, maximum=0.3)},
        model=manifest().model.model_copy(update={"name": text, "alias": text, "warnings": (text,)}),
        replaces=text,
    )
    shapes = (
        numeric(text, "prediction"),
        numeric(text, labels=(text, "b", "c", text), edges=None),
        categorical(text, labels=(text, "b", "c")),
    )
    page = WindowPage(
        manifest=record,
        figures=Figures(distributions=shapes),
        columns=(PublishedColumn(text, text, text),),
        table=text,
        quarantine_table=text,
        quarantine_examples=(QuarantineExample(text, {text: text, "other": None}, text, text),),
        standing=record,
        reference_name=text,
        owner=text,
        previous=Link(text, "a.html"),
        next=Link(text, "b.html"),
    )
    index = index_page(
        [point(as_of=text, biggest_psi_column=text)],
        job=text,
        description=text,
        owner=text,
        timezone=text,
        prediction_name=text,
        table=text,
        quarantine_table=text,
        columns=page.columns,
    )
    jobs = [JobLine(text, "a/index.html", owner=text, description=text, last=point(as_of=text))]
    return [render_window(page), render_index(index), render_home(jobs)]


PLAIN = [Page(html) for html in hostile_pages("plain")]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_changes_the_words_of_a_page_and_nothing_else(text):
    for html, plain in zip(hostile_pages(text), PLAIN, strict=True):
        assert Page(html).structure == plain.structure
        for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
            ET.fromstring(svg)
        html.encode("utf-8")


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1))
@example("`")
def test_no_text_at_all_changes_the_structure_of_a_page(text):
    for html, plain in zip(hostile_pages(text), PLAIN, strict=True):
        assert Page(html).structure == plain.structure


def test_a_hostile_value_is_shown_as_it_is():
    example = dataclasses.replace(EXAMPLE, row={"carrier": SCRIPT, 'a "quoted" <column>': "x"}, column="carrier")
    html = render_window(window_page(quarantine_examples=(example,)))
    assert SCRIPT in Page(html).text
    assert 'a "quoted" <column>' in Page(html).text
    assert SCRIPT not in html


def test_a_half_of_a_surrogate_pair_can_be_written_to_a_file():
    example = dataclasses.replace(EXAMPLE, row={"carrier": "\ud800"})
    assert "\ufffd" in render_window(window_page(quarantine_examples=(example,))).encode("utf-8").decode()


@pytest.mark.parametrize(
    "href",
    ["javascript:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "https://x.org", "//x.org", "\\\\x"],
)
def test_an_address_that_leaves_the_reports_is_refused(href):
    with pytest.raises(ValueError, match="not a relative address"):
        render_window(window_page(docs_href=href))


@pytest.mark.parametrize("href", ["index.html", "../index.html", "as_of=2013-07-01T0500Z.html", "#rows", "a/b.html"])
def test_an_address_within_the_reports_is_kept(href):
    assert href in Page(render_window(window_page(docs_href=href))).values("href")


def test_a_template_that_names_something_unknown_fails():
    with pytest.raises(Exception, match="is undefined"):
        environment.render("home.html.jinja", heading="x")


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf, None, 1e308, -1e308, 0.0, 5e-324])
def test_figures_that_are_no_numbers_are_dashes(figure):
    record = manifest(
        drift=(drift("temp", figure, jensen_shannon=figure, missing_share=figure, new_category_share=figure),),
        timings=(manifest().timings[0].model_copy(update={"rows_per_second": figure}),),
    )
    shares = (0.5, figure or 0.0, 0.5, 0.0)
    shapes = (
        numeric("temp", observed=shares, reference=shares, observed_missing=figure or 0.0, reference_missing=figure),
    )
    points = [point(mean_prediction=v, biggest_psi=v, seconds=v) for v in (figure, 0.2, figure)]
    for html in (
        render_window(window_page(record, figures=Figures(distributions=shapes), quarantine_limit=figure)),
        render_index(index_page(points, quarantine_limit=figure)),
    ):
        assert not re.search(r"\b(nan|inf|None)\b", Page(html).text)
        assert not re.search(r'="[^"]*\b(nan|inf|None)\b', html)


# Sizes


def test_twenty_features_stay_under_300_kb():
    shapes = [
        numeric(
            f"feature_{i}",
            labels=tuple(f"{a} to {a + 1}" for a in range(12)),
            edges=None,
            observed=(0.08,) * 12,
            reference=(0.08,) * 12,
        )
        for i in range(20)
    ]
    record = manifest(drift=tuple(drift(f"feature_{i}", i / 100) for i in range(20)))
    html = render_window(window_page(record, figures=Figures(distributions=tuple(shapes))))
    assert html.count('id="feature-') == 20 * 3
    assert len(html.encode()) < 300_000


def test_five_thousand_columns_are_cut_and_the_page_says_so():
    names = [f"column_{i:04d}" for i in range(5_000)]
    record = manifest(
        drift=tuple(drift(name, 0.1) for name in names),
        quarantine_reasons=dict.fromkeys(names, 1),
        environment=dict.fromkeys(names, "1"),
        suite=SuiteRecord(
            name="s",
            digest=DIGEST,
            success=False,
            expectations=tuple(expectation(consequence="warns", success=False, sentence=name) for name in names),
        ),
    )
    example = QuarantineExample("column_0000", dict.fromkeys(names, "1"), column="column_4999")
    html = render_window(
        window_page(
            record,
            figures=Figures(distributions=tuple(numeric(name) for name in names)),
            columns=[PublishedColumn(name, "double") for name in names],
            quarantine_examples=[example],
        )
    )
    text = Page(html).text
    assert len(html.encode()) < 400_000
    for said in (
        "24 of 5,000 features are shown",
        "100 of 5,000 features are shown",
        "200 of 5,000 columns are shown",
        "50 of 5,000 that did not hold are shown",
        "30 of 5,000 reasons are shown",
        "60 of 5,000 packages are shown",
        "4,990 columns left out",
    ):
        assert said in text
    assert "<th><bdi>column_4999</bdi></th>" in html


def test_an_index_of_a_year_of_hours_stays_small_and_says_what_it_leaves_out():
    first = utc(2024, 1, 1)
    hours = [f"{first + dt.timedelta(hours=i):%Y-%m-%dT%H%MZ}" for i in range(8_760)]
    points = [point(hour, verdict="blocked" if i == 5_000 else "published") for i, hour in enumerate(hours)]
    html = render_index(index_page(points[::-1]))
    text = Page(html).text
    assert len(html.encode()) < 300_000
    # 8,760 / 120 = 73 windows a mark; the newest first in the table.
    assert "Each mark stands for 73 windows" in text
    assert "The newest 200 of 8,760 are listed" in text
    assert html.count("<tr>") == 1 + 200 + 1 + len(COLUMNS)
    assert text.index(hours[-1], text.index("newest 200")) < text.index(hours[-2], text.index("newest 200"))
    # One blocked hour among 73 colours its mark.
    assert html.count('class="v-stop" x=') == 1


# The index and the list of jobs


def test_the_index_says_how_the_job_is_in_one_line():
    points = [point("2013-07-01"), point("2013-07-03", verdict="blocked"), point("2013-07-02")]
    text = Page(render_index(index_page(points))).text
    assert "Blocked: 2013-07-03" in text
    assert "3 windows: 2 published, 1 blocked." in text


def test_the_index_says_when_its_windows_are_not_all():
    text = Page(render_index(index_page(windows_count=8_760))).text
    assert "The newest 2 of 8,760 windows: 2 published." in text
    assert "The newest 2 of 8,760 are listed" in text


def test_a_figure_that_the_last_window_lacks_is_said_to_be_lacking():
    points = [point("2013-07-01", mean_prediction=0.2), point("2013-07-02", mean_prediction=None)]
    assert "none in the last window; before, 0.200 to 0.200" in Page(render_index(index_page(points))).text


def test_the_index_shows_what_the_last_window_was_among_the_others():
    points = [point("2013-07-01", mean_prediction=0.2), point("2013-07-02", mean_prediction=0.31), point("2013-07-03")]
    text = Page(render_index(index_page(points, prediction_name="p_late"))).text
    assert "Mean p_late 0.250 in the last window; before, 0.200 to 0.310" in text
    assert "1,234 pulled in the last window; before, 1,234 to 1,234" in text
    # 30 of the 1,230 distinct rows.
    assert "2.4 % in the last window; before, at most 2.4 % (2013-07-02)" in text


def test_a_point_is_a_run_reduced():
    made = WindowPoint.of(manifest(), href="x.html", mean_prediction=0.3)
    assert made == WindowPoint(
        "2013-07-27", "published", manifest().rows, "x.html", 3, 3.4, 0.3, biggest_psi=0.31, biggest_psi_column="temp"
    )
    assert WindowPoint.of(manifest(drift=(), finished_at=None)).seconds == pytest.approx(2.142)


def test_jobs_that_need_a_look_come_first():
    jobs = [
        JobLine("good", "good/index.html", last=point(), windows=3),
        JobLine("new", "new/index.html"),
        JobLine("stuck", "stuck/index.html", owner="ops", last=point(verdict="blocked"), windows=1_234),
    ]
    text = Page(render_home(jobs)).text
    assert "1 of 3 jobs needs a look" in text
    assert text.index("stuck") < text.index("good") < text.index("new")
    assert "1,234" in text


# How to read the table


@pytest.mark.parametrize("folder", ["lake", 'it\'s a "lake"'])
@pytest.mark.parametrize("window", ["2013-07-01", None])
def test_the_lines_for_readers_read_the_table(tmp_path, folder, window):
    table = tmp_path / folder / "predictions" / "job"
    for day, rows in (("2013-07-01", 3), ("2013-07-02", 4)):
        (table / f"as_of={day}").mkdir(parents=True)
        pq.write_table(pa.table({"key": list(range(rows))}), table / f"as_of={day}" / "part-1.parquet")
    lines = reading.one_window(str(table), window) if window else reading.whole_table(str(table))
    assert [line.tool for line in lines] == ["pandas", "DuckDB", "Polars"]
    for line in lines:
        names = {}
        exec(line.line, names)
        rows = names["rows"]
        assert (len(rows.fetchall()) if line.tool == "DuckDB" else len(rows)) == (3 if window else 7), line.tool


# Prefect's artifacts


def test_the_table_artifact_has_the_figures_of_the_page():
    rows = {row["figure"]: row["value"] for row in summary_rows(manifest())}
    assert rows["rows pulled"] == "1,234"
    assert rows["rows in quarantine"] == "30 (2.4 %)"
    assert rows["largest PSI"] == "0.31 (temp)"
    assert rows["time"] == "3.4 s"
    assert rows["rows a second"] == "363"
    assert rows["peak memory"] == "412.3 MB"
    assert rows["expectations that did not hold"] == "1 of 2"
    json.dumps(summary_rows(blocked()))


def test_the_markdown_begins_with_the_verdict_and_holds_the_same_figures():
    text = render_markdown(blocked(), "http://reports.example/a b.html")
    lines = text.splitlines()
    assert lines[0] == "# ⛔ Blocked: flight\\_delays 2013-07-27"
    assert "**Next:** Mend the feed, then: `lamplighter score flight_delays --as-of 2013-07-27`" in lines
    assert "[The report of this window](<http://reports.example/a%20b.html>)" in lines
    # No browser follows a link from a page to a file.
    assert "The report of this window: `/lake/a.html`" in render_markdown(blocked(), "/lake/a.html").splitlines()
    for row in summary_rows(blocked()):
        assert any(line.startswith(f"| {row['figure']} | ") for line in lines)


@pytest.mark.parametrize(
    "text", [*HOSTILE, "a | b", "[x](javascript:alert(1))", "![x](http://x.org/i.png)", "a\n\n# b"]
)
def test_a_hostile_value_stays_text_in_markdown(text):
    markdown = render_markdown(
        manifest(
            reasons=(text,),
            quarantine_reasons={text: 1},
            drift=(drift(text, 0.1),),
            suite=SuiteRecord(
                name="s",
                digest=DIGEST,
                success=False,
                expectations=(expectation(consequence="blocks", success=False, sentence=text, examples=(text,)),),
            ),
        )
    )
    plain = re.sub(r"\\.", "", markdown)
    assert not re.search(r"<[a-z/]|\]\(|!\[|https?://", plain)
    tables = [line for line in plain.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {3, 4, 5}
    assert "\n# b" not in markdown


# Words and numbers


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (wording.count, 1_234_567, "1,234,567"),
        (wording.count, math.inf, "∞"),
        (wording.count, None, wording.UNKNOWN),
        (wording.share, 0.021, "2.1 %"),
        (wording.share, 0.0, "0 %"),
        (wording.share, 1.0, "100 %"),
        (wording.share, 0.00001, "< 0.01 %"),
        (wording.share, 0.99999, "> 99.99 %"),
        (wording.share, 0.0012, "0.12 %"),
        (wording.share, 0.9988, "99.88 %"),
        (wording.share, math.nan, wording.UNKNOWN),
        (wording.share, 12.5, "1250.0 %"),
        (wording.seconds, 3.42, "3.4 s"),
        (wording.seconds, 0.012, "12 ms"),
        (wording.seconds, 0.148, "148 ms"),
        (wording.seconds, 0.0002, "< 1 ms"),
        (wording.seconds, 0.0, "0 ms"),
        (wording.seconds, 125.4, "2 min 5 s"),
        (wording.seconds, 4_030.0, "1 h 7 min"),
        (wording.size, 1_234_567, "1.2 MB"),
        (wording.size, 999, "999 bytes"),
        (wording.size, 5e14, "500.0 TB"),
        (wording.number, 0.03441, "0.0344"),
        (wording.number, 12_345.6, "12,346"),
        (wording.number, 0.000012, "1.2e-05"),
        (wording.number, -math.inf, "-∞"),
        (wording.number, 1e308, "1.0e+308"),
        (wording.count, 1e300, "1.0e+300"),
        (wording.seconds, 1e300, wording.UNKNOWN),
        (wording.share, -1e308, wording.UNKNOWN),
        (wording.figure, 0.18, "0.180"),
        (wording.figure, 123.0, "123"),
        (wording.figure, 0.0, "0"),
        (wording.fixed, 0.0996, "0.100"),
        (wording.instant, dt.datetime(2013, 7, 1, 3, 4, 5), "2013-07-01 03:04:05 UTC"),
        (
            wording.instant,
            dt.datetime(2013, 7, 1, 3, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "2013-07-01 01:00:00 UTC",
        ),
        (wording.cut, None, wording.UNKNOWN),
    ],
)
def test_numbers_are_written_for_people(write, value, expected):
    assert write(value) == expected


def test_long_text_is_cut():
    assert wording.cut("x" * 200) == "x" * 200
    assert wording.cut("x" * 201) == "x" * 199 + "…"


def test_a_window_of_an_unknown_zone_is_told_in_utc():
    start = utc(2013, 7, 1)
    assert wording.window_bounds(start, start, "UTC") == "2013-07-01 00:00 UTC"
    assert wording.window_bounds(start, start, "Mars/Olympus") == "2013-07-01 00:00 Mars/Olympus (2013-07-01 00:00 UTC)"


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("do `this` now", [("do ", False), ("this", True), (" now", False)]),
        ("lamplighter check", [("lamplighter check", True)]),
        ("mend it, then: lamplighter check", [("mend it, then: ", False), ("lamplighter check", True)]),
        (
            "lamplighter show a --as-of b; then mend it",
            [("lamplighter show a --as-of b", True), ("; then mend it", False)],
        ),
        ("pip install 'lamplighter[demo]', all of it", [("pip install 'lamplighter[demo]', all of it", False)]),
        ("a ` alone", [("a ", False), (" alone", False)]),
        ("", []),
    ],
)
def test_what_can_be_typed_is_set_apart(sentence, expected):
    assert [(piece.text, piece.is_code) for piece in verdicts.pieces(sentence)] == expected


def test_the_worst_verdict_stands_for_a_group():
    assert verdicts.worst(["published", None, "blocked"]) == "blocked"
    assert verdicts.worst(["published", "published_with_warnings"]) == "published_with_warnings"


# Colours


def colours(css, block):
    found = re.search(block, css, re.DOTALL)[1]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", found))


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    "block", [r"^\s*<style>\s*:root \{(.*?)\}", r"prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}"]
)
def test_text_can_be_read_in_light_and_in_dark(block):
    """WCAG 2.2: a contrast of 4.5 for text, 3 for what is drawn."""
    html = render_window(window_page())
    named = colours(html[html.index("<style>") :], block)
    text = [
        ("ink", "paper"),
        ("ink", "card"),
        ("soft", "card"),
        ("soft", "paper"),
        ("link", "card"),
        ("soft", "wash"),
        ("limit", "card"),
    ]
    text += [(tone, f"{tone}-wash") for tone in ("good", "warn", "stop", "bad", "idle")]
    text += [("ink", f"{tone}-wash") for tone in ("good", "warn", "stop", "bad", "idle")]
    drawn = [("today", "card"), ("reference", "card"), ("reference", "today"), ("quarantined", "card")]
    for pairs, least in ((text, 4.5), (drawn, 3.0)):
        for one, other in pairs:
            high, low = sorted((luminance(named[one]), luminance(named[other])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, (one, other)
