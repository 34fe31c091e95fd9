"""The page of a verdict: the verdict first, then every check, then the slices; nothing in it is unescaped."""

import datetime as dt

import pytest

from tasks.core.models.gate.verdict import Check, Verdict
from tasks.core.pages import Answer, PromotionPage, promotion_markdown, promotion_rows, render_promotion
from tests.page_samples import HOSTILE, Page

METRIC = Check(
    check="metric",
    what="roc_auc",
    outcome="passed",
    sentence="roc_auc is 0.7308 against 0.7213.",
    production=0.7213,
    candidate=0.7308,
    difference=0.0095,
    low=0.0008,
    high=0.0192,
    limit=-0.015,
)
SPEED = Check(
    check="speed",
    outcome="passed",
    sentence="Fast.",
    production=102172.4,
    candidate=75290.0,
    difference=-26882.4,
    limit=51086,
)
MEMORY = Check(
    check="memory",
    outcome="passed",
    sentence="Small.",
    production=282.7e6,
    candidate=282e6,
    difference=0.7e6,
    limit=565.4e6,
)


def a_slice(what, outcome="passed", difference=-0.01, **changes):
    values = {"production": 0.7, "candidate": 0.7 + difference, "low": difference - 0.02, "high": difference + 0.02}
    kept = {"rows": 8157, "sentence": f"{what} is so.", "limit": -0.02, "difference": difference}
    return Check(check="slice", what=what, outcome=outcome, **values | kept | changes)


LGA = a_slice("origin = LGA", "failed", -0.04)


def verdict(*checks, **changes):
    values = {"model": "late", "version": 3, "alias": "production", "production": 1, "job": "flights", "rows": 27075}
    values |= {
        "windows": 30,
        "first": "2013-06-01",
        "last": "2013-06-30",
        "rows_digest": "a6",
        "rows_without_label": 1168,
    }
    return Verdict(judged_at=dt.datetime(2013, 8, 1, tzinfo=dt.UTC), checks=checks, **values | changes)


def page(*checks, answer=None, **changes):
    return Page(render_promotion(PromotionPage(verdict(*checks, **changes), answer, model_href="index.html")))


def test_a_version_that_passes():
    found = page(METRIC, SPEED, MEMORY)
    for words in (
        "Version 3 passes",
        "Held against version 1, production of late, on 27,075 labelled rows of flights: 30 windows, 2013-06-01 to 2013-06-30.",
        "metric roc_auc 0.7213 0.7308 +0.0095 +0.0008 to +0.0192 -0.0150",
        "102,172 rows/s 75,290 rows/s -26,882 rows/s – 51,086 rows/s",
        "282.7 MB 282.0 MB +700.0 kB – 565.4 MB",
        "1,168 more have no label",
    ):
        assert words in found.text, words
    assert "--force" not in found.text


def test_a_refused_one_says_what_failed_and_what_to_type():
    found = page(METRIC, LGA)
    assert "Version 3 does not pass" in found.text
    assert "origin = LGA is so." in found.text
    assert 'lamplighter promote late --version 3 --job flights --force --reason "why"' in found.text


def test_slices_stand_with_the_failed_ones_first_and_then_from_the_worst_on():
    others = [a_slice("c = better", difference=0.02), a_slice("c = worse"), a_slice("c = tiny", "not judged", 0.5)]
    found = page(METRIC, *others, LGA)
    places = [found.text.rindex(name) for name in ("origin = LGA", "c = worse", "c = better", "c = tiny")]
    assert "4 slices, the worst first" in found.text
    assert places == sorted(places)


def test_intervals_are_drawn_about_nought_within_the_picture():
    found = page(METRIC, LGA, a_slice("c = not judged", "not judged", 9.0))
    boxes = [attributes for tag, attributes in found.elements if tag == "rect" and attributes.get("class") == "today"]
    assert len(boxes) == 2
    for box in boxes:
        assert 0 <= float(box["x"]) <= float(box["x"]) + float(box["width"]) <= 100.1


def test_without_rows_or_production():
    text = page(Check(check="load", outcome="passed", sentence="It loads."), rows=0, production=None).text
    assert (
        "Nothing is production of late yet, so there is nothing to hold it against; no labelled rows were scored."
        in text
    )
    assert "On which rows" not in text


@pytest.mark.parametrize("agreed", [True, False])
def test_the_answer_of_a_person(agreed):
    found = page(METRIC, answer=Answer(agreed, "Ann", "before the holidays"))
    assert f"Ann said {'yes' if agreed else 'no'}: before the holidays" in found.text


@pytest.mark.parametrize("text", HOSTILE)
def test_what_the_data_and_people_say_is_escaped(text):
    hostile = a_slice(f"c = {text}", "failed", sentence=f"c = {text}: fell.")
    answer = Answer(False, text, text)
    html = render_promotion(
        PromotionPage(verdict(METRIC, hostile, job=text, first=text), answer, model_href="index.html")
    )
    found = Page(html)
    assert not {"script", "img"} & {tag for tag, _ in found.elements}
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_the_page_links_to_the_model_and_asks_nothing_of_any_network():
    found = page(METRIC)
    assert [attributes["href"] for tag, attributes in found.elements if tag == "a"] == ["index.html"]
    assert "default-src 'none'" in str(found.elements)


def test_a_thousand_slices_are_cut():
    many = [a_slice(f"c = {number}") for number in range(1000)]
    html = render_promotion(PromotionPage(verdict(METRIC, *many)))
    assert "400 of 1,000 slices are shown" in Page(html).text
    assert len(html) < 500_000


def test_the_rows_of_the_table():
    rows = promotion_rows(verdict(METRIC, LGA))
    assert rows[0] == {
        "check": "metric roc_auc",
        "production": "0.7213",
        "candidate": "0.7308",
        "difference": "+0.0095 (+0.0008 to +0.0192)",
        "limit": "-0.0150",
        "outcome": "passed",
    }
    assert rows[1]["check"] == "slice origin = LGA"


def test_markdown_shows_hostile_values_as_they_are():
    text = promotion_markdown(verdict(METRIC, a_slice("c = <b>|[x](http://evil)", "failed")), "file:///a b.html")
    assert "# late: version 3 does not pass" in text
    assert "<b>" not in text
    assert "](http://evil)" not in text
    assert "[The verdict's page](<file:///a%20b.html>)" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
