"""The pages in a real browser: nothing is asked of any network, nothing hostile runs, and a phone shows them whole."""

import dataclasses

import pytest

from tasks.core.pages import (
    IndexPage,
    JobLine,
    WindowMonitoring,
    WindowPoint,
    render_home,
    render_index,
    render_window,
)
from tasks.core.profiles.figures import Figures
from tests import monitor_samples as samples
from tests.page_samples import COLUMNS, EXAMPLE, TOO_SHORT, beside, blocked, categorical, manifest, numeric, window_page

pytestmark = pytest.mark.extras

HOSTILE = (
    "<script>document.title = 'it ran'</script><img src=https://example.org/x.png onerror=\"document.title='it ran'\">"
)


class Opened:
    """A page that was opened from a file, with all that it said and asked for meanwhile."""

    def __init__(self, browser, path, *, width=1200, scheme="light"):
        self.path, self.said, self.asked = path, [], []
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.context.route("**/*", self._note)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.goto(path.as_uri())

    def _note(self, route):
        url = route.request.url
        if url == self.path.as_uri() or url.startswith("data:"):
            route.continue_()
        else:
            self.asked.append(url)
            route.abort()

    def is_wider_than_its_window(self):
        return self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


def index():
    points = [
        dataclasses.replace(WindowPoint.of(manifest()), as_of=f"2013-07-{day:02d}", href="x.html")
        for day in range(1, 28)
    ]
    return render_index(IndexPage("flight_delays", points, COLUMNS, "lake/predictions/flight_delays"))


def hostile():
    example = dataclasses.replace(
        EXAMPLE, row={"carrier": HOSTILE, HOSTILE: "x" * 300}, message=HOSTILE, column="carrier"
    )
    shapes = (numeric(HOSTILE, "prediction"), categorical(HOSTILE, labels=(HOSTILE, "b", "c")))
    return render_window(
        window_page(
            manifest(reasons=(HOSTILE,), quarantine_reasons={TOO_SHORT: 1, HOSTILE: 1}),
            figures=Figures(distributions=shapes),
            quarantine_examples=(example,),
            owner=HOSTILE,
        )
    )


def monitored(found=None):
    """The index of half a year, with alarms that stand."""
    found = found or samples.monitored(
        alarms=(samples.DRIFTED, samples.DEGRADED, samples.LATE), estimates=(samples.MUTED,)
    )
    page = IndexPage("flight_delays", samples.points(), COLUMNS, "lake/predictions/flight_delays", monitored=found)
    return render_index(page)


def monitored_window():
    look = samples.monitored(days=60, alarms=(samples.DRIFTED,))
    days = [samples.window_performance(30, 60, labels_as_of=day) for day in ("2013-08-03", "2013-08-10")]
    page = window_page(manifest(as_of="2013-07-31"), monitoring=WindowMonitoring("2013-07-31", look, days))
    return render_window(page)


