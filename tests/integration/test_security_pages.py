"""Names and values that are programs, through whole runs, in a real browser: on no page of a lake do they run or ask for anything."""

import datetime as dt
import urllib.parse

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.audit import audit
from flows.monitor import monitor
from flows.promote import promote
from tasks.core.definitions.modelling import Prediction
from tasks.core.models.registry import Registry
from tests.flows.conftest import COLUMNS, DAY, as_table, logistic_model, make_project, open_world, readings, register
from tests.pages_server import served

pytestmark = [pytest.mark.extras, pytest.mark.usefixtures("prefect_harness")]

RUN = "document.title='it ran'"
EVIL = "https://attacker.invalid"
HOSTILE = [
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"--></style><script>{RUN}</script>",
    f"]]></svg><script>{RUN}</script>",
    f'<img src={EVIL}/x.png onerror="{RUN}">',
    f'"><img src=x onerror={RUN}>',
    f"' autofocus onfocus={RUN} x='",
    f'" onmouseover="{RUN}',
    f"javascript:{RUN}",
    f"data:text/html,<script>{RUN}</script>",
    f"<a href=javascript:{RUN}>x</a>",
    f"<svg onload={RUN}>",
    f'<svg><use href="{EVIL}/x.svg#a"/></svg>',
    f'<iframe srcdoc="<script>parent.{RUN}</script>">',
    f"<link rel=stylesheet href={EVIL}/x.css>",
    f"<style>@import url({EVIL}/x.css)</style>",
    f'<meta http-equiv=refresh content="0;url={EVIL}">',
    f"<base href={EVIL}/>",
    f"<form action={EVIL}><button>x</button></form>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"![x]({EVIL}/i.png)",
    f"{{{{ {RUN} }}}} ${{{RUN}}} $value",
    f"\u202e<script>{RUN}</script>\u2066",
]
NASTY = "".join(HOSTILE)
PLACES = len(HOSTILE)


def rows(day, hostile=True):
    """Keys, categories and values of which many are programs."""
    made = readings(200, day)
    if hostile:
        made["sensor"] = [f"{text}{number}" for number, text in zip(range(200), HOSTILE * 200, strict=False)]
        made["kind"] = [HOSTILE[number % PLACES] if number % 5 else "cold" for number in range(200)]
    return made


