"""A job is looked at as its labels arrive: by the flow, and by the command."""

import json
import sqlite3
from contextlib import nullcontext

import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from flows.monitor import monitor
from flows.replay import replay
from tasks.core import layout
from tasks.core.events import LABELS_LATE
from tasks.core.monitoring.keeping import newest_monitored
from tasks.orchestration import artifacts, events
from tests.flows.conftest import LABELS, make_project, make_warehouse, open_world
from tests.page_samples import Page

DAYS = ("2024-05-01", "2024-05-02")


@pytest.fixture
def sent(monkeypatch):
    """The events that were sent; a server that stays has taken them."""
    found = []
    monkeypatch.setattr(events, "has_server", lambda: True)
    monkeypatch.setattr(events, "_send", found.append)
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two days of readings that were published, with labels a day after each ends."""
    with pytest.MonkeyPatch.context() as patch:
        world = make_project(tmp_path_factory.mktemp("published") / "project")
        patch.setenv("LAMPLIGHTER_PROJECT", str(world.folder))
        patch.setenv("LAMPLIGHTER_LAKE", str(world.folder / "lake"))
        make_warehouse(world).close()
        world.change_job(labels=LABELS | {"delay": "1d", "revisit": ["2d"]}, training=None)
        assert [world.score(day).name for day in DAYS] == ["Published"] * 2
        return world


@pytest.fixture
def scored(published, tmp_path, monkeypatch):
    """A copy of that world."""
    return open_world(tmp_path / "project", monkeypatch, like=published)


def execute(world, sql):
    with sqlite3.connect(world.folder / "warehouse.sqlite") as database:
        database.execute(sql)
    database.close()


def look(day="2024-05-03"):
    return monitor("readings", day, return_state=True)


def test_the_figures_are_those_of_the_published_rows_and_the_raw_labels(scored):
    state = look()

    assert (state.name, state.message) == ("Quiet", "readings as of 2024-05-03: no alarm can be raised yet.")
    with sqlite3.connect(scored.folder / "warehouse.sqlite") as database:
        truth = pd.read_sql("SELECT sensor, hot FROM outcomes", database)
    database.close()
    rows = scored.table().merge(truth, on="sensor")
    found = newest_monitored(scored.lake, "readings")
    assert [(one.as_of, one.rows, one.labelled, one.label_share) for one in found.windows] == [
        (day, 200, 200, 1.0) for day in DAYS
    ]
    for one, day in zip(found.windows, DAYS, strict=True):
        of_day = rows[rows["as_of"] == day]
        assert one.metrics["roc_auc"].value == pytest.approx(roc_auc_score(of_day["hot"], of_day["probability"]))
    table = pq.read_table(scored.lake.path(layout.monitoring("readings", "2024-05-03")), partitioning=None).to_pandas()
    shares = table[(table["of"] == "window") & (table["metric"] == "label_share")]
    assert dict(zip(shares["subject"], shares["value"], strict=True)) == dict.fromkeys(DAYS, 1.0)
    assert scored.lake.exists(layout.index_page("readings"))


def test_labels_that_are_late_are_told_of_once_and_the_alarm_ends_when_they_have_come(scored, sent):
    execute(scored, "CREATE TABLE kept AS SELECT * FROM outcomes")
    execute(scored, "DELETE FROM outcomes")

    assert look().name == "Alarm"
    assert look().name == "Alarm"

    assert [(one.event, one.payload["job"], one.payload["as_of"]) for one in sent] == [
        (LABELS_LATE, "readings", DAYS[0])
    ]
    execute(scored, "INSERT INTO outcomes SELECT * FROM kept")
    assert look("2024-05-05").name == "Quiet"
    assert [one.labelled for one in newest_monitored(scored.lake, "readings").windows] == [200, 200]
    # What was known before is still to be read as it was.
    assert look().name == "Alarm"
    assert len(sent) == 1


def test_the_command_says_it_in_a_table_and_as_json(scored, lamplighter):
    code, printed, said = lamplighter("monitor", "readings", "--as-of", "2024-05-03")

    assert (code, said) == (0, "")
    assert "readings as of 2024-05-03: no alarm can be raised yet." in printed
    assert "100.0 % of labels, as of 2024-05-03: 2 windows to 2024-05-02 with 400 rows" in " ".join(printed.split())
    assert "Note: The alarms of readings/0001 are not calibrated" in " ".join(printed.split())
    code, printed, _ = lamplighter("monitor", "readings", "--as-of", "2024-05-03", "--json")
    facts = json.loads(printed)
    assert (code, facts["state"], facts["error"], facts["windows_measured"]) == (0, "Quiet", None, 0)
    assert [one["labelled"] for one in facts["monitored"]["windows"]] == [200, 200]


def test_labels_that_cannot_be_read_end_in_an_error_after_all_else_was_looked_at(scored, lamplighter):
    execute(scored, "DROP TABLE outcomes")

    code, printed, said = lamplighter("monitor", "readings", "--as-of", "2024-05-03")

    assert code == 1
    assert "Labels that could not be used: 2024-05-02: " in said
    assert "Note: Labels could not be used of 2024-05-02" in printed
    assert newest_monitored(scored.lake, "readings").as_of == "2024-05-03"


def test_a_day_to_come_and_a_job_that_is_none_are_refused(scored, lamplighter):
    code, _, said = lamplighter("monitor", "readings", "--as-of", "2999-01-01")
    assert code == 2
    assert "2999-01-01 is still to come" in said
    assert lamplighter("monitor", "reading")[0] == 2
    assert newest_monitored(scored.lake, "readings") is None


def test_the_pages_and_the_artifacts_tell_what_was_found(scored, monkeypatch):
    made = {}
    for kind in ("markdown", "table"):
        monkeypatch.setattr(artifacts, f"create_{kind}_artifact", lambda what, key, **more: made.update({key: what}))
    look()
    execute(scored, "UPDATE outcomes SET hot = 1 - hot WHERE sensor = (SELECT min(sensor) FROM outcomes)")
    look("2024-05-05")

    first = Page(scored.lake.read_bytes(layout.window_page("readings", DAYS[0])).decode()).text
    # Yesterday's report stays beside today's, which says that a label was corrected.
    assert first.index("2024-05-05 200 100 % 200 0 0 1") < first.index("2024-05-03 200 100 % 200 0 0 0")
    index = Page(scored.lake.read_bytes(layout.index_page("readings")).decode()).text
    assert "100 % of labels, as of 2024-05-05; 1 label corrected since" in index
    assert "As of 2024-05-05, looked at" in index
    assert made["monitor-readings"].startswith("# ✅ readings as of 2024-05-05: no alarm is open")
    assert {"figure": "open alarms", "value": "0"} in made["monitor-readings-figures"]


def test_the_replay_looks_at_the_job_after_each_day(scored, monkeypatch):
    monkeypatch.setattr("flows.replay.JOB", "readings")
    monkeypatch.setattr("flows.replay.one_at_a_time", lambda: nullcontext("2024-05-03"))
    assert replay(return_state=True).name == "Published"
    assert newest_monitored(scored.lake, "readings").as_of == "2024-05-03"