PAGES = {
    "window": lambda: render_window(window_page()),
    "blocked": lambda: render_window(window_page(blocked())),
    "challenged": lambda: render_window(window_page(challenger=beside(), challengers_table="lake/challengers/f")),
    "hostile": hostile,
    "index": index,
    "monitored": monitored,
    "monitored window": monitored_window,
    "home": lambda: render_home(
        [JobLine("flight_delays", "flight_delays/index.html", last=WindowPoint.of(manifest()))]
    ),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_word_or_a_request(browser, tmp_path, name, scheme):
    path = tmp_path / f"{name}.html"
    path.write_text(PAGES[name](), encoding="utf-8")
    with Opened(browser, path, scheme=scheme) as opened:
        opened.page.screenshot(path=tmp_path / f"{name}-{scheme}.png", full_page=True)
        assert opened.said == []
        assert opened.asked == []
        assert opened.page.locator("h1, h2").first.is_visible()
        assert not opened.is_wider_than_its_window()


def test_a_carrier_named_script_is_words(browser, tmp_path):
    path = tmp_path / "hostile.html"
    path.write_text(hostile(), encoding="utf-8")
    with Opened(browser, path) as opened:
        assert opened.page.title() == "Published: flight_delays 2013-07-27"
        assert opened.page.locator("script, img").count() == 0
        assert opened.page.get_by_text(HOSTILE[:40]).first.is_visible()


def test_even_a_script_that_got_into_a_page_would_not_run(browser, tmp_path):
    """The policy of the page, should its escaping ever fail: this page is broken on purpose."""
    path = tmp_path / "broken.html"
    path.write_text(PAGES["window"]().replace("<main>", f"<main>{HOSTILE}"), encoding="utf-8")
    with Opened(browser, path) as opened:
        assert opened.page.title() == "Published: flight_delays 2013-07-27"
        assert opened.asked == []
        assert any("Content Security Policy" in said for said in opened.said)


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_a_page_without_scrolling_sideways(browser, tmp_path, name):
    path = tmp_path / f"{name}.html"
    path.write_text(PAGES[name](), encoding="utf-8")
    with Opened(browser, path, width=360) as opened:
        opened.page.screenshot(path=tmp_path / f"{name}-phone.png", full_page=True)
        assert not opened.is_wider_than_its_window()


def test_light_and_dark_differ(browser, tmp_path):
    path = tmp_path / "window.html"
    path.write_text(PAGES["window"](), encoding="utf-8")
    seen = []
    for scheme in ("light", "dark"):
        with Opened(browser, path, scheme=scheme) as opened:
            seen.append(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert seen == ["rgb(250, 248, 244)", "rgb(20, 21, 24)"]


def test_verdict_counts_and_the_next_step_are_on_the_first_screen(browser, tmp_path):
    path = tmp_path / "blocked.html"
    path.write_text(PAGES["blocked"](), encoding="utf-8")
    with Opened(browser, path) as opened:
        for text in ("Blocked", "Next", "Readers see", "pulled"):
            box = opened.page.get_by_text(text, exact=True).first.bounding_box()
            assert box["y"] + box["height"] < 900


def test_whether_something_is_wrong_what_since_when_and_what_to_do_are_on_the_first_screen(browser, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(monitored(samples.monitored(alarms=(samples.DEGRADED,))), encoding="utf-8")
    with Opened(browser, path) as opened:
        assert opened.page.get_by_role("heading").first.inner_text() == "Performance has degraded since 2013-09-05"
        for text in ("fewer flights were late", "lamplighter train flight_delays", "As usual", "have come"):
            box = opened.page.get_by_text(text).first.bounding_box()
            assert box["y"] + box["height"] < 900


def test_from_what_stands_out_to_its_window_and_on_to_what_was_expected_of_it(browser, tmp_path):
    """By a click on the heat map, and on a panel: to the window's page, and from there to that of Great Expectations."""
    (tmp_path / "index.html").write_text(monitored(), encoding="utf-8")
    for day in ("2013-08-01", "2013-12-31"):
        (tmp_path / f"as_of={day}.html").write_text(monitored_window(), encoding="utf-8")
    page = browser.new_context().new_page()
    page.goto((tmp_path / "index.html").as_uri())
    cell = page.locator('.heat a[href^="as_of=2013-08-01"] rect').first
    assert "New categories, 2013-08-01" in cell.locator("title").text_content()
    cell.click()
    assert page.url.endswith("/as_of=2013-08-01.html#drift")
    assert (
        page.get_by_role("link", name="the page of Great Expectations")
        .get_attribute("href")
        .endswith(".expectations.html")
    )
    page.go_back()
    page.locator("#statistic .hit").last.click()
    assert page.url.endswith("/as_of=2013-12-31.html")


def test_tiles_lead_to_their_part_with_keys_alone_and_no_mark_is_in_their_way(browser, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(monitored(), encoding="utf-8")
    with Opened(browser, path) as opened:
        reached = []
        for _ in range(6):
            opened.page.keyboard.press("Tab")
            reached.append(opened.page.evaluate("document.activeElement.getAttribute('href')"))
        assert reached[1:5] == ["#data", "#performance", "#performance", "#estimates"]
        assert not any((one or "").startswith("as_of=2013-07") for one in reached)