def with_column(made, name):
    table = as_table(made)
    return table.append_column(name, pa.array(list(made["kind"])))


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake in which every page is made that there is: published, blocked, warned, dry, judged, watched, audited."""
    column = HOSTILE[0] + HOSTILE[5]
    with pytest.MonkeyPatch.context() as patch:
        made = make_project(tmp_path_factory.mktemp("hostile") / "project")
        world = open_world(made.folder, patch)
        features = {"kind": "string", "x": "float64", "y": "float64", column: "string"}
        _register(world, features, column)
        world.change_job(
            owner="<script>ops</script>",
            description=NASTY,
            columns=COLUMNS | {column: "string"},
            output__pass_through=["kind", column],
            limits__quarantine_share=0.9,
        )
        suite = [
            _expectation(
                "expect_column_values_to_not_match_regex", "quarantine", column="kind", regex="iframe|base|form"
            ),
            _expectation(
                "expect_column_values_to_be_in_set", None, severity="warning", column=column, value_set=HOSTILE
            ),
            _expectation(
                "expect_column_values_to_be_in_set", None, severity="info", column="sensor", value_set=[NASTY]
            ),
        ]
        world.write_suite(*suite)
        days = ("2024-05-01", "2024-05-02", "2024-05-03")
        for day in days:
            pq.write_table(with_column(rows(day), column), world.folder / "data" / f"{day}.parquet")
            state = world.score(day)
            assert state.name in ("Published", "PublishedWithWarnings"), state.message
        assert world.score(days[0], HOSTILE[5]).is_completed()
        world.write_suite(
            *suite, _expectation("expect_column_values_to_be_in_set", None, column=column, value_set=[NASTY])
        )
        _score_dry(days[1])
        pq.write_table(with_column(rows("2024-05-04"), column), world.folder / "data/4.parquet")
        assert world.score("2024-05-04").name == "Blocked"
        monitor("readings", "2024-06-01", return_state=True)
        _spoil(world)
        assert audit("readings", return_state=True).name == "Differs"
        state = promote("readings", 3, reason=NASTY[:400], force=True, return_state=True)
        assert state.name == "Promoted", (state.name, state.message)
        yield world.folder / "lake"


def _register(world, features, column):
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    sample = with_column(readings(), column)
    at = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    for alias in ("production", "challenger"):
        version = register(world.lake, "readings", logistic_model(), features, outputs, sample, alias=None)
        Registry(world.lake).set_alias("readings", alias, version.version, at=at, actor=HOSTILE[0], reason=HOSTILE[5])


def _expectation(kind, on_failure, severity="critical", **kwargs):
    meta = {"notes": NASTY} | ({"on_failure": on_failure} if on_failure else {})
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": meta}


def _score_dry(day):
    from flows.score import score

    assert score("readings", day, dry_run=True, return_state=True).name


def _spoil(world):
    """Somebody changes what readers see, and leaves a file with a name of its own."""
    folder = world.folder / "lake/predictions/readings/as_of=2024-05-02"
    (part,) = folder.glob("*.parquet")
    part.rename(folder / "part-<img src=x onerror=document.title='it ran'>.parquet")


class Watched:
    """A page of the browser that notes all that it says, asks for and becomes."""

    def __init__(self, browser, host):
        self.host, self.said, self.asked = host, [], []
        self.context = browser.new_context()
        self.context.route("**/*", self._note)
        self.page = self.context.new_page()
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("console", lambda message: self.said.append(message.text))

    def _note(self, route):
        self.asked.append(route.request.url)
        route.continue_() if route.request.url.startswith((self.host, "data:", "file:")) else route.abort()

    def open(self, address):
        """What is wrong with the page at this address."""
        self.said.clear(), self.asked.clear()
        self.page.goto(address)
        self.page.mouse.move(300, 300)
        self.page.keyboard.press("Tab")
        # Of Great Expectations' own two scripts the server lets one run: the policy says so of the other.
        by_policy = "Executing inline script violates" if address.endswith(".expectations.html") else "nothing"
        wrong = [f"said {one!r}" for one in self.said if not one.startswith(by_policy)]
        wrong += [f"asked for {one}" for one in self.asked if one != address and not one.startswith("data:")]
        wrong += ["a script ran"] if self.page.title() == "it ran" or self.page.url != address else []
        return wrong + [f"has {one}" for one in self.page.evaluate(ODD)]


# Elements and attributes that no page of ours has; Great Expectations' has scripts and buttons of its own.
ODD = """() => {
  const own = location.pathname.endsWith('.expectations.html');
  const names = own ? 'img, iframe, object, embed, base, form, link:not([href^=data]), svg use' :
    'script, img, iframe, object, embed, base, form, link:not([href^=data]), svg use';
  const found = [...document.querySelectorAll(names)].map(one => one.outerHTML.slice(0, 200))
  for (const one of document.querySelectorAll('*'))
    for (const attribute of one.attributes) {
      if (attribute.name.startsWith('on') && !own) found.push(attribute.name)
      if (/^(href|src|action|formaction|xlink:href)$/.test(attribute.name) && /^\\s*[a-z]+:/i.test(attribute.value) &&
          !/^data:(image\\/png|,$)/.test(attribute.value)) found.push(attribute.value)
    }
  return found
}"""


def pages_of(lake):
    return sorted(str(path.relative_to(lake / "reports")) for path in (lake / "reports").rglob("*.html"))


def test_every_kind_of_page_is_there(lake):
    names = pages_of(lake)
    wanted = (
        "index.html",
        "readings/index.html",
        ".dry-run.html",
        ".expectations.html",
        "_models/readings/index.html",
        "promote-",
    )
    assert [one for one in wanted if not any(one in name for name in names)] == []
    assert sum("<script>" not in (lake / "reports" / name).read_text() for name in names) >= 6


@pytest.mark.parametrize("by", ["server", "file"])
def test_nothing_runs_and_nothing_is_asked_for(lake, browser, by):
    with served(lake / "reports") as port:
        host = f"http://127.0.0.1:{port}" if by == "server" else (lake / "reports").as_uri()
        watched = Watched(browser, host)
        wrong = {name: watched.open(f"{host}/{urllib.parse.quote(name)}") for name in pages_of(lake)}
        watched.context.close()
    assert {name: what for name, what in wrong.items() if what} == {}


def test_what_was_hostile_is_on_the_pages_as_words(lake, browser):
    watched = Watched(browser, "file:")
    watched.open((lake / f"reports/readings/as_of={DAY}.html").as_uri())
    text = watched.page.inner_text("body")
    watched.context.close()
    assert HOSTILE[0] in text
    assert "onerror" in text


def test_the_check_finds_what_is_wrong(browser, tmp_path):
    (tmp_path / "a.html").write_text(f"<title>a</title><body>{HOSTILE[5]}{HOSTILE[9]}")
    watched = Watched(browser, "file:")
    wrong = watched.open((tmp_path / "a.html").as_uri())
    watched.context.close()
    assert "a script ran" in wrong
    assert f"asked for {EVIL}/x.png" in wrong


def test_the_rows_are_hostile():
    assert isinstance(rows(DAY), pd.DataFrame)
    assert set(rows(DAY)["kind"]) == {*HOSTILE, "cold"}
