"""What a look leaves in the Prefect UI: Markdown that is only words, whatever the data are called, and rows of figures."""

import datetime as dt

import pytest

from tasks.core.monitoring.records import ColumnDrift, DriftPoint, Monitored
from tasks.core.pages import look_in_words, look_markdown, look_rows
from tasks.orchestration import artifacts
from tests import monitor_samples as samples
from tests.page_samples import HOSTILE

LOOK = samples.monitored(days=60, features=5)


def look(**changes):
    return LOOK.model_copy(update=changes)


def test_an_alarm_stands_at_the_head_with_what_to_do():
    text = look_markdown(look(alarms=(samples.DRIFTED, samples.DEGRADED)), "http://127.0.0.1:8090/f/index.html")
    lines = text.splitlines()
    assert lines[0] == "# ❌ flight\\_delays as of 2013-08-29: performance has degraded since 2013-09-05"
    assert lines[2].startswith("**Performance has degraded since 2013-09-05.** Since 2013-09-05 fewer flights")
    assert "**Next:** `lamplighter train flight_delays`, then `lamplighter promote flight_delays`" in lines
    assert "[The report of this job](<http://127.0.0.1:8090/f/index.html>)" in lines


def test_a_quiet_job_says_so_and_how_complete_its_labels_are():
    found = look(windows=(samples.window_performance(57, 60, rows=1_000, labelled=972, awaited=20, without_label=8),))
    assert look_in_words(found) == "no alarm is open"
    assert look_markdown(found).startswith("# ✅")
    figures = {one["figure"]: one["value"] for one in look_rows(found)}
    assert figures["labels"].startswith("97.2 % have come: of the newest 1 window that had labels due, to 2013-08-27")
    assert figures["open alarms"] == "0"
    assert figures["alarms before"] == "1"
    assert figures["false alarms expected of the data"] == "data: 1 a year (0.6 to 1.9)"
    assert figures["estimates of ROC AUC by version 3"] == (
        "holds: the truth lay in the interval in 54 of 56 windows, where 95.0 % of them should"
    )


def test_the_columns_that_moved_are_in_a_table():
    moved = ColumnDrift(
        column="temp", component="missing", value=0.1, z=5.2, reference=0.02, observed=0.12, explains=True
    )
    point = DriftPoint(unit="2013-08-29", model=samples.MODEL, statistic=2.5, line=2.4, columns=(moved,))
    assert "| temp | missing 12.0 % against 2.0 % | 5.2 | yes |" in look_markdown(look(drift=(point,)))


def test_a_look_that_found_nothing_is_still_one():
    nothing = Monitored(job="j", at=dt.datetime(2013, 8, 1, tzinfo=dt.UTC), as_of="2013-08-01")
    assert "no alarm is open" in look_markdown(nothing)
    assert {one["figure"] for one in look_rows(nothing)} == {
        "open alarms",
        "data",
        "performance",
        "labels",
        "alarms before",
    }


@pytest.mark.parametrize("text", [*HOSTILE, "[a](http://b)", "| x |", "# h", "`code`", "a\nb"])
def test_a_hostile_name_is_words(text):
    moved = ColumnDrift(column=text, component="features", value=0.1, z=5.2)
    point = DriftPoint(unit=text, model=text, statistic=2.5, line=2.4, columns=(moved,))
    alarm = samples.DEGRADED.model_copy(update={"reason": text, "onset": text})
    plain, hostile = (
        look_markdown(look(drift=(point,), alarms=(alarm,), notes=(text,), job=job)) for job in ("plain", text)
    )
    assert len(hostile.splitlines()) == len(plain.splitlines())
    assert "<" not in hostile.replace("(<", "")
    assert "](" not in hostile.replace("\\](", "")


def test_its_artifact_is_named_by_the_job(monkeypatch, tmp_path):
    made = {}
    for kind in ("markdown", "table", "link"):
        monkeypatch.setattr(artifacts, f"create_{kind}_artifact", lambda what, key, **more: made.update({key: what}))
    monkeypatch.setenv("LAMPLIGHTER_PAGES_URL", "http://127.0.0.1:8090")
    artifacts.show_look(None, look())
    assert list(made) == ["monitor-flight-delays", "monitor-flight-delays-figures", "monitor-flight-delays-page"]
    assert made["monitor-flight-delays-page"] == "http://127.0.0.1:8090/flight_delays/index.html"
