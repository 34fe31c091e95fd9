"""What `lamplighter pages` serves, in a real browser: the list of all jobs, narrowed to an owner's by links alone, with a
mouse or with keys; and Great Expectations' page, whose own buttons work under the policy that is sent."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.pages import JobLine, WindowPoint, render_home
from tasks.shards.validating import conclude, load_suite, measure_batch, measure_whole, render_data_docs
from tests.page_samples import HOSTILE, manifest
from tests.pages_server import served

pytestmark = pytest.mark.extras

TEAMS = ("network-operations", "revenue", "customer care", "fraud & risk", "Forschung Zürich", "")


def forty(teams=TEAMS):
    ran = dataclasses.replace(WindowPoint.of(manifest(), href="w.html"), as_of="2026-11-20")
    return [
        JobLine(
            f"job_{number:02d}",
            f"job_{number:02d}/index.html",
            owner=teams[number % len(teams)],
            description="For each customer, the probability of leaving within ninety days.",
            last=None if number == 7 else dataclasses.replace(ran, verdict="blocked" if number == 9 else ran.verdict),
            windows=number * 31,
            late=("2026-11-19", "2026-11-20") if number == 4 else (),
            due="2026-11-21 by 2026-11-22 04:00",
            problem="deployments/jobs/job_13.yaml: key 'source' is missing" if number == 13 else "",
        )
        for number in range(40)
    ]


@pytest.fixture
def opened(browser, tmp_path):
    """The page as `lamplighter pages` serves it, with the policy that it sends; nothing may be said in the console."""
    said = []

    def open_page(jobs, *, width=1200, scheme="light", fragment=""):
        (tmp_path / "reports").mkdir(exist_ok=True)
        (tmp_path / "reports/index.html").write_text(render_home(jobs), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/{fragment}")
        return page

    (tmp_path / "reports").mkdir()
    with served(tmp_path / "reports") as port:
        yield open_page
    assert said == []


def shown(page):
    return page.locator(".jobs tbody tr:visible").count()


def test_a_link_narrows_the_list_and_another_widens_it(opened):
    page = opened(forty())
    assert shown(page) == 40
    assert page.get_by_role("heading").first.inner_text() == "3 of 40 jobs need a look"

    page.get_by_role("link", name="revenue").click()
    assert shown(page) == 7
    assert page.url.endswith("#owner-revenue")
    assert page.get_by_text("Only what belongs to revenue is shown: 7 jobs.").is_visible()
    # Who hears the page hears these rows only.
    assert page.get_by_role("row").count() == 7 + 1

    page.get_by_role("link", name="no owner").click()
    assert shown(page) == 6
    page.go_back()
    assert shown(page) == 7
    page.get_by_role("link", name="Show all").click()
    assert shown(page) == 40


def test_an_owners_address_can_be_kept(opened):
    assert shown(opened(forty(), fragment="#owner-forschung-zurich")) == 6


def test_keys_are_enough(opened):
    page = opened(forty())
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText").startswith("Forschung Zürich")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert shown(page) == 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1200])
def test_it_fits_every_screen(opened, width, scheme, tmp_path):
    page = opened(forty(), width=width, scheme=scheme, fragment="#owner-revenue")
    page.screenshot(path=tmp_path / f"home-{width}-{scheme}.png", full_page=True)
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert page.get_by_text("Cannot run").is_visible()


def test_owners_of_any_name_are_words(opened):
    owners = (*HOSTILE, "a b", "A-B", "#", "*{display:none}", "</style>")
    page = opened(forty(owners))
    assert shown(page) == 40
    links = page.locator(".owners a")
    anchors = [links.nth(number).get_attribute("href") for number in range(links.count())]
    assert len(set(anchors)) == len(anchors)
    counts = []
    for number in range(1, links.count()):
        links.nth(number).click()
        counts.append(shown(page))
    assert sum(counts) == 40
    assert page.locator("script, img").count() == 0


def test_one_owner_needs_no_links(opened):
    page = opened(forty(("ops",)))
    assert page.locator(".owners").count() == 0
    assert shown(page) == 40


def test_the_page_of_the_expectations_works_and_runs_nothing_else(browser, tmp_path):
    schema = pa.schema([("wind", pa.float64()), ("tail", pa.string())])
    expectations = [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "wind", "max_value": 150}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "tail"}},
    ]
    suite = load_suite(json.dumps({"expectations": expectations}), name="flights", schema=schema)
    table = pa.table({"wind": [1048.36], "tail": ["N1"]}, schema=schema)
    done = conclude(
        suite,
        [measure_batch(suite, table, np.arange(1))],
        measure_whole(suite, lambda names: iter([(table.select(names), np.arange(1))])),
    )
    html = render_data_docs(done, "flights").replace("<body>", "<body><script>document.title = 'it ran'</script>", 1)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/a.expectations.html").write_text(html, encoding="utf-8")
    with served(tmp_path / "reports") as port:
        page = browser.new_context().new_page()
        page.goto(f"http://127.0.0.1:{port}/a.expectations.html")
        passed = page.get_by_text("values must never be null").first
        assert passed.is_visible()
        page.get_by_text("Failed Only").click()
        assert not passed.is_visible()
        page.locator('[onclick^="showAll"]').click()
        assert passed.is_visible()
        assert page.title() == "flights"
